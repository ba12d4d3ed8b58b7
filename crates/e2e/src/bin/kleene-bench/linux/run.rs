//! How long `klee run host-usr true` takes, next to other engines, measured
//! in turns so that the machine's mood is the same for all.

use std::process::{Command, Stdio};
use std::time::Instant;

use kleene_e2e::{Run, SOCKET, World, target_dir};

use crate::linux::Options;
use crate::linux::peers::{self, Contestant};
use crate::linux::{memory, run_report};

/// Runs of one contestant before it is the next one's turn.
const AT_ONCE: usize = 3;

/// `time COMMAND`: inside a world, runs a command a few times and prints
/// each one's nanoseconds.
pub(crate) fn time(command: &[String]) -> Result<(), String> {
    let (program, args) = command.split_first().ok_or("time what?")?;
    for _ in 0..AT_ONCE {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let start = Instant::now();
        let output = command.output().map_err(|error| format!("{program}: {error}"))?;
        let took = start.elapsed();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        println!("{}", took.as_nanos());
    }
    Ok(())
}

/// One turn of one contestant, in nanoseconds.
pub(crate) fn turn(world: &World, contestant: &Contestant) -> Result<Vec<u64>, String> {
    let me = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut argv = vec![me.display().to_string(), "time".to_owned()];
    argv.extend(contestant.argv.iter().cloned());
    let run = Run::new(argv).env("KLEE_HOST", format!("http://{SOCKET}"));
    let output = world.run_with(&run);
    if output.status != Some(0) {
        return Err(output.stderr().trim().to_owned());
    }
    Ok(output.stdout().lines().filter_map(|line| line.parse().ok()).collect())
}

pub(crate) fn bench(options: &Options) -> Result<(), String> {
    let missing = || "no throw-away host to measure in".to_owned();
    let ours = World::open("bench").ok_or_else(missing)?;
    let theirs = World::open("bench").ok_or_else(missing)?;
    let klee = target_dir().map_err(|error| error.chain())?.join("klee").display().to_string();
    let mut contestants = peers::ours(&klee);
    contestants.extend(peers::theirs());
    contestants.retain(|contestant| contestant.name.contains(&options.only));
    let mut kleened = None;
    if contestants.iter().any(|contestant| contestant.name.starts_with("klee")) {
        kleened = Some(ours.start_kleened(""));
        ours.klee(["network", "create", "-t", "bridge", "--subnet", "10.4.6.0/24", "web"]).ok();
    }
    peers::prepare(&theirs)?;

    let (mut racing, mut left_out) = (Vec::new(), Vec::new());
    for contestant in contestants {
        let world = if contestant.ours { &ours } else { &theirs };
        // Warm, and a check that it works at all.
        match turn(world, &contestant) {
            Ok(_) => racing.push((world, contestant, Vec::new())),
            Err(why) => {
                let why = why.lines().last().unwrap_or_default().to_owned();
                println!("left out: {}: {why}", contestant.name);
                left_out.push((contestant.name, why));
            }
        }
    }
    for _ in 0..options.rounds {
        for (world, contestant, taken) in &mut racing {
            taken.extend(turn(world, contestant)?);
        }
    }
    let timings = racing.into_iter().map(|(_, contestant, taken)| (contestant.name, taken));
    let timings = timings.collect();
    let memory = kleened.map(|_| memory::measure(&ours));
    let memory = memory.unwrap_or_default();
    run_report::report(timings, &left_out, memory, options.json.as_deref())
}
