//! `network stats` and `network log-drops`.

use clap_complete::engine::ArgValueCompleter;
use kleene_model::api::{LogDrops, RuleCount};

use crate::client::{Client, parse};
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::ui::Ui;
use crate::{completion, table};

/// `network stats`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct StatsArgs {
    /// A network: its name, or the beginning of its id [default: all, and the host]
    #[arg(add = ArgValueCompleter::new(completion::networks))]
    network: Option<String>,
    /// Also rules that have decided on nothing yet
    #[arg(short, long)]
    all: bool,
    /// How it is shown
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// `network log-drops`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LogDropsArgs {
    /// Whether [default: say how it is]
    #[arg(value_enum)]
    switch: Option<Switch>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    On,
    Off,
}

pub(super) async fn stats(ui: &mut Ui, client: &Client, args: StatsArgs) -> Result<u8, Failure> {
    let mut listed = client.network_stats(args.network.as_deref()).await?;
    if !args.all {
        listed.retain(|row| row.packets > 0)?;
    }
    match args.output {
        Format::Json => output::print_json(ui, &listed.text)?,
        Format::Yaml => output::print_yaml(ui, &listed.text)?,
        Format::Table => {
            let rows = listed.items.into_iter().map(row).collect();
            for line in table::lines(&COLUMNS, rows) {
                ui.data(&line)?;
            }
        }
    }
    Ok(0)
}

const COLUMNS: [&str; 5] = ["NETWORK", "RULE", "VERDICT", "PACKETS", "BYTES"];

fn row(row: RuleCount) -> Vec<String> {
    let RuleCount { network, rule, verdict, packets, bytes } = row;
    // What concerns the host has no network.
    let network = if network.is_empty() { "-".to_owned() } else { network };
    vec![network, rule, verdict, packets.to_string(), bytes.to_string()]
}

pub(super) async fn log_drops(
    ui: &mut Ui,
    client: &Client,
    args: LogDropsArgs,
) -> Result<u8, Failure> {
    match args.switch {
        Some(switch) => client.set_log_drops(switch == Switch::On).await?,
        None => {
            let LogDrops { on } = parse(&client.log_drops().await?)?;
            ui.data(if on { "on" } else { "off" })?;
        }
    }
    Ok(0)
}
