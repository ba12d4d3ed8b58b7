//! `klee image …`

mod create;
mod show;

use clap::builder::NonEmptyStringValueParser;
use clap_complete::engine::ArgValueCompleter;

pub(crate) use create::CreateImageArgs;
pub(crate) use show::{InspectImageArgs, LsImagesArgs, is_named};

use crate::client::Client;
use crate::completion;
use crate::failure::Failure;
use crate::output::{self, PruneArgs};
use crate::ui::Ui;

/// Verbs of images.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ImageCommand {
    /// Create an image from the archive of a base system, or from a ZFS dataset
    Create(CreateImageArgs),
    /// List images
    Ls(LsImagesArgs),
    /// Display detailed information on an image
    Inspect(InspectImageArgs),
    /// Remove images
    Rm(RmImagesArgs),
    /// Give an image another name and tag
    Tag(TagArgs),
    /// Remove all images without a tag that nothing uses
    Prune(PruneImagesArgs),
}

/// An image.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct OneImage {
    /// Id, the beginning of an id, or name
    #[arg(
        value_parser = NonEmptyStringValueParser::new(),
        add = ArgValueCompleter::new(completion::images)
    )]
    image: String,
}

/// `image rm`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RmImagesArgs {
    /// Images to remove
    #[arg(
        required = true, value_parser = NonEmptyStringValueParser::new(),
        add = ArgValueCompleter::new(completion::images)
    )]
    images: Vec<String>,
}

/// `image tag`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TagArgs {
    #[command(flatten)]
    of: OneImage,
    /// Its new name, and tag, which is 'latest' behind a name alone
    #[arg(value_name = "NAME[:TAG]", value_parser = NonEmptyStringValueParser::new())]
    nametag: String,
}

/// `image prune`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PruneImagesArgs {
    /// Those with a tag as well
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    how: PruneArgs,
}

pub(crate) async fn dispatch(
    ui: &mut Ui,
    client: &Client,
    command: ImageCommand,
) -> Result<u8, Failure> {
    match command {
        ImageCommand::Create(args) => create::create(ui, client, args).await,
        ImageCommand::Ls(args) => show::ls(ui, client, args).await,
        ImageCommand::Inspect(args) => show::inspect(ui, client, args).await,
        ImageCommand::Rm(args) => {
            output::each(ui, &args.images, async |name| client.image_remove(name).await).await
        }
        ImageCommand::Tag(args) => {
            let id = client.image_tag(&args.of.image, &args.nametag).await?;
            ui.data(&id)?;
            Ok(0)
        }
        ImageCommand::Prune(PruneImagesArgs { all, how }) => {
            let warning = if all {
                "WARNING! This will remove all unused images."
            } else {
                "WARNING! This will remove all unused images without a tag."
            };
            output::prune(ui, client, &how, format!("/images/prune?all={all}"), warning).await
        }
    }
}
