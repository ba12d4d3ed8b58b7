//! One task per container that has processes: it speaks with the container's
//! supervisor, passes orders on and reports what happens.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::OptionFuture;
use kleene_engine::{Event, ExecSpec};
use kleene_model::api::Window;
use kleene_model::{Container, ContainerId, ExecId};
use kleene_supervise::proto::{
    self, Decoder, ExitRecord, FrameKind, FromSupervisor, Terminal, ToSupervisor,
};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::attachments::attach;
use super::ending::{finish, reap, report_exit};
use super::killing::{at, kill_soon};
use super::setup::Made;
use super::{Context, adoption, setup};

/// How long a supervisor may take to answer an attachment.
const ATTACH_LIMIT: Duration = Duration::from_secs(5);

/// How long after the grace of a stop a supervisor may take to tell of the end.
const OVERDUE: Duration = Duration::from_millis(700);

/// The terminal's size where no client said one.
const DEFAULT_WINDOW: Terminal = Terminal { rows: 24, cols: 80 };

/// What a warden is asked to do.
#[derive(Debug)]
pub(super) enum Order {
    /// The network stands.
    Launch,
    /// Start an execution.
    Exec(Box<ExecSpec>),
    /// TERM or KILL to an execution's first process.
    Signal { exec: ExecId, force: bool },
    /// The store has an execution's exit.
    Acknowledge { exec: ExecId },
    /// The size of a terminal.
    Resize { exec: ExecId, window: Window },
    /// Stop the container.
    Stop { grace_ms: u64 },
    /// Kill everything.
    Kill,
}

/// What becomes of an order that reaches no supervisor.
pub(super) fn refuse(context: &Context, order: &Order) {
    if let Order::Exec(spec) = order {
        let why = "the container has ended".to_owned();
        context.core.event(Event::ExecFailed { exec: spec.exec, why, exit_code: 125 });
    }
}

/// Makes a container's files, starts its supervisor and stays with it. `before`
/// is who stayed with it in its last life.
pub(super) async fn prepare(
    context: Context,
    container: Arc<Container>,
    mut orders: UnboundedReceiver<Order>,
    before: Option<JoinHandle<()>>,
) {
    let id = container.id;
    // It has the run directory until it is done, which is soon.
    if let Some(Err(err)) = OptionFuture::from(before).await {
        tracing::error!(container = %id, %err, "the end of its last life ended unexpectedly");
    }
    let state = context.core.snapshot();
    let addresses: Vec<IpAddr> = state
        .endpoints_of(id)
        .flat_map(|endpoint| endpoint.address.present().map(|(_, addr)| *addr).collect::<Vec<_>>())
        .collect();
    let skip = state.first_interface(id).cloned();
    let made = tokio::task::spawn_blocking({
        let context = context.clone();
        move || setup::prepare(&context, &container, &addresses, skip)
    });
    let made = match made.await {
        Ok(made) => made,
        Err(err) => Err(format!("the preparation ended unexpectedly: {err}")),
    };
    match made {
        Ok(Made { stream, decoder, netns, supervisor }) => {
            if let Some(netns) = netns {
                context.stacks.insert(id, netns);
            }
            context.core.event(Event::Prepared { container: id });
            let mut warden = Warden::new(context.clone(), id, stream, decoder);
            warden.supervisor = Some(supervisor);
            match warden.stay(&mut orders).await {
                Stay::Over => {}
                Stay::Lost(lost) => adoption::adopt(context, id, orders, Some(lost)).await,
            }
        }
        Err(why) => {
            orders.close();
            finish(&context, id, Some(why)).await;
            refuse_all(&context, &mut orders).await;
        }
    }
}

/// Refuses what was ordered too late.
pub(super) async fn refuse_all(context: &Context, orders: &mut UnboundedReceiver<Order>) {
    orders.close();
    while let Some(order) = orders.recv().await {
        refuse(context, &order);
    }
}

pub(super) fn nonblocking(stream: StdUnixStream) -> io::Result<UnixStream> {
    stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream))
}

/// How a stay with a supervisor ended.
pub(super) enum Stay {
    /// The container has ended and is cleared up, or the daemon ends.
    Over,
    /// The connection is gone or of no use, and no word of the end came.
    Lost(Lost),
}

/// What is left of a connection.
#[derive(Default)]
pub(super) struct Lost {
    /// The supervisor, if we started it.
    pub(super) supervisor: Option<Child>,
    /// When a stop that it was told has to be done.
    pub(super) kill_at: Option<Instant>,
}

/// A live connection to one supervisor.
pub(super) struct Warden {
    context: Context,
    id: ContainerId,
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    decoder: Decoder,
    pub(super) supervisor: Option<Child>,
    pub(super) ended: bool,
    /// Its last execution has ended: the supervisor is at the end itself, and
    /// has not been waited for yet.
    over: bool,
    /// When the container is killed, if nobody has told of its end.
    pub(super) kill_at: Option<Instant>,
    failure: Option<String>,
    /// Exits that were reported and are not known to be in the store.
    reported: BTreeMap<u64, ExecId>,
    /// The highest exit that was reported.
    highest: u64,
}

/// What a supervisor says next; nothing at its end. There is one who waits for
/// each container, so the room is made when there is something to be read.
async fn next(reader: &OwnedReadHalf) -> io::Result<Vec<u8>> {
    loop {
        reader.readable().await?;
        let mut bytes = vec![0; 16 << 10];
        match reader.try_read(&mut bytes) {
            Ok(count) => {
                bytes.truncate(count);
                return Ok(bytes);
            }
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
            Err(err) => return Err(err),
        }
    }
}

impl Warden {
    pub(super) fn new(
        context: Context,
        id: ContainerId,
        stream: UnixStream,
        decoder: Decoder,
    ) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            context,
            id,
            reader,
            writer,
            decoder,
            supervisor: None,
            ended: false,
            over: false,
            kill_at: None,
            failure: None,
            reported: BTreeMap::new(),
            highest: 0,
        }
    }

    /// Passes orders and events on until the supervisor is gone.
    pub(super) async fn stay(mut self, orders: &mut UnboundedReceiver<Order>) -> Stay {
        loop {
            tokio::select! {
                biased;
                read = next(&self.reader) => match read {
                    Ok(bytes) if !bytes.is_empty() => {
                        if !self.heard(&bytes).await {
                            break;
                        }
                    }
                    Ok(_) | Err(_) => break,
                },
                () = at(self.kill_at) => self.overdue().await,
                order = orders.recv() => match order {
                    Some(order) => self.carry_out(order).await,
                    // The daemon ends; the container does not.
                    None => return Stay::Over,
                },
            }
        }
        if !self.ended {
            return Stay::Lost(Lost { supervisor: self.supervisor, kill_at: self.kill_at });
        }
        orders.close();
        reap(self.id, self.supervisor).await;
        finish(&self.context, self.id, self.failure).await;
        refuse_all(&self.context, orders).await;
        Stay::Over
    }

    /// A supervisor that hangs stops nothing. Killing may fail, and is tried
    /// again.
    async fn overdue(&mut self) {
        self.kill_at = Some(Instant::now() + OVERDUE);
        // One that is at the end itself has as long again.
        if !std::mem::take(&mut self.over) {
            tracing::warn!(container = %self.id, "the supervisor does not stop it: killing it");
            kill_soon(&self.context, self.id).await;
        }
    }

    async fn say(&mut self, message: &ToSupervisor) {
        let sent = match proto::encode(message) {
            Ok(frame) => self.writer.write_all(&frame).await.map_err(|err| err.to_string()),
            Err(err) => Err(kleene_engine::host::chain(&err)),
        };
        // A supervisor that is gone is noticed where its messages are read.
        if let Err(why) = sent {
            tracing::warn!(container = %self.id, why, "an order did not reach the supervisor");
        }
    }

    pub(super) async fn carry_out(&mut self, order: Order) {
        let message = match order {
            Order::Launch => ToSupervisor::Launch {},
            Order::Exec(spec) => return self.start(&spec).await,
            Order::Signal { exec, force } => ToSupervisor::Signal {
                exec: Some(exec.to_string()),
                signo: if force { SIGKILL } else { SIGTERM },
                all: false,
            },
            Order::Acknowledge { exec } => return self.acknowledge(exec).await,
            Order::Resize { exec, window: Window { rows, cols } } => {
                ToSupervisor::Resize { exec: exec.to_string(), rows, cols }
            }
            Order::Stop { grace_ms } => {
                let due = Instant::now() + Duration::from_millis(grace_ms) + OVERDUE;
                self.kill_at = Some(self.kill_at.map_or(due, |before| before.min(due)));
                ToSupervisor::Stop { signal: SIGTERM, grace_ms }
            }
            Order::Kill => ToSupervisor::Kill {},
        };
        self.say(&message).await;
    }

    /// Attaches the waiting client first, so that it misses nothing.
    async fn start(&mut self, spec: &ExecSpec) {
        let exec = spec.exec.to_string();
        let client = self.context.attachments.take(spec.exec);
        let attached = client.is_some();
        if let Some(client) = client {
            let dir = self.context.config.run_dir(self.id);
            match tokio::time::timeout(ATTACH_LIMIT, attach(&dir, &exec)).await {
                Ok(Ok(stream)) => drop(client.send(stream)),
                Ok(Err(why)) => return self.not_started(spec.exec, &why),
                Err(_) => return self.not_started(spec.exec, "the supervisor does not answer"),
            }
        }
        let window = spec.window.map(|Window { rows, cols }| Terminal { rows, cols });
        let message = ToSupervisor::Exec(proto::ExecSpec {
            id: exec,
            argv: spec.argv.clone(),
            env: spec.env.clone(),
            cwd: spec.workdir.clone(),
            user: spec.user.clone(),
            tty: spec.tty.then(|| window.unwrap_or(DEFAULT_WINDOW)),
            stdin: attached,
        });
        match proto::encode(&message) {
            Ok(_) => self.say(&message).await,
            Err(err) => self.not_started(spec.exec, &kleene_engine::host::chain(&err)),
        }
    }

    fn not_started(&self, exec: ExecId, why: &str) {
        let why = format!("cannot start the command: {why}");
        self.context.core.event(Event::ExecFailed { exec, why, exit_code: 125 });
    }

    /// `false` when what comes cannot be understood any more: no later frame
    /// can be told from its middle.
    async fn heard(&mut self, bytes: &[u8]) -> bool {
        self.decoder.push(bytes);
        loop {
            match self.decoder.next_frame() {
                Ok(Some(frame)) if frame.kind == FrameKind::Control => {
                    match proto::decode::<FromSupervisor>(&frame.payload) {
                        Ok(message) => self.message(message).await,
                        Err(err) => tracing::warn!(container = %self.id, %err, "not understood"),
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(err) => {
                    tracing::error!(container = %self.id, %err, "the supervisor talks nonsense");
                    return false;
                }
            }
        }
    }

    async fn message(&mut self, message: FromSupervisor) {
        let id = self.id;
        match message {
            FromSupervisor::Launched { pid } => {
                self.context.stacks.settle(id);
                let pid = u32::try_from(pid).unwrap_or_default();
                self.context.core.event(Event::Launched { container: id, pid });
            }
            FromSupervisor::LaunchFailed { step, message } => {
                // Reported at the end, when everything is undone.
                self.failure = Some(format!("{step}: {message}"));
            }
            FromSupervisor::Started { id: exec, .. } => {
                if let Ok(exec) = ExecId::parse(&exec) {
                    self.context.core.event(Event::ExecStarted { exec });
                }
            }
            FromSupervisor::ExecFailed { id: exec, kind, message } => {
                if let Ok(exec) = ExecId::parse(&exec) {
                    let exit_code = kind.exit_code();
                    self.context.core.event(Event::ExecFailed { exec, why: message, exit_code });
                }
            }
            FromSupervisor::Exit(record) => self.exit(record),
            FromSupervisor::LogDropped { bytes } => {
                tracing::warn!(container = %id, bytes, "output could not be kept");
            }
            FromSupervisor::Error { message } => {
                tracing::warn!(container = %id, message, "the supervisor refused an order");
            }
            // A client's going is noticed at its websocket; the others belong
            // to set-up and to attachments.
            FromSupervisor::Detached { .. }
            | FromSupervisor::State(_)
            | FromSupervisor::Ready { .. }
            | FromSupervisor::SetupFailed { .. }
            | FromSupervisor::Attached { .. }
            | FromSupervisor::Lost { .. }
            | FromSupervisor::ExecExited { .. }
            | FromSupervisor::Unknown => {}
        }
    }

    /// Passes an exit on. It is acknowledged when the engine has stored it: until
    /// then the supervisor's file is the only place where it survives us.
    pub(super) fn exit(&mut self, record: ExitRecord) {
        match record {
            ExitRecord::Exec { seq, exec, code, last, .. } => {
                if let Ok(exec) = ExecId::parse(&exec) {
                    self.reported.insert(seq, exec);
                }
                self.highest = self.highest.max(seq);
                self.over |= last;
                report_exit(&self.context, &exec, code, last);
            }
            // The end is reported when the supervisor itself has ended, since
            // only then nothing of it is left.
            ExitRecord::Ended { .. } => (self.ended, self.over) = (true, true),
            ExitRecord::LaunchFailed { step, message, .. } => {
                self.ended = true;
                self.failure = Some(format!("{step}: {message}"));
            }
            ExitRecord::Unknown => {}
        }
    }

    /// Acknowledges everything below the first exit that is not stored yet.
    async fn acknowledge(&mut self, exec: ExecId) {
        self.reported.retain(|_, known| *known != exec);
        let first = self.reported.keys().next();
        let seq = first.map_or(self.highest, |first| first.saturating_sub(1));
        if !self.ended {
            self.say(&ToSupervisor::Ack { seq }).await;
        }
    }
}

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

#[cfg(test)]
#[path = "warden_tests.rs"]
mod tests;
