//! A transaction arrives: the five cases of the contract, as plain decisions over what was read
//! under the key's lock.

use std::collections::BTreeMap;

use super::super::invalidation::{Rebuilds, invalidate, new_epoch};
use crate::defects::{Defect, is_planted};
use crate::domain::cost::Fold;
use crate::domain::fx::FxTable;
use crate::domain::ids::Key;
use crate::domain::messages;
use crate::domain::records::{Fate, ParkReason, Place, Position, TransactionType};
use crate::domain::time::Date;
use crate::ports::host::Signal;
use crate::ports::log::Topic;
use crate::ports::store::rows::{
    EpochRow, HistoryRow, KeyState, OutboxRow, ReplayRow, TimelineRow, TransactionRow,
};
use crate::services::outbox_dispatcher::lane_of;

/// One key while a batch goes over it.
pub(super) struct Work {
    pub(super) before: KeyState,
    pub(super) state: KeyState,
    /// Whether the state has to be written.
    pub(super) touched: bool,
    pub(super) tail: Option<Place>,
    pub(super) replay: Option<ReplayRow>,
    pub(super) fold: Fold,
    pub(super) arrivals: Vec<TransactionRow>,
}

/// What a batch writes.
#[derive(Default)]
pub(super) struct Writes {
    pub(super) rebuilds: Rebuilds,
    pub(super) deleted_timeline: Vec<(Key, Place)>,
    /// Of transactions that the timeline does not have, in order of key and place.
    pub(super) new_timeline: Vec<TimelineRow>,
    pub(super) timeline: BTreeMap<(Key, Place), TimelineRow>,
    /// What was applied at once: its row of the history, and the event that tells of it.
    pub(super) applied: Vec<(HistoryRow, OutboxRow)>,
    pub(super) parked: Vec<(Key, Signal)>,
}

impl Writes {
    /// What the batch has appended to a key so far belongs to an epoch that is over before it was
    /// ever seen: the replay of the new one folds it.
    fn leave_to_replay(&mut self, key: &Key) {
        self.applied.retain(|(row, _)| row.key != *key);
        self.parked.retain(|(parked, _)| parked != key);
        let entries = self.new_timeline.iter_mut().chain(self.timeline.values_mut());
        entries.filter(|entry| entry.key == *key).for_each(|entry| entry.outcome = None);
    }
}

/// A transaction arrives: the cases of the contract.
pub(super) fn arrive(
    work: &mut Work,
    row: TransactionRow,
    old: Option<&TimelineRow>,
    fx: &FxTable,
    writes: &mut Writes,
    lanes: u32,
) {
    work.touched = true;
    let key = work.state.key.clone();
    let place = place_of(&row);
    let first = old.map_or(&place, |old| (&old.place).min(&place)).clone();
    let is_after = old.is_none() && work.tail.as_ref().is_none_or(|tail| *tail < place);
    let is_repeated = is_planted(Defect::IdempotencyByOffset)
        && old.is_some_and(|old| old.terms == row.transaction.terms)
        && work.tail.as_ref() == Some(&place);
    let is_buy = row.transaction.terms.kind == TransactionType::Buy;
    let is_kept = is_planted(Defect::BackdatedBuyKeepsLaterSells) && old.is_none() && is_buy;
    let is_last = is_after || is_repeated || is_kept;
    if let Some(old) = old.filter(|old| old.place != place) {
        writes.timeline.remove(&(key.clone(), old.place.clone()));
        writes.deleted_timeline.push((key.clone(), old.place.clone()));
    }
    let mut entry = TimelineRow {
        key: key.clone(),
        place: place.clone(),
        terms: row.transaction.terms.clone(),
        correlation_id: row.correlation_id.clone(),
        outcome: None,
    };
    work.tail = Some(work.tail.take().map_or(place.clone(), |tail| tail.max(place.clone())));
    let folds_early = is_last && is_planted(Defect::LiveTradeFoldedDuringReplay);
    if let Some(replay) = work.replay.as_ref().filter(|_| !folds_early) {
        if first > replay.replayed_to() || is_planted(Defect::RewindIgnored) {
            // Case 1: the replay will meet it.
            work.state.input_version += 1;
        } else {
            rewind(work, first.date(), &mut writes.rebuilds);
        }
    } else if is_last {
        append(work, &row, &mut entry, fx, writes, lanes);
        let no_lots = Fate::Parked(ParkReason::NoLots);
        let is_early = entry.outcome.as_ref().is_some_and(|outcome| outcome.fate == no_lots);
        if is_planted(Defect::EarlySellRejected) && is_early {
            return;
        }
    } else {
        // Case 5.
        writes.leave_to_replay(&key);
        let (epoch, replay) = new_epoch(&mut work.state, None, first.date());
        writes.rebuilds.note_epoch(epoch);
        writes.rebuilds.reset_lots.push(key.clone());
        work.replay = Some(replay);
    }
    match old {
        None => writes.new_timeline.push(entry),
        Some(_) => {
            writes.timeline.insert((key, place), entry);
        }
    }
}

/// Case 2: an open replay has passed the place; it goes back to the start of that date.
fn rewind(work: &mut Work, date: Date, rebuilds: &mut Rebuilds) {
    let state = &mut work.state;
    invalidate(state, date);
    state.position = Position::default();
    let (key, epoch) = (state.key.clone(), state.epoch);
    if !is_planted(Defect::RewindKeepsFromDate) {
        rebuilds.note_epoch(EpochRow { key: key.clone(), epoch, from_date: date });
    }
    if !is_planted(Defect::RewindKeepsHistory) {
        rebuilds.deleted_history.push((key.clone(), epoch, date));
    }
    if !is_planted(Defect::RewindKeepsLots) {
        rebuilds.reset_lots.push(key.clone());
    }
    work.replay = Some(ReplayRow { key, epoch, from_date: date, cursor: None });
}

/// Cases 3 and 4: the end of the timeline, folded at once.
fn append(
    work: &mut Work,
    row: &TransactionRow,
    entry: &mut TimelineRow,
    fx: &FxTable,
    writes: &mut Writes,
    lanes: u32,
) {
    let state = &mut work.state;
    let terms = &row.transaction.terms;
    let date = entry.place.date();
    let is_after = state.valued_through.is_none_or(|last| date > last);
    let is_after = (is_after && date > state.watermark_date)
        || (is_planted(Defect::BackdatedTradeStrict)
            && state.valued_through.is_none_or(|last| date >= last)
            && date >= state.watermark_date);
    if is_after || is_planted(Defect::LateTradeKeepsToken) {
        if !is_planted(Defect::AppendKeepsCounter) {
            state.input_version += 1;
        }
    } else {
        invalidate(state, date);
    }
    let rate = state
        .fold_terms
        .as_ref()
        .and_then(|fold| fx.look_up(&terms.trade_currency, &fold.base_currency, date));
    let outcome = work.fold.apply(&entry.place, terms, rate);
    state.position = work.fold.position();
    match &outcome.fate {
        Fate::Applied(costs) => {
            let row_of_history = HistoryRow {
                key: state.key.clone(),
                place: entry.place.clone(),
                epoch: state.epoch,
                position: state.position,
            };
            let event = OutboxRow {
                id: 0,
                lane: lane_of(state.key.portfolio_id.as_str(), lanes),
                topic: Topic::ProcessedTransactionsCompleted,
                key: state.key.portfolio_id.as_str().into(),
                payload: messages::transaction_processed(&row.transaction, costs, state.token()),
                correlation_id: row.correlation_id.clone(),
            };
            writes.applied.push((row_of_history, event));
        }
        Fate::Parked(reason) => {
            let parked = Signal::Parked {
                key: state.key.clone(),
                transaction_id: entry.place.transaction_id.as_str().into(),
                reason: *reason,
            };
            writes.parked.push((state.key.clone(), parked));
        }
    }
    entry.outcome = Some(outcome);
}

/// The place of a stored transaction.
pub(super) fn place_of(row: &TransactionRow) -> Place {
    Place::of(&row.transaction.transaction_id, &row.transaction.terms)
}

#[cfg(test)]
mod tests;
