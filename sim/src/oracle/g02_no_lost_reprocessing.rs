//! G2, no lost reprocessing: `CURRENT` up to W means right up to W, or something pending says
//! otherwise.
//!
//! - Execution: every instant of a run, storms included.
//! - Allowed interference: anything. A date may be missing or wrong while an uncommitted record of
//!   the log, an outbox row, a trigger, a fan-out that has not visited the key, or an open replay
//!   covers it.
//! - Assertion: each due business date of a `CURRENT` key up to W has a valid snapshot that equals
//!   the naive model's, computed from the inputs that are persisted at that instant. It is judged
//!   when the key becomes current or W moves, and when something pending that covered it is gone.
//!   What follows from that (cash flows, series of keys and of portfolios) is as the rows say that
//!   it is made of, unless news of it is under way; see `beside`.

mod beside;

use std::collections::BTreeSet;
use std::ops::Bound;

use backdate_engine::domain::ids::Key;
use backdate_engine::domain::records::KeyStatus;
use backdate_engine::domain::time::Date;

use super::g01_convergence::same_snapshot;
use super::mirror::{InputChange, KeyIndex};
use super::rule::{Rule, RuleReport, Scene};

/// Earlier than the first date of any record.
const NOTHING: Date = Date::from_days(Date::FIRST.days() - 1);

#[derive(Default)]
pub(super) struct NoLostReprocessing {
    /// Up to which date each key was found right since its inputs last changed.
    verified: Vec<Date>,
    /// Keys that are `CURRENT` beyond what was found right.
    open: BTreeSet<Key>,
    /// Keys to judge after this event.
    due: Vec<KeyIndex>,
    /// What follows from snapshots and history.
    beside: beside::Beside,
}

impl Rule for NoLostReprocessing {
    fn observe(&mut self, scene: &Scene<'_>, report: &mut RuleReport) {
        self.verified.resize(scene.mirror.keys.len(), NOTHING);
        for change in &scene.step.inputs {
            self.input(change, scene);
        }
        for touch in &scene.step.touched {
            if let Some(from) = touch.snapshots_from {
                self.lower(touch.key, from);
            }
            if let Some(state) = &scene.mirror.keys[touch.key].state {
                self.lower(touch.key, state.watermark_date.next());
            }
            self.due.push(touch.key);
        }
        self.beside.judge(scene, report);
        for freed in &scene.step.freed {
            if self.open.is_empty() {
                break;
            }
            if freed.beside_values().is_some() {
                continue;
            }
            let after = freed.after.clone().map_or(Bound::Unbounded, Bound::Excluded);
            let upto = freed.upto.clone().map_or(Bound::Unbounded, Bound::Included);
            if let (Bound::Excluded(a), Bound::Included(b)) = (&after, &upto)
                && a >= b
            {
                continue;
            }
            let keys = self.open.range((after, upto));
            let concerned = keys.filter(|key| freed.concerns(key, &scene.mirror.inputs));
            self.due.extend(concerned.filter_map(|key| scene.mirror.find(key)));
        }
        let mut due = std::mem::take(&mut self.due);
        for index in due.drain(..) {
            self.judge(index, scene, report);
        }
        self.due = due;
    }
}

impl NoLostReprocessing {
    /// What was found right from a date on has to be looked at again.
    fn lower(&mut self, index: KeyIndex, from: Date) {
        let verified = &mut self.verified[index];
        *verified = (*verified).min(from.previous());
    }

    fn input(&mut self, change: &InputChange, scene: &Scene<'_>) {
        let mirror = scene.mirror;
        match change {
            InputChange::Key(key, from) => {
                if let Some(index) = mirror.find(key) {
                    self.lower(index, *from);
                    self.due.push(index);
                }
            }
            InputChange::Security(security, from) => {
                let holders = mirror.by_security.get(security);
                for index in holders.into_iter().flat_map(|holders| holders.values()) {
                    self.lower_and_judge(*index, *from, scene);
                }
            }
            InputChange::Pair(a, b, from) => {
                for index in 0..mirror.keys.len() {
                    let verified = self.verified[index] >= *from;
                    if verified && mirror.inputs.may_use(&mirror.keys[index].key, (a, b)) {
                        self.lower_and_judge(index, *from, scene);
                    }
                }
            }
            InputChange::All(from) => {
                for index in 0..mirror.keys.len() {
                    self.lower_and_judge(index, *from, scene);
                }
            }
            InputChange::Portfolio(portfolio) => {
                for index in mirror.by_portfolio.get(portfolio).into_iter().flatten() {
                    self.lower_and_judge(*index, Date::FIRST, scene);
                }
            }
        }
    }

    fn lower_and_judge(&mut self, index: KeyIndex, from: Date, scene: &Scene<'_>) {
        if self.verified[index] < from {
            return;
        }
        self.lower(index, from);
        if scene.mirror.keys[index].state.is_some() {
            self.due.push(index);
        }
    }

    /// Compares what was not yet found right and is not covered.
    fn judge(&mut self, index: KeyIndex, scene: &Scene<'_>, report: &mut RuleReport) {
        let mirrored = &scene.mirror.keys[index];
        let current = mirrored.state.as_ref().filter(|state| {
            state.status == KeyStatus::Current && state.watermark_date > self.verified[index]
        });
        let Some(state) = current else {
            self.open.remove(&mirrored.key);
            return;
        };
        let watermark = state.watermark_date;
        let covered = scene.mirror.covered_from(index);
        let upto = covered.map_or(watermark, |from| watermark.min(from.previous()));
        if upto > self.verified[index] {
            let after = Some(self.verified[index]);
            let inputs = &scene.mirror.inputs;
            let must = inputs.key_tables(&mirrored.key, after, Some(upto));
            report.checks += 1;
            for (date, must) in &must.snapshots {
                let stored = mirrored.snapshot_on(*date, state.epoch);
                let right = stored.is_some_and(|row| same_snapshot(must, row));
                report.check(right, scene.event, || {
                    let key = &mirrored.key;
                    format!(
                        "{key} is CURRENT with W = {watermark}, nothing pending covers {date}, and \
                         its snapshot must be {must:?} and is {stored:?}"
                    )
                });
            }
            self.verified[index] = upto;
        }
        match upto < watermark {
            true => drop(self.open.insert(mirrored.key.clone())),
            false => drop(self.open.remove(&mirrored.key)),
        }
    }
}
