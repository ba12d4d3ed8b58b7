//! `network explain`.

use std::str::FromStr;

use clap::builder::NonEmptyStringValueParser;
use kleene_model::api::{ExplainConfig, Explanation, FlowTest, ForeignChain};

use crate::client::{Client, parse};
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::ui::Ui;
use crate::{details, table};

/// `network explain`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ExplainArgs {
    /// A container, an address, host, or outside
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    from: String,
    /// The same, with a port: TO[:PORT[/tcp|udp]], [ADDRESS]:PORT for IPv6; without one:
    /// ping
    to: Target,
    /// How it is shown
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// Where a flow goes to: `TO[:PORT[/PROTOCOL]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    name: String,
    port: Option<u16>,
    protocol: Option<String>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (rest, protocol) = match text.rsplit_once('/') {
            Some((rest, protocol @ ("tcp" | "udp"))) => (rest, Some(protocol.to_owned())),
            Some((_, other)) => return Err(format!("'{other}' is no protocol: tcp or udp")),
            None => (text, None),
        };
        let split = rest.rsplit_once(':').filter(|(name, _)| {
            // An IPv6 address is in brackets when a port follows.
            !name.contains(':') || (name.starts_with('[') && name.ends_with(']'))
        });
        let (name, port) = match split {
            None => (rest, None),
            Some((name, port)) => match port.parse() {
                Ok(number @ 1..) => (name, Some(number)),
                _ => return Err(format!("'{port}' is no port: 1 to 65535")),
            },
        };
        if port.is_none() && protocol.is_some() {
            return Err("a protocol needs a port: TO:PORT/tcp".to_owned());
        }
        let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
        if name.is_empty() {
            return Err("a container, an address, host, or outside".to_owned());
        }
        Ok(Self { name, port, protocol })
    }
}

/// `network test`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TestArgs {
    /// A container that runs, an address of one, or host
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    from: String,
    /// A container, an address, host, or outside, with a port: TO:PORT[/tcp|udp]
    to: Target,
    /// How it is shown
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// Fails where packets and policy do not agree.
pub(super) async fn test(ui: &mut Ui, client: &Client, args: TestArgs) -> Result<u8, Failure> {
    let Target { name: to, port, protocol } = args.to;
    let flow = ExplainConfig { from: args.from, to, port, protocol };
    let text = client.network_test(&flow).await?;
    let results: Vec<FlowTest> = parse(&text)?;
    let disagree = results.iter().any(|result| result.agrees == Some(false));
    match args.output {
        Format::Json => output::print_json(ui, &text)?,
        Format::Yaml => output::print_yaml(ui, &text)?,
        Format::Table => {
            let others: Vec<_> = results.iter().flat_map(|one| foreign(&one.explained)).collect();
            let rows = results.into_iter().map(tested).collect();
            for line in table::lines(&TESTED, rows) {
                ui.data(&line)?;
            }
            if disagree && others.is_empty() {
                ui.data("")?;
                ui.data("Something else than the policy has decided, and no firewall is known that would.")?;
            }
            details::print_table(ui, &FOREIGN, others)?;
        }
    }
    Ok(u8::from(disagree))
}

const TESTED: [&str; 7] = ["FAMILY", "FROM", "TO", "POLICY", "RULE", "PACKET", "AGREE"];

fn tested(FlowTest { explained, packet, agrees }: FlowTest) -> Vec<String> {
    let Explanation { family, source, destination, verdict, rule, why, .. } = explained;
    let agrees = match agrees {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "unknown",
    };
    vec![family, source, destination, verdict, format!("{rule}: {why}"), packet, agrees.to_owned()]
}

pub(super) async fn explain(
    ui: &mut Ui,
    client: &Client,
    args: ExplainArgs,
) -> Result<u8, Failure> {
    let Target { name: to, port, protocol } = args.to;
    let flow = ExplainConfig { from: args.from, to, port, protocol };
    let text = client.network_explain(&flow).await?;
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
            foreign: _,
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
    let foreign: Vec<_> = explained.iter().flat_map(foreign).collect();
    details::print_table(ui, &columns, explained.into_iter().map(row).collect())?;
    details::print_table(ui, &FOREIGN, foreign)
}

const FOREIGN: [&str; 4] = ["FAMILY", "BUT", "FIREWALL", "LINE TO ADD"];

/// The firewalls of others in the way of a flow.
fn foreign(one: &Explanation) -> Vec<Vec<String>> {
    let rows = one.foreign.iter().map(|chain| {
        let ForeignChain { verdict, chain, line } = chain;
        [&one.family, verdict, chain, line].map(String::clone).to_vec()
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_ports_are_told_apart() {
        let read = |to: &str| {
            to.parse()
                .map(|Target { name, port, protocol }| (name, port, protocol.unwrap_or_default()))
        };
        let said = |to: &str, port, protocol: &str| Ok((to.to_owned(), port, protocol.to_owned()));
        assert_eq!(read("site"), said("site", None, ""));
        assert_eq!(read("site:80"), said("site", Some(80), ""));
        assert_eq!(read("site:53/udp"), said("site", Some(53), "udp"));
        assert_eq!(read("10.0.0.2:80"), said("10.0.0.2", Some(80), ""));
        assert_eq!(read("fd00::2"), said("fd00::2", None, ""));
        assert_eq!(read("[fd00::2]:80/tcp"), said("fd00::2", Some(80), "tcp"));
        assert_eq!(read("[fd00::2]"), said("fd00::2", None, ""));
        for (wrong, why) in [
            ("site:99999", "'99999' is no port: 1 to 65535"),
            ("site:0", "'0' is no port: 1 to 65535"),
            ("site:", "'' is no port: 1 to 65535"),
            ("site:http", "'http' is no port: 1 to 65535"),
            ("site:53/icmp", "'icmp' is no protocol: tcp or udp"),
            ("site/udp", "a protocol needs a port: TO:PORT/tcp"),
            (":80", "a container, an address, host, or outside"),
        ] {
            assert_eq!(read(wrong), Err(why.to_owned()), "{wrong}");
        }
    }
}
