//! G6, conservation: units are neither made nor lost between timeline, history, lots and position.
//!
//! - Execution: every commit that touches a key whose history is complete (no replay open).
//! - Allowed interference: anything.
//! - Assertion: the last valid history row, the key's running position and the signed units of its
//!   applied transactions agree; open lots hold the quantity, or nothing where a debt is open.

use backdate_engine::domain::money::Amount;

use super::mirror::KeyMirror;
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
    }
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
