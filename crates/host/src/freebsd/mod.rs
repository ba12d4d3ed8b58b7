//! FreeBSD: what its tools are told and what they answer, as text. It is rendered
//! and read on every system, so that it is tested on every system.
#![forbid(unsafe_code)]

pub mod doctor;
pub mod net;
pub mod pf;
pub mod run;
