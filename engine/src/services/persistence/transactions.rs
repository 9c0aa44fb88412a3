//! Transactions, the keys that come into being with them, and the news of them.

use std::collections::BTreeMap;

use super::super::ServiceError;
use super::super::instance::Session;
use super::super::upserts::{Effect, Working, effect};
use super::{Incoming, News, label, sorted};
use crate::defects::{Defect, is_planted};
use crate::domain::ids::{Key, TransactionId};
use crate::domain::intake::Rejection;
use crate::domain::messages;
use crate::domain::records::Transaction;
use crate::domain::time::Date;
use crate::ports::Ports;
use crate::ports::log::{Record, Topic};
use crate::ports::store::rows::TransactionRow;
use crate::ports::store::statements::{
    InsertKeys, InsertTransactions, LockTransactions, UpdateTransactions,
};

/// Stores transactions; returns those that would move one to another key.
pub(super) async fn store<'r, P: Ports>(
    session: &mut Session<'_, P>,
    incoming: &[Incoming<'r, Transaction>],
    news: &mut News,
    lanes: u32,
) -> Result<Vec<(&'r Record, Rejection)>, ServiceError> {
    if incoming.is_empty() {
        return Ok(Vec::new());
    }
    let ids = sorted(incoming.iter().map(|i| i.versioned.content.transaction_id.clone()));
    let stored = session.run(LockTransactions { ids }).await?;
    let known: Vec<_> = stored.iter().map(|r| r.transaction.transaction_id.clone()).collect();
    let mut rows =
        Working::new(stored.into_iter().map(|row| (row.transaction.transaction_id.clone(), row)));
    let mut moved = Vec::new();
    for Incoming { versioned, record } in incoming {
        let id = versioned.content.transaction_id.clone();
        let before = rows.get(&id);
        let effect = effect(before.map(|r| (&r.transaction, r.source_version)), versioned);
        let is_repeated = before.is_some() && is_planted(Defect::KnownTransactionDropped);
        if effect == Effect::Nothing || is_repeated {
            continue;
        }
        let moves = before.is_some_and(|row| row.transaction.key != versioned.content.key);
        if moves && !is_planted(Defect::KeyChangeAccepted) {
            moved.push((*record, Rejection::KeyChanged));
            continue;
        }
        let row = TransactionRow {
            transaction: versioned.content.clone(),
            source_version: versioned.source_version,
            correlation_id: label(record),
        };
        rows.set(id, row, effect);
    }
    for row in rows.news() {
        let payload = messages::transaction_completed(&row.transaction);
        let key = row.transaction.key.portfolio_id.as_str();
        let header = row.correlation_id.clone();
        news.event(lanes, Topic::RawTransactionsCompleted, key, payload, header);
    }
    news.keys = write(session, &known, rows.changed()).await?;
    Ok(moved)
}

/// Writes the rows; answers keys that are still to be created (none, but for a planted defect).
async fn write<P: Ports>(
    session: &mut Session<'_, P>,
    known: &[TransactionId],
    changed: Vec<TransactionRow>,
) -> Result<Vec<(Key, Date)>, ServiceError> {
    let (old, new): (Vec<_>, Vec<_>) = changed
        .into_iter()
        .partition(|row| known.binary_search(&row.transaction.transaction_id).is_ok());
    if !old.is_empty() {
        session.run(UpdateTransactions { rows: old }).await?;
    }
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let mut first_dates: BTreeMap<Key, Date> = BTreeMap::new();
    for row in &new {
        let date = row.transaction.terms.at.date();
        let first = first_dates.entry(row.transaction.key.clone()).or_insert(date);
        *first = (*first).min(date);
    }
    let count = new.len();
    let inserted = session.run(InsertTransactions { rows: new }).await?;
    if inserted.len() != count {
        return Err(ServiceError::Raced("a new transaction"));
    }
    let keys: Vec<(Key, Date)> = first_dates.into_iter().collect();
    if is_planted(Defect::KeyCreatedApart) {
        return Ok(keys);
    }
    session.run(InsertKeys { keys }).await?;
    Ok(Vec::new())
}
