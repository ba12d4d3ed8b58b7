//! The engine over the fakes.

mod addresses;
mod contract;
mod crashes;
mod faults;
mod ipnet;
mod lives;
mod machine;
mod order;
mod races;
mod refusals;
mod refusals_run;
mod strangers;
