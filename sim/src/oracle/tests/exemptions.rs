//! What rules let pass on purpose: each exemption beside the violation next to it.

use std::time::Duration;

use super::*;

/// What some rules alone find wrong, in a run that settles or not.
fn found_by(rules: &[RuleId], tape: Tape, settled: bool) -> Vec<(RuleId, String)> {
    let claims = rules.to_vec();
    let mut judge = Judge::new(JudgeConfig { claims, ..JudgeConfig::default() });
    let events = tape.finished();
    events.iter().for_each(|event| judge.observe(event));
    let last = events.last().expect("a run has events").at;
    broken(&judge.finish(&RunEnd { settled, last }))
}

/// The clean run until a reader has seen the key hold 15 units.
fn until_seen() -> Tape {
    let mut tape = clean::tape();
    let at = tape.at("later read");
    tape.events.truncate(at + 1);
    tape
}

/// The served version then ends with that position.
fn serve(tape: &mut Tape, held: (i64, i64)) {
    let row = Row::History(Rc::new(LATER.history(0, held)));
    tape.commit("position-calculator-1", vec![put(row)]);
}

fn read_nothing(tape: &mut Tape) {
    let read = EventKind::Read { portfolio_id: "P".into(), positions: Vec::new() };
    tape.push("reader-1", read);
}

#[test]
fn g9_a_position_that_came_to_nothing_has_not_disappeared() {
    let mut tape = until_seen();
    serve(&mut tape, (0, 0));
    // By its timeline it still holds something: a version that is not served yet.
    read_nothing(&mut tape);
    read_nothing(&mut tape);
    assert_eq!(found_by(&[RuleId::G9], tape, true), []);
}

#[test]
fn g9_a_position_that_came_to_something_again_must_be_seen_again() {
    let mut tape = until_seen();
    serve(&mut tape, (0, 0));
    read_nothing(&mut tape);
    serve(&mut tape, (15, 160));
    // This one may show what was there before.
    read_nothing(&mut tape);
    let before = tape.events.len();
    read_nothing(&mut tape);
    let found = found_by(&[RuleId::G9], tape, true);
    let evidence = format!("{before}: P/S holds something and is not in the answer");
    assert_eq!(found, [(RuleId::G9, evidence)]);
}

#[test]
fn g9_another_position_that_came_to_nothing_excuses_none() {
    let mut tape = until_seen();
    read_nothing(&mut tape);
    let found = found_by(&[RuleId::G9], tape, true);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].1.contains("is not in the answer"), "{found:?}");
}

/// A reader is told so, that long after the last event.
fn refuse(tape: &mut Tape, code: &str, later: Duration) {
    let refused = EventKind::ReadRefused { portfolio_id: "P".into(), code: code.into() };
    tape.push("reader-1", refused);
    let last = tape.events.last_mut().expect("it was just pushed");
    last.at = last.at + later;
}

#[test]
fn g9_a_portfolio_that_was_shown_is_not_unknown_afterwards() {
    let mut early = clean::tape();
    let unknown =
        EventKind::ReadRefused { portfolio_id: "P".into(), code: "unknown_portfolio".into() };
    early.insert_after("reference data", "reader-1", unknown);
    assert_eq!(found_by(&[RuleId::G9], early, true), []);
    let mut late = clean::tape();
    refuse(&mut late, "unknown_portfolio", Duration::ZERO);
    let found = found_by(&[RuleId::G9], late, true);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].1.contains("P is unknown and was shown before"), "{found:?}");
}

#[test]
fn g9_the_database_is_not_away_while_nothing_is_wrong() {
    let quiet = Duration::from_secs(30);
    let fault =
        |begins| EventKind::Fault { fault: "partition".into(), begins, detail: SmolStr::default() };
    let away = |prologue: &[EventKind], times: usize| {
        let mut tape = clean::tape();
        for kind in prologue {
            tape.push("network", kind.clone());
        }
        for _ in 0..times {
            refuse(&mut tape, "database_unavailable", quiet);
        }
        found_by(&[RuleId::G9], tape, true)
    };
    assert_eq!(away(&[], 1).len(), 1, "nothing has gone wrong");
    assert_eq!(away(&[fault(true)], 20), [], "something is wrong");
    let over = [fault(true), fault(false)];
    assert_eq!(away(&over, 8), [], "dead sessions are left");
    let found = away(&over, 9);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].1.contains("9 times in a row"), "{found:?}");
    let mut tape = clean::tape();
    tape.push("postgres", EventKind::Crashed(CrashCause::Scheduled));
    refuse(&mut tape, "database_unavailable", quiet);
    assert_eq!(found_by(&[RuleId::G9], tape, true), [], "it is down");
}

/// A client sends a job of another environment for the key; an instance then reports a token of
/// some key as newer than its state.
fn newer(topic: Topic, reported: backdate_engine::domain::ids::Key, epoch: u32) -> Tape {
    let mut tape = clean::tape();
    let job = r#"{"portfolio_id":"P","security_id":"S","valuation_date":"2025-01-03",
        "epoch":9,"revision":7}"#;
    tape.input(Topic::ValuationRequired, job);
    let token = |epoch| Token { epoch: Epoch(epoch), revision: Revision(7) };
    let (message, state) = (token(epoch), token(0));
    let signal = Signal::IntegrityError { topic, key: reported, message, state };
    tape.push("position-valuation-calculator-1", EventKind::Signal(signal));
    tape
}

#[test]
fn g3_a_newer_token_that_a_client_has_sent_is_none_of_the_engine() {
    let tape = newer(Topic::ValuationRequired, key(), 9);
    assert_eq!(found_by(&[RuleId::G3], tape, true), []);
}

#[test]
fn g3_a_clients_job_excuses_no_other_key_token_or_topic() {
    let other = backdate_engine::domain::ids::Key::new("P", "X");
    for tape in [
        newer(Topic::ValuationRequired, other, 9),
        newer(Topic::ValuationRequired, key(), 8),
        newer(Topic::ProcessedTransactionsCompleted, key(), 9),
    ] {
        let found = found_by(&[RuleId::G3], tape, true);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].1.contains("newer than the state"), "{found:?}");
    }
}

#[test]
fn g3_a_clients_job_excuses_nothing_before_it_was_sent() {
    let mut tape = newer(Topic::ValuationRequired, key(), 9);
    let signal = tape.events.pop().expect("the report");
    tape.events.insert(tape.at("later valued"), signal);
    let found = found_by(&[RuleId::G3], tape, true);
    assert_eq!(found.len(), 1, "{found:?}");
}

/// A run that is over before anything but reference data has come; `broken`: by a broken rule.
fn short(is_broken: bool) -> Tape {
    let mut tape = clean::tape();
    let at = tape.at("reference data");
    tape.events.truncate(at + 1);
    if is_broken {
        let late = put(Row::Snapshot(Rc::new(snapshot(2, (0, 0), (10, 100)))));
        tape.commit("position-valuation-calculator-2", vec![late]);
    }
    tape
}

#[test]
fn what_a_broken_rule_cuts_short_breaks_no_rule_for_what_it_left_out() {
    let found = found_by(&RuleId::ALL, short(true), false);
    assert!(found.iter().any(|(id, _)| *id == RuleId::G3), "{found:?}");
    let unevaluated = |text: &str| text.contains("never evaluated");
    assert!(!found.iter().any(|(id, text)| unevaluated(text) || *id == RuleId::G8), "{found:?}");
}

#[test]
fn what_ends_early_for_another_reason_breaks_the_rules_that_it_left_out() {
    // Liveness says that it did not settle; the end itself is nothing to compare with.
    let found = found_by(&RuleId::ALL, short(false), false);
    let ids: Vec<RuleId> = found.iter().map(|(id, _)| *id).collect();
    assert!(ids.contains(&RuleId::G8) && ids.contains(&RuleId::G9), "{found:?}");
    assert!(!ids.contains(&RuleId::G1), "{found:?}");
}

#[test]
fn a_broken_rule_excuses_no_run_that_came_to_its_end() {
    let found = found_by(&RuleId::ALL, short(true), true);
    let unevaluated =
        |id| found.iter().any(|(found, text)| *found == id && text.contains("never evaluated"));
    assert!(unevaluated(RuleId::G9), "{found:?}");
}
