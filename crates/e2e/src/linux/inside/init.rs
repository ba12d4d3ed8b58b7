//! `init` and `hold`: the first process of a world and the one that holds
//! the network namespace of the outside.

use super::{myself, pid_in_mounted_proc, root, text, uplink};
use crate::linux::cgroup::{self, LEAF};
use crate::linux::error::{Result, WorldError};
use rustix::process::{WaitOptions, wait};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// `init NAME BIND…`: makes the world from inside, says so, and reaps.
pub(super) fn init(args: &[OsString]) -> Result<u8> {
    let name = text(args.first(), "name of the world")?;
    let me = pid_in_mounted_proc()?;
    let hierarchies = cgroup::hierarchies()?;
    let (holder, outside) = start_holder()?;

    let binds: Vec<PathBuf> = args[1..].iter().map(PathBuf::from).collect();
    root::make(&binds, &hierarchies)?;
    enter_leaf(&hierarchies)?;
    rustix::system::sethostname(name.as_bytes()).map_err(WorldError::sys("set the host name"))?;
    uplink::make(holder.id())?;

    let mut out = std::io::stdout();
    writeln!(out, "{me} {outside}")
        .and_then(|()| out.flush())
        .map_err(WorldError::sys("report that the world is ready"))?;
    // The holder is always there to wait for; when it is gone, so is the
    // outside, and the world with it.
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, _))) if pid.as_raw_nonzero().get().cast_unsigned() == holder.id() => {
                return Ok(0);
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(WorldError::sys("wait for children")(error)),
        }
    }
}

/// Starts `hold` in a network namespace of its own, while the test's `/proc`
/// is still mounted; gives it and its number there.
fn start_holder() -> Result<(Child, u32)> {
    let mut holder = Command::new("unshare")
        .args(["--net", "--"])
        .arg(myself()?)
        .arg("hold")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(WorldError::sys("start the holder of the outside"))?;
    let stdout = holder.stdout.take().ok_or_else(|| WorldError::Other("no pipe".to_owned()))?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).map_err(WorldError::sys("hear from the holder"))?;
    let pid = line.trim().parse();
    let pid = pid.map_err(|_| WorldError::Other(format!("the holder said {line:?}")))?;
    Ok((holder, pid))
}

/// Goes to the leaf of the v2 tree, as seen in the world.
fn enter_leaf(hierarchies: &[cgroup::Hierarchy]) -> Result<()> {
    for hierarchy in hierarchies.iter().filter(|hierarchy| hierarchy.v1.is_none()) {
        let leaf = hierarchy.mount_point.join(LEAF);
        std::fs::create_dir(&leaf).map_err(WorldError::file("make cgroup", &leaf))?;
        let path = hierarchy.mount_point.join("cgroup.procs");
        let pids = std::fs::read_to_string(&path).map_err(WorldError::file("read", &path))?;
        // Those outside this pid namespace are listed as 0: `unshare`, which
        // the keeper moves.
        for pid in pids.lines().filter(|pid| *pid != "0") {
            let procs = leaf.join("cgroup.procs");
            std::fs::write(&procs, pid).map_err(WorldError::file("join", &procs))?;
        }
    }
    Ok(())
}

/// `hold`: tells its number and stays until its input ends.
pub(super) fn hold() -> Result<u8> {
    let mut out = std::io::stdout();
    writeln!(out, "{}", pid_in_mounted_proc()?)
        .and_then(|()| out.flush())
        .map_err(WorldError::sys("report the holder's number"))?;
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    Ok(0)
}
