//! The entries of the kernel's sets that pieces of the policy are made of.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use kleene_engine::piece::{Gate, Piece};
use kleene_model::policy::NetworkRules;
use kleene_model::{Family, Nat, NetworkType, Ports, Protocol};

use super::entry::{Entry, Field, Held, key};
use super::families::FAMILIES;
use super::layout::BRIDGE;
use super::network::{Direction, chain_name};
use super::set::Set;

/// One set for each family.
pub(super) fn of(family: Family, v4: Set, v6: Set) -> Set {
    match family {
        Family::V4 => v4,
        Family::V6 => v6,
    }
}

/// The entries that a piece is made of, in the order in which they are made; none
/// for what packet filters do not hold.
fn entries_of(piece: &Piece) -> Vec<(Set, Entry)> {
    let exact = |fields: &[Field<'_>]| Entry::exact(key(fields));
    match piece {
        Piece::Rules { rules } => network(rules),
        Piece::Near { subnet, addr } => {
            let set = of(subnet.family(), Set::Near4, Set::Near6);
            around(set, subnet.net(), Some(Held::Bytes(key(&[Field::Addr(*addr)]))))
        }
        Piece::Uplink { family, link } => {
            vec![(of(*family, Set::Uplink4, Set::Uplink6), exact(&[Field::Name(link)]))]
        }
        Piece::Way { link, addr } => {
            let family = Family::of(*addr);
            let source = Held::Bytes(key(&[Field::Addr(*addr)]));
            vec![
                (of(family, Set::Nat4, Set::Nat6), exact(&[Field::Name(link)]).with(source)),
                (of(family, Set::Ways4, Set::Ways6), exact(&[Field::Name(link)])),
            ]
        }
        Piece::Guard { addr } => {
            let family = Family::of(*addr);
            let sets = [
                of(family, Set::Addresses4, Set::Addresses6),
                // What is behind a port of a bridge must not claim it either.
                of(family, Set::WireAddresses4, Set::WireAddresses6),
            ];
            sets.map(|set| (set, exact(&[Field::Addr(*addr)]))).to_vec()
        }
        Piece::Check { cable } => vec![(Set::Cables, exact(&[Field::Name(cable)]))],
        Piece::Admit { cable, addr } => {
            let set = of(Family::of(*addr), Set::Sources4, Set::Sources6);
            vec![(set, exact(&[Field::Name(cable), Field::Addr(*addr)]))]
        }
        Piece::Lead { gate, protocol, ports, addr, inner } => {
            lead(gate, *protocol, *ports, *addr, *inner)
        }
        Piece::Open { gate, addr, protocol, ports } => {
            vec![open(gate, *addr, *protocol, *ports)]
        }
        Piece::Fence { cable, mac } => {
            let own = IpAddr::V6(mac.link_local());
            vec![
                (Set::WireCables, exact(&[Field::Name(cable)])),
                (Set::WireMacs, exact(&[Field::Name(cable), Field::Mac(mac.0)])),
                (Set::WireSources6, exact(&[Field::Name(cable), Field::Addr(own)])),
            ]
        }
        Piece::Speak { cable, addr } => {
            let sources = of(Family::of(*addr), Set::WireSources4, Set::WireSources6);
            vec![(sources, exact(&[Field::Name(cable), Field::Addr(*addr)]))]
        }
        Piece::Round { from, addr } => {
            let set = of(Family::of(*addr), Set::Round4, Set::Round6);
            vec![(set, exact(&[Field::Addr(*from), Field::Addr(*addr)]))]
        }
        Piece::LogDrops => {
            let told = |set, family| (set, exact(&[Field::Protocol(family)]));
            vec![
                told(Set::Logged, FAMILIES[0].number),
                told(Set::Logged, FAMILIES[1].number),
                told(Set::WireLogged, BRIDGE),
            ]
        }
        // Not of these tables.
        Piece::Member { .. }
        | Piece::Endpoint { .. }
        | Piece::Publish { .. }
        | Piece::Fallback { .. }
        | Piece::Steer { .. }
        | Piece::Show { .. }
        | Piece::Answer { .. } => Vec::new(),
    }
}

/// A whole subnet in a set of single addresses: its first, and the first behind
/// it where there is one.
fn around(set: Set, net: IpNet, value: Option<Held>) -> Vec<(Set, Entry)> {
    let first = Entry::exact(key(&[Field::Addr(net.network())]));
    let mut entries = vec![(set, Entry { value, ..first })];
    let behind = match net.broadcast() {
        IpAddr::V4(v4) => u32::from(v4).checked_add(1).map(|n| IpAddr::V4(n.into())),
        IpAddr::V6(v6) => u128::from(v6).checked_add(1).map(|n| IpAddr::V6(n.into())),
    };
    entries
        .extend(behind.map(|behind| {
            (set, Entry { ends: true, ..Entry::exact(key(&[Field::Addr(behind)])) })
        }));
    entries
}

fn network(rules: &NetworkRules) -> Vec<(Set, Entry)> {
    let chain = |direction| Held::Chain(chain_name(direction, rules.id));
    let name = || Entry::exact(key(&[Field::Name(&rules.interface)]));
    let bridge = rules.kind == NetworkType::Bridge;
    let mut entries = Vec::new();
    if bridge {
        entries.push((Set::FromLinks, name().with(chain(Direction::From))));
        entries.push((Set::HostLinks, name().with(chain(Direction::Host))));
        entries.push((Set::ToLinks, name().with(chain(Direction::To))));
        entries.push((Set::Links, name()));
        if rules.internal {
            entries.push((Set::InternalLinks, name()));
        }
    }
    for (family, subnet) in rules.subnet.present() {
        let net = subnet.net();
        let ways = [
            (Direction::From, of(family, Set::FromSubnets4, Set::FromSubnets6)),
            (Direction::Host, of(family, Set::HostSubnets4, Set::HostSubnets6)),
            (Direction::To, of(family, Set::ToSubnets4, Set::ToSubnets6)),
        ];
        for (direction, set) in ways {
            entries.extend(around(set, net, Some(chain(direction))));
        }
        let twice = |addr| key(&[Field::Addr(addr), Field::Addr(addr)]);
        let same = if bridge {
            of(family, Set::Bridged4, Set::Bridged6)
        } else {
            of(family, Set::Same4, Set::Same6)
        };
        entries.push((same, Entry::range(twice(net.network()), twice(net.broadcast()))));
        if rules.internal {
            entries.extend(around(of(family, Set::Internal4, Set::Internal6), net, None));
        } else if rules.nat != Nat::None {
            // Beside containers there may be others, behind linked interfaces.
            let set = match bridge {
                true => of(family, Set::Translated4, Set::Translated6),
                false => of(family, Set::TranslatedOwn4, Set::TranslatedOwn6),
            };
            entries.extend(around(set, net, None));
        }
    }
    entries
}

fn open(gate: &Gate, addr: IpAddr, protocol: Protocol, ports: Ports) -> (Set, Entry) {
    let family = Family::of(addr);
    let alone = ports.first == ports.last;
    let set = match (gate, alone) {
        (Gate::Inside, true) => of(family, Set::Open4, Set::Open6),
        (Gate::Inside, false) => of(family, Set::OpenRanges4, Set::OpenRanges6),
        (Gate::Uplink, true) => of(family, Set::OpenUplink4, Set::OpenUplink6),
        (Gate::Uplink, false) => of(family, Set::OpenUplinkRanges4, Set::OpenUplinkRanges6),
        (Gate::Link(_), true) => of(family, Set::OpenLinks4, Set::OpenLinks6),
        (Gate::Link(_), false) => of(family, Set::OpenLinksRanges4, Set::OpenLinksRanges6),
    };
    let to = |port| {
        let mut fields = gate_fields(gate);
        fields.extend([Field::Addr(addr), Field::Protocol(protocol.number()), Field::Port(port)]);
        key(&fields)
    };
    let entry = match alone {
        true => Entry::exact(to(ports.first)),
        false => Entry::range(to(ports.first), to(ports.last)),
    };
    (set, entry)
}

fn gate_fields(gate: &Gate) -> Vec<Field<'_>> {
    match gate {
        Gate::Link(name) => vec![Field::Name(name)],
        Gate::Inside | Gate::Uplink => Vec::new(),
    }
}

fn lead(
    gate: &Gate,
    protocol: Protocol,
    ports: Ports,
    to: IpAddr,
    inner: Ports,
) -> Vec<(Set, Entry)> {
    let family = Family::of(to);
    let host = |port| {
        let mut fields = gate_fields(gate);
        fields.extend([Field::Protocol(protocol.number()), Field::Port(port)]);
        key(&fields)
    };
    if ports.first == ports.last {
        let set = match gate {
            Gate::Inside => of(family, Set::Lead4, Set::Lead6),
            Gate::Uplink => of(family, Set::LeadUplink4, Set::LeadUplink6),
            Gate::Link(_) => of(family, Set::LeadLinks4, Set::LeadLinks6),
        };
        let value = Held::Bytes(key(&[Field::Addr(to), Field::Port(inner.first)]));
        return vec![(set, Entry::exact(host(ports.first)).with(value))];
    }
    let set = match gate {
        Gate::Inside => of(family, Set::LeadRanges4, Set::LeadRanges6),
        Gate::Uplink => of(family, Set::LeadUplinkRanges4, Set::LeadUplinkRanges6),
        Gate::Link(_) => of(family, Set::LeadLinksRanges4, Set::LeadLinksRanges6),
    };
    let about = format!("{ports} to {inner}");
    let entry = |block: Ports, to_ports: Ports| {
        let (first, last) = (Field::Port(to_ports.first), Field::Port(to_ports.last));
        let to = Field::Addr(to);
        let value = Held::Bytes(key(&[to, first, to, last]));
        let about = Some(about.clone());
        (set, Entry { about, ..Entry::range(host(block.first), host(block.last)).with(value) })
    };
    if inner.first == inner.last {
        return vec![entry(ports, inner)];
    }
    let shifted = |block: Ports| {
        let offset = block.first - ports.first;
        let first = inner.first + offset;
        Ports { first, last: first + (block.last - block.first) }
    };
    blocks(ports).into_iter().map(|block| entry(block, shifted(block))).collect()
}

/// Cuts a range into blocks that begin at a multiple of their length. The kernel
/// leads a port of such a block to the one that is as far from the beginning:
/// it counts from the rest of a division by the length
/// (`nf_nat_l4proto_unique_tuple`).
fn blocks(ports: Ports) -> Vec<Ports> {
    let mut blocks = Vec::new();
    let (mut first, end) = (u32::from(ports.first), u32::from(ports.last) + 1);
    while first < end {
        let aligned = if first == 0 { 1 << 16 } else { first & first.wrapping_neg() };
        let mut length = aligned;
        while first + length > end {
            length /= 2;
        }
        let port = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
        blocks.push(Ports { first: port(first), last: port(first + length - 1) });
        first += length;
    }
    blocks
}

/// All entries of pieces, each once, in the order of the pieces.
pub(super) fn entries<'a>(pieces: impl IntoIterator<Item = &'a Piece>) -> Vec<(Set, Entry)> {
    let mut seen = BTreeSet::new();
    let all = pieces.into_iter().flat_map(entries_of);
    all.filter(|entry| seen.insert(entry.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_at_multiples_of_the_length_of_what_follows() {
        let cut = |first, last| {
            let blocks = blocks(Ports { first, last });
            blocks.iter().map(|block| (block.first, block.last)).collect::<Vec<_>>()
        };
        assert_eq!(cut(8000, 8001), [(8000, 8001)]);
        assert_eq!(cut(7, 12), [(7, 7), (8, 11), (12, 12)]);
        assert_eq!(cut(0, 65535), [(0, 65535)]);
        for (first, last) in [(1, 65535), (1, 65534), (3, 5), (32767, 32769), (40000, 50123)] {
            let blocks = blocks(Ports { first, last });
            assert!(blocks.len() <= 32);
            assert!(blocks.iter().all(|block| u32::from(block.first) % block.count() == 0));
            let joined = blocks.windows(2).all(|pair| pair[0].last + 1 == pair[1].first);
            assert!(joined && blocks[0].first == first && blocks[blocks.len() - 1].last == last);
        }
    }
}
