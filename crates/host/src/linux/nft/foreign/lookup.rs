//! What a set has: the elements that bytes, as far as they are known, may be.

use super::super::ruleset::{Element, Set};
use super::bits::{Bits, Sure, equals, is_less, is_more};

/// What a look into a set may find.
#[derive(Debug, Default)]
pub(super) struct Found<'a> {
    /// The elements that it may be.
    pub(super) elements: Vec<&'a Element>,
    /// Whether it may be none.
    pub(super) none: bool,
    /// Whether nobody knows, or it may be one that was not read.
    pub(super) unknown: bool,
}

impl Found<'_> {
    /// Whether there is one.
    pub(super) fn has(&self) -> Sure {
        match (self.elements.is_empty() && !self.unknown, self.none || self.unknown) {
            (true, _) => Sure::No,
            (false, false) => Sure::Yes,
            (false, true) => Sure::Maybe,
        }
    }
}

/// Looks for a key.
pub(super) fn find<'a>(set: Option<&'a Set>, key: impl Fn(usize) -> Vec<Bits>) -> Found<'a> {
    let nobody_knows = Found { unknown: true, none: true, ..Found::default() };
    let Some(set) = set else { return nobody_knows };
    let Some(elements) = &set.elements else { return nobody_knows };
    let mut found = Found { none: true, unknown: set.is_changing(), ..Found::default() };
    let mut sure = |element: &'a Element, is: Sure| {
        if is != Sure::No && found.none {
            found.elements.push(element);
            found.none = is == Sure::Maybe;
        }
    };
    if set.is_interval() && !set.is_concatenation() {
        for (first, after) in intervals(elements) {
            let bits = key(first.key.len());
            let within = is_less(&bits, &first.key).not();
            let after = after.map_or(Sure::Yes, |after| is_less(&bits, &after.key));
            sure(first, within.and(after));
        }
    } else {
        for element in elements.iter().filter(|element| !element.catches_all) {
            let bits = key(element.key.len());
            let last = element.last.as_ref().filter(|last| **last != element.key);
            sure(
                element,
                match last {
                    None => equals(&bits, &element.key),
                    Some(last) => fields(&bits, &element.key, last, &set.fields),
                },
            );
        }
    }
    for element in elements.iter().filter(|element| element.catches_all) {
        sure(element, Sure::Yes);
    }
    found
}

/// Intervals: where each begins, and the first that is not in it any more.
fn intervals(elements: &[Element]) -> Vec<(&Element, Option<&Element>)> {
    let mut sorted: Vec<&Element> = elements.iter().filter(|one| !one.catches_all).collect();
    // Where one ends and the next begins, the end counts first.
    sorted.sort_by(|one, other| one.key.cmp(&other.key).then(other.ends.cmp(&one.ends)));
    let after = sorted.iter().skip(1).copied().map(Some).chain([None]);
    sorted.iter().copied().zip(after).filter(|(first, _)| !first.ends).collect()
}

/// Several ranges side by side, each in registers of its own.
fn fields(bits: &[Bits], first: &[u8], last: &[u8], lengths: &[usize]) -> Sure {
    let mut sure = if lengths.is_empty() { Sure::Maybe } else { Sure::Yes };
    let mut start = 0_usize;
    for length in lengths {
        let end = start.saturating_add(*length);
        let parts = (bits.get(start..end), first.get(start..end), last.get(start..end));
        sure = sure.and(match parts {
            (Some(bits), Some(first), Some(last)) => {
                is_less(bits, first).not().and(is_more(bits, last).not())
            }
            _ => Sure::Maybe,
        });
        start = end.next_multiple_of(4);
    }
    sure
}
