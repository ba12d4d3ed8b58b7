//! Writes `docs/performance.md` and its pictures from what was measured.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::linux::figures::median;
use crate::linux::plot::{self, Curve};
use crate::linux::policy_page;

/// How many containers are drawn as one point.
const WINDOW: usize = 20;

/// `DIRECTORY PAGE`: the numbers, and the page to write. The pictures go into a
/// directory beside it that has its name.
pub(crate) fn write(args: &[String]) -> Result<(), String> {
    let [from, to] = args else { return Err("page FROM TO".to_owned()) };
    let pictures = Path::new(to).with_extension("");
    std::fs::create_dir_all(&pictures)
        .map_err(|error| format!("make {}: {error}", pictures.display()))?;
    let page = Page { from: PathBuf::from(from), pictures, text: String::new() };
    let text = page.all()?;
    std::fs::write(to, text).map_err(|error| format!("write {to}: {error}"))
}

struct Page {
    from: PathBuf,
    pictures: PathBuf,
    text: String,
}

impl Page {
    fn all(mut self) -> Result<String, String> {
        self.say(HEAD);
        let machine = machine();
        self.say(&machine);
        self.attach()?;
        self.traffic("ipnet", "Traffic: `ipnet` beside the loopback of the host")?;
        self.traffic("net", "Traffic: `vnet` beside a bare veth pair and bridge")?;
        self.scale()?;
        let policy = policy_page::section(&self.numbers("policy")?);
        self.say(&policy);
        self.run()?;
        Ok(self.text)
    }

    fn say(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// The numbers of a benchmark; null where it was not run.
    fn numbers(&self, name: &str) -> Result<Value, String> {
        let file = self.from.join(name).with_extension("json");
        let Ok(text) = std::fs::read_to_string(&file) else { return Ok(Value::Null) };
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))
    }

    fn picture(&mut self, name: &str, about: &str) {
        let directory = self.pictures.file_name().unwrap_or_default().to_string_lossy();
        let line = format!("![{about}]({directory}/{name}.svg)\n");
        self.say(&line);
    }

    fn attach(&mut self) -> Result<(), String> {
        let mut rows = Vec::new();
        for name in ["attach-ipnet", "attach-net"] {
            rows.extend(self.numbers(name)?.as_array().cloned().unwrap_or_default());
        }
        if rows.is_empty() {
            return Ok(());
        }
        let rows = &rows;
        self.say(ATTACH);
        let mut variants: Vec<&str> =
            rows.iter().filter_map(|row| row["variant"].as_str()).collect();
        variants.dedup();
        self.say(
            "| | first tenth, µs | × floor | last tenth, µs | × floor | growth | of the floor |",
        );
        self.say("|---|---:|---:|---:|---:|---:|---:|");
        for variant in &variants {
            for family in ["v4", "v6", "both"] {
                for what in ["attach", "detach"] {
                    let line = Series::of(rows, variant, family, what).line(variant, family, what);
                    self.say(&line);
                }
            }
        }
        self.say("");
        for variant in variants {
            let name = format!("attach-{}", variant.replace(' ', "-"));
            let mut curves = Vec::new();
            for what in ["attach", "detach"] {
                let series = Series::of(rows, variant, "both", what);
                curves.push(Curve {
                    name: what.to_owned(),
                    thin: false,
                    points: smooth(&series.own),
                });
                let (name, points) = (format!("{what}, floor"), smooth(&series.floor));
                curves.push(Curve { name, thin: true, points });
            }
            let title = format!("{variant}, both families");
            let axes = ["containers on the network", "microseconds"];
            plot::curves(&self.pictures.join(&name).with_extension("svg"), &title, axes, &curves)?;
            self.picture(&name, &title);
        }
        Ok(())
    }

    fn traffic(&mut self, name: &str, title: &str) -> Result<(), String> {
        let numbers = self.numbers(name)?;
        let Some(ways) = numbers["ways"].as_array() else { return Ok(()) };
        self.say(&format!("## {title}\n"));
        self.say(&format!(
            "One TCP connection, and connections made and served one after another; medians of {} \
             rounds in turns. A client in a container passes its seccomp filter with every system \
             call, which connections feel and streams do not.\n",
            numbers["rounds"]
        ));
        self.say("| | Gbit/s | connections/s | beside | stream | connections | budget |");
        self.say("|---|---:|---:|---|---:|---:|---|");
        for way in ways {
            let beside = &way["beside"];
            let compared = if beside.is_null() {
                "| | | |".to_owned()
            } else {
                format!(
                    "{} | {:.2} | {:.2} | ≥ {} and {}: {}",
                    beside["name"].as_str().unwrap_or_default(),
                    float(&beside["stream"]),
                    float(&beside["connections"]),
                    beside["least_stream"],
                    beside["least_connections"],
                    within(&beside["within"]),
                )
            };
            let name = way["name"].as_str().unwrap_or_default();
            let (gbit, connections) = (float(&way["gbit"]), float(&way["connections"]));
            self.say(&format!("| {name} | {gbit:.1} | {connections:.0} | {compared} |"));
        }
        self.say("");
        let bars: Vec<(String, f64)> = ways
            .iter()
            .map(|way| (way["name"].as_str().unwrap_or_default().to_owned(), float(&way["gbit"])))
            .collect();
        let file = self.pictures.join(format!("traffic-{name}.svg"));
        plot::bars(&file, "one TCP stream, Gbit/s", &bars)?;
        self.picture(&format!("traffic-{name}"), "one TCP stream, Gbit/s");
        Ok(())
    }

    fn scale(&mut self) -> Result<(), String> {
        let numbers = self.numbers("scale")?;
        if numbers.is_null() {
            return Ok(());
        }
        self.say(&format!(
            "## A host full of containers\n\n{} `ipnet` containers on one network and {} `vnet` ones \
             on another, in one daemon. Starts are those of `klee run -d`, the client included. \
             Questions are asked while a container is connected and disconnected without a pause.\n",
            numbers["ipnet"], numbers["vnet"]
        ));
        self.say("| | measured | budget |\n|---|---:|---|");
        for (what, measured, budget) in scale_rows(&numbers) {
            self.say(&format!("| {what} | {measured} | {budget} |"));
        }
        self.say("");
        let curve = |key: &str, name: &str| {
            let points = numbers[key].as_array().into_iter().flatten();
            let points =
                points.map(|row| (float(&row["count"]), float(&row["median_ms"]))).collect();
            Curve { name: name.to_owned(), thin: false, points }
        };
        let curves =
            [curve("start_ipnet_ms", "ipnet"), curve("start_vnet_ms", "vnet, beside them")];
        let file = self.pictures.join("start.svg");
        let axes = ["containers that run", "milliseconds"];
        plot::curves(&file, "klee run -d", axes, &curves)?;
        self.picture("start", "klee run -d");
        Ok(())
    }

    fn run(&mut self) -> Result<(), String> {
        let numbers = self.numbers("run")?;
        let Some(timings) = numbers["timings"].as_array() else { return Ok(()) };
        self.say("## `klee run` to its end, beside other engines\n");
        self.say("Milliseconds from the command line to the end of `true` in a container.\n");
        self.say("| | median | p90 |\n|---|---:|---:|");
        for row in timings {
            let name = row["name"].as_str().unwrap_or_default();
            let (median, p90) = (float(&row["median_ms"]), float(&row["p90_ms"]));
            self.say(&format!("| {name} | {median:.1} | {p90:.1} |"));
        }
        self.say("");
        for row in numbers["budgets"].as_array().into_iter().flatten() {
            let text = |key: &str| row[key].as_str().unwrap_or_default();
            self.say(&format!(
                "- {}: {:.2} × {}; budget {:.1} ms: {}",
                text("ours"),
                float(&row["ratio"]),
                text("theirs"),
                float(&row["budget_ms"]),
                within(&row["within"]),
            ));
        }
        for row in numbers["left_out"].as_array().into_iter().flatten() {
            let text = |key: &str| row[key].as_str().unwrap_or_default();
            self.say(&format!("- left out: {}: {}", text("name"), text("why")));
        }
        Ok(())
    }
}

pub(crate) fn float(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

/// What was measured on a full host, and its budget.
fn scale_rows(numbers: &Value) -> Vec<(&'static str, String, &'static str)> {
    let of = |key: &str| float(&numbers[key]);
    let question = |key: &str| {
        let churn = &numbers["churn"][key];
        format!("p50 {:.1} ms, p99 {:.1} ms", float(&churn["p50_ms"]), float(&churn["p99_ms"]))
    };
    let mib = |key: &str| format!("{:.1} MiB", of(key) / 1024.0);
    let ms = |key: &str| format!("{:.1} ms", of(key));
    vec![
        ("connect a running container over the API", ms("connect_ms"), "≤ 2.2 ms"),
        ("disconnect it", ms("disconnect_ms"), "≤ 3.9 ms"),
        ("list of all containers", question("list"), "p99 ≤ 20 ms"),
        ("inspect a container", question("container"), "p99 ≤ 5 ms"),
        ("inspect the large network", question("network"), "p99 ≤ 20 ms"),
        ("`kleened`, idle, resident", mib("rss_idle_kib"), "≤ 25 MB"),
        ("`kleened`, full, resident", mib("rss_full_kib"), "≤ 60 MB"),
        (
            "a supervisor, its proportional share",
            format!("{} KiB", numbers["supervisor_pss_kib"]),
            "≤ 338 KiB",
        ),
        ("`kleened` killed and started again: all adopted", ms("restart_ms"), "≤ 1500 ms"),
        (
            "longest wait of a talk with a container meanwhile",
            ms("longest_wait_ms"),
            "no answer is lost",
        ),
        ("stop and remove a container", ms("remove_ms"), ""),
    ]
}

pub(crate) fn within(value: &Value) -> &'static str {
    if value.as_bool() == Some(true) { "within" } else { "missed" }
}

/// One thing measured at every container.
struct Series {
    own: Vec<f64>,
    floor: Vec<f64>,
}

impl Series {
    fn of(rows: &[Value], variant: &str, family: &str, what: &str) -> Self {
        let of = |key: String| {
            let these =
                rows.iter().filter(|row| row["variant"] == variant && row["family"] == family);
            these.filter_map(|row| row[&key].as_f64()).collect()
        };
        Self { own: of(format!("{what}_us")), floor: of(format!("floor_{what}_us")) }
    }

    fn line(&self, variant: &str, family: &str, what: &str) -> String {
        let count = self.own.len();
        let tenth = (count / 10).max(1).min(count);
        let ends = |values: &[f64]| [median(&values[..tenth]), median(&values[count - tenth..])];
        let (own, floor) = (ends(&self.own), ends(&self.floor));
        format!(
            "| {variant}, {family}, {what} | {:.0} | {:.2} | {:.0} | {:.2} | {:.2} | {:.2} |",
            own[0],
            own[0] / floor[0],
            own[1],
            own[1] / floor[1],
            own[1] / own[0],
            floor[1] / floor[0],
        )
    }
}

/// Medians of neighbours.
fn smooth(values: &[f64]) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    let mut at = 0.0;
    for window in values.chunks(WINDOW) {
        let count = f64::from(u32::try_from(window.len()).unwrap_or(u32::MAX));
        points.push((at + count, median(window)));
        at += count;
    }
    points
}

/// What it was measured on.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let of = |key: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let release = read("/proc/sys/kernel/osrelease");
    // Who built it, and how often, is behind the first dash.
    let kernel = release.trim().split('-').next().unwrap_or_default();
    let mut text = String::new();
    let _ = writeln!(text, "Measured on Linux {}, {cpus} × {}.", kernel, of("model name"));
    text
}

const HEAD: &str = "\
# Performance

This page is written by `cargo xtask bench net ipnet policy run`; nothing in it is typed by hand.
What counts are the ratios: both sides are measured in one run and in turns, in a
throw-away host on one machine.
";

const ATTACH: &str = "\
## Attach and detach a running container

In the engine and the kernel of the host, the API left out, at each container of
one network. The floor is the kernel's own time: the same messages, built
beforehand, over sockets that are open already. The budget is 2 × the floor, and
the thousandth container within 1.5 × the first hundred, where the kernel lets it.

What grows is the kernel's, and it is the container's address on the host's
interface. To add an IPv6 address, Linux looks through all IPv6 addresses of the
host for one that has expired (`addrconf_verify_rtnl`); to remove one, through all
IPv6 routes for those that prefer it as their source (`rt6_remove_prefsrc`). IPv4
addresses of an interface are a list that is walked twice. Routes, neighbour
entries and elements of sets cost the same at the thousandth container as at the
first. At the end of each run the benchmark prints the time of each message.

Before an address of a custom network is given out, the neighbours on its wire are
looked at; that is a question, and not in the floor.

To attach a `vnet` container sends its new address to every port of the bridge, so
that neighbours of an earlier holder find it at once; that part grows with the
ports and is not in the floor.
";
