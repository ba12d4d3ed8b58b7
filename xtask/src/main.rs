//! Project tasks: `cargo xtask TASK`.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a task talks to the one who runs it")]

mod check;
mod freebsd;
mod install;
mod sh;
mod show;
mod tidy;

use anyhow::{Result, bail};
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask TASK

  test [ARG…]   every test there is; what is missing on the machine is
                installed first when run as root. With arguments: only the
                tests that `cargo nextest run --workspace ARG…` would run
  demo          build, then show what Kleene does, each claim checked
  bench WHAT…   measure, and write docs/performance.md:
     run       `klee run` against other engines
     net       `vnet`: attach beside its floor, traffic beside bare veth pairs
     ipnet     `ipnet`: the same beside the host's loopback; a thousand containers
     --install-peers   install the other engines first (Debian packages)
     --quick           few rounds and containers, to see that it works; the page
                       goes below the target directory
  policy [ARG…] build, then prove the policy with packets against its oracle:
     --flows N         how many (20000)
     --seed S          the numbers that topologies and flows are made of
     --table FILE      write how often each rule was met
     sabotage [NAME…]  break the policy in each of the known ways, and see that the
                       proof notices
  freebsd       lint everything for FreeBSD
  freebsd-dist  build programs for FreeBSD 13.2 and later, see that they can run
                there, and pack them with the service script below the target
                directory (installs zig there first)
  tidy          rules of the house that no lint knows
  deny          licences and sources of all dependencies (installs cargo-deny)
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<()> {
    let Some((task, rest)) = args.split_first() else {
        print!("{HELP}");
        return Ok(());
    };
    // Cargo leaves the directory to the caller; every path here is relative
    // to the workspace.
    std::env::set_current_dir(sh::workspace())?;
    match (task.as_str(), rest) {
        ("test", rest) => check::test(rest),
        ("demo", []) => show::demo(),
        ("bench", what) => show::bench(what),
        ("policy", rest) => show::policy(rest),
        ("freebsd", []) => freebsd::check(),
        ("freebsd-dist", []) => freebsd::dist(),
        ("tidy", []) => tidy::tidy(),
        ("deny", []) => check::deny(),
        ("help" | "--help" | "-h", _) => {
            print!("{HELP}");
            Ok(())
        }
        _ => bail!("unknown task `{}`\n\n{HELP}", args.join(" ")),
    }
}
