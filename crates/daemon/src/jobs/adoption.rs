//! Taking over containers that outlived the daemon.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use kleene_engine::Event;
use kleene_model::{ContainerId, ExecId};
use kleene_supervise::client;
use kleene_supervise::proto::{self, Decoder, Phase};
use tokio::net::UnixStream;
use tokio::sync::mpsc::UnboundedReceiver;

use super::warden::{Order, Warden, nonblocking, report_the_dead};
use super::{Context, setup};

/// How long a supervisor may take to say what it has.
const HELLO_LIMIT: Duration = Duration::from_secs(5);

/// How long until a supervisor that could not be asked is asked again.
const ADOPT_AGAIN: Duration = Duration::from_secs(1);

/// Finds the supervisor of a container that outlived the daemon, or what it
/// left behind.
pub(super) async fn adopt(context: Context, id: ContainerId, orders: UnboundedReceiver<Order>) {
    let dir = context.config.run_dir(id);
    let (stream, state, netns) = loop {
        match find(&dir).await {
            Found::Alive(alive) => {
                let Supervisor { stream, state, netns } = *alive;
                break (stream, state, netns);
            }
            Found::Dead => {
                tracing::info!(container = %id, "no supervisor: the container has ended");
                return report_the_dead(&context, id, &dir).await;
            }
            // Too many open files, a supervisor of another version or one that
            // hangs: the container lives, and is left as it is.
            Found::Unclear(why) => {
                tracing::warn!(container = %id, why, "the supervisor cannot be taken over yet");
            }
        }
        tokio::time::sleep(ADOPT_AGAIN).await;
    };
    if let Some(netns) = netns {
        context.namespaces.insert(id, netns);
    }
    let running = state.executions.iter().filter(|exec| exec.running);
    let running = running.filter_map(|exec| ExecId::parse(&exec.id).ok()).collect();
    let pid = match state.phase {
        Phase::Running | Phase::Ending | Phase::Ended => state.pid,
        Phase::New | Phase::Ready | Phase::Launching | Phase::Unknown => None,
    };
    let pid = pid.and_then(|pid| u32::try_from(pid).ok());
    let mut warden = Warden::new(context.clone(), id, stream, Decoder::new());
    for exit in state.exits {
        warden.exit(exit);
    }
    if !warden.ended {
        context.core.event(Event::Adopted { container: id, pid, running });
    }
    warden.stay(orders).await;
}

/// A supervisor that answers.
struct Supervisor {
    stream: UnixStream,
    state: proto::State,
    netns: Option<OwnedFd>,
}

/// What is known of a container's supervisor.
enum Found {
    Alive(Box<Supervisor>),
    /// Nobody listens on its socket.
    Dead,
    /// It could not be asked.
    Unclear(String),
}

async fn find(dir: &Path) -> Found {
    let dir = dir.to_owned();
    let asked = tokio::task::spawn_blocking(move || -> Result<_, client::ClientError> {
        let stream = client::connect(&dir)?;
        stream.set_read_timeout(Some(HELLO_LIMIT)).map_err(client::ClientError::Io)?;
        let (state, netns) = client::handshake(&stream)?;
        stream.set_read_timeout(None).map_err(client::ClientError::Io)?;
        Ok((stream, state, netns))
    });
    match asked.await {
        Ok(Ok((stream, state, netns))) => match nonblocking(stream) {
            Some(stream) => Found::Alive(Box::new(Supervisor { stream, state, netns })),
            None => Found::Unclear("its connection is unusable".to_owned()),
        },
        Ok(Err(err)) if setup::is_nobody(&err) => Found::Dead,
        Ok(Err(err)) => Found::Unclear(kleene_engine::host::chain(&err)),
        Err(err) => Found::Unclear(err.to_string()),
    }
}
