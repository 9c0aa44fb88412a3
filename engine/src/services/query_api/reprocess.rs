//! `POST /reprocess/transactions`: the news of stored transactions, told once more.
//!
//! Whoever reads them decides anew from the stored rows what has to be done, so asking twice does
//! no harm.

use std::rc::Rc;

use serde::Deserialize;

use super::Api;
use super::answer::Reply;
use super::asked::{Asked, Media};
use super::ingest::taken;
use super::problem::Problem;
use crate::domain::ids::TransactionId;
use crate::domain::messages;
use crate::ports::Ports;
use crate::ports::log::Topic;
use crate::ports::store::statements::ReadTransactions;

/// Transactions of a request.
const TRANSACTIONS_MAX: usize = 1_000;

/// What is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    transaction_ids: Vec<TransactionId>,
}

/// Takes ids of transactions.
pub(super) async fn take<P: Ports>(api: Rc<Api<P>>, asked: Asked) -> Reply {
    let malformed = Problem::MalformedBody("must be {\"transaction_ids\": [..]}");
    let Media::Json = asked.media()? else { return Err(Problem::UnsupportedMedia) };
    let wanted: Wanted = serde_json::from_slice(asked.body()).map_err(|_| malformed.clone())?;
    let mut ids = wanted.transaction_ids;
    if ids.len() > TRANSACTIONS_MAX {
        return Err(Problem::TooManyRows);
    }
    if ids.iter().any(|id| id.as_str().contains('\0')) {
        return Err(malformed);
    }
    ids.sort_unstable();
    ids.dedup();
    let rows = api.look(ReadTransactions { ids: ids.clone() }).await?;
    if rows.len() < ids.len() {
        ids.retain(|id| rows.iter().all(|row| row.transaction.transaction_id != *id));
        return Err(Problem::UnknownTransactions(ids));
    }
    let records = rows.iter().map(|row| {
        let value = messages::transaction_completed(&row.transaction);
        // Said in its own words: it is no event of the outbox that overtakes others.
        let value = value.replacen('{', "{\"requested_by\":\"reprocess\",", 1);
        let key = row.transaction.key.portfolio_id.as_str().into();
        api.record(Topic::RawTransactionsCompleted, key, value, asked.correlation_id())
    });
    let records: Vec<_> = records.collect();
    let accepted = records.len();
    api.publish(&asked, records).await?;
    Ok(taken(accepted, asked.correlation_id()))
}
