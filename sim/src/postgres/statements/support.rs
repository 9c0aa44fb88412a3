//! What an operator looks at, each from one snapshot of the database.

use std::ops::Bound;
use std::rc::Rc;

use backdate_engine::domain::ids::{Epoch, Key, PortfolioId, SecurityId};
use backdate_engine::domain::records::{Fate, KeyStatus, ParkReason};
use backdate_engine::ports::store::StoreError;
use backdate_engine::ports::store::rows::{
    EpochRow, JobStatus, KeyState, PortfolioRow, ReplayRow, Subject, TimelineRow, TriggerRow,
    ValuationJobRow,
};
use backdate_engine::ports::store::statements::{
    FindStuckKeys, FindValuationJobs, Lineage, ParkedTransaction, PortfolioOverview, ReadLineage,
    ReadPortfolioOverview, StuckKey,
};

use super::super::core::session::Session;
use super::super::core::storage::View;
use super::super::derived::{consulted, latest_business_date, pair};
use super::super::schema::{FanoutRow, JobIndex, first_place, last_place};
use super::Run;

impl Run for FindStuckKeys {
    async fn run(self, session: &mut Session) -> Result<Vec<StuckKey>, StoreError> {
        let now = session.now();
        Ok(session.read(|view| {
            let is_stuck = |state: &&Rc<KeyState>| {
                let age_us = now.micros() - state.updated_at.micros();
                let is_next = self.after.as_ref().is_none_or(|after| state.key > *after);
                is_next
                    && state.status == KeyStatus::Reprocessing
                    && i128::from(age_us) >= i128::from(self.older_than_ms) * 1_000
            };
            let stuck = view.range::<KeyState>(..).filter(is_stuck).take(self.limit as usize);
            let stuck = stuck.map(|state| StuckKey {
                state: (**state).clone(),
                replay: view.get::<ReplayRow>(&state.key).map(|row| (**row).clone()),
                jobs: jobs_of(view, &state.key).count() as u64,
                parked: parked(view, &state.key).count() as u64,
            });
            stuck.collect()
        }))
    }
}

impl Run for FindValuationJobs {
    async fn run(self, session: &mut Session) -> Result<Vec<ValuationJobRow>, StoreError> {
        Ok(session.read(|view| {
            let jobs =
                view.range::<ValuationJobRow>((Bound::Excluded(self.after), Bound::Unbounded));
            let jobs = jobs.filter(|job| self.status.is_none_or(|status| job.status == status));
            jobs.take(self.limit as usize).map(|job| (**job).clone()).collect()
        }))
    }
}

impl Run for ReadPortfolioOverview {
    async fn run(self, session: &mut Session) -> Result<Option<PortfolioOverview>, StoreError> {
        Ok(session.read(|view| overview(view, &self.portfolio_id)))
    }
}

fn overview(view: View<'_>, portfolio_id: &PortfolioId) -> Option<PortfolioOverview> {
    let portfolio = view.get::<PortfolioRow>(portfolio_id);
    let first = Key { portfolio_id: portfolio_id.clone(), security_id: SecurityId::new("") };
    let keys = view.range::<KeyState>(first..);
    let keys: Vec<_> = keys.take_while(|state| state.key.portfolio_id == *portfolio_id).collect();
    if portfolio.is_none() && keys.is_empty() {
        return None;
    }
    let behind = keys.iter().filter(|state| state.status == KeyStatus::Reprocessing);
    let jobs = keys.iter().flat_map(|state| jobs_of(view, &state.key));
    let waiting = jobs.clone().filter(|job| job.status == JobStatus::Waiting);
    let reasons = ParkReason::ALL.iter().filter_map(|reason| {
        let parked = keys.iter().flat_map(|state| parked(view, &state.key));
        let count = parked.filter(|(_, why)| why == reason).count() as u64;
        (count > 0).then_some((*reason, count))
    });
    let replays = keys.iter().filter(|state| view.get::<ReplayRow>(&state.key).is_some());
    Some(PortfolioOverview {
        base_currency: portfolio.map(|row| row.portfolio.base_currency.clone()),
        keys: keys.len() as u64,
        reprocessing: behind.clone().count() as u64,
        reprocessing_since: behind.map(|state| state.updated_at).min(),
        replays: replays.count() as u64,
        jobs: jobs.count() as u64,
        waiting_jobs: waiting.count() as u64,
        parked: reasons.collect(),
        watermark_date: keys.iter().map(|state| state.watermark_date).min(),
        latest_business_date: latest_business_date(view),
    })
}

impl Run for ReadLineage {
    async fn run(self, session: &mut Session) -> Result<Option<Lineage>, StoreError> {
        Ok(session.read(|view| lineage(view, &self.key, self.limit as usize)))
    }
}

fn lineage(view: View<'_>, key: &Key, limit: usize) -> Option<Lineage> {
    let state = view.get::<KeyState>(key)?;
    let pairs = consulted(view, state);
    let concerns = |subject: &Subject| match subject {
        Subject::Security(id) => *id == key.security_id,
        Subject::Portfolio(id) => *id == key.portfolio_id,
        Subject::Calendar => true,
        Subject::Pair(from, to) => pairs.contains(&pair(from, to)),
    };
    let epochs = (key.clone(), Epoch(0))..=(key.clone(), Epoch(u32::MAX));
    let jobs = jobs_of(view, key).take(limit).map(|job| {
        let mut job = (**job).clone();
        job.keys.retain(|held| held.key == *key);
        job
    });
    let triggers = view.range::<TriggerRow>(..).filter(|row| concerns(&row.subject));
    let fan_outs = view.range::<FanoutRow>(..).filter(|fan_out| concerns(&fan_out.row.subject));
    let parked = parked(view, key).take(limit);
    Some(Lineage {
        state: (**state).clone(),
        epochs: view.range::<EpochRow>(epochs).map(|row| (**row).clone()).collect(),
        replay: view.get::<ReplayRow>(key).map(|row| (**row).clone()),
        jobs: jobs.collect(),
        triggers: triggers.map(|row| (**row).clone()).collect(),
        fan_outs: fan_outs.map(|fan_out| (*fan_out.row).clone()).collect(),
        transactions: timeline(view, key).count() as u64,
        parked: parked
            .map(|(row, reason)| ParkedTransaction { place: row.place.clone(), reason })
            .collect(),
    })
}

/// Jobs that hold a key, in the order of their ids.
fn jobs_of<'a>(
    view: View<'a>,
    key: &Key,
) -> impl Iterator<Item = &'a Rc<ValuationJobRow>> + Clone + use<'a> {
    let wanted = JobIndex::Key(key.clone());
    let from = Bound::Included((wanted.clone(), 0));
    let ids = view.scan::<ValuationJobRow>(from, move |entry| *entry == wanted);
    let jobs: Vec<_> = ids.map(|(_, version)| &version.row).collect();
    jobs.into_iter()
}

fn timeline<'a>(view: View<'a>, key: &Key) -> impl Iterator<Item = &'a Rc<TimelineRow>> + use<'a> {
    let places = (key.clone(), first_place())..=(key.clone(), last_place());
    view.range::<TimelineRow>(places)
}

/// Transactions of a key that are parked, in place order.
fn parked<'a>(
    view: View<'a>,
    key: &Key,
) -> impl Iterator<Item = (&'a Rc<TimelineRow>, ParkReason)> + use<'a> {
    timeline(view, key).filter_map(|row| match row.outcome.as_ref()?.fate {
        Fate::Parked(reason) => Some((row, reason)),
        Fate::Applied(_) => None,
    })
}
