//! FreeBSD: what its tools are told, as text. It is rendered on every system, so
//! that it is tested on every system.
#![forbid(unsafe_code)]

pub mod pf;
