//! The unsafe calls of this crate, one safe function each.

pub(crate) mod fs;
pub(crate) mod packet;
