//! What travels between client and server, one postcard-encoded value per frame.
//!
//! An answer is a `Result` of the statement's output or the error; after an error the transaction
//! is over. A transaction begins with its first statement.

use backdate_engine::ports::store::AnyStatement;
use serde::{Deserialize, Serialize};

/// Port of the server.
pub(super) const PORT: u16 = 5432;

/// What a client asks for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Runs a statement.
    Execute {
        /// The statement.
        statement: AnyStatement,
        /// Whether it is a transaction of its own.
        autocommit: bool,
    },
    /// Commits what is open.
    Commit,
    /// Rolls back what is open.
    Rollback,
}
