//! What becomes of a packet in a chain: each rule is asked in turn, and where it is
//! not known whether it matches, both ways are gone.

use std::collections::BTreeSet;

use super::super::ruleset::{Base, Chain, Expression, Rule, Table, Verdict};
use super::bits::{Bits, Registers, Sure, equals, is_less, is_more, known, masked, unknown};
use super::lookup::find;
use super::packet::Packet;
use super::xt::{self, Target};

/// So deep may chains lead into each other; the kernel allows no more.
const DEPTH: usize = 16;
/// So many rules are asked for a packet: whoever has more is not judged.
const RULES: usize = 200_000;

/// What may become of a packet, all ways together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) accepts: bool,
    pub(super) drops: bool,
    /// The first rule that may drop it: of which chain, and its handle.
    pub(super) by: Option<(String, u64)>,
    /// It comes out at the end, and whoever led here goes on.
    returns: bool,
}

impl Fate {
    fn add(&mut self, other: Self) {
        self.accepts |= other.accepts;
        self.drops |= other.drops;
        self.by = self.by.take().or(other.by);
    }
}

/// What a rule does with a packet.
#[derive(Debug, Default)]
struct Ends {
    verdicts: Vec<Verdict>,
    /// The next rule may be asked.
    goes_on: bool,
}

/// Follows a packet through the chains of a table.
pub(super) struct Walk<'a> {
    pub(super) table: &'a Table,
    pub(super) packet: &'a Packet<'a>,
    left: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(table: &'a Table, packet: &'a Packet<'a>) -> Self {
        Self { table, packet, left: RULES }
    }

    /// What a chain does that the kernel calls.
    pub(super) fn base(&mut self, name: &str, chain: &Chain, base: Base) -> Fate {
        let mut fate = self.chain(name, chain, DEPTH);
        if std::mem::take(&mut fate.returns) {
            fate.drops |= base.drops;
            fate.accepts |= !base.drops;
        }
        fate
    }

    fn chain(&mut self, name: &str, chain: &Chain, depth: usize) -> Fate {
        let mut fate = Fate::default();
        for rule in &chain.rules {
            let Some(left) = self.left.checked_sub(1) else { return anything(fate) };
            self.left = left;
            let Ends { verdicts, mut goes_on } = self.rule(rule);
            for verdict in verdicts {
                let (led, comes_back) = match verdict {
                    Verdict::Jump(to) => (self.called(&to, depth), true),
                    Verdict::Goto(to) => (self.called(&to, depth), false),
                    Verdict::Accept => (Fate { accepts: true, ..Fate::default() }, false),
                    Verdict::Drop => {
                        let by = Some((name.to_owned(), rule.handle));
                        (Fate { drops: true, by, ..Fate::default() }, false)
                    }
                    Verdict::Return => (Fate { returns: true, ..Fate::default() }, false),
                    Verdict::Continue => (Fate { returns: true, ..Fate::default() }, true),
                    Verdict::Any => {
                        let by = Some((name.to_owned(), rule.handle));
                        (Fate { accepts: true, drops: true, by, returns: true }, true)
                    }
                };
                if led.returns {
                    goes_on |= comes_back;
                    fate.returns |= !comes_back;
                }
                fate.add(led);
            }
            if !goes_on {
                return fate;
            }
        }
        fate.returns = true;
        fate
    }

    fn called(&mut self, name: &str, depth: usize) -> Fate {
        match (self.table.chains.get(name), depth.checked_sub(1)) {
            (Some(chain), Some(depth)) => self.chain(name, chain, depth),
            _ => anything(Fate::default()),
        }
    }

    fn rule(&self, rule: &Rule) -> Ends {
        let mut registers = Registers::new();
        let mut sure = Sure::Yes;
        for expression in &rule.expressions {
            match self.expression(expression, &mut registers) {
                Step::Matches(is) => sure = sure.and(is),
                Step::Decides(mut ends) => {
                    ends.goes_on |= sure == Sure::Maybe;
                    return ends;
                }
            }
            if sure == Sure::No {
                break;
            }
        }
        Ends { verdicts: Vec::new(), goes_on: true }
    }

    fn expression(&self, expression: &Expression, registers: &mut Registers) -> Step {
        let number = |kind| expression.number(kind).unwrap_or(0);
        match expression.kind.as_str() {
            // Where it has a source, it writes instead.
            "meta" if expression.value(3).is_none() => {
                registers.write(number(1), &self.packet.meta(number(2)));
            }
            "ct" if expression.value(4).is_none() => {
                registers.write(number(1), &self.packet.flow(number(2)));
            }
            "payload" if expression.value(5).is_none() => {
                let loaded = self.packet.payload(number(2), number(3), number(4));
                registers.write(number(1), &loaded);
            }
            "fib" => registers.write(number(1), &route(number(2), number(3))),
            "bitwise" => bitwise(expression, registers),
            "byteorder" => byteorder(expression, registers),
            "cmp" => return compare(expression, registers),
            "range" => return range(expression, registers),
            "lookup" => return self.lookup(expression, registers),
            "immediate" if number(1) == 0 => {
                return Step::decides(expression.verdict(2).unwrap_or(Verdict::Any));
            }
            "immediate" => match expression.bytes(2) {
                Some(bytes) => registers.write(number(1), &known(bytes)),
                None => registers.forget(None),
            },
            "reject" => return Step::decides(Verdict::Drop),
            "masq" | "nat" | "redir" | "tproxy" => return Step::decides(Verdict::Accept),
            "queue" | "synproxy" => return Step::decides(Verdict::Any),
            "match" => {
                let name = expression.text(1).unwrap_or_default();
                let info = expression.value(3).unwrap_or_default();
                return Step::Matches(xt::matches(self.packet, &name, number(2), info));
            }
            "target" => return target(&expression.text(1).unwrap_or_default()),
            "meta" | "ct" | "payload" | "counter" | "log" | "notrack" | "objref" | "dup"
            | "flow_offload" | "last" => {}
            // What loads something that nobody knows, or matches sometimes.
            _ => {
                registers.forget(None);
                return Step::Matches(Sure::Maybe);
            }
        }
        Step::Matches(Sure::Yes)
    }

    fn lookup(&self, expression: &Expression, registers: &mut Registers) -> Step {
        const INVERT: u32 = 1;
        let number = |kind| expression.number(kind).unwrap_or(0);
        let set = expression.text(1).and_then(|name| self.table.sets.get(&name));
        let found = find(set, |length| registers.read(number(2), length));
        match expression.number(3) {
            None if number(5) & INVERT != 0 => Step::Matches(found.has().not()),
            None => Step::Matches(found.has()),
            // A map of verdicts.
            Some(0) => {
                let told = found.elements.iter().map(|one| one.verdict.clone());
                let mut verdicts: Vec<_> = told.map(|one| one.unwrap_or(Verdict::Any)).collect();
                if found.unknown {
                    verdicts.push(Verdict::Any);
                }
                Step::Decides(Ends { verdicts, goes_on: found.none })
            }
            Some(to) => {
                let all: BTreeSet<_> = found.elements.iter().map(|one| &one.data).collect();
                match (all.len(), all.first()) {
                    (1, Some(Some(data))) if !found.unknown => registers.write(to, &known(data)),
                    _ => registers.forget(Some(to)),
                }
                Step::Matches(found.has())
            }
        }
    }
}

/// What one expression of a rule does.
enum Step {
    Matches(Sure),
    Decides(Ends),
}

impl Step {
    fn decides(verdict: Verdict) -> Self {
        Self::Decides(Ends { verdicts: vec![verdict], goes_on: false })
    }
}

/// It is not known what becomes of it.
fn anything(fate: Fate) -> Fate {
    Fate { accepts: true, drops: true, returns: true, ..fate }
}

/// What `fib` loads. The host's routes lead back to where a flow comes from: so much
/// is known.
fn route(result: u32, flags: u32) -> Vec<Bits> {
    const LINK: u32 = 1;
    const BY_SOURCE: u32 = 1;
    const ONLY_WHETHER: u32 = 32;
    match (result, flags & BY_SOURCE != 0, flags & ONLY_WHETHER != 0) {
        (LINK, true, true) => known(&[1]),
        // The number of some interface.
        (LINK, true, false) => known(&u32::MAX.to_ne_bytes()),
        _ => unknown(16),
    }
}

fn bitwise(expression: &Expression, registers: &mut Registers) {
    let number = |kind| expression.number(kind).unwrap_or(0);
    let (from, to) = (number(1), number(2));
    match (number(6), expression.bytes(4), expression.bytes(5)) {
        (0, Some(mask), Some(turned)) if mask.len() == turned.len() => {
            let bits = masked(&registers.read(from, mask.len()), mask, turned);
            registers.write(to, &bits);
        }
        _ => registers.forget(Some(to)),
    }
}

fn byteorder(expression: &Expression, registers: &mut Registers) {
    let number = |kind| expression.number(kind).unwrap_or(0);
    let length = usize::try_from(number(4)).unwrap_or(0).min(64);
    let size = usize::try_from(number(5)).unwrap_or(0);
    let bits = registers.read(number(1), length);
    match size {
        2 | 4 | 8 if cfg!(target_endian = "little") => {
            let turned = bits.chunks(size).flat_map(|part| part.iter().rev());
            registers.write(number(2), &turned.copied().collect::<Vec<_>>());
        }
        2 | 4 | 8 => registers.write(number(2), &bits),
        _ => registers.forget(Some(number(2))),
    }
}

fn compare(expression: &Expression, registers: &Registers) -> Step {
    let Some(bytes) = expression.bytes(3) else { return Step::Matches(Sure::Maybe) };
    let bits = registers.read(expression.number(1).unwrap_or(0), bytes.len());
    Step::Matches(match expression.number(2) {
        Some(0) => equals(&bits, bytes),
        Some(1) => equals(&bits, bytes).not(),
        Some(2) => is_less(&bits, bytes),
        Some(3) => is_more(&bits, bytes).not(),
        Some(4) => is_more(&bits, bytes),
        Some(5) => is_less(&bits, bytes).not(),
        _ => Sure::Maybe,
    })
}

fn range(expression: &Expression, registers: &Registers) -> Step {
    let (Some(first), Some(last)) = (expression.bytes(3), expression.bytes(4)) else {
        return Step::Matches(Sure::Maybe);
    };
    let bits = registers.read(expression.number(1).unwrap_or(0), first.len());
    let within = is_less(&bits, first).not().and(is_more(&bits, last).not());
    let outside = expression.number(2) == Some(1);
    Step::Matches(if outside { within.not() } else { within })
}

fn target(name: &str) -> Step {
    match xt::target(name) {
        Target::GoesOn => Step::Matches(Sure::Yes),
        Target::Accepts => Step::decides(Verdict::Accept),
        Target::Drops => Step::decides(Verdict::Drop),
        Target::Any => Step::decides(Verdict::Any),
    }
}
