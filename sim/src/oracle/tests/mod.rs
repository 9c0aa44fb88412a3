//! Each rule breaks on a recording doctored for it, and on nothing else; the clean one passes.

mod against_engine;
mod clean;
mod conduct;
mod exemptions;
mod queues;
mod results;
mod series;
mod tape;

use std::rc::Rc;

use backdate_engine::domain::ids::{Epoch, Revision, Token};
use backdate_engine::domain::records::Classification;
use backdate_engine::domain::records::{Fate, KeyStatus, Outcome, ParkReason, TransactionType};
use backdate_engine::ports::host::Signal;
use backdate_engine::ports::log::Topic;
use backdate_engine::ports::store::StoreError;
use backdate_engine::ports::store::rows::{CashflowRow, KeyState, TimelineRow};
use backdate_reports::recording::{Change, CrashCause, Event, EventKind, Phase, Row, SimTime};
use smol_str::SmolStr;

use super::{Judge, JudgeConfig, RuleId, RunEnd, Verdict};
use clean::{BACKDATED, FIRST, LATER};
use tape::*;

fn judge(events: &[Event]) -> Verdict {
    let mut judge = Judge::new(JudgeConfig::default());
    for event in events {
        judge.observe(event);
    }
    let settled = EventKind::Phase(Phase::Settled);
    judge.finish(&RunEnd {
        settled: events.iter().any(|event| event.kind == settled),
        last: events.last().map_or(SimTime::default(), |event| event.at),
    })
}

/// Broken rules with their evidence.
fn broken(verdict: &Verdict) -> Vec<(RuleId, String)> {
    let broken = verdict.rules.iter().filter(|report| report.violations > 0);
    broken
        .map(|report| {
            let first = report.first.as_ref().expect("a violation has evidence");
            (report.id, format!("{}: {}", first.event, first.text))
        })
        .collect()
}

#[track_caller]
fn breaks(rule: RuleId, evidence: &str, doctor: impl FnOnce(&mut Tape)) {
    let mut tape = clean::tape();
    doctor(&mut tape);
    let found = broken(&judge(&tape.finished()));
    let only = found.len() == 1 && found[0].0 == rule && found[0].1.contains(evidence);
    assert!(only, "{rule} must break with {evidence:?}: {found:#?}");
}

/// The key's state as a named commit leaves it.
fn state_at(tape: &mut Tape, name: &str) -> KeyState {
    let mut changes = tape.changes(name).iter().rev();
    let state = changes.find_map(|change| match &change.row {
        Row::Key(row) => Some((**row).clone()),
        _ => None,
    });
    state.expect("the commit writes the key")
}

fn set_state(state: KeyState) -> backdate_reports::recording::Change {
    put(Row::Key(Rc::new(state)))
}

fn edit_read(
    tape: &mut Tape,
    name: &str,
    edit: impl FnOnce(&mut Vec<backdate_engine::ports::store::statements::PositionRead>),
) {
    let at = tape.at(name);
    match &mut tape.events[at].kind {
        EventKind::Read { positions, .. } => edit(positions),
        other => panic!("{name} is no read: {other:?}"),
    }
}

#[test]
fn a_clean_run_passes_and_every_rule_was_evaluated() {
    let verdict = judge(&clean::tape().finished());
    assert_eq!(broken(&verdict), []);
    assert!(verdict.passed());
    for report in &verdict.rules {
        assert!(report.checks > 0, "{} was not evaluated", report.id);
    }
}

#[test]
fn a_claimed_rule_that_was_never_evaluated_is_broken() {
    let verdict = judge(&[]);
    let found: Vec<RuleId> = broken(&verdict).into_iter().map(|(id, _)| id).collect();
    assert_eq!(found, RuleId::ALL[1..]);
}
