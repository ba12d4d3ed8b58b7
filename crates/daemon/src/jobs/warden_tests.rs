#![allow(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use std::ops::Not as _;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Command;

use kleene_model::RunState;
use tokio::sync::mpsc::unbounded_channel;

use super::*;
use crate::core::tests::Rig;
use crate::jobs::tests::context;

/// Stays with a supervisor that says these bytes, and then nothing.
async fn stay_with(rig: &Rig, id: ContainerId, said: &[u8], hang_up: bool) -> Stay {
    let root = tempfile::tempdir().unwrap();
    let context = context(rig, root.path());
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(said).await.unwrap();
    let (_orders, mut inbox) = unbounded_channel();
    let warden = Warden::new(context, id, ours, Decoder::new());
    // Only who has nothing more to say hangs up.
    let open = hang_up.not().then_some(theirs);
    let stay = warden.stay(&mut inbox);
    let stay = tokio::time::timeout(Duration::from_secs(10), stay).await;
    drop(open);
    stay.unwrap()
}

#[tokio::test]
async fn a_connection_ends_with_the_first_nonsense() {
    let rig = Rig::new();
    let id = rig.starting().await;
    let ended = FromSupervisor::Exit(ExitRecord::Ended { seq: 1, at_us: 1 });
    let ended = proto::encode(&ended).unwrap();
    // A length that no frame has; what follows cannot be told from its middle.
    let nonsense = [&[0xff; 16][..], &ended].concat();
    assert!(matches!(stay_with(&rig, id, &nonsense, false).await, Stay::Lost(_)));
    assert_eq!(rig.core.snapshot().container(id).unwrap().run, RunState::Preparing);
    // Without a word of the end nobody knows that it came.
    assert!(matches!(stay_with(&rig, id, b"", true).await, Stay::Lost(_)));
    // The allowed twin.
    assert!(matches!(stay_with(&rig, id, &ended, true).await, Stay::Over));
    assert_eq!(rig.core.snapshot().container(id).unwrap().run, RunState::Stopped);
}

fn supervisor() -> (Child, PathBuf) {
    let supervisor = Command::new("sleep").arg("1000").spawn().unwrap();
    let process = PathBuf::from(format!("/proc/{}", supervisor.id()));
    (supervisor, process)
}

#[tokio::test]
async fn a_supervisor_that_cannot_be_spoken_with_is_ended() {
    // The kernel does not tell when a file is ready, and a file has no patience.
    let file = OwnedFd::from(tempfile::tempfile().unwrap());
    let (unusable, process) = supervisor();
    let ready = |_: &mut Decoder| Ok((setup::usable(StdUnixStream::from(file))?, None));
    let why = setup::made(unusable, ready).err().unwrap();
    assert!(why.contains("cannot talk to the supervisor"), "{why}");
    assert!(!process.exists());
    // The allowed twin.
    let (ours, _theirs) = StdUnixStream::pair().unwrap();
    let (usable, process) = supervisor();
    let made = setup::made(usable, |_| Ok((setup::usable(ours)?, None)));
    assert!(process.exists());
    setup::put_down(&mut made.ok().unwrap().supervisor);
}
