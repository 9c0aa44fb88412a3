//! What a statement sees.

use backdate_engine::ports::store::statements::{
    InsertBusinessDates, InsertKeys, InsertTransactions, ReadLatestBusinessDate, ReadPrices,
    UpsertPrices,
};

use super::super::fixtures::{business_date, price, transaction};
use super::*;

contract!(store(StoreSettings):
    uncommitted as what_is_not_committed_is_seen_by_its_writer_alone;
    statements as each_statement_sees_what_was_committed_before_it;
    sub_selects as a_sub_select_stays_as_old_as_its_statement;
    rolled_back as what_is_rolled_back_was_never_there;
    dropped as a_transaction_that_is_dropped_is_rolled_back;
);

fn latest() -> ReadLatestBusinessDate {
    ReadLatestBusinessDate {}
}

fn dates(days: &[i32]) -> InsertBusinessDates {
    InsertBusinessDates { rows: days.iter().map(|day| business_date(*day)).collect() }
}

async fn uncommitted<S: StoreSite>(site: S) {
    let store = site.store();
    let mut writer = store.begin().await.expect("up");
    writer.execute(dates(&[3])).await.expect("free");
    assert_eq!(writer.execute(latest()).await, Ok(Some(date(3))));
    assert_eq!(store.query(latest()).await, Ok(None));
    writer.commit().await.expect("a commit");
    assert_eq!(store.query(latest()).await, Ok(Some(date(3))));
}

async fn statements<S: StoreSite>(site: S) {
    let store = site.store();
    let mut reader = store.begin().await.expect("up");
    assert_eq!(reader.execute(latest()).await, Ok(None));
    store.query(dates(&[3])).await.expect("free");
    assert_eq!(reader.execute(latest()).await, Ok(Some(date(3))), "no snapshot of a transaction");
}

/// The latest business date that a new key is compared with is read before the statement waits.
async fn sub_selects<S: StoreSite>(site: S) {
    let store = site.store();
    let new = |day| InsertKeys { keys: vec![(one(), date(day))] };
    let mut first = store.begin().await.expect("up");
    first.execute(new(9)).await.expect("free");
    let mut second = Box::pin(store.query(new(9)));
    assert!(site.waits(&mut second).await);
    store.query(dates(&[3])).await.expect("free");
    first.rollback().await;
    site.soon(second).await.expect("the other one is gone");
    let watermark = state(&store, &one()).await.map(|state| state.watermark_date);
    assert_eq!(watermark, Some(date(8)), "business date 3 came after the statement began");
    store.query(InsertKeys { keys: vec![(two(), date(9))] }).await.expect("free");
    let watermark = state(&store, &two()).await.map(|state| state.watermark_date);
    assert_eq!(watermark, Some(date(3)));
}

async fn rolled_back<S: StoreSite>(site: S) {
    let store = site.store();
    add_keys(&store, &[&one()]).await;
    let transaction = bumped(&store, &one()).await;
    transaction.rollback().await;
    assert_eq!(revision(&store, &one()).await, Some(Revision(0)));
}

async fn dropped<S: StoreSite>(site: S) {
    let store = site.store();
    add_keys(&store, &[&one()]).await;
    let mut transaction = bumped(&store, &one()).await;
    let rows = vec![price("S1", 1, 1, 0)];
    transaction.execute(UpsertPrices { rows }).await.expect("free");
    let rows = vec![super::super::fixtures::transaction("T", &one(), 1)];
    transaction.execute(InsertTransactions { rows }).await.expect("free");
    drop(transaction);
    let mut next = store.begin().await.expect("up");
    let states = site.soon(next.execute(lock_keys(&[&one()]))).await.expect("the lock is free");
    assert_eq!(revisions(&states), [(one(), Revision(0))]);
    let read = ReadPrices { securities: vec!["S1".into()], from: date(0), to: date(9) };
    assert_eq!(next.execute(read).await, Ok(vec![]));
    let rows = vec![transaction_again()];
    let inserted = site.soon(next.execute(InsertTransactions { rows })).await;
    assert_eq!(inserted.map(|ids| ids.len()), Ok(1));
}

fn transaction_again() -> backdate_engine::ports::store::rows::TransactionRow {
    transaction("T", &one(), 1)
}
