//! The end of a jail, step by step (FreeBSD 13.2).
//!
//! 1. Its processes are killed.
//! 2. Its cables go: the host's ends are destroyed, which ends both. An inner
//!    end that is left would come back to the host by the name that it was given
//!    inside, maybe that of an interface of the host's; and a connection in
//!    TIME_WAIT keeps a jail "dying" for a minute, with what interfaces it has.
//!    Which there are the host is asked (`ifconfig -g`), never the jail: the
//!    daemon puts the host's ends into a group of the container. It may have
//!    been first, with any of them. While one is left the jail stays.
//! 3. What is left of its processes is killed, again and again: one pkill(1)
//!    misses what was made meanwhile, and jail(8) waits ten seconds for those
//!    that ignore SIGTERM.
//! 4. It is removed, and is gone when jls(8) does not know it any more. A dying
//!    jail is such a one.

use super::{Jail, Stage, task::Task, tools::Answer};
use crate::{supervisor::note, world::News};

/// How often processes are killed that are there all the same.
const KILLS: u32 = 20;

impl Jail {
    /// Removes what there is of the jail; no other task goes on.
    pub(super) fn remove(&mut self) {
        self.break_off();
        self.tasks.clear();
        self.look_at = None;
        self.commands.clear();
        self.held.clear();
        self.kills = 0;
        if self.vnet {
            self.tasks.extend([Task::KillRest, Task::ListCables]);
        }
        self.tasks.extend([Task::KillRest, Task::CountRest, Task::Remove, Task::Confirm]);
    }

    /// Nothing is waited for any more that the container does.
    pub(super) fn break_off(&mut self) {
        self.tasks.retain(|task| !matches!(task, Task::Launch(_) | Task::Stop(_)));
        if let Some((Task::Launch(_) | Task::Stop(_), running)) = &mut self.tool {
            running.kill();
        }
    }

    /// ifconfig(8) has listed the host's ends of the cables.
    pub(super) fn cables_listed(&mut self, answer: &Answer) {
        if !answer.is_well() {
            return self.leave(answer);
        }
        for cable in answer.out.lines().filter(|name| is_outer_end(name)) {
            self.tasks.push_front(Task::TakeOut(cable.to_owned()));
        }
    }

    /// ifconfig(8) has destroyed one, or somebody was first.
    pub(super) fn taken_out(&mut self, answer: &Answer) {
        if !answer.is_well() && !answer.err.contains("does not exist") {
            self.leave(answer);
        }
    }

    /// The jail stays: the host would get what is in it.
    fn leave(&mut self, answer: &Answer) {
        self.tasks.retain(|task| *task != Task::Remove);
        self.not_removed = Some(answer.story());
    }

    /// ps(1) has listed what is left of the processes.
    pub(super) fn rest_counted(&mut self, answer: &Answer) {
        let left = answer.alive();
        if left == 0 {
            return;
        }
        if self.kills < KILLS {
            self.tasks.push_front(Task::CountRest);
            self.tasks.push_front(Task::KillRest);
        } else {
            note(&format!("processes of {} are left after {KILLS} kills: {left}", self.name));
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

/// Whether this is the host's end of a cable: nothing else is destroyed,
/// whoever put it into the group.
fn is_outer_end(name: &str) -> bool {
    let number = name.strip_prefix("epair").and_then(|rest| rest.strip_suffix('a'));
    number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_outer_ends_of_cables_are_destroyed() {
        let names = ["epair3a", "epair3b", "epair12a", "epaira", "epair1xa", "em0", "-vnet", ""];
        let ends: Vec<&str> = names.into_iter().filter(|name| is_outer_end(name)).collect();
        assert_eq!(ends, ["epair3a", "epair12a"]);
    }
}
