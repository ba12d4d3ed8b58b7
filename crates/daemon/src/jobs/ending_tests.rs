#![allow(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use kleene_model::RunState;

use super::*;
use crate::core::tests::Rig;
use crate::jobs::tests::context;

#[tokio::test]
async fn the_exits_stay_until_the_end_is_in_the_store() {
    let rig = Rig::new();
    let root = tempfile::tempdir().unwrap();
    let context = context(&rig, root.path());
    let id = rig.starting().await;
    let dir = context.config.run_dir(id);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("exits"), "").unwrap();
    let gate = rig.hold_store().await;
    let ending = tokio::spawn({
        let context = context.clone();
        async move { finish(&context, id, None).await }
    });
    rig.at_store().await;
    assert!(dir.join("exits").exists(), "a daemon that is killed now needs them");
    drop(gate);
    ending.await.unwrap();
    assert!(!dir.exists());
    assert_eq!(rig.core.snapshot().container(id).unwrap().run, RunState::Stopped);
}

#[tokio::test]
async fn without_an_engine_the_exits_stay() {
    let rig = Rig::new();
    let root = tempfile::tempdir().unwrap();
    let context = context(&rig, root.path());
    let id = rig.starting().await;
    let dir = context.config.run_dir(id);
    std::fs::create_dir_all(&dir).unwrap();
    rig.break_store();
    finish(&context, id, None).await;
    assert!(dir.exists());
}
