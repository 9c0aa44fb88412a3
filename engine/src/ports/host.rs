//! The host of an instance: named crash points and what an instance reports.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::log::Topic;
use crate::domain::ids::{Epoch, Key, Revision, Token};
use crate::domain::records::ParkReason;
use crate::domain::time::Date;

/// Where a port call stands: right before it or right after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Side {
    /// Before the call has any effect.
    Before,
    /// After the call has returned.
    After,
}

/// What an instance reports: logs and metrics derive from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    /// A stale message was dropped (`epoch_mismatch_dropped_total`).
    Fenced {
        /// Topic of the message.
        topic: Topic,
        /// The key.
        key: Key,
        /// Token of the message.
        message: Token,
        /// Token of the key.
        state: Token,
        /// Header `producer` of the message: who sent it.
        producer: Option<SmolStr>,
    },
    /// A token newer than the state: parked and reported.
    IntegrityError {
        /// Topic of the message.
        topic: Topic,
        /// The key.
        key: Key,
        /// Token of the message.
        message: Token,
        /// Token of the key.
        state: Token,
    },
    /// A poison message went to the dead letters.
    DeadLettered {
        /// Its topic.
        topic: Topic,
        /// A fixed code.
        error: SmolStr,
    },
    /// `Back-dated price event detected`.
    BackdatedPrice {
        /// The security or pair.
        subject: SmolStr,
        /// Its date.
        date: Date,
    },
    /// A rebuild of a key's history began.
    EpochBumped {
        /// The key.
        key: Key,
        /// The new epoch.
        epoch: Epoch,
        /// The new revision.
        revision: Revision,
        /// First date that is rebuilt.
        from_date: Date,
    },
    /// A watermark fell.
    WatermarkReset {
        /// The key.
        key: Key,
        /// The new revision.
        revision: Revision,
        /// The new watermark.
        watermark_date: Date,
    },
    /// A replay chunk wrote that many history rows of a key.
    Replayed {
        /// The key.
        key: Key,
        /// The epoch.
        epoch: Epoch,
        /// Rows of `position_history`.
        rows: u32,
        /// Whether the replay is done.
        done: bool,
    },
    /// A transaction was parked.
    Parked {
        /// The key.
        key: Key,
        /// The transaction.
        transaction_id: SmolStr,
        /// Why.
        reason: ParkReason,
    },
    /// A trade currency that differs from the instrument's was met.
    CurrencyMismatch {
        /// The key.
        key: Key,
    },
    /// Valuation jobs were created.
    JobsCreated {
        /// Number of jobs.
        jobs: u32,
        /// Number of keys in them.
        keys: u32,
    },
    /// A valuation job is done.
    JobCompleted {
        /// The job.
        id: u64,
        /// Snapshots written.
        rows: u32,
        /// Keys whose token had moved.
        superseded: u32,
    },
    /// Valuation jobs were dropped unclaimed, as the tokens of all their keys had moved.
    JobsSuperseded {
        /// Number of jobs.
        jobs: u32,
    },
    /// Keys of a job wait for named missing data.
    KeysWait {
        /// The keys.
        keys: Vec<Key>,
        /// What is missing, e.g. `instrument S1`.
        missing: SmolStr,
    },
    /// A key became CURRENT.
    BecameCurrent {
        /// The key.
        key: Key,
        /// Its token.
        token: Token,
        /// The watermark.
        watermark_date: Date,
    },
    /// A batch ended with an error that is retried, or that a person must see.
    Trouble {
        /// What was tried.
        during: SmolStr,
        /// The error.
        error: String,
    },
}

/// What an instance counts: too often to be told one by one, so metrics derive from it, logs and
/// recordings do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Records were read (`kafka_messages_consumed_total`).
    Consumed {
        /// Their topic.
        topic: Topic,
        /// The group that reads it.
        group: &'static str,
        /// How many.
        records: u64,
    },
    /// Events of the outbox were acknowledged by the log (`outbox_events_published_total`).
    Published {
        /// Their topic.
        topic: Topic,
        /// How many.
        records: u64,
    },
    /// A key that the scheduler visits misses so many business dates (`scheduler_gap_days`).
    Gap {
        /// Business dates.
        days: u32,
    },
}

/// A request that was answered, for the access log.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// Method and path of the route, without what a client has put into it.
    pub route: &'static str,
    /// Path as it was asked for; empty where a request could not be read.
    pub path: &'a str,
    /// Status of the answer.
    pub status: u16,
    /// Fixed code of what was wrong, if something was.
    pub code: Option<&'static str>,
    /// Bytes of the answer.
    pub bytes: usize,
    /// How long it took, by the wall clock.
    pub took: Duration,
    /// Header that travels through.
    pub correlation_id: &'a str,
}

/// The host.
///
/// # Implementers must
/// - let [`Host::point`] return at once unless a fault asks for the death of the instance there; in
///   that case it never returns.
#[allow(async_fn_in_trait, reason = "instances are single-threaded; no future is sent")]
pub trait Host {
    /// Process and instance, e.g. `position-calculator-1`.
    fn instance(&self) -> &str;

    /// Passes a named crash point: `process/call/before` or `process/call/after`.
    async fn point(&self, process: &'static str, call: &'static str, side: Side);

    /// Reports something.
    fn emit(&self, signal: Signal);

    /// Counts something; a host without metrics ignores it.
    fn measure(&self, measure: Measure) {
        let _ = measure;
    }

    /// Takes note of a request that was answered; a host without an access log ignores it.
    fn answered(&self, request: Answered<'_>) {
        let _ = request;
    }

    /// Whether the instance is asked to stop: its loops end after the batch in hand, and give back
    /// what they hold.
    fn is_stopping(&self) -> bool;

    /// Runs a task beside the caller; it dies with the instance.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);
}
