//! The store (PostgreSQL): one method call per SQL statement inside an explicit transaction.
//!
//! A statement is a type of [`statements`] with its answer type, so the races between statements
//! exist in a simulation exactly as in PostgreSQL.

pub mod rows;
pub mod statements;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use statements::{AnyStatement, Statement};

/// What can go wrong with the store.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum StoreError {
    /// The server cannot be reached or the session died; an open transaction is gone.
    #[error("the database cannot be reached: {0}")]
    Disconnected(String),
    /// The session died while a commit was under way: it may have happened.
    #[error("the outcome of the commit is unknown")]
    UnknownOutcome,
    /// SQLSTATE 40P01.
    #[error("deadlock detected (40P01)")]
    Deadlock,
    /// SQLSTATE 40001.
    #[error("serialisation failure (40001)")]
    Serialization,
    /// SQLSTATE 55P03 or 57014: a lock or statement timeout.
    #[error("timeout (57014)")]
    Timeout,
    /// SQLSTATE 53300.
    #[error(
        "too many connections (53300): raise max_connections of the server or the connection limit \
         of the role or database, or lower postgres.connections"
    )]
    TooManyConnections,
    /// SQLSTATE 25006, e.g. during a failover.
    #[error(
        "the database is read-only (25006): connect to the primary, or set \
         default_transaction_read_only to off"
    )]
    ReadOnly,
    /// SQLSTATE 23505.
    #[error("duplicate key in {0} (23505)")]
    UniqueViolation(String),
    /// Something that the implementation does not do.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// The database refuses for a cause that a person can remove: a wrong password, a schema that
    /// is too old, a full disk. The text names the cause and the cure.
    #[error("{0}")]
    Refused(String),
}

impl StoreError {
    /// Whether the same transaction may succeed when it is run again from its start.
    pub fn is_retriable(&self) -> bool {
        !matches!(self, StoreError::Unsupported(_))
    }

    /// Whether the cause goes away without anybody's doing.
    pub fn is_transient(&self) -> bool {
        !matches!(
            self,
            StoreError::Unsupported(_) | StoreError::Refused(_) | StoreError::UniqueViolation(_)
        )
    }
}

/// The store.
///
/// # Implementers must
/// - run transactions at READ COMMITTED with PostgreSQL's rules for snapshots, row locks,
///   re-checks after a wait, and unique conflicts;
/// - roll back a transaction that is dropped without a commit;
/// - acknowledge a commit only when it survives a crash of the server.
#[allow(async_fn_in_trait, reason = "instances are single-threaded; no future is sent")]
pub trait Store {
    /// An open transaction.
    type Transaction: Transaction;

    /// Begins a transaction.
    async fn begin(&self) -> Result<Self::Transaction, StoreError>;

    /// Runs one statement in a transaction of its own.
    async fn query<S: Statement>(&self, statement: S) -> Result<S::Output, StoreError>;
}

/// An open transaction.
#[allow(async_fn_in_trait, reason = "instances are single-threaded; no future is sent")]
pub trait Transaction {
    /// Runs one statement. After an error the transaction is over.
    async fn execute<S: Statement>(&mut self, statement: S) -> Result<S::Output, StoreError>;

    /// Commits.
    async fn commit(self) -> Result<(), StoreError>;

    /// Rolls back; errors do not matter, the transaction is gone either way.
    async fn rollback(self);
}
