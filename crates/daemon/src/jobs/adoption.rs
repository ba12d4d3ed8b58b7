//! Taking over containers that outlived the daemon, or the connection to them.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use kleene_engine::Event;
use kleene_model::{ContainerId, ExecId};
use kleene_supervise::client;
use kleene_supervise::proto::{self, Decoder, Phase};
use tokio::net::UnixStream;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use super::ending::{reap, report_the_dead};
use super::killing::{at, kill_soon};
use super::warden::{Lost, Order, Stay, Warden, nonblocking, refuse, refuse_all};
use super::{Context, setup};

/// How long a supervisor may take to say what it has.
const HELLO_LIMIT: Duration = Duration::from_secs(5);

/// How long until a supervisor that could not be asked is asked again: at
/// first, since one that was just killed may still be about to go, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The least time that a supervisor is given to answer before its container is
/// killed, however impatient the order.
const LEAST_GRACE: Duration = Duration::from_millis(500);

/// Finds the supervisor of a container that outlived the daemon, or what it
/// left behind. `lost` is what is known of it, if it was spoken with before.
pub(super) async fn adopt(
    context: Context,
    id: ContainerId,
    mut orders: UnboundedReceiver<Order>,
    lost: Option<Lost>,
) {
    let mut held = Held::default();
    let mut seen = lost.is_some();
    let Lost { supervisor: mut child, mut kill_at } = lost.unwrap_or_default();
    held.kill_at = kill_at;
    while let Some(supervisor) = seek(&context, id, &mut orders, &mut held).await {
        seen = true;
        let mut warden = take_over(&context, id, supervisor);
        (warden.supervisor, warden.kill_at) = (child.take(), kill_at.take());
        for order in held.release() {
            warden.carry_out(order).await;
        }
        match warden.stay(&mut orders).await {
            Stay::Over => return,
            Stay::Lost(lost) => (child, kill_at) = (lost.supervisor, lost.kill_at),
        }
        held.kill_at = kill_at;
        // One that answers and then talks nonsense is not asked in a rush.
        let pause = held.next_pause();
        held.meanwhile(&mut orders, tokio::time::sleep(pause)).await;
    }
    if seen {
        tracing::error!(container = %id, "the supervisor was killed, and its container with it");
    } else {
        tracing::info!(container = %id, "no supervisor: the container has ended");
    }
    orders.close();
    reap(id, child).await;
    report_the_dead(&context, id, &context.config.run_dir(id)).await;
    for order in held.release() {
        refuse(&context, &order);
    }
    refuse_all(&context, &mut orders).await;
}

/// Tells the engine what a supervisor says of its container.
fn take_over(context: &Context, id: ContainerId, supervisor: Supervisor) -> Warden {
    let Supervisor { stream, state, netns } = supervisor;
    if let Some(netns) = netns {
        let driver = context.core.snapshot().container(id).map(|container| container.driver);
        context.stacks.adopt(id, driver, netns);
    }
    let running = state.executions.iter().filter(|exec| exec.running);
    let running = running.filter_map(|exec| ExecId::parse(&exec.id).ok()).collect();
    let pid = match state.phase {
        // A jail has no holder, and no number of one.
        Phase::Running | Phase::Ending | Phase::Ended => Some(state.pid.unwrap_or(0)),
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
    warden
}

/// Asks until the supervisor answers or is gone. One that does not answer
/// cannot be asked to stop its container either: that is killed when the grace
/// of a stop is over.
async fn seek(
    context: &Context,
    id: ContainerId,
    orders: &mut UnboundedReceiver<Order>,
    held: &mut Held,
) -> Option<Supervisor> {
    let dir = context.config.run_dir(id);
    loop {
        match held.meanwhile(orders, find(&dir)).await {
            Some(Found::Alive(alive)) => return Some(*alive),
            Some(Found::Dead) => return None,
            // Too many open files, a supervisor of another version or one that
            // hangs: the container lives, and is left as it is.
            Some(Found::Unclear(why)) => {
                tracing::warn!(container = %id, why, "the supervisor cannot be taken over yet");
            }
            None => {}
        }
        let pause = held.next_pause();
        if held.meanwhile(orders, tokio::time::sleep(pause)).await.is_none() {
            tracing::warn!(container = %id, "its supervisor cannot be asked to stop it: killing it");
            kill_soon(context, id).await;
            held.kill_at = Some(Instant::now() + LONGEST_PAUSE);
        }
    }
}

/// Orders that came while nobody could take them.
#[derive(Default)]
struct Held {
    orders: Vec<Order>,
    /// When the container is to be killed.
    kill_at: Option<Instant>,
    /// The last pause between two attempts.
    pause: Option<Duration>,
}

impl Held {
    /// Waits for `work` while orders come in; `None` when the container is to be
    /// killed first.
    async fn meanwhile<T>(
        &mut self,
        inbox: &mut UnboundedReceiver<Order>,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Some(done),
                () = at(self.kill_at) => return None,
                Some(order) = inbox.recv() => self.hold(order),
            }
        }
    }

    /// How long to wait until the supervisor is asked again.
    fn next_pause(&mut self) -> Duration {
        let pause = self.pause.map_or(FIRST_PAUSE, |last| (2 * last).min(LONGEST_PAUSE));
        self.pause = Some(pause);
        pause
    }

    fn hold(&mut self, order: Order) {
        let grace = match &order {
            Order::Stop { grace_ms } => Some(Duration::from_millis(*grace_ms)),
            Order::Kill => Some(Duration::ZERO),
            Order::Launch
            | Order::Exec(_)
            | Order::Signal { .. }
            | Order::Acknowledge { .. }
            | Order::Resize { .. } => None,
        };
        if let Some(due) = grace.map(|grace| Instant::now() + grace.max(LEAST_GRACE)) {
            self.kill_at = Some(self.kill_at.map_or(due, |before| before.min(due)));
        }
        self.orders.push(order);
    }

    /// The orders, in the order in which they came. What a stop has waited is
    /// part of its grace.
    fn release(&mut self) -> Vec<Order> {
        let left = self.kill_at.take().map(|at| at.saturating_duration_since(Instant::now()));
        let left =
            left.map_or(u64::MAX, |left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        let mut orders = std::mem::take(&mut self.orders);
        for order in &mut orders {
            if let Order::Stop { grace_ms } = order {
                *grace_ms = left.min(*grace_ms);
            }
        }
        orders
    }
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
            Ok(stream) => Found::Alive(Box::new(Supervisor { stream, state, netns })),
            Err(err) => Found::Unclear(format!("its connection is unusable: {err}")),
        },
        Ok(Err(err)) if setup::is_nobody(&err) => Found::Dead,
        Ok(Err(err)) => Found::Unclear(kleene_engine::host::chain(&err)),
        Err(err) => Found::Unclear(err.to_string()),
    }
}

#[cfg(test)]
#[path = "adoption_tests.rs"]
mod tests;
