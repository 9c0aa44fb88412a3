//! What a failure of the database means to the engine.
//!
//! Every text names the database, the cause and, where a person can do something, the cure. A
//! password is never part of it: neither the server nor sqlx repeats it, and no text is made of the
//! configuration's own.

use sqlx::postgres::{PgDatabaseError, PgSeverity};

use super::config::PostgresConfig;
use crate::ports::store::StoreError;

/// A failure, and whether the session outlives it.
#[derive(Debug)]
pub(super) enum Failure {
    /// The statement failed and its transaction with it; the session can be used again.
    Statement(StoreError),
    /// The session is gone, or nobody knows in which state it is.
    Session(StoreError),
}

impl Failure {
    /// The error, wherever it happened.
    pub(super) fn into_error(self) -> StoreError {
        match self {
            Failure::Statement(error) | Failure::Session(error) => error,
        }
    }
}

/// `host:port/database`, for texts.
pub(super) fn address(config: &PostgresConfig) -> String {
    format!("{}:{}/{}", config.host, config.port, config.database)
}

/// Judges an error of an open session.
pub(super) fn judge(error: &sqlx::Error, config: &PostgresConfig) -> Failure {
    match error {
        sqlx::Error::Database(inner) => {
            let inner = inner.downcast_ref::<PgDatabaseError>();
            let meaning = of_database(inner, config);
            match inner.severity() {
                PgSeverity::Fatal | PgSeverity::Panic => Failure::Session(meaning),
                // The session's prepared statements are gone or do not fit the tables any more; a
                // new session prepares them anew.
                _ if inner.code() == "26000" || inner.message().starts_with("cached plan") => {
                    let text = format!("{}: {}", address(config), inner.message());
                    Failure::Session(StoreError::Disconnected(text))
                }
                _ if inner.code() == "0A000" => Failure::Session(meaning),
                _ => Failure::Statement(meaning),
            }
        }
        sqlx::Error::Encode(_)
        | sqlx::Error::Decode(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::RowNotFound => Failure::Statement(StoreError::Refused(format!(
            "a value cannot be written to or read from {}: {error}",
            address(config)
        ))),
        other => {
            let text = format!("the session with {} broke: {other}", address(config));
            Failure::Session(StoreError::Disconnected(text))
        }
    }
}

/// Judges an error of an attempt to connect.
pub(super) fn of_connect(error: &sqlx::Error, config: &PostgresConfig) -> StoreError {
    match error {
        sqlx::Error::Database(inner) => of_database(inner.downcast_ref(), config),
        sqlx::Error::Tls(cause) => StoreError::Refused(unencrypted(&cause.to_string(), config)),
        // So a handshake ends that one of the two sides refuses.
        sqlx::Error::Io(cause) if cause.kind() == std::io::ErrorKind::InvalidData => {
            StoreError::Refused(unencrypted(&cause.to_string(), config))
        }
        other => {
            let text = format!("cannot connect to {}: {other}", address(config));
            StoreError::Disconnected(text)
        }
    }
}

/// Why there is no encrypted connection, and the cure.
fn unencrypted(cause: &str, config: &PostgresConfig) -> String {
    format!(
        "no encrypted connection to {}: {cause}; check `ssl_mode` and `ssl_root_cert` in \
         [postgres] and the server's certificate",
        address(config)
    )
}

fn of_database(error: &PgDatabaseError, config: &PostgresConfig) -> StoreError {
    match error.code() {
        "40P01" => StoreError::Deadlock,
        "40001" => StoreError::Serialization,
        "55P03" | "57014" => StoreError::Timeout,
        "53300" => StoreError::TooManyConnections,
        "25006" => StoreError::ReadOnly,
        "23505" => {
            let constraint = error.constraint().or(error.table()).unwrap_or("a table");
            StoreError::UniqueViolation(constraint.to_owned())
        }
        // Shutdowns, start-ups, timeouts of idle sessions, and what breaks a connection.
        code if code.starts_with("57P") || code.starts_with("08") || code == "25P03" => {
            let text = format!("{}: {} ({code})", address(config), error.message());
            StoreError::Disconnected(text)
        }
        code => StoreError::Refused(refusal(code, error, config)),
    }
}

/// Cause and cure of what a person has to look at.
fn refusal(code: &str, error: &PgDatabaseError, config: &PostgresConfig) -> String {
    let (at, message) = (address(config), error.message());
    let (role, schema) = (&config.user, &config.schema);
    match code {
        "28P01" | "28000" => format!(
            "{at} does not let role {role} in: {message} ({code}); set the right user and \
             password, or admit the role in pg_hba.conf"
        ),
        "3D000" => format!("{at}: {message} ({code}); create the database or name another one"),
        "3F000" | "42P01" | "42703" | "42883" | "42704" => format!(
            "schema {schema} of {at} is missing or of another version: {message} ({code}); run \
             `backdate migrate`"
        ),
        "42501" => {
            format!("{at}: {message} ({code}); grant role {role} what schema {schema} needs")
        }
        "53100" => format!("the disk of {at} is full: {message} ({code}); free some space"),
        "53200" => format!("{at} is out of memory: {message} ({code}); give the server more"),
        // A limit on the size of files has no code of its own.
        "XX000" if message.starts_with("could not extend file") => {
            format!("the disk of {at} is full: {message} ({code}); free some space")
        }
        code if code.starts_with("58") => {
            format!("{at} cannot use its files: {message} ({code}); look into the server's log")
        }
        code => format!("{at} refuses: {message} ({code})"),
    }
}
