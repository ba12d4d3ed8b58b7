//! The table, the budgets, and the JSON.

use serde_json::json;

/// Ours, theirs, the most that ours may take of theirs, and more milliseconds
/// on top.
const BUDGETS: [(&str, &str, f64, f64); 5] = [
    ("klee, host", "podman, host", 0.35, 0.0),
    ("klee, vnet", "podman, bridge", 0.15, 0.0),
    ("klee, vnet, a port", "podman, bridge, a port", 0.15, 0.0),
    ("klee, host", "crun, no network", 1.0, 25.0),
    ("klee, vnet", "lxc-execute, bridge", 1.0, 0.0),
];

struct Timing {
    name: &'static str,
    runs: usize,
    min: f64,
    median: f64,
    p90: f64,
}

fn timing(name: &'static str, mut taken: Vec<u64>) -> Timing {
    taken.sort_unstable();
    let at = |percent: usize| {
        let index = (taken.len() * percent / 100).min(taken.len().saturating_sub(1));
        // Nanoseconds of a run fit a float with digits to spare.
        std::time::Duration::from_nanos(taken.get(index).copied().unwrap_or(0)).as_secs_f64() * 1e3
    };
    Timing { name, runs: taken.len(), min: at(0), median: at(50), p90: at(90) }
}

/// Prints everything and writes the JSON where it is wanted.
pub(crate) fn report(
    taken: Vec<(&'static str, Vec<u64>)>,
    left_out: &[(&'static str, String)],
    memory: Vec<serde_json::Value>,
    file: Option<&str>,
) -> Result<(), String> {
    let timings: Vec<Timing> = taken.into_iter().map(|(name, taken)| timing(name, taken)).collect();
    println!("\n{:<22} {:>5} {:>9} {:>9} {:>9}", "run to exit, ms", "runs", "min", "median", "p90");
    for t in &timings {
        println!("{:<22} {:>5} {:>9.2} {:>9.2} {:>9.2}", t.name, t.runs, t.min, t.median, t.p90);
    }
    println!();
    let budgets = budgets(&timings);
    let rows = timings.iter().map(|t| {
        json!({"name": t.name, "runs": t.runs, "min_ms": t.min, "median_ms": t.median, "p90_ms": t.p90})
    });
    let left_out = left_out.iter().map(|(name, why)| json!({"name": name, "why": why}));
    let all = json!({
        "timings": rows.collect::<Vec<_>>(), "budgets": budgets, "memory": memory,
        "left_out": left_out.collect::<Vec<_>>(),
    });
    crate::linux::write_json(file, &all)
}

fn budgets(timings: &[Timing]) -> Vec<serde_json::Value> {
    let median = |name| timings.iter().find(|t| t.name == name).map(|t| t.median);
    let mut rows = Vec::new();
    for (ours, theirs, factor, more) in BUDGETS {
        let (Some(own), Some(other)) = (median(ours), median(theirs)) else {
            println!("not compared: {ours} with {theirs}");
            continue;
        };
        let (limit, ratio) = (other * factor + more, own / other);
        let verdict =
            if own <= limit { "within".to_owned() } else { format!("{:.1} ms over", own - limit) };
        println!("{ours}: {ratio:.2} × {theirs}; budget {limit:.1} ms: {verdict}");
        rows.push(json!({
            "ours": ours, "theirs": theirs, "ratio": ratio, "budget_ms": limit, "within": own <= limit,
        }));
    }
    rows
}
