//! The section on the policy.

use std::fmt::Write as _;

use serde_json::Value;

use crate::linux::page::{float, within};

/// The section as text; empty where nothing was measured.
pub(crate) fn section(numbers: &Value) -> String {
    let rows = list(&numbers["rows"]);
    let shapes = list(&numbers["shapes"]);
    let mut text = String::new();
    if rows.is_empty() && shapes.is_empty() {
        return text;
    }
    text.push_str("## What the policy costs\n\n");
    if !rows.is_empty() {
        let _ = writeln!(text, "{COSTS}\nMedians of {} rounds in turns.\n", numbers["rounds"]);
        text.push_str("| | measured | beside | ratio | budget |\n|---|---:|---|---:|---|\n");
        for row in rows {
            text.push_str(&line(row));
        }
        text.push('\n');
    }
    if !shapes.is_empty() {
        let _ = writeln!(text, "{SHAPES}");
        text.push_str(&table(shapes));
    }
    text
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn line(row: &Value) -> String {
    let unit = text_of(&row["unit"]);
    let beside = match row["beside"].as_str() {
        Some(name) => {
            format!("{}, {name} | {:.2}", number(&row["base"], unit), float(&row["ratio"]))
        }
        None => " | ".to_owned(),
    };
    let (what, measured) = (text_of(&row["what"]), number(&row["measured"], unit));
    // A limit that is no ratio has the number's unit.
    let unit = if row["beside"].is_null() { format!(" {unit}") } else { String::new() };
    let budget = row["budget"].as_str();
    let budget = budget.map(|limit| format!("{limit}{unit}: {}", within(&row["within"])));
    format!("| {what} | {measured} | {beside} | {} |\n", budget.unwrap_or_default())
}

/// A number with its unit, in as many digits as it deserves.
fn number(value: &Value, unit: &str) -> String {
    let value = float(value);
    if value < 10.0 {
        format!("{value:.2} {unit}")
    } else if value < 100.0 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

/// One line for each shape; the columns are the counts of the first.
fn table(shapes: &[Value]) -> String {
    let counts = shapes.first().map(|shape| list(&shape["rates"])).unwrap_or_default();
    let mut text = String::from("| |");
    for count in counts {
        let ports = &count["ports"];
        let noun = if *ports == 1 { "port" } else { "ports" };
        let _ = write!(text, " {ports} {noun} |");
    }
    let _ = writeln!(text, "\n|---|{}", "---:|".repeat(counts.len()));
    for shape in shapes {
        let _ = write!(text, "| {} |", text_of(&shape["name"]));
        for rate in list(&shape["rates"]) {
            let _ = write!(text, " {:.0} |", float(&rate["connections"]));
        }
        text.push('\n');
    }
    text
}

const COSTS: &str = "\
All published ports are single ones, no ranges, and those that are not asked are of other
containers. Outside is a host behind the uplink. Without the policy means that the daemon
was killed and its tables were deleted, so that neither they nor the tracking of
connections is on the way; the containers are the same. What the tracking alone takes
is measured beside it, with one rule in place of the policy: whatever knows an answer from
a question pays it. With `br_netfilter` means `net.bridge.bridge-nf-call-iptables=1`, as
Docker and Kubernetes set it: what goes from port to port of a bridge passes the rules of
IP, too; in all other lines it is 0. What the route's move takes is from the request for it to the first
answer by the new interface; before, whoever asks by that interface is refused.
";

const SHAPES: &str = "\
What becomes of a port's first packet with the rules that other engines write: connections
from outside to the port that was published last, for each second. Of the others it is the
rules alone, loaded into a host with a bare bridge and veth pair; Docker's as
`iptables-nft` translates them. The server is the same, and no filter of system calls is
in its way.
";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_measured_is_nothing_said() {
        assert_eq!(section(&Value::Null), "");
        assert_eq!(section(&json!({"rows": [], "shapes": []})), "");
    }

    #[test]
    fn lines_say_what_was_compared() {
        let row = json!({
            "what": "this", "unit": "1/s", "measured": 950.0, "beside": "that", "base": 1000.0,
            "ratio": 0.95, "budget": "≥ 0.95", "within": true,
        });
        assert_eq!(line(&row), "| this | 950 1/s | 1000 1/s, that | 0.95 | ≥ 0.95: within |\n");
        let row = json!({
            "what": "this", "unit": "ms", "measured": 12.34, "beside": null, "base": null,
            "ratio": null, "budget": "≤ 10", "within": false,
        });
        assert_eq!(line(&row), "| this | 12.3 ms |  |  | ≤ 10 ms: missed |\n");
        let row = json!({
            "what": "this", "unit": "1/s", "measured": 1.0, "beside": "that", "base": 2.0,
            "ratio": 0.5, "budget": null, "within": null,
        });
        assert_eq!(line(&row), "| this | 1.00 1/s | 2.00 1/s, that | 0.50 |  |\n");
    }

    #[test]
    fn shapes_are_lines_and_counts_are_columns() {
        let rates = json!([{"ports": 1, "connections": 5.4}, {"ports": 9, "connections": 4.0}]);
        let text = table(&[json!({"name": "a", "rates": rates})]);
        assert_eq!(text, "| | 1 port | 9 ports |\n|---|---:|---:|\n| a | 5 | 4 |\n");
    }
}
