//! `cashflow-calculator`: one cash flow per applied transaction, by the table of rules.
//!
//! The event only says that a transaction was applied; what is written follows from its history row
//! and its entry in the timeline, both read under the key's lock, and bears the row's epoch. A
//! transaction whose history row is gone was rewound, amended or parked meanwhile: its event is
//! stale, and whatever replaces the row sends news of its own. A batch is one transaction.
//!
//! Where a snapshot is valid on or after a new flow's date, its series was made without the flow:
//! the flow comes last, so it sends the news that the snapshot once sent.

use std::collections::{BTreeMap, BTreeSet};

use super::ServiceError;
use super::consume::{Handler, consume};
use super::instance::{Instance, Session};
use crate::defects::{Defect, is_planted};
use crate::domain::cashflow::cashflow;
use crate::domain::ids::{Key, Token, TransactionId};
use crate::domain::intake::Rejection;
use crate::domain::messages;
use crate::domain::time::Date;
use crate::ports::Ports;
use crate::ports::host::Signal;
use crate::ports::log::{Record, Topic};
use crate::ports::store::rows::{CashflowRow, KeyState, OutboxRow};
use crate::ports::store::statements::{
    AppendOutbox, AppliedTransaction, FindValued, InsertCashflows, LockKeys, ReadApplied,
    ValuedQuery,
};
use crate::services::outbox_dispatcher::lane_of;

/// Name of the process in crash points.
pub const PROCESS: &str = "cashflow-calculator";

/// Its port calls.
pub const CALLS: &[&str] = &[
    "LockKeys",
    "ReadApplied",
    "InsertCashflows",
    "FindValued",
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

/// The latest message about each transaction of a batch.
type News<'r> = BTreeMap<(Key, TransactionId), (&'r Record, Option<Token>)>;

impl<P: Ports> Handler<P> for Calculator {
    const GROUP: &'static str = "cashflow-calculator";
    const TOPICS: &'static [Topic] = &[Topic::ProcessedTransactionsCompleted];

    async fn handle<'r>(
        &self,
        instance: &Instance<P>,
        records: &'r [Record],
    ) -> Result<Vec<(&'r Record, Rejection)>, ServiceError> {
        let mut poison = Vec::new();
        let mut news = News::new();
        for record in records {
            match messages::read_transaction_processed(&record.value) {
                Ok(of) => drop(news.insert((of.key, of.transaction_id), (record, of.token))),
                Err(rejection) => poison.push((record, rejection)),
            }
        }
        if !news.is_empty() {
            take_in(instance, news).await?;
        }
        Ok(poison)
    }
}

async fn take_in<P: Ports>(instance: &Instance<P>, news: News<'_>) -> Result<(), ServiceError> {
    let mut session = instance.begin().await?;
    let keys: BTreeSet<Key> = news.keys().map(|(key, _)| key.clone()).collect();
    let lock = LockKeys { keys: keys.into_iter().collect(), skip_locked: false };
    let states = match is_planted(Defect::CashflowWithoutLock) {
        true => instance.query(lock).await?,
        false => session.run(lock).await?,
    };
    let states: BTreeMap<&Key, &KeyState> =
        states.iter().map(|state| (&state.key, state)).collect();
    let of_known_keys = news.keys().filter_map(|(key, id)| {
        let state = states.get(key)?;
        Some((key.clone(), state.epoch, id.clone()))
    });
    let ids: Vec<_> = of_known_keys.collect();
    if ids.is_empty() {
        session.rollback().await;
        return Ok(());
    }
    let applied = session.run(ReadApplied { ids }).await?;
    let dropped = dropped(&news, &states, &applied);
    let new: Vec<CashflowRow> =
        applied.into_iter().filter(|row| !row.has_cashflow).map(row_of).collect();
    if new.is_empty() {
        session.rollback().await;
    } else {
        let dates = dates(&new);
        session.run(InsertCashflows { rows: new }).await?;
        if !is_planted(Defect::LateFlowForgotten) {
            tell(&mut session, &states, dates, instance.knobs.outbox_lanes).await?;
        }
        session.commit().await?;
    }
    dropped.into_iter().for_each(|signal| instance.emit(signal));
    Ok(())
}

/// First and last date of a key's flows.
type Dates = BTreeMap<Key, (Date, Date)>;

fn dates(rows: &[CashflowRow]) -> Dates {
    let mut dates = Dates::new();
    for row in rows {
        let date = row.place.date();
        let range = dates.entry(row.key.clone()).or_insert((date, date));
        *range = (range.0.min(date), range.1.max(date));
    }
    dates
}

/// Sends news of the snapshots whose series has to be made again.
async fn tell<P: Ports>(
    session: &mut Session<'_, P>,
    states: &BTreeMap<&Key, &KeyState>,
    dates: Dates,
    lanes: u32,
) -> Result<(), ServiceError> {
    let query = |(key, (from, _)): (&Key, &(Date, Date))| {
        let state = states[key];
        let is_beyond = state.valued_through.is_none_or(|last| last < *from);
        (!is_beyond).then(|| ValuedQuery {
            key: key.clone(),
            token: state.token(),
            watermark_date: state.watermark_date,
            from: *from,
        })
    };
    let keys: Vec<ValuedQuery> = dates.iter().filter_map(query).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let valued = session.run(FindValued { keys }).await?;
    let event = |key: Key| {
        let (from, to) = dates[&key];
        OutboxRow {
            id: 0,
            lane: lane_of(key.portfolio_id.as_str(), lanes),
            topic: Topic::DailyPositionSnapshotPersisted,
            key: key.portfolio_id.as_str().into(),
            payload: messages::snapshots_persisted(&key, states[&key].token(), from, to),
            correlation_id: None,
        }
    };
    let rows: Vec<OutboxRow> = valued.into_iter().map(event).collect();
    if !rows.is_empty() {
        session.run(AppendOutbox { rows }).await?;
    }
    Ok(())
}

fn row_of(applied: AppliedTransaction) -> CashflowRow {
    CashflowRow {
        cashflow: cashflow(&applied.terms),
        kind: applied.terms.kind,
        key: applied.key,
        place: applied.place,
        epoch: applied.epoch,
    }
}

/// What is to be reported about messages whose transaction does not count (any more).
fn dropped(
    news: &News<'_>,
    states: &BTreeMap<&Key, &KeyState>,
    applied: &[AppliedTransaction],
) -> Vec<Signal> {
    let applied: BTreeSet<(&Key, &TransactionId)> =
        applied.iter().map(|row| (&row.key, &row.place.transaction_id)).collect();
    let mut signals = Vec::new();
    for ((key, id), (record, token)) in news {
        let Some(state) = states.get(key) else { continue };
        let (message, state) = (token.unwrap_or_default(), state.token());
        let (topic, of) = (record.topic, key.clone());
        if message.revision > state.revision || message.epoch > state.epoch {
            signals.push(Signal::IntegrityError { topic, key: of, message, state });
        } else if !applied.contains(&(key, id)) {
            let producer = record.headers.producer.clone();
            signals.push(Signal::Fenced { topic, key: of, message, state, producer });
        }
    }
    signals
}
