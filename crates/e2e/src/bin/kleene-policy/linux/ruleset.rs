//! The daemon's nftables tables, read with `nft -j`, and commands that break them.
//!
//! What is broken is chosen by what it is, a hook, a verdict, a word in a name, and
//! not by the names of the day.

use kleene_e2e::{Run, World};
use serde_json::{Value, json};

/// Everything of the daemon's own tables.
pub(crate) struct Ruleset {
    /// What is in all of them, in no order.
    whole: Vec<String>,
    /// What `nft -j` lists, without what it is wrapped in.
    things: Vec<(String, Value)>,
}

impl Ruleset {
    pub(crate) fn read(world: &World) -> Result<Self, String> {
        let listed = nft(world, &["-j", "list", "tables"], None)?;
        let listed: Value = serde_json::from_str(&listed).map_err(|error| error.to_string())?;
        let mut ruleset = Self { whole: Vec::new(), things: Vec::new() };
        for (_, table) in unwrapped(&listed).into_iter().filter(|(kind, _)| kind == "table") {
            let text = |key: &str| table[key].as_str().unwrap_or_default().to_owned();
            let (family, name) = (text("family"), text("name"));
            if name.starts_with("kleene-") {
                let whole = nft(world, &["-s", "list", "table", &family, &name], None)?;
                let words = whole.split([',', '{', '}', '\n']);
                ruleset.whole.extend(words.map(|word| word.trim().to_owned()));
                let listed = nft(world, &["-j", "list", "table", &family, &name], None)?;
                let listed = serde_json::from_str(&listed).map_err(|error| error.to_string())?;
                ruleset.things.extend(unwrapped(&listed));
            }
        }
        if ruleset.whole.is_empty() {
            return Err("the daemon has no nftables table".to_owned());
        }
        ruleset.whole.sort();
        Ok(ruleset)
    }

    /// Whether all that was read is there, and nothing else.
    pub(crate) fn is_whole(&self, world: &World) -> bool {
        Self::read(world).is_ok_and(|now| now.whole == self.whole)
    }

    /// Carries commands out, all or none.
    pub(crate) fn apply(world: &World, commands: Vec<Value>) -> Result<(), String> {
        let text = json!({ "nftables": commands }).to_string();
        nft(world, &["-j", "-f", "-"], Some(text)).map(drop)
    }

    fn of(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.things.iter().filter(move |(of, _)| of == kind).map(|(_, thing)| thing)
    }

    fn base(&self, wanted: impl Fn(&str, &str) -> bool) -> Vec<&Value> {
        let chains = self.of("chain").filter(|chain| {
            let text = |key: &str| chain[key].as_str().unwrap_or_default();
            wanted(text("hook"), text("type"))
        });
        chains.collect()
    }

    /// Empties base chains, by hook and type.
    pub(crate) fn flush(&self, wanted: impl Fn(&str, &str) -> bool) -> Vec<Value> {
        let has_rules = |chain: &Value| {
            self.of("rule").any(|rule| {
                rule["chain"] == chain["name"]
                    && rule["table"] == chain["table"]
                    && rule["family"] == chain["family"]
            })
        };
        let chains = self.base(wanted).into_iter().filter(|chain| has_rules(chain));
        chains.map(|chain| json!({"flush": {"chain": place(chain, "name")}})).collect()
    }

    /// Empties all chains of a family's tables.
    pub(crate) fn flush_family(&self, family: &str) -> Vec<Value> {
        let chains = self.of("chain").filter(|chain| chain["family"] == family);
        chains.map(|chain| json!({"flush": {"chain": place(chain, "name")}})).collect()
    }

    /// Puts a rule before all others of base chains, by hook and type.
    pub(crate) fn first(&self, verdict: &str, wanted: impl Fn(&str, &str) -> bool) -> Vec<Value> {
        let chains = self.base(wanted).into_iter();
        let rule = |chain: &Value| {
            json!({"insert": {"rule": {
                "family": chain["family"], "table": chain["table"], "chain": chain["name"],
                "expr": [{ verdict: null }],
            }}})
        };
        chains.map(rule).collect()
    }

    /// Replaces a statement wherever it is.
    pub(crate) fn swap(&self, from: &str, to: &str) -> Vec<Value> {
        let mut commands = Vec::new();
        for rule in self.of("rule") {
            let statements = rule["expr"].as_array().cloned().unwrap_or_default();
            // `nft` does not take back what it shows as bytes of a header.
            let raw = rule["expr"].to_string().contains("\"base\"");
            if raw || statements.iter().all(|one| one.get(from).is_none()) {
                continue;
            }
            let expr: Vec<Value> = statements
                .into_iter()
                .map(|one| if one.get(from).is_some() { json!({ to: null }) } else { one })
                .collect();
            commands.push(json!({"replace": {"rule": {
                "family": rule["family"], "table": rule["table"], "chain": rule["chain"],
                "handle": rule["handle"], "expr": expr,
            }}}));
        }
        commands
    }

    /// Deletes rules that contain one of these statements.
    pub(crate) fn delete(&self, statements: &[&str]) -> Vec<Value> {
        let is_one = |rule: &&Value| {
            let all = rule["expr"].as_array().into_iter().flatten();
            all.into_iter().any(|one| statements.iter().any(|name| one.get(name).is_some()))
        };
        let rules = self.of("rule").filter(is_one);
        rules
            .map(|rule| {
                json!({"delete": {"rule": {
                    "family": rule["family"], "table": rule["table"], "chain": rule["chain"],
                    "handle": rule["handle"],
                }}})
            })
            .collect()
    }

    /// Takes `many` elements out of every set or map of which this is true: its
    /// name, and what a map leads to (empty for a set).
    pub(crate) fn forget(&self, many: usize, wanted: impl Fn(&str, &str) -> bool) -> Vec<Value> {
        let mut commands = Vec::new();
        for thing in self.of("set").chain(self.of("map")) {
            let name = thing["name"].as_str().unwrap_or_default();
            let leads_to = match &thing["map"] {
                Value::String(one) => one.clone(),
                Value::Null => String::new(),
                several => several.to_string(),
            };
            let elements = thing["elem"].as_array().cloned().unwrap_or_default();
            let gone: Vec<Value> = elements.into_iter().take(many).collect();
            if !gone.is_empty() && wanted(name, &leads_to) {
                commands.push(json!({"delete": {"element": {
                    "family": thing["family"], "table": thing["table"], "name": name,
                    "elem": gone,
                }}}));
            }
        }
        commands
    }
}

fn place(thing: &Value, name: &str) -> Value {
    json!({"family": thing["family"], "table": thing["table"], "name": thing[name]})
}

/// What `nft -j` lists: each thing's kind, and itself.
fn unwrapped(listed: &Value) -> Vec<(String, Value)> {
    let all = listed["nftables"].as_array().into_iter().flatten();
    let all = all.filter_map(|one| one.as_object()?.iter().next());
    all.map(|(kind, thing)| (kind.clone(), thing.clone())).collect()
}

fn nft(world: &World, words: &[&str], input: Option<String>) -> Result<String, String> {
    let run = Run::new([&["nft"], words].concat());
    let output = world.run_with(&input.into_iter().fold(run, Run::stdin));
    if output.status == Some(0) {
        return Ok(output.stdout().into_owned());
    }
    Err(output.to_string())
}
