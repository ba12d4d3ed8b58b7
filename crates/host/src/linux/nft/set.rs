//! Kleene's sets and maps: what their keys and values are made of, and how the
//! kernel is told.

use super::attributes::Writer;
use super::layout::{comment, described};

/// A part of a key or value. The kernel does not care for types; `nft` shows
/// elements by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Name,
    V4,
    V6,
    Mac,
    Protocol,
    Port,
    /// A family as netfilter numbers them.
    Nfproto,
}

impl Part {
    /// `nft`'s number for the type.
    fn number(self) -> u32 {
        match self {
            Self::Name => 41,
            Self::Nfproto => 2,
            Self::V4 => 7,
            Self::V6 => 8,
            Self::Mac => 9,
            Self::Protocol => 12,
            Self::Port => 13,
        }
    }

    /// In bytes.
    pub(super) fn length(self) -> usize {
        match self {
            Self::Name | Self::V6 => 16,
            Self::V4 => 4,
            Self::Mac => 6,
            Self::Protocol | Self::Nfproto => 1,
            Self::Port => 2,
        }
    }

    /// Byte orders: the host's for texts and families, the network's for all else.
    fn order(self) -> u32 {
        if matches!(self, Self::Name | Self::Nfproto) { 1 } else { 2 }
    }
}

/// The length of parts one behind the other: each fills whole registers, unless
/// it is alone.
fn length(parts: &[Part]) -> usize {
    match parts {
        [alone] => alone.length(),
        parts => parts.iter().map(|part| part.length().next_multiple_of(4)).sum(),
    }
}

fn type_of(parts: &[Part]) -> u32 {
    parts.iter().fold(0, |number, part| number << 6 | part.number())
}

fn order_of(parts: &[Part]) -> u32 {
    if let [alone] = parts { alone.order() } else { 0 }
}

/// What a key leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing: it is there or not.
    None,
    /// A chain.
    Chain,
    /// These.
    Parts(&'static [Part]),
    /// From these to these.
    Ranges(&'static [Part]),
}

/// How a set's keys are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// One by one.
    Exact,
    /// Each stands for all from a first to a last.
    Ranges,
}

/// One of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// The host's, for what it sends, gets and passes on.
    Host,
    /// That of its bridges.
    Wire,
}

/// What a set is.
pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) side: Side,
    pub(super) key: &'static [Part],
    pub(super) keys: Keys,
    pub(super) value: Value,
    about: &'static str,
}

macro_rules! sets {
    ($($set:ident $side:ident $name:literal [$($part:ident)+] $keys:ident $value:tt $about:literal;)+) => {
        /// One of Kleene's sets and maps, in the order of their names.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Set { $($set),+ }

        impl Set {
            pub(super) const ALL: &'static [Self] = &[$(Self::$set),+];

            pub(super) fn spec(self) -> Spec {
                match self {
                    $(Self::$set => Spec {
                        name: $name,
                        side: Side::$side,
                        key: &[$(Part::$part),+],
                        keys: Keys::$keys,
                        value: sets!(@ $value),
                        about: $about,
                    }),+
                }
            }
        }
    };
    (@ none) => { Value::None };
    (@ chain) => { Value::Chain };
    (@ [$($part:ident)+]) => { Value::Parts(&[$(Part::$part),+]) };
    (@ [$($part:ident)+ ..]) => { Value::Ranges(&[$(Part::$part),+]) };
}

sets! {
    Addresses4 Host "addresses4" [V4] Exact none "addresses that only containers have";
    Addresses6 Host "addresses6" [V6] Exact none "addresses that only containers have";
    Bridged4 Host "bridged4" [V4 V4] Ranges none "subnets of bridges, each with itself";
    Bridged6 Host "bridged6" [V6 V6] Ranges none "subnets of bridges, each with itself";
    Cables Host "cables" [Name] Exact none "cables of containers";
    FromLinks Host "from_links" [Name] Exact chain "whose network comes in by an interface";
    FromSubnets4 Host "from_subnets4" [V4] Ranges chain "which network a source is of";
    FromSubnets6 Host "from_subnets6" [V6] Ranges chain "which network a source is of";
    HostLinks Host "host_links" [Name] Exact chain "who asks the host by an interface";
    HostSubnets4 Host "host_subnets4" [V4] Ranges chain "which network asks the host";
    HostSubnets6 Host "host_subnets6" [V6] Ranges chain "which network asks the host";
    Internal4 Host "internal4" [V4] Ranges none "subnets of internal networks";
    Internal6 Host "internal6" [V6] Ranges none "subnets of internal networks";
    InternalLinks Host "internal_links" [Name] Exact none "bridges of internal networks";
    Lead4 Host "lead4" [Protocol Port] Exact [V4 Port] "ports of the host, from this host";
    Lead6 Host "lead6" [Protocol Port] Exact [V6 Port] "ports of the host, from this host";
    LeadLinks4 Host "lead_links4" [Name Protocol Port] Exact [V4 Port] "ports of the host by interface";
    LeadLinks6 Host "lead_links6" [Name Protocol Port] Exact [V6 Port] "ports of the host by interface";
    LeadLinksRanges4 Host "lead_links_ranges4" [Name Protocol Port] Ranges [V4 Port ..] "several ports at once";
    LeadLinksRanges6 Host "lead_links_ranges6" [Name Protocol Port] Ranges [V6 Port ..] "several ports at once";
    LeadRanges4 Host "lead_ranges4" [Protocol Port] Ranges [V4 Port ..] "several ports at once";
    LeadRanges6 Host "lead_ranges6" [Protocol Port] Ranges [V6 Port ..] "several ports at once";
    LeadUplink4 Host "lead_uplink4" [Protocol Port] Exact [V4 Port] "ports of the host by the default route";
    LeadUplink6 Host "lead_uplink6" [Protocol Port] Exact [V6 Port] "ports of the host by the default route";
    LeadUplinkRanges4 Host "lead_uplink_ranges4" [Protocol Port] Ranges [V4 Port ..] "several ports at once";
    LeadUplinkRanges6 Host "lead_uplink_ranges6" [Protocol Port] Ranges [V6 Port ..] "several ports at once";
    Links Host "links" [Name] Exact none "bridges of networks";
    Logged Host "logged" [Nfproto] Exact none "whose blocked packets are told";
    Nat4 Host "nat4" [Name] Exact [V4] "the source of what leaves by an interface";
    Nat6 Host "nat6" [Name] Exact [V6] "the source of what leaves by an interface";
    Near4 Host "near4" [V4] Ranges [V4] "the host towards its containers";
    Near6 Host "near6" [V6] Ranges [V6] "the host towards its containers";
    Open4 Host "open4" [V4 Protocol Port] Exact none "published ports of containers";
    Open6 Host "open6" [V6 Protocol Port] Exact none "published ports of containers";
    OpenLinks4 Host "open_links4" [Name V4 Protocol Port] Exact none "the same by interface";
    OpenLinks6 Host "open_links6" [Name V6 Protocol Port] Exact none "the same by interface";
    OpenLinksRanges4 Host "open_links_ranges4" [Name V4 Protocol Port] Ranges none "several ports at once";
    OpenLinksRanges6 Host "open_links_ranges6" [Name V6 Protocol Port] Ranges none "several ports at once";
    OpenRanges4 Host "open_ranges4" [V4 Protocol Port] Ranges none "several ports at once";
    OpenRanges6 Host "open_ranges6" [V6 Protocol Port] Ranges none "several ports at once";
    OpenUplink4 Host "open_uplink4" [V4 Protocol Port] Exact none "the same by the default route";
    OpenUplink6 Host "open_uplink6" [V6 Protocol Port] Exact none "the same by the default route";
    OpenUplinkRanges4 Host "open_uplink_ranges4" [V4 Protocol Port] Ranges none "several ports at once";
    OpenUplinkRanges6 Host "open_uplink_ranges6" [V6 Protocol Port] Ranges none "several ports at once";
    Round4 Host "round4" [V4 V4] Exact none "a container to itself by the host";
    Round6 Host "round6" [V6 V6] Exact none "a container to itself by the host";
    Same4 Host "same4" [V4 V4] Ranges none "subnets of networks, each with itself";
    Same6 Host "same6" [V6 V6] Ranges none "subnets of networks, each with itself";
    Sources4 Host "sources4" [Name V4] Exact none "who may speak on which interface";
    Sources6 Host "sources6" [Name V6] Exact none "who may speak on which interface";
    ToLinks Host "to_links" [Name] Exact chain "whose network an interface leads to";
    ToSubnets4 Host "to_subnets4" [V4] Ranges chain "which network a destination is of";
    ToSubnets6 Host "to_subnets6" [V6] Ranges chain "which network a destination is of";
    Translated4 Host "translated4" [V4] Ranges none "subnets of bridges with nat";
    Translated6 Host "translated6" [V6] Ranges none "subnets of bridges with nat";
    TranslatedOwn4 Host "translated_own4" [V4] Ranges none "the same, of their containers only";
    TranslatedOwn6 Host "translated_own6" [V6] Ranges none "the same, of their containers only";
    Uplink4 Host "uplink4" [Name] Exact none "the interface of the default route";
    Uplink6 Host "uplink6" [Name] Exact none "the interface of the default route";
    Ways4 Host "ways4" [Name] Exact none "interfaces with an address for nat";
    Ways6 Host "ways6" [Name] Exact none "interfaces with an address for nat";
    WireAddresses4 Wire "addresses4" [V4] Exact none "addresses that only containers have";
    WireAddresses6 Wire "addresses6" [V6] Exact none "addresses that only containers have";
    WireCables Wire "cables" [Name] Exact none "cables of containers";
    WireLogged Wire "logged" [Nfproto] Exact none "whose blocked packets are told";
    WireMacs Wire "macs" [Name Mac] Exact none "who may speak on which cable";
    WireSources4 Wire "sources4" [Name V4] Exact none "who may speak on which cable";
    WireSources6 Wire "sources6" [Name V6] Exact none "who may speak on which cable";
}

impl Set {
    /// Those of one table, in the order of their names.
    pub(super) fn of(side: Side) -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(move |set| set.spec().side == side)
    }

    pub(super) fn name(self) -> &'static str {
        self.spec().name
    }

    /// Its description.
    pub(super) fn bytes(self, table: &str) -> Vec<u8> {
        const INTERVAL: u32 = 0x4;
        const MAP: u32 = 0x8;
        const CONCAT: u32 = 0x80;
        let spec = self.spec();
        let several = spec.key.len() > 1 && spec.keys == Keys::Ranges;
        let mut flags = if spec.keys == Keys::Ranges { INTERVAL } else { 0 };
        flags |= if spec.value == Value::None { 0 } else { MAP };
        flags |= if several { CONCAT } else { 0 };
        described(table, |w| {
            w.text(2, spec.name);
            w.number(3, flags);
            w.number(4, type_of(spec.key));
            w.number(5, number(length(spec.key)));
            match spec.value {
                Value::None => {}
                // The kernel takes a length of none.
                Value::Chain => w.number(6, 0xffff_ff00),
                Value::Parts(parts) => {
                    w.number(6, type_of(parts));
                    w.number(7, number(length(parts)));
                }
                Value::Ranges(parts) => {
                    w.number(6, type_of(parts));
                    w.number(7, number(2 * length(parts)));
                }
            }
            if several {
                w.nest(9, |w| w.nest(2, |w| fields(w, spec.key)));
            }
            w.put(13, &userdata(&spec));
        })
    }
}

/// How long the parts of a key are that stand for ranges.
fn fields(w: &mut Writer, parts: &[Part]) {
    for part in parts {
        w.nest(1, |w| w.number(1, number(part.length())));
    }
}

fn userdata(spec: &Spec) -> Vec<u8> {
    let order = |what, number: u32| [&[what, 4], number.to_ne_bytes().as_slice()].concat();
    let mut data = order(0, order_of(spec.key));
    // For chains `nft` must not be told any.
    match spec.value {
        Value::Parts(parts) => data.extend(order(1, order_of(parts))),
        Value::Ranges(parts) => {
            data.extend(order(1, order_of(parts)));
            data.extend(order(6, 1));
        }
        Value::None | Value::Chain => {}
    }
    data.extend(comment(7, spec.about));
    data
}

fn number(length: usize) -> u32 {
    u32::try_from(length).expect("keys are short")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_in_the_order_of_their_names() {
        for side in [Side::Host, Side::Wire] {
            let names: Vec<_> = Set::of(side).map(Set::name).collect();
            assert!(names.is_sorted(), "{names:?}");
        }
    }
}
