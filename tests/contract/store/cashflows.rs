//! Cash flows stand beside the history rows that they follow from, and go with them.

use backdate_engine::domain::ids::Epoch;
use backdate_engine::ports::store::rows::{EpochRow, TimelineRow};
use backdate_engine::ports::store::statements::{
    DeleteHistory, InsertCashflows, InsertHistory, PruneEpochs, ReadApplied, UpsertEpochs,
    UpsertTimeline,
};

use super::super::fixtures::{cashflow, history, place, terms};
use super::*;

contract!(store(StoreSettings):
    followed as what_is_applied_is_read_with_what_it_was_applied_with;
    newest as of_two_epochs_the_valid_row_is_read;
    taken_back as a_rewind_takes_cash_flows_back;
    pruned as a_prune_takes_outlived_cash_flows;
    twice as a_second_cash_flow_of_a_row_ends_the_transaction;
);

/// Entries on days 1 and 2 of the first key, each applied under epoch 0.
async fn apply<S: StoreSite>(site: &S) {
    let entry = |id: &str, day| TimelineRow {
        key: one(),
        place: place(id, day),
        terms: terms(day, "EUR"),
        correlation_id: None,
        outcome: None,
    };
    let store = site.store();
    let new = vec![entry("T1", 1), entry("T2", 2)];
    store.query(UpsertTimeline { new, rows: Vec::new() }).await.expect("free");
    let rows = vec![history(&one(), "T1", 1, 0, 1), history(&one(), "T2", 2, 0, 2)];
    store.query(InsertHistory { rows }).await.expect("free");
}

/// What is read of the two transactions under an epoch: id, epoch, whether the flow is there.
async fn read<S: StoreSite>(site: &S, epoch: u32) -> Vec<(String, u32, bool)> {
    let id = |id: &str| (one(), Epoch(epoch), id.into());
    let ids = vec![id("T2"), id("T9"), id("T1"), (two(), Epoch(epoch), "T1".into())];
    let applied = site.store().query(ReadApplied { ids }).await.expect("a read");
    for row in &applied {
        assert_eq!((&row.key, &row.terms.trade_currency.as_str()), (&one(), &"EUR"));
        assert_eq!(row.terms.at, row.place.at);
    }
    let short = |row: backdate_engine::ports::store::statements::AppliedTransaction| {
        (row.place.transaction_id.to_string(), row.epoch.0, row.has_cashflow)
    };
    applied.into_iter().map(short).collect()
}

async fn insert<S: StoreSite>(site: &S, id: &str, day: i32, epoch: u32) -> Result<(), StoreError> {
    let rows = vec![cashflow(&one(), &place(id, day), Epoch(epoch))];
    site.store().query(InsertCashflows { rows }).await
}

fn found(id: &str, epoch: u32, has_cashflow: bool) -> (String, u32, bool) {
    (id.to_owned(), epoch, has_cashflow)
}

async fn followed<S: StoreSite>(site: S) {
    apply(&site).await;
    insert(&site, "T1", 1, 0).await.expect("free");
    assert_eq!(read(&site, 0).await, [found("T2", 0, false), found("T1", 0, true)]);
    assert_eq!(read(&site, 3).await, [found("T2", 0, false), found("T1", 0, true)]);
}

async fn newest<S: StoreSite>(site: S) {
    apply(&site).await;
    insert(&site, "T2", 2, 0).await.expect("free");
    let store = site.store();
    let rows = vec![EpochRow { key: one(), epoch: Epoch(1), from_date: date(2) }];
    store.query(UpsertEpochs { rows }).await.expect("free");
    assert_eq!(read(&site, 1).await, [found("T1", 0, false)], "the replay is not there yet");
    let rows = vec![history(&one(), "T2", 2, 1, 9)];
    store.query(InsertHistory { rows }).await.expect("free");
    assert_eq!(read(&site, 1).await, [found("T2", 1, false), found("T1", 0, false)]);
    assert_eq!(read(&site, 0).await, [found("T2", 0, true), found("T1", 0, false)]);
}

async fn taken_back<S: StoreSite>(site: S) {
    apply(&site).await;
    for (id, day, epoch) in [("T1", 1, 0), ("T2", 2, 0), ("T2", 2, 1)] {
        insert(&site, id, day, epoch).await.expect("free");
    }
    let store = site.store();
    let ranges = vec![(one(), Epoch(0), date(2)), (two(), Epoch(0), date(0))];
    store.query(DeleteHistory { ranges }).await.expect("free");
    insert(&site, "T2", 2, 0).await.expect("it is gone");
    for (id, day, epoch) in [("T1", 1, 0), ("T2", 2, 1)] {
        let again = insert(&site, id, day, epoch).await;
        assert!(matches!(again, Err(StoreError::UniqueViolation(_))), "{id}/{epoch}: {again:?}");
    }
}

async fn pruned<S: StoreSite>(site: S) {
    apply(&site).await;
    for (id, day, epoch) in [("T1", 1, 0), ("T2", 2, 0), ("T2", 2, 1), ("T2", 2, 2)] {
        insert(&site, id, day, epoch).await.expect("free");
    }
    let store = site.store();
    let row = |epoch, day| EpochRow { key: one(), epoch: Epoch(epoch), from_date: date(day) };
    store.query(UpsertEpochs { rows: vec![row(1, 2), row(2, 1)] }).await.expect("free");
    store.query(PruneEpochs { keys: vec![(one(), Epoch(1))] }).await.expect("free");
    insert(&site, "T2", 2, 0).await.expect("it is gone");
    for (id, day, epoch) in [("T1", 1, 0), ("T2", 2, 1), ("T2", 2, 2)] {
        let again = insert(&site, id, day, epoch).await;
        assert!(matches!(again, Err(StoreError::UniqueViolation(_))), "{id}/{epoch}: {again:?}");
    }
}

async fn twice<S: StoreSite>(site: S) {
    let store = site.store();
    add_keys(&store, &[&one()]).await;
    insert(&site, "T1", 1, 0).await.expect("free");
    let mut transaction = bumped(&store, &one()).await;
    let rows = vec![cashflow(&one(), &place("T1", 1), Epoch(0))];
    let again = transaction.execute(InsertCashflows { rows }).await;
    assert!(matches!(again, Err(StoreError::UniqueViolation(_))), "{again:?}");
    assert!(transaction.commit().await.is_err());
    assert_eq!(revision(&store, &one()).await, Some(Revision(0)), "all of it is gone");
}
