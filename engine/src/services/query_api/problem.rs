//! What can be wrong with a request, or with the answer to it: a fixed code each, as JSON
//! (RFC 9457).

use axum::http::StatusCode;
use serde::Serialize;
use thiserror::Error;

use crate::domain::ids::TransactionId;
use crate::ports::log::LogError;
use crate::ports::store::StoreError;

/// Why a request is not answered as it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Problem {
    /// A parameter's value is none that it can have.
    #[error("{name} {reason}")]
    InvalidParameter {
        /// Its name.
        name: &'static str,
        /// What it must be.
        reason: &'static str,
    },
    /// The route has no such parameter.
    #[error("there is no parameter {0:?}")]
    UnknownParameter(String),
    /// Nobody has said who asks.
    #[error("a bearer token is needed")]
    Unauthorized,
    /// The body is not of a type that is read.
    #[error("the content must be application/json or, where it is a table, text/csv")]
    UnsupportedMedia,
    /// The body cannot be read.
    #[error("the body {0}")]
    MalformedBody(&'static str),
    /// The body has too many bytes.
    #[error("the body is larger than 8 MiB")]
    BodyTooLarge,
    /// The body has too many rows.
    #[error("the body has too many rows: at most 10000 records or 1000 transaction ids")]
    TooManyRows,
    /// The body takes too long to come.
    #[error("the body did not come in time")]
    BodyOverdue,
    /// Rows that cannot be accepted; nothing of the body was.
    #[error("{} rows cannot be accepted; nothing was", .0.len())]
    InvalidRows(Vec<RowError>),
    /// Transactions that are not stored; nothing was done about the others either.
    #[error("{} transactions are not known; nothing was done", .0.len())]
    UnknownTransactions(Vec<TransactionId>),
    /// Who asks may not.
    #[error("this token may not do that")]
    Forbidden,
    /// There is no such portfolio.
    #[error("there is no portfolio {0:?}")]
    UnknownPortfolio(String),
    /// There is no such key.
    #[error("portfolio {0:?} has never had security {1:?}")]
    UnknownPosition(String, String),
    /// There is no such route.
    #[error("there is no such path")]
    NoRoute,
    /// The path has no such method.
    #[error("the path has no such method")]
    NoMethod,
    /// The pages so far are of a version that is not served any more.
    #[error("another version is served since the page before: begin again without `after`")]
    VersionChanged,
    /// The request was meant for a machine of another name.
    #[error("without tokens, this is for those who name the machine by a loopback address")]
    Misdirected,
    /// The instance stops before the body has come.
    #[error("the instance stops, and nothing was done; try again")]
    Stopping,
    /// The database is away.
    #[error("the database does not answer; try again")]
    Database(StoreError),
    /// The database refuses for a cause that goes away by nobody's waiting.
    #[error("the database refuses; the cause is in the log, and a person has to remove it")]
    DatabaseRefuses(StoreError),
    /// The broker is away; some of the records may be published.
    #[error("the broker does not answer, and some of the records may be published; try again")]
    Broker(LogError),
    /// The broker refuses for a cause that goes away by nobody's waiting.
    #[error(
        "the broker refuses, and some of the records may be published; the cause is in the log, \
         and a person has to remove it"
    )]
    BrokerRefuses(LogError),
    /// The broker has not acknowledged the records in time, and still may.
    #[error(
        "the broker has not acknowledged the records in time: each may be published, now or later, \
         but before whatever is posted next; try again"
    )]
    Unacknowledged,
    /// The answer is overdue.
    #[error("the answer took too long; try again")]
    Overdue,
}

/// A row that cannot be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct RowError {
    /// Its number, from 1.
    pub(super) row: usize,
    /// A fixed code.
    pub(super) code: &'static str,
}

/// The body that tells it.
#[derive(Serialize)]
struct Body<'a> {
    status: u16,
    code: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    rows: &'a [RowError],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    transaction_ids: &'a [TransactionId],
    correlation_id: &'a str,
}

impl Problem {
    /// Status and fixed code.
    pub(super) fn code(&self) -> (StatusCode, &'static str) {
        match self {
            Problem::InvalidParameter { .. } => (StatusCode::BAD_REQUEST, "invalid_parameter"),
            Problem::UnknownParameter(_) => (StatusCode::BAD_REQUEST, "unknown_parameter"),
            Problem::UnsupportedMedia => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type")
            }
            Problem::MalformedBody(_) => (StatusCode::BAD_REQUEST, "malformed_body"),
            Problem::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Problem::TooManyRows => (StatusCode::PAYLOAD_TOO_LARGE, "too_many_rows"),
            Problem::BodyOverdue => (StatusCode::REQUEST_TIMEOUT, "body_overdue"),
            Problem::InvalidRows(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_rows"),
            Problem::UnknownTransactions(_) => (StatusCode::NOT_FOUND, "unknown_transactions"),
            Problem::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Problem::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
            Problem::UnknownPortfolio(_) => (StatusCode::NOT_FOUND, "unknown_portfolio"),
            Problem::UnknownPosition(..) => (StatusCode::NOT_FOUND, "unknown_position"),
            Problem::NoRoute => (StatusCode::NOT_FOUND, "no_such_path"),
            Problem::NoMethod => (StatusCode::METHOD_NOT_ALLOWED, "no_such_method"),
            Problem::VersionChanged => (StatusCode::CONFLICT, "version_changed"),
            Problem::Misdirected => (StatusCode::MISDIRECTED_REQUEST, "misdirected"),
            Problem::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            Problem::Database(_) => (StatusCode::SERVICE_UNAVAILABLE, "database_unavailable"),
            Problem::DatabaseRefuses(_) => (StatusCode::INTERNAL_SERVER_ERROR, "database_refuses"),
            Problem::BrokerRefuses(_) => (StatusCode::INTERNAL_SERVER_ERROR, "broker_refuses"),
            Problem::Unacknowledged => (StatusCode::SERVICE_UNAVAILABLE, "unacknowledged"),
            Problem::Broker(_) => (StatusCode::SERVICE_UNAVAILABLE, "broker_unavailable"),
            Problem::Overdue => (StatusCode::SERVICE_UNAVAILABLE, "overdue"),
        }
    }

    /// The body that tells it.
    pub(super) fn body(&self, correlation_id: &str) -> Vec<u8> {
        let (status, code) = self.code();
        let parameter = match self {
            Problem::InvalidParameter { name, .. } => Some(*name),
            Problem::UnknownParameter(name) => Some(name.as_str()),
            _ => None,
        };
        let rows = match self {
            Problem::InvalidRows(rows) => rows.as_slice(),
            _ => &[],
        };
        let transaction_ids = match self {
            Problem::UnknownTransactions(ids) => ids.as_slice(),
            _ => &[],
        };
        let (status, detail) = (status.as_u16(), self.to_string());
        let body = Body { status, code, detail, parameter, rows, transaction_ids, correlation_id };
        serde_json::to_vec(&body).expect("texts by name can be written")
    }
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        match error.is_transient() {
            true => Problem::Broker(error),
            false => Problem::BrokerRefuses(error),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error.is_transient() {
            true => Problem::Database(error),
            false => Problem::DatabaseRefuses(error),
        }
    }
}
