//! The doctor of negative scenarios: changes what is judged, as [`edits`] say.
//!
//! [`edits`]: crate::scenario::edits
//!
//! # Invariants
//! - `seq` still counts without gaps, `at` still never decreases.
//! - The run itself, and its fingerprint, are those without a doctor.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use backdate_engine::domain::ids::{Epoch, Key};
use backdate_engine::domain::money::Amount;
use backdate_engine::domain::records::{Fate, KeyStatus, Outcome, ParkReason, Place};
use backdate_engine::domain::time::{Date, Timestamp};
use backdate_engine::ports::log::Topic;
use backdate_engine::ports::store::rows::{KeyState, SnapshotRow, TimelineRow};
use backdate_reports::recording::{Change, Event, EventKind, Phase, Row, SimTime};
use smol_str::SmolStr;

use crate::scenario::edits::{Edit, EditKind};

/// Longer than any rule waits for progress.
const STANDSTILL: Duration = Duration::from_secs(150);
/// In whose name the doctor commits.
const CLIENT: &str = "doctor";

/// Changes events on their way to whoever looks on.
pub(super) struct Doctor {
    edits: Vec<Treatment>,
    storm: Option<SimTime>,
    /// Events shown so far.
    shown: u64,
    /// Snapshots as committed, to be written again.
    snapshots: BTreeMap<(Key, Date, Epoch), Rc<SnapshotRow>>,
}

/// An edit and how far it is.
struct Treatment {
    edit: Edit,
    /// It has been done, and is not done again.
    done: bool,
    /// The transaction whose costs are wrong.
    patient: Option<(Key, Place)>,
    /// By how much the clock is late.
    late: Duration,
    is_calm: bool,
}

impl Doctor {
    /// A doctor; none where there is nothing to do.
    pub(super) fn new(edits: &[Edit]) -> Option<Self> {
        if edits.is_empty() {
            return None;
        }
        let start = |edit: &Edit| Treatment {
            edit: *edit,
            done: false,
            patient: None,
            late: Duration::ZERO,
            is_calm: false,
        };
        let edits = edits.iter().map(start).collect();
        Some(Self { edits, storm: None, shown: 0, snapshots: BTreeMap::new() })
    }

    /// What is shown instead of an event.
    pub(super) fn treat(&mut self, event: &Event) -> Vec<Event> {
        if event.kind == EventKind::Phase(Phase::Storm) {
            self.storm = Some(event.at);
        }
        let mut shown = vec![event.clone()];
        for treatment in &mut self.edits {
            let begin = self.storm.map(|storm| storm + Duration::from_millis(treatment.edit.at.0));
            if begin.is_some_and(|begin| event.at >= begin) {
                treatment.treat(&mut shown, &self.snapshots);
            }
        }
        if let EventKind::Committed { changes, .. } = &event.kind {
            for change in changes {
                if let Row::Snapshot(row) = &change.row {
                    self.snapshots.insert((row.key.clone(), row.date, row.epoch), row.clone());
                }
            }
        }
        for event in &mut shown {
            event.seq = self.shown;
            self.shown += 1;
        }
        shown
    }
}

impl Treatment {
    fn treat(
        &mut self,
        shown: &mut Vec<Event>,
        snapshots: &BTreeMap<(Key, Date, Epoch), Rc<SnapshotRow>>,
    ) {
        if self.done {
            return;
        }
        match self.edit.kind {
            EditKind::WrongCost => self.wrong_cost(shown),
            EditKind::LostNews => {
                if let Some(changes) = changes_of(shown, "persistence") {
                    changes.retain(|change| !is_news(change));
                }
            }
            EditKind::ZombieWrite => self.done = zombie_write(shown, snapshots),
            EditKind::FallenWatermark => self.done = fallen_watermark(shown),
            EditKind::SecondPlace => self.done = second_place(shown),
            EditKind::SwollenLot => self.done = swollen_lot(shown),
            EditKind::LostDeadLetter => shown.retain(|event| {
                !matches!(&event.kind, EventKind::Appended(r) if r.topic == Topic::DeadLetters)
            }),
            EditKind::Standstill => self.standstill(shown),
            EditKind::EmptyAnswer => {
                for event in shown {
                    if let EventKind::Read { positions, .. } = &mut event.kind {
                        positions.clear();
                    }
                }
            }
            EditKind::ValuedTwice => self.done = valued_twice(shown),
        }
    }

    /// Only the first transaction that is met, but each time that it is written.
    fn wrong_cost(&mut self, shown: &mut [Event]) {
        let Some(changes) = changes_of(shown, "position-calculator") else { return };
        for change in changes.iter_mut().filter(|change| !change.deleted) {
            let Row::Timeline(row) = &mut change.row else { continue };
            let at = (row.key.clone(), row.place.clone());
            if self.patient.as_ref().is_some_and(|patient| *patient != at) {
                continue;
            }
            let mut wrong: TimelineRow = (**row).clone();
            if let Some(Outcome { fate: Fate::Applied(costs), .. }) = &mut wrong.outcome {
                costs.gross_cost += Amount::ONE;
                *row = Rc::new(wrong);
                self.patient = Some(at);
            }
        }
    }

    fn standstill(&mut self, shown: &mut [Event]) {
        for event in shown {
            if self.is_calm {
                self.late = STANDSTILL;
            }
            self.is_calm |= event.kind == EventKind::Phase(Phase::Calm);
            event.at = event.at + self.late;
        }
    }
}

/// What a commit of a process has changed, if that is what is shown.
fn changes_of<'a>(shown: &'a mut [Event], process: &str) -> Option<&'a mut Vec<Change>> {
    match &mut shown.first_mut()?.kind {
        EventKind::Committed { client, changes, .. } if client.starts_with(process) => {
            Some(changes)
        }
        _ => None,
    }
}

fn is_news(change: &Change) -> bool {
    matches!(&change.row, Row::Outbox(row) if row.topic == Topic::RawTransactionsCompleted)
}

/// Shows one more commit after the first event.
fn commit(shown: &mut Vec<Event>, changes: Vec<Change>) {
    let mut event = shown[0].clone();
    event.kind = EventKind::Committed { client: SmolStr::new(CLIENT), keys_locked: 1, changes };
    shown.push(event);
}

fn put(row: Row) -> Change {
    Change { row, deleted: false }
}

/// Right after it was replaced an old snapshot comes back for a moment.
fn zombie_write(
    shown: &mut Vec<Event>,
    snapshots: &BTreeMap<(Key, Date, Epoch), Rc<SnapshotRow>>,
) -> bool {
    let Some(changes) = changes_of(shown, "position-valuation-calculator") else { return false };
    let replaced = changes.iter().filter(|change| !change.deleted).find_map(|change| {
        let Row::Snapshot(new) = &change.row else { return None };
        let old = snapshots.get(&(new.key.clone(), new.date, new.epoch))?;
        (old.revision < new.revision).then(|| (old.clone(), new.clone()))
    });
    let Some((old, new)) = replaced else { return false };
    commit(shown, vec![put(Row::Snapshot(old))]);
    commit(shown, vec![put(Row::Snapshot(new))]);
    true
}

fn fallen_watermark(shown: &mut Vec<Event>) -> bool {
    let Some(changes) = changes_of(shown, "valuation-scheduler") else { return false };
    let current = changes.iter().find_map(|change| match &change.row {
        Row::Key(state) if state.status == KeyStatus::Current => Some(state.clone()),
        _ => None,
    });
    let Some(state) = current else { return false };
    let watermark_date = state.watermark_date.previous();
    let fallen = KeyState { watermark_date, ..(*state).clone() };
    commit(shown, vec![put(Row::Key(Rc::new(fallen)))]);
    commit(shown, vec![put(Row::Key(state))]);
    true
}

/// Parked there, so that no quantity depends on it.
fn second_place(shown: &mut Vec<Event>) -> bool {
    let Some(changes) = changes_of(shown, "position-calculator") else { return false };
    let entry = changes.iter().find_map(|change| match &change.row {
        Row::Timeline(row) if !change.deleted => Some(row.clone()),
        _ => None,
    });
    let Some(entry) = entry else { return false };
    let mut second = (*entry).clone();
    second.place.at = Timestamp::from_micros(second.place.at.micros() + 1);
    second.outcome = Some(Outcome { fx: None, fate: Fate::Parked(ParkReason::NoFx) });
    let row = Row::Timeline(Rc::new(second));
    commit(shown, vec![put(row.clone())]);
    commit(shown, vec![Change { row, deleted: true }]);
    true
}

fn swollen_lot(shown: &mut [Event]) -> bool {
    let Some(changes) = changes_of(shown, "position-calculator") else { return false };
    for change in changes.iter_mut().filter(|change| !change.deleted) {
        if let Row::Lot(row) = &mut change.row {
            Rc::make_mut(row).lot.quantity += Amount::ONE;
            return true;
        }
    }
    false
}

fn valued_twice(shown: &mut Vec<Event>) -> bool {
    let Some(changes) = changes_of(shown, "position-valuation-calculator") else { return false };
    let is_snapshot = |change: &&Change| matches!(change.row, Row::Snapshot(_)) && !change.deleted;
    let again: Vec<Change> = changes.iter().filter(is_snapshot).cloned().collect();
    if again.is_empty() {
        return false;
    }
    commit(shown, again);
    true
}
