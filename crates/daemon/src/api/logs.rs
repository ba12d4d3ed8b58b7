//! `GET /containers/{id}/logs`: what a container has written, as it was
//! written.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use kleene_engine::view;
use kleene_model::{ContainerId, Operation, Refusal, RunState};
use kleene_supervise::log::{Cursor, OwnedEntry, Reader};
use tokio::sync::mpsc;

use super::App;
use super::extract::{Path, Query};
use super::refused::Refused;
use super::rest::{Fields, flag};

/// How often a followed log is looked at.
const FOLLOW_EVERY: Duration = Duration::from_millis(100);

/// How much is read at once, in bytes.
const CHUNK: usize = 256 << 10;

/// How a log is shown.
#[derive(Debug, Clone, Copy)]
struct Options {
    follow: bool,
    timestamps: bool,
    tail: Option<usize>,
}

pub(super) async fn container_logs(
    State(app): State<App>,
    Path(container): Path<String>,
    Query(fields): Query<Fields>,
) -> Result<Response, Refused> {
    let refuse = |refusal| Refused(Operation::ContainerLogs, refusal);
    let options = options(&fields).map_err(refuse)?;
    let found = view::container_inspect(&app.core.snapshot(), &container).map_err(refuse)?;
    let id =
        ContainerId::parse(&found.container.id).map_err(|_| refuse(Refusal::ContainerNotFound))?;
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        if let Err(err) = send(&app, id, options, &sender).await {
            tracing::warn!(container = %id, %err, "cannot read the log");
        }
    });
    let body = Body::from_stream(Chunks(receiver));
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response())
}

fn options(fields: &Fields) -> Result<Options, Refusal> {
    let tail = match fields.get("tail").map(String::as_str) {
        None | Some("all" | "") => None,
        Some(text) => Some(text.parse().map_err(|_| Refusal::InvalidRequest {
            why: format!("tail: '{text}' is no number of lines"),
        })?),
    };
    Ok(Options {
        follow: flag(fields, "follow")?.unwrap_or(false),
        timestamps: flag(fields, "timestamps")?.unwrap_or(false),
        tail,
    })
}

async fn send(
    app: &App,
    id: ContainerId,
    options: Options,
    sender: &mpsc::Sender<Bytes>,
) -> std::io::Result<()> {
    let dir = app.config.log_dir(id);
    let bytes = |entries: Vec<OwnedEntry>| -> Bytes {
        entries.iter().flat_map(|entry| render(entry, options.timestamps)).collect()
    };
    // What is written from now on belongs to those who follow: a container that
    // never pauses must not keep the others here.
    let end = in_log(&dir, |log| log.end()).await?;
    let mut cursor = match options.tail {
        Some(lines) => in_log(&dir, move |log| log.tail(end, lines)).await?,
        None => Cursor::default(),
    };
    loop {
        // Looked at before reading: what a container wrote before it ended is
        // in the file by the time the state says so.
        let over = app.core.snapshot().container(id).is_none_or(|c| c.run == RunState::Stopped);
        let (read, next) = in_log(&dir, move |log| {
            let read = match options.follow {
                true => log.read(&mut cursor, CHUNK)?,
                false => log.read_before(&mut cursor, end, CHUNK)?,
            };
            Ok((read, cursor))
        })
        .await?;
        cursor = next;
        if !read.is_empty() {
            if sender.send(bytes(read)).await.is_err() {
                return Ok(());
            }
        } else if !options.follow || over {
            return Ok(());
        } else {
            tokio::select! {
                () = tokio::time::sleep(FOLLOW_EVERY) => {}
                () = sender.closed() => return Ok(()),
                () = app.ending.cancelled() => return Ok(()),
            }
        }
    }
}

/// Asks a log, which may take as long as the disk does.
async fn in_log<T: Send + 'static>(
    dir: &std::path::Path,
    ask: impl FnOnce(&Reader) -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    let log = Reader::new(dir.to_owned());
    tokio::task::spawn_blocking(move || ask(&log)).await.map_err(std::io::Error::other)?
}

fn render(entry: &OwnedEntry, timestamps: bool) -> Vec<u8> {
    let mut line = Vec::with_capacity(entry.data.len() + 32);
    if timestamps {
        line.extend_from_slice(entry.time.as_bytes());
        line.push(b' ');
    }
    line.extend_from_slice(&entry.data);
    if entry.full {
        line.push(b'\n');
    }
    line
}

/// A channel as a body.
struct Chunks(mpsc::Receiver<Bytes>);

impl futures_core::Stream for Chunks {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(Ok))
    }
}
