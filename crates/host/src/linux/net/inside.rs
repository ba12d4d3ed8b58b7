//! What is set up in the views of `ipnet` containers, and what is seen there.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::AsFd;

use kleene_engine::inside::Inside;
use kleene_model::{ContainerId, Family, LinkName, RoutedCable};

use super::LinuxHost;
use super::apply::{Failure, Run, Space};
use super::error::NetError;
use super::namespaces::enter;
use super::request::{self, MAIN, Request, Which};
use super::request_route::{self, PROTOCOL, far_end};
use super::rules::boxed;
use super::socket::Socket;
use super::standing::{GONE, THERE};
use super::wire::RouteKind;
use crate::linux::nft::Replies;
use crate::linux::view;

impl Run<'_, '_> {
    pub(super) fn put_inside(
        &mut self,
        container: ContainerId,
        inside: &Inside,
    ) -> Result<(), Failure> {
        let space = Space::Inner(container);
        match inside {
            Inside::Mirror { link } => self.mirror(container, link),
            Inside::Up { link } => {
                let index = self.inner_index(container, link)?;
                self.push_or(space, request::set_up(index, true), &[])
            }
            Inside::Meet { link, family } => {
                let index = self.inner_index(container, link)?;
                let mac = RoutedCable::host_mac(container);
                self.push_or(space, request_route::meet(index, far_end(*family), mac), &[])
            }
            Inside::Replies => self.change_replies(container, Replies::put),
            Inside::Use { .. } => Err(self.failure(NetError::SharedStack)),
            Inside::Address { link, addr } => {
                let index = self.inner_index(container, link)?;
                let net = ipnet::IpNet::from(*addr);
                self.push_or(space, request::add_address(index, net), THERE)
            }
            Inside::Route { destination, link, source, mtu } => {
                let index = self.inner_index(container, link)?;
                let request = request_route::way_out(index, *destination, *source, *mtu);
                self.push_or(space, request, &[])
            }
        }
    }

    pub(super) fn take_inside(
        &mut self,
        container: ContainerId,
        inside: &Inside,
    ) -> Result<(), Failure> {
        match inside {
            Inside::Replies => self.change_replies(container, Replies::remove),
            Inside::Use { .. } => Err(self.failure(NetError::SharedStack)),
            Inside::Mirror { link } => self.undo(container, link, request::delete_link),
            Inside::Up { link } => {
                self.undo(container, link, |index| request::set_up(index, false))
            }
            Inside::Meet { link, family } => {
                self.undo(container, link, |index| request_route::part(index, far_end(*family)))
            }
            Inside::Address { link, addr } => {
                let net = ipnet::IpNet::from(*addr);
                self.undo(container, link, |index| request::remove_address(index, net))
            }
            Inside::Route { destination, link, source, .. } => {
                let route = |index| request_route::no_way_out(index, *destination, *source);
                self.undo(container, link, route)
            }
        }
    }

    /// Takes something away from a link, where that is there.
    fn undo(
        &mut self,
        container: ContainerId,
        link: &LinkName,
        request: impl FnOnce(u32) -> Request,
    ) -> Result<(), Failure> {
        let Some(index) = self.inner_index_if_there(container, link)? else { return Ok(()) };
        self.push_or(Space::Inner(container), request(index), GONE)
    }

    pub(super) fn rename_inner(
        &mut self,
        container: ContainerId,
        from: &LinkName,
        to: &LinkName,
    ) -> Result<(), Failure> {
        let index = self.inner_index(container, from)?;
        self.push_or(Space::Inner(container), request::set_name(index, to.as_str()), &[])?;
        self.flush()?;
        let inner = self.inner.entry(container).or_default();
        inner.indexes.remove(from);
        inner.indexes.insert(to.clone(), index);
        // The interface in whose place it stood is seen again.
        self.shown_now(container, from).map(drop)
    }

    /// Shows an interface of the host, where the view does not yet, or shows
    /// one of before.
    fn mirror(&mut self, container: ContainerId, link: &LinkName) -> Result<(), Failure> {
        self.flush()?;
        let Some(index) = self.shown_now(container, link)? else {
            return Err(self.failure(NetError::NoLink(link.clone())));
        };
        let inner = self.inner.entry(container).or_default();
        inner.indexes.insert(link.clone(), index);
        Ok(())
    }

    /// Its index in the view, if the host has it.
    fn shown_now(
        &mut self,
        container: ContainerId,
        link: &LinkName,
    ) -> Result<Option<u32>, Failure> {
        self.inner_socket(container)?;
        let socket = self.inner.get_mut(&container).and_then(super::inner::Inner::socket);
        let shown = match socket {
            Some(socket) => view::show(&mut self.host.socket, socket, link),
            None => Err(NetError::NoNamespace(container)),
        };
        self.fail(shown)
    }

    fn inner_index_if_there(
        &mut self,
        container: ContainerId,
        link: &LinkName,
    ) -> Result<Option<u32>, Failure> {
        let known = self.inner.get(&container).and_then(|inner| inner.indexes.get(link));
        if let Some(index) = known {
            return Ok(Some(*index));
        }
        self.flush()?;
        let found = self.inner_socket(container)?.link(Which::Name(link));
        Ok(self.fail(found)?.map(|found| found.index))
    }
}

/// Looks into a view.
pub(super) fn look(host: &LinuxHost, container: ContainerId) -> Result<BTreeSet<Inside>, NetError> {
    let netns = host.namespaces.get(container)?;
    let (mut socket, replies) = enter(netns.as_fd(), || {
        let stands = Replies::open().and_then(|mut table| table.stands());
        Ok((Socket::open()?, stands.map_err(boxed)?))
    })?;
    let mut inside: BTreeSet<Inside> = replies.then_some(Inside::Replies).into_iter().collect();
    let mut names = std::collections::BTreeMap::new();
    let mut cables = BTreeSet::new();
    for record in socket.links()? {
        let name = record.name.as_deref().and_then(|name| LinkName::parse(name).ok());
        let Some(link) = name else { continue };
        names.insert(record.index, link.clone());
        match record.kind.as_deref() {
            // One whose other end is down is out of use, and about to go.
            Some("veth") if record.up && record.running => {
                cables.insert(record.index);
                inside.insert(Inside::Up { link });
            }
            Some("veth") => {}
            // The loopback is its own.
            None => {}
            Some(_) => drop(inside.insert(Inside::Mirror { link })),
        }
    }
    for record in socket.addresses()? {
        let addr = record.addr.addr();
        if let Some(link) = names.get(&record.index).filter(|_| !is_everybodys(addr)) {
            inside.insert(Inside::Address { link: link.clone(), addr });
        }
    }
    for family in Family::BOTH {
        for record in socket.neighbours(family, false)? {
            let met = record.permanent && record.addr == far_end(family);
            let met = met && cables.contains(&record.index);
            if let Some(link) = names.get(&record.index).filter(|_| met) {
                inside.insert(Inside::Meet { link: link.clone(), family });
            }
        }
        for record in socket.routes(family, MAIN)? {
            let ours = record.protocol == PROTOCOL && record.kind == RouteKind::Unicast;
            let link = record.links.first().filter(|index| cables.contains(*index));
            if let (true, Some(link), Some(source)) =
                (ours, link.and_then(|index| names.get(index)), record.source)
            {
                let (destination, link, mtu) = (record.destination, link.clone(), record.mtu);
                inside.insert(Inside::Route { destination, link, source, mtu });
            }
        }
    }
    Ok(inside)
}

/// Addresses that every stack has.
fn is_everybodys(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(v4) => v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local(),
    }
}
