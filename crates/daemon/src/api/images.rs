//! The operations of images that are one request and one answer.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use kleene_engine::{Command, view};
use kleene_model::api::IdResponse;
use kleene_model::{Operation, Refusal};

use super::App;
use super::extract::{Path, Query};
use super::rest::{Answer, Fields, of, required_field, required_flag, run, show};
use crate::jobs::Forgotten;

const OPERATION: Operation = Operation::Image;

pub(super) async fn image_list(State(app): State<App>) -> Answer {
    show(OPERATION, Ok(view::image_list(&app.core.snapshot())))
}

pub(super) async fn image_inspect(State(app): State<App>, Path(image): Path<String>) -> Answer {
    show(OPERATION, view::image_inspect(&app.core.snapshot(), &image))
}

pub(super) async fn image_tag(
    State(app): State<App>,
    Path(image): Path<String>,
    Query(fields): Query<Fields>,
) -> Answer {
    let nametag = of(OPERATION)(required_field(&fields, "nametag"))?.to_owned();
    run(&app, OPERATION, StatusCode::OK, Command::ImageTag { image, nametag }).await
}

/// Answers the id as it was given, as 0.1.1 does.
pub(super) async fn image_remove(State(app): State<App>, Path(image): Path<String>) -> Answer {
    let id = image.clone();
    let Forgotten { kept, .. } = forget(&app, Command::ImageRemove { image }).await?;
    match kept {
        None => Ok((StatusCode::OK, Json(IdResponse { id })).into_response()),
        Some(why) => of(OPERATION)(Err(why)),
    }
}

/// Answers the ids of those that went; one that could not go is in the log.
pub(super) async fn image_prune(State(app): State<App>, Query(fields): Query<Fields>) -> Answer {
    let all = of(OPERATION)(required_flag(&fields, "all"))?;
    let Forgotten { gone, .. } = forget(&app, Command::ImagePrune { all }).await?;
    let ids: Vec<String> = gone.iter().map(ToString::to_string).collect();
    Ok((StatusCode::OK, Json(ids)).into_response())
}

/// By a task of its own: a client that goes meanwhile leaves nothing half done.
async fn forget(app: &App, command: Command) -> Result<Forgotten, super::refused::Refused> {
    let (images, core, config) = (app.images.clone(), app.core.clone(), app.config.clone());
    let task = tokio::spawn(async move { images.forget(&core, &config, command).await });
    let ended = task.await.map_err(|err| Refusal::Host { what: format!("it ended: {err}") });
    of(OPERATION)(ended.and_then(|forgotten| forgotten))
}
