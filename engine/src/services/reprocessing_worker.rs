//! `reprocessing-worker`: fans a trigger out to the keys that use what changed, in bounded batches
//! with a durable cursor.
//!
//! The batch's job row is locked as long as its transaction runs, so two workers never share a job
//! and the death of one frees it at once. Keys are locked before anything is decided about them.

use std::collections::{BTreeMap, BTreeSet};

use super::ServiceError;
use super::backoff::Backoff;
use super::instance::{Instance, Session};
use super::invalidation::{Rebuilds, invalidate, lower_watermark, new_epoch, report};
use crate::defects::{Defect, is_planted};
use crate::domain::fx::FxTable;
use crate::domain::ids::{Currency, Key, PortfolioId};
use crate::domain::records::FoldTerms;
use crate::domain::time::Date;
use crate::ports::Ports;
use crate::ports::store::rows::{KeyState, ReplayRow, ReprocessingJobRow, Subject, TimelineRow};
use crate::ports::store::statements::{
    DeleteReprocessingJob, LockKeys, MoveReprocessingJob, ReadPortfolios, ReadRates, ReadReplays,
    ReadTimelineHeads, ReadTimelineRates, ResetLots, ScanKeys, TakeReprocessingJob, TimelineRate,
    UpdateKeys, UpsertEpochs, UpsertReplays,
};

/// Name of the process in crash points.
pub const PROCESS: &str = "reprocessing-worker";

/// Its port calls.
pub const CALLS: &[&str] = &[
    "TakeReprocessingJob",
    "ScanKeys",
    "LockKeys",
    "ReadReplays",
    "ReadTimelineHeads",
    "ReadTimelineRates",
    "ReadRates",
    "ReadPortfolios",
    "ResetLots",
    "UpsertEpochs",
    "UpsertReplays",
    "UpdateKeys",
    "MoveReprocessingJob",
    "DeleteReprocessingJob",
    "Commit",
];

/// Runs the process until the instance is asked to stop.
pub(crate) async fn run<P: Ports>(instance: Instance<P>) {
    let mut backoff = Backoff::default();
    while !instance.is_stopping() {
        match round(&instance).await {
            Ok(true) => backoff.reset(),
            Ok(false) => instance.pause(instance.knobs.worker_poll_ms).await,
            Err(error) => {
                instance.trouble(PROCESS, &error);
                backoff.wait(&instance).await;
            }
        }
    }
}

/// One batch of one job; whether there was any.
async fn round<P: Ports>(instance: &Instance<P>) -> Result<bool, ServiceError> {
    let mut session = instance.begin().await?;
    let taken = match is_planted(Defect::LateFinisherCompletesRearmed) {
        true => instance.query(TakeReprocessingJob {}).await?,
        false => session.run(TakeReprocessingJob {}).await?,
    };
    let Some(job) = taken else {
        session.rollback().await;
        return Ok(false);
    };
    let limit = instance.knobs.fanout_batch;
    let scan = ScanKeys { subject: job.subject.clone(), after: job.cursor.clone(), limit };
    let keys = session.run(scan).await?;
    let last = keys.last().cloned();
    let is_end = keys.len() < limit as usize || is_planted(Defect::FanoutEndsAfterOneBatch);
    let mut visits = Vec::new();
    if is_planted(Defect::FanoutMovesCursorFirst) {
        finish(&mut session, job.id, last.clone().filter(|_| !is_end)).await?;
        session.split().await?;
    }
    if !keys.is_empty() {
        let skip_locked = is_planted(Defect::FanoutSkipsLockedKeys);
        let lock = LockKeys { keys, skip_locked };
        let states = match is_planted(Defect::FanoutDoesNotLock) {
            true => instance.query(lock).await?,
            false => session.run(lock).await?,
        };
        visits = visit(&mut session, &job, states).await?;
    }
    if !is_planted(Defect::FanoutMovesCursorFirst) {
        finish(&mut session, job.id, last.filter(|_| !is_end)).await?;
    }
    session.commit().await?;
    for (before, after) in &visits {
        report(instance, before, after);
    }
    Ok(true)
}

/// Moves a job to the last key that was visited; without one it is done.
async fn finish<P: Ports>(
    session: &mut Session<'_, P>,
    id: u64,
    last: Option<Key>,
) -> Result<(), ServiceError> {
    match last {
        Some(cursor) => session.run(MoveReprocessingJob { id, cursor }).await?,
        None => session.run(DeleteReprocessingJob { id }).await?,
    }
    Ok(())
}

/// Decides about locked keys and writes them; returns them as they were and are.
async fn visit<P: Ports>(
    session: &mut Session<'_, P>,
    job: &ReprocessingJobRow,
    before: Vec<KeyState>,
) -> Result<Vec<(KeyState, KeyState)>, ServiceError> {
    let mut after = before.clone();
    let mut rebuilds = Rebuilds::default();
    for state in &mut after {
        state.input_version += 1;
    }
    match &job.subject {
        Subject::Security(_) if job.date == Date::FIRST => {
            let heads = heads(session, &after).await?;
            for state in &mut after {
                if let Some(head) = heads.get(&state.key) {
                    invalidate_if_valued(state, head.place.date());
                }
            }
        }
        Subject::Security(_) | Subject::Calendar => {
            for state in &mut after {
                invalidate_if_valued(state, job.date);
            }
        }
        Subject::Pair(..) => rates(session, job.date, &mut after, &mut rebuilds).await?,
        Subject::Portfolio(id) => portfolio(session, id, &mut after, &mut rebuilds).await?,
    }
    if !rebuilds.reset_lots.is_empty() {
        let epochs = rebuilds.take_epochs();
        session.run(ResetLots { keys: rebuilds.reset_lots }).await?;
        session.run(UpsertEpochs { rows: epochs }).await?;
        session.run(UpsertReplays { rows: rebuilds.replays }).await?;
    }
    session.run(UpdateKeys { rows: after.clone() }).await?;
    Ok(before.into_iter().zip(after).collect())
}

/// A price (or its like) of that date: what was valued from there on is not valid any more.
fn invalidate_if_valued(state: &mut KeyState, date: Date) {
    if is_valued(state, date) {
        invalidate(state, date);
    }
}

/// Whether anything has been valued on that date or after it.
fn is_valued(state: &KeyState, date: Date) -> bool {
    state.valued_through.is_some_and(|last| match is_planted(Defect::BackdatedPriceStrict) {
        true => last > date,
        false => last >= date,
    })
}

/// A rate: costs change where it changes the rate of a folded transaction, values from its date on.
async fn rates<P: Ports>(
    session: &mut Session<'_, P>,
    date: Date,
    states: &mut [KeyState],
    rebuilds: &mut Rebuilds,
) -> Result<(), ServiceError> {
    let keys: Vec<Key> = states.iter().map(|state| state.key.clone()).collect();
    let replays = replays(session, &keys).await?;
    let with_date = keys.into_iter().map(|key| (key, date)).collect();
    let folded = session.run(ReadTimelineRates { keys: with_date }).await?;
    let fx = read_rates(session, states, &folded).await?;
    let mut by_key: BTreeMap<&Key, Vec<&TimelineRate>> = BTreeMap::new();
    for rate in &folded {
        by_key.entry(&rate.key).or_default().push(rate);
    }
    for state in states {
        let open = replays.get(&state.key);
        let replayed_to = open.map(ReplayRow::replayed_to);
        let entries = by_key.get(&state.key).into_iter().flatten();
        let changed = state.fold_terms.as_ref().and_then(|terms| {
            entries
                // What lies beyond an open replay's cursor will be folded with the new rate.
                .filter(|entry| replayed_to.as_ref().is_none_or(|cursor| entry.place <= *cursor))
                .find(|entry| {
                    let date = entry.place.date();
                    fx.look_up(&entry.trade_currency, &terms.base_currency, date) != entry.fx
                })
        });
        let is_valued = is_valued(state, date);
        if let Some(entry) = changed.filter(|_| !is_planted(Defect::RateKeepsCosts)) {
            rebuild(state, open, entry.place.date(), rebuilds);
            if is_valued && !is_planted(Defect::RateRebuildKeepsWatermark) {
                lower_watermark(state, date);
            }
        } else if is_valued {
            invalidate(state, date);
        }
    }
    Ok(())
}

/// Reads the rates that the folded transactions need today.
async fn read_rates<P: Ports>(
    session: &mut Session<'_, P>,
    states: &[KeyState],
    folded: &[TimelineRate],
) -> Result<FxTable, ServiceError> {
    let bases: BTreeMap<&Key, &Currency> = states
        .iter()
        .filter_map(|state| Some((&state.key, &state.fold_terms.as_ref()?.base_currency)))
        .collect();
    let mut pairs = BTreeSet::new();
    for entry in folded {
        if let Some(base) = bases.get(&entry.key) {
            pairs.extend(FxTable::pairs(&entry.trade_currency, base));
        }
    }
    let dates = folded.iter().map(|entry| entry.place.date());
    let (Some(from), Some(to)) = (dates.clone().min(), dates.max()) else {
        return Ok(FxTable::default());
    };
    if pairs.is_empty() {
        return Ok(FxTable::default());
    }
    let rows = session.run(ReadRates { pairs: pairs.into_iter().collect(), from, to }).await?;
    Ok(FxTable::new(rows.into_iter().map(|row| row.rate)))
}

/// A new or changed portfolio: where it is not what the history was folded with, all is rebuilt.
async fn portfolio<P: Ports>(
    session: &mut Session<'_, P>,
    id: &PortfolioId,
    states: &mut [KeyState],
    rebuilds: &mut Rebuilds,
) -> Result<(), ServiceError> {
    let rows = session.run(ReadPortfolios { ids: vec![id.clone()] }).await?;
    let Some(row) = rows.into_iter().next() else {
        return Ok(());
    };
    let terms = FoldTerms {
        base_currency: row.portfolio.base_currency,
        method: row.portfolio.cost_basis_method,
    };
    let keys: Vec<Key> = states.iter().map(|state| state.key.clone()).collect();
    let replays = replays(session, &keys).await?;
    let heads = heads(session, states).await?;
    for state in states {
        // A key with an empty timeline takes the portfolio as it is when its first entry comes.
        let Some(head) = heads.get(&state.key) else {
            continue;
        };
        if state.fold_terms.as_ref() != Some(&terms) {
            state.fold_terms = Some(terms.clone());
            rebuild(state, replays.get(&state.key), head.place.date(), rebuilds);
        }
    }
    Ok(())
}

fn rebuild(state: &mut KeyState, open: Option<&ReplayRow>, date: Date, rebuilds: &mut Rebuilds) {
    let (epoch, replay) = new_epoch(state, open, date);
    rebuilds.reset_lots.push(state.key.clone());
    rebuilds.note_epoch(epoch);
    rebuilds.replays.push(replay);
}

async fn replays<P: Ports>(
    session: &mut Session<'_, P>,
    keys: &[Key],
) -> Result<BTreeMap<Key, ReplayRow>, ServiceError> {
    let rows = session.run(ReadReplays { keys: keys.to_vec() }).await?;
    Ok(rows.into_iter().map(|row| (row.key.clone(), row)).collect())
}

async fn heads<P: Ports>(
    session: &mut Session<'_, P>,
    states: &[KeyState],
) -> Result<BTreeMap<Key, TimelineRow>, ServiceError> {
    let keys = states.iter().map(|state| state.key.clone()).collect();
    let rows = session.run(ReadTimelineHeads { keys }).await?;
    Ok(rows.into_iter().map(|row| (row.key.clone(), row)).collect())
}
