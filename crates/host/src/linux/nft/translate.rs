//! Expressions that translate addresses and ports.

use super::attributes::Writer;
use super::rule::{Register, expression};

/// What is translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manip {
    Source = 0,
    Destination = 1,
}

/// A translation. The addresses and ports are in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Translate {
    pub(super) manip: Manip,
    pub(super) family: u8,
    pub(super) addr: Register,
    pub(super) port: Option<Register>,
    /// The last address and port, where there are several. Of the ports that one
    /// is taken which is as far from the first as the old one from a multiple of
    /// their number.
    pub(super) last: Option<(Register, Register)>,
}

impl Translate {
    pub(super) fn write(self, w: &mut Writer) {
        const ADDRESS: u32 = 1;
        const SPECIFIED: u32 = 1 << 1;
        const OFFSET: u32 = 1 << 5;
        expression(w, "nat", |w| {
            w.number(1, self.manip as u32);
            w.number(2, u32::from(self.family));
            w.number(3, self.addr.number());
            self.port.into_iter().for_each(|port| w.number(5, port.number()));
            if let Some((addr, port)) = self.last {
                w.number(4, addr.number());
                w.number(6, port.number());
                w.number(7, OFFSET | SPECIFIED | ADDRESS);
            }
        });
    }
}
