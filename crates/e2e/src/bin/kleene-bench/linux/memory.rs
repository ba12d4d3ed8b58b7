//! What the daemon and the processes beside each container cost in memory.

use kleene_e2e::World;
use serde_json::json;

/// How many containers share what is measured: the text of a program is
/// shared by all processes of it, so one container alone would say nothing.
const CONTAINERS: usize = 20;

/// Budget of the daemon without containers, in KiB of resident memory.
const IDLE_BUDGET: u64 = 25 << 10;
/// Budget of one container's supervisor, in KiB of its proportional share.
const SUPERVISOR_BUDGET: u64 = 338;

/// A line of `/proc/PID/smaps_rollup`, in KiB.
pub(crate) fn kib(world: &World, pid: &str, field: &str) -> u64 {
    let rollup = world.run(["cat", &format!("/proc/{pid}/smaps_rollup")]);
    let line = rollup.stdout().lines().find_map(|line| line.strip_prefix(field).map(str::to_owned));
    let number = line.and_then(|line| line.split_whitespace().next().map(str::to_owned));
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

pub(crate) fn pids(world: &World, program: &str) -> Vec<String> {
    let found = world.run(["pgrep", "-f", program]);
    found.stdout().lines().map(str::to_owned).collect()
}

pub(crate) fn mean(world: &World, program: &str) -> u64 {
    let each: Vec<u64> = pids(world, program).iter().map(|pid| kib(world, pid, "Pss:")).collect();
    each.iter().sum::<u64>() / u64::try_from(each.len()).unwrap_or(1).max(1)
}

/// Measures, prints, and returns the rows.
pub(crate) fn measure(world: &World) -> Vec<serde_json::Value> {
    let daemon = pids(world, "kleened --config").first().cloned().unwrap_or_default();
    let idle = kib(world, &daemon, "Rss:");
    let names: Vec<String> = (0..CONTAINERS).map(|number| format!("memory-{number}")).collect();
    for name in &names {
        let sleep = ["run", "-d", "-l", "vnet", "-n", "web", "--name", name, "host-usr"];
        world.klee([&sleep[..], &["sleep", "1000"]].concat()).ok();
    }
    let rows = [
        ("kleened, idle, RSS", idle, Some(IDLE_BUDGET)),
        ("kleened, 20 containers, RSS", kib(world, &daemon, "Rss:"), None),
        (
            "kleene-supervise, one of 20, PSS",
            mean(world, "kleene-supervise"),
            Some(SUPERVISOR_BUDGET),
        ),
        ("kleene-holder, one of 20, PSS", mean(world, "/run/.kleene/holder"), None),
    ];
    println!("\n{:<34} {:>8} {:>8}", "memory, KiB", "", "budget");
    let mut table = Vec::new();
    for (name, value, budget) in rows {
        let limit = budget.map(|budget| budget.to_string()).unwrap_or_default();
        println!("{name:<34} {value:>8} {limit:>8}");
        table.push(json!({"name": name, "kib": value, "budget_kib": budget}));
    }
    for name in &names {
        world.klee(["stop", "-t", "0", name]).ok();
    }
    table
}
