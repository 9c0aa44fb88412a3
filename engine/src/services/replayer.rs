//! `replayer` (part of position-calculator): rebuilds histories under their new epoch, in bounded
//! chunks that are each one transaction and move a durable cursor.
//!
//! Places before the replay's first date are folded from their stored results (no row is written
//! for them); from there on every transaction is folded anew and gets one history row, so n
//! transactions cost at most n rows. A chunk compares the epoch only: a price must not stop it.

use std::collections::{BTreeMap, BTreeSet};

use super::ServiceError;
use super::backoff::Backoff;
use super::instance::{Instance, Session};
use crate::defects::{Defect, is_planted};
use crate::domain::cost::Fold;
use crate::domain::fx::FxTable;
use crate::domain::ids::Key;
use crate::domain::messages;
use crate::domain::money::Amount;
use crate::domain::records::{Fate, Transaction};
use crate::domain::time::Date;
use crate::ports::Ports;
use crate::ports::host::Signal;
use crate::ports::log::Topic;
use crate::ports::store::rows::{HistoryRow, KeyState, LotRow, OutboxRow, ReplayRow, TimelineRow};
use crate::ports::store::statements::{
    AppendOutbox, DeleteLots, DeleteReplays, FindReplays, InsertHistory, LockKeys, PruneEpochs,
    ReadLots, ReadRates, ReadReplays, ReadTimelineChunks, ReadTransactions, UpdateKeys, UpsertLots,
    UpsertReplays, UpsertTimeline,
};
use crate::services::outbox_dispatcher::lane_of;

/// Name of the process in crash points.
pub const PROCESS: &str = "replayer";

/// Its port calls.
pub const CALLS: &[&str] = &[
    "FindReplays",
    "LockKeys",
    "ReadReplays",
    "ReadTimelineChunks",
    "ReadLots",
    "ReadTransactions",
    "ReadRates",
    "UpsertTimeline",
    "InsertHistory",
    "DeleteLots",
    "UpsertLots",
    "UpsertReplays",
    "DeleteReplays",
    "UpdateKeys",
    "AppendOutbox",
    "Commit",
];

/// Runs the process until the instance is asked to stop.
pub(crate) async fn run<P: Ports>(instance: Instance<P>) {
    let mut backoff = Backoff::default();
    let mut after: Option<Key> = None;
    while !instance.is_stopping() {
        match round(&instance, &mut after).await {
            Ok(true) => backoff.reset(),
            Ok(false) => instance.pause(instance.knobs.replay_poll_ms).await,
            Err(error) => {
                instance.trouble(PROCESS, &error);
                backoff.wait(&instance).await;
            }
        }
    }
}

/// One chunk of each of the next keys, going round; whether there was any.
async fn round<P: Ports>(
    instance: &Instance<P>,
    after: &mut Option<Key>,
) -> Result<bool, ServiceError> {
    let limit = instance.knobs.replay_keys;
    let keys = instance.query(FindReplays { after: after.clone(), limit }).await?;
    *after = keys.last().cloned().filter(|_| keys.len() >= limit as usize);
    if keys.is_empty() {
        return Ok(false);
    }
    let mut session = instance.begin().await?;
    // A key that somebody holds is being worked on; its turn comes again.
    let lock = LockKeys { keys, skip_locked: true };
    let states = match is_planted(Defect::ReplayerDoesNotLock) {
        true => instance.query(lock).await?,
        false => session.run(lock).await?,
    };
    let mut works = read(&mut session, states, instance.knobs.replay_chunk).await?;
    if works.is_empty() {
        session.rollback().await;
        return Ok(false);
    }
    let (fx, contents) = read_inputs(&mut session, &works).await?;
    let mut writes = Writes::default();
    for work in &mut works {
        fold_chunk(work, &fx, &contents, &mut writes, instance.knobs.outbox_lanes);
    }
    write(&mut session, &mut works, writes).await?;
    session.commit().await?;
    for work in works {
        work.parked.into_iter().for_each(|signal| instance.emit(signal));
        instance.emit(Signal::Replayed {
            key: work.state.key,
            epoch: work.state.epoch,
            rows: work.rows,
            done: work.done,
        });
    }
    Ok(true)
}

/// A key with its chunk.
struct Work {
    state: KeyState,
    replay: ReplayRow,
    chunk: Vec<TimelineRow>,
    fold: Fold,
    done: bool,
    rows: u32,
    parked: Vec<Signal>,
}

/// What a round writes.
#[derive(Default)]
struct Writes {
    timeline: Vec<TimelineRow>,
    history: Vec<HistoryRow>,
    outbox: Vec<OutboxRow>,
}

/// Reads, under the locks, the replays that are still open and the next chunk of each.
async fn read<P: Ports>(
    session: &mut Session<'_, P>,
    states: Vec<KeyState>,
    limit: u32,
) -> Result<Vec<Work>, ServiceError> {
    let keys: Vec<Key> = states.iter().map(|state| state.key.clone()).collect();
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let replays = session.run(ReadReplays { keys: keys.clone() }).await?;
    let mut replays: BTreeMap<Key, ReplayRow> =
        replays.into_iter().map(|row| (row.key.clone(), row)).collect();
    let open: Vec<(KeyState, ReplayRow)> = states
        .into_iter()
        .filter_map(|state| {
            let replay = replays.remove(&state.key)?;
            let is_its_own = replay.epoch == state.epoch || is_planted(Defect::BumpUsesCachedEpoch);
            is_its_own.then_some((state, replay))
        })
        .collect();
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let ranges = open.iter().map(|(_, r)| (r.key.clone(), r.cursor.clone())).collect();
    let mut chunks: BTreeMap<Key, Vec<TimelineRow>> = BTreeMap::new();
    for row in session.run(ReadTimelineChunks { ranges, limit }).await? {
        chunks.entry(row.key.clone()).or_default().push(row);
    }
    // A key may have very many lots, of which a chunk takes few.
    let needed = |(state, _): &(KeyState, ReplayRow)| {
        let chunk = chunks.get(&state.key).into_iter().flatten();
        let method = state.fold_terms.as_ref().map(|terms| terms.method);
        let needed = Fold::lots_needed(method, &state.position, chunk.map(|entry| &entry.terms));
        Some((state.key.clone(), needed?))
    };
    let needed: BTreeMap<Key, Amount> = open.iter().filter_map(needed).collect();
    let mut lots: BTreeMap<Key, Vec<_>> = BTreeMap::new();
    if !needed.is_empty() {
        let keys = needed.clone().into_iter().collect();
        for row in session.run(ReadLots { keys }).await? {
            lots.entry(row.key).or_default().push(row.lot);
        }
    }
    let works = open.into_iter().map(|(state, replay)| {
        let mut chunk = chunks.remove(&state.key).unwrap_or_default();
        if is_planted(Defect::SellsBeforeBuysOfInstant) {
            let by_name = |row: &TimelineRow| (row.place.at, row.place.transaction_id.clone());
            chunk.sort_by_cached_key(by_name);
        }
        let method = state.fold_terms.as_ref().map(|terms| terms.method);
        let lots = lots.remove(&state.key).unwrap_or_default();
        Work {
            fold: Fold::resumed(method, state.position, needed.get(&state.key).copied(), lots),
            done: chunk.len() < limit as usize,
            rows: 0,
            parked: Vec::new(),
            state,
            replay,
            chunk,
        }
    });
    Ok(works.collect())
}

/// Reads rates, and the stored rows that events of the chunk repeat.
async fn read_inputs<P: Ports>(
    session: &mut Session<'_, P>,
    works: &[Work],
) -> Result<(FxTable, Contents), ServiceError> {
    let mut pairs = BTreeSet::new();
    let mut ids = BTreeSet::new();
    let mut dates: Option<(Date, Date)> = None;
    for work in works {
        for row in work.chunk.iter().filter(|row| row.place.date() >= work.replay.from_date) {
            ids.insert(row.place.transaction_id.clone());
            let Some(terms) = &work.state.fold_terms else {
                continue;
            };
            let needed = FxTable::pairs(&row.terms.trade_currency, &terms.base_currency);
            if !needed.is_empty() {
                let (from, to) = dates.unwrap_or((row.place.date(), row.place.date()));
                dates = Some((from.min(row.place.date()), to.max(row.place.date())));
                pairs.extend(needed);
            }
        }
    }
    let mut contents = Contents::new();
    if !ids.is_empty() {
        let rows = session.run(ReadTransactions { ids: ids.into_iter().collect() }).await?;
        contents.extend(
            rows.into_iter().map(|row| (row.transaction.transaction_id.clone(), row.transaction)),
        );
    }
    let Some((from, to)) = dates else {
        return Ok((FxTable::default(), contents));
    };
    let rows = session.run(ReadRates { pairs: pairs.into_iter().collect(), from, to }).await?;
    Ok((FxTable::new(rows.into_iter().map(|row| row.rate)), contents))
}

type Contents = BTreeMap<crate::domain::ids::TransactionId, Transaction>;

/// Folds one key's chunk.
fn fold_chunk(work: &mut Work, fx: &FxTable, contents: &Contents, writes: &mut Writes, lanes: u32) {
    for mut entry in std::mem::take(&mut work.chunk) {
        work.replay.cursor = Some(entry.place.clone());
        if entry.place.date() < work.replay.from_date {
            let outcome = entry.outcome.as_ref();
            let outcome = outcome.expect("what lies before a replay's first date has been folded");
            work.fold.reapply(&entry.place, &entry.terms, outcome);
            continue;
        }
        let base = work.state.fold_terms.as_ref().map(|terms| &terms.base_currency);
        let rate =
            base.and_then(|base| fx.look_up(&entry.terms.trade_currency, base, entry.place.date()));
        let is_trigger = work.rows == 0 && entry.place.date() == work.replay.from_date;
        if is_planted(Defect::ReplayRepeatsTrigger) && is_trigger {
            work.fold.apply(&entry.place, &entry.terms, rate);
        }
        let outcome = work.fold.apply(&entry.place, &entry.terms, rate);
        match &outcome.fate {
            Fate::Applied(costs) => {
                work.rows += 1;
                writes.history.push(HistoryRow {
                    key: entry.key.clone(),
                    place: entry.place.clone(),
                    epoch: match is_planted(Defect::BumpUsesCachedEpoch) {
                        true => work.replay.epoch,
                        false => work.state.epoch,
                    },
                    position: work.fold.position(),
                });
                let stored = contents.get(&entry.place.transaction_id);
                let stored = stored.expect("a timeline has only stored transactions");
                // The stored row may be newer than the entry; its own event then follows.
                let content = Transaction { terms: entry.terms.clone(), ..stored.clone() };
                let payload = messages::transaction_processed(&content, costs, work.state.token());
                writes.outbox.push(OutboxRow {
                    id: 0,
                    lane: lane_of(entry.key.portfolio_id.as_str(), lanes),
                    topic: Topic::ProcessedTransactionsCompleted,
                    key: entry.key.portfolio_id.as_str().into(),
                    payload,
                    correlation_id: entry.correlation_id.clone(),
                });
            }
            Fate::Parked(reason) => work.parked.push(Signal::Parked {
                key: entry.key.clone(),
                transaction_id: entry.place.transaction_id.as_str().into(),
                reason: *reason,
            }),
        }
        if entry.outcome.as_ref() != Some(&outcome) {
            entry.outcome = Some(outcome);
            writes.timeline.push(entry);
        }
    }
    work.state.position = work.fold.position();
    work.state.input_version += 1;
}

async fn write<P: Ports>(
    session: &mut Session<'_, P>,
    works: &mut [Work],
    writes: Writes,
) -> Result<(), ServiceError> {
    if !writes.timeline.is_empty() {
        session.run(UpsertTimeline { new: Vec::new(), rows: writes.timeline }).await?;
    }
    if !writes.history.is_empty() {
        session.run(InsertHistory { rows: writes.history }).await?;
    }
    let (mut deleted, mut new, mut lots) = (Vec::new(), Vec::new(), Vec::new());
    for work in works.iter_mut() {
        let key = &work.state.key;
        let changes = work.fold.take_lot_changes();
        deleted.extend(changes.deleted.into_iter().map(|opened| (key.clone(), opened)));
        new.extend(changes.added.into_iter().map(|lot| LotRow { key: key.clone(), lot }));
        lots.extend(changes.changed.into_iter().map(|lot| LotRow { key: key.clone(), lot }));
    }
    if !deleted.is_empty() {
        session.run(DeleteLots { lots: deleted }).await?;
    }
    if !new.is_empty() || !lots.is_empty() {
        session.run(UpsertLots { new, rows: lots }).await?;
    }
    if is_planted(Defect::CursorMovesApart) {
        session.split().await?;
    }
    let (done, open): (Vec<&Work>, Vec<&Work>) = works.iter().partition(|work| work.done);
    if !open.is_empty() {
        let rows = open.iter().map(|work| work.replay.clone()).collect();
        session.run(UpsertReplays { rows }).await?;
    }
    if !done.is_empty() {
        let keys = done.iter().map(|work| work.state.key.clone()).collect();
        session.run(DeleteReplays { keys }).await?;
        if is_planted(Defect::PrunedTooEarly) {
            let epochs = done.iter().map(|work| (work.state.key.clone(), work.state.epoch));
            session.run(PruneEpochs { keys: epochs.collect() }).await?;
        }
    }
    let rows = works.iter().map(|work| work.state.clone()).collect();
    session.run(UpdateKeys { rows }).await?;
    if !writes.outbox.is_empty() {
        session.run(AppendOutbox { rows: writes.outbox }).await?;
    }
    Ok(())
}
