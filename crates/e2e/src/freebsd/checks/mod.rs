//! The checks, each a sentence and a function.

mod drivers;
mod executions;
mod heal;
mod images;
mod live;
mod matrix;
mod networks;
mod pf;
mod policy;
mod published;
mod tools;
mod topology;

use super::report::Done;
use super::trial::Trial;

/// One check.
pub struct Check {
    /// Its name, by which it is chosen.
    pub name: &'static str,
    /// What holds when it ends well.
    pub what: &'static str,
    /// Carries it out.
    pub run: fn(&mut Trial) -> Done,
}

const fn check(name: &'static str, what: &'static str, run: fn(&mut Trial) -> Done) -> Check {
    Check { name, what, run }
}

/// All of them, in the order in which they are carried out: what needs the host alone
/// first, what empties pf last.
pub fn all() -> impl Iterator<Item = &'static Check> {
    [
        tools::CHECKS,
        networks::CHECKS,
        drivers::CHECKS,
        matrix::CHECKS,
        executions::CHECKS,
        images::CHECKS,
        live::CHECKS,
        topology::CHECKS,
        policy::CHECKS,
        published::CHECKS,
        heal::CHECKS,
        pf::CHECKS,
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
