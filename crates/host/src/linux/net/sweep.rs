//! Deletes cables that are out of use, in the background.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use kleene_engine::change::Owned;
use kleene_engine::host::HostError;
use kleene_model::LinkName;
use rustix::io::Errno;

use super::error::{self, NetError};
use super::request::{self, Request, Which};
use super::socket::Socket;
use super::wire::LinkRecord;

/// The pauses between the tries. A second in all: whoever asked holds the names
/// for as long, and what has not gone by then needs somebody's help.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(30),
    Duration::from_millis(60),
    Duration::from_millis(120),
    Duration::from_millis(250),
    Duration::from_millis(500),
];

/// How many links are deleted at once. The kernel holds the lock of all its
/// networking for as long as that takes, for every namespace, and for a bridge
/// it waits for each (`rcu_barrier` in `br_multicast_dev_del`, 17 ms): as one
/// group, five hundred stop every `ip` and every new namespace for 8 s.
const TOGETHER: usize = 16;

/// Deletes cables that were taken out of use, several at once, with a socket of
/// its own: it waits for the kernel, for tens of milliseconds. Returns those
/// that are gone, whoever deleted them. One that is in use again is left alone
/// and not returned; so is one that no longer carries its mark, unless it
/// vanishes within a second. What the kernel refuses is tried again for as long.
///
/// # Errors
/// When the kernel does not answer, or refuses, and nothing is gone.
pub fn sweep(links: &[Owned]) -> Result<Vec<LinkName>, HostError> {
    let mut socket = Socket::open().map_err(error::host("open a netlink socket"))?;
    persist(links, |links| round(&mut socket, links), std::thread::sleep)
        .map_err(error::host("delete cables"))
}

/// What became of cables in one try.
#[derive(Debug, Default)]
struct Round<'a> {
    gone: Vec<LinkName>,
    /// Worth another look.
    left: Vec<&'a Owned>,
    /// Why some of those are left, where the kernel refused.
    refused: Option<NetError>,
}

/// Tries until nothing is left, with longer and longer pauses, and not for
/// ever. A try that failed as a whole leaves everything as it was.
fn persist<'a>(
    links: &'a [Owned],
    mut attempt: impl FnMut(&[&'a Owned]) -> Result<Round<'a>, NetError>,
    mut pause: impl FnMut(Duration),
) -> Result<Vec<LinkName>, NetError> {
    let mut left: Vec<&Owned> = links.iter().collect();
    let mut gone = Vec::new();
    let mut pauses = PAUSES.into_iter();
    loop {
        let refused = match attempt(&left) {
            Ok(round) => {
                gone.extend(round.gone);
                left = round.left;
                round.refused
            }
            Err(error) => Some(error),
        };
        match (pauses.next(), refused) {
            _ if left.is_empty() => return Ok(gone),
            (Some(length), _) => pause(length),
            // Names that are free must not stay held because of others.
            (None, Some(error)) if gone.is_empty() => return Err(error),
            (None, _) => return Ok(gone),
        }
    }
}

fn round<'a>(socket: &mut Socket, links: &[&'a Owned]) -> Result<Round<'a>, NetError> {
    let (mut doomed, mut round) = (Vec::new(), Round::default());
    for owned in links {
        match socket.link(Which::Name(owned.link()))? {
            None => round.gone.push(owned.link().clone()),
            Some(found) if is_retired(&found, owned) => doomed.push((*owned, found.index)),
            // In use again: it is swept when it has been retired again.
            Some(found) if is_marked(&found, owned) => {}
            Some(_) => round.left.push(owned),
        }
    }
    match doomed.as_slice() {
        [] => {}
        doomed => round.refused = delete(socket, doomed, is_retired)?,
    }
    for (owned, index) in doomed {
        if socket.link(Which::Index(index))?.is_none() {
            round.gone.push(owned.link().clone());
        } else {
            round.left.push(owned);
        }
    }
    Ok(round)
}

/// Deletes links, several of them at once. They are looked at before, whether
/// they are still `meant`. The first refusal, which keeps none of the others from
/// being carried out; one that is gone is none.
pub(super) fn delete(
    socket: &mut Socket,
    doomed: &[(&Owned, u32)],
    meant: fn(&LinkRecord, &Owned) -> bool,
) -> Result<Option<NetError>, NetError> {
    let mut first = None;
    for piece in doomed.chunks(TOGETHER) {
        let refused = match piece.len() > 1 && as_group(socket, piece, meant)? {
            true => None,
            false => one_by_one(socket, piece.iter().map(|(_, index)| *index))?,
        };
        first = first.or(refused);
    }
    Ok(first)
}

pub(super) fn is_marked(found: &LinkRecord, owned: &Owned) -> bool {
    found.alias.as_deref() == Some(owned.mark().to_string().as_str())
}

fn is_retired(found: &LinkRecord, owned: &Owned) -> bool {
    is_marked(found, owned) && !found.up && found.master.is_none()
}

/// Deletes links as one group: the kernel waits once, not once for each.
/// `false` when the group was not ours alone, in which case nothing is
/// deleted, or when the kernel refused.
fn as_group(
    socket: &mut Socket,
    doomed: &[(&Owned, u32)],
    meant: fn(&LinkRecord, &Owned) -> bool,
) -> Result<bool, NetError> {
    let groups: BTreeSet<u32> = socket.links()?.iter().map(|link| link.group).collect();
    let Some(group) = free_group(&groups) else { return Ok(false) };
    let joins: Vec<Request> =
        doomed.iter().map(|(_, index)| request::set_group(*index, group)).collect();
    if all_or_gone(socket, &joins)?.is_some() {
        return Ok(false);
    }
    // Looked at again: the kernel deletes whatever is in the group.
    let members: Vec<LinkRecord> =
        socket.links()?.into_iter().filter(|link| link.group == group).collect();
    let known: HashMap<u32, &Owned> =
        doomed.iter().map(|(owned, index)| (*index, *owned)).collect();
    let is_meant =
        |link: &LinkRecord| known.get(&link.index).is_some_and(|owned| meant(link, owned));
    if !members.iter().all(is_meant) {
        return Ok(false);
    }
    Ok(all_or_gone(socket, &[request::delete_group(group)])?.is_none())
}

/// A group number above those that people choose, in which no link is.
fn free_group(groups: &BTreeSet<u32>) -> Option<u32> {
    const HIGH: u64 = 0x4000_0000;
    let random = || u32::try_from(HIGH | (RandomState::new().hash_one(()) % HIGH)).ok();
    (0..8).filter_map(|_| random()).find(|group| !groups.contains(group))
}

fn one_by_one(
    socket: &mut Socket,
    indexes: impl IntoIterator<Item = u32>,
) -> Result<Option<NetError>, NetError> {
    let deletes: Vec<Request> = indexes.into_iter().map(request::delete_link).collect();
    all_or_gone(socket, &deletes)
}

/// The first refusal, which keeps none of the others from being carried out. A
/// link may vanish at any moment, with the namespace of its other end.
fn all_or_gone(socket: &mut Socket, requests: &[Request]) -> Result<Option<NetError>, NetError> {
    let requests: Vec<&Request> = requests.iter().collect();
    let verdicts = socket.batch(&requests)?;
    let refused = verdicts.into_iter().filter_map(Result::err);
    Ok(refused.filter(|refused| refused.errno() != Errno::NODEV).map(NetError::from).next())
}

#[cfg(test)]
#[path = "sweep_tests.rs"]
mod tests;
