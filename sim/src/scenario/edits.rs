//! `[[edits]]`: how a negative scenario doctors what is judged, so that one rule breaks.
//!
//! The engine and its services run as ever; between them and whoever looks on stands a doctor who
//! changes what was recorded, or what a reader was answered. So a negative scenario tests the rule,
//! not the engine, and it does so in every build.
//!
//! # Invariants
//! - Each kind is made to break one rule and to leave all others as they are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::duration::Millis;

/// `[[edits]]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// What is changed.
    pub kind: EditKind,
    /// The first suitable event so long after the storm began.
    pub at: Millis,
}

/// Kinds of edits, each with the rule that it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EditKind {
    /// G1: a cost column of one transaction is wrong by one, from now on to the end.
    WrongCost,
    /// G2: persistence stores transactions and leaves no news of them.
    LostNews,
    /// G3: a snapshot that has been replaced is written again under its old token.
    ZombieWrite,
    /// G4: the watermark of a key that is `CURRENT` falls by a day, and comes back.
    FallenWatermark,
    /// G5: a transaction stands at a second place of its timeline, for a moment.
    SecondPlace,
    /// G6: a lot holds one unit more than was bought.
    SwollenLot,
    /// G7: a dead letter is not there.
    LostDeadLetter,
    /// G8: once the run is calm nothing happens for longer than any work takes.
    Standstill,
    /// G9: readers are shown nothing.
    EmptyAnswer,
    /// G10: snapshots are written again under the same token.
    ValuedTwice,
}
