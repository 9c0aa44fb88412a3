//! Meters: what is counted and measured while a run goes on, from its events alone.
//!
//! They see each event once, in order, and keep a bounded state; nothing asks the engine.
//!
//! # Invariants
//! - Equal events give equal measurements.
//! - Latencies are measured on simulated time, from what brokers and database recorded.

mod flow;
mod latencies;
mod queues;
mod zombies;

use std::collections::BTreeMap;

use backdate_engine::ports::host::{Side, Signal};
use backdate_engine::ports::log::Topic;
use backdate_engine::ports::store::StoreError;
use smol_str::{SmolStr, format_smolstr};

use crate::latency_log::Histograms;
use crate::recording::{Change, CrashCause, Event, EventKind, Phase, SimTime};
use crate::summary::Summary;
use flow::Flow;
use latencies::Latencies;
use queues::Queues;
use zombies::Zombies;

/// Names of the counters.
pub const COUNTERS: &[&str] = &[
    "aborted",
    "commits",
    "crashes",
    "dates_revalued",
    "dates_valued",
    "dead_letters",
    "deadlocks",
    "epochs",
    "fenced",
    "fenced_epochs",
    "fenced_zombies",
    "inputs",
    "integrity_errors",
    "jobs_completed",
    "jobs_created",
    "jobs_superseded",
    "keys",
    "keys_reset",
    "parked",
    "reads",
    "records",
    "replay_rows",
    "transactions",
    "troubles",
    "zombie_records",
];

/// Names of the hops whose latency is measured.
pub const HOPS: &[&str] = &[
    "raw_to_stored",
    "stored_to_news",
    "news_to_calculated",
    "calculated_to_snapshot",
    "raw_to_snapshot",
    "price_to_revalued",
    "trigger_to_job",
    "job_to_done",
    "valuation_job",
    "replay",
    "outbox",
    "reprocessing",
];

/// Names of the queues whose length is watched.
pub const QUEUES: &[&str] = &[
    "keys_reprocessing",
    "lag_cashflow_calculator",
    "lag_persistence",
    "lag_position_calculator",
    "lag_position_valuation_calculator",
    "lag_price_watcher",
    "lag_timeseries_generator",
    "outbox",
    "replays",
    "reprocessing_jobs",
    "triggers",
    "valuation_jobs",
];

/// Names of the interesting states that are looked out for.
pub const SOMETIMES: &[&str] = &[
    "crash_during_replay",
    "invalidated_during_replay",
    "job_claimed_again",
    "job_superseded",
    "keys_waited_for_data",
    "message_fenced",
    "replay_rewound",
    "zombie_commit_refused",
    "zombie_fenced",
];

/// A crash at a named point: `process/call/before`.
type PointName = SmolStr;

/// The meters of a run.
pub struct Meters {
    counters: BTreeMap<&'static str, u64>,
    latencies: Latencies,
    flow: Flow,
    queues: Queues,
    zombies: Zombies,
    faults: BTreeMap<SmolStr, u64>,
    fenced_producers: BTreeMap<SmolStr, u64>,
    points: BTreeMap<PointName, u64>,
    sometimes: BTreeMap<&'static str, u64>,
    phase: Option<Phase>,
    /// The last input or fault of the storm.
    disturbed: Option<SimTime>,
    /// Since when no key has been reprocessing.
    at_rest: Option<SimTime>,
}

impl Default for Meters {
    fn default() -> Self {
        Self::new()
    }
}

impl Meters {
    /// Meters that have seen nothing.
    pub fn new() -> Self {
        Self {
            counters: COUNTERS.iter().map(|name| (*name, 0)).collect(),
            latencies: Latencies::default(),
            flow: Flow::default(),
            queues: Queues::default(),
            zombies: Zombies::default(),
            faults: BTreeMap::new(),
            fenced_producers: BTreeMap::new(),
            points: BTreeMap::new(),
            sometimes: SOMETIMES.iter().map(|name| (*name, 0)).collect(),
            phase: None,
            disturbed: None,
            at_rest: None,
        }
    }

    /// Takes in the next event.
    pub fn observe(&mut self, event: &Event) {
        let at = event.at;
        match &event.kind {
            EventKind::Started => {}
            EventKind::Crashed(cause) => self.crashed(at, cause),
            EventKind::Fault { fault, begins, .. } => self.fault(at, fault, *begins),
            EventKind::Phase(phase) => self.phase = Some(*phase),
            EventKind::InputSent { .. } => {
                self.count("inputs", 1);
                self.disturb(at);
            }
            EventKind::InputAcknowledged { .. } | EventKind::ReadRefused { .. } => {}
            EventKind::Appended(record) => {
                self.count("records", 1);
                if record.topic == Topic::DeadLetters {
                    self.count("dead_letters", 1);
                }
                self.queues.appended(record);
                if self.zombies.appended(record) {
                    self.count("zombie_records", 1);
                }
                let is_storm = self.phase == Some(Phase::Storm);
                self.flow.appended(at, record, is_storm, &mut self.latencies);
            }
            EventKind::OffsetsCommitted { group, positions } => {
                self.queues.offsets(group, positions);
            }
            EventKind::CommitRefused { .. } => self.reached("zombie_commit_refused"),
            EventKind::Committed { client, changes, .. } => {
                self.zombies.committed(client, changes);
                self.committed(at, changes);
            }
            EventKind::Aborted { error, .. } => {
                self.count("aborted", 1);
                if matches!(error, StoreError::Deadlock) {
                    self.count("deadlocks", 1);
                }
            }
            EventKind::Signal(signal) => self.signal(signal),
            EventKind::Read { .. } => self.count("reads", 1),
        }
    }

    /// Keys that are being reprocessed now.
    pub fn keys_behind(&self) -> u64 {
        self.flow.reprocessing()
    }

    /// A counter of [`COUNTERS`].
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or(0)
    }

    /// How often a process died at a named point: `process/call/before` or `/after`.
    pub fn deaths_at(&self, point: &str) -> u64 {
        self.points.get(point).copied().unwrap_or(0)
    }

    /// Since when the key has been reprocessing that has been for longest.
    pub fn reprocessing_since(&self) -> Option<SimTime> {
        self.flow.reprocessing_since()
    }

    /// The length of a queue of [`QUEUES`] now.
    pub fn queue(&self, name: &str) -> u64 {
        self.queues.now(name)
    }

    /// Keeps latencies by interval from now on, for [`Meters::end_interval`].
    pub fn keep_intervals(&mut self) {
        self.latencies.keep_intervals();
    }

    /// Hands out the latencies since the last interval ended; none are kept unless
    /// [`Meters::keep_intervals`] was called.
    pub fn end_interval(&mut self) -> Histograms {
        self.latencies.end_interval()
    }

    /// How often each producer's stale messages were fenced.
    pub fn fenced_producers(&self) -> &BTreeMap<SmolStr, u64> {
        &self.fenced_producers
    }

    /// From the last input or fault of the storm until every key was `CURRENT`.
    pub fn catch_up_seconds(&self) -> Option<f64> {
        let (disturbed, at_rest) = (self.disturbed?, self.at_rest?);
        (self.flow.reprocessing() == 0).then(|| at_rest.since(disturbed).as_secs_f64())
    }

    /// Fills in what the meters know.
    pub fn fill(&self, summary: &mut Summary) {
        let text = |name: &SmolStr| name.to_string();
        summary.counters = self.counters.iter().map(|(n, c)| ((*n).to_owned(), *c)).collect();
        summary.catch_up_seconds = self.catch_up_seconds();
        summary.faults = self.faults.iter().map(|(kind, count)| (text(kind), *count)).collect();
        summary.sometimes =
            self.sometimes.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        summary.queue_max = self.queues.longest();
        summary.fenced_producers =
            self.fenced_producers.iter().map(|(name, count)| (text(name), *count)).collect();
        summary.latency_ms = self.latencies.summary();
    }

    fn count(&mut self, name: &'static str, more: u64) {
        *self.counters.get_mut(name).expect("counters are those of the list") += more;
    }

    fn reached(&mut self, state: &'static str) {
        *self.sometimes.get_mut(state).expect("states are those of the list") += 1;
    }

    fn disturb(&mut self, at: SimTime) {
        if self.phase == Some(Phase::Storm) || self.phase == Some(Phase::Calm) {
            self.disturbed = Some(at);
            if self.flow.reprocessing() == 0 {
                self.at_rest = Some(at);
            }
        }
    }

    fn crashed(&mut self, at: SimTime, cause: &CrashCause) {
        self.count("crashes", 1);
        if self.queues.replays() > 0 {
            self.reached("crash_during_replay");
        }
        if let CrashCause::Point { process, call, side, .. } = cause {
            let side = match side {
                Side::Before => "before",
                Side::After => "after",
            };
            *self.points.entry(format_smolstr!("{process}/{call}/{side}")).or_default() += 1;
        }
        self.disturb(at);
    }

    fn fault(&mut self, at: SimTime, fault: &SmolStr, begins: bool) {
        if begins {
            *self.faults.entry(fault.clone()).or_default() += 1;
        }
        self.disturb(at);
    }

    fn committed(&mut self, at: SimTime, changes: &[Change]) {
        self.count("commits", 1);
        self.queues.committed(changes);
        let seen = self.flow.committed(at, changes, &mut self.latencies);
        self.count("dates_valued", seen.snapshots);
        if self.phase != Some(Phase::Warmup) {
            self.count("dates_revalued", seen.snapshots);
        }
        self.count("transactions", seen.transactions);
        self.count("keys", seen.new_keys);
        self.count("keys_reset", seen.resets);
        self.count("epochs", seen.epochs);
        for state in seen.sometimes {
            self.reached(state);
        }
        if self.flow.reprocessing() == 0 && seen.became_current {
            self.at_rest = Some(at);
        }
    }

    fn signal(&mut self, signal: &Signal) {
        match signal {
            Signal::Fenced { producer, message, state, .. } => {
                self.count("fenced", 1);
                if message.epoch < state.epoch {
                    self.count("fenced_epochs", 1);
                }
                if self.zombies.is_fenced(signal) {
                    self.count("fenced_zombies", 1);
                    self.reached("zombie_fenced");
                }
                self.reached("message_fenced");
                let producer = producer.clone().unwrap_or_else(|| "unknown".into());
                *self.fenced_producers.entry(producer).or_default() += 1;
            }
            Signal::IntegrityError { .. } => self.count("integrity_errors", 1),
            Signal::Replayed { rows, .. } => self.count("replay_rows", u64::from(*rows)),
            Signal::Parked { .. } => self.count("parked", 1),
            Signal::JobsCreated { jobs, .. } => self.count("jobs_created", u64::from(*jobs)),
            Signal::JobCompleted { superseded, .. } => {
                self.count("jobs_completed", 1);
                if *superseded > 0 {
                    self.reached("job_superseded");
                }
            }
            Signal::JobsSuperseded { jobs } => {
                self.count("jobs_superseded", u64::from(*jobs));
                self.reached("job_superseded");
            }
            Signal::KeysWait { .. } => self.reached("keys_waited_for_data"),
            Signal::Trouble { .. } => self.count("troubles", 1),
            Signal::DeadLettered { .. }
            | Signal::BackdatedPrice { .. }
            | Signal::EpochBumped { .. }
            | Signal::WatermarkReset { .. }
            | Signal::CurrencyMismatch { .. }
            | Signal::BecameCurrent { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hop_and_queue_has_one_name() {
        for names in [COUNTERS, QUEUES, SOMETIMES] {
            assert!(names.is_sorted(), "{names:?}");
        }
        let longest = Queues::default().longest();
        assert_eq!(longest.keys().collect::<Vec<_>>(), QUEUES.iter().collect::<Vec<_>>());
    }
}
