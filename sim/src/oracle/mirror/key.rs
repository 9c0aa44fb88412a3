//! One key as committed: its rows, and what readers can see of it.
//!
//! # Invariants
//! - Sums that rules compare (`lots_quantity`, `applied_quantity`) equal what the rows add up to.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use backdate_engine::domain::ids::{Epoch, Key, Token, TransactionId};
use backdate_engine::domain::money::Amount;
use backdate_engine::domain::records::{Place, Terms, TransactionType};
use backdate_engine::domain::time::Date;
use backdate_engine::ports::store::rows::{
    CashflowRow, EpochRow, HistoryRow, KeyState, LotRow, PositionSeriesRow, ReplayRow, SnapshotRow,
    TimelineRow,
};
use backdate_reports::recording::Event;

use super::Mark;

/// Rows of a key.
#[derive(Debug)]
pub(crate) struct KeyMirror {
    pub(crate) key: Key,
    pub(crate) state: Option<Rc<KeyState>>,
    pub(crate) timeline: BTreeMap<Place, Rc<TimelineRow>>,
    pub(crate) history: BTreeMap<(Place, Epoch), Rc<HistoryRow>>,
    pub(crate) lots: BTreeMap<Place, Rc<LotRow>>,
    pub(crate) epochs: BTreeMap<Epoch, Date>,
    pub(crate) replay: Option<Rc<ReplayRow>>,
    pub(crate) snapshots: BTreeMap<(Date, Epoch), Rc<SnapshotRow>>,
    pub(crate) cashflows: BTreeMap<(Place, Epoch), Rc<CashflowRow>>,
    pub(crate) series: BTreeMap<(Date, Epoch), Rc<PositionSeriesRow>>,
    /// Where each transaction has cash flows.
    flow_places: BTreeMap<TransactionId, BTreeSet<(Place, Epoch)>>,
    /// History rows that have no cash flow beside them.
    pub(crate) without_flow: BTreeSet<(Place, Epoch)>,
    /// Units in open lots.
    pub(crate) lots_quantity: Amount,
    /// Signed units of applied transactions.
    pub(crate) applied_quantity: Amount,
    /// Last change of what readers see, or of the timeline.
    pub(crate) served_changed: Mark,
    /// Last change of the timeline's content.
    pub(crate) timeline_changed: Mark,
    /// Whether a valuation job of the key was ever claimed more than once.
    pub(crate) lease_lost: bool,
    /// Event that touched the key last, and where its step says so.
    pub(super) touched: Option<(u64, usize)>,
}

/// Units that a transaction adds (or takes).
pub(crate) fn units(terms: &Terms) -> Amount {
    use TransactionType as T;
    match terms.kind {
        T::Buy | T::TransferIn => terms.quantity,
        T::Deposit => terms.gross,
        T::Sell | T::TransferOut => -terms.quantity,
        T::Withdrawal | T::Fee | T::Tax => -terms.gross,
        T::Dividend | T::Interest => Amount::ZERO,
    }
}

impl KeyMirror {
    pub(super) fn new(key: Key) -> Self {
        Self {
            key,
            state: None,
            timeline: BTreeMap::new(),
            history: BTreeMap::new(),
            lots: BTreeMap::new(),
            epochs: BTreeMap::new(),
            replay: None,
            snapshots: BTreeMap::new(),
            cashflows: BTreeMap::new(),
            series: BTreeMap::new(),
            flow_places: BTreeMap::new(),
            without_flow: BTreeSet::new(),
            lots_quantity: Amount::ZERO,
            applied_quantity: Amount::ZERO,
            served_changed: Mark::default(),
            timeline_changed: Mark::default(),
            lease_lost: false,
            touched: None,
        }
    }

    /// The newest epoch; of a settled key it is the served one.
    pub(crate) fn newest(&self) -> Epoch {
        self.state.as_ref().map_or(Epoch(0), |s| s.epoch)
    }

    /// The epoch that readers see.
    pub(crate) fn served(&self) -> Epoch {
        self.state.as_ref().map_or(Epoch(0), |s| s.served_epoch)
    }

    /// Whether a row of an epoch on a date is valid once `newest` is served: no later epoch starts
    /// at or before the date.
    pub(crate) fn is_valid(&self, epoch: Epoch, date: Date, newest: Epoch) -> bool {
        epoch <= newest
            && (epoch == newest
                || self.epochs.range(epoch.next()..=newest).all(|(_, from)| *from > date))
    }

    /// The snapshot of a date that is valid once `newest` is served.
    pub(crate) fn snapshot_on(&self, date: Date, newest: Epoch) -> Option<&Rc<SnapshotRow>> {
        let of_date = (date, Epoch(0))..=(date, newest);
        let ((_, epoch), row) = self.snapshots.range(of_date).next_back()?;
        self.is_valid(*epoch, date, newest).then_some(row)
    }

    /// The latest snapshot that is valid once `newest` is served.
    pub(crate) fn latest_snapshot(&self, newest: Epoch) -> Option<&Rc<SnapshotRow>> {
        self.snapshots
            .iter()
            .rev()
            .find(|((date, epoch), _)| self.is_valid(*epoch, *date, newest))
            .map(|(_, row)| row)
    }

    /// History rows that are valid once `newest` is served, the last first.
    pub(crate) fn valid_history(
        &self,
        newest: Epoch,
    ) -> impl DoubleEndedIterator<Item = &Rc<HistoryRow>> {
        self.history
            .iter()
            .rev()
            .filter(move |((place, epoch), _)| self.is_valid(*epoch, place.date(), newest))
            .map(|(_, row)| row)
    }

    /// The valid history row before a place.
    pub(crate) fn history_before(&self, place: &Place, newest: Epoch) -> Option<&Rc<HistoryRow>> {
        self.history
            .range(..(place.clone(), Epoch(0)))
            .rev()
            .find(|((place, epoch), _)| self.is_valid(*epoch, place.date(), newest))
            .map(|(_, row)| row)
    }

    /// Date of the first applied transaction.
    pub(crate) fn first_applied(&self) -> Option<Date> {
        let applied = self.timeline.values().find(|row| row.is_applied())?;
        Some(applied.place.date())
    }

    /// Answers whether anything but the time of the change has changed.
    pub(super) fn set_state(&mut self, row: &Rc<KeyState>, deleted: bool, event: &Event) -> bool {
        let same = self.state.as_ref().is_some_and(|old| {
            old.token() == row.token()
                && old.watermark_date == row.watermark_date
                && old.status == row.status
                && old.served_epoch == row.served_epoch
                && old.input_version == row.input_version
                && old.valued_through == row.valued_through
        });
        if self.served() != row.served_epoch || self.state.is_none() || deleted {
            self.served_changed = Mark::of(event);
        }
        self.state = (!deleted).then(|| Rc::clone(row));
        deleted || !same
    }

    /// Answers whether the place is new or gone.
    pub(super) fn set_timeline(
        &mut self,
        row: &Rc<TimelineRow>,
        deleted: bool,
        event: &Event,
    ) -> bool {
        let old = match deleted {
            true => self.timeline.remove(&row.place),
            false => self.timeline.insert(row.place.clone(), Rc::clone(row)),
        };
        if let Some(old) = &old
            && old.is_applied()
        {
            self.applied_quantity -= units(&old.terms);
        }
        if !deleted && row.is_applied() {
            self.applied_quantity += units(&row.terms);
        }
        if old.as_ref().is_none_or(|old| old.terms != row.terms) || deleted {
            self.timeline_changed = Mark::of(event);
        }
        deleted || old.is_none()
    }

    pub(super) fn set_history(&mut self, row: &Rc<HistoryRow>, deleted: bool, event: &Event) {
        self.see(row.epoch, row.place.date(), event);
        let at = (row.place.clone(), row.epoch);
        match deleted {
            true => drop(self.history.remove(&at)),
            false => drop(self.history.insert(at.clone(), Rc::clone(row))),
        }
        self.pair(at);
    }

    pub(super) fn set_cashflow(&mut self, row: &Rc<CashflowRow>, deleted: bool) {
        let at = (row.place.clone(), row.epoch);
        let places = self.flow_places.entry(row.place.transaction_id.clone()).or_default();
        match deleted {
            true => {
                places.remove(&at);
                self.cashflows.remove(&at);
            }
            false => {
                places.insert(at.clone());
                self.cashflows.insert(at.clone(), Rc::clone(row));
            }
        }
        self.pair(at);
    }

    /// Notes whether a history row has its cash flow.
    fn pair(&mut self, at: (Place, Epoch)) {
        match self.history.contains_key(&at) && !self.cashflows.contains_key(&at) {
            true => drop(self.without_flow.insert(at)),
            false => drop(self.without_flow.remove(&at)),
        }
    }

    /// Where a transaction has cash flows that are valid once `newest` is served.
    pub(crate) fn valid_cashflows_of(
        &self,
        id: &TransactionId,
        newest: Epoch,
    ) -> impl Iterator<Item = &(Place, Epoch)> {
        let places = self.flow_places.get(id).into_iter().flatten();
        places.filter(move |(place, epoch)| self.is_valid(*epoch, place.date(), newest))
    }

    /// Cash flows that are valid once `newest` is served, in order.
    pub(crate) fn valid_cashflows(&self, newest: Epoch) -> impl Iterator<Item = &Rc<CashflowRow>> {
        self.cashflows
            .iter()
            .filter(move |((place, epoch), _)| self.is_valid(*epoch, place.date(), newest))
            .map(|(_, row)| row)
    }

    pub(super) fn set_lot(&mut self, row: &Rc<LotRow>, deleted: bool) {
        let old = match deleted {
            true => self.lots.remove(&row.lot.opened),
            false => {
                self.lots_quantity += row.lot.quantity;
                self.lots.insert(row.lot.opened.clone(), Rc::clone(row))
            }
        };
        if let Some(old) = old {
            self.lots_quantity -= old.lot.quantity;
        }
    }

    pub(super) fn set_epoch(&mut self, row: &EpochRow, deleted: bool, event: &Event) {
        if row.epoch <= self.served() {
            self.served_changed = Mark::of(event);
        }
        match deleted {
            true => drop(self.epochs.remove(&row.epoch)),
            false => drop(self.epochs.insert(row.epoch, row.from_date)),
        }
    }

    /// Answers whether the row was there under the same token.
    pub(super) fn set_snapshot(
        &mut self,
        row: &Rc<SnapshotRow>,
        deleted: bool,
        event: &Event,
    ) -> bool {
        self.see(row.epoch, row.date, event);
        let at = (row.date, row.epoch);
        if deleted {
            self.snapshots.remove(&at);
            return false;
        }
        let old = self.snapshots.insert(at, Rc::clone(row));
        old.is_some_and(|old| old.revision == row.revision)
    }

    pub(super) fn set_series(&mut self, row: &Rc<PositionSeriesRow>, deleted: bool) {
        let at = (row.date, row.epoch);
        match deleted {
            true => drop(self.series.remove(&at)),
            false => drop(self.series.insert(at, Rc::clone(row))),
        }
    }

    /// The first date on or after that one of which there is a snapshot.
    pub(crate) fn next_snapshot(&self, date: Date) -> Option<Date> {
        self.snapshots.range((date, Epoch(0))..).next().map(|((date, _), _)| *date)
    }

    /// The row of the series on a date that is valid once `newest` is served.
    pub(crate) fn series_on(&self, date: Date, newest: Epoch) -> Option<&Rc<PositionSeriesRow>> {
        let of_date = (date, Epoch(0))..=(date, newest);
        let ((_, epoch), row) = self.series.range(of_date).next_back()?;
        self.is_valid(*epoch, date, newest).then_some(row)
    }

    /// Whether the snapshot of a date that was written under that token is valid now.
    pub(crate) fn is_settled(&self, date: Date, token: Token) -> bool {
        let Some(state) = &self.state else { return false };
        date <= state.watermark_date || token == state.token()
    }

    /// Notes a change of a row that readers may see.
    fn see(&mut self, epoch: Epoch, date: Date, event: &Event) {
        if self.is_valid(epoch, date, self.served()) {
            self.served_changed = Mark::of(event);
        }
    }
}
