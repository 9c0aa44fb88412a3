//! G5, exactly-once effect: a transaction counts once, however often its message comes.
//!
//! - Execution: every commit that writes timelines or history.
//! - Allowed interference: redelivery, retries of producers, rebalances, replays, republished news.
//! - Assertion: a transaction stands at one place of one key's timeline. A history row stands at
//!   the place of an entry of the timeline, and its quantity is that of the valid row before it
//!   plus the entry's own units. When a replay ends, the valid history has one row per applied
//!   entry. A transaction has one valid cash flow at the most.

use backdate_reports::recording::{EventKind, Row};

use super::mirror::KeyMirror;
use super::mirror::units;
use super::rule::{Rule, RuleReport, Scene};

pub(super) struct ExactlyOnce;

impl Rule for ExactlyOnce {
    fn observe(&mut self, scene: &Scene<'_>, report: &mut RuleReport) {
        let EventKind::Committed { changes, .. } = &scene.event.kind else {
            return;
        };
        for (change, index) in changes.iter().zip(&scene.step.rows) {
            let (false, Some(index)) = (change.deleted, index) else {
                continue;
            };
            let mirrored = &scene.mirror.keys[*index];
            match &change.row {
                Row::Timeline(row) => {
                    let id = &row.place.transaction_id;
                    let places = scene.mirror.places.get(id).map_or(0, Vec::len);
                    report.check(places <= 1, scene.event, || {
                        format!("{id} stands at {places} places of timelines")
                    });
                }
                Row::History(row) => {
                    let wrong = effect(mirrored, row);
                    report.check(wrong.is_none(), scene.event, || {
                        format!("{}: {}", mirrored.key, wrong.unwrap_or_default())
                    });
                }
                Row::Cashflow(row) => {
                    let id = &row.place.transaction_id;
                    let flows = mirrored.valid_cashflows_of(id, mirrored.newest()).count();
                    report
                        .check(flows <= 1, scene.event, || format!("{id} has {flows} cash flows"));
                }
                _ => {}
            }
        }
        for touch in &scene.step.touched {
            let mirrored = &scene.mirror.keys[touch.key];
            if touch.replay_before && mirrored.replay.is_none() {
                let wrong = complete(mirrored);
                report.check(wrong.is_none(), scene.event, || {
                    format!("{}: {}", mirrored.key, wrong.unwrap_or_default())
                });
            }
        }
    }
}

/// A history row moves the position by its own transaction, once.
fn effect(
    mirrored: &KeyMirror,
    row: &backdate_engine::ports::store::rows::HistoryRow,
) -> Option<String> {
    let id = &row.place.transaction_id;
    let Some(entry) = mirrored.timeline.get(&row.place) else {
        return Some(format!("the history has {id} where the timeline has not"));
    };
    let before = mirrored.history_before(&row.place, row.epoch);
    let before = before.map(|row| row.position.quantity).unwrap_or_default();
    let must = before + units(&entry.terms);
    let is = row.position.quantity;
    (must != is).then(|| format!("{id} must move the quantity from {before} to {must}, not {is}"))
}

/// One valid row per applied entry.
fn complete(mirrored: &KeyMirror) -> Option<String> {
    let newest = mirrored.state.as_ref()?.epoch;
    let mut rows = mirrored.valid_history(newest).rev();
    for entry in mirrored.timeline.values().filter(|row| row.is_applied()) {
        let id = &entry.place.transaction_id;
        match rows.next() {
            Some(row) if row.place == entry.place => {}
            Some(row) => {
                let there = &row.place.transaction_id;
                return Some(format!("after the replay {there} stands where {id} must"));
            }
            None => return Some(format!("after the replay {id} has no effect")),
        }
    }
    let extra = rows.next()?;
    let id = &extra.place.transaction_id;
    Some(format!("after the replay {id} has an effect and must not"))
}
