//! A refusal as an HTTP answer.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kleene_model::api::ErrorResponse;
use kleene_model::{Operation, Refusal};

/// A refusal and the operation it belongs to: together they decide the status.
pub(super) struct Refused(pub(super) Operation, pub(super) Refusal);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(operation, refusal) = self;
        let (kind, code) = refusal.class();
        let status = StatusCode::from_u16(operation.status(kind));
        let body = ErrorResponse {
            message: refusal.to_string(),
            code: code.0.to_owned(),
            hints: refusal.hints(),
        };
        tracing::info!(code = code.0, message = body.message, "refused");
        (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(body)).into_response()
    }
}
