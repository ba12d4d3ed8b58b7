//! `klee image …`

use jiff::Timestamp;
use kleene_model::api::Image;

use crate::client::Client;
use crate::durations;
use crate::failure::Failure;
use crate::output::{self, Columns, InspectArgs, ListArgs};
use crate::ui::Ui;

/// Verbs of images.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ImageCommand {
    /// List images
    Ls(ListArgs),
    /// Display detailed information on an image
    Inspect(InspectArgs),
}

pub(crate) async fn dispatch(
    ui: &mut Ui,
    client: &Client,
    command: ImageCommand,
) -> Result<u8, Failure> {
    match command {
        ImageCommand::Ls(args) => {
            let listed = client.list::<Image>("/images/list").await?;
            output::list(ui, &args, &listed, &COLUMNS)
        }
        ImageCommand::Inspect(args) => output::inspect(ui, client, "images", &args).await,
    }
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
