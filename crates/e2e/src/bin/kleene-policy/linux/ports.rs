//! Which ports mean what, everywhere.

/// What containers, the host, and those outside serve, in TCP and UDP.
pub(crate) const SERVICES: [u16; 6] = [7001, 7002, 7003, 7004, 7005, 7006];
/// What only the host serves, on the wildcard.
pub(crate) const HOST_ONLY: u16 = 7100;
/// What only a container with the driver `host` serves, on the wildcard.
pub(crate) const NATIVE_ONLY: u16 = 7200;
/// What nobody serves.
pub(crate) const NOBODY: u16 = 7999;
/// Published ports of the host begin here: ten for each of them, so that none
/// meets another.
pub(crate) const PUBLISHED: u16 = 8000;
