//! Whether a process was the last.
//!
//! A container runs while any process of it lives, and the kernel does not tell
//! when a jail has become empty. But the supervisor is a reaper (procctl(2)):
//! whatever loses its parent becomes its child, so that it hears of the last
//! end like of any other. Then ps(1) is asked once, because somebody may have
//! started a command in the jail from outside, whose end nobody tells us: only
//! while there is one, it is looked again and again.
//!
//! That orphans of a jail become children of a reaper outside of it was not
//! recorded. Where they did not, every look would find them alive, and the end
//! would be noticed at the next one.

use std::time::{Duration, Instant};

use super::{Jail, Stage, task::Task, tools::Answer};
use crate::{supervisor::note, world::News};

/// How often it is looked whether what is not ours has ended.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Answer {
    /// How many processes ps(1) has listed that run.
    pub(super) fn alive(&self) -> usize {
        // Below the heading; what has ended already may wait for its parent.
        let states = self.out.lines().skip(1);
        states.filter(|stat| !stat.trim_start().starts_with('Z')).count()
    }
}

impl Jail {
    /// What the ends of processes mean, while no tool of ours is one of them.
    pub(super) fn settle(&mut self) {
        if !self.commands.is_empty() && !self.killed {
            self.release(false);
        }
        if self.stage != Stage::Standing || self.tool.is_some() || !self.tasks.is_empty() {
            return;
        }
        if self.killed {
            let all = self.commands.is_empty();
            self.release(all);
            self.news.push(News::Empty);
        } else if !self.alone {
            self.release(false);
        } else if self.asked && (!self.held.is_empty() || self.look_at.is_none()) {
            self.recount = false;
            self.tasks.push_back(Task::Count);
        }
    }

    /// Tells of the commands that have ended.
    fn release(&mut self, last: bool) {
        let count = self.held.len();
        for (index, (key, code)) in std::mem::take(&mut self.held).into_iter().enumerate() {
            let last = last && index + 1 == count;
            self.news.push(News::Exited { key, code, last });
        }
    }

    /// ps(1) has counted the processes of the jail, which had no child of ours
    /// when it was started. Of a jail that was removed by somebody it knows
    /// none either.
    pub(super) fn counted(&mut self, answer: &Answer) {
        if self.stage != Stage::Standing || self.recount {
            return;
        }
        if answer.out.is_empty() && !answer.err.contains("Invalid jail id") {
            note(&format!("cannot count the processes of {}: {}", self.name, answer.story()));
        }
        if answer.alive() > 0 {
            self.look_at = Some(Instant::now() + LOOK_AGAIN);
            self.release(false);
        } else {
            self.release(true);
            self.asked = false;
            self.news.push(News::Empty);
        }
    }
}
