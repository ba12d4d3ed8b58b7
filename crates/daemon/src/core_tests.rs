//! An engine over fakes, whose store can be held up and can fail for good.
#![allow(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use kleene_engine::fake::{FakeHost, MemoryStore, Rig as Configs};
use kleene_engine::store::{Durability, Record, StoreError, Write};
use kleene_model::addr::Pools;
use kleene_model::{ContainerId, Driver, InstanceName};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::*;
use crate::wait::until;

/// How the store behaves.
#[derive(Clone, Default)]
struct Moods {
    gate: Arc<Mutex<()>>,
    at_gate: Arc<AtomicBool>,
    broken: Arc<AtomicBool>,
}

struct MoodyStore(MemoryStore, Moods);

impl Store for MoodyStore {
    fn load(&mut self) -> Result<Vec<Record>, StoreError> {
        self.0.load()
    }

    fn write(&mut self, writes: &[Write], durability: Durability) -> Result<(), StoreError> {
        self.1.at_gate.store(true, Ordering::SeqCst);
        let _passing = self.1.gate.blocking_lock();
        self.1.at_gate.store(false, Ordering::SeqCst);
        assert!(!self.1.broken.load(Ordering::SeqCst), "the store breaks, as it was told to");
        self.0.write(writes, durability)
    }
}

/// An engine on its thread.
pub(crate) struct Rig {
    pub(crate) core: Core,
    moods: Moods,
    _jobs: jobs::UnboundedReceiver<Job>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let (queue, waiting) = jobs::unbounded_channel();
        let moods = Moods::default();
        let store = MoodyStore(MemoryStore::new(), moods.clone());
        let core = Core::start(queue, move || {
            let instance = InstanceName::parse("unit").unwrap();
            let host = FakeHost::new(instance.clone());
            Engine::start(host, store, instance, Pools::default(), true)
                .map(|(engine, effects, _)| (engine, effects))
        });
        Self { core: core.unwrap(), moods, _jobs: waiting }
    }

    /// A container on its way up.
    pub(crate) async fn starting(&self) -> ContainerId {
        let config = Configs::container_config("box", Driver::Host);
        let made = self.core.command(Command::ContainerCreate(config)).await;
        let Ok(Outcome::Id(id)) = made else { panic!("{made:?}") };
        let id = ContainerId::parse(&id).unwrap();
        let exec = serde_json::json!({"container_id": id.to_string(), "cmd": ["true"]});
        let exec = serde_json::from_value(exec).unwrap();
        let Ok(Outcome::Id(exec)) = self.core.command(Command::ExecCreate(exec)).await else {
            panic!("no execution");
        };
        let exec = kleene_model::ExecId::parse(&exec).unwrap();
        let core = self.core.clone();
        tokio::spawn(async move { drop(core.command(Configs::start_command(exec)).await) });
        let run = |state: &State| state.container(id).unwrap().run;
        let wanted = |state: &State| run(state) == kleene_model::RunState::Preparing;
        assert!(self.core.wait_for(Duration::from_secs(10), wanted).await);
        id
    }

    /// Lets nothing into the store until the guard is dropped.
    pub(crate) async fn hold_store(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.moods.gate).lock_owned().await
    }

    /// Waits until the engine waits for the store.
    pub(crate) async fn at_store(&self) {
        let waits = || self.moods.at_gate.load(Ordering::SeqCst);
        until("the engine at its store", waits).await;
    }

    /// The next write ends the engine.
    pub(crate) fn break_store(&self) {
        self.moods.broken.store(true, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn an_engine_that_dies_is_noticed() {
    let rig = Rig::new();
    rig.starting().await;
    assert!(rig.core.stopped().now_or_never().is_none(), "it works");
    rig.break_store();
    let config = Configs::container_config("other", Driver::Host);
    assert!(rig.core.command(Command::ContainerCreate(config)).await.is_err());
    tokio::time::timeout(Duration::from_secs(10), rig.core.stopped()).await.unwrap();
    assert!(!rig.core.tell(Event::Swept { links: Vec::new() }).await);
}

#[tokio::test]
async fn what_was_told_is_in_the_store() {
    let rig = Rig::new();
    let id = rig.starting().await;
    let gate = rig.hold_store().await;
    let mut told = std::pin::pin!(rig.core.tell(Event::Ended { container: id }));
    assert!(told.as_mut().now_or_never().is_none());
    rig.at_store().await;
    assert!(told.as_mut().now_or_never().is_none());
    drop(gate);
    assert!(told.await);
}
