//! The HTTP API: bytes into [`kleene_engine::Command`]s, answers into bytes.
//! Nothing is decided here.

mod exec_socket;
mod logs;
mod output;
mod peer;
mod refused;
mod rest;
mod unsupported_socket;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::config::Config;
use crate::core::Core;
use crate::jobs::Attachments;

pub(crate) use peer::Peer;

/// What every request may use.
#[derive(Clone)]
pub(crate) struct App {
    /// The engine.
    pub(crate) core: Core,
    /// The configuration.
    pub(crate) config: Arc<Config>,
    /// The clients that wait for output.
    pub(crate) attachments: Attachments,
    /// The websockets that are open: a graceful end waits for them.
    pub(crate) sockets: TaskTracker,
    /// Set when the daemon ends.
    pub(crate) ending: CancellationToken,
}

/// Every route of the API.
pub(crate) fn router(app: App) -> Router {
    let routes: [(&str, MethodRouter<App>); 21] = [
        ("/containers/list", get(rest::container_list)),
        ("/containers/create", post(rest::container_create)),
        ("/containers/prune", post(rest::container_prune)),
        ("/containers/{id}", delete(rest::container_remove)),
        ("/containers/{id}/inspect", get(rest::container_inspect)),
        ("/containers/{id}/update", post(rest::container_update)),
        ("/containers/{id}/stop", post(rest::container_stop)),
        ("/containers/{id}/logs", get(logs::container_logs)),
        ("/exec/create", post(rest::exec_create)),
        ("/exec/start", get(exec_socket::exec_start)),
        ("/exec/{id}/stop", post(rest::exec_stop)),
        ("/exec/{id}/inspect", get(rest::exec_inspect)),
        ("/exec/{id}/resize", post(rest::exec_resize)),
        ("/images/list", get(rest::image_list)),
        ("/images/{id}/inspect", get(rest::image_inspect)),
        ("/images/build", get(unsupported_socket::image_build)),
        ("/images/create", get(unsupported_socket::image_create)),
        ("/networks/list", get(rest::network_list)),
        ("/networks/create", post(rest::network_create)),
        ("/networks/prune", post(rest::network_prune)),
        ("/networks/connect", post(rest::network_connect)),
    ];
    let more: [(&str, MethodRouter<App>); 6] = [
        ("/images/{id}", delete(rest::image_remove)),
        ("/images/{id}/tag", post(rest::image_tag)),
        ("/images/prune", post(rest::image_prune)),
        ("/networks/{id}", delete(rest::network_remove)),
        ("/networks/{id}/inspect", get(rest::network_inspect)),
        ("/networks/{id}/disconnect/{container}", post(rest::network_disconnect)),
    ];
    let mut router = Router::new();
    for (path, methods) in routes.into_iter().chain(more) {
        // 0.1.1 takes a trailing slash.
        router = router.route(path, methods.clone()).route(&format!("{path}/"), methods);
    }
    router
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
        .layer(DefaultBodyLimit::max(kleene_model::lenient::BODY_MAX))
        .layer(middleware::from_fn(guard))
        .with_state(app)
}

async fn not_found() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "not found")
}

/// Numbers, logs and guards every request. A request with an `Origin` comes
/// from a web page, and no web page may drive a container engine.
async fn guard(request: Request, next: Next) -> Response {
    static REQUESTS: AtomicU64 = AtomicU64::new(0);
    let number = REQUESTS.fetch_add(1, Ordering::Relaxed);
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|info| info.0.clone());
    let peer = peer.unwrap_or_default();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = tracing::info_span!("request", number, %method, path, %peer);
    async move {
        let response = if request.headers().contains_key(header::ORIGIN) {
            (StatusCode::FORBIDDEN, "requests from web pages are refused").into_response()
        } else {
            next.run(request).await
        };
        tracing::info!(status = response.status().as_u16(), "answered");
        response
    }
    .instrument(span)
    .await
}
