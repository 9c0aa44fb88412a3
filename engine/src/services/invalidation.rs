//! What an invalidation does to a key's state: one place for revision, watermark and status.

use std::collections::BTreeMap;

use super::instance::Instance;
use crate::defects::{Defect, is_planted};
use crate::domain::ids::{Epoch, Key};
use crate::domain::records::{KeyStatus, Position};
use crate::domain::time::Date;
use crate::ports::Ports;
use crate::ports::host::Signal;
use crate::ports::store::rows::{EpochRow, KeyState, ReplayRow};

/// From `date` on, what was valued before is not valid any more: the revision rises, the watermark
/// falls to the day before if it is not there already.
pub(super) fn invalidate(state: &mut KeyState, date: Date) {
    if !is_planted(Defect::ResetKeepsRevision) {
        state.revision = state.revision.next();
    }
    lower_watermark(state, date);
}

/// The watermark falls to the day before `date`, if it is not there already.
pub(super) fn lower_watermark(state: &mut KeyState, date: Date) {
    state.watermark_date = match is_planted(Defect::ResetRaisesWatermark) {
        true => date.previous(),
        false => state.watermark_date.min(date.previous()),
    };
    state.status = KeyStatus::Reprocessing;
}

/// Starts a new epoch whose history is rebuilt from `date` on; returns its rows. While another
/// replay is open the new one starts where that one stands, if that is earlier: the rest of the
/// older replay has to be done under the new epoch too.
pub(super) fn new_epoch(
    state: &mut KeyState,
    open: Option<&ReplayRow>,
    date: Date,
) -> (EpochRow, ReplayRow) {
    let from_date = open.map_or(date, |replay| date.min(replay.replayed_to().date()));
    state.epoch = state.epoch.next();
    if is_planted(Defect::ServedEpochTooEarly) {
        state.served_epoch = state.epoch;
    }
    state.position = Position::default();
    invalidate(state, from_date);
    let (key, epoch) = (state.key.clone(), state.epoch);
    let cached = open.filter(|_| is_planted(Defect::BumpUsesCachedEpoch)).map(|open| open.epoch);
    let replayed = cached.unwrap_or(epoch);
    let replay = ReplayRow { key: key.clone(), epoch: replayed, from_date, cursor: None };
    (EpochRow { key, epoch, from_date }, replay)
}

/// Reports how a key's state has changed.
pub(super) fn report<P: Ports>(instance: &Instance<P>, before: &KeyState, after: &KeyState) {
    if after.epoch != before.epoch {
        instance.emit(Signal::EpochBumped {
            key: after.key.clone(),
            epoch: after.epoch,
            revision: after.revision,
            from_date: after.watermark_date.next(),
        });
    }
    if after.revision != before.revision {
        instance.emit(Signal::WatermarkReset {
            key: after.key.clone(),
            revision: after.revision,
            watermark_date: after.watermark_date,
        });
    }
}

/// Rows that are written when keys change, collected over a batch.
#[derive(Default)]
pub(super) struct Rebuilds {
    epochs: BTreeMap<Key, EpochRow>,
    /// Replays that open, rewind or go on.
    pub(super) replays: Vec<ReplayRow>,
    /// Keys whose fold starts anew.
    pub(super) reset_lots: Vec<Key>,
    /// History that a rewind takes back.
    pub(super) deleted_history: Vec<(Key, Epoch, Date)>,
}

impl Rebuilds {
    /// Notes a new or an earlier epoch; of the dates of one epoch the earliest counts, and only it
    /// is written: no statement may write a row twice.
    pub(super) fn note_epoch(&mut self, row: EpochRow) {
        let noted = self.epochs.entry(row.key.clone()).or_insert_with(|| row.clone());
        assert_eq!(noted.epoch, row.epoch, "a transaction starts one epoch of a key at most");
        noted.from_date = noted.from_date.min(row.from_date);
    }

    /// The epochs, in key order.
    pub(super) fn take_epochs(&mut self) -> Vec<EpochRow> {
        std::mem::take(&mut self.epochs).into_values().collect()
    }
}
