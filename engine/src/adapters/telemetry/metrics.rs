//! The metrics of a process, as Prometheus scrapes them.
//!
//! Counters follow what the instances report; gauges show what somebody last read of the database.
//!
//! # Invariants
//! - Labels are names of processes, topics, groups, statements and reasons: their number is bounded
//!   by the program, not by the data.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::domain::records::ParkReason;
use crate::ports::host::{Answered, Measure, Signal};
use crate::services::position_valuation_calculator;

/// Business dates, by the contract.
const GAP_DAYS: [f64; 7] = [1.0, 2.0, 5.0, 10.0, 30.0, 90.0, 365.0];

/// Seconds: a statement on a loopback takes some 0.2 ms, one is ended after a minute.
const LATENCIES: [f64; 13] =
    [0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// Names of all metrics, as Prometheus reads them; those of histograms without their suffixes.
pub const NAMES: [&str; 26] = [
    "attempts_failed_total",
    "currency_mismatches_total",
    "db_operation_latency_seconds",
    "db_readings_timestamp_seconds",
    "dead_letter_total",
    "epoch_mismatch_dropped_total",
    "http_request_duration_seconds",
    "http_requests_total",
    "instrument_reprocessing_triggers_pending",
    "integrity_errors_total",
    "kafka_messages_consumed_total",
    "outbox_events_pending",
    "outbox_events_published_total",
    "parked_transactions",
    "ready",
    "replay_rows_total",
    "reprocessing_active_keys_total",
    "reprocessing_epoch_bumped_total",
    "scheduler_gap_days",
    "snapshot_lag_seconds",
    "valuation_jobs_completed_total",
    "valuation_jobs_created_total",
    "valuation_jobs_failed_total",
    "valuation_jobs_pending",
    "valuation_jobs_superseded_total",
    "watermark_resets_total",
];

/// All metrics of a process; clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

/// What was last read of the database.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings {
    /// Keys that are REPROCESSING.
    pub reprocessing_keys: u64,
    /// Rows of `instrument_reprocessing_state`.
    pub triggers: u64,
    /// Valuation jobs that are not done.
    pub valuation_jobs: u64,
    /// Rows of `outbox_events`.
    pub outbox_events: u64,
    /// Parked transactions; a reason that is not listed has none.
    pub parked: Vec<(ParkReason, u64)>,
    /// How long the key has waited that has been REPROCESSING for longest.
    pub snapshot_lag: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByTopic {
    topic: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByService {
    service_name: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByServiceAndTopic {
    service_name: &'static str,
    topic: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByTopicAndGroup {
    topic: &'static str,
    group_id: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOperation {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRoute {
    route: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRouteAndStatus {
    route: &'static str,
    status: u16,
}

struct Inner {
    registry: Registry,
    counters: Counters,
    gauges: Gauges,
    gap_days: Histogram,
    latency: Family<ByOperation, Histogram, fn() -> Histogram>,
    answers: Family<ByRouteAndStatus, Counter>,
    answer_times: Family<ByRoute, Histogram, fn() -> Histogram>,
}

#[derive(Default)]
struct Counters {
    fenced: Family<ByServiceAndTopic, Counter>,
    integrity_errors: Family<ByServiceAndTopic, Counter>,
    troubles: Family<ByService, Counter>,
    epochs: Counter,
    watermark_resets: Counter,
    replay_rows: Counter,
    currency_mismatches: Counter,
    jobs_created: Counter,
    jobs_completed: Counter,
    jobs_failed: Counter,
    jobs_superseded: Counter,
    published: Family<ByTopic, Counter>,
    dead_letters: Family<ByTopic, Counter>,
    consumed: Family<ByTopicAndGroup, Counter>,
}

#[derive(Default)]
struct Gauges {
    reprocessing_keys: Gauge,
    triggers: Gauge,
    valuation_jobs: Gauge,
    outbox_events: Gauge,
    parked: Family<ByReason, Gauge>,
    snapshot_lag: Gauge<f64, AtomicU64>,
    readings_at: Gauge<f64, AtomicU64>,
    is_ready: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut inner = Inner {
            registry: Registry::default(),
            counters: Counters::default(),
            gauges: Gauges::default(),
            gap_days: Histogram::new(GAP_DAYS),
            latency: Family::new_with_constructor(|| Histogram::new(LATENCIES)),
            answers: Family::default(),
            answer_times: Family::new_with_constructor(|| Histogram::new(LATENCIES)),
        };
        inner.counters.register(&mut inner.registry);
        inner.gauges.register(&mut inner.registry);
        let registry = &mut inner.registry;
        let help = "Business dates that a key misses when the scheduler visits it";
        registry.register("scheduler_gap_days", help, inner.gap_days.clone());
        let help = "Time from sending a statement to its answer";
        registry.register("db_operation_latency_seconds", help, inner.latency.clone());
        let help = "Requests that were answered, by route and status";
        registry.register("http_requests", help, inner.answers.clone());
        let help = "Time from a request to its answer";
        registry.register("http_request_duration_seconds", help, inner.answer_times.clone());
        Self(Arc::new(inner))
    }
}

impl Counters {
    fn register(&self, registry: &mut Registry) {
        // The encoder puts `_total` behind the name of a counter.
        let help = "Stale messages that were dropped";
        registry.register("epoch_mismatch_dropped", help, self.fenced.clone());
        let help = "Messages with a token that is newer than its key";
        registry.register("integrity_errors", help, self.integrity_errors.clone());
        let help = "Attempts that ended in an error";
        registry.register("attempts_failed", help, self.troubles.clone());
        let help = "Rebuilds of a key's history that began";
        registry.register("reprocessing_epoch_bumped", help, self.epochs.clone());
        let help = "Times that a key's watermark fell";
        registry.register("watermark_resets", help, self.watermark_resets.clone());
        let help = "Rows of history that replays wrote";
        registry.register("replay_rows", help, self.replay_rows.clone());
        let help = "Trade currencies that differ from their instrument's";
        registry.register("currency_mismatches", help, self.currency_mismatches.clone());
        let help = "Valuation jobs that were created";
        registry.register("valuation_jobs_created", help, self.jobs_created.clone());
        let help = "Valuation jobs that are done";
        registry.register("valuation_jobs_completed", help, self.jobs_completed.clone());
        let help = "Attempts at a valuation job that failed, or that wait for named missing data";
        registry.register("valuation_jobs_failed", help, self.jobs_failed.clone());
        let help = "Valuation jobs that ended without a row, as their keys had moved on";
        registry.register("valuation_jobs_superseded", help, self.jobs_superseded.clone());
        let help = "Events of the outbox that the broker acknowledged";
        registry.register("outbox_events_published", help, self.published.clone());
        let help = "Messages that were refused for their content, by the topic they came from";
        registry.register("dead_letter", help, self.dead_letters.clone());
        let help = "Messages that were read";
        registry.register("kafka_messages_consumed", help, self.consumed.clone());
    }
}

impl Gauges {
    fn register(&self, registry: &mut Registry) {
        let help = "Keys that are REPROCESSING";
        registry.register("reprocessing_active_keys_total", help, self.reprocessing_keys.clone());
        let help = "Triggers that wait for the scheduler";
        let name = "instrument_reprocessing_triggers_pending";
        registry.register(name, help, self.triggers.clone());
        let help = "Valuation jobs that are not done";
        registry.register("valuation_jobs_pending", help, self.valuation_jobs.clone());
        let help = "Events that are not published yet";
        registry.register("outbox_events_pending", help, self.outbox_events.clone());
        let help = "Transactions that cannot be applied at their place";
        registry.register("parked_transactions", help, self.parked.clone());
        let help = "How long the key has waited that has been REPROCESSING for longest";
        registry.register("snapshot_lag_seconds", help, self.snapshot_lag.clone());
        let help = "Unix time at which the gauges of the database were last read";
        registry.register("db_readings_timestamp_seconds", help, self.readings_at.clone());
        let help = "Whether the process can work, as /readyz says";
        registry.register("ready", help, self.is_ready.clone());
    }
}

impl Metrics {
    /// What is counted for one instance of that process.
    pub fn instance(&self, service_name: &'static str) -> InstanceMetrics {
        InstanceMetrics { metrics: self.clone(), service_name, waits: Cell::new(false) }
    }

    /// Shows what was read of the database, and when.
    pub fn read(&self, readings: &Readings, at: SystemTime) {
        let gauges = &self.0.gauges;
        gauges.reprocessing_keys.set(signed(readings.reprocessing_keys));
        gauges.triggers.set(signed(readings.triggers));
        gauges.valuation_jobs.set(signed(readings.valuation_jobs));
        gauges.outbox_events.set(signed(readings.outbox_events));
        gauges.snapshot_lag.set(readings.snapshot_lag.as_secs_f64());
        // A clock before 1970 is none.
        let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        gauges.readings_at.set(at.as_secs_f64());
        for reason in ParkReason::ALL {
            let found = readings.parked.iter().find(|(found, _)| found == reason);
            let gauge = gauges.parked.get_or_create(&ByReason { reason: reason.as_str() });
            gauge.set(signed(found.map_or(0, |(_, count)| *count)));
        }
    }

    /// Shows whether the process can work.
    pub fn ready(&self, is_ready: bool) {
        self.0.gauges.is_ready.set(is_ready.into());
    }

    /// How long a statement took.
    pub fn statement(&self, operation: &'static str, took: Duration) {
        self.0.latency.get_or_create(&ByOperation { operation }).observe(took.as_secs_f64());
    }

    /// A request was answered.
    pub fn answered(&self, request: Answered<'_>) {
        let (route, status) = (request.route, request.status);
        self.0.answers.get_or_create(&ByRouteAndStatus { route, status }).inc();
        let times = self.0.answer_times.get_or_create(&ByRoute { route });
        times.observe(request.took.as_secs_f64());
    }

    /// The text that Prometheus reads.
    pub fn expose(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.0.registry)
            .expect("writing into a text does not fail");
        text
    }
}

/// What one instance adds to the metrics of its process.
pub struct InstanceMetrics {
    metrics: Metrics,
    service_name: &'static str,
    /// Whether keys of the job in hand wait: said right before the job's end.
    waits: Cell<bool>,
}

impl InstanceMetrics {
    /// Counts what an instance reports.
    pub fn signal(&self, signal: &Signal) {
        let counters = &self.metrics.0.counters;
        let service_name = self.service_name;
        let here = |topic: &'static str| ByServiceAndTopic { service_name, topic };
        match signal {
            Signal::Fenced { topic, .. } => {
                counters.fenced.get_or_create(&here(topic.as_str())).inc();
            }
            Signal::IntegrityError { topic, .. } => {
                counters.integrity_errors.get_or_create(&here(topic.as_str())).inc();
            }
            Signal::DeadLettered { topic, .. } => {
                counters.dead_letters.get_or_create(&ByTopic { topic: topic.as_str() }).inc();
            }
            Signal::EpochBumped { .. } => _ = counters.epochs.inc(),
            Signal::WatermarkReset { .. } => _ = counters.watermark_resets.inc(),
            Signal::Replayed { rows, .. } => _ = counters.replay_rows.inc_by((*rows).into()),
            Signal::CurrencyMismatch { .. } => _ = counters.currency_mismatches.inc(),
            Signal::JobsCreated { jobs, .. } => _ = counters.jobs_created.inc_by((*jobs).into()),
            Signal::JobsSuperseded { jobs } => _ = counters.jobs_superseded.inc_by((*jobs).into()),
            Signal::KeysWait { .. } => self.waits.set(true),
            Signal::JobCompleted { rows, superseded, .. } => {
                let counter = match (self.waits.take(), rows, superseded) {
                    (true, ..) => &counters.jobs_failed,
                    (false, 0, 1..) => &counters.jobs_superseded,
                    _ => &counters.jobs_completed,
                };
                counter.inc();
            }
            Signal::Trouble { during, .. } => {
                counters.troubles.get_or_create(&ByService { service_name }).inc();
                if during == position_valuation_calculator::PROCESS {
                    counters.jobs_failed.inc();
                }
            }
            Signal::BackdatedPrice { .. }
            | Signal::Parked { .. }
            | Signal::BecameCurrent { .. } => {}
        }
    }

    /// Counts what an instance does.
    pub fn measure(&self, measure: Measure) {
        let counters = &self.metrics.0.counters;
        match measure {
            Measure::Consumed { topic, group: group_id, records } => {
                let labels = ByTopicAndGroup { topic: topic.as_str(), group_id };
                counters.consumed.get_or_create(&labels).inc_by(records);
            }
            Measure::Published { topic, records } => {
                let labels = ByTopic { topic: topic.as_str() };
                counters.published.get_or_create(&labels).inc_by(records);
            }
            Measure::Gap { days } => self.metrics.0.gap_days.observe(days.into()),
        }
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
