//! G1, convergence: the tables end as the inputs say.
//!
//! - Execution: a run that has settled.
//! - Allowed interference: anything before; faults have ended, and whatever they destroyed for good
//!   stays destroyed.
//! - Assertion: every key is `CURRENT` with W = the latest business date and serves its newest
//!   history; costs, parked transactions, history, cash flows, lots, snapshots and series (of
//!   keys and of portfolios) equal the naive model's, none is missing and none is there in excess.
//!   A key whose instrument never came rests as it is: its costs and history are compared, its
//!   state is not.

mod series;

use std::collections::{BTreeMap, BTreeSet};

use backdate_engine::domain::ids::Key;
use backdate_engine::domain::records::Cashflow;
use backdate_engine::domain::records::{Costs, Fate, KeyStatus, Place};
use backdate_engine::ports::store::rows::SnapshotRow;

use super::mirror::KeyMirror;
use super::model::{FoldedRow, KeyTables, Valued};
use super::rule::{End, Rule, RuleReport, Scene, near, near_option, near_position, near_values};

pub(super) use series::same_row;

pub(super) struct Convergence;

impl Rule for Convergence {
    fn observe(&mut self, _scene: &Scene<'_>, _report: &mut RuleReport) {}

    fn finish(&mut self, end: &End<'_>, report: &mut RuleReport) {
        if !end.settled {
            return;
        }
        let inputs = &end.mirror.raw.inputs;
        let expected: BTreeSet<&Key> = inputs.keys().collect();
        for mirrored in &end.mirror.keys {
            let known = expected.contains(&mirrored.key) || mirrored.state.is_none();
            report.check_end(known, end, || {
                format!("{} exists and no input is about it", mirrored.key)
            });
        }
        let tables: BTreeMap<&Key, KeyTables> =
            expected.iter().map(|key| (*key, inputs.key_tables(key, None, None))).collect();
        for (key, tables) in &tables {
            let found = end.mirror.find(key).map(|index| &end.mirror.keys[index]);
            let Some(mirrored) = found else {
                report.check_end(false, end, || format!("{key} does not exist"));
                continue;
            };
            let latest = inputs.latest_business_date();
            if !tables.waits {
                let wrong = state(mirrored, latest);
                report.check_end(wrong.is_none(), end, || {
                    format!("{key}: {}", wrong.unwrap_or_default())
                });
            }
            for wrong in [
                timeline(mirrored, tables),
                history(mirrored, tables),
                lots(mirrored, tables),
                snapshots(mirrored, tables),
                cashflows(mirrored, &inputs.flows(key, &tables.folded)),
                series::position(mirrored, &inputs.position_series(key, tables)),
            ] {
                report.check_end(wrong.is_none(), end, || {
                    format!("{key}: {}", wrong.unwrap_or_default())
                });
            }
        }
        series::judge_portfolios(&tables, end, report);
    }
}

fn state(
    mirrored: &KeyMirror,
    latest: Option<backdate_engine::domain::time::Date>,
) -> Option<String> {
    let Some(state) = &mirrored.state else {
        return Some("it has no row of position_state".to_owned());
    };
    if mirrored.replay.is_some() {
        return Some("its replay is still open".to_owned());
    }
    if state.status != KeyStatus::Current {
        return Some(format!("it is {} at rest", state.status));
    }
    if state.served_epoch != state.epoch {
        let (served, newest) = (state.served_epoch.0, state.epoch.0);
        return Some(format!("epoch {served} is served and {newest} is the newest"));
    }
    match latest {
        Some(latest) if state.watermark_date != latest => Some(format!(
            "W rests at {} and the latest business date is {latest}",
            state.watermark_date
        )),
        _ => None,
    }
}

fn timeline(mirrored: &KeyMirror, tables: &KeyTables) -> Option<String> {
    let rows = &tables.folded.rows;
    if let Some(extra) = extra(mirrored.timeline.keys(), rows.iter().map(|row| &row.place)) {
        return Some(format!("the timeline holds {extra} and must not"));
    }
    rows.iter().find_map(|row| {
        let id = &row.place.transaction_id;
        let Some(stored) = mirrored.timeline.get(&row.place) else {
            return Some(format!("{id} is missing at its place in the timeline"));
        };
        let fate = stored.outcome.as_ref().map(|outcome| &outcome.fate);
        let same = match (&row.outcome, fate) {
            (Ok((costs, _)), Some(Fate::Applied(stored))) => same_costs(costs, stored),
            (Err(reason), Some(Fate::Parked(stored))) => reason == stored,
            _ => false,
        };
        let must = row.outcome.as_ref().map(|(costs, _)| costs);
        (!same).then(|| format!("{id} must be {must:?} and is {fate:?}"))
    })
}

pub(super) fn same_costs(a: &Costs, b: &Costs) -> bool {
    near(a.gross_cost, b.gross_cost)
        && near(a.net_cost, b.net_cost)
        && near(a.net_cost_local, b.net_cost_local)
        && near_option(a.realized_gain_loss, b.realized_gain_loss)
        && near_option(a.realized_gain_loss_local, b.realized_gain_loss_local)
        && near(a.transaction_fx_rate, b.transaction_fx_rate)
}

fn history(mirrored: &KeyMirror, tables: &KeyTables) -> Option<String> {
    let applied = |row: &FoldedRow| row.outcome.as_ref().ok().map(|(_, after)| *after);
    let mut stored = mirrored.valid_history(mirrored.newest()).rev();
    for row in &tables.folded.rows {
        let Some(position) = applied(row) else {
            continue;
        };
        let id = &row.place.transaction_id;
        match stored.next() {
            Some(stored) if stored.place != row.place => {
                let there = &stored.place.transaction_id;
                return Some(format!("the history has {there} where {id} must be"));
            }
            Some(stored) if !near_position(&stored.position, &position) => {
                let there = &stored.position;
                return Some(format!("after {id} must be {position:?} and is {there:?}"));
            }
            Some(_) => {}
            None => return Some(format!("the history ends before {id}")),
        }
    }
    let extra = stored.next()?;
    let id = &extra.place.transaction_id;
    Some(format!("the history holds {id} and must not"))
}

fn cashflows(mirrored: &KeyMirror, expected: &BTreeMap<Place, Cashflow>) -> Option<String> {
    let mut stored: BTreeMap<&Place, &Cashflow> = BTreeMap::new();
    for row in mirrored.valid_cashflows(mirrored.newest()) {
        stored.insert(&row.place, &row.cashflow);
        // Two kinds may come to the same flow.
        if let Some(entry) = mirrored.timeline.get(&row.place)
            && entry.terms.kind != row.kind
        {
            let (id, must) = (&row.place.transaction_id, entry.terms.kind);
            return Some(format!(
                "the cash flow of {id} must be of a {must} and is of a {}",
                row.kind
            ));
        }
    }
    let wrong = expected.iter().find_map(|(place, must)| {
        let is = stored.remove(place);
        let id = &place.transaction_id;
        (is != Some(must)).then(|| format!("the cash flow of {id} must be {must:?} and is {is:?}"))
    });
    wrong.or_else(|| {
        let (place, _) = stored.first_key_value()?;
        Some(format!("there is a cash flow of {} and must not be", place.transaction_id))
    })
}

fn lots(mirrored: &KeyMirror, tables: &KeyTables) -> Option<String> {
    let lots = &tables.folded.lots;
    if lots.len() != mirrored.lots.len() {
        let (must, is) = (lots.len(), mirrored.lots.len());
        return Some(format!("{must} lots must be open and {is} are"));
    }
    let pairs = lots.iter().zip(mirrored.lots.values());
    pairs.into_iter().find_map(|(must, row)| {
        let is = &row.lot;
        let same = must.opened == is.opened
            && near(must.quantity, is.quantity)
            && near(must.cost, is.cost)
            && near(must.cost_local, is.cost_local);
        (!same).then(|| format!("a lot must be {must:?} and is {is:?}"))
    })
}

fn snapshots(mirrored: &KeyMirror, tables: &KeyTables) -> Option<String> {
    let served = mirrored.newest();
    let wrong = tables.snapshots.iter().find_map(|(date, must)| {
        let stored = mirrored.snapshot_on(*date, served);
        (!stored.is_some_and(|row| same_snapshot(must, row)))
            .then(|| format!("the snapshot of {date} must be {must:?} and is {stored:?}"))
    });
    wrong.or_else(|| {
        let valid = mirrored.snapshots.keys().find(|(date, epoch)| {
            mirrored.is_valid(*epoch, *date, served) && !tables.snapshots.contains_key(date)
        });
        valid.map(|(date, _)| format!("there is a snapshot of {date} and must not be"))
    })
}

pub(super) fn same_snapshot(must: &Valued, row: &SnapshotRow) -> bool {
    must.status == row.valuation_status
        && must.market_price == row.market_price
        && near_position(&must.position, &row.position)
        && near_values(must.values.as_ref(), row.values.as_ref())
}

fn extra<'a>(
    found: impl Iterator<Item = &'a Place>,
    expected: impl Iterator<Item = &'a Place>,
) -> Option<&'a str> {
    let expected: BTreeSet<&Place> = expected.collect();
    let mut odd = found.filter(|place| !expected.contains(place));
    odd.next().map(|place| place.transaction_id.as_str())
}
