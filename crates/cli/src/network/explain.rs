//! `network explain`.

use clap::builder::NonEmptyStringValueParser;
use kleene_model::api::{ExplainConfig, Explanation};

use crate::client::{Client, parse};
use crate::details;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::ui::Ui;

/// `network explain`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ExplainArgs {
    /// A container, an address, host, or outside
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    from: String,
    /// The same, with a port: TO[:PORT[/tcp|udp]], [ADDRESS]:PORT for IPv6; without one:
    /// ping
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    to: String,
    /// How it is shown
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// What `TO[:PORT[/PROTOCOL]]` says; a port that is none stays with the name, and
/// nobody is called so.
fn read(from: String, to: &str) -> ExplainConfig {
    let (rest, protocol) = match to.rsplit_once('/') {
        Some((rest, protocol)) => (rest, Some(protocol.to_owned())),
        None => (to, None),
    };
    let split = rest.rsplit_once(':').filter(|(name, _)| {
        // An IPv6 address is in brackets when a port follows.
        !name.contains(':') || (name.starts_with('[') && name.ends_with(']'))
    });
    let with_port = split.and_then(|(name, port)| Some((name, port.parse().ok()?)));
    let (name, port) = with_port.map_or((rest, None), |(name, port)| (name, Some(port)));
    let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    ExplainConfig { from, to: name, port, protocol }
}

pub(super) async fn explain(
    ui: &mut Ui,
    client: &Client,
    args: ExplainArgs,
) -> Result<u8, Failure> {
    let text = client.network_explain(&read(args.from, &args.to)).await?;
    match args.output {
        Format::Json => output::print_json(ui, &text)?,
        Format::Yaml => output::print_yaml(ui, &text)?,
        Format::Table => print(ui, parse(&text)?)?,
    }
    Ok(0)
}

/// One flow per family, for people.
fn print(ui: &mut Ui, explained: Vec<Explanation>) -> Result<(), Failure> {
    let row = |one| {
        let Explanation {
            family,
            source,
            destination,
            verdict,
            rule,
            why,
            network,
            led_to,
            seen_as,
            change,
        } = one;
        vec![
            family,
            source,
            destination,
            verdict,
            format!("{rule}: {why}"),
            network,
            led_to,
            seen_as,
            change,
        ]
    };
    let columns =
        ["FAMILY", "FROM", "TO", "VERDICT", "RULE", "NETWORK", "LED TO", "SEEN AS", "CHANGED BY"];
    details::print_table(ui, &columns, explained.into_iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_ports_are_told_apart() {
        let read = |to: &str| {
            let ExplainConfig { to, port, protocol, .. } = read("a".to_owned(), to);
            (to, port, protocol.unwrap_or_default())
        };
        let said = |to: &str, port, protocol: &str| (to.to_owned(), port, protocol.to_owned());
        assert_eq!(read("site"), said("site", None, ""));
        assert_eq!(read("site:80"), said("site", Some(80), ""));
        assert_eq!(read("site:53/udp"), said("site", Some(53), "udp"));
        assert_eq!(read("10.0.0.2:80"), said("10.0.0.2", Some(80), ""));
        assert_eq!(read("fd00::2"), said("fd00::2", None, ""));
        assert_eq!(read("[fd00::2]:80/tcp"), said("fd00::2", Some(80), "tcp"));
        assert_eq!(read("site:99999"), said("site:99999", None, ""));
    }
}
