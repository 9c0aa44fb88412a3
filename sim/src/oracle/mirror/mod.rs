//! The committed state of all tables and what is pending, as the recording tells it.
//!
//! Rules share it: an event is applied once, and a [`Step`] says what it has changed. It believes
//! nothing that an instance reports about itself; only commits, appended records and committed
//! offsets move it.
//!
//! # Invariants
//! - After an event it is the state that a reader of the database could see at that instant.

mod beside;
mod key;
mod pending;
mod records;
mod step;

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use backdate_engine::domain::ids::{Key, PortfolioId, SecurityId, TransactionId};
use backdate_engine::domain::records::{KeyStatus, Place};
use backdate_engine::domain::time::Date;
use backdate_engine::ports::store::rows::{SnapshotRow, TimelineRow, ValuationJobRow};
use backdate_reports::recording::{Change, Event, EventKind, Phase, Row};

use beside::PortfolioRows;
pub(crate) use key::{KeyMirror, units};
pub(crate) use pending::{About, Freed, Pending};
pub(crate) use records::{DeadLetters, RawRecord, Records};
pub(crate) use step::{InputChange, Mark, Step, Touch};

use super::model::{Inputs, Model};

/// Number of a key in the mirror.
pub(crate) type KeyIndex = usize;

/// The mirror.
#[derive(Debug, Default)]
pub(crate) struct Mirror {
    index: HashMap<Key, KeyIndex>,
    last: Option<KeyIndex>,
    /// All keys that any row was ever about.
    pub(crate) keys: Vec<KeyMirror>,
    /// Numbers of the keys of a security, by portfolio.
    pub(crate) by_security: BTreeMap<SecurityId, BTreeMap<PortfolioId, KeyIndex>>,
    /// Numbers of the keys of a portfolio.
    pub(crate) by_portfolio: BTreeMap<PortfolioId, Vec<KeyIndex>>,
    /// Series of portfolios.
    pub(crate) portfolios: BTreeMap<PortfolioId, PortfolioRows>,
    /// Where each transaction stands in timelines: once.
    pub(crate) places: HashMap<TransactionId, Vec<(KeyIndex, Place)>>,
    /// Inputs as stored.
    pub(crate) inputs: Inputs,
    /// Inputs as they stand in the log.
    pub(crate) raw: Model,
    /// What covers keys that are not yet right.
    pub(crate) pending: Pending,
    /// Records of the log that are not done.
    pub(crate) records: Records,
    /// Dead letters so far.
    pub(crate) dead_letters: DeadLetters,
    /// The phase.
    pub(crate) phase: Option<Phase>,
    /// Whether any process has died so far.
    pub(crate) crashed: bool,
    /// Whether a fault about locks was injected so far.
    pub(crate) lock_fault: bool,
}

impl Mirror {
    /// Applies an event; `step` is emptied and filled.
    pub(crate) fn apply(&mut self, event: &Event, step: &mut Step) {
        step.clear();
        match &event.kind {
            EventKind::Committed { client, changes, .. } => {
                let seeds = !client.starts_with("persistence") && self.may_seed();
                for change in changes {
                    let key = self.change(event, change, step);
                    step.rows.push(key);
                    if seeds && !change.deleted {
                        seed(&mut self.raw.inputs, &change.row);
                    }
                }
            }
            EventKind::Appended(record) => {
                self.dead_letters.note(record);
                self.records.append(record, &mut self.raw, &mut self.pending);
            }
            EventKind::OffsetsCommitted { group, positions } => {
                self.records.commit(group, positions, &mut self.pending, step);
            }
            EventKind::Crashed(_) => self.crashed = true,
            EventKind::Fault { fault, begins: true, .. } => {
                self.lock_fault |= fault.contains("lock")
            }
            EventKind::Phase(phase) => self.phase = Some(*phase),
            _ => {}
        }
    }

    /// A scenario may load its initial state without messages, before the storm.
    fn may_seed(&self) -> bool {
        !matches!(self.phase, Some(Phase::Storm | Phase::Calm | Phase::Settled))
    }

    /// The number of a key that is known.
    pub(crate) fn find(&self, key: &Key) -> Option<KeyIndex> {
        self.index.get(key).copied()
    }

    /// From which date on something durable covers a key; none: nothing does.
    pub(crate) fn covered_from(&self, index: KeyIndex) -> Option<Date> {
        let mirrored = &self.keys[index];
        match mirrored.replay.is_some() {
            true => Some(Date::FIRST),
            false => self.pending.covered_from(&mirrored.key, &self.inputs),
        }
    }

    /// Whether anything is pending but for keys that wait for their instrument.
    pub(crate) fn busy(&self) -> bool {
        let behind = |mirrored: &KeyMirror| {
            let reprocessing = mirrored
                .state
                .as_ref()
                .is_some_and(|state| state.status == KeyStatus::Reprocessing);
            mirrored.replay.is_some()
                || (reprocessing && self.inputs.knows_instrument(&mirrored.key.security_id))
        };
        self.pending.any() || self.records.any() || self.keys.iter().any(behind)
    }

    fn number(&mut self, key: &Key) -> KeyIndex {
        // Rows of a commit come key by key, so the last answer is often the next one.
        if let Some(last) = self.last
            && self.keys[last].key == *key
        {
            return last;
        }
        let number = match self.index.get(key) {
            Some(number) => *number,
            None => {
                let number = self.keys.len();
                self.keys.push(KeyMirror::new(key.clone()));
                self.index.insert(key.clone(), number);
                self.by_security
                    .entry(key.security_id.clone())
                    .or_default()
                    .insert(key.portfolio_id.clone(), number);
                self.by_portfolio.entry(key.portfolio_id.clone()).or_default().push(number);
                number
            }
        };
        self.last = Some(number);
        number
    }

    fn touch<'a>(&mut self, event: &Event, key: &Key, step: &'a mut Step) -> &'a mut Touch {
        let number = self.number(key);
        let mirrored = &mut self.keys[number];
        let at = match mirrored.touched {
            Some((seq, at)) if seq == event.seq => at,
            _ => {
                let at = step.touched.len();
                mirrored.touched = Some((event.seq, at));
                step.touched.push(Touch {
                    key: number,
                    before: mirrored.state.clone(),
                    replay_before: mirrored.replay.is_some(),
                    ..Touch::default()
                });
                at
            }
        };
        &mut step.touched[at]
    }

    /// Applies one row; answers the key that it is about.
    fn change(&mut self, event: &Event, change: &Change, step: &mut Step) -> Option<KeyIndex> {
        let deleted = change.deleted;
        match &change.row {
            Row::Key(row) => {
                let touch = self.touch(event, &row.key, step);
                touch.state = true;
                let number = touch.key;
                step.progress |= self.keys[number].set_state(row, deleted, event);
                Some(number)
            }
            Row::Timeline(row) => Some(self.timeline(event, row, deleted, step)),
            Row::History(row) => {
                let touch = self.touch(event, &row.key, step);
                touch.history = true;
                let number = touch.key;
                step.progress = true;
                self.keys[number].set_history(row, deleted, event);
                Some(number)
            }
            Row::Lot(row) => {
                let touch = self.touch(event, &row.key, step);
                touch.lots = true;
                let number = touch.key;
                self.keys[number].set_lot(row, deleted);
                Some(number)
            }
            Row::Epoch(row) => {
                let number = self.touch(event, &row.key, step).key;
                self.keys[number].set_epoch(row, deleted, event);
                Some(number)
            }
            Row::Replay(row) => {
                let number = self.touch(event, &row.key, step).key;
                step.progress = true;
                self.keys[number].replay = (!deleted).then(|| row.clone());
                Some(number)
            }
            Row::Snapshot(row) => Some(self.snapshot(event, row, deleted, step)),
            Row::Cashflow(row) => Some(self.cashflow(event, row, deleted, step)),
            Row::PositionSeries(row) => Some(self.position_series(event, row, deleted, step)),
            Row::PortfolioSeries(row) => {
                self.portfolio_series(row, deleted, step);
                None
            }
            Row::Trigger(row) => {
                step.progress = true;
                self.pending.trigger(row, deleted, &mut step.freed);
                None
            }
            Row::ReprocessingJob(row) => {
                step.progress = true;
                self.pending.job(row, deleted, &mut step.freed);
                None
            }
            Row::Outbox(row) => {
                step.progress |= self.pending.outbox(row, deleted, &mut step.freed);
                None
            }
            Row::ValuationJob(row) => {
                self.valuation_job(row);
                None
            }
            _ => {
                step.progress = true;
                self.input(&change.row, step);
                None
            }
        }
    }

    fn valuation_job(&mut self, row: &ValuationJobRow) {
        // A job that is claimed again was lost by somebody, who may still be writing.
        if row.attempts > 1 {
            for entry in &row.keys {
                let number = self.number(&entry.key);
                self.keys[number].lease_lost = true;
            }
        }
    }

    fn timeline(
        &mut self,
        event: &Event,
        row: &Rc<TimelineRow>,
        deleted: bool,
        step: &mut Step,
    ) -> KeyIndex {
        let touch = self.touch(event, &row.key, step);
        touch.timeline = true;
        let number = touch.key;
        step.progress = true;
        let mirrored = &mut self.keys[number];
        let moved = mirrored.set_timeline(row, deleted, event);
        if moved {
            let places = self.places.entry(row.place.transaction_id.clone());
            let places = places.or_default();
            places.retain(|(key, place)| *key != number || *place != row.place);
            if !deleted {
                places.push((number, row.place.clone()));
            }
        }
        number
    }

    fn snapshot(
        &mut self,
        event: &Event,
        row: &Rc<SnapshotRow>,
        deleted: bool,
        step: &mut Step,
    ) -> KeyIndex {
        step.progress = true;
        let number = self.number(&row.key);
        let next = self.keys[number].next_snapshot(row.date.next());
        let touch = self.touch(event, &row.key, step);
        touch.series_due.push(row.date);
        touch.series_due.extend(next);
        let mirrored = &mut self.keys[number];
        let newest = mirrored.state.as_ref().map_or(row.epoch, |state| state.epoch);
        if mirrored.is_valid(row.epoch, row.date, newest) {
            let from = touch.snapshots_from.map_or(row.date, |d| d.min(row.date));
            touch.snapshots_from = Some(from);
        }
        if mirrored.set_snapshot(row, deleted, event) {
            step.rewritten.push((number, row.date));
        }
        number
    }

    fn input(&mut self, row: &Row, step: &mut Step) {
        let change = match row {
            Row::Transaction(row) => {
                let date = row.transaction.terms.at.date();
                let old = self.inputs.set_transaction(Rc::clone(row));
                let old = old.map_or(date, |old| old.transaction.terms.at.date());
                InputChange::Key(row.transaction.key.clone(), date.min(old))
            }
            Row::Price(row) => {
                self.inputs.set_price(Rc::clone(row));
                InputChange::Security(row.price.security_id.clone(), row.price.price_date)
            }
            Row::Rate(row) => {
                self.inputs.set_rate(Rc::clone(row));
                let rate = &row.rate;
                let (from, to) = (rate.from_currency.clone(), rate.to_currency.clone());
                InputChange::Pair(from, to, rate.rate_date)
            }
            Row::Portfolio(row) => {
                self.inputs.set_portfolio(Rc::clone(row));
                InputChange::Portfolio(row.portfolio.portfolio_id.clone())
            }
            Row::Instrument(row) => {
                self.inputs.set_instrument(Rc::clone(row));
                InputChange::Security(row.instrument.security_id.clone(), Date::FIRST)
            }
            Row::BusinessDate(row) => {
                self.inputs.set_business_date(row);
                InputChange::All(row.business_date)
            }
            _ => return,
        };
        step.inputs.push(change);
    }
}

fn seed(inputs: &mut Inputs, row: &Row) {
    match row {
        Row::Transaction(row) => drop(inputs.set_transaction(Rc::clone(row))),
        Row::Price(row) => inputs.set_price(Rc::clone(row)),
        Row::Rate(row) => inputs.set_rate(Rc::clone(row)),
        Row::Portfolio(row) => inputs.set_portfolio(Rc::clone(row)),
        Row::Instrument(row) => inputs.set_instrument(Rc::clone(row)),
        Row::BusinessDate(row) => inputs.set_business_date(row),
        _ => {}
    }
}
