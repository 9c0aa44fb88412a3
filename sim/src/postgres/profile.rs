//! What the simulated server costs and allows, as numbers of a profile file.

use serde::{Deserialize, Serialize};

/// Costs and limits of the database server.
///
/// The defaults are those of a PostgreSQL 15 on two cores with a disk that syncs in 0.16 ms: a
/// short statement takes some 60 us of a worker, a row 2 us (320,000 to 450,000 rows a second by
/// COPY on two connections), a commit 200 us.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// Service time of a statement without its rows.
    pub statement_base_us: f64,
    /// Service time per row that is written or returned.
    pub row_us: f64,
    /// Service time of a commit that has written something.
    pub commit_us: f64,
    /// Statements that are served at the same time.
    pub workers: usize,
    /// Sessions; one more is refused with 53300.
    pub max_connections: usize,
    /// When a waiting session looks for a deadlock.
    pub deadlock_timeout_ms: u64,
    /// Longest wait for one lock; 0: no limit.
    pub lock_timeout_ms: u64,
    /// Longest statement; 0: no limit.
    pub statement_timeout_ms: u64,
    /// Longest wait for a client with an open transaction, after which the session ends and what it
    /// holds is free; 0: no limit. A client that was cut off would hold it for ever.
    pub idle_in_transaction_session_timeout_ms: u64,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            statement_base_us: 60.0,
            row_us: 2.0,
            commit_us: 200.0,
            workers: 8,
            max_connections: 100,
            deadlock_timeout_ms: 1_000,
            lock_timeout_ms: 0,
            statement_timeout_ms: 0,
            idle_in_transaction_session_timeout_ms: 10_000,
        }
    }
}
