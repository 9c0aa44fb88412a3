//! `position-calculator`: takes a stored transaction into its key's timeline and decides whether
//! to append, to invalidate or to rebuild.
//!
//! The event only says that there is news; what is taken in is the stored row, read under the
//! key's lock. A batch is one transaction over its keys.

mod arrival;
mod write;

use std::collections::{BTreeMap, BTreeSet};

use self::arrival::{Work, Writes, arrive, place_of};
use super::ServiceError;
use super::consume::{Handler, consume, part};
use super::instance::{Instance, Session};
use super::invalidation::report;
use crate::defects::{Defect, is_planted};
use crate::domain::cost::Fold;
use crate::domain::fx::FxTable;
use crate::domain::ids::{Key, TransactionId};
use crate::domain::intake::Rejection;
use crate::domain::messages;
use crate::domain::money::Amount;
use crate::domain::records::{FoldTerms, Place};
use crate::domain::time::Date;
use crate::ports::Ports;
use crate::ports::log::{Record, Topic};
use crate::ports::store::rows::{KeyState, ReplayRow, TimelineRow, TransactionRow};
use crate::ports::store::statements::{
    LockKeys, ReadLots, ReadPortfolios, ReadRates, ReadReplays, ReadTimelineEntries,
    ReadTimelineTails, ReadTransactions,
};

/// Name of the process in crash points.
pub const PROCESS: &str = "position-calculator";

/// Its port calls.
pub const CALLS: &[&str] = &[
    "LockKeys",
    "ReadTransactions",
    "ReadTimelineEntries",
    "ReadReplays",
    "ReadTimelineTails",
    "ReadLots",
    "ReadPortfolios",
    "ReadRates",
    "DeleteTimeline",
    "UpsertTimeline",
    "InsertHistory",
    "DeleteHistory",
    "ResetLots",
    "DeleteLots",
    "UpsertLots",
    "UpsertEpochs",
    "UpsertReplays",
    "UpdateKeys",
    "AppendOutbox",
    "Commit",
    "Send",
    "CommitOffsets",
];

/// Runs the process.
pub(crate) async fn run<P: Ports>(instance: Instance<P>) {
    consume(instance, Calculator).await;
}

struct Calculator;

impl<P: Ports> Handler<P> for Calculator {
    const GROUP: &'static str = "position-calculator";
    const TOPICS: &'static [Topic] = &[Topic::RawTransactionsCompleted];

    async fn handle<'r>(
        &self,
        instance: &Instance<P>,
        records: &'r [Record],
    ) -> Result<Vec<(&'r Record, Rejection)>, ServiceError> {
        let (news, poison) =
            part(records, |record| messages::read_transaction_completed(&record.value));
        let mut wanted: BTreeMap<Key, BTreeSet<TransactionId>> = BTreeMap::new();
        for (_, of) in news {
            wanted.entry(of.key).or_default().insert(of.transaction_id);
        }
        if !wanted.is_empty() {
            take_in(instance, wanted).await?;
        }
        Ok(poison)
    }
}

async fn take_in<P: Ports>(
    instance: &Instance<P>,
    wanted: BTreeMap<Key, BTreeSet<TransactionId>>,
) -> Result<(), ServiceError> {
    let mut session = instance.begin().await?;
    let keys: Vec<Key> = wanted.keys().cloned().collect();
    let lock = LockKeys { keys, skip_locked: false };
    let states = match is_planted(Defect::CalculatorDoesNotLock) {
        true => instance.query(lock).await?,
        false => session.run(lock).await?,
    };
    let (mut works, existing) = read(&mut session, states, &wanted).await?;
    let fx = read_rates(&mut session, &works).await?;
    let mut writes = Writes::default();
    for work in &mut works {
        let mut arrivals = std::mem::take(&mut work.arrivals);
        // All of a batch becomes visible at once, so its order is free: by place, what could be
        // appended is appended.
        arrivals.sort_by_cached_key(place_of);
        for row in arrivals {
            let id = (work.state.key.clone(), row.transaction.transaction_id.clone());
            let old = existing.get(&id);
            let is_news = match old {
                None => true,
                Some(_) if is_planted(Defect::AmendmentDropped) => false,
                Some(_) if is_planted(Defect::IdempotencyByOffset) => true,
                Some(old) => old.terms != row.transaction.terms,
            };
            if is_news {
                arrive(work, row, old, &fx, &mut writes, instance.knobs.outbox_lanes);
            }
        }
    }
    write::write(&mut session, &mut works, &mut writes).await?;
    session.commit().await?;
    for work in works.iter().filter(|work| work.touched) {
        report(instance, &work.before, &work.state);
    }
    writes.parked.into_iter().for_each(|(_, signal)| instance.emit(signal));
    Ok(())
}

type Existing = BTreeMap<(Key, TransactionId), TimelineRow>;

/// Reads, under the locks, all that the decisions need but rates.
async fn read<P: Ports>(
    session: &mut Session<'_, P>,
    states: Vec<KeyState>,
    wanted: &BTreeMap<Key, BTreeSet<TransactionId>>,
) -> Result<(Vec<Work>, Existing), ServiceError> {
    let keys: Vec<Key> = states.iter().map(|state| state.key.clone()).collect();
    let ids: BTreeSet<TransactionId> = wanted.values().flatten().cloned().collect();
    let pairs = wanted.iter().flat_map(|(key, ids)| ids.iter().map(|id| (key.clone(), id.clone())));
    let stored = session.run(ReadTransactions { ids: ids.into_iter().collect() }).await?;
    let entries = session.run(ReadTimelineEntries { ids: pairs.collect() }).await?;
    let replays = session.run(ReadReplays { keys: keys.clone() }).await?;
    let tails = session.run(ReadTimelineTails { keys }).await?;
    let mut arrivals: BTreeMap<Key, Vec<TransactionRow>> = BTreeMap::new();
    for row in stored {
        arrivals.entry(row.transaction.key.clone()).or_default().push(row);
    }
    // Most only add lots, and a key may have very many.
    let needed = |state: &KeyState| {
        let arriving = arrivals.get(&state.key).into_iter().flatten();
        let method = state.fold_terms.as_ref().map(|terms| terms.method);
        let terms = arriving.map(|row| &row.transaction.terms);
        Some((state.key.clone(), Fold::lots_needed(method, &state.position, terms)?))
    };
    let needed: BTreeMap<Key, Amount> = states.iter().filter_map(needed).collect();
    let lots = match needed.is_empty() {
        true => Vec::new(),
        false => session.run(ReadLots { keys: needed.clone().into_iter().collect() }).await?,
    };
    let mut replays: BTreeMap<Key, ReplayRow> =
        replays.into_iter().map(|row| (row.key.clone(), row)).collect();
    let mut tails: BTreeMap<Key, Place> = tails.into_iter().collect();
    let mut open_lots: BTreeMap<Key, Vec<_>> = BTreeMap::new();
    for row in lots {
        open_lots.entry(row.key).or_default().push(row.lot);
    }
    let works: Vec<Work> = states
        .into_iter()
        .map(|state| {
            let key = &state.key;
            let method = state.fold_terms.as_ref().map(|terms| terms.method);
            Work {
                tail: tails.remove(key),
                replay: replays.remove(key),
                fold: Fold::resumed(
                    method,
                    state.position,
                    needed.get(key).copied(),
                    open_lots.remove(key).unwrap_or_default(),
                ),
                arrivals: arrivals.remove(key).unwrap_or_default(),
                before: state.clone(),
                touched: false,
                state,
            }
        })
        .collect();
    let existing = entries
        .into_iter()
        .map(|row| ((row.key.clone(), row.place.transaction_id.clone()), row))
        .collect();
    let works = start_timelines(session, works).await?;
    Ok((works, existing))
}

/// A key whose timeline is empty is folded with its portfolio as it is now.
async fn start_timelines<P: Ports>(
    session: &mut Session<'_, P>,
    mut works: Vec<Work>,
) -> Result<Vec<Work>, ServiceError> {
    let fresh = works.iter().filter(|work| work.tail.is_none());
    let ids: BTreeSet<_> = fresh.map(|work| work.state.key.portfolio_id.clone()).collect();
    if ids.is_empty() {
        return Ok(works);
    }
    let rows = session.run(ReadPortfolios { ids: ids.into_iter().collect() }).await?;
    let terms: BTreeMap<_, _> = rows
        .into_iter()
        .map(|row| {
            let base_currency = row.portfolio.base_currency;
            let method = row.portfolio.cost_basis_method;
            (row.portfolio.portfolio_id, FoldTerms { base_currency, method })
        })
        .collect();
    for work in works.iter_mut().filter(|work| work.tail.is_none()) {
        work.state.fold_terms = terms.get(&work.state.key.portfolio_id).cloned();
        let method = work.state.fold_terms.as_ref().map(|terms| terms.method);
        work.fold = Fold::new(method, work.state.position, Vec::new());
    }
    Ok(works)
}

/// Reads the rates that the arrivals may need.
async fn read_rates<P: Ports>(
    session: &mut Session<'_, P>,
    works: &[Work],
) -> Result<FxTable, ServiceError> {
    let mut pairs = BTreeSet::new();
    let mut dates: Option<(Date, Date)> = None;
    for work in works {
        let Some(terms) = &work.state.fold_terms else {
            continue;
        };
        for row in &work.arrivals {
            let needed =
                FxTable::pairs(&row.transaction.terms.trade_currency, &terms.base_currency);
            if !needed.is_empty() {
                let date = row.transaction.terms.at.date();
                let (from, to) = dates.unwrap_or((date, date));
                dates = Some((from.min(date), to.max(date)));
                pairs.extend(needed);
            }
        }
    }
    let Some((from, to)) = dates else {
        return Ok(FxTable::default());
    };
    let rows = session.run(ReadRates { pairs: pairs.into_iter().collect(), from, to }).await?;
    Ok(FxTable::new(rows.into_iter().map(|row| row.rate)))
}
