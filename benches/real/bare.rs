//! What the API is measured against: a bare route of axum with one indexed query.
//!
//! It runs on a thread of its own, as an instance of the engine does, and has as many sessions. It
//! reads the rows of the one table that names all positions of a portfolio, and says them as JSON;
//! it judges nobody, logs nothing, tags nothing, and joins no history and no value.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use backdate_engine::adapters::postgres::config::PostgresConfig;
use serde::Serialize;
use sqlx::postgres::{PgPool, PgPoolOptions, PgRow};
use sqlx::{Error, Row as _};

use super::copy::options;

const QUERY: &str = "SELECT security_id, epoch, revision, watermark_date::text, \
     valued_through::text, status, served_epoch, input_version, base_currency, \
     cost_basis_method, quantity::text, cost_basis::text, cost_basis_local::text, \
     updated_at::text FROM position_state WHERE portfolio_id = $1 ORDER BY security_id";

#[derive(Serialize)]
struct Position {
    security_id: String,
    epoch: i32,
    revision: i64,
    watermark_date: String,
    valued_through: Option<String>,
    status: String,
    served_epoch: i32,
    input_version: i64,
    base_currency: Option<String>,
    cost_basis_method: Option<String>,
    quantity: String,
    cost_basis: String,
    cost_basis_local: String,
    updated_at: String,
}

impl Position {
    fn read(row: &PgRow) -> Result<Self, Error> {
        Ok(Self {
            security_id: row.try_get(0)?,
            epoch: row.try_get(1)?,
            revision: row.try_get(2)?,
            watermark_date: row.try_get(3)?,
            valued_through: row.try_get(4)?,
            status: row.try_get(5)?,
            served_epoch: row.try_get(6)?,
            input_version: row.try_get(7)?,
            base_currency: row.try_get(8)?,
            cost_basis_method: row.try_get(9)?,
            quantity: row.try_get(10)?,
            cost_basis: row.try_get(11)?,
            cost_basis_local: row.try_get(12)?,
            updated_at: row.try_get(13)?,
        })
    }
}

/// Serves until the benchmark ends; where.
#[expect(clippy::disallowed_methods, reason = "it has a thread as an instance of the engine has")]
pub(super) fn serve(config: &PostgresConfig) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.set_nonblocking(true).expect("a socket can be set");
    let address = listener.local_addr().expect("it is bound");
    let config = config.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("the machine gives a runtime").block_on(run(listener, config));
    });
    address
}

async fn run(listener: TcpListener, config: PostgresConfig) {
    let pool = PgPoolOptions::new()
        .min_connections(config.connections)
        .max_connections(config.connections)
        // One round trip a request, not two.
        .test_before_acquire(false)
        .connect_with(options(&config))
        .await
        .expect("the database is there");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a socket can be set");
    let listener = listener.tap_io(|stream| stream.set_nodelay(true).expect("a socket can be set"));
    let router = Router::new().route("/portfolios/{portfolio_id}/positions", get(positions));
    axum::serve(listener, router.with_state(pool)).await.expect("it listens until the end");
}

async fn positions(
    State(pool): State<PgPool>,
    Path(portfolio): Path<String>,
) -> ([(HeaderName, &'static str); 1], Vec<u8>) {
    let rows = sqlx::query(QUERY).bind(portfolio).fetch_all(&pool).await;
    let rows = rows.expect("the database is there");
    let positions: Result<Vec<Position>, Error> = rows.iter().map(Position::read).collect();
    let positions = positions.expect("the columns are those of the query");
    let body = serde_json::to_vec(&positions).expect("rows by name can be written");
    ([(CONTENT_TYPE, "application/json")], body)
}
