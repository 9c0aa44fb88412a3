//! G3, fencing: nothing that was computed under an older token becomes visible.
//!
//! - Execution: every commit, and every dead letter.
//! - Allowed interference: zombies, second instances, producers that keep an old token, pauses of
//!   any length between two statements; jobs of another environment that a client sends.
//! - Assertion: snapshots carry the token that the key has after the very commit that writes
//!   them, history rows its epoch, cash flows an epoch that is valid under it, and rows of a series
//!   that of a snapshot that is valid; a commit that folds (history, lots) moves the token or the
//!   counter that computing before the lock compares. Stale messages are dropped, never
//!   dead-lettered, and no instance meets a token that is newer than the state, unless a client
//!   has sent a job with that very token for that very key. What a group has committed does not
//!   fall: a member of an older generation is refused.

use std::collections::{HashMap, HashSet};

use backdate_engine::domain::ids::{Epoch, Key, Revision, Token};
use backdate_engine::ports::host::Signal;
use backdate_engine::ports::log::Topic;
use backdate_reports::recording::{Change, EventKind, Row};
use serde::Deserialize;
use serde_json::Value;

use smol_str::SmolStr;

use super::mirror::KeyMirror;
use super::rule::{Rule, RuleReport, Scene};

#[derive(Default)]
pub(super) struct Fencing {
    /// Committed positions by group, topic and partition.
    positions: HashMap<(SmolStr, Topic, u32), u64>,
    /// Jobs that did not come from the engine.
    foreign: HashSet<(Key, Token)>,
}

impl Rule for Fencing {
    fn observe(&mut self, scene: &Scene<'_>, report: &mut RuleReport) {
        match &scene.event.kind {
            EventKind::Committed { changes, .. } => commit(changes, scene, report),
            EventKind::Appended(record) if record.topic == Topic::DeadLetters => {
                dead_letter(scene, report);
            }
            EventKind::OffsetsCommitted { group, positions } => {
                for position in positions {
                    let place = (group.clone(), position.topic, position.partition);
                    let (next, last) = (position.next_offset, self.positions.entry(place));
                    let last = last.or_default();
                    report.check(next >= *last, scene.event, || {
                        let (topic, partition) = (position.topic, position.partition);
                        format!("{group} falls back from {last} to {next} in {topic}[{partition}]")
                    });
                    *last = next;
                }
            }
            EventKind::InputSent { topic: Topic::ValuationRequired, value, .. } => {
                self.foreign.extend(foreign_job(value));
            }
            EventKind::Signal(Signal::IntegrityError { topic, key, message, state }) => {
                let is_foreign = *topic == Topic::ValuationRequired
                    && self.foreign.contains(&(key.clone(), *message));
                report.check(is_foreign, scene.event, || {
                    format!("{topic} brought {key} token {message}, newer than the state's {state}")
                });
            }
            _ => {}
        }
    }
}

fn commit(changes: &[Change], scene: &Scene<'_>, report: &mut RuleReport) {
    for (change, index) in changes.iter().zip(&scene.step.rows) {
        let (false, Some(index)) = (change.deleted, index) else {
            continue;
        };
        let mirrored = &scene.mirror.keys[*index];
        match &change.row {
            Row::Snapshot(row) => {
                let token = Token { epoch: row.epoch, revision: row.revision };
                let holds = state_token(mirrored) == Some(token);
                report.check(holds, scene.event, || {
                    let (key, date) = (&mirrored.key, row.date);
                    let state = state_token(mirrored);
                    format!("a snapshot of {key} on {date} has token {token}, the key {state:?}")
                });
            }
            Row::History(row) => {
                let epoch = state_token(mirrored).map(|token| token.epoch);
                report.check(epoch == Some(row.epoch), scene.event, || {
                    let (key, written) = (&mirrored.key, row.epoch.0);
                    format!("a history row of {key} has epoch {written}, the key {epoch:?}")
                });
            }
            Row::Cashflow(row) => {
                let newest = mirrored.newest();
                let is_valid = mirrored.is_valid(row.epoch, row.place.date(), newest);
                report.check(is_valid, scene.event, || {
                    let (key, id, written) =
                        (&mirrored.key, &row.place.transaction_id, row.epoch.0);
                    format!("the cash flow of {id} of {key} has epoch {written}, which has ended")
                });
            }
            Row::PositionSeries(row) => {
                let token = Token { epoch: row.epoch, revision: row.revision };
                let snapshot = mirrored.snapshots.get(&(row.date, row.epoch));
                let newest = mirrored.newest();
                let holds = snapshot.is_some_and(|snapshot| snapshot.revision == row.revision)
                    && mirrored.is_valid(row.epoch, row.date, newest)
                    && mirrored.is_settled(row.date, token);
                report.check(holds, scene.event, || {
                    let (key, date) = (&mirrored.key, row.date);
                    format!("the series of {key} on {date} has token {token}, of no valid snapshot")
                });
            }
            _ => {}
        }
    }
    for touch in &scene.step.touched {
        if !touch.history && !touch.lots {
            continue;
        }
        let mirrored = &scene.mirror.keys[touch.key];
        let moved = match (&touch.before, &mirrored.state) {
            (Some(before), Some(after)) => {
                before.token() != after.token() || before.input_version < after.input_version
            }
            (None, Some(_)) => true,
            _ => false,
        };
        // Pruning what a newer epoch has replaced changes no input of anything.
        let pruned = !touch.lots && only_deletes_history(changes, &scene.step.rows, touch.key);
        report.check(moved || pruned, scene.event, || {
            let key = &mirrored.key;
            format!("a commit folded {key} and moved neither its token nor its counter")
        });
    }
}

/// Key and token of a job that a client sends.
fn foreign_job(value: &[u8]) -> Option<(Key, Token)> {
    #[derive(Deserialize)]
    struct Fields {
        portfolio_id: SmolStr,
        security_id: SmolStr,
        epoch: Epoch,
        revision: Revision,
    }
    let fields: Fields = serde_json::from_slice(value).ok()?;
    let token = Token { epoch: fields.epoch, revision: fields.revision };
    Some((Key::new(fields.portfolio_id.as_str(), fields.security_id.as_str()), token))
}

fn state_token(mirrored: &KeyMirror) -> Option<Token> {
    mirrored.state.as_ref().map(|state| state.token())
}

fn only_deletes_history(changes: &[Change], rows: &[Option<usize>], key: usize) -> bool {
    let of_key = changes.iter().zip(rows).filter(|(_, row)| **row == Some(key));
    of_key
        .filter(|(change, _)| matches!(change.row, Row::History(_)))
        .all(|(change, _)| change.deleted)
}

/// A message of the engine's own topics that says whose it is and under which token is no poison.
fn dead_letter(scene: &Scene<'_>, report: &mut RuleReport) {
    let Some((topic, value)) = &scene.mirror.dead_letters.last else {
        return;
    };
    let fenced_topics = [
        Topic::ProcessedTransactionsCompleted,
        Topic::ValuationRequired,
        Topic::DailyPositionSnapshotPersisted,
    ];
    let fenced_topic = fenced_topics.iter().any(|known| known.as_str() == topic);
    let carries_token = || {
        let Ok(Value::Object(fields)) = serde_json::from_str(value) else {
            return false;
        };
        ["portfolio_id", "security_id", "epoch", "revision"]
            .iter()
            .all(|name| fields.get(*name).is_some_and(|field| !field.is_null()))
    };
    report.check(!(fenced_topic && carries_token()), scene.event, || {
        format!("a message of {topic} that carries a token was dead-lettered: {value}")
    });
}
