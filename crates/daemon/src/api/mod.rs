//! The HTTP API: bytes into [`kleene_engine::Command`]s, answers into bytes.
//! Nothing is decided here.

mod exec_socket;
mod extract;
mod image_socket;
mod images;
mod logs;
mod output;
mod peer;
mod refused;
mod rest;
mod socket;
mod stats;
mod trial;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{ConnectInfo, DefaultBodyLimit, Request};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use axum::{Extension, Router};
use kleene_model::Operation;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::config::Config;
use crate::core::Core;
use crate::jobs::{Attachments, Images};
use crate::system::{Firewalls, Reader, Stacks};

pub(crate) use peer::Peer;

/// What every request may use.
#[derive(Clone)]
pub(crate) struct App {
    /// The engine.
    pub(crate) core: Core,
    /// The configuration.
    pub(crate) config: Arc<Config>,
    /// The network stacks of containers.
    pub(crate) stacks: Stacks,
    /// The clients that wait for output.
    pub(crate) attachments: Attachments,
    /// What is known of the firewalls of others.
    pub(crate) firewalls: Firewalls,
    /// The websockets that are open: a graceful end waits for them.
    pub(crate) sockets: TaskTracker,
    /// The images that are being made.
    pub(crate) images: Images,
    /// The way to what the policy has counted.
    pub(crate) reader: Reader,
    /// Why blocked packets cannot be told of, if they cannot.
    pub(crate) deaf: Option<Arc<str>>,
    /// Set when the daemon ends.
    pub(crate) ending: CancellationToken,
}

/// The routes that are one request and one answer, and whose they are.
fn operations() -> [(&'static str, Operation, MethodRouter<App>); 33] {
    use Operation as Op;
    [
        ("/containers/list", Op::ContainerList, get(rest::container_list)),
        ("/containers/create", Op::ContainerCreate, post(rest::container_create)),
        ("/containers/prune", Op::ContainerPrune, post(rest::container_prune)),
        ("/containers/{id}", Op::ContainerRemove, delete(rest::container_remove)),
        ("/containers/{id}/inspect", Op::ContainerInspect, get(rest::container_inspect)),
        ("/containers/{id}/update", Op::ContainerUpdate, post(rest::container_update)),
        ("/containers/{id}/publish", Op::ContainerPublish, post(rest::container_publish)),
        ("/containers/{id}/unpublish", Op::ContainerUnpublish, post(rest::container_unpublish)),
        ("/containers/{id}/stop", Op::ContainerStop, post(rest::container_stop)),
        ("/containers/{id}/logs", Op::ContainerLogs, get(logs::container_logs)),
        ("/exec/create", Op::ExecCreate, post(rest::exec_create)),
        ("/exec/{id}/stop", Op::ExecStop, post(rest::exec_stop)),
        ("/exec/{id}/inspect", Op::ExecInspect, get(rest::exec_inspect)),
        ("/exec/{id}/resize", Op::ExecResize, post(rest::exec_resize)),
        ("/images/list", Op::Image, get(images::image_list)),
        ("/images/{id}/inspect", Op::Image, get(images::image_inspect)),
        ("/images/{id}", Op::Image, delete(images::image_remove)),
        ("/images/{id}/tag", Op::Image, post(images::image_tag)),
        ("/images/prune", Op::Image, post(images::image_prune)),
        ("/networks/list", Op::NetworkList, get(rest::network_list)),
        ("/networks/create", Op::NetworkCreate, post(rest::network_create)),
        ("/networks/prune", Op::NetworkPrune, post(rest::network_prune)),
        ("/networks/connect", Op::NetworkConnect, post(rest::network_connect)),
        ("/networks/explain", Op::NetworkExplain, post(rest::network_explain)),
        ("/networks/test", Op::NetworkTest, post(trial::network_test)),
        ("/networks/{id}", Op::NetworkRemove, delete(rest::network_remove)),
        ("/networks/{id}/inspect", Op::NetworkInspect, get(stats::network_inspect)),
        ("/networks/stats", Op::NetworkStats, get(stats::all_stats)),
        ("/networks/{id}/stats", Op::NetworkStats, get(stats::network_stats)),
        ("/networks/log_drops", Op::LogDrops, get(stats::log_drops).post(stats::set_log_drops)),
        (
            "/networks/{id}/disconnect/{container}",
            Op::NetworkDisconnect,
            post(rest::network_disconnect),
        ),
        ("/networks/{id}/link/{interface}", Op::NetworkLink, post(rest::network_link)),
        ("/networks/{id}/unlink/{interface}", Op::NetworkUnlink, post(rest::network_unlink)),
    ]
}

/// What is measured, and nothing else: who reads it may do nothing.
pub(crate) fn metrics_router(app: App) -> Router {
    metrics_route(Router::new())
        .fallback(not_found)
        .layer(middleware::from_fn(guard))
        .with_state(app)
}

fn metrics_route(router: Router<App>) -> Router<App> {
    router.route("/metrics", get(stats::metrics))
}

/// Every route of the API.
pub(crate) fn router(app: App) -> Router {
    let sockets: [(&str, MethodRouter<App>); 3] = [
        ("/exec/start", get(exec_socket::exec_start)),
        ("/images/build", get(image_socket::image_build)),
        ("/images/create", get(image_socket::image_create)),
    ];
    let operations = operations().into_iter();
    // Told to whatever reads a part of the request, for its refusals.
    let told = operations.map(|(path, op, methods)| (path, methods.route_layer(Extension(op))));
    let mut router = Router::new();
    for (path, methods) in told.chain(sockets) {
        // 0.1.1 takes a trailing slash.
        router = router.route(path, methods.clone()).route(&format!("{path}/"), methods);
    }
    metrics_route(router)
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
        .layer(DefaultBodyLimit::max(kleene_model::lenient::BODY_MAX))
        .layer(middleware::from_fn(guard))
        .with_state(app)
}

const NOT_FOUND: (StatusCode, &str) = (StatusCode::NOT_FOUND, "not found");

async fn not_found() -> (StatusCode, &'static str) {
    NOT_FOUND
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
