//! The end of a jail, step by step (FreeBSD 13.2).
//!
//! 1. Its cables are taken out. A connection in TIME_WAIT keeps a jail "dying"
//!    for a minute, and a dying jail keeps what interfaces it has. The daemon
//!    may have been first, with any of them. Which there are the jail is asked
//!    (`jexec NAME ifconfig -l`), since cables are plugged into running jails
//!    too; one whose image has no such program loses those it was made with.
//!    One that was renamed inside is left where it is: destroying the host's
//!    end ends both.
//! 2. Its processes are killed: alone, jail(8) waits ten seconds for those that
//!    ignore SIGTERM.
//! 3. It is removed, and is gone when jls(8) does not know it any more. A dying
//!    jail is such a one.

use super::{Jail, Stage, task::Task, tools::Answer};
use crate::{supervisor::note, world::News};

impl Jail {
    /// Removes what there is of the jail; no other task goes on.
    pub(super) fn remove(&mut self) {
        self.break_off();
        self.tasks.clear();
        self.look_at = None;
        self.commands.clear();
        self.held.clear();
        if self.vnet {
            self.tasks.push_back(Task::ListCables);
        }
        self.tasks.extend([Task::KillRest, Task::Remove, Task::Confirm]);
    }

    /// Nothing is waited for any more that the container does.
    pub(super) fn break_off(&mut self) {
        self.tasks.retain(|task| !matches!(task, Task::Launch(_) | Task::Stop(_)));
        if let Some((Task::Launch(_) | Task::Stop(_), running)) = &mut self.tool {
            running.kill();
        }
    }

    pub(super) fn ending_goes_on(&mut self, task: &Task, answer: &Answer) {
        if *task == Task::ListCables {
            let listed = if answer.is_well() { answer.out.as_str() } else { "" };
            for cable in cables(listed, &self.cables) {
                self.tasks.push_front(Task::TakeOut(cable));
            }
        }
    }

    /// jls(8) knows it still, or does not.
    pub(super) fn confirmed(&mut self, answer: &Answer) {
        let why = self.not_removed.take().unwrap_or_default();
        if answer.is_well() {
            note(&format!("cannot remove the jail {}: {why}", self.name));
        }
        match std::mem::replace(&mut self.stage, Stage::Before) {
            Stage::Undoing(message) => self.not_made(message),
            _ => self.news.push(News::Gone),
        }
    }
}

/// The cables among the interfaces of a jail, and those it was made with.
/// Nothing else is touched, whatever the jail says.
fn cables(listed: &str, made_with: &[String]) -> Vec<String> {
    let made_with = made_with.iter().map(String::as_str);
    let mut all: Vec<String> = listed
        .split_ascii_whitespace()
        .chain(made_with)
        .filter(|name| is_inner_end(name))
        .map(str::to_owned)
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn is_inner_end(name: &str) -> bool {
    let number = name.strip_prefix("epair").and_then(|rest| rest.strip_suffix('b'));
    number.is_some_and(|n| (1..=9).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_inner_ends_of_cables_are_taken_out() {
        let listed = "lo0 epair3b pflog0 epair12b epair3a epairb em0 -vnet epair1xb";
        let made_with = ["epair3b".to_owned(), "em1".to_owned(), "epair40b".to_owned()];
        assert_eq!(cables(listed, &made_with), ["epair12b", "epair3b", "epair40b"]);
        assert_eq!(cables("", &[]), Vec::<String>::new());
    }
}
