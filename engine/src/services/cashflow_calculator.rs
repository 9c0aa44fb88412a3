//! `cashflow-calculator`: one cash flow per applied transaction, by the table of rules.
//!
//! The event only says that a transaction was applied; what is written follows from its history row
//! and its entry in the timeline, both read under the key's lock, and bears the row's epoch. A
//! transaction whose history row is gone was rewound, amended or parked meanwhile: its event is
//! stale, and whatever replaces the row sends news of its own. A batch is one transaction.
//!
//! Where a snapshot is valid on or after a new flow's date, its series was made without the flow:
//! the flow comes last, so it sends the news that the snapshot once sent.
//!
//! The row is that of the newest epoch, not of the served one. While a key is rebuilt, the event of
//! an older epoch that is still served may find no row and is dropped as stale, although readers
//! see that epoch for a while: the replay sends the event again under the new one. Writing under
//! the older epoch would write under a token that has moved (G3), and only complete a version that
//! is about to go.

use std::collections::{BTreeMap, BTreeSet};

use super::ServiceError;
use super::consume::{Handler, consume, part};
use super::instance::{Instance, Session};
use crate::defects::{Defect, is_planted};
use crate::domain::cashflow::cashflow;
use crate::domain::ids::{Key, Token, TransactionId};
use crate::domain::intake::Rejection;
use crate::domain::messages::{self, ProcessedNews};
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

/// A message, and the transaction that it says was applied.
type News<'r> = (&'r Record, ProcessedNews);

impl<P: Ports> Handler<P> for Calculator {
    const GROUP: &'static str = "cashflow-calculator";
    const TOPICS: &'static [Topic] = &[Topic::ProcessedTransactionsCompleted];

    async fn handle<'r>(
        &self,
        instance: &Instance<P>,
        records: &'r [Record],
    ) -> Result<Vec<(&'r Record, Rejection)>, ServiceError> {
        let (news, poison) =
            part(records, |record| messages::read_transaction_processed(&record.value));
        if !news.is_empty() {
            take_in(instance, &news).await?;
        }
        Ok(poison)
    }
}

async fn take_in<P: Ports>(instance: &Instance<P>, news: &[News<'_>]) -> Result<(), ServiceError> {
    let mut session = instance.begin().await?;
    let keys: BTreeSet<Key> = news.iter().map(|(_, of)| of.key.clone()).collect();
    let lock = LockKeys { keys: keys.into_iter().collect(), skip_locked: false };
    let states = match is_planted(Defect::CashflowWithoutLock) {
        true => instance.query(lock).await?,
        false => session.run(lock).await?,
    };
    let states: BTreeMap<&Key, &KeyState> =
        states.iter().map(|state| (&state.key, state)).collect();
    let ids: BTreeSet<(&Key, &TransactionId)> =
        news.iter().map(|(_, of)| (&of.key, &of.transaction_id)).collect();
    let of_known_keys = ids.into_iter().filter_map(|(key, id)| {
        let state = states.get(key)?;
        Some((key.clone(), state.epoch, id.clone()))
    });
    let ids: Vec<_> = of_known_keys.collect();
    let applied = match ids.is_empty() {
        true => Vec::new(),
        false => session.run(ReadApplied { ids }).await?,
    };
    let tokens = states.iter().map(|(key, state)| (*key, state.token())).collect();
    let dropped = dropped(news, &tokens, &applied);
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

/// What is to be reported about each message whose transaction does not count (any more), whose
/// token is newer than its key's, or whose key does not exist.
fn dropped(
    news: &[News<'_>],
    tokens: &BTreeMap<&Key, Token>,
    applied: &[AppliedTransaction],
) -> Vec<Signal> {
    let applied: BTreeSet<(&Key, &TransactionId)> =
        applied.iter().map(|row| (&row.key, &row.place.transaction_id)).collect();
    let judge = |(record, of): &News<'_>| {
        let (topic, key, message) = (record.topic, of.key.clone(), of.token.unwrap_or_default());
        let Some(&state) = tokens.get(&key) else {
            // No key comes after news of it, and none goes.
            return Some(Signal::IntegrityError { topic, key, message, state: Token::default() });
        };
        if message.revision > state.revision || message.epoch > state.epoch {
            return Some(Signal::IntegrityError { topic, key, message, state });
        }
        let is_stale = !applied.contains(&(&of.key, &of.transaction_id));
        let producer = record.headers.producer.clone();
        is_stale.then_some(Signal::Fenced { topic, key, message, state, producer })
    };
    news.iter().filter_map(judge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{Epoch, Revision};
    use crate::ports::log::Headers;

    fn record() -> Record {
        Record {
            topic: Topic::ProcessedTransactionsCompleted,
            partition: 0,
            offset: 0,
            key: "P".into(),
            value: Vec::new(),
            headers: Headers::default(),
        }
    }

    fn token(epoch: u32, revision: u64) -> Token {
        Token { epoch: Epoch(epoch), revision: Revision(revision) }
    }

    #[test]
    fn every_message_is_judged_also_before_another_about_the_same_transaction() {
        let record = record();
        let message = |security: &str, id: &str, token| {
            let key = Key::new("P", security);
            (&record, ProcessedNews { transaction_id: id.into(), key, token: Some(token) })
        };
        let news = [
            message("S", "GONE", token(0, 1)),
            message("S", "GONE", token(9, 9)),
            message("S", "GONE", token(1, 2)),
            message("UNKNOWN", "T", token(0, 0)),
        ];
        let known = Key::new("P", "S");
        let tokens = BTreeMap::from([(&known, token(1, 2))]);
        let said: Vec<_> = dropped(&news, &tokens, &[])
            .into_iter()
            .map(|signal| match signal {
                Signal::Fenced { key, message, .. } => ("stale", key, message),
                Signal::IntegrityError { key, message, .. } => ("wrong", key, message),
                other => panic!("{other:?}"),
            })
            .collect();
        let unknown = Key::new("P", "UNKNOWN");
        assert_eq!(
            said,
            [
                ("stale", known.clone(), token(0, 1)),
                ("wrong", known.clone(), token(9, 9)),
                ("stale", known.clone(), token(1, 2)),
                ("wrong", unknown, token(0, 0)),
            ]
        );
    }
}
