//! Doctored order: of events, of versions, of jobs and of what groups have committed.

use std::time::Duration;

use backdate_engine::domain::time::Timestamp;
use backdate_engine::ports::log::Position;
use backdate_engine::ports::store::rows::{JobKey, JobStatus, ValuationJobRow};

use super::*;

/// A valuation job that is claimed at that second, or that waits.
fn job(id: u64, claimed_s: Option<i64>) -> Row {
    let token = Token { epoch: Epoch(0), revision: Revision(1) };
    job_under(token, id, claimed_s)
}

fn job_under(token: Token, id: u64, claimed_s: Option<i64>) -> Row {
    let lease = JudgeConfig::default().lease;
    let end = |second: i64| {
        let lease = i64::try_from(lease.as_micros()).expect("a short lease");
        Timestamp::from_micros(second * 1_000_000 + lease)
    };
    Row::ValuationJob(Rc::new(ValuationJobRow {
        id,
        keys: vec![JobKey { key: key(), token }],
        date_from: date(1),
        date_to: date(3),
        status: if claimed_s.is_some() { JobStatus::Processing } else { JobStatus::Pending },
        attempts: u32::from(claimed_s.is_some()),
        lease_until: claimed_s.map(end),
        not_before: Timestamp::from_micros(0),
    }))
}

fn by_scheduler(rows: Vec<Row>) -> EventKind {
    committed("valuation-scheduler-1", rows.into_iter().map(put).collect())
}

#[test]
fn g3_breaks_when_a_zombie_takes_back_what_its_group_has_committed() {
    breaks(RuleId::G3, "price-watcher falls back from 1 to 0", |tape| {
        let topic = Topic::MarketPricePersisted;
        let positions = vec![Position { topic, partition: 0, next_offset: 0 }];
        let group = SmolStr::new("price-watcher");
        let zombie = EventKind::OffsetsCommitted { group, positions };
        tape.insert_after("later valued", "kafka-1", zombie);
    });
}

#[test]
fn g4_breaks_when_events_of_a_key_overtake_each_other() {
    let topic = Topic::ProcessedTransactionsCompleted;
    let events = [outbox(20, topic, "first"), outbox(21, topic, "second")];
    breaks(RuleId::G4, "event 21 appears before 20", |tape| {
        for event in &events {
            tape.commit("position-calculator-1", vec![put(event.clone())]);
        }
        tape.append(topic, "second");
        tape.append(topic, "first");
        tape.commit("outbox-dispatcher-1", events.clone().map(gone).to_vec());
    });
}

#[test]
fn ids_that_do_not_commit_in_order_and_duplicates_break_nothing() {
    let topic = Topic::ProcessedTransactionsCompleted;
    let mut tape = clean::tape();
    let (early, late) = (outbox(20, topic, "early id"), outbox(21, topic, "late id"));
    tape.commit("position-calculator-1", vec![put(late.clone())]);
    tape.commit("position-calculator-2", vec![put(early.clone())]);
    for payload in ["late id", "early id", "late id"] {
        tape.append(topic, payload);
    }
    tape.commit("outbox-dispatcher-1", vec![gone(early), gone(late)]);
    assert_eq!(broken(&judge(&tape.finished())), []);
}

#[test]
fn g4_breaks_when_a_key_is_current_on_its_way() {
    breaks(RuleId::G4, "W at 2025-01-02, which never was the latest business date", |tape| {
        let mut early = state_at(tape, "later valued");
        early.status = KeyStatus::Current;
        early.watermark_date = date(2);
        let early = committed("valuation-scheduler-2", vec![set_state(early)]);
        tape.insert_after("later valued", "postgres", early);
    });
}

#[test]
fn g8_breaks_when_a_job_is_passed_over_for_long() {
    breaks(RuleId::G8, "valuation job 7 waits", |tape| {
        let gone_jobs = [7, 8, 9].map(|id| gone(job(id, None))).to_vec();
        let done = committed("position-valuation-calculator-1", gone_jobs);
        tape.insert_after("later valued", "postgres", done);
        tape.insert_after("later valued", "postgres", by_scheduler(vec![job(9, Some(20))]));
        let late = tape.at("later valued") + 1;
        tape.insert_after("later valued", "postgres", by_scheduler(vec![job(8, Some(1))]));
        let waiting = vec![job(7, None), job(8, None), job(9, None)];
        tape.insert_after("later valued", "postgres", by_scheduler(waiting));
        for event in &mut tape.events[late + 2..] {
            event.at = event.at + Duration::from_secs(13);
        }
    });
}

/// Drops a younger job, and much later another one, while an older one waits for its claim.
fn drop_younger_jobs(tape: &mut Tape, token: Token) {
    let dropped = |id| committed("valuation-scheduler-1", vec![gone(job_under(token, id, None))]);
    tape.insert_after("later valued", "postgres", dropped(7));
    tape.insert_after("later valued", "postgres", dropped(9));
    let late = tape.at("later valued") + 1;
    tape.insert_after("later valued", "postgres", dropped(8));
    let waiting = [7, 8, 9].map(|id| job_under(token, id, None)).to_vec();
    tape.insert_after("later valued", "postgres", by_scheduler(waiting));
    for event in &mut tape.events[late + 2..] {
        event.at = event.at + Duration::from_secs(13);
    }
}

#[test]
fn a_younger_job_that_is_dropped_as_superseded_passes_nobody_over() {
    let mut tape = clean::tape();
    let now = state_at(&mut tape, "later valued").token();
    let older = Token { revision: Revision(now.revision.0 - 1), ..now };
    drop_younger_jobs(&mut tape, older);
    assert_eq!(broken(&judge(&tape.finished())), []);
}

#[test]
fn g8_breaks_when_younger_jobs_vanish_that_are_not_superseded() {
    breaks(RuleId::G8, "valuation job 7 waits", |tape| {
        let now = state_at(tape, "later valued").token();
        drop_younger_jobs(tape, now);
    });
}

#[test]
fn g9_breaks_when_a_current_key_serves_an_older_epoch() {
    breaks(RuleId::G9, "is CURRENT with epoch 1 and serves 0", |tape| {
        let mut state = state_at(tape, "backdated current");
        state.served_epoch = Epoch(0);
        let current = committed("valuation-scheduler-2", vec![set_state(state)]);
        tape.insert_after("backdated valued", "postgres", current);
    });
}

#[test]
fn g9_breaks_when_rows_of_the_served_version_are_deleted() {
    breaks(RuleId::G9, "of epoch 0 is gone, and it is still served", |tape| {
        let row = Row::History(Rc::new(FIRST.history(0, (10, 100))));
        let pruned = committed("position-calculator-1", vec![gone(row)]);
        tape.insert_after("replayed", "postgres", pruned);
    });
}

#[test]
fn g10_breaks_when_a_job_is_claimed_again_while_its_lease_runs() {
    breaks(RuleId::G10, "valuation job 7 is claimed again while its lease runs", |tape| {
        let done = committed("position-valuation-calculator-1", vec![gone(job(7, Some(5)))]);
        tape.insert_after("later valued", "postgres", done);
        tape.insert_after("later valued", "postgres", by_scheduler(vec![job(7, Some(5))]));
        tape.insert_after("later valued", "postgres", by_scheduler(vec![job(7, Some(1))]));
    });
}

#[test]
fn a_job_whose_lease_has_ended_may_be_claimed_again() {
    let mut tape = clean::tape();
    let done = committed("position-valuation-calculator-1", vec![gone(job(7, Some(30)))]);
    tape.insert_after("later valued", "postgres", done);
    tape.insert_after("later valued", "postgres", by_scheduler(vec![job(7, Some(30))]));
    tape.insert_after("later valued", "postgres", by_scheduler(vec![job(7, Some(1))]));
    assert_eq!(broken(&judge(&tape.finished())), []);
}
