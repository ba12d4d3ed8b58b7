#![allow(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use kleene_engine::{Command, Event};

use super::*;
use crate::core::tests::Rig;
use crate::jobs::tests::config;

#[tokio::test]
async fn without_its_engine_the_daemon_ends() {
    let rig = Rig::new();
    let root = tempfile::tempdir().unwrap();
    let app = App {
        core: rig.core.clone(),
        config: Arc::new(config(root.path())),
        stacks: Stacks::default(),
        attachments: Attachments::default(),
        images: Images::default(),
        firewalls: Firewalls::default(),
        sockets: TaskTracker::new(),
        reader: Reader::default(),
        deaf: None,
        ending: CancellationToken::new(),
    };
    let served = TaskTracker::new();
    served.close();
    let mut finish = std::pin::pin!(finish(&app, &served));
    // The allowed twin: it serves while the engine does.
    let asked = app.core.command(Command::ContainerPrune);
    tokio::select! {
        biased;
        ended = &mut finish => panic!("it ended: {ended:?}"),
        asked = asked => assert!(asked.is_ok()),
    }
    let container = rig.starting().await;
    rig.break_store();
    app.core.event(Event::Ended { container });
    let why = tokio::time::timeout(Duration::from_secs(10), finish).await.unwrap().unwrap_err();
    assert!(why.contains("the engine has stopped"), "{why}");
    assert!(app.ending.is_cancelled());
}
