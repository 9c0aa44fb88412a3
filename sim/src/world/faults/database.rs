//! Faults of the database server, other than its death and the network's.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// A fault of the database. Times are simulated milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DatabaseFault {
    /// Commits take that many times as long: a disk that others use, or that is about to fail.
    ///
    /// # The engine must survive
    /// locks that are held for long, leases that end before their work is committed, and queues
    /// that grow meanwhile.
    SlowDisk {
        /// How many times as long.
        factor: u32,
        /// How long.
        for_ms: u64,
    },
    /// Somebody locks the rows of all keys that there are and lets them go much later: a migration,
    /// or a person who has left a transaction open.
    ///
    /// # The engine must survive
    /// transactions of all instances that queue up behind a lock, with what they hold themselves;
    /// what they have read has grown old when they get on.
    LockPileUp {
        /// How long.
        for_ms: u64,
    },
    /// A failover: all sessions end, and the new primary refuses writes and locks for a while.
    ///
    /// # The engine must survive
    /// transactions that are gone, commits whose outcome is unknown, and a database that can be
    /// read but not written: nothing may be acknowledged meanwhile, and nothing given up.
    Failover {
        /// How long writes are refused.
        for_ms: u64,
    },
    /// Commits of a process happen, and their answers are lost with the sessions.
    ///
    /// # The engine must survive
    /// an effect that it believes not to have had: to do it again must not do it twice.
    LostAnswer {
        /// Whose.
        process: SmolStr,
        /// How many commits in a row.
        times: u32,
        /// The fault is off if they have not come by then.
        within_ms: u64,
    },
}

/// The process of the database.
static DATABASE: SmolStr = SmolStr::new_static("postgres");

impl DatabaseFault {
    /// Its kind, as it stands in scenario files and recordings.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::SlowDisk { .. } => "slow_disk",
            Self::LockPileUp { .. } => "lock_pile_up",
            Self::Failover { .. } => "failover",
            Self::LostAnswer { .. } => "lost_answer",
        }
    }

    /// Whom it concerns.
    pub(super) fn process(&self) -> &SmolStr {
        match self {
            Self::LostAnswer { process, .. } => process,
            Self::SlowDisk { .. } | Self::LockPileUp { .. } | Self::Failover { .. } => &DATABASE,
        }
    }

    /// How long it lasts at most.
    pub(super) fn lasts_ms(&self) -> u64 {
        match self {
            Self::SlowDisk { for_ms, .. }
            | Self::LockPileUp { for_ms }
            | Self::Failover { for_ms } => *for_ms,
            Self::LostAnswer { within_ms, .. } => *within_ms,
        }
    }

    /// All its waits.
    pub(super) fn waits(&mut self) -> Vec<&mut u64> {
        match self {
            Self::SlowDisk { for_ms, .. }
            | Self::LockPileUp { for_ms }
            | Self::Failover { for_ms } => vec![for_ms],
            Self::LostAnswer { within_ms, .. } => vec![within_ms],
        }
    }
}
