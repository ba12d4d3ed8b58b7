//! Whether firewalls of others let containers' traffic pass.

use ipnet::IpNet;
use kleene_model::InstanceName;

use super::net::usual_passages;
use super::nft::foreign::{Foreign, Obstacle};
use crate::doctor::{Finding, Level};

const ID: &str = "firewall";

/// Asks them about the traffic of this daemon's networks, or of one in the first of
/// these subnets.
pub(super) fn firewall(instance: &InstanceName, subnets: &[IpNet]) -> Finding {
    let read = || -> Result<Vec<Obstacle>, Box<dyn std::error::Error>> {
        let passages = usual_passages(instance, subnets)?;
        let foreign = Foreign::of_host(instance)?;
        let mut found: Vec<Obstacle> = Vec::new();
        for obstacle in passages.iter().flat_map(|passage| foreign.obstacles(passage)) {
            if !found.contains(&obstacle) {
                found.push(obstacle);
            }
        }
        Ok(found)
    };
    match read() {
        Ok(obstacles) => judged(&obstacles),
        Err(err) => {
            let what = format!("the firewalls of others cannot be read: {}", chain(&*err));
            let then =
                ["they may drop what containers send", "see whether `nft list ruleset` works"];
            Finding::bad(ID, Level::Warn, what, then)
        }
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    kleene_engine::host::chain(error)
}

fn judged(obstacles: &[Obstacle]) -> Finding {
    if obstacles.is_empty() {
        return Finding::ok(ID, "no firewall of somebody else drops what containers send");
    }
    // One chain may be in the way of several networks, with a line for each.
    let mut named: Vec<String> = Vec::new();
    for obstacle in obstacles {
        let verdict = if obstacle.certain { "drops" } else { "may drop" };
        let name = format!("{} {verdict} what containers send", obstacle.chain);
        if !named.contains(&name) {
            named.push(name);
        }
    }
    let mut lines: Vec<&str> = obstacles.iter().map(|one| one.line.as_str()).collect();
    lines.retain(|line| !line.is_empty());
    lines.dedup();
    let remedy = match lines.is_empty() {
        true => "have them accept it".to_owned(),
        false => lines.join(" && "),
    };
    let consequence = match obstacles.iter().any(|obstacle| obstacle.certain) {
        true => "containers do not reach the outside, nor are their published ports reached",
        false => "it hangs on what cannot be told here: klee network explain asks about one flow",
    };
    Finding::bad(ID, Level::Warn, named.join("; "), [consequence, &remedy])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chain_is_named_with_its_line() {
        assert_eq!(judged(&[]).level, Level::Ok);
        let one = |certain, chain: &str, line: &str| Obstacle {
            certain,
            chain: chain.to_owned(),
            line: line.to_owned(),
        };
        let both = judged(&[one(true, "a", "x"), one(true, "a", "y")]);
        assert_eq!(
            (both.what.as_str(), both.remedy.as_str()),
            ("a drops what containers send", "x && y")
        );
        let found = judged(&[one(true, "a", "x"), one(false, "b", ""), one(false, "c", "y")]);
        assert_eq!(found.level, Level::Warn);
        assert_eq!(
            found.what,
            "a drops what containers send; b may drop what containers send; c may drop what \
             containers send"
        );
        assert_eq!(found.remedy, "x && y");
        assert!(found.consequence.contains("do not reach"));
        assert!(judged(&[one(false, "b", "")]).consequence.contains("klee network explain"));
    }
}
