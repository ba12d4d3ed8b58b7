//! Removing everything of this daemon's from the kernel, without a daemon running.

use std::net::IpAddr;
use std::time::Duration;

use kleene_engine::Host as _;
use kleene_engine::actual::LinkKind;
use kleene_engine::change::{Change, Owned};
use kleene_engine::host::chain;
use kleene_engine::piece::Piece;
use kleene_host::linux::cgroup::{CgroupName, Tree};
use kleene_host::linux::net;

use crate::config::Config;
use crate::system::Error;

use super::{Stacks, host, parent_cgroup};

/// How long processes of a container may take to die.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// Who is told what is removed.
type Say<'a> = &'a dyn Fn(&str) -> Result<(), String>;

/// Removes every link and cgroup that carries this daemon's mark, and what addresses
/// of its containers stand on. With `dry_run` it only says what it would.
///
/// # Errors
/// When something could not be removed, or `say` fails.
pub(crate) fn purge(config: &Config, dry_run: bool, say: Say<'_>) -> Result<(), Error> {
    links(config, dry_run, say)?;
    Ok(cgroups(config, dry_run, say)?)
}

fn links(config: &Config, dry_run: bool, say: Say<'_>) -> Result<(), String> {
    let mut host = host(&config.instance, &Stacks::default())?;
    let seen = host.observe().map_err(|err| chain(&err))?;
    let owned = |kind: LinkKind| -> Vec<Owned> {
        let links = seen.links().filter(|link| link.kind() == kind);
        links.filter_map(|link| link.owned(&config.instance)).collect()
    };
    let (cables, bridges) = (owned(LinkKind::Cable), owned(LinkKind::Bridge));
    let addresses: Vec<IpAddr> = seen.placed_addresses().collect();
    for addr in &addresses {
        say(&format!("address {addr}"))?;
    }
    for link in cables.iter().chain(&bridges) {
        say(&format!("link {}", link.link()))?;
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

fn cgroups(config: &Config, dry_run: bool, say: Say<'_>) -> Result<(), String> {
    let tree = Tree::find().map_err(|err| chain(&err))?;
    let parent = parent_cgroup(config);
    for id in tree.containers(&parent).map_err(|err| chain(&err))? {
        say(&format!("cgroup {parent}/{id}"))?;
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
