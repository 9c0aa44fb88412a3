//! What the query API and the gauges read, each from one snapshot of the database.

use std::collections::BTreeSet;
use std::rc::Rc;

use backdate_engine::defects::{Defect, is_planted};
use backdate_engine::domain::ids::{Epoch, Key, SecurityId};
use backdate_engine::domain::records::{KeyStatus, Place};
use backdate_engine::domain::time::Date;
use backdate_engine::ports::store::StoreError;
use backdate_engine::ports::store::rows::{
    HistoryRow, JobStatus, KeyState, SnapshotRow, ValuationJobRow,
};
use backdate_engine::ports::store::statements::{
    Backlog, HistoryRead, PositionRead, ReadBacklog, ReadPortfolioPositions, ReadPositionHistory,
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
        let first =
            Key { portfolio_id: self.portfolio_id.clone(), security_id: SecurityId::new("") };
        Ok(session.read(|view| {
            let keys = view.range::<KeyState>(first..);
            let keys = keys.take_while(|state| state.key.portfolio_id == self.portfolio_id);
            keys.filter_map(|state| position(view, state, self.as_of)).collect()
        }))
    }
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
