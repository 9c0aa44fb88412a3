//! G6, conservation: units are neither made nor lost between timeline, history, lots and position,
//! nor is money between timeline and cash flows.
//!
//! - Execution: every commit that touches a key whose history is complete (no replay open).
//! - Allowed interference: anything.
//! - Assertion: the last valid history row, the key's running position and the signed units of its
//!   applied transactions agree; open lots hold the quantity, or nothing where a debt is open. A
//!   cash flow has the amount of an applied transaction (that there is one for each is G2's).

use backdate_engine::domain::money::Amount;

use backdate_engine::ports::store::rows::CashflowRow;
use backdate_reports::recording::{EventKind, Row};

use super::mirror::{KeyMirror, Mirror};
use super::model;
use super::rule::{Rule, RuleReport, Scene};

pub(super) struct Conservation;

impl Rule for Conservation {
    fn observe(&mut self, scene: &Scene<'_>, report: &mut RuleReport) {
        for touch in &scene.step.touched {
            let mirrored = &scene.mirror.keys[touch.key];
            let moved = touch.timeline || touch.history || touch.lots || touch.state;
            if !moved || mirrored.replay.is_some() || mirrored.state.is_none() {
                continue;
            }
            let wrong = unbalanced(mirrored);
            report.check(wrong.is_none(), scene.event, || {
                format!("{}: {}", mirrored.key, wrong.unwrap_or_default())
            });
        }
        let EventKind::Committed { changes, .. } = &scene.event.kind else {
            return;
        };
        for change in changes.iter().filter(|change| !change.deleted) {
            let Row::Cashflow(row) = &change.row else { continue };
            let wrong = unfounded(scene.mirror, row);
            report.check(wrong.is_none(), scene.event, || {
                format!("{}: {}", row.key, wrong.unwrap_or_default())
            });
        }
    }
}

fn unfounded(mirror: &Mirror, row: &CashflowRow) -> Option<String> {
    let id = &row.place.transaction_id;
    let mut places = mirror.places.get(id).into_iter().flatten();
    let entry = places.find_map(|(index, place)| {
        let mirrored = &mirror.keys[*index];
        mirrored.timeline.get(place).filter(|_| mirrored.key == row.key)
    });
    let Some(entry) = entry.filter(|entry| entry.is_applied()) else {
        return Some(format!("{id} has a cash flow and is not applied"));
    };
    let (must, is) = (model::flow(&entry.terms).amount, row.cashflow.amount);
    (must != is).then(|| format!("the cash flow of {id} is booked as {is}, not {must}"))
}

fn unbalanced(mirrored: &KeyMirror) -> Option<String> {
    let state = mirrored.state.as_ref()?;
    let held = state.position.quantity;
    let last = mirrored.valid_history(state.epoch).next();
    let last = last.map(|row| row.position.quantity).unwrap_or_default();
    if last != held {
        return Some(format!("its history ends at {last}, its position is {held}"));
    }
    let applied = mirrored.applied_quantity;
    if applied != held {
        return Some(format!("its transactions add up to {applied}, its position is {held}"));
    }
    let lots = mirrored.lots_quantity;
    if lots != held.max(Amount::ZERO) || (held.is_negative() && !mirrored.lots.is_empty()) {
        return Some(format!("its lots hold {lots}, its position is {held}"));
    }
    None
}
