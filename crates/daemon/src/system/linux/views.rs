//! Keeps the views of `ipnet` and `disabled` containers like the host: one
//! thread follows the host's interfaces, and no command waits for it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kleene_engine::host::{HostError, chain};
use kleene_host::linux::view::{self, Mirror, Watch};
use kleene_model::{ContainerId, LinkName};

/// How often it is looked whether the thread shall end, or a view has come by
/// another way than a change of the host's interfaces.
const TURN: Duration = Duration::from_millis(500);

#[derive(Debug)]
struct View {
    netns: Arc<OwnedFd>,
    /// The interface in whose place a cable is about to stand.
    skip: Option<LinkName>,
    /// The host's interfaces that it shows, as far as known.
    shown: Option<Arc<Vec<Mirror>>>,
}

/// The views of this daemon's containers. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Views {
    known: Arc<Mutex<BTreeMap<ContainerId, View>>>,
}

impl Views {
    /// Starts the thread that keeps them. Views are those of containers on the
    /// calling thread's host.
    ///
    /// # Errors
    /// When the kernel does not tell of its interfaces, or gives no thread.
    pub(super) fn start(&self) -> Result<(), String> {
        let keeper = self.clone();
        let watch = Watch::open().map_err(|err| chain(&err))?;
        std::thread::Builder::new()
            .name("views".to_owned())
            .spawn(move || keeper.keep(watch))
            .map(drop)
            .map_err(|err| format!("cannot start the thread that keeps views: {err}"))
    }

    /// Readies a new view. `skip` is the interface in whose place a cable will
    /// stand; with `ping`, any user may send echo requests.
    ///
    /// # Errors
    /// When the host's interfaces cannot be read or the view not be set up.
    pub(super) fn furnish(
        &self,
        id: ContainerId,
        netns: &OwnedFd,
        skip: Option<LinkName>,
        ping: bool,
    ) -> Result<(), String> {
        let failed = |err: HostError| chain(&err);
        let mirrors = Arc::new(view::interfaces().map_err(failed)?);
        let done = view::furnish(netns.as_fd(), &mirrors, skip.as_ref()).map_err(failed)?;
        for failure in &done.failed {
            tracing::warn!(container = %id, why = chain(failure), "its view lacks an interface");
        }
        if ping {
            view::allow_ping(netns.as_fd()).map_err(failed)?;
        }
        let netns = netns.try_clone().map_err(|err| format!("cannot keep a view: {err}"))?;
        let netns = Arc::new(netns);
        self.lock().insert(id, View { netns, skip, shown: Some(mirrors) });
        Ok(())
    }

    /// Takes over the view of a container that outlived the daemon: it is
    /// brought up to date soon.
    pub(super) fn adopt(&self, id: ContainerId, netns: &OwnedFd) {
        match netns.try_clone() {
            Ok(netns) => {
                let view = View { netns: Arc::new(netns), skip: None, shown: None };
                self.lock().insert(id, view);
            }
            Err(err) => tracing::error!(container = %id, %err, "cannot keep its view"),
        }
    }

    /// The cable stands, if there is to be one.
    pub(super) fn settle(&self, id: ContainerId) {
        if let Some(view) = self.lock().get_mut(&id) {
            view.skip = None;
        }
    }

    /// The container has ended.
    pub(super) fn leave(&self, id: ContainerId) {
        self.lock().remove(&id);
    }

    /// A map is whole between any two of its calls, whoever panicked.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ContainerId, View>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, mut watch: Watch) {
        let mut shown: Option<Arc<Vec<Mirror>>> = None;
        loop {
            // Nobody else holds them: the daemon has ended.
            if Arc::strong_count(&self.known) == 1 {
                return;
            }
            let changed = watch.wait(TURN).unwrap_or_else(|err| {
                tracing::error!(why = chain(&err), "cannot follow the host's interfaces");
                std::thread::sleep(TURN);
                true
            });
            if changed || shown.is_none() {
                match view::interfaces() {
                    // Cables come and go, and no view shows them.
                    Ok(now) if shown.as_deref() == Some(&now) => {}
                    Ok(now) => shown = Some(Arc::new(now)),
                    // They are read again in the next turn.
                    Err(err) => {
                        shown = None;
                        tracing::error!(why = chain(&err), "cannot read the host's interfaces");
                    }
                }
            }
            if let Some(shown) = &shown {
                self.bring_up_to_date(shown);
            }
        }
    }

    /// Brings those views up to date that show something else.
    fn bring_up_to_date(&self, wanted: &Arc<Vec<Mirror>>) {
        let stale: Vec<(ContainerId, Arc<OwnedFd>, Option<LinkName>)> = self
            .lock()
            .iter()
            .filter(|(_, view)| view.shown.as_ref().is_none_or(|shown| shown != wanted))
            .map(|(id, view)| (*id, Arc::clone(&view.netns), view.skip.clone()))
            .collect();
        for (id, netns, skip) in stale {
            let done = match view::sync(netns.as_fd(), wanted, skip.as_ref()) {
                Ok(done) => done,
                Err(err) => {
                    // It ends, most likely.
                    tracing::debug!(container = %id, why = chain(&err), "its view stays as it is");
                    continue;
                }
            };
            for failure in &done.failed {
                tracing::warn!(container = %id, why = chain(failure), "its view is not up to date");
            }
            if let Some(view) = self.lock().get_mut(&id) {
                view.shown = Some(Arc::clone(wanted));
            }
        }
    }
}
