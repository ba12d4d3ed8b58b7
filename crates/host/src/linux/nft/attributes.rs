//! Attributes of nf_tables as bytes, both ways. Reading is pure: no byte
//! sequence makes it panic, and what is cut short ends it.

use super::super::net::wire::flagged_attributes;

/// The flag on the type of an attribute that is made of attributes.
const NESTED: u16 = 0x8000;
/// A type without its flags.
const KIND: u16 = 0x3fff;

/// Writes attributes one behind the other. Numbers are big-endian, as everywhere in
/// netfilter's part of netlink.
#[derive(Debug, Default)]
pub(in crate::linux) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// What was written.
    pub(in crate::linux) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// How much was written.
    pub(in crate::linux) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(in crate::linux) fn put(&mut self, kind: u16, value: &[u8]) {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value);
        self.close(start);
    }

    pub(in crate::linux) fn number(&mut self, kind: u16, number: u32) {
        self.put(kind, &number.to_be_bytes());
    }

    /// A text, with the zero byte that the kernel ends its own with.
    pub(in crate::linux) fn text(&mut self, kind: u16, text: &str) {
        let start = self.open(kind);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        self.close(start);
    }

    /// An attribute made of those that `fill` writes.
    pub(in crate::linux) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.open(kind | NESTED);
        fill(self);
        self.close(start);
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        let length = u16::try_from(self.bytes.len() - start).expect("writers keep below 64 KiB");
        if let Some(field) = self.bytes.get_mut(start..start + 2) {
            field.copy_from_slice(&length.to_ne_bytes());
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// One attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attribute<'a> {
    pub(super) kind: u16,
    pub(super) value: &'a [u8],
    /// Whether it says that it is made of attributes. Ours always do; the
    /// kernel's do not where they are older than the flag.
    nested: bool,
}

/// The attributes of a message or of another attribute.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    flagged_attributes(bytes).map(|(kind, value)| Attribute {
        kind: kind & KIND,
        value,
        nested: kind & NESTED != 0,
    })
}

/// The values of all attributes of one kind.
pub(in crate::linux) fn values(bytes: &[u8], kind: u16) -> impl Iterator<Item = &[u8]> {
    attributes(bytes).filter(move |found| found.kind == kind).map(|found| found.value)
}

/// Whether `actual` says all that `ours` says: each kind of attribute in ours
/// is in it as often, in the same order, with the same value. Kinds that ours
/// does not have are the kernel's additions, such as handles and counts. A zero
/// that it leaves out is said nevertheless.
pub(super) fn covers(actual: &[u8], ours: &[u8]) -> bool {
    attributes(ours).all(|Attribute { kind, .. }| {
        let mut found = values(actual, kind);
        let as_ours = attributes(ours).filter(|own| own.kind == kind).all(|own| {
            found.next().map_or(own.value == [0; 4], |value| {
                if own.nested { covers(value, own.value) } else { value == own.value }
            })
        });
        as_ours && found.next().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::default();
        fill(&mut writer);
        writer.finish()
    }

    #[test]
    fn attributes_read_as_they_were_written() {
        let bytes = written(|w| {
            w.text(1, "abc");
            w.nest(2, |w| {
                w.number(1, 0x0102_0304);
                w.put(1, &[9]);
            });
        });
        assert_eq!(bytes.len() % 4, 0);
        let all: Vec<_> = attributes(&bytes).collect();
        assert_eq!((all[0].kind, all[0].value, all[0].nested), (1, b"abc\0".as_slice(), false));
        assert_eq!((all[1].kind, all[1].nested, all.len()), (2, true, 2));
        let inner: Vec<_> = values(all[1].value, 1).collect();
        assert_eq!(inner, [&[1, 2, 3, 4][..], &[9]]);
    }

    #[test]
    fn what_is_cut_short_ends_a_list() {
        let bytes = written(|w| {
            w.number(1, 7);
            w.text(2, "abcdefg");
        });
        for cut in 0..bytes.len() {
            let whole = usize::from(cut >= 8);
            assert_eq!(attributes(&bytes[..cut]).count(), whole, "{cut}");
        }
        // Lengths below a header's would go round for ever.
        for length in 0..4_u8 {
            assert_eq!(attributes(&[length, 0, 1, 0, 0, 0, 0, 0]).count(), 0);
        }
    }

    #[test]
    fn the_kernel_may_say_more_but_nothing_else() {
        let ours = written(|w| {
            w.number(1, 5);
            w.number(2, 0);
            w.nest(3, |w| {
                w.number(1, 1);
                w.number(1, 2);
            });
        });
        let told = |one: u32, zero: Option<u32>, list: &[u32]| {
            written(|w| {
                w.number(9, 99);
                w.nest(3, |w| list.iter().for_each(|number| w.number(1, *number)));
                zero.into_iter().for_each(|number| w.number(2, number));
                w.number(1, one);
            })
        };
        assert!(covers(&ours, &ours));
        assert!(covers(&told(5, Some(0), &[1, 2]), &ours));
        assert!(covers(&told(5, None, &[1, 2]), &ours));
        for other in [
            told(6, None, &[1, 2]),
            told(5, Some(1), &[1, 2]),
            told(5, None, &[2, 1]),
            told(5, None, &[1, 2, 2]),
            told(5, None, &[1]),
            told(5, None, &[]),
            Vec::new(),
        ] {
            assert!(!covers(&other, &ours), "{other:?}");
        }
    }
}
