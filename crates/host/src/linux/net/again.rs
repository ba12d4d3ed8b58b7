//! Looks at single things: what a report is about, who has an address.

use std::net::IpAddr;

use kleene_engine::Disturbance;
use kleene_engine::change::Mark;
use kleene_model::LinkName;

use super::error::NetError;
use super::request::Which;
use super::socket::Socket;
use super::wire::RouteKind;

/// What a report says now; `None` where there is nothing to report any more.
/// What the kernel cannot be asked for alone is as it was told.
pub(super) fn look(
    socket: &mut Socket,
    told: &Disturbance,
) -> Result<Option<Disturbance>, NetError> {
    let gone = match told {
        Disturbance::LinkGone { link } => return self::link(socket, link, false).map(Some),
        Disturbance::LinkThere { link, fell, .. } => {
            return self::link(socket, link, *fell).map(Some);
        }
        Disturbance::AddressGone { link, addr } => match (index(socket, link)?, addr.addr()) {
            (Some(index), IpAddr::V6(addr)) => !socket.has_address6(index, addr)?,
            // Who took one of IPv4 was told, and it was not us.
            (None, _) | (Some(_), IpAddr::V4(_)) => true,
        },
        Disturbance::AnswerGone { link, addr } => match index(socket, link)? {
            Some(index) => !socket.answers_for(index, *addr)?,
            None => true,
        },
        Disturbance::Claimed { addr } => {
            socket.way_to(*addr)?.is_some_and(|way| way.kind == RouteKind::Local)
        }
        Disturbance::AddressThere { .. }
        | Disturbance::RouteGone { .. }
        | Disturbance::DefaultRoute { .. }
        | Disturbance::Anything => true,
    };
    Ok(gone.then(|| told.clone()))
}

/// Whether the host itself answers on an address.
pub(super) fn has_address(socket: &mut Socket, addr: IpAddr) -> Result<bool, NetError> {
    /// On whichever link.
    const ANY: u32 = 0;
    match addr {
        // Of IPv4 addresses only lists can be had, but the way to one is short; to
        // one of IPv6 the kernel would look for the best of all sources.
        IpAddr::V4(_) => Ok(socket.way_to(addr)?.is_some_and(|way| way.kind == RouteKind::Local)),
        IpAddr::V6(addr) => socket.has_address6(ANY, addr),
    }
}

fn link(socket: &mut Socket, name: &LinkName, fell: bool) -> Result<Disturbance, NetError> {
    let link = name.clone();
    Ok(match socket.link(Which::Name(name))? {
        Some(found) => Disturbance::LinkThere {
            link,
            up: found.up,
            fell,
            mark: found.alias.as_deref().and_then(Mark::parse),
            port: Some(found.master.is_some()),
        },
        None => Disturbance::LinkGone { link },
    })
}

fn index(socket: &mut Socket, link: &LinkName) -> Result<Option<u32>, NetError> {
    Ok(socket.link(Which::Name(link))?.map(|found| found.index))
}
