//! Worlds that end beside what comes next: the kernel takes its time for that.

use kleene_e2e::World;
use std::thread::JoinHandle;

/// The last of them.
#[derive(Default)]
pub(crate) struct Ending(Option<JoinHandle<()>>);

impl Ending {
    /// Ends a world when the one before it has ended.
    pub(crate) fn end(&mut self, world: World) {
        self.wait();
        self.0 = Some(std::thread::spawn(move || drop(world)));
    }

    fn wait(&mut self) {
        if let Some(Err(panic)) = self.0.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(last) = self.0.take() {
            // What it has to say, it has said.
            let _ = last.join();
        }
    }
}
