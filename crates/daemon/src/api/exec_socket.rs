//! `/exec/start`: one execution over a websocket.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use kleene_engine::Command;
use kleene_model::api::{ExecStartConfig, MessageType};
use kleene_model::{ExecId, ExecutionState, Refusal, RunState};
use kleene_supervise::proto::{self, Decoder, Frame, FrameKind, FromSupervisor, ToSupervisor};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, MissedTickBehavior};

use super::App;
use super::output::Frames;
use super::socket::{CLOSE_BAD_CONFIG, Client, accept};
use crate::jobs::Expected;

/// `done`, but the client asked not to be attached.
const CLOSE_DETACHED: u16 = close_code::AWAY;

/// How often a client whose input nobody takes is asked whether it still is
/// there: nothing is read from it meanwhile, so its going would not be seen.
const ASK_INTERVAL: Duration = Duration::from_secs(1);

/// How long the state may take to show what the supervisor has reported.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);

pub(super) async fn exec_start(State(app): State<App>, upgrade: WebSocketUpgrade) -> Response {
    accept(app, upgrade, async |app, mut client| serve(&app, &mut client).await)
}

type Sink<'a> = SplitSink<&'a mut WebSocket, Message>;
type Source<'a> = SplitStream<&'a mut WebSocket>;

async fn serve(app: &App, client: &mut Client) {
    let refuse = async |client: &mut Client, detail: String| {
        let why = format!("invalid parameters: {detail}");
        client.close(CLOSE_BAD_CONFIG, MessageType::Error, &why).await;
    };
    let Some(config) = client.config::<ExecStartConfig>(refuse).await else { return };
    let exec = ExecId::parse(&config.exec_id).ok();
    let attach = config.attach;
    let mut expected = exec.filter(|_| attach).and_then(|exec| app.attachments.expect(exec));
    match app.core.command(Command::ExecStart(config)).await {
        Err(refusal) => refused(client, &refusal).await,
        Ok(_) if !attach => {
            let text = "succesfully started execution instance in detached mode";
            client.close(CLOSE_DETACHED, MessageType::Closing, text).await;
        }
        Ok(_) => match (exec, expected.as_mut().and_then(Expected::stream)) {
            (Some(exec), Some(stream)) => attached(app, client, exec, stream).await,
            // The engine takes one start only, so this client's must be it.
            _ => refused(client, &Refusal::ExecAlreadyStarted).await,
        },
    }
}

async fn refused(client: &mut Client, refusal: &Refusal) {
    client.say(format!("error: {refusal}")).await;
    client.close(close_code::ERROR, MessageType::Error, "error starting exec instance").await;
}

/// Carries input and output until the execution's first process has ended.
async fn attached(app: &App, client: &mut Client, exec: ExecId, stream: UnixStream) {
    client.starting().await;
    let end = pump(app, client, stream).await;
    match end {
        End::Exited { code, last } => {
            settle(app, exec, last).await;
            let text = if last {
                format!("executable {exec} and its container exited with exit-code {code}")
            } else {
                format!("{exec} has exited with exit-code {code}")
            };
            client.close(close_code::NORMAL, MessageType::Closing, &text).await;
        }
        End::ClientGone => {
            tracing::info!(%exec, "the attached client is gone: its execution gets TERM");
            let told = app.core.command(Command::ClientGone { exec }).await;
            if let Err(refusal) = told {
                tracing::warn!(%exec, %refusal, "the execution could not be told");
            }
        }
        End::SupervisorGone => {
            let text = "the supervisor of the container is gone";
            client.close(close_code::ERROR, MessageType::Error, text).await;
        }
        End::DaemonEnds => {
            let text = "kleened ends; the container goes on: see 'klee logs'";
            client.close(close_code::ERROR, MessageType::Error, text).await;
        }
    }
}

/// Whoever reads the closing message may ask for the result at once: it has to
/// be in the state by then.
async fn settle(app: &App, exec: ExecId, last: bool) {
    let settled = app.core.wait_for(SETTLE_LIMIT, |state| {
        state.execution(exec).is_none_or(|execution| {
            let over = matches!(execution.state, ExecutionState::Exited { .. });
            let container = state.container(execution.container);
            over && !(last && container.is_some_and(|c| c.run != RunState::Stopped))
        })
    });
    if !settled.await {
        tracing::warn!(%exec, "the container has not been cleared up in time");
    }
}

enum End {
    Exited { code: i32, last: bool },
    ClientGone,
    SupervisorGone,
    DaemonEnds,
}

/// Output and input go on side by side: a command that does not read its input
/// must not hold up what it writes.
async fn pump(app: &App, client: &mut Client, stream: UnixStream) -> End {
    let (mut reader, mut writer) = stream.into_split();
    let (mut sink, mut source) = (&mut client.socket).split();
    let held_up = AtomicBool::new(false);
    tokio::select! {
        end = output(&mut reader, &mut sink, &held_up) => end,
        () = input(&mut source, &mut writer, &held_up) => End::ClientGone,
        () = app.ending.cancelled() => End::DaemonEnds,
    }
}

/// Carries output until the execution's first process has ended. While input is
/// held up, it asks the client whether it still is there.
async fn output(reader: &mut OwnedReadHalf, sink: &mut Sink<'_>, held_up: &AtomicBool) -> End {
    let mut decoder = Decoder::new();
    let mut frames = Frames::default();
    let mut buffer = vec![0; 64 << 10];
    let mut ask = tokio::time::interval_at(Instant::now() + ASK_INTERVAL, ASK_INTERVAL);
    ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let read = tokio::select! {
            read = reader.read(&mut buffer) => read,
            _ = ask.tick() => {
                let ping = Message::Ping(Bytes::new());
                if held_up.load(Ordering::Relaxed) && sink.send(ping).await.is_err() {
                    return End::ClientGone;
                }
                continue;
            }
        };
        let Ok(count @ 1..) = read else { return End::SupervisorGone };
        decoder.push(buffer.get(..count).unwrap_or_default());
        if let Some(end) = deliver(sink, &mut decoder, &mut frames).await {
            return end;
        }
    }
}

/// Carries input until the client is gone. A supervisor that is gone is noticed
/// where it is read from.
async fn input(source: &mut Source<'_>, writer: &mut OwnedWriteHalf, held_up: &AtomicBool) {
    while let Some(Ok(message)) = source.next().await {
        let frame = match message {
            Message::Binary(bytes) if bytes.is_empty() => {
                proto::encode(&ToSupervisor::InputEnd {}).ok()
            }
            Message::Text(text) => proto::encode_frame(FrameKind::Input, text.as_bytes()).ok(),
            Message::Binary(bytes) => proto::encode_frame(FrameKind::Input, &bytes).ok(),
            Message::Ping(_) | Message::Pong(_) => None,
            Message::Close(_) => return,
        };
        // A client's frame is at most as large as the supervisor's largest;
        // one that is refused all the same is no input.
        if let Some(frame) = frame {
            held_up.store(true, Ordering::Relaxed);
            drop(writer.write_all(&frame).await);
            held_up.store(false, Ordering::Relaxed);
        }
    }
}

async fn deliver(sink: &mut Sink<'_>, decoder: &mut Decoder, frames: &mut Frames) -> Option<End> {
    loop {
        let frame = match decoder.next_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) => return None,
            Err(err) => {
                tracing::error!(%err, "the supervisor talks nonsense");
                return Some(End::SupervisorGone);
            }
        };
        match frame {
            Frame { kind: FrameKind::Output, payload } => {
                if let Some(message) = frames.push(&payload)
                    && sink.send(message).await.is_err()
                {
                    return Some(End::ClientGone);
                }
            }
            Frame { kind: FrameKind::Control, payload } => {
                match proto::decode::<FromSupervisor>(&payload) {
                    Ok(FromSupervisor::ExecExited { code, last, .. }) => {
                        if let Some(message) = frames.end() {
                            // A client that is gone is past caring.
                            drop(sink.send(message).await);
                        }
                        return Some(End::Exited { code, last });
                    }
                    Ok(FromSupervisor::Lost { bytes }) => {
                        tracing::warn!(bytes, "a slow client lost output; see 'klee logs'");
                    }
                    Ok(_) | Err(_) => {}
                }
            }
            Frame { kind: FrameKind::Input | FrameKind::Unknown(_), .. } => {}
        }
    }
}
