//! What is done without a daemon running: looking at the host, and removing
//! what Kleene left on it.

use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kleene_engine::Host as _;
use kleene_engine::actual::LinkKind;
use kleene_engine::change::{Change, Owned};
use kleene_engine::host::chain;
use kleene_engine::piece::Piece;
use kleene_host::linux::cgroup::{CgroupName, Tree};
use kleene_host::linux::doctor::{DoctorInput, Level, checks};
use kleene_host::linux::net::{self, LinuxHost, Namespaces};
use kleene_model::{Family, Subnet};
use kleene_supervise::client;
use kleene_supervise::proto::ToSupervisor;

use crate::config::{Address, Config};
use crate::root;

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
    let own = std::env::current_exe().map_err(|err| format!("cannot find my program: {err}"))?;
    let sockets: Vec<PathBuf> = config
        .addresses
        .iter()
        .filter_map(|address| match address {
            Address::Unix(path) => Some(path.clone()),
            Address::Tcp(_) => None,
        })
        .collect();
    let first = |family| config.subnet_pools.subnets(family).next();
    let subnets = Family::BOTH.into_iter().filter_map(first).map(Subnet::net);
    let subnets: Vec<_> = subnets.collect();
    let findings = checks(&DoctorInput {
        root_dir: &config.root,
        programs_dir: own.parent().unwrap_or_else(|| Path::new("/")),
        sockets: &sockets,
        cgroup_parent: &config.cgroup(),
        instance: &config.instance,
        subnets: &subnets,
    });
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

/// Removes every process, link and cgroup that carries this daemon's mark, and
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
    purge_links(config, verb, dry_run)?;
    purge_cgroups(config, verb, dry_run)?;
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

fn purge_links(config: &Config, verb: &str, dry_run: bool) -> Result<(), String> {
    let mut host = LinuxHost::new(config.instance.clone(), Namespaces::default())
        .map_err(|err| chain(&err))?;
    let seen = host.observe().map_err(|err| chain(&err))?;
    let owned = |kind: LinkKind| -> Vec<Owned> {
        let links = seen.links().filter(|link| link.kind() == kind);
        links.filter_map(|link| link.owned(&config.instance)).collect()
    };
    let (cables, bridges) = (owned(LinkKind::Cable), owned(LinkKind::Bridge));
    let addresses: Vec<IpAddr> = seen.placed_addresses().collect();
    for addr in &addresses {
        print(&format!("{verb} address {addr}"))?;
    }
    for link in cables.iter().chain(&bridges) {
        print(&format!("{verb} link {}", link.link()))?;
    }
    if dry_run {
        return Ok(());
    }
    let mut pieces: Vec<Piece> = addresses
        .iter()
        .flat_map(|addr| seen.pieces_of(*addr))
        .filter(|piece| !piece.is_policy())
        .cloned()
        .collect();
    pieces.sort_by_key(|piece| std::cmp::Reverse(piece.rank()));
    let taken: Vec<Change> = pieces.into_iter().map(|piece| Change::Take { piece }).collect();
    host.apply(&taken).map_err(|err| chain(&err))?;
    // One whose container is not quite gone is still in use, and would stay.
    let retired: Vec<Change> =
        cables.iter().map(|link| Change::RetireCable { link: link.clone() }).collect();
    host.apply(&retired).map_err(|err| chain(&err))?;
    let gone = net::sweep(&cables).map_err(|err| chain(&err))?;
    if let Some(stays) = cables.iter().find(|link| !gone.contains(link.link())) {
        return Err(format!("the kernel does not delete the link {}", stays.link()));
    }
    let changes: Vec<Change> =
        bridges.into_iter().map(|link| Change::RemoveLink { link }).collect();
    host.apply(&changes).map_err(|err| chain(&err))?;
    // What held the policy goes when there is nothing left to hold.
    host.remove_tables().map_err(|err| chain(&err))
}

fn purge_cgroups(config: &Config, verb: &str, dry_run: bool) -> Result<(), String> {
    let tree = Tree::find().map_err(|err| chain(&err))?;
    let parent = config.cgroup();
    for id in tree.containers(&parent).map_err(|err| chain(&err))? {
        print(&format!("{verb} cgroup {parent}/{id}"))?;
        if !dry_run {
            let name = CgroupName::new(&parent, &id).map_err(|err| chain(&err))?;
            tree.remove(&name, KILL_LIMIT).map_err(|err| chain(&err))?;
        }
    }
    if dry_run {
        return Ok(());
    }
    // The daemon's own, found by the name of any container it could have.
    let any = CgroupName::new(&parent, "any").map_err(|err| chain(&err))?;
    tree.remove_parent(&any).map_err(|err| chain(&err))
}
