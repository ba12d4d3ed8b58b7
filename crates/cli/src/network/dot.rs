//! A map as Graphviz reads it.

use super::picture::{Picture, Place, Resident};

/// The whole graph: networks are boxes, containers ellipses, an edge for each
/// endpoint.
pub(super) fn graph(picture: &Picture) -> String {
    let mut lines = vec!["graph kleene {".to_owned()];
    for place in &picture.networks {
        lines.push(format!(
            "  {} [shape=box, label={}];",
            node("n", &place.id),
            quoted(&label(place))
        ));
    }
    let mut drawn: Vec<&str> = Vec::new();
    let inside = picture.networks.iter().flat_map(|place| &place.containers);
    for resident in inside.chain(&picture.alone) {
        if !drawn.contains(&resident.id.as_str()) {
            drawn.push(&resident.id);
            let style = if resident.running { "solid" } else { "dashed" };
            let (node, label) = (node("c", &resident.id), quoted(&caption(resident)));
            lines.push(format!("  {node} [shape=ellipse, style={style}, label={label}];"));
        }
    }
    for place in &picture.networks {
        for resident in &place.containers {
            let (from, to) = (node("n", &place.id), node("c", &resident.id));
            let label = quoted(&resident.addresses.join("\n"));
            lines.push(format!("  {from} -- {to} [label={label}];"));
        }
    }
    lines.push("}".to_owned());
    lines.join("\n")
}

/// Ids may begin with a digit, names of nodes may not.
fn node(kind: &str, id: &str) -> String {
    format!("{kind}{id}")
}

fn label(place: &Place) -> String {
    let mut lines = vec![place.name.clone(), format!("{}, {}", place.kind, place.interface)];
    lines.extend(place.subnets.iter().map(|leg| leg.subnet.clone()));
    lines.join("\n")
}

fn caption(resident: &Resident) -> String {
    format!("{}\n{}", resident.name, resident.driver)
}

/// A text of Graphviz: quotes and backslashes are escaped, lines are `\n`, and
/// nothing that a terminal would obey is left.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => quoted.extend(c.escape_default().filter(|c| *c != '\\')),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_quotes() {
        assert_eq!(quoted("a\"];x"), "\"a\\\"];x\"");
        assert_eq!(quoted("a\\\nb"), "\"a\\\\\\nb\"");
        assert_eq!(quoted("a\u{1b}[31m"), "\"au{1b}[31m\"");
    }
}
