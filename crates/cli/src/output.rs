//! Lists and inspections: table, ids, or the daemon's JSON.

use std::io::IsTerminal;

use clap::builder::NonEmptyStringValueParser;

use crate::api::Listed;
use crate::client::{ApiError, Client};
use crate::failure::Failure;
use crate::json;
use crate::table;
use crate::ui::Ui;

/// Options of every list.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ListArgs {
    /// Print ids only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// How to print the list
    #[arg(short, long, value_enum, default_value_t, conflicts_with = "quiet")]
    pub(crate) output: Format,
}

/// How to print a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    #[default]
    Table,
    Json,
}

/// Arguments of every `inspect`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct InspectArgs {
    /// Id, the beginning of an id, or name
    #[arg(value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) ident: String,
    /// Accepted for symmetry: the answer is always JSON
    #[arg(short, long, value_enum, hide = true)]
    pub(crate) output: Option<Format>,
}

/// A kind of object as a list shows it.
pub(crate) struct Columns<T> {
    pub(crate) names: &'static [&'static str],
    pub(crate) id: fn(&T) -> &str,
    pub(crate) row: fn(&T) -> Vec<String>,
}

/// Prints a list as it was asked for.
pub(crate) fn list<T>(
    ui: &mut Ui,
    args: &ListArgs,
    listed: &Listed<T>,
    columns: &Columns<T>,
) -> Result<u8, Failure> {
    if args.quiet {
        for item in &listed.items {
            ui.data((columns.id)(item))?;
        }
        return Ok(0);
    }
    match args.output {
        Format::Json => print_json(ui, &listed.text)?,
        Format::Table => {
            let rows = listed.items.iter().map(columns.row).collect();
            for line in table::lines(columns.names, rows) {
                ui.data(&line)?;
            }
        }
    }
    Ok(0)
}

/// Prints what the daemon knows about one object.
pub(crate) async fn inspect(
    ui: &mut Ui,
    client: &Client,
    noun: &str,
    args: &InspectArgs,
) -> Result<u8, Failure> {
    let text = client.inspect(noun, &args.ident).await?;
    print_json(ui, &text)?;
    Ok(0)
}

fn print_json(ui: &mut Ui, text: &[u8]) -> Result<(), Failure> {
    let unexpected = |err| ApiError::Unexpected(Box::new(err));
    serde_json::from_slice::<serde::de::IgnoredAny>(text).map_err(unexpected)?;
    ui.data(&json::pretty(&String::from_utf8_lossy(text)))
}

/// Does `verb` for each name, prints the id that it answers, goes on after a
/// failure and fails at the end.
pub(crate) async fn each(
    ui: &mut Ui,
    names: &[String],
    verb: impl AsyncFn(&str) -> Result<String, ApiError>,
) -> Result<u8, Failure> {
    let mut failed = false;
    for name in names {
        match verb(name).await {
            Ok(id) => ui.data(&id)?,
            // The next one would fail in the same way.
            Err(err @ ApiError::Connect { .. }) => return Err(err.into()),
            Err(err) => {
                failed = true;
                let about = (names.len() > 1).then_some(name.as_str());
                ui.failure(about, &err.into());
            }
        }
    }
    if failed { Err(Failure::Reported) } else { Ok(0) }
}

/// Options of every `prune`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PruneArgs {
    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// Asks, prunes, prints the ids.
pub(crate) async fn prune(
    ui: &mut Ui,
    client: &Client,
    args: &PruneArgs,
    noun: &str,
    warning: &str,
) -> Result<u8, Failure> {
    if !args.force {
        ui.note(warning);
        ui.ask("Are you sure you want to continue? [y/N]: ");
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map_err(Failure::Stdin)?;
        if !std::io::stdin().is_terminal() {
            // Nobody's Enter key has ended the line.
            ui.note("");
        }
        if !matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
            return Err(Failure::Aborted);
        }
    }
    for id in client.prune(noun).await? {
        ui.data(&id)?;
    }
    Ok(0)
}
