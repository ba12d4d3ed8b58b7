//! One task per container that has processes: it speaks with the container's
//! supervisor, passes orders on and reports what happens.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kleene_engine::{Event, ExecSpec};
use kleene_model::api::Window;
use kleene_model::{Container, ContainerId, ExecId};
use kleene_supervise::client;
use kleene_supervise::proto::{
    self, Decoder, ExitRecord, FrameKind, FromSupervisor, Terminal, ToSupervisor,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::UnboundedReceiver;

use super::{Context, setup};

/// How long a supervisor may take to answer an attachment.
const ATTACH_LIMIT: Duration = Duration::from_secs(5);

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

/// Makes a container's files, starts its supervisor and stays with it.
pub(super) async fn prepare(
    context: Context,
    container: Arc<Container>,
    mut orders: UnboundedReceiver<Order>,
) {
    let id = container.id;
    let state = context.core.snapshot();
    let addresses: Vec<IpAddr> = state
        .endpoints_of(id)
        .flat_map(|endpoint| endpoint.address.present().map(|(_, addr)| *addr).collect::<Vec<_>>())
        .collect();
    let made = tokio::task::spawn_blocking({
        let context = context.clone();
        move || setup::prepare(&context, &container, &addresses)
    });
    let failed = match made.await {
        Ok(Ok(made)) => match UnixStream::from_std(made.stream) {
            Ok(stream) => {
                if let Some(netns) = made.netns {
                    context.namespaces.insert(id, netns);
                }
                context.core.event(Event::Prepared { container: id });
                let mut warden = Warden::new(context, id, stream, made.decoder);
                warden.supervisor = Some(made.supervisor);
                return warden.stay(orders).await;
            }
            Err(err) => format!("cannot talk to the supervisor: {err}"),
        },
        Ok(Err(why)) => why,
        Err(err) => format!("the preparation ended unexpectedly: {err}"),
    };
    orders.close();
    finish(&context, id, Some(failed)).await;
    while let Some(order) = orders.recv().await {
        refuse(&context, &order);
    }
}

pub(super) fn nonblocking(stream: StdUnixStream) -> Option<UnixStream> {
    stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream)).ok()
}

/// A container whose supervisor is gone without a word: what it has written
/// down is reported, and the end.
pub(super) async fn report_the_dead(context: &Context, id: ContainerId, dir: &Path) {
    report_written(context, dir).await;
    finish(context, id, None).await;
}

/// Reports the exits that a supervisor has written down. Those that were
/// reported before change nothing.
async fn report_written(context: &Context, dir: &Path) {
    let exits = tokio::fs::read(dir.join("exits")).await.unwrap_or_default();
    for record in kleene_supervise::exits::read(&exits) {
        if let ExitRecord::Exec { exec, code, last, .. } = record {
            report_exit(context, &exec, code, last);
        }
    }
}

fn report_exit(context: &Context, exec: &str, code: i32, last: bool) {
    match ExecId::parse(exec) {
        Ok(exec) => context.core.event(Event::ExecExited { exec, code, last }),
        Err(err) => tracing::warn!(%err, "a supervisor spoke of an unknown execution"),
    }
}

/// Nothing of the container runs any more: clears up, then reports the end. In
/// this order, because a container that has ended may be started again at once.
async fn finish(context: &Context, id: ContainerId, failure: Option<String>) {
    context.namespaces.remove(id);
    let cleared = tokio::task::spawn_blocking({
        let context = context.clone();
        move || setup::clear(&context, id)
    });
    if let Err(err) = cleared.await {
        tracing::error!(container = %id, %err, "clearing up ended unexpectedly");
    }
    context.core.event(match failure {
        Some(why) => {
            tracing::warn!(container = %id, why, "a container could not be started");
            Event::StartFailed { container: id, why }
        }
        None => Event::Ended { container: id },
    });
    // Deleting for good is slow, and nobody waits for it.
    let context = context.clone();
    tokio::task::spawn_blocking(move || setup::empty_trash(&context));
}

/// A live connection to one supervisor.
pub(super) struct Warden {
    context: Context,
    id: ContainerId,
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    decoder: Decoder,
    supervisor: Option<std::process::Child>,
    pub(super) ended: bool,
    failure: Option<String>,
    /// Exits that were reported and are not known to be in the store.
    reported: BTreeMap<u64, ExecId>,
    /// The highest exit that was reported.
    highest: u64,
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
            failure: None,
            reported: BTreeMap::new(),
            highest: 0,
        }
    }

    /// Passes orders and events on until the supervisor is gone.
    pub(super) async fn stay(mut self, mut orders: UnboundedReceiver<Order>) {
        let mut buffer = vec![0; 16 << 10];
        loop {
            tokio::select! {
                biased;
                read = self.reader.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => break,
                    Ok(count) => self.heard(buffer.get(..count).unwrap_or_default()).await,
                },
                order = orders.recv() => match order {
                    Some(order) => self.carry_out(order).await,
                    // The daemon ends; the container does not.
                    None => return,
                },
            }
        }
        orders.close();
        self.reap().await;
        if !self.ended {
            tracing::error!(container = %self.id, "the supervisor was killed, and its container with it");
            report_written(&self.context, &self.context.config.run_dir(self.id)).await;
        }
        finish(&self.context, self.id, self.failure).await;
        while let Some(order) = orders.recv().await {
            refuse(&self.context, &order);
        }
    }

    /// Our own child must not stay a zombie.
    async fn reap(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            let waited = tokio::task::spawn_blocking(move || supervisor.wait());
            match waited.await {
                Ok(Ok(status)) if status.success() => {}
                Ok(Ok(status)) => {
                    tracing::warn!(container = %self.id, %status, "the supervisor ended badly");
                }
                Ok(Err(err)) => tracing::warn!(container = %self.id, %err, "cannot wait"),
                Err(err) => tracing::error!(container = %self.id, %err, "waiting ended"),
            }
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

    async fn carry_out(&mut self, order: Order) {
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
            Order::Stop { grace_ms } => ToSupervisor::Stop { signal: SIGTERM, grace_ms },
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

    async fn heard(&mut self, bytes: &[u8]) {
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
                Ok(None) => return,
                Err(err) => {
                    tracing::error!(container = %self.id, %err, "the supervisor talks nonsense");
                    return;
                }
            }
        }
    }

    async fn message(&mut self, message: FromSupervisor) {
        let id = self.id;
        match message {
            FromSupervisor::Launched { pid } => {
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
                report_exit(&self.context, &exec, code, last);
            }
            // The end is reported when the supervisor itself has ended, since
            // only then nothing of it is left.
            ExitRecord::Ended { .. } => self.ended = true,
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

/// Opens a connection that carries one execution's input and output.
async fn attach(dir: &Path, exec: &str) -> Result<UnixStream, String> {
    let dir = dir.to_owned();
    let connected = tokio::task::spawn_blocking(move || client::connect(&dir)).await;
    let stream = match connected {
        Ok(Ok(stream)) => stream,
        Ok(Err(err)) => return Err(kleene_engine::host::chain(&err)),
        Err(err) => return Err(err.to_string()),
    };
    let mut stream = nonblocking(stream).ok_or("the connection is unusable")?;
    let message = ToSupervisor::Attach { exec: exec.to_owned() };
    let frame = proto::encode(&message).map_err(|err| err.to_string())?;
    stream.write_all(&frame).await.map_err(|err| err.to_string())?;
    // Exactly one frame answers, and nothing follows before the execution is
    // started: no output can be swallowed with it.
    let mut decoder = Decoder::new();
    let mut byte = [0; 512];
    loop {
        let count = stream.read(&mut byte).await.map_err(|err| err.to_string())?;
        if count == 0 {
            return Err("the supervisor closed the connection".to_owned());
        }
        decoder.push(byte.get(..count).unwrap_or_default());
        if let Some(frame) = decoder.next_frame().map_err(|err| err.to_string())? {
            return match proto::decode(&frame.payload) {
                Ok(FromSupervisor::Attached { .. }) => Ok(stream),
                Ok(FromSupervisor::Error { message }) => Err(message),
                _ => Err("the supervisor gave another answer".to_owned()),
            };
        }
    }
}
