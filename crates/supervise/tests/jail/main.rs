//! The supervisor's side for FreeBSD, with tools that play jail(8) and its kin
//! as they were recorded (FreeBSD 13.2). Needs no rights.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]
#![allow(dead_code, reason = "what is common serves several tests")]

#[path = "../common/mod.rs"]
mod common;
mod executions;
mod life;
mod world;

use common::Link;
use kleene_supervise::{
    client,
    proto::{FailureKind, FromSupervisor, State},
};
use world::JailWorld;

const FOREVER: &str = "while :; do sleep 1000; done";

fn failure(control: &mut Link, id: &str) -> (FailureKind, String) {
    control.wait(|message| match message {
        FromSupervisor::ExecFailed { id: failed, kind, message } if failed == id => {
            Some((*kind, message.clone()))
        }
        FromSupervisor::Started { id: started, .. } if started == id => panic!("{id} started"),
        _ => None,
    })
}

fn hello(world: &JailWorld) -> (State, Link) {
    let stream = client::connect(&world.dir.join("run")).unwrap();
    let (state, netns) = client::handshake(&stream).unwrap();
    assert!(netns.is_none() && state.pid.is_none());
    (state, Link::new(stream))
}
