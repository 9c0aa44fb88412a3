//! What the exposition says after some signals.

use super::*;
use crate::domain::ids::{Epoch, Key, Revision, Token};
use crate::ports::log::Topic;

fn token(epoch: u32, revision: u32) -> Token {
    let mut token = Token { epoch: Epoch::default(), revision: Revision::default() };
    (0..epoch).for_each(|_| token.epoch = token.epoch.next());
    (0..revision).for_each(|_| token.revision = token.revision.next());
    token
}

#[track_caller]
fn assert_line(metrics: &Metrics, line: &str) {
    let text = metrics.expose();
    assert!(text.lines().any(|found| found == line), "no line {line:?} in\n{text}");
}

#[test]
fn every_metric_of_the_contract_is_exposed_under_its_name() {
    let metrics = Metrics::default();
    metrics.read(&Readings::default(), SystemTime::UNIX_EPOCH);
    metrics.statement("LockKeys", Duration::from_millis(3));
    metrics.answered(Answered {
        route: "GET /x",
        path: "/x",
        status: 404,
        code: Some("no_such_path"),
        bytes: 2,
        took: Duration::from_millis(3),
        correlation_id: "c",
    });
    let instance = metrics.instance("position-valuation-calculator");
    let topic = Topic::ValuationRequired;
    instance.measure(Measure::Consumed {
        topic,
        group: "position-valuation-calculator",
        records: 7,
    });
    instance.measure(Measure::Published { topic, records: 2 });
    instance.measure(Measure::Gap { days: 4 });
    let (key, message, state) = (Key::new("P1", "S1"), token(0, 1), token(1, 2));
    let producer = Some("outbox-dispatcher-1".into());
    instance.signal(&Signal::Fenced { topic, key, message, state, producer });
    let topic = Topic::RawTransactions;
    instance.signal(&Signal::DeadLettered { topic, error: "NO_JSON".into() });
    for line in [
        "reprocessing_active_keys_total 0",
        "scheduler_gap_days_bucket{le=\"5.0\"} 1",
        "scheduler_gap_days_bucket{le=\"2.0\"} 0",
        "epoch_mismatch_dropped_total{service_name=\"position-valuation-calculator\",\
         topic=\"valuation_required\"} 1",
        "reprocessing_epoch_bumped_total 0",
        "instrument_reprocessing_triggers_pending 0",
        "valuation_jobs_created_total 0",
        "valuation_jobs_completed_total 0",
        "valuation_jobs_failed_total 0",
        "valuation_jobs_superseded_total 0",
        "valuation_jobs_pending 0",
        "outbox_events_pending 0",
        "outbox_events_published_total{topic=\"valuation_required\"} 2",
        "dead_letter_total{topic=\"raw_transactions\"} 1",
        "parked_transactions{reason=\"NO_FX\"} 0",
        "kafka_messages_consumed_total{topic=\"valuation_required\",\
         group_id=\"position-valuation-calculator\"} 7",
        "snapshot_lag_seconds 0.0",
        "db_operation_latency_seconds_bucket{le=\"0.005\",operation=\"LockKeys\"} 1",
        "http_requests_total{route=\"GET /x\",status=\"404\"} 1",
        "http_request_duration_seconds_bucket{le=\"0.005\",route=\"GET /x\"} 1",
        "replay_rows_total 0",
        "watermark_resets_total 0",
        "ready 0",
    ] {
        assert_line(&metrics, line);
    }
}

#[test]
fn every_metric_has_its_name_in_the_list() {
    let metrics = Metrics::default();
    metrics.read(&Readings::default(), SystemTime::UNIX_EPOCH);
    metrics.statement("LockKeys", Duration::from_millis(3));
    let instance = metrics.instance("persistence");
    let topic = Topic::RawTransactions;
    instance.measure(Measure::Consumed { topic, group: "persistence", records: 1 });
    instance.measure(Measure::Published { topic, records: 1 });
    let (key, message, state) = (Key::new("P1", "S1"), token(0, 1), token(1, 2));
    let fenced = Signal::Fenced { topic, key: key.clone(), message, state, producer: None };
    instance.signal(&fenced);
    instance.signal(&Signal::IntegrityError { topic, key, message, state });
    instance.signal(&Signal::DeadLettered { topic, error: "NO_JSON".into() });
    instance.signal(&Signal::Trouble { during: "persistence".into(), error: "gone".into() });
    metrics.answered(Answered {
        route: "GET /x",
        path: "/x",
        status: 200,
        code: None,
        bytes: 2,
        took: Duration::from_millis(3),
        correlation_id: "c",
    });
    let exposed = metrics.expose();
    let families = exposed.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut names: Vec<String> = families
        .map(|family| match family.split_once(' ').expect("a family has a type") {
            (name, "counter") => format!("{name}_total"),
            (name, _) => name.to_owned(),
        })
        .collect();
    names.sort();
    assert_eq!(names, NAMES);
}

#[test]
fn a_job_counts_as_done_as_superseded_or_as_waiting() {
    let metrics = Metrics::default();
    let instance = metrics.instance("position-valuation-calculator");
    let done = |rows, superseded| Signal::JobCompleted { id: 1, rows, superseded };
    instance.signal(&done(10, 1));
    instance.signal(&done(0, 3));
    metrics.instance("valuation-scheduler").signal(&Signal::JobsSuperseded { jobs: 2 });
    instance.signal(&Signal::KeysWait { keys: Vec::new(), missing: "instrument S1".into() });
    instance.signal(&done(0, 0));
    instance.signal(&done(5, 0));
    let (during, error) = ("position-valuation-calculator".into(), "gone".into());
    instance.signal(&Signal::Trouble { during, error });
    assert_line(&metrics, "valuation_jobs_completed_total 2");
    assert_line(&metrics, "valuation_jobs_superseded_total 3");
    assert_line(&metrics, "valuation_jobs_failed_total 2");
}
