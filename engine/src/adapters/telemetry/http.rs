//! The HTTP server of a process: `/metrics`, `/healthz`, `/readyz`.
//!
//! It answers from memory, so a database that does not answer never makes it slow. It refuses
//! everything but these three.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use serde::Serialize;
use tokio::net::TcpListener;

use super::health::{Health, Reason};
use super::metrics::Metrics;

const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const JSON: &str = "application/json";

/// Serves until the future is dropped.
///
/// # Errors
/// Those of the socket.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    health: Health,
) -> Result<(), std::io::Error> {
    let router = Router::new()
        .route("/metrics", get(expose).with_state(metrics))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(readiness).with_state(health));
    axum::serve(listener, router).await
}

async fn expose(State(metrics): State<Metrics>) -> impl IntoResponse {
    ([(CONTENT_TYPE, TEXT)], metrics.expose())
}

/// The body of `/readyz`.
#[derive(Serialize)]
struct Readiness {
    ready: bool,
    reasons: Vec<Reason>,
}

async fn readiness(State(health): State<Health>) -> impl IntoResponse {
    let reasons = health.reasons();
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::to_string(&Readiness { ready, reasons });
    (status, [(CONTENT_TYPE, JSON)], body.expect("texts by name can be written"))
}
