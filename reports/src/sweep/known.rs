//! Known failures: a pipeline carries them until they are mended, and still fails on a new one.

use serde::{Deserialize, Serialize};

use super::result::{Complaint, RunResult};

/// A file of known failures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownFile {
    /// `[[known]]`
    #[serde(default)]
    pub known: Vec<Known>,
}

/// A failure that is known. In all patterns `*` stands for anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// Pattern of the scenario's name.
    pub scenario: String,
    /// Pattern of the claim that fails: `G3`, `threshold catch_up_seconds*`.
    pub rule: String,
    /// Pattern that the evidence contains; anything if absent.
    #[serde(default)]
    pub evidence: String,
    /// Why it is carried: where the bug is tracked, who mends it.
    pub reason: String,
}

impl Known {
    /// Whether this is the complaint of that run.
    pub fn covers(&self, run: &RunResult, complaint: &Complaint) -> bool {
        fits(&self.scenario, &run.scenario)
            && fits(&self.rule, &complaint.claim)
            && fits(&format!("*{}*", self.evidence), &complaint.evidence)
    }
}

/// Whether the pattern describes the whole text.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn a_star_stands_for_anything() {
    for (pattern, text, expected) in [
        ("G3", "G3", true),
        ("G3", "G30", false),
        ("", "", true),
        ("", "a", false),
        ("*", "anything", true),
        ("smoke/*", "smoke/steady", true),
        ("*steady", "smoke/steady", true),
        ("smoke/*", "load/herd", false),
        ("*epoch*newer*", "epoch 3, newer 4", true),
        ("*newer*epoch*", "epoch 3, newer 4", false),
        ("a*a", "a", false),
    ] {
        assert_eq!(fits(pattern, text), expected, "{pattern} and {text}");
    }
}
