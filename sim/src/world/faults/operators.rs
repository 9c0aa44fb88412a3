//! Mistakes of operators: nothing is broken, and something is done that should not be.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// A mistake of an operator. Times are simulated milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OperatorFault {
    /// One more instance is started by mistake, e.g. a second scheduler; it works beside the others
    /// until somebody kills it.
    ///
    /// # The engine must survive
    /// instances that nobody has planned for: claims, lanes and leases are for any number of them.
    SecondInstance {
        /// The kind of process, e.g. `valuation-scheduler`.
        kind: SmolStr,
        /// How long it is there.
        for_ms: u64,
    },
    /// A producer comes back that was taken over long ago (split brain: a machine that was restored
    /// from a snapshot), and publishes what it once published again, under the epochs of then.
    ///
    /// # The engine must survive
    /// messages of tokens that have moved on, in the old order, after newer ones: they are dropped
    /// and counted, and the report names who sent them.
    ZombieProducer {
        /// Whose messages; it calls itself the zombie of that process.
        process: SmolStr,
        /// How old its messages are when it comes back.
        after_ms: u64,
    },
    /// The reprocess tool is run several times at once: each publishes the news of every stored
    /// transaction again.
    ///
    /// # The engine must survive
    /// news of what it knows, in any order and as often as they come.
    ReprocessTwice {
        /// How many runs at once.
        times: u32,
    },
}

impl OperatorFault {
    /// Its kind, as it stands in scenario files and recordings.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::SecondInstance { .. } => "second_instance",
            Self::ZombieProducer { .. } => "zombie_producer",
            Self::ReprocessTwice { .. } => "reprocess_twice",
        }
    }

    /// Whom it concerns.
    pub(super) fn process(&self) -> Option<&SmolStr> {
        match self {
            Self::SecondInstance { kind: process, .. } | Self::ZombieProducer { process, .. } => {
                Some(process)
            }
            Self::ReprocessTwice { .. } => None,
        }
    }

    /// How long it lasts at most.
    pub(super) fn lasts_ms(&self) -> u64 {
        match self {
            Self::SecondInstance { for_ms, .. } => *for_ms,
            Self::ZombieProducer { after_ms, .. } => *after_ms,
            Self::ReprocessTwice { .. } => 0,
        }
    }

    /// All its waits.
    pub(super) fn waits(&mut self) -> Vec<&mut u64> {
        match self {
            Self::SecondInstance { for_ms, .. } => vec![for_ms],
            Self::ZombieProducer { after_ms, .. } => vec![after_ms],
            Self::ReprocessTwice { .. } => Vec::new(),
        }
    }
}
