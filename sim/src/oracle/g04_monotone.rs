//! G4, monotone: tokens and served epochs only rise, and W rises only over what is valued.
//!
//! - Execution: every commit that writes a row of `position_state`; every event of the outbox that
//!   appears in the log.
//! - Allowed interference: anything; a business date that came late may be passed while its trigger
//!   or a fan-out that has not visited the key is pending.
//! - Assertion: epoch, revision and served epoch never decrease, no key disappears; W falls only
//!   with a new revision; each business date that W passes, from the first applied transaction on,
//!   has a snapshot under the current token, and W stays at or below the latest business date.
//!   While a replay is open neither W nor `CURRENT` nor the served epoch moves up. A key becomes
//!   `CURRENT` with W at a date that was the latest business date at some instant. Events of one
//!   topic and key first appear in the order in which they were committed.

use std::collections::BTreeSet;

use backdate_engine::domain::records::KeyStatus;
use backdate_engine::domain::time::Date;
use backdate_engine::ports::store::rows::KeyState;
use backdate_reports::recording::{EventKind, Row};

use super::mirror::KeyMirror;
use super::publication::Publications;
use super::rule::{Rule, RuleReport, Scene};

#[derive(Default)]
pub(super) struct Monotone {
    /// Dates that were the latest business date.
    latest: BTreeSet<Date>,
    publications: Publications,
}

impl Rule for Monotone {
    fn observe(&mut self, scene: &Scene<'_>, report: &mut RuleReport) {
        self.order(scene, report);
        self.latest.extend(scene.mirror.inputs.latest_business_date());
        for touch in scene.step.touched.iter().filter(|touch| touch.state) {
            let mirrored = &scene.mirror.keys[touch.key];
            let wrong = match (&touch.before, &mirrored.state) {
                (Some(before), Some(after)) => {
                    moved(mirrored, before, after, scene).or_else(|| self.too_early(before, after))
                }
                (_, None) => Some("its row of position_state is gone".to_owned()),
                (None, Some(_)) => None,
            };
            report.check(wrong.is_none(), scene.event, || {
                format!("{}: {}", mirrored.key, wrong.unwrap_or_default())
            });
        }
    }
}

impl Monotone {
    /// Whether a key is CURRENT while its watermark is still on its way.
    fn too_early(&self, before: &KeyState, after: &KeyState) -> Option<String> {
        let current = KeyStatus::Current;
        let becomes = after.status == current && before.status != current;
        let arrived = self.latest.is_empty() || self.latest.contains(&after.watermark_date);
        (becomes && !arrived).then(|| {
            let at = after.watermark_date;
            format!("it becomes CURRENT with W at {at}, which never was the latest business date")
        })
    }

    fn order(&mut self, scene: &Scene<'_>, report: &mut RuleReport) {
        match &scene.event.kind {
            EventKind::Committed { changes, .. } => {
                for change in changes {
                    if let Row::Outbox(row) = &change.row {
                        self.publications.outbox(row, change.deleted, scene.event.seq);
                    }
                }
            }
            EventKind::Appended(record) => {
                let wrong = self.publications.appended(record);
                report.check(wrong.is_none(), scene.event, || {
                    let (first, second) = wrong.unwrap_or_default();
                    let (topic, key) = (record.topic, &record.key);
                    format!("{topic} {key}: event {second} appears before {first}")
                });
            }
            _ => {}
        }
    }
}

fn moved(
    mirrored: &KeyMirror,
    before: &KeyState,
    after: &KeyState,
    scene: &Scene<'_>,
) -> Option<String> {
    if after.epoch < before.epoch || after.revision < before.revision {
        let (from, to) = (before.token(), after.token());
        return Some(format!("its token falls from {from} to {to}"));
    }
    if after.served_epoch < before.served_epoch {
        let (from, to) = (before.served_epoch.0, after.served_epoch.0);
        return Some(format!("its served epoch falls from {from} to {to}"));
    }
    let (from, to) = (before.watermark_date, after.watermark_date);
    if to < from && after.revision == before.revision {
        return Some(format!("W falls from {from} to {to} without a new revision"));
    }
    let current = KeyStatus::Current;
    let rises = to > from
        || after.served_epoch > before.served_epoch
        || (after.status == current && before.status != current);
    if rises && mirrored.replay.is_some() {
        return Some("W, CURRENT or the served epoch moves while a replay is open".to_owned());
    }
    if to > from {
        return passed(mirrored, after, (from, to), scene);
    }
    None
}

/// The first date that W passed and must not have.
fn passed(
    mirrored: &KeyMirror,
    after: &KeyState,
    (from, to): (Date, Date),
    scene: &Scene<'_>,
) -> Option<String> {
    let mirror = scene.mirror;
    if mirror.inputs.latest_business_date().is_none_or(|latest| to > latest) {
        return Some(format!("W rises to {to}, beyond the latest business date"));
    }
    let first = mirrored.first_applied()?;
    let calendar = mirror.pending.calendar_from(&mirrored.key);
    mirror
        .inputs
        .dates(first.max(from.next()), to)
        .filter(|date| calendar.is_none_or(|calendar| *date < calendar))
        .find(|date| {
            let row = mirrored.snapshots.get(&(*date, after.epoch));
            row.is_none_or(|row| row.revision != after.revision)
        })
        .map(|date| {
            let token = after.token();
            format!("W passes {date} without a snapshot under token {token}")
        })
}
