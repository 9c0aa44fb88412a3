//! `position-valuation-calculator`: daily snapshots of keys over a range of business dates.
//!
//! A job is one transaction: lock the keys, compare their tokens, lock the job, read the inputs in
//! later statements, write, finish the job. Keys whose token has moved are left out and counted.

use std::collections::{BTreeMap, BTreeSet};

use super::ServiceError;
use super::consume::{Handler, consume, part};
use super::instance::{Instance, Session};
use crate::defects::{Defect, is_planted};
use crate::domain::fx::FxTable;
use crate::domain::ids::{Currency, Key, SecurityId, Token};
use crate::domain::intake::Rejection;
use crate::domain::messages::{self, ValuationRequired};
use crate::domain::records::{MarketPrice, Position};
use crate::domain::time::Date;
use crate::domain::valuation::value;
use crate::ports::Ports;
use crate::ports::host::Signal;
use crate::ports::log::{Record, Topic};
use crate::ports::store::rows::{JobKey, KeyState, OutboxRow, SnapshotRow};
use crate::ports::store::statements::{
    AppendOutbox, CopySnapshots, DatedPosition, DeleteSnapshots, DeleteValuationJob, LockKeys,
    LockValuationJob, PostponeValuationJob, RaiseValuedThrough, ReadBusinessDates, ReadInstruments,
    ReadPositions, ReadPrices, ReadRates,
};
use crate::services::outbox_dispatcher::lane_of;

/// Name of the process in crash points.
pub const PROCESS: &str = "position-valuation-calculator";

/// Its port calls.
pub const CALLS: &[&str] = &[
    "LockKeys",
    "LockValuationJob",
    "ReadInstruments",
    "ReadBusinessDates",
    "ReadPositions",
    "ReadPrices",
    "ReadRates",
    "DeleteSnapshots",
    "CopySnapshots",
    "RaiseValuedThrough",
    "PostponeValuationJob",
    "DeleteValuationJob",
    "AppendOutbox",
    "Commit",
    "Send",
    "CommitOffsets",
];

/// Runs the process.
pub(crate) async fn run<P: Ports>(instance: Instance<P>) {
    consume(instance, Valuation).await;
}

struct Valuation;

impl<P: Ports> Handler<P> for Valuation {
    const GROUP: &'static str = "position-valuation-calculator";
    const TOPICS: &'static [Topic] = &[Topic::ValuationRequired];

    async fn handle<'r>(
        &self,
        instance: &Instance<P>,
        records: &'r [Record],
    ) -> Result<Vec<(&'r Record, Rejection)>, ServiceError> {
        let (jobs, mut poison) =
            part(records, |record| messages::read_valuation_required(&record.value));
        for (record, job) in jobs {
            // A batch of jobs may take longer than a stop may.
            if instance.is_stopping() {
                return Err(ServiceError::Stopping);
            }
            let is_stale = run_job(instance, record, job).await?;
            if is_planted(Defect::StaleMessageDeadLettered) && is_stale {
                poison.push((record, Rejection::BadField));
            }
        }
        Ok(poison)
    }
}

/// Does a job; whether it was stale, in part or as a whole.
async fn run_job<P: Ports>(
    instance: &Instance<P>,
    record: &Record,
    job: ValuationRequired,
) -> Result<bool, ServiceError> {
    let mut session = instance.begin().await?;
    let keys = job.keys.iter().map(|(key, _)| key.clone()).collect::<BTreeSet<_>>();
    let mut keys: Vec<Key> = keys.into_iter().collect();
    if is_planted(Defect::KeysLockedInArrivalOrder) {
        keys.reverse();
    }
    let early = match is_planted(Defect::ValuationReadsBeforeLock) {
        true => Some(value_early(instance, &mut session, &keys, &job).await?),
        false => None,
    };
    let states = session.run(LockKeys { keys, skip_locked: false }).await?;
    let (mut fresh, fenced) = compare(record, &job, states);
    let is_stale = !fenced.is_empty();
    if let Some(id) = job.job_id {
        // A job without a row is done: this message is a duplicate, or its worker was too late.
        match session.run(LockValuationJob { id }).await? {
            Some(row) => {
                fresh.retain(|state| row.keys.iter().any(|job_key| job_key.key == state.key));
            }
            None if is_planted(Defect::JobRowNotChecked) => {}
            None => {
                session.rollback().await;
                fenced.into_iter().for_each(|signal| instance.emit(signal));
                return Ok(is_stale);
            }
        }
    }
    let snapshots = match early {
        Some(early) => early.of(&fresh),
        None => value_keys(&mut session, &fresh, &job).await?,
    };
    let rows = snapshots.rows.len() as u32;
    write(&mut session, instance, &fresh, &job, snapshots.rows).await?;
    let waiting: Vec<JobKey> = snapshots.waiting.iter().map(job_key).collect();
    if let Some(id) = job.job_id {
        if waiting.is_empty() {
            session.run(DeleteValuationJob { id }).await?;
        } else {
            let (keys, delay_ms) = (waiting.clone(), instance.knobs.wait_ms);
            session.run(PostponeValuationJob { id, keys, delay_ms }).await?;
        }
    }
    session.commit().await?;
    let superseded = fenced.len() as u32;
    fenced.into_iter().for_each(|signal| instance.emit(signal));
    if !waiting.is_empty() {
        let keys: Vec<Key> = waiting.into_iter().map(|job_key| job_key.key).collect();
        let missing = format!("instrument {}", keys[0].security_id).into();
        instance.emit(Signal::KeysWait { keys, missing });
    }
    instance.emit(Signal::JobCompleted { id: job.job_id.unwrap_or(0), rows, superseded });
    Ok(is_stale)
}

/// What a planted defect does: values keys as they are before they are locked.
async fn value_early<P: Ports>(
    instance: &Instance<P>,
    session: &mut Session<'_, P>,
    keys: &[Key],
    job: &ValuationRequired,
) -> Result<Snapshots, ServiceError> {
    let seen = LockKeys { keys: keys.to_vec(), skip_locked: false };
    let states = instance.query(seen).await?;
    value_keys(session, &states, job).await
}

fn job_key(state: &KeyState) -> JobKey {
    JobKey { key: state.key.clone(), token: state.token() }
}

/// Keys whose token is the job's, and what is to be reported about the others.
fn compare(
    record: &Record,
    job: &ValuationRequired,
    states: Vec<KeyState>,
) -> (Vec<KeyState>, Vec<Signal>) {
    let tokens: BTreeMap<&Key, Token> = job.keys.iter().map(|(key, token)| (key, *token)).collect();
    let (mut fresh, mut others) = (Vec::new(), Vec::new());
    for state in states {
        let (message, now) = (tokens[&state.key], state.token());
        let (topic, key) = (record.topic, state.key.clone());
        let is_newer = message.revision > now.revision || message.epoch > now.epoch;
        let takes_newer = is_planted(Defect::NewerEpochApplied) && is_newer;
        if is_planted(Defect::ValuationWritesJobsToken) || takes_newer {
            fresh.push(KeyState { epoch: message.epoch, revision: message.revision, ..state });
        } else if message == now || is_planted(Defect::ValuationDoesNotFence) {
            fresh.push(state);
        } else if is_newer {
            others.push(Signal::IntegrityError { topic, key, message, state: now });
        } else {
            let producer = record.headers.producer.clone();
            others.push(Signal::Fenced { topic, key, message, state: now, producer });
        }
    }
    (fresh, others)
}

/// Snapshots of a job, and the keys that wait for their instrument.
#[derive(Default)]
struct Snapshots {
    rows: Vec<SnapshotRow>,
    waiting: Vec<KeyState>,
}

impl Snapshots {
    /// Those of some keys, as their states are.
    fn of(mut self, fresh: &[KeyState]) -> Self {
        self.rows.retain(|row| {
            let token = Token { epoch: row.epoch, revision: row.revision };
            fresh.iter().any(|state| state.key == row.key && state.token() == token)
        });
        self.waiting.retain(|waiting| fresh.iter().any(|state| state.key == waiting.key));
        self
    }
}

/// Reads the inputs under the locks and values the keys that have an instrument.
async fn value_keys<P: Ports>(
    session: &mut Session<'_, P>,
    fresh: &[KeyState],
    job: &ValuationRequired,
) -> Result<Snapshots, ServiceError> {
    let mut snapshots = Snapshots::default();
    if fresh.is_empty() {
        return Ok(snapshots);
    }
    let (from, to) = (job.date_from, job.date_to);
    let ids: BTreeSet<SecurityId> = fresh.iter().map(|s| s.key.security_id.clone()).collect();
    let ids: Vec<SecurityId> = ids.into_iter().collect();
    let instruments = session.run(ReadInstruments { ids: ids.clone() }).await?;
    let currencies: BTreeMap<SecurityId, Currency> = instruments
        .into_iter()
        .map(|row| (row.instrument.security_id, row.instrument.currency))
        .collect();
    let dates = session.run(ReadBusinessDates { from, to }).await?;
    let keys = fresh.iter().map(|state| (state.key.clone(), state.epoch)).collect();
    let mut positions: BTreeMap<Key, Vec<DatedPosition>> = BTreeMap::new();
    for row in session.run(ReadPositions { keys, from, to }).await? {
        positions.entry(row.key.clone()).or_default().push(row);
    }
    let mut prices: BTreeMap<SecurityId, Vec<MarketPrice>> = BTreeMap::new();
    for row in session.run(ReadPrices { securities: ids, from, to }).await? {
        prices.entry(row.price.security_id.clone()).or_default().push(row.price);
    }
    let fx = read_rates(session, fresh, &currencies, &prices, (from, to)).await?;
    for state in fresh {
        let Some(currency) = currencies.get(&state.key.security_id) else {
            snapshots.waiting.push(state.clone());
            continue;
        };
        let positions = positions.get(&state.key).map_or(&[][..], Vec::as_slice);
        let prices = prices.get(&state.key.security_id).map_or(&[][..], Vec::as_slice);
        value_key(state, currency, positions, prices, &dates, &fx, &mut snapshots.rows);
    }
    Ok(snapshots)
}

/// Rates price currency -> instrument currency -> base.
async fn read_rates<P: Ports>(
    session: &mut Session<'_, P>,
    fresh: &[KeyState],
    currencies: &BTreeMap<SecurityId, Currency>,
    prices: &BTreeMap<SecurityId, Vec<MarketPrice>>,
    (from, to): (Date, Date),
) -> Result<FxTable, ServiceError> {
    let mut pairs = BTreeSet::new();
    for (security, quotes) in prices {
        let Some(currency) = currencies.get(security) else {
            continue;
        };
        for quote in quotes.iter().filter(|quote| quote.currency != *currency) {
            pairs.extend(FxTable::pairs(&quote.currency, currency));
        }
    }
    for state in fresh {
        let base = state.fold_terms.as_ref().map(|terms| &terms.base_currency);
        if let (Some(currency), Some(base)) = (currencies.get(&state.key.security_id), base) {
            pairs.extend(FxTable::pairs(currency, base));
        }
    }
    if pairs.is_empty() {
        return Ok(FxTable::default());
    }
    let rows = session.run(ReadRates { pairs: pairs.into_iter().collect(), from, to }).await?;
    Ok(FxTable::new(rows.into_iter().map(|row| row.rate)))
}

/// One row per business date from the first position on; series are in date order.
fn value_key(
    state: &KeyState,
    currency: &Currency,
    positions: &[DatedPosition],
    prices: &[MarketPrice],
    dates: &[Date],
    fx: &FxTable,
    rows: &mut Vec<SnapshotRow>,
) {
    let Some(terms) = &state.fold_terms else {
        return;
    };
    let (mut next_position, mut next_price) = (0, 0);
    let mut position: Option<Position> = None;
    for date in dates.iter().copied() {
        while positions.get(next_position).is_some_and(|row| row.date <= date) {
            position = Some(positions[next_position].position);
            next_position += 1;
        }
        while prices.get(next_price).is_some_and(|price| price.price_date <= date) {
            next_price += 1;
        }
        let Some(position) = position else { continue };
        let price = next_price.checked_sub(1).map(|last| &prices[last]);
        let valuation = value(date, &position, price, currency, &terms.base_currency, fx);
        rows.push(SnapshotRow {
            key: state.key.clone(),
            date,
            epoch: state.epoch,
            revision: state.revision,
            position,
            market_price: valuation.market_price,
            values: valuation.values,
            valuation_status: valuation.status,
        });
    }
}

async fn write<P: Ports>(
    session: &mut Session<'_, P>,
    instance: &Instance<P>,
    fresh: &[KeyState],
    job: &ValuationRequired,
    rows: Vec<SnapshotRow>,
) -> Result<(), ServiceError> {
    let Some(last) = rows.iter().map(|row| row.date).max() else {
        return Ok(());
    };
    let written: BTreeSet<Key> = rows.iter().map(|row| row.key.clone()).collect();
    let lanes = instance.knobs.outbox_lanes;
    let events: Vec<OutboxRow> = fresh
        .iter()
        .filter(|state| written.contains(&state.key))
        .map(|state| OutboxRow {
            id: 0,
            lane: lane_of(state.key.portfolio_id.as_str(), lanes),
            topic: Topic::DailyPositionSnapshotPersisted,
            key: state.key.portfolio_id.as_str().into(),
            payload: messages::snapshots_persisted(
                &state.key,
                state.token(),
                job.date_from,
                job.date_to,
            ),
            correlation_id: job.correlation_id.clone(),
        })
        .collect();
    let keys = fresh.iter().map(|state| (state.key.clone(), state.epoch)).collect();
    session.run(DeleteSnapshots { keys, from: job.date_from, to: job.date_to }).await?;
    session.run(CopySnapshots { rows }).await?;
    // Most have been valued to there before, and what is not changed costs nothing.
    let rises = |state: &&KeyState| state.valued_through.is_none_or(|through| through < last);
    let rising = fresh.iter().filter(rises).filter(|state| written.contains(&state.key));
    let keys: Vec<Key> = rising.map(|state| state.key.clone()).collect();
    if !keys.is_empty() && !is_planted(Defect::ValuedThroughNotRaised) {
        session.run(RaiseValuedThrough { keys, date: last }).await?;
    }
    session.run(AppendOutbox { rows: events }).await?;
    Ok(())
}
