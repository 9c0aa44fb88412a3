//! The integration tests, as one binary, so that the workspace is linked once.
//!
//! What is tested here is what no crate can test alone: the repository itself ([`tidy`]) and the
//! binary on folders of inputs ([`feed_cases`], [`feed_model`]), in sweeps ([`sweep`]) and on
//! scenarios that break rules on purpose ([`negative`]) or by a planted defect ([`defects`]), twice
//! under one seed ([`determinism`]), and
//! what needs a real Kafka and a real PostgreSQL ([`services`]), such as serving ([`serve`]), runs
//! ([`real_runs`]) and their equality with simulated ones ([`parity`]). [`shrink`] makes failures
//! smaller, [`telemetry`] has others' tools read what a run has saved.

mod contract;
mod defects;
mod determinism;
mod feed_cases;
mod feed_model;
mod fuzz;
mod kafka_adapter;
mod negative;
mod parity;
mod postgres_adapter;
mod real_runs;
mod schema;
mod serve;
#[allow(dead_code, reason = "servers that a test breaks come with such tests")]
mod services;
mod shrink;
mod support;
mod sweep;
mod synthetic;
mod telemetry;
mod tidy;
