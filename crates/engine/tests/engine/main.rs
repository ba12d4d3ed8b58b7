//! The engine over the fakes.

mod addresses;
mod contract;
mod crashes;
mod faults;
mod images;
mod ipnet;
mod linked;
mod lives;
mod machine;
mod order;
mod publish;
mod races;
mod reconcile;
mod refusals;
mod refusals_run;
mod strangers;
