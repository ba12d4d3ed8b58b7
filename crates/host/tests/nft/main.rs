//! Kleene's nftables table in a real kernel, each test in network namespaces
//! of its own. What the table is and does is asked with `nft` and with packets,
//! not with our own code.
#![cfg(target_os = "linux")]

mod guards;
mod scale;
mod table;
#[path = "../common/testing.rs"]
mod testing;
mod world;
