//! `network map`: the host's networks and who is in them.

use kleene_model::api::{ContainerSummary, Network, NetworkInspect};

use super::dot;
use super::picture::{self, Picture, Place, Resident};
use super::subnets::Leg;
use crate::client::{ApiError, Client, parse};
use crate::failure::Failure;
use crate::look::{Look, Span, Style};
use crate::ui::Ui;
use crate::{details, output, table};

/// `network map`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct MapArgs {
    /// How to draw it
    #[arg(short, long, value_enum, default_value_t)]
    output: MapFormat,
}

/// How a map is drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum MapFormat {
    /// A tree, for people
    #[default]
    Tree,
    /// For Graphviz
    Dot,
    /// For programs
    Json,
    /// The same as YAML
    Yaml,
}

pub(super) async fn map(ui: &mut Ui, client: &Client, args: MapArgs) -> Result<u8, Failure> {
    let picture = look(client).await?;
    let json = || serde_json::to_vec(&picture).map_err(|err| ApiError::Unexpected(Box::new(err)));
    match args.output {
        MapFormat::Json => output::print_json(ui, &json()?)?,
        MapFormat::Yaml => output::print_yaml(ui, &json()?)?,
        MapFormat::Dot => ui.data(&dot::graph(&picture))?,
        MapFormat::Tree => {
            for line in lines(&picture, Look::of_stdout(ui.is_terminal())) {
                ui.data(&line)?;
            }
        }
    }
    Ok(0)
}

/// Asks for all of it. A network that is removed meanwhile is left out.
async fn look(client: &Client) -> Result<Picture, ApiError> {
    let networks = client.list::<Network>("/networks/list").await?.items;
    let mut inspected = Vec::with_capacity(networks.len());
    for network in networks {
        match client.inspect("networks", &network.id).await {
            Ok(text) => inspected.push(parse::<NetworkInspect>(&text)?),
            Err(err) if err.is("network-not-found", "network not found") => {}
            Err(err) => return Err(err),
        }
    }
    let containers = client.list::<ContainerSummary>("/containers/list?all=true").await?.items;
    Ok(picture::compose(&inspected, &containers))
}

/// The characters of a tree.
struct Twigs {
    /// Before an entry that others follow, and below it.
    inner: (&'static str, &'static str),
    /// Before the last entry, and below it.
    last: (&'static str, &'static str),
}

const UTF8: Twigs = Twigs { inner: ("├─ ", "│  "), last: ("└─ ", "   ") };
const ASCII: Twigs = Twigs { inner: ("|- ", "|  "), last: ("`- ", "   ") };

/// The picture as a tree.
fn lines(picture: &Picture, look: Look) -> Vec<String> {
    let mut tree = Tree { look, twigs: if look.utf8 { &UTF8 } else { &ASCII }, lines: Vec::new() };
    tree.lines.push("host".to_owned());
    let alone = usize::from(!picture.alone.is_empty());
    let entries = picture.networks.len() + alone;
    for (at, place) in picture.networks.iter().enumerate() {
        tree.entry("", at + 1 == entries, &network(place, look), &place.containers);
    }
    if alone == 1 {
        let title = [span("in no network".to_owned(), Style::Strong)];
        tree.entry("", true, &title, &picture.alone);
    }
    tree.lines
}

struct Tree {
    look: Look,
    twigs: &'static Twigs,
    lines: Vec<String>,
}

impl Tree {
    /// One entry behind `stem`, and the containers below it.
    fn entry(&mut self, stem: &str, last: bool, words: &[Span], below: &[Resident]) {
        let (before, behind) = if last { self.twigs.last } else { self.twigs.inner };
        let stem_below = format!("{stem}{behind}");
        let rest = if below.is_empty() { "   " } else { self.twigs.inner.1 };
        self.fill(&format!("{stem}{before}"), &format!("{stem_below}{rest}"), words);
        let columns = Columns::of(below, self.look);
        for (at, resident) in below.iter().enumerate() {
            self.entry(&stem_below, at + 1 == below.len(), &columns.row(resident), &[]);
        }
    }

    /// Words two blanks apart; those that a terminal has no room for go on
    /// below.
    fn fill(&mut self, stem: &str, stem_below: &str, words: &[Span]) {
        let mut line = vec![span(stem.to_owned(), Style::Faint)];
        let mut used = table::width(stem);
        for (at, word) in words.iter().enumerate() {
            let width = table::width(word.text.trim_end());
            if at > 0 && self.look.width.is_some_and(|columns| used + 2 + width > columns) {
                self.lines.push(self.look.line(&line));
                line = vec![span(stem_below.to_owned(), Style::Faint)];
                used = table::width(stem_below);
            } else if at > 0 {
                line.push(span("  ".to_owned(), Style::Plain));
                used += 2;
            }
            used += table::width(&word.text);
            line.push(word.clone());
        }
        self.lines.push(self.look.line(&line));
    }
}

fn span(text: String, style: Style) -> Span {
    Span { text, style }
}

/// What is said of a network.
fn network(place: &Place, look: Look) -> Vec<Span> {
    let plain = |text: &str| span(look.text(text), Style::Plain);
    let mut words = vec![span(look.text(&place.name), Style::Strong), plain(&place.kind)];
    words.push(plain(&place.interface));
    for Leg { subnet, gateway } in &place.subnets {
        words.push(match gateway {
            Some(gateway) => plain(&format!("{subnet} (gateway {gateway})")),
            None => plain(subnet),
        });
    }
    words.extend(place.linked.iter().map(|interface| plain(&format!("+ {interface}"))));
    if let Some(why) = &place.degraded {
        words.push(span(look.text(&format!("DEGRADED: {why}")), Style::Bad));
    }
    words
}

/// How wide the names and drivers of a group are.
struct Columns {
    look: Look,
    name: usize,
    driver: usize,
}

impl Columns {
    fn of(group: &[Resident], look: Look) -> Self {
        let widest = |text: fn(&Resident) -> &str| {
            let widths = group.iter().map(|resident| table::width(&look.text(text(resident))));
            widths.max().unwrap_or_default()
        };
        Self { look, name: widest(|r| &r.name), driver: widest(|r| &r.driver) }
    }

    /// What is said of a container.
    fn row(&self, resident: &Resident) -> Vec<Span> {
        let text = |text: &str| self.look.text(text);
        let state = if resident.running { Style::Good } else { Style::Faint };
        let mut words = vec![
            span(padded(text(&resident.name), self.name), Style::Plain),
            span(padded(text(&resident.driver), self.driver), Style::Plain),
            span(details::status(resident.running).to_owned(), state),
        ];
        let addresses = resident.addresses.iter();
        words.extend(addresses.map(|address| span(text(address), Style::Plain)));
        if resident.networks > 1 {
            words.push(span(format!("(in {} networks)", resident.networks), Style::Faint));
        }
        words
    }
}

fn padded(mut text: String, width: usize) -> String {
    let missing = width.saturating_sub(table::width(&text));
    text.extend(std::iter::repeat_n(' ', missing));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resident(name: &str, driver: &str, addresses: &[&str], networks: usize) -> Resident {
        Resident {
            id: "173a1a8d848d".to_owned(),
            name: name.to_owned(),
            driver: driver.to_owned(),
            running: driver == "vnet",
            addresses: addresses.iter().map(|&address| address.to_owned()).collect(),
            networks,
        }
    }

    fn host() -> Picture {
        let leg = |subnet: &str, gateway: &str| Leg {
            subnet: subnet.to_owned(),
            gateway: Some(gateway.to_owned()),
        };
        Picture {
            networks: vec![Place {
                id: "2f1dc29b8f36".to_owned(),
                name: "wéb".to_owned(),
                kind: "bridge".to_owned(),
                interface: "kleene0".to_owned(),
                subnets: vec![leg("10.4.6.0/24", "10.4.6.1"), leg("fd00::/64", "fd00::1")],
                linked: vec!["eth7".to_owned()],
                degraded: Some("eth7 is gone".to_owned()),
                containers: vec![
                    resident("日本", "vnet", &["10.4.6.9", "fd00::9"], 2),
                    resident("db\u{1b}[2J", "ipnet", &["10.4.6.3"], 1),
                ],
            }],
            alone: vec![resident("tool", "host", &[], 0)],
        }
    }

    fn drawn(look: Look) -> String {
        lines(&host(), look).join("\n")
    }

    #[test]
    fn without_a_terminal_nothing_is_broken_or_coloured() {
        insta::assert_snapshot!(drawn(Look { utf8: true, colours: false, width: None }), @r"
        host
        ├─ wéb  bridge  kleene0  10.4.6.0/24 (gateway 10.4.6.1)  fd00::/64 (gateway fd00::1)  + eth7  DEGRADED: eth7 is gone
        │  ├─ 日本         vnet   running  10.4.6.9  fd00::9  (in 2 networks)
        │  └─ db\u{1b}[2J  ipnet  stopped  10.4.6.3
        └─ in no network
           └─ tool  host  stopped
        ");
        insta::assert_snapshot!(drawn(Look { utf8: false, colours: false, width: None }), @r"
        host
        |- w\u{e9}b  bridge  kleene0  10.4.6.0/24 (gateway 10.4.6.1)  fd00::/64 (gateway fd00::1)  + eth7  DEGRADED: eth7 is gone
        |  |- \u{65e5}\u{672c}  vnet   running  10.4.6.9  fd00::9  (in 2 networks)
        |  `- db\u{1b}[2J       ipnet  stopped  10.4.6.3
        `- in no network
           `- tool  host  stopped
        ");
    }

    #[test]
    fn a_narrow_terminal_gets_more_lines() {
        for width in [20, 36, 60, 90] {
            let drawn = lines(&host(), Look { utf8: true, colours: false, width: Some(width) });
            assert!(drawn.iter().all(|line| table::width(line) <= width), "{width}: {drawn:#?}");
            let all = drawn.join("\n");
            for part in ["10.4.6.9", "fd00::9", "eth7 is gone"] {
                assert!(all.contains(part) || width < 36, "{part}: {all}");
            }
        }
        insta::assert_snapshot!(drawn(Look { utf8: true, colours: false, width: Some(40) }), @r"
        host
        ├─ wéb  bridge  kleene0
        │  │  10.4.6.0/24 (gateway 10.4.6.1)
        │  │  fd00::/64 (gateway fd00::1)
        │  │  + eth7  DEGRADED: eth7 is gone
        │  ├─ 日本         vnet   running
        │  │     10.4.6.9  fd00::9
        │  │     (in 2 networks)
        │  └─ db\u{1b}[2J  ipnet  stopped
        │        10.4.6.3
        └─ in no network
           └─ tool  host  stopped
        ");
    }

    #[test]
    fn colours_repeat_what_the_words_say() {
        let coloured = drawn(Look { utf8: true, colours: true, width: None });
        assert!(coloured.contains("\u{1b}[32mrunning\u{1b}[0m"), "{coloured}");
        let mut plain = coloured;
        for code in ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[2m", "\u{1b}[31m", "\u{1b}[32m"] {
            plain = plain.replace(code, "");
        }
        assert_eq!(plain, drawn(Look { utf8: true, colours: false, width: None }));
    }

    #[test]
    fn an_empty_host_is_a_host() {
        let empty = Picture { networks: Vec::new(), alone: Vec::new() };
        assert_eq!(lines(&empty, Look { utf8: false, colours: false, width: None }), ["host"]);
    }
}
