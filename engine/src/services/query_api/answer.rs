//! What is said back: JSON with decimals as texts, and a tag that changes whenever it does.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::problem::Problem;
use crate::domain::records::KeyStatus;

/// What a handler comes to.
pub(super) type Reply = Result<Answer, Problem>;

/// An answer.
pub(super) struct Answer {
    /// Its status.
    pub(super) status: StatusCode,
    /// Its body.
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Something that was found.
    pub(super) fn found(content: &impl Serialize) -> Self {
        let body = serde_json::to_vec(content).expect("rows by name can be written");
        Self { status: StatusCode::OK, body }
    }

    /// Something that was taken, to be worked on.
    pub(super) fn accepted(content: &impl Serialize) -> Self {
        Self { status: StatusCode::ACCEPTED, ..Self::found(content) }
    }

    /// The tag of what was found. Every answer holds the tokens of its keys, but a token alone does
    /// not tell one answer from the next: an append or a new snapshot keeps it. So it is the hash
    /// of the whole answer.
    pub(super) fn tag(&self) -> Option<String> {
        (self.status == StatusCode::OK).then(|| format!("\"{:032x}\"", xxh3_128(&self.body)))
    }
}

/// Whether a client that has these tags has the answer with that tag (RFC 9110, 13.1.2).
pub(super) fn has_tag(known: &str, tag: &str) -> bool {
    known
        .split(',')
        .map(str::trim)
        .any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

/// Whether what is shown is about to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReprocessingStatus {
    /// It is the newest version, complete.
    Current,
    /// The key is being reprocessed.
    InProgress,
}

impl From<KeyStatus> for ReprocessingStatus {
    fn from(status: KeyStatus) -> Self {
        match status {
            KeyStatus::Current => ReprocessingStatus::Current,
            KeyStatus::Reprocessing => ReprocessingStatus::InProgress,
        }
    }
}

impl From<ReprocessingStatus> for KeyStatus {
    fn from(status: ReprocessingStatus) -> Self {
        match status {
            ReprocessingStatus::Current => KeyStatus::Current,
            ReprocessingStatus::InProgress => KeyStatus::Reprocessing,
        }
    }
}

#[test]
fn a_tag_is_known_in_a_list_and_weakly() {
    let tag = "\"0a\"";
    for known in ["\"0a\"", "W/\"0a\"", "\"0b\", \"0a\"", "*"] {
        assert!(has_tag(known, tag), "{known}");
    }
    for unknown in ["", "0a", "\"0b\"", "\"0a", "W/0a"] {
        assert!(!has_tag(unknown, tag), "{unknown}");
    }
}
