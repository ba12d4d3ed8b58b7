//! Lists and inspections: a table, ids, or the daemon's JSON, as it is or as
//! YAML.

use std::io::IsTerminal;

use clap_complete::engine::ArgValueCompleter;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::api::Listed;
use crate::client::{ApiError, Client, parse};
use crate::completion;
use crate::failure::Failure;
use crate::filter::{self, Filter, Key};
use crate::json;
use crate::table;
use crate::ui::Ui;
use crate::value::{self, Value};

/// Options of every list.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ListArgs<K: Key> {
    /// Print ids only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// How to print the list
    #[arg(short, long, value_enum, default_value_t, conflicts_with = "quiet")]
    pub(crate) output: Format,
    #[arg(
        short, long = "filter", value_name = "KEY=VALUE", help = filter::help::<K>(),
        value_parser = filter::parse::<K>, add = ArgValueCompleter::new(completion::filter::<K>)
    )]
    pub(crate) filters: Vec<Filter<K>>,
}

/// How to print what the daemon answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// As the daemon says it
    Json,
    /// The same as YAML
    Yaml,
}

/// Options of every `inspect`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct InspectOutput {
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Format::Json)]
    pub(crate) output: Format,
}

/// A kind of object as a list shows it.
pub(crate) struct Columns<T> {
    pub(crate) names: &'static [&'static str],
    pub(crate) id: fn(&T) -> &str,
    pub(crate) row: fn(&T) -> Vec<String>,
}

/// Prints a list as it was asked for.
pub(crate) fn list<T, K: Key>(
    ui: &mut Ui,
    args: &ListArgs<K>,
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
        Format::Yaml => print_yaml(ui, &listed.text)?,
        Format::Table => {
            let rows = listed.items.iter().map(columns.row).collect();
            for line in table::lines(columns.names, rows) {
                ui.data(&line)?;
            }
        }
    }
    Ok(0)
}

/// Prints what the daemon knows about one object; `table` prints it for people.
pub(crate) async fn inspect<T: DeserializeOwned>(
    ui: &mut Ui,
    client: &Client,
    noun: &str,
    (ident, how): (&str, &InspectOutput),
    table: impl AsyncFnOnce(&mut Ui, T) -> Result<(), Failure>,
) -> Result<u8, Failure> {
    let text = client.inspect(noun, ident).await?;
    match how.output {
        Format::Json => print_json(ui, &text)?,
        Format::Yaml => print_yaml(ui, &text)?,
        Format::Table => table(ui, parse(&text)?).await?,
    }
    Ok(0)
}

/// Prints the daemon's JSON, indented.
pub(crate) fn print_json(ui: &mut Ui, text: &[u8]) -> Result<(), Failure> {
    parse::<IgnoredAny>(text)?;
    ui.data(&json::pretty(&String::from_utf8_lossy(text)))
}

/// Prints the daemon's JSON as YAML.
pub(crate) fn print_yaml(ui: &mut Ui, text: &[u8]) -> Result<(), Failure> {
    let yaml = value::yaml(&parse::<Value>(text)?);
    ui.data(&yaml.map_err(|err| ApiError::Unexpected(Box::new(err)))?)
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

/// Asks, prunes by a `POST` to `path`, prints the ids.
pub(crate) async fn prune(
    ui: &mut Ui,
    client: &Client,
    args: &PruneArgs,
    path: String,
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
    for id in client.prune(path).await? {
        ui.data(&id)?;
    }
    Ok(0)
}
