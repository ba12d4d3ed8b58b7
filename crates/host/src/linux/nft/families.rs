//! What differs in the rules of the two families, and what they are made of.

use kleene_model::{Family, Subnet};

use super::entry::{Field, key};
use super::rule::Expression::{Is, Know, Lookup, Meta as Load, Reads};
use super::rule::{Compare, Expression, Header, Meta, Register};
use super::set::Set;

/// One family: where its headers have what, and its sets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Version {
    pub(super) family: Family,
    /// The kernel's number.
    pub(super) number: u8,
    pub(super) source: u32,
    pub(super) destination: u32,
    pub(super) length: u32,
    pub(super) addresses: Set,
    pub(super) sources: Set,
    pub(super) uplink: Set,
    pub(super) ways: Set,
    /// Published ports, one by one and in ranges: for all, by the default route,
    /// by interface.
    pub(super) open: [Set; 2],
    pub(super) open_uplink: [Set; 2],
    pub(super) open_links: [Set; 2],
}

pub(super) const FAMILIES: [Version; 2] = [
    Version {
        family: Family::V4,
        number: 2,
        source: 12,
        destination: 16,
        length: 4,
        addresses: Set::Addresses4,
        sources: Set::Sources4,
        uplink: Set::Uplink4,
        ways: Set::Ways4,
        open: [Set::Open4, Set::OpenRanges4],
        open_uplink: [Set::OpenUplink4, Set::OpenUplinkRanges4],
        open_links: [Set::OpenLinks4, Set::OpenLinksRanges4],
    },
    Version {
        family: Family::V6,
        number: 10,
        source: 8,
        destination: 24,
        length: 16,
        addresses: Set::Addresses6,
        sources: Set::Sources6,
        uplink: Set::Uplink6,
        ways: Set::Ways6,
        open: [Set::Open6, Set::OpenRanges6],
        open_uplink: [Set::OpenUplink6, Set::OpenUplinkRanges6],
        open_links: [Set::OpenLinks6, Set::OpenLinksRanges6],
    },
];

impl Version {
    /// Matches this family.
    pub(super) fn is(self) -> Vec<Expression> {
        vec![Load(Meta::Family), Is(Compare::Equal, self.number)]
    }

    pub(super) fn load_source(self, to: Register) -> Expression {
        self.load(self.source, to)
    }

    pub(super) fn load_destination(self, to: Register) -> Expression {
        self.load(self.destination, to)
    }

    fn load(self, offset: u32, to: Register) -> Expression {
        Expression::Payload { header: Header::Network, offset, length: self.length, to }
    }

    /// How many registers an address takes.
    pub(super) fn width(self) -> u8 {
        if self.family == Family::V4 { 1 } else { 4 }
    }

    /// Matches a destination inside a subnet.
    pub(super) fn destination_in(self, subnet: Subnet) -> Vec<Expression> {
        let mut when = self.is();
        when.push(self.load_destination(Register::FIRST));
        let mask = key(&[Field::Addr(subnet.net().netmask())]);
        when.push(Expression::And(mask));
        when.push(Reads(Compare::Equal, key(&[Field::Addr(subnet.network())])));
        when
    }

    /// Matches what goes to a container's address.
    pub(super) fn to_container(self) -> Vec<Expression> {
        let mut when = self.is();
        when.push(self.load_destination(Register::FIRST));
        when.push(Lookup { set: self.addresses.name(), has: true });
        when
    }

    /// Loads protocol and port of the destination, from a register on.
    pub(super) fn load_port(from: u8) -> [Expression; 2] {
        [
            Know { what: Meta::Protocol, to: Register(from) },
            Expression::Payload {
                header: Header::Transport,
                offset: 2,
                length: 2,
                to: Register(from + 1),
            },
        ]
    }

    /// Matches, each alone, what goes to a published port.
    pub(super) fn to_published(self) -> Vec<Vec<Expression>> {
        self.open.map(|set| self.to_port(set, &[])).to_vec()
    }

    /// The same on an interface that it is published on.
    pub(super) fn to_listed(self) -> Vec<Vec<Expression>> {
        let by_uplink = [Load(Meta::InName), Lookup { set: self.uplink.name(), has: true }];
        let uplink = self.open_uplink.map(|set| self.to_port(set, &by_uplink));
        let links = self.open_links.map(|set| {
            let mut when = self.is();
            when.push(Load(Meta::InName));
            when.push(self.load_destination(Register(4)));
            when.extend(Self::load_port(4 + self.width()));
            when.push(Lookup { set: set.name(), has: true });
            when
        });
        [uplink, links].concat()
    }

    fn to_port(self, set: Set, also: &[Expression]) -> Vec<Expression> {
        let mut when = self.is();
        when.extend_from_slice(also);
        when.push(self.load_destination(Register::FIRST));
        when.extend(Self::load_port(self.width()));
        when.push(Lookup { set: set.name(), has: true });
        when
    }
}
