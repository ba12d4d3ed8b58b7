//! Bytes of which some bits are known: what a packet of a flow that nobody has sent
//! yet would have in the kernel's registers.

/// A byte, as far as it is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bits {
    value: u8,
    /// A bit for each that is known; the others are 0 in the value.
    known: u8,
}

impl Bits {
    pub(super) fn known(value: u8) -> Self {
        Self { value, known: u8::MAX }
    }

    pub(super) fn partly(value: u8, known: u8) -> Self {
        Self { value: value & known, known }
    }

    fn least(self) -> u8 {
        self.value
    }

    fn most(self) -> u8 {
        self.value | !self.known
    }
}

/// Whether something is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sure {
    Yes,
    No,
    Maybe,
}

impl Sure {
    pub(super) fn of(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }

    pub(super) fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Maybe => Self::Maybe,
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Maybe,
        }
    }
}

pub(super) fn known(bytes: &[u8]) -> Vec<Bits> {
    bytes.iter().copied().map(Bits::known).collect()
}

pub(super) fn unknown(length: usize) -> Vec<Bits> {
    vec![Bits::default(); length]
}

/// Whether these are those bytes.
pub(super) fn equals(bits: &[Bits], bytes: &[u8]) -> Sure {
    if bits.len() != bytes.len() {
        return Sure::No;
    }
    let mut sure = Sure::Yes;
    for (bits, byte) in bits.iter().zip(bytes) {
        if (bits.value ^ byte) & bits.known != 0 {
            return Sure::No;
        }
        if bits.known != u8::MAX {
            sure = Sure::Maybe;
        }
    }
    sure
}

/// Whether these are less than those bytes, the first byte counting most.
pub(super) fn is_less(bits: &[Bits], bytes: &[u8]) -> Sure {
    let most: Vec<u8> = bits.iter().map(|bits| bits.most()).collect();
    let least: Vec<u8> = bits.iter().map(|bits| bits.least()).collect();
    if most.as_slice() < bytes {
        Sure::Yes
    } else if least.as_slice() >= bytes {
        Sure::No
    } else {
        Sure::Maybe
    }
}

/// Whether these are more than those bytes.
pub(super) fn is_more(bits: &[Bits], bytes: &[u8]) -> Sure {
    let most: Vec<u8> = bits.iter().map(|bits| bits.most()).collect();
    let least: Vec<u8> = bits.iter().map(|bits| bits.least()).collect();
    if least.as_slice() > bytes {
        Sure::Yes
    } else if most.as_slice() <= bytes {
        Sure::No
    } else {
        Sure::Maybe
    }
}

/// The bits of the mask, then the others turned: what `bitwise` does.
pub(super) fn masked(bits: &[Bits], mask: &[u8], turned: &[u8]) -> Vec<Bits> {
    let each = bits.iter().zip(mask).zip(turned);
    each.map(|((bits, mask), turned)| Bits {
        value: (bits.value & mask) ^ (turned & (bits.known | !mask)),
        known: bits.known | !mask,
    })
    .collect()
}

/// The kernel's registers: 16 times 4 bytes.
#[derive(Debug, Clone)]
pub(super) struct Registers([Bits; 64]);

impl Registers {
    pub(super) fn new() -> Self {
        Self([Bits::default(); 64])
    }

    /// Where the register of a number begins: of those of 16 bytes, and behind them
    /// those of 4.
    fn place(number: u32) -> Option<usize> {
        let number = usize::try_from(number).ok()?;
        match number {
            1..=4 => Some((number - 1) * 16),
            8..=23 => Some((number - 8) * 4),
            _ => None,
        }
    }

    /// So many bytes from a register on; what is no register is not known.
    pub(super) fn read(&self, number: u32, length: usize) -> Vec<Bits> {
        let start = Self::place(number);
        let found = start.and_then(|start| self.0.get(start..start.checked_add(length)?));
        found.map_or_else(|| unknown(length.min(64)), <[Bits]>::to_vec)
    }

    /// Puts bytes into registers, filled up with zeros as the kernel does.
    pub(super) fn write(&mut self, number: u32, bits: &[Bits]) {
        let Some(start) = Self::place(number) else { return };
        let filled = bits.len().next_multiple_of(4);
        let zeros = std::iter::repeat(Bits::known(0));
        let source = bits.iter().copied().chain(zeros).take(filled);
        for (place, bits) in self.0.iter_mut().skip(start).zip(source) {
            *place = bits;
        }
    }

    /// Nothing is known any more of a register, or of any.
    pub(super) fn forget(&mut self, number: Option<u32>) {
        match number.and_then(Self::place) {
            Some(start) => {
                self.0.iter_mut().skip(start).take(16).for_each(|b| *b = Bits::default())
            }
            None => *self = Self::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_in_part_is_compared_as_far_as_it_goes() {
        let half = [Bits::known(1), Bits::partly(0x20, 0x20)];
        assert_eq!(equals(&half, &[1, 0x20]), Sure::Maybe);
        assert_eq!(equals(&half, &[1, 0x10]), Sure::No);
        assert_eq!(equals(&half, &[1]), Sure::No);
        assert_eq!(equals(&known(&[7, 8]), &[7, 8]), Sure::Yes);
        assert_eq!(is_less(&half, &[2, 0]), Sure::Yes);
        assert_eq!(is_less(&half, &[1, 0x20]), Sure::No);
        assert_eq!(is_less(&half, &[1, 0x21]), Sure::Maybe);
        assert_eq!(is_more(&half, &[1, 0x1f]), Sure::Yes);
        assert_eq!(is_more(&half, &[1, 0xff]), Sure::No);
        let flag = masked(&half, &[0, 0x20], &[0, 0]);
        assert_eq!(equals(&flag, &[0, 0]), Sure::No);
        assert_eq!(equals(&flag, &[0, 0x20]), Sure::Yes);
        assert_eq!(equals(&masked(&half, &[0xff, 0], &[0xff, 1]), &[0xfe, 1]), Sure::Yes);
    }

    #[test]
    fn registers_have_two_numbers() {
        let mut registers = Registers::new();
        registers.write(1, &known(&[1]));
        registers.write(9, &known(&[5, 6, 7, 8]));
        assert_eq!(equals(&registers.read(8, 8), &[1, 0, 0, 0, 5, 6, 7, 8]), Sure::Yes);
        registers.forget(Some(1));
        assert_eq!(equals(&registers.read(1, 4), &[1, 0, 0, 0]), Sure::Maybe);
        // What is no register, and what goes beyond the last.
        registers.write(99, &known(&[1]));
        registers.write(23, &known(&[9; 16]));
        assert_eq!(registers.read(0, 4), unknown(4));
        assert_eq!(registers.read(23, 16), unknown(16));
        assert_eq!(equals(&registers.read(23, 4), &[9; 4]), Sure::Yes);
    }
}
