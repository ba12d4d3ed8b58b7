//! What is done without a daemon running: looking at the host, and removing
//! what Kleene left on it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kleene_engine::host::chain;
use kleene_supervise::client;
use kleene_supervise::proto::ToSupervisor;

use crate::config::Config;
use crate::root;
use crate::system::{self, Level};

/// How long a container may take to die.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// Says on standard error why the daemon does not run.
pub(crate) fn complain(why: &str) {
    // A closed standard error leaves nobody to tell.
    drop(writeln!(std::io::stderr(), "kleened: {why}"));
}

fn print(line: &str) -> Result<(), String> {
    writeln!(std::io::stdout(), "{line}").map_err(|err| format!("cannot write: {err}"))
}

/// Prints what this host lacks and what follows.
///
/// # Errors
/// When the output is closed, or something that Kleene needs is missing.
pub(crate) fn doctor(config: &Config) -> Result<(), String> {
    let findings = system::inspect(config)?;
    for finding in &findings {
        print(&format!("{:<5} {:<18} {}", finding.level.to_string(), finding.id, finding.what))?;
        match finding.level {
            Level::Ok => {}
            Level::Warn | Level::Fail => {
                print(&format!("      what follows: {}", finding.consequence))?;
                print(&format!("      what to do:   {}", finding.remedy))?;
            }
        }
    }
    let failed = findings.iter().filter(|finding| finding.level == Level::Fail).count();
    match failed {
        0 => Ok(()),
        1 => Err("this host lacks something that Kleene needs".to_owned()),
        more => Err(format!("this host lacks {more} things that Kleene needs")),
    }
}

/// Makes the root and what it stands on, and says so.
///
/// # Errors
/// When something of it cannot be made.
pub(crate) fn init(config: &Config, dry_run: bool) -> Result<(), String> {
    if !dry_run && !rustix::process::geteuid().is_root() {
        return Err("init must run as root: sudo kleened init".to_owned());
    }
    let verb = if dry_run { "would make" } else { "making" };
    system::prepare_root(config, dry_run, &|what| print(&format!("{verb} {what}")))?;
    let missing: Vec<PathBuf> = root::directories(config).filter(|dir| !dir.is_dir()).collect();
    for dir in &missing {
        print(&format!("{verb} directory {}", dir.display()))?;
    }
    if !dry_run {
        root::make(config)?;
    }
    print(&format!("root: {}", config.root.display()))
}

/// Removes everything in the kernel, and every process, that carries this daemon's mark, and
/// what addresses of its containers stand on. Files stay, and are named, and so
/// do settings of the host that they know the old values of: the next daemon
/// puts them back.
///
/// # Errors
/// When a daemon runs, or something could not be removed.
pub(crate) fn purge(config: &Config, dry_run: bool) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("purge must run as root: sudo kleened purge".to_owned());
    }
    let _lock = root::take(config)?;
    let verb = if dry_run { "would remove" } else { "removing" };
    for run_dir in run_dirs(config) {
        let Ok(stream) = client::connect(&run_dir) else { continue };
        print(&format!("{verb} container {}", name(&run_dir)))?;
        if !dry_run {
            kill(&stream)?;
        }
    }
    system::purge(config, dry_run, &|what| print(&format!("{verb} {what}")))?;
    print(&format!("files stay: {}", config.root.display()))
}

fn run_dirs(config: &Config) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(config.root.join("run")).into_iter().flatten();
    entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Ends a container and waits until its supervisor is gone.
fn kill(stream: &std::os::unix::net::UnixStream) -> Result<(), String> {
    use std::io::Read as _;
    client::handshake(stream).map_err(|err| chain(&err))?;
    client::send(stream, &ToSupervisor::Kill {}).map_err(|err| chain(&err))?;
    stream.set_read_timeout(Some(KILL_LIMIT)).map_err(|err| err.to_string())?;
    let mut stream = stream;
    let mut rest = [0; 4096];
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(err) => return Err(format!("a supervisor does not end: {err}")),
        }
    }
}
