//! The simulated FreeBSD against what a real one answered.

mod masks;
mod probes;
mod recording;
mod replay;
mod sections;
mod shell;
mod vectors;
