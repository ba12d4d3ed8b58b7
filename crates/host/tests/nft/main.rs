//! Kleene's nftables tables in a real kernel, each test in network namespaces
//! of its own. What they are and do is asked with `nft` and with packets,
//! not with our own code.
#![cfg(target_os = "linux")]

mod foreign;
mod guards;
mod replies;
mod scale;
mod table;
#[path = "../common/testing.rs"]
mod testing;
mod world;
