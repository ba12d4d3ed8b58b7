//! Matches and targets of xtables: what `iptables-nft` puts into rules where it has
//! no expression of nftables for it.

use super::bits::Sure;
use super::packet::Packet;
use crate::linux::net::wire::{u16_at, u32_at};

/// Where the match of TCP has its mask of flags, behind four ports and an option.
const TCP_FLAGS: usize = 9;

/// Whether a match matches. Most of them are not known here.
pub(super) fn matches(packet: &Packet<'_>, name: &str, revision: u32, info: &[u8]) -> Sure {
    let told = match (name, revision) {
        ("comment", _) => Some(Sure::Yes),
        ("conntrack", 1..=3) => conntrack(packet, info),
        ("state", _) => u32_at(info, 0).map(|states| Sure::of(states & packet.state() != 0)),
        ("tcp", _) => ports(packet, info, TCP_FLAGS),
        ("udp", _) => ports(packet, info, 8),
        ("rpfilter", _) => {
            const INVERT: u8 = 1 << 3;
            // The host's routes lead back to where the flow comes from.
            info.first().map(|flags| Sure::of(flags & INVERT == 0))
        }
        _ => None,
    };
    told.unwrap_or(Sure::Maybe)
}

/// `--ctstate`. The masks stand behind eight addresses, two times and five ports.
fn conntrack(packet: &Packet<'_>, info: &[u8]) -> Option<Sure> {
    const STATE: u16 = 1;
    const FLAGS: usize = 8 * 16 + 8 + 10;
    /// Of those that the kernel keeps in the same mask: who was led.
    const LED: u32 = 1 << 7;
    let (flags, inverted) = (u16_at(info, FLAGS)?, u16_at(info, FLAGS + 2)?);
    let states = u32::from(u16_at(info, FLAGS + 4)?);
    if flags != STATE {
        return None;
    }
    let led = if packet.step.led { LED } else { 0 };
    let found = Sure::of(states & (packet.state() | led) != 0);
    // Whether a flow gets another source is not known everywhere.
    let found = if found == Sure::No && states & (LED >> 1) != 0 { Sure::Maybe } else { found };
    Some(if inverted & STATE == 0 { found } else { found.not() })
}

/// `--sport` and `--dport`: two ranges, and behind them what is inverted. With TCP,
/// flags stand in between.
fn ports(packet: &Packet<'_>, info: &[u8], flags: usize) -> Option<Sure> {
    let tcp = flags == TCP_FLAGS;
    let turned = *info.get(if tcp { TCP_FLAGS + 2 } else { flags })?;
    let mut sure = Sure::Yes;
    if tcp {
        let (option, mask, wanted) = (info.get(8)?, info.get(9)?, info.get(10)?);
        let same = Sure::of(packet.tcp_flags() & mask == *wanted);
        sure = if turned & 4 == 0 { same } else { same.not() };
        if *option != 0 {
            sure = sure.and(Sure::Maybe);
        }
    }
    for ((at, port), bit) in [0, 4].into_iter().zip(packet.ports()?).zip([1, 2]) {
        let range = u16_at(info, at)?..=u16_at(info, at + 2)?;
        let within = match (range.contains(port.start()), range.contains(port.end())) {
            (true, true) => Sure::Yes,
            (false, false) if range.start() > port.end() || range.end() < port.start() => Sure::No,
            _ => Sure::Maybe,
        };
        sure = sure.and(if turned & bit == 0 { within } else { within.not() });
    }
    Some(sure)
}

/// What a target does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The next rule is asked.
    GoesOn,
    Accepts,
    Drops,
    /// Nobody here knows.
    Any,
}

pub(super) fn target(name: &str) -> Target {
    match name {
        "REJECT" | "DROP" | "TARPIT" => Target::Drops,
        "ACCEPT" | "MASQUERADE" | "SNAT" | "DNAT" | "REDIRECT" | "NETMAP" => Target::Accepts,
        "LOG" | "NFLOG" | "ULOG" | "AUDIT" | "TRACE" | "MARK" | "CONNMARK" | "CT" | "NOTRACK"
        | "TCPMSS" | "CHECKSUM" | "CLASSIFY" | "DSCP" | "TOS" | "TTL" | "HL" | "SET"
        | "SECMARK" | "CONNSECMARK" | "TCPOPTSTRIP" | "TEE" | "RATEEST" | "IDLETIMER" | "LED"
        | "ECN" => Target::GoesOn,
        _ => Target::Any,
    }
}
