//! The parts of a request. What cannot be read is refused as everything else
//! is: as JSON, and with a status that the document declares for the operation.
//! The router tells each request its [`Operation`].

use axum::body::Bytes;
use axum::extract::{self, FromRequest, FromRequestParts, Request};
use axum::http::Extensions;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use kleene_model::{Operation, Refusal, lenient};
use serde::de::DeserializeOwned;

use super::NOT_FOUND;
use super::refused::Refused;

/// A whole body.
pub(super) struct Body(pub(super) Bytes);

/// The parts of a path.
pub(super) struct Path<T>(pub(super) T);

/// A query.
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let operation = operation(request.extensions());
        Bytes::from_request(request, state).await.map(Self).map_err(|rejection| {
            let why = match rejection.status().as_u16() {
                413 => format!("the body is larger than {} bytes", lenient::BODY_MAX),
                _ => rejection.body_text(),
            };
            refuse(operation, why)
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let read = extract::Path::from_request_parts(parts, state).await;
        read.map(|extract::Path(read)| Self(read))
            .map_err(|rejection| refuse(operation(&parts.extensions), rejection.body_text()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let read = extract::Query::from_request_parts(parts, state).await;
        read.map(|extract::Query(read)| Self(read))
            .map_err(|rejection| refuse(operation(&parts.extensions), rejection.body_text()))
    }
}

fn operation(extensions: &Extensions) -> Option<Operation> {
    extensions.get().copied()
}

fn refuse(operation: Option<Operation>, why: String) -> Response {
    match operation {
        Some(operation) => Refused(operation, Refusal::InvalidRequest { why }).into_response(),
        // Only what has an operation reads parts.
        None => NOT_FOUND.into_response(),
    }
}
