//! Views: the network namespaces of containers that see the host's interfaces
//! and none of the host's addresses.
//!
//! A view shows every interface of the host by a *mirror*: a link with its
//! name, index, MTU, MAC address and state, through which nothing goes. The
//! container has no say there. Between its mirrors there may stand the inner
//! end of a cable, in the place of the mirror whose name it carries; it is
//! never touched here.

mod kind;
mod plan;
mod watch;

use std::os::fd::BorrowedFd;

use ipnet::{IpNet, Ipv4Net};
use kleene_engine::change::{Mark, Owner};
use kleene_engine::host::HostError;
use kleene_model::{LinkName, MacAddress};
use rustix::io::Errno;

use super::net::NetError;
use super::net::error;
use super::net::namespaces::enter;
use super::net::request::{self, Request, Which};
use super::net::settings;
use super::net::socket::Socket;
use super::net::wire::LinkRecord;
use kind::Kind;
use plan::{Step, plan};
pub use watch::Watch;

/// The index of every namespace's own loopback.
const LOOPBACK: u32 = 1;

/// An interface of the host as views show it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mirror {
    /// Its name.
    pub name: LinkName,
    /// Its index.
    pub index: u32,
    /// Its MTU. A mirror may have a smaller one, where its kind cannot have it.
    pub mtu: u32,
    /// Its MAC address, if it has one of Ethernet's. Otherwise a mirror shows
    /// any.
    pub mac: Option<MacAddress>,
    /// Whether it was brought up.
    pub up: bool,
}

/// What became of the mirrors of a view.
#[derive(Debug, Default)]
pub struct Done {
    /// How many were made.
    pub made: usize,
    /// How many were deleted, with all addresses on them.
    pub deleted: usize,
    /// How many were renamed.
    pub renamed: usize,
    /// How many MTUs, MAC addresses and states were changed.
    pub changed: usize,
    /// Those that show an old MAC address, because it could be changed only by
    /// taking away the container's addresses.
    pub stale: Vec<LinkName>,
    /// What could not be done. Everything else was.
    pub failed: Vec<HostError>,
}

/// The host's interfaces that views show, in order: all but `lo` and Kleene's
/// own cables. The host is the calling thread's network namespace.
///
/// # Errors
/// When the kernel does not answer.
pub fn interfaces() -> Result<Vec<Mirror>, HostError> {
    let listed = Socket::open().and_then(|mut socket| listed(&mut socket));
    listed.map_err(error::host("list the host's interfaces"))
}

/// The same over a socket of the host.
fn listed(host: &mut Socket) -> Result<Vec<Mirror>, NetError> {
    let mut links = host.links()?;
    // The mark of a cable comes with the message behind the one that makes it:
    // a moment later it is there.
    for _ in 0..2 {
        if links.iter().any(may_become_cable) {
            links = host.links()?;
        }
    }
    let mut mirrors: Vec<Mirror> = links.iter().filter_map(mirror).collect();
    mirrors.sort();
    Ok(mirrors)
}

/// How views show a link; `None` when they do not.
fn mirror(link: &LinkRecord) -> Option<Mirror> {
    let name = LinkName::parse(link.name.as_deref()?).ok()?;
    if link.index == LOOPBACK || name.as_str() == "lo" || is_cable(link) {
        return None;
    }
    let mac = link.mac.filter(|MacAddress(bytes)| bytes[0] & 1 == 0 && *bytes != [0; 6]);
    Some(Mirror { name, index: link.index, mtu: link.mtu, mac, up: link.up })
}

/// Whether it is an end of a cable of Kleene's, this daemon's or another's.
fn is_cable(link: &LinkRecord) -> bool {
    let mark = link.alias.as_deref().and_then(Mark::parse);
    mark.is_some_and(|mark| !matches!(mark.owner, Owner::Network(_)))
}

/// Whether it looks like an end of a cable that has no mark yet.
fn may_become_cable(link: &LinkRecord) -> bool {
    let named = link.name.as_deref().and_then(|name| name.strip_prefix("epair")).is_some();
    named && link.alias.is_none() && link.kind.as_deref() == Some("veth")
}

/// Readies a new view, before anything runs in it, and fills it with mirrors,
/// without the one called `skip`, whose place a cable will take. In it
/// `127.0.0.1` can be used and is not shown, and no link will ever have an
/// address that nobody gave it, but for `::1`.
///
/// # Errors
/// When the namespace cannot be entered, the kernel does not answer, or the
/// loopback cannot be set up. Single mirrors that fail are told in [`Done`].
pub fn furnish(
    netns: BorrowedFd<'_>,
    mirrors: &[Mirror],
    skip: Option<&LinkName>,
) -> Result<Done, HostError> {
    furnish_as(None, netns, mirrors, skip).map_err(error::host("furnish a view"))
}

/// Makes the mirrors in a view equal to `mirrors`, without the one called
/// `skip`: until a cable stands whose inner end takes the place of an
/// interface, its mirror must not be made. Links in the view that are no
/// mirrors are left alone.
///
/// # Errors
/// When the namespace cannot be entered, or the kernel does not answer. Single
/// mirrors that fail are told in [`Done`].
pub fn sync(
    netns: BorrowedFd<'_>,
    mirrors: &[Mirror],
    skip: Option<&LinkName>,
) -> Result<Done, HostError> {
    sync_as(None, netns, mirrors, skip).map_err(error::host("bring a view up to date"))
}

/// Lets every user in a view send echo requests. A new namespace lets nobody.
///
/// # Errors
/// When the namespace cannot be entered, or the setting not be written.
pub fn allow_ping(netns: BorrowedFd<'_>) -> Result<(), HostError> {
    const GROUPS: &str = "/proc/sys/net/ipv4/ping_group_range";
    enter(netns, || settings::write(GROUPS, "0\t2147483647")).map_err(error::host("allow ping"))
}

/// Shows one interface of the host, and not one of before that had its name:
/// its index there, or `None` when the host has none of that name that views
/// show. The view may be brought up to date by somebody else meanwhile.
pub(in crate::linux) fn show(
    host: &mut Socket,
    inside: &mut Socket,
    link: &LinkName,
) -> Result<Option<u32>, NetError> {
    let found = host.link(Which::Name(link))?;
    let Some(wanted) = found.as_ref().and_then(mirror) else { return Ok(None) };
    if inside.link(Which::Name(link))?.is_some_and(|there| there.index == wanted.index) {
        return Ok(Some(wanted.index));
    }
    let (kind, mirrors) = (Kind::best(inside)?, listed(host)?);
    let mut done = Done::default();
    settle(inside, kind, &mirrors.iter().collect::<Vec<_>>(), &mut done)?;
    match (inside.link(Which::Name(link))?, done.failed.into_iter().next()) {
        (Some(there), _) => Ok(Some(there.index)),
        (None, Some(refused)) => Err(NetError::View(Box::new(refused))),
        (None, None) => Ok(None),
    }
}

fn furnish_as(
    kind: Option<Kind>,
    netns: BorrowedFd<'_>,
    mirrors: &[Mirror],
    skip: Option<&LinkName>,
) -> Result<Done, NetError> {
    let mut socket = enter(netns, || {
        quieten()?;
        Socket::open()
    })?;
    let kind = choose(kind, &mut socket)?;
    let wanted = without(mirrors, skip);
    let make = |mirror: &&Mirror| Step::Make { mirror: (*mirror).clone(), index: mirror.index };
    let steps: Vec<Step> = wanted.iter().map(make).collect();
    let loopback = loopback();
    let mut requests: Vec<&Request> = loopback.iter().map(|(request, _)| request).collect();
    let makes: Vec<Request> = steps.iter().flat_map(|step| step.requests(kind)).collect();
    requests.extend(&makes);
    let mut verdicts = socket.batch(&requests)?;
    let made = verdicts.split_off(loopback.len());
    for ((_, before), verdict) in loopback.iter().zip(verdicts) {
        match verdict {
            Err(refused) if Some(refused.errno()) != *before => return Err(refused.into()),
            _ => {}
        }
    }
    let count = made.iter().filter(|verdict| verdict.is_ok()).count();
    let mut done = Done { made: count, ..Done::default() };
    if count < made.len() {
        settle(&mut socket, kind, &wanted, &mut done)?;
    }
    Ok(done)
}

fn sync_as(
    kind: Option<Kind>,
    netns: BorrowedFd<'_>,
    mirrors: &[Mirror],
    skip: Option<&LinkName>,
) -> Result<Done, NetError> {
    let mut socket = enter(netns, Socket::open)?;
    let kind = choose(kind, &mut socket)?;
    let mut done = Done::default();
    settle(&mut socket, kind, &without(mirrors, skip), &mut done)?;
    Ok(done)
}

fn choose(kind: Option<Kind>, socket: &mut Socket) -> Result<Kind, NetError> {
    kind.map_or_else(|| Kind::best(socket), Ok)
}

fn without<'a>(mirrors: &'a [Mirror], skip: Option<&LinkName>) -> Vec<&'a Mirror> {
    mirrors.iter().filter(|mirror| Some(&mirror.name) != skip).collect()
}

/// The settings that later links of the calling thread's namespace begin with:
/// no addresses of their own, no routers, no waiting for addresses. Those that
/// the container got stay when a mirror goes down with its interface.
fn quieten() -> Result<(), NetError> {
    for (key, value) in [
        ("default/addr_gen_mode", "1"),
        ("default/accept_ra", "0"),
        ("default/accept_dad", "0"),
        ("all/keep_addr_on_down", "1"),
    ] {
        settings::write(&format!("/proc/sys/net/ipv6/conf/{key}"), value)?;
    }
    Ok(())
}

/// What sets the loopback up, each with the refusal that says that it was so
/// before. The kernel gives it its address when it goes up.
fn loopback() -> [(Request, Option<Errno>); 3] {
    let net = |prefix| Ipv4Net::new_assert(std::net::Ipv4Addr::LOCALHOST, prefix);
    let all = IpNet::V4(net(8).trunc());
    [
        (request::set_up(LOOPBACK, true), None),
        (request::remove_address(LOOPBACK, IpNet::V4(net(8))), Some(Errno::ADDRNOTAVAIL)),
        (request::local_route(LOOPBACK, all), Some(Errno::EXIST)),
    ]
}

/// Leads from whatever is there to what is wanted.
fn settle(
    socket: &mut Socket,
    kind: Kind,
    wanted: &[&Mirror],
    done: &mut Done,
) -> Result<(), NetError> {
    for bounce in [false, true] {
        let there = socket.links()?;
        let addresses = socket.addresses()?;
        let addressed = addresses.into_iter().map(|record| record.index).collect();
        let (steps, stale) = plan(&there, &addressed, wanted, bounce);
        done.stale = stale;
        if !carry_out(socket, kind, &steps, done)? {
            break;
        }
    }
    Ok(())
}

/// Whether it is worth trying the other way: a link was busy, or somebody made
/// one meanwhile.
fn carry_out(
    socket: &mut Socket,
    kind: Kind,
    steps: &[Step],
    done: &mut Done,
) -> Result<bool, NetError> {
    let requests: Vec<Vec<Request>> = steps.iter().map(|step| step.requests(kind)).collect();
    let all: Vec<&Request> = requests.iter().flatten().collect();
    let mut verdicts = socket.batch(&all)?.into_iter();
    let mut again = false;
    done.failed.clear();
    for (step, requests) in steps.iter().zip(&requests) {
        let mut refusals: Vec<_> =
            verdicts.by_ref().take(requests.len()).filter_map(Result::err).collect();
        refusals.retain(|refused| !step.forgives(refused));
        let Some(refused) = refusals.into_iter().next() else {
            step.count(done);
            continue;
        };
        again |= matches!(refused.errno(), Errno::BUSY | Errno::EXIST);
        done.failed.push(error::host(&step.to_string())(refused.into()));
    }
    Ok(again)
}

#[cfg(test)]
#[path = "kernel_tests.rs"]
mod tests;
