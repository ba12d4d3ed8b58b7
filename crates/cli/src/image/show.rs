//! `image ls` and `image inspect`

use jiff::Timestamp;
use kleene_model::api::Image;

use super::OneImage;
use crate::client::Client;
use crate::failure::Failure;
use crate::filter::{self, Filter, Key, Named};
use crate::output::{self, Columns, InspectOutput, ListArgs};
use crate::ui::Ui;
use crate::{details, durations};

/// `image ls`
pub(crate) type LsImagesArgs = ListArgs<ImageKey>;

/// What images are filtered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ImageKey {
    Id,
    Name,
    Tag,
}

impl Key for ImageKey {
    fn values(self) -> Option<Vec<String>> {
        match self {
            Self::Id | Self::Name | Self::Tag => None,
        }
    }

    fn named(self) -> Option<Named> {
        match self {
            Self::Name => Some(Named::Image),
            Self::Id | Self::Tag => None,
        }
    }
}

/// `image inspect`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct InspectImageArgs {
    #[command(flatten)]
    of: OneImage,
    #[command(flatten)]
    how: InspectOutput,
}

pub(super) async fn ls(ui: &mut Ui, client: &Client, args: LsImagesArgs) -> Result<u8, Failure> {
    let mut listed = client.list::<Image>("/images/list").await?;
    listed.retain(|image| passes(&args.filters, image))?;
    output::list(ui, &args, &listed, &COLUMNS)
}

pub(super) async fn inspect(
    ui: &mut Ui,
    client: &Client,
    args: InspectImageArgs,
) -> Result<u8, Failure> {
    let what = (args.of.image.as_str(), &args.how);
    output::inspect(ui, client, "images", what, async |ui, image| print(ui, image)).await
}

fn passes(filters: &[Filter<ImageKey>], image: &Image) -> bool {
    filter::passes(filters, |key, value| match key {
        ImageKey::Id => image.id.starts_with(value),
        ImageKey::Name => is_named(value, &image.name, &image.tag),
        ImageKey::Tag => filter::like(value, &image.tag),
    })
}

/// Whether `value` is the image's name, with or without its tag.
pub(crate) fn is_named(value: &str, name: &str, tag: &str) -> bool {
    filter::like(value, name) || filter::like(value, &format!("{name}:{tag}"))
}

/// One image, for people.
fn print(ui: &mut Ui, image: Image) -> Result<(), Failure> {
    let Image { id, name, tag, cmd, env, user, instructions, created, dataset } = image;
    details::print(
        ui,
        &[
            ("id", id),
            ("name", name),
            ("tag", tag),
            ("command", cmd.join(" ")),
            ("environment", env.join(" ")),
            ("user", user),
            ("created", created),
            ("dataset", dataset),
        ],
    )?;
    let rows = instructions.into_iter().map(|(line, snapshot)| vec![snapshot, line]).collect();
    details::print_table(ui, &["SNAPSHOT", "INSTRUCTION"], rows)
}

const COLUMNS: Columns<Image> = Columns {
    names: &["ID", "NAME", "TAG", "CREATED"],
    id: |image| &image.id,
    row: |image| {
        vec![
            image.id.clone(),
            image.name.clone(),
            image.tag.clone(),
            durations::ago(&image.created, Timestamp::now()),
        ]
    },
};
