//! What the query API and the gauges read, each from one snapshot of the database.

use std::collections::BTreeSet;
use std::rc::Rc;

use backdate_engine::defects::{Defect, is_planted};
use backdate_engine::domain::ids::{Epoch, Key, PortfolioId, SecurityId};
use backdate_engine::domain::records::{KeyStatus, Place};
use backdate_engine::domain::time::Date;
use backdate_engine::ports::store::StoreError;
use backdate_engine::ports::store::rows::{
    CashflowRow, HistoryRow, JobStatus, KeyState, PortfolioRow, PortfolioSeriesRow, SnapshotRow,
    ValuationJobRow,
};
use backdate_engine::ports::store::statements::{
    Backlog, CashflowRead, CashflowsRead, HistoryRead, PositionRead, ReadBacklog,
    ReadPortfolioCashflows, ReadPortfolioPositions, ReadPortfolioSeries, ReadPositionHistory,
    SeriesRead,
};

use super::super::core::session::Session;
use super::super::core::storage::{Storage, View};
use super::super::core::table::TxId;
use super::super::derived::{is_behind, latest_business_date};
use super::super::schema::{first_place, last_place};
use super::Run;
use super::timeline::history_from;
use super::validity::Validity;

impl Run for ReadPortfolioPositions {
    async fn run(self, session: &mut Session) -> Result<Vec<PositionRead>, StoreError> {
        Ok(session.read(|view| {
            let keys = states(view, &self.portfolio_id, SecurityId::new(""));
            keys.filter_map(|state| position(view, state, self.as_of)).collect()
        }))
    }
}

/// Keys of a portfolio from a security on, in their order.
fn states<'a>(
    view: View<'a>,
    portfolio_id: &'a PortfolioId,
    security_id: SecurityId,
) -> impl Iterator<Item = &'a Rc<KeyState>> {
    let first = Key { portfolio_id: portfolio_id.clone(), security_id };
    let keys = view.range::<KeyState>(first..);
    keys.take_while(move |state| state.key.portfolio_id == *portfolio_id)
}

fn position(view: View<'_>, state: &KeyState, as_of: Option<Date>) -> Option<PositionRead> {
    let key = &state.key;
    let reprocessing = state.status == KeyStatus::Reprocessing;
    if is_planted(Defect::ReadHidesReprocessing) && reprocessing {
        return None;
    }
    let served_epoch = match is_planted(Defect::ReadJoinsNewEpoch) {
        true => state.epoch,
        false => state.served_epoch,
    };
    let validity = Validity::of(view, key, served_epoch);
    let end = as_of.map_or_else(last_place, |as_of| Place::start_of(as_of.next()));
    let all = (key.clone(), first_place(), Epoch(0))..(key.clone(), end, Epoch(0));
    let is_valid = |row: &&Rc<HistoryRow>| validity.is_valid(row.epoch, row.place.date());
    let last = view.range::<HistoryRow>(all).rev().find(is_valid)?;
    let until = as_of.unwrap_or(Date::from_days(i32::MAX));
    let first = (key.clone(), Date::from_days(i32::MIN), Epoch(0));
    let all = first..=(key.clone(), until, Epoch(u32::MAX));
    let is_valid = |row: &&Rc<SnapshotRow>| {
        validity.is_valid(row.epoch, row.date) || is_planted(Defect::ReadMixesEpochs)
    };
    let snapshot = view.range::<SnapshotRow>(all).rev().find(is_valid);
    Some(PositionRead {
        key: key.clone(),
        served_epoch,
        epoch: state.epoch,
        revision: state.revision,
        status: state.status,
        watermark_date: state.watermark_date,
        snapshot: snapshot.map(|row| (**row).clone()),
        position: last.position,
        position_date: last.place.date(),
    })
}

impl Run for ReadPositionHistory {
    async fn run(self, session: &mut Session) -> Result<Option<HistoryRead>, StoreError> {
        let read = session.read(|view| {
            let state = view.get::<KeyState>(&self.key)?;
            let validity = Validity::of(view, &self.key, state.served_epoch);
            let first = self.after.clone().unwrap_or_else(first_place);
            let rows = view.range::<HistoryRow>(history_from(&self.key, first));
            let rows =
                rows.filter(|row| self.after.as_ref().is_none_or(|after| row.place > *after));
            let valid = rows.filter(|row| validity.is_valid(row.epoch, row.place.date()));
            Some(HistoryRead {
                served_epoch: state.served_epoch,
                epoch: state.epoch,
                revision: state.revision,
                status: state.status,
                rows: valid.take(self.limit as usize).map(|row| (**row).clone()).collect(),
            })
        });
        session.count_rows(read.as_ref().map_or(0, |read| read.rows.len()));
        Ok(read)
    }
}

impl Run for ReadPortfolioCashflows {
    async fn run(self, session: &mut Session) -> Result<Option<CashflowsRead>, StoreError> {
        let read = session.read(|view| {
            view.get::<PortfolioRow>(&self.portfolio_id)?;
            let after_key = self.after.as_ref().map(|(security_id, _)| Key {
                portfolio_id: self.portfolio_id.clone(),
                security_id: security_id.clone(),
            });
            let after_state = after_key.as_ref().and_then(|key| view.get::<KeyState>(key));
            let first = after_key.as_ref().map_or(SecurityId::new(""), |k| k.security_id.clone());
            let keys = states(view, &self.portfolio_id, first);
            let rows = keys.flat_map(|state| cashflows(view, state, &self));
            Some(CashflowsRead {
                after_epoch: after_state.map(|state| state.served_epoch),
                rows: rows.take(self.limit as usize).collect(),
            })
        });
        session.count_rows(read.as_ref().map_or(0, |read| read.rows.len()));
        Ok(read)
    }
}

/// Cash flows of a key that a page may show.
fn cashflows<'a>(
    view: View<'a>,
    state: &'a KeyState,
    asked: &'a ReadPortfolioCashflows,
) -> impl Iterator<Item = CashflowRead> + use<'a> {
    let validity = Validity::of(view, &state.key, state.served_epoch);
    let seen = asked.after.as_ref().filter(|(id, _)| *id == state.key.security_id);
    let seen = seen.map(|(_, place)| place);
    let from = asked.from.map_or_else(first_place, Place::start_of);
    let to = asked.to.map_or_else(last_place, |to| Place::start_of(to.next()));
    let first = seen.map_or(from.clone(), |seen| from.max(seen.clone()));
    let end = to.max(first.clone());
    let at = |place: Place| (state.key.clone(), place, Epoch(0));
    let rows = view.range::<CashflowRow>(at(first)..at(end));
    let unseen = rows.filter(move |row| seen.is_none_or(|seen| row.place > *seen));
    let valid = unseen.filter(move |row| validity.is_valid(row.epoch, row.place.date()));
    valid.map(|row| CashflowRead {
        served_epoch: state.served_epoch,
        status: state.status,
        row: (**row).clone(),
    })
}

impl Run for ReadPortfolioSeries {
    async fn run(self, session: &mut Session) -> Result<Option<SeriesRead>, StoreError> {
        let read = session.read(|view| {
            let portfolio = view.get::<PortfolioRow>(&self.portfolio_id)?;
            let mut keys = states(view, &self.portfolio_id, SecurityId::new(""));
            let latest = latest_business_date(view);
            let is_open = keys.any(|state| {
                state.status == KeyStatus::Reprocessing || Some(state.watermark_date) < latest
            });
            let from = self.from.unwrap_or(Date::from_days(i32::MIN));
            let to = self.to.unwrap_or(Date::from_days(i32::MAX)).max(from);
            let rows = (self.portfolio_id.clone(), from)..=(self.portfolio_id.clone(), to);
            let rows = view.range::<PortfolioSeriesRow>(rows);
            let rows = rows.filter(|row| self.to.is_none_or(|to| row.date <= to));
            Some(SeriesRead {
                base_currency: portfolio.portfolio.base_currency.clone(),
                status: if is_open { KeyStatus::Reprocessing } else { KeyStatus::Current },
                rows: rows.take(self.limit as usize).map(|row| (**row).clone()).collect(),
            })
        });
        session.count_rows(read.as_ref().map_or(0, |read| read.rows.len()));
        Ok(read)
    }
}

impl Run for ReadBacklog {
    async fn run(self, session: &mut Session) -> Result<Backlog, StoreError> {
        Ok(session.read_storage(backlog))
    }
}

/// Counts of work that is not done, as that transaction sees it.
pub(in super::super) fn backlog(storage: &Storage, tx: TxId) -> Backlog {
    let view = storage.view(tx);
    let latest = latest_business_date(view);
    let mut waiting = BTreeSet::new();
    let (mut waiting_jobs, mut valuation_jobs) = (0, 0);
    for job in view.range::<ValuationJobRow>(..) {
        if job.status == JobStatus::Waiting {
            waiting_jobs += 1;
            waiting.extend(job.keys.iter().map(|held| &held.key));
        } else {
            valuation_jobs += 1;
        }
    }
    let behind = match storage.derived(tx) {
        Some(derived) => derived.behind.iter().filter(|key| !waiting.contains(key)).count(),
        None => {
            let keys = view.range::<KeyState>(..).filter(|state| is_behind(state, latest));
            keys.filter(|state| !waiting.contains(&state.key)).count()
        }
    };
    let tables = view.tables;
    Backlog {
        outbox_events: tables.outbox.count(tx) as u64,
        triggers: tables.triggers.count(tx) as u64,
        reprocessing_jobs: tables.fanouts.count(tx) as u64,
        replays: tables.replays.count(tx) as u64,
        valuation_jobs,
        waiting_jobs,
        keys_behind: behind as u64,
        keys_waiting: waiting.len() as u64,
    }
}
