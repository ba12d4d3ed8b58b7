//! The table of a view in which a container has several addresses: UDP services
//! on the wildcard answer from the address that was asked.
//!
//! Such a service sends without naming a source, and the kernel chooses one by
//! the way to the client. So it is remembered, for each client (its address and
//! port, and the service's port), which address it asked last, and what a
//! wildcard socket sends there gets that source. No connection tracking, and
//! nothing that the container can see or change.
//!
//! A packet can put an element into a map, but not change one that is there. So
//! one that differs is deleted first, and only then: deleted ones count until
//! they are collected, about a second later. Whether two values are the same no
//! expression can tell. So addresses have numbers, which fit a packet's mark;
//! a set has the pairs of them, and a map leads back.
//!
//! Where a map is full, or a client has not asked for a while, the source is the
//! kernel's choice.

use super::layout::{comment, described};
use super::rule::Expression::{
    Among, Hash, Is, Jump, Know, Map, Mark, Payload, Verdict, Wildcard, Write,
};
use super::rule::{ACCEPT, Chain, Compare, Expression, Header, Hook, Keep, Meta, Register, Rule};

/// Types of keys. The kernel does not care; `nft` shows elements by them.
mod key {
    pub(super) const IPV4: u32 = 7;
    pub(super) const IPV6: u32 = 8;
    pub(super) const SERVICE: u32 = 13;
    pub(super) const MARK: u32 = 19;

    pub(super) fn both(first: u32, second: u32) -> u32 {
        first << 6 | second
    }
}

/// How long a client is remembered after its last word or the last answer, in
/// milliseconds: as long as address translation usually does.
const TIMEOUT: u64 = 30_000;
/// How many clients are remembered in a family, and how many own addresses have
/// numbers.
const CLIENTS: u32 = 65_536;
const OWN: u32 = 4_096;

const INPUT: &str = "input";
const OUTPUT: &str = "output";
const REMEMBER: &str = "remember";
const REPLY: &str = "reply";

/// In the order of their names.
pub(super) fn chains() -> [Chain; 4] {
    [
        Chain::new(INPUT, Hook::filter(1, 0)),
        Chain::new(OUTPUT, Hook::filter(3, 0)),
        Chain::new(REMEMBER, None),
        Chain::new(REPLY, None),
    ]
}

/// The two families, each with what differs.
#[derive(Debug, Clone, Copy)]
struct Version {
    family: u8,
    key: u32,
    source: u32,
    destination: u32,
    length: u32,
    /// Where the header's own checksum is.
    checksum: Option<u32>,
    /// A client to the number of the address that it asked last.
    asked: &'static str,
    /// Own addresses with their numbers, and by them.
    numbered: &'static str,
    numbers: &'static str,
    /// Registers behind the client's address, for the client's port and ours.
    ports: [Register; 2],
}

/// Registers for a number and, beside it, an address.
const NUMBER: Register = Register(8);
const ADDRESS: Register = Register(9);

const VERSIONS: [Version; 2] = [
    Version {
        family: 2,
        key: key::IPV4,
        source: 12,
        destination: 16,
        length: 4,
        checksum: Some(10),
        asked: "asked4",
        numbered: "numbered4",
        numbers: "numbers4",
        ports: [Register(1), Register(2)],
    },
    Version {
        family: 10,
        key: key::IPV6,
        source: 8,
        destination: 24,
        length: 16,
        checksum: None,
        asked: "asked6",
        numbered: "numbered6",
        numbers: "numbers6",
        ports: [Register(4), Register(5)],
    },
];

/// The maps and sets, in the order of their names.
pub(super) fn sets(table: &str) -> Vec<Vec<u8>> {
    let number = (key::MARK, 4);
    let asked = VERSIONS.map(|version| {
        let client = key::both(key::both(version.key, key::SERVICE), key::SERVICE);
        let (key, about) = ((client, version.length + 8), "which address a client asked last");
        let size = (CLIENTS, Some(TIMEOUT));
        Packets { name: version.asked, key, value: Some(number), size, about }
    });
    let numbered = VERSIONS.map(|version| {
        let key = (key::both(key::MARK, version.key), 4 + version.length);
        let (size, about) = ((OWN, None), "addresses with their numbers");
        Packets { name: version.numbered, key, value: None, size, about }
    });
    let numbers = VERSIONS.map(|version| {
        let value = Some((version.key, version.length));
        let (size, about) = ((OWN, None), "addresses by their numbers");
        Packets { name: version.numbers, key: number, value, size, about }
    });
    let all = asked.into_iter().chain(numbered).chain(numbers);
    all.map(|set| set.bytes(table)).collect()
}

/// A set of what packets put there, or a map.
struct Packets {
    name: &'static str,
    /// A type and its length.
    key: (u32, u32),
    value: Option<(u32, u32)>,
    /// How many there may be, and for how long.
    size: (u32, Option<u64>),
    about: &'static str,
}

impl Packets {
    fn bytes(&self, table: &str) -> Vec<u8> {
        const MAP: u32 = 0x8;
        const TIMED: u32 = 0x10;
        const DYNAMIC: u32 = 0x20;
        let (size, timeout) = self.size;
        described(table, |w| {
            w.text(2, self.name);
            w.number(3, DYNAMIC | timeout.map_or(0, |_| TIMED) | self.value.map_or(0, |_| MAP));
            w.number(4, self.key.0);
            w.number(5, self.key.1);
            if let Some((kind, length)) = self.value {
                w.number(6, kind);
                w.number(7, length);
            }
            w.nest(9, |w| w.number(1, size));
            timeout.into_iter().for_each(|timeout| w.put(11, &timeout.to_be_bytes()));
            let mut orders = order(0, self.key.0);
            orders.extend(self.value.into_iter().flat_map(|(kind, _)| order(1, kind)));
            w.put(13, &[orders, comment(7, self.about)].concat());
        })
    }
}

/// In which order `nft` shows the bytes of a type: the host's for marks, none
/// for several parts, the network's for all else.
fn order(what: u8, kind: u32) -> Vec<u8> {
    let order: u32 = match kind {
        key::MARK => 1,
        key::IPV4 | key::IPV6 => 2,
        _ => 0,
    };
    [&[what, 4], order.to_ne_bytes().as_slice()].concat()
}

/// All rules, by their chains in order.
pub(super) fn rules() -> Vec<Rule> {
    const UDP: u8 = 17;
    // A frame for this host, which no broadcast or multicast comes in.
    const HERE: u8 = 0;
    let is = |what, value| [Expression::Meta(what), Is(Compare::Equal, value)];
    let mut asked = is(Meta::Protocol, UDP).to_vec();
    asked.extend(is(Meta::FrameTo, HERE));
    asked.extend([Wildcard, Is(Compare::Equal, 1), Jump(REMEMBER)]);
    let mut answers = is(Meta::Protocol, UDP).to_vec();
    answers.extend([Wildcard, Is(Compare::Equal, 1), Jump(REPLY)]);
    let mut rules = vec![
        Rule { chain: INPUT.into(), about: "UDP for the wildcard", expressions: asked },
        Rule { chain: OUTPUT.into(), about: "UDP from the wildcard", expressions: answers },
    ];
    rules.extend(VERSIONS.into_iter().flat_map(|version| [version.again(), version.another()]));
    rules.extend(VERSIONS.map(Version::reply));
    rules
}

impl Version {
    /// Matches this family and loads who the client is: the address at `client`,
    /// its port, and ours.
    fn client(self, client: u32, [theirs, ours]: [u32; 2]) -> Vec<Expression> {
        let port = |offset, to| Payload { header: Header::Transport, offset, length: 2, to };
        vec![
            Expression::Meta(Meta::Family),
            Is(Compare::Equal, self.family),
            self.address(client, Register(0)),
            port(theirs, self.ports[0]),
            port(ours, self.ports[1]),
        ]
    }

    fn address(self, offset: u32, to: Register) -> Expression {
        Payload { header: Header::Network, offset, length: self.length, to }
    }

    /// Something is done to what is known of the client, with the number that is
    /// loaded.
    fn keep(self, keep: Keep) -> Expression {
        Expression::Keep { keep, set: self.asked, key: Register(0), value: Some(NUMBER) }
    }

    /// The number of the address that the client has asked.
    fn asked(self) -> [Expression; 3] {
        let key = Register(0);
        [Map { map: self.asked, key, to: NUMBER }, Mark(NUMBER), Self::number()]
    }

    /// `nft` can show a mark beside something else, and not what a map has given.
    fn number() -> Expression {
        Know { what: Meta::Mark, to: NUMBER }
    }

    /// A client asks the address that it has asked before.
    fn again(self) -> Rule {
        let mut expressions = self.client(self.source, [0, 2]);
        expressions.extend(self.asked());
        expressions.extend([
            self.address(self.destination, ADDRESS),
            Among { set: self.numbered, from: NUMBER },
            self.keep(Keep::Update),
            Verdict(ACCEPT),
        ]);
        Rule { chain: REMEMBER.into(), about: "a client asks the same address again", expressions }
    }

    /// A client asks another address than before, or is new.
    fn another(self) -> Rule {
        let mut expressions = self.client(self.source, [0, 2]);
        let add = |set, value| Expression::Keep { keep: Keep::Add, set, key: NUMBER, value };
        expressions.extend([
            self.address(self.destination, NUMBER),
            Hash { register: NUMBER, length: self.length },
            Mark(NUMBER),
            Self::number(),
            self.address(self.destination, ADDRESS),
            add(self.numbered, None),
            add(self.numbers, Some(ADDRESS)),
            self.keep(Keep::Delete),
            self.keep(Keep::Update),
            Verdict(ACCEPT),
        ]);
        Rule { chain: REMEMBER.into(), about: "a client asks an address", expressions }
    }

    /// What goes to a client comes from the address that it has asked.
    fn reply(self) -> Rule {
        let (offset, length, checksum) = (self.source, self.length, self.checksum);
        let mut expressions = self.client(self.destination, [2, 0]);
        expressions.extend(self.asked());
        expressions.extend([
            self.keep(Keep::Update),
            Map { map: self.numbers, key: NUMBER, to: ADDRESS },
            Write { offset, length, from: ADDRESS, checksum },
        ]);
        Rule {
            chain: REPLY.into(),
            about: "answers come from the address that was asked",
            expressions,
        }
    }
}
