//! Deletes cables that are out of use, in the background.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};

use kleene_engine::change::Owned;
use kleene_engine::host::HostError;
use kleene_model::LinkName;
use rustix::io::Errno;

use super::error::{self, NetError};
use super::request::{self, Request, Which};
use super::socket::Socket;
use super::wire::LinkRecord;

/// Deletes cables that were taken out of use, all at once, with a socket of
/// its own: it waits for the kernel, for tens of milliseconds. Returns those
/// that are gone, whoever deleted them. One that no longer carries its mark,
/// or is in use again, is left alone and not returned.
///
/// # Errors
/// When the kernel does not answer, or refuses.
pub fn sweep(links: &[Owned]) -> Result<Vec<LinkName>, HostError> {
    let mut socket = Socket::open().map_err(error::host("open a netlink socket"))?;
    sweep_with(&mut socket, links).map_err(error::host("delete cables"))
}

fn sweep_with(socket: &mut Socket, links: &[Owned]) -> Result<Vec<LinkName>, NetError> {
    let (mut doomed, mut gone) = (Vec::new(), Vec::new());
    for owned in links {
        match socket.link(Which::Name(owned.link()))? {
            None => gone.push(owned.link().clone()),
            Some(found) if is_retired(&found, owned) => doomed.push((owned, found.index)),
            Some(_) => {}
        }
    }
    match doomed.as_slice() {
        [] => {}
        [(_, index)] => one_by_one(socket, [*index])?,
        several => {
            if !as_group(socket, several)? {
                one_by_one(socket, several.iter().map(|(_, index)| *index))?;
            }
        }
    }
    for (owned, index) in doomed {
        if socket.link(Which::Index(index))?.is_none() {
            gone.push(owned.link().clone());
        }
    }
    Ok(gone)
}

fn is_retired(found: &LinkRecord, owned: &Owned) -> bool {
    let same = found.alias.as_deref() == Some(owned.mark().to_string().as_str());
    same && !found.up && found.master.is_none()
}

/// Deletes links as one group: the kernel waits once, not once for each.
/// `false`, and nothing is deleted, when the group was not ours alone.
fn as_group(socket: &mut Socket, doomed: &[(&Owned, u32)]) -> Result<bool, NetError> {
    let groups: BTreeSet<u32> = socket.links()?.iter().map(|link| link.group).collect();
    let Some(group) = free_group(&groups) else { return Ok(false) };
    let joins: Vec<Request> =
        doomed.iter().map(|(_, index)| request::set_group(*index, group)).collect();
    all_or_gone(socket, &joins)?;
    // Looked at again: the kernel deletes whatever is in the group.
    let members: Vec<LinkRecord> =
        socket.links()?.into_iter().filter(|link| link.group == group).collect();
    let meant = |link: &LinkRecord| {
        doomed.iter().any(|(owned, index)| *index == link.index && is_retired(link, owned))
    };
    if !members.iter().all(meant) {
        return Ok(false);
    }
    all_or_gone(socket, &[request::delete_group(group)])?;
    Ok(true)
}

/// A group number above those that people choose, in which no link is.
fn free_group(groups: &BTreeSet<u32>) -> Option<u32> {
    const HIGH: u64 = 0x4000_0000;
    let random = || u32::try_from(HIGH | (RandomState::new().hash_one(()) % HIGH)).ok();
    (0..8).filter_map(|_| random()).find(|group| !groups.contains(group))
}

fn one_by_one(socket: &mut Socket, indexes: impl IntoIterator<Item = u32>) -> Result<(), NetError> {
    let deletes: Vec<Request> = indexes.into_iter().map(request::delete_link).collect();
    all_or_gone(socket, &deletes)
}

/// A link may vanish at any moment, with the namespace of its other end.
fn all_or_gone(socket: &mut Socket, requests: &[Request]) -> Result<(), NetError> {
    let requests: Vec<&Request> = requests.iter().collect();
    for verdict in socket.batch(&requests)? {
        match verdict {
            Err(refused) if refused.errno() != Errno::NODEV => return Err(refused.into()),
            _ => {}
        }
    }
    Ok(())
}
