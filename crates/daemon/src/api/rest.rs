//! The operations that are one request and one answer.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use kleene_engine::passage::Explained;
use kleene_engine::{Command, DEFAULT_GRACE_MS, Outcome, view};
use kleene_model::api::{ContainerConfig, Explanation, IdResponse, MountPointConfig, MountType};
use kleene_model::{Operation, Refusal, lenient};
use serde::Serialize;

use super::App;
use super::extract::{Body, Path, Query};
use super::refused::Refused;
use crate::system;

pub(super) type Answer = Result<Response, Refused>;
pub(super) type Fields = HashMap<String, String>;

/// Longest grace of a stop, in seconds: a day.
const GRACE_MAX: u64 = 86_400;

/// Ties refusals to their operation.
pub(super) fn of<T>(operation: Operation) -> impl Fn(Result<T, Refusal>) -> Result<T, Refused> {
    move |result| result.map_err(|refusal| Refused(operation, refusal))
}

/// Runs a command and answers as the document says.
pub(super) async fn run(
    app: &App,
    operation: Operation,
    done: StatusCode,
    command: Command,
) -> Answer {
    let outcome = of(operation)(app.core.command(command).await)?;
    Ok(match outcome {
        Outcome::Id(id) => (done, Json(IdResponse { id })).into_response(),
        Outcome::Ids(ids) => (done, Json(ids)).into_response(),
        Outcome::Explained(explained) => {
            (done, Json(of(operation)(with_firewalls(app, explained).await)?)).into_response()
        }
        // 0.1.1 sends the content type on empty answers too.
        Outcome::Done => (done, [(header::CONTENT_TYPE, "application/json")]).into_response(),
        Outcome::Passings(_) | Outcome::Forgotten(_) => unreachable!("no request asks for them"),
    })
}

/// What the policy says of flows, and what the firewalls of others make of them.
pub(super) async fn with_firewalls(
    app: &App,
    explained: Vec<Explained>,
) -> Result<Vec<Explanation>, Refusal> {
    let instance = app.config.instance.clone();
    // As long as the firewalls of others are big.
    let asked = move || system::explained(&instance, explained);
    tokio::task::spawn_blocking(asked)
        .await
        .map_err(|err| Refusal::Host { what: format!("cannot ask the firewalls of others: {err}") })
}

pub(super) fn show<T: Serialize>(operation: Operation, view: Result<T, Refusal>) -> Answer {
    Ok(Json(of(operation)(view)?).into_response())
}

/// A boolean of a query.
pub(super) fn flag(fields: &Fields, name: &str) -> Result<Option<bool>, Refusal> {
    let parsed = fields.get(name).map(|text| lenient::parse_boolean(text)).transpose();
    parsed.map_err(|why| Refusal::InvalidRequest { why: format!("{name}: {why}") })
}

pub(super) fn required_flag(fields: &Fields, name: &str) -> Result<bool, Refusal> {
    let missing = || Refusal::InvalidRequest { why: format!("Missing field: {name}") };
    flag(fields, name)?.ok_or_else(missing)
}

pub(super) fn required_field<'a>(fields: &'a Fields, name: &str) -> Result<&'a str, Refusal> {
    let missing = || Refusal::InvalidRequest { why: format!("Missing field: {name}") };
    fields.get(name).map(String::as_str).ok_or_else(missing)
}

// --- containers ---

pub(super) async fn container_list(State(app): State<App>, Query(fields): Query<Fields>) -> Answer {
    let operation = Operation::ContainerList;
    let all = of(operation)(flag(&fields, "all"))?.unwrap_or(false);
    show(operation, Ok(view::container_list(&app.core.snapshot(), all)))
}

pub(super) async fn container_create(State(app): State<App>, Body(body): Body) -> Answer {
    let operation = Operation::ContainerCreate;
    let config: ContainerConfig = of(operation)(lenient::body(&body))?;
    let mounts = config.mounts.clone().unwrap_or_default();
    of(operation)(check_sources(mounts).await)?;
    run(&app, operation, StatusCode::CREATED, Command::ContainerCreate(config)).await
}

/// Looks at the sources of mounts before anything is made: the engine itself
/// touches no file. They are looked at again at every start.
async fn check_sources(mounts: Vec<MountPointConfig>) -> Result<(), Refusal> {
    let look = move || {
        for mount in mounts.iter().filter(|mount| mount.kind == MountType::Nullfs) {
            system::check_mount(mount).map_err(|err| Refusal::InvalidMount {
                mount: format!("{}:{}", mount.source, mount.destination),
                why: err.to_string(),
            })?;
        }
        Ok(())
    };
    let looked = tokio::task::spawn_blocking(look).await;
    looked.map_err(|err| Refusal::Host { what: format!("cannot look at the mounts: {err}") })?
}

pub(super) async fn container_prune(State(app): State<App>) -> Answer {
    run(&app, Operation::ContainerPrune, StatusCode::OK, Command::ContainerPrune).await
}

pub(super) async fn container_remove(
    State(app): State<App>,
    Path(container): Path<String>,
) -> Answer {
    let command = Command::ContainerRemove { container };
    run(&app, Operation::ContainerRemove, StatusCode::OK, command).await
}

pub(super) async fn container_inspect(
    State(app): State<App>,
    Path(container): Path<String>,
) -> Answer {
    show(Operation::ContainerInspect, view::container_inspect(&app.core.snapshot(), &container))
}

pub(super) async fn container_update(
    State(app): State<App>,
    Path(container): Path<String>,
    Body(body): Body,
) -> Answer {
    let operation = Operation::ContainerUpdate;
    let config = Box::new(of(operation)(lenient::body(&body))?);
    let command = Command::ContainerUpdate { container, config };
    run(&app, operation, StatusCode::CREATED, command).await
}

pub(super) async fn container_stop(
    State(app): State<App>,
    Path(container): Path<String>,
    Query(fields): Query<Fields>,
) -> Answer {
    let operation = Operation::ContainerStop;
    let grace_ms = of(operation)(grace(&fields))?;
    let command = Command::ContainerStop { container, grace_ms };
    run(&app, operation, StatusCode::OK, command).await
}

/// The grace of a stop in milliseconds: `timeout` is in seconds.
fn grace(fields: &Fields) -> Result<u64, Refusal> {
    let Some(text) = fields.get("timeout") else { return Ok(DEFAULT_GRACE_MS) };
    let seconds = text.parse::<u64>().ok().filter(|seconds| *seconds <= GRACE_MAX);
    let invalid = || Refusal::InvalidRequest {
        why: format!("timeout: '{text}' is no number of seconds from 0 to {GRACE_MAX}"),
    };
    seconds.map(|seconds| seconds * 1_000).ok_or_else(invalid)
}

// --- executions ---

pub(super) async fn exec_create(State(app): State<App>, Body(body): Body) -> Answer {
    let operation = Operation::ExecCreate;
    let config = of(operation)(lenient::body(&body))?;
    run(&app, operation, StatusCode::CREATED, Command::ExecCreate(config)).await
}

pub(super) async fn exec_stop(
    State(app): State<App>,
    Path(exec): Path<String>,
    Query(fields): Query<Fields>,
) -> Answer {
    let operation = Operation::ExecStop;
    let force = of(operation)(required_flag(&fields, "force_stop"))?;
    let container = of(operation)(required_flag(&fields, "stop_container"))?;
    run(&app, operation, StatusCode::OK, Command::ExecStop { exec, force, container }).await
}

pub(super) async fn exec_inspect(State(app): State<App>, Path(exec): Path<String>) -> Answer {
    show(Operation::ExecInspect, view::exec_inspect(&app.core.snapshot(), &exec))
}

pub(super) async fn exec_resize(
    State(app): State<App>,
    Path(exec): Path<String>,
    Body(body): Body,
) -> Answer {
    let operation = Operation::ExecResize;
    let window = of(operation)(lenient::body(&body))?;
    run(&app, operation, StatusCode::NO_CONTENT, Command::ExecResize { exec, window }).await
}

// --- networks ---

pub(super) async fn network_list(State(app): State<App>) -> Answer {
    show(Operation::NetworkList, Ok(view::network_list(&app.core.snapshot())))
}

pub(super) async fn network_create(State(app): State<App>, Body(body): Body) -> Answer {
    let operation = Operation::NetworkCreate;
    let config = of(operation)(lenient::body(&body))?;
    run(&app, operation, StatusCode::CREATED, Command::NetworkCreate(config)).await
}

pub(super) async fn network_prune(State(app): State<App>) -> Answer {
    run(&app, Operation::NetworkPrune, StatusCode::OK, Command::NetworkPrune).await
}

pub(super) async fn network_remove(State(app): State<App>, Path(network): Path<String>) -> Answer {
    let command = Command::NetworkRemove { network };
    run(&app, Operation::NetworkRemove, StatusCode::OK, command).await
}

pub(super) async fn network_connect(State(app): State<App>, Body(body): Body) -> Answer {
    let operation = Operation::NetworkConnect;
    let config = of(operation)(lenient::body(&body))?;
    run(&app, operation, StatusCode::NO_CONTENT, Command::NetworkConnect(config)).await
}

pub(super) async fn network_disconnect(
    State(app): State<App>,
    Path((network, container)): Path<(String, String)>,
) -> Answer {
    let command = Command::NetworkDisconnect { network, container };
    run(&app, Operation::NetworkDisconnect, StatusCode::NO_CONTENT, command).await
}

pub(super) async fn container_publish(
    State(app): State<App>,
    Path(container): Path<String>,
    Body(body): Body,
) -> Answer {
    let operation = Operation::ContainerPublish;
    let config = Box::new(of(operation)(lenient::body(&body))?);
    let command = Command::ContainerPublish { container, config };
    run(&app, operation, StatusCode::NO_CONTENT, command).await
}

pub(super) async fn container_unpublish(
    State(app): State<App>,
    Path(container): Path<String>,
    Body(body): Body,
) -> Answer {
    let operation = Operation::ContainerUnpublish;
    let config = Box::new(of(operation)(lenient::body(&body))?);
    let command = Command::ContainerUnpublish { container, config };
    run(&app, operation, StatusCode::NO_CONTENT, command).await
}

pub(super) async fn network_explain(State(app): State<App>, Body(body): Body) -> Answer {
    let operation = Operation::NetworkExplain;
    let config = of(operation)(lenient::body(&body))?;
    run(&app, operation, StatusCode::OK, Command::NetworkExplain(config)).await
}

pub(super) async fn network_link(
    State(app): State<App>,
    Path((network, interface)): Path<(String, String)>,
    Query(fields): Query<Fields>,
) -> Answer {
    let operation = Operation::NetworkLink;
    let force = of(operation)(flag(&fields, "force"))?.unwrap_or(false);
    let command = Command::NetworkLink { network, interface, force };
    run(&app, operation, StatusCode::NO_CONTENT, command).await
}

pub(super) async fn network_unlink(
    State(app): State<App>,
    Path((network, interface)): Path<(String, String)>,
) -> Answer {
    let command = Command::NetworkUnlink { network, interface };
    run(&app, Operation::NetworkUnlink, StatusCode::NO_CONTENT, command).await
}
