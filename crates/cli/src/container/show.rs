//! `container ls` and `logs`.

use clap::builder::NonEmptyStringValueParser;
use http_body_util::BodyExt;
use jiff::Timestamp;
use kleene_model::api::ContainerSummary;

use crate::api::LogQuery;
use crate::client::{ApiError, Client};
use crate::durations;
use crate::failure::Failure;
use crate::output::{self, Columns, ListArgs};
use crate::stdio::Output;
use crate::table;
use crate::ui::Ui;

/// `container ls`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LsArgs {
    /// Stopped containers too
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    list: ListArgs,
}

/// `container logs`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LogsArgs {
    /// Go on until the container ends
    #[arg(short, long)]
    follow: bool,
    /// Begin with the last LINES lines
    #[arg(long, value_name = "LINES")]
    tail: Option<u64>,
    /// Put the time before each line
    #[arg(short, long)]
    timestamps: bool,
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    container: String,
}

pub(super) async fn ls(ui: &mut Ui, client: &Client, args: LsArgs) -> Result<u8, Failure> {
    let path = if args.all { "/containers/list?all=true" } else { "/containers/list" };
    let listed = client.list::<ContainerSummary>(path).await?;
    output::list(ui, &args.list, &listed, &COLUMNS)
}

const COLUMNS: Columns<ContainerSummary> = Columns {
    names: &["CONTAINER ID", "NAME", "IMAGE", "COMMAND", "CREATED", "AUTORUN", "STATUS", "JID"],
    id: |summary| &summary.container.id,
    row: |summary| {
        let container = &summary.container;
        let image = match (summary.image_name.as_str(), summary.image_tag.as_str()) {
            ("", _) => container.image_id.clone(),
            (name, tag) => format!("{name}:{tag}"),
        };
        vec![
            container.id.clone(),
            container.name.clone(),
            image,
            table::command(&container.cmd),
            durations::ago(&container.created, Timestamp::now()),
            if container.restart_policy == "on-startup" { "yes" } else { "no" }.to_owned(),
            if container.running { "running" } else { "stopped" }.to_owned(),
            summary.jid.map(|jid| jid.to_string()).unwrap_or_default(),
        ]
    },
};

/// Copies the log's bytes to stdout.
pub(super) async fn logs(client: &Client, args: LogsArgs) -> Result<u8, Failure> {
    let LogsArgs { follow, tail, timestamps, container } = args;
    let query = LogQuery { follow, tail, timestamps };
    let mut body = client.container_logs(&container, &query).await?;
    let mut output = Output::stdout();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|err| ApiError::Lost(Box::new(err)))?;
        if let Some(bytes) = frame.data_ref() {
            output.write_all(bytes).await.map_err(Failure::Stdout)?;
        }
    }
    Ok(0)
}
