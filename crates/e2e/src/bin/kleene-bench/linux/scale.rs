//! A host full of containers: a thousand `ipnet` ones on one network, and two
//! hundred `vnet` ones on another.

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kleene_e2e::{Kleened, World, poll, target_dir};
use serde_json::{Value, json};

use crate::linux::Options;
use crate::linux::figures::{median, millis, percentile};
use crate::linux::memory;

/// A `vnet` container for so many `ipnet` ones.
const VNET_SHARE: usize = 5;
const PORT: &str = "7000";
/// How often the daemon is asked for something.
const QUESTIONS: usize = 200;
const LIMIT: Duration = Duration::from_secs(120);

/// Starts them, asks for them, restarts the daemon, and removes them.
pub(crate) fn bench(options: &Options) -> Result<(), String> {
    let world = World::open("bench").ok_or("no throw-away host to measure in")?;
    let kleened = world.start_kleened("");
    for (kind, name, subnet, subnet6) in [
        ("loopback", "inner", "10.1.0.0/16", "fd00:1::/64"),
        ("loopback", "second", "10.3.0.0/16", "fd00:3::/64"),
        ("bridge", "web", "10.2.0.0/16", "fd00:2::/64"),
    ] {
        let subnets = ["--subnet", subnet, "--subnet6", subnet6];
        world.klee([&["network", "create", "-t", kind][..], &subnets, &[name]].concat()).ok();
    }
    let idle = rss(&world);
    let ipnet = fill(&world, options.containers, ("ipnet", "inner"))?;
    let vnet = fill(&world, options.containers / VNET_SHARE, ("vnet", "web"))?;
    let (connect, disconnect) = connects(&world);
    let churn = under_churn(&world);
    let all = options.containers + options.containers / VNET_SHARE;
    let full = rss(&world);
    let supervisor = memory::mean(&world, "kleene-supervise");
    let (kleened, restart, longest) = restart(&world, kleened, all)?;
    let removal = remove(&world, options.containers)?;
    drop(kleened);
    let report = json!({
        "ipnet": options.containers, "vnet": options.containers / VNET_SHARE,
        "start_ipnet_ms": ipnet, "start_vnet_ms": vnet,
        "connect_ms": connect, "disconnect_ms": disconnect, "churn": churn,
        "rss_idle_kib": idle, "rss_full_kib": full, "supervisor_pss_kib": supervisor,
        "restart_ms": restart, "longest_wait_ms": longest, "remove_ms": removal,
    });
    println!("{report:#}");
    crate::linux::write_json(options.json.as_deref(), &report)
}

/// Starts containers; the median of each hundred, in milliseconds.
fn fill(
    world: &World,
    count: usize,
    (driver, network): (&str, &str),
) -> Result<Vec<Value>, String> {
    let programs = target_dir().map_err(|error| error.chain())?;
    let mount = format!("{}:/bench:ro", programs.display());
    let (mut medians, mut times) = (Vec::new(), Vec::new());
    for number in 1..=count {
        let name = format!("{driver}-{number}");
        let network = ["-l", driver, "-n", network, "--ip", "<auto>", "--ip6", "<auto>"];
        let run = [&["run", "-d", "--name", &name, "-m", &mount][..], &network].concat();
        // The first one serves; the others are only there.
        let argv: &[&str] = match number {
            1 => &["/bench/kleene-bench", "probe", "serve", "::", PORT],
            _ => &["sleep", "1000000"],
        };
        let start = Instant::now();
        world.klee([&run[..], &["host-usr"], argv].concat()).ok();
        times.push(millis(start.elapsed()));
        if number % 100 == 0 || number == count {
            println!("{driver}: {number} containers, the last start {:.1} ms", median(&times));
            medians.push(json!({"count": number, "median_ms": median(&times)}));
            times.clear();
        }
    }
    Ok(medians)
}

/// What the API takes to connect a running container and to disconnect it, in
/// milliseconds.
fn connects(world: &World) -> (f64, f64) {
    let mut taken = (Vec::new(), Vec::new());
    for number in 1..=50 {
        let name = format!("ipnet-{}", number % 10 + 2);
        let start = Instant::now();
        connect(world, &name);
        taken.0.push(millis(start.elapsed()));
        let start = Instant::now();
        disconnect(world, &name);
        taken.1.push(millis(start.elapsed()));
    }
    (median(&taken.0), median(&taken.1))
}

fn connect(world: &World, container: &str) {
    let auto = "<auto>";
    let body = json!({
        "container": container, "network": "second", "ip_address": auto, "ip_address6": auto,
    });
    world.http("POST", "/networks/connect", Some(&body)).expect(204);
}

fn disconnect(world: &World, container: &str) {
    let path = format!("/networks/second/disconnect/{container}");
    world.http("POST", &path, None).expect(204);
}

/// How long questions take while containers come and go on a network.
fn under_churn(world: &World) -> Value {
    /// Ends the churn, also when a question fails.
    struct End<'a>(&'a AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = End(&ended);
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                connect(world, "ipnet-2");
                disconnect(world, "ipnet-2");
            }
        });
        let questions = [
            ("list", "/containers/list?all=true"),
            ("container", "/containers/ipnet-1/inspect"),
            ("network", "/networks/inner/inspect"),
        ];
        let answers = questions.map(|(name, path)| {
            let times: Vec<f64> = (0..QUESTIONS).map(|_| answer(world, path)).collect();
            (name, json!({"p50_ms": median(&times), "p99_ms": percentile(&times, 99)}))
        });
        answers.into_iter().map(|(name, times)| (name.to_owned(), times)).collect()
    })
}

fn rss(world: &World) -> u64 {
    let daemon = memory::pids(world, "kleened --config").first().cloned().unwrap_or_default();
    memory::kib(world, &daemon, "Rss:")
}

/// Until the last byte of an answer is there, in milliseconds; what a client makes
/// of it is its own time.
fn answer(world: &World, path: &str) -> f64 {
    let request = format!("GET {path} HTTP/1.1\r\nHost: kleened\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    let start = Instant::now();
    let mut stream = world.connect();
    let told = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_end(&mut answer));
    let took = start.elapsed();
    assert!(told.is_ok() && answer.starts_with(b"HTTP/1.1 200"), "{path}: {told:?}");
    millis(took)
}

/// Kills the daemon and starts it again while somebody talks with a container:
/// how long until all are adopted, and the longest wait of the talk, both in
/// milliseconds.
fn restart<'a>(
    world: &'a World,
    mut kleened: Kleened<'a>,
    all: usize,
) -> Result<(Kleened<'a>, f64, f64), String> {
    let first = world.http("GET", "/containers/ipnet-1/inspect", None);
    let address = first.expect(200).json["container_endpoints"][0]["ip_address"].clone();
    let address = address.as_str().ok_or("the first container has no address")?.to_owned();
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let program = program.display().to_string();
    let mut talk = world.spawn([&program, "probe", "talk", &address, PORT]);
    world.wait_until(LIMIT, "a talk", || talk.stdout().contains("up"));
    let adopted = |kleened: &Kleened<'_>| kleened.log().matches("event=Adopted").count();
    kleened.kill9();
    let before = adopted(&kleened);
    let start = Instant::now();
    let kleened = kleened.restart();
    let done = poll(LIMIT, || (adopted(&kleened) - before >= all).then(|| start.elapsed()));
    let took = done.ok_or("not all containers were adopted")?;
    talk.close_stdin();
    let said = talk.wait(LIMIT);
    let line = said.ok().stdout().lines().last().map(str::to_owned).unwrap_or_default();
    let longest = line.split_whitespace().nth(1).and_then(|nanos| nanos.parse::<f64>().ok());
    Ok((kleened, millis(took), longest.ok_or("the talk was cut")? / 1e6))
}

/// Stops and removes containers, one after another: the median of one.
fn remove(world: &World, count: usize) -> Result<f64, String> {
    let mut times = Vec::new();
    for number in 1..=count {
        let start = Instant::now();
        let path = format!("/containers/ipnet-{number}");
        world.http("POST", &format!("{path}/stop?timeout=0"), None).expect(200);
        world.http("DELETE", &path, None).expect(200);
        times.push(millis(start.elapsed()));
    }
    Ok(median(&times))
}
