//! Whether a process is fit for work, and if not, why: what `/readyz` answers.
//!
//! # Invariants
//! - A process is ready only after every check that it was told to expect has passed at least once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// The checks of a process; clones share them.
#[derive(Clone, Debug)]
pub struct Health(Arc<Mutex<BTreeMap<&'static str, Option<String>>>>);

/// Why a process is not ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Which check.
    pub check: &'static str,
    /// What is wrong.
    pub reason: String,
}

impl Health {
    /// Expects these checks; none has passed yet.
    pub fn expecting(checks: &[&'static str]) -> Self {
        let checks = checks.iter().map(|check| (*check, Some("not checked yet".to_owned())));
        Self(Arc::new(Mutex::new(checks.collect())))
    }

    /// Notes how a check went; whether that is news.
    pub fn note(&self, check: &'static str, outcome: Result<(), String>) -> bool {
        let outcome = outcome.err();
        let mut checks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = checks.insert(check, outcome.clone());
        before.is_none_or(|before| before != outcome)
    }

    /// All that is wrong; empty if the process is ready.
    pub fn reasons(&self) -> Vec<Reason> {
        let checks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wrong = checks
            .iter()
            .filter_map(|(check, outcome)| Some(Reason { check, reason: outcome.clone()? }));
        wrong.collect()
    }
}

#[test]
fn a_process_is_ready_when_all_expected_checks_have_passed() {
    let health = Health::expecting(&["database", "broker"]);
    assert!(health.note("database", Ok(())));
    assert!(!health.note("database", Ok(())));
    assert_eq!(health.reasons().len(), 1, "the broker was not asked yet");
    assert!(health.note("broker", Err("refused".into())));
    assert!(health.note("broker", Err("timed out".into())));
    assert_eq!(health.reasons()[0].reason, "timed out");
    assert!(health.note("broker", Ok(())));
    assert!(health.reasons().is_empty());
}
