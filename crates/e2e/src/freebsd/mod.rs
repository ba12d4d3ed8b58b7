//! `freebsd-accept`: Kleene held to its promises on a real FreeBSD, by hand. Here are
//! the parts that need none: what is read, written, asked over sockets and shown.

pub mod flows;
pub mod layout;
pub mod options;
pub mod probe;
pub mod program;
pub mod recorder;
pub mod recording;
pub mod report;
pub mod seen;
