//! Unique keys and `ON CONFLICT`.

use backdate_engine::domain::ids::{Currency, Epoch};
use backdate_engine::domain::money::Amount;
use backdate_engine::domain::records::ExchangeRate;
use backdate_engine::ports::store::rows::{EpochRow, RateRow, ReplayRow, Subject, TriggerRow};
use backdate_engine::ports::store::statements::{
    CopySnapshots, DeleteSnapshots, InsertBusinessDates, InsertHistory, InsertTransactions,
    LockCalendar, LockPrices, LockRates, ReadPositions, ReadReplays, ReadTransactions,
    TakeTriggers, UpdateTransactions, UpsertEpochs, UpsertPrices, UpsertRates, UpsertReplays,
    UpsertTriggers,
};

use super::super::fixtures::{business_date, history, price, snapshot, transaction};
use super::*;

contract!(store(StoreSettings):
    after_commit as an_insert_waits_for_the_other_inserter_and_finds_its_row;
    after_rollback as an_insert_waits_for_the_other_inserter_and_takes_its_place;
    updater as an_insert_does_nothing_about_a_row_that_is_there;
    known_key as a_key_that_is_there_is_passed_whoever_is_changing_it;
    new_key as a_key_that_another_one_inserts_is_waited_for;
    duplicate as a_duplicate_key_ends_the_transaction;
    duplicate_waits as a_duplicate_key_is_found_after_the_wait;
    versions as a_lower_source_version_is_dropped;
    versions_waits as versions_are_compared_after_the_wait;
    locks_kept as an_upsert_that_changes_nothing_still_locks;
    earliest as triggers_keep_the_earliest_date;
    epochs as epochs_keep_the_earliest_date;
    replaced as a_replay_is_replaced;
    returning as only_new_rows_are_returned;
    calendar as one_writer_of_a_calendar_at_a_time;
    copied as a_range_of_snapshots_is_deleted_and_copied_anew;
);

fn insert(id: &str, day: i32) -> InsertTransactions {
    InsertTransactions { rows: vec![transaction(id, &one(), day)] }
}

async fn other_inserter<S: StoreSite>(site: S, commits: bool) {
    let store = site.store();
    let mut first = store.begin().await.expect("up");
    assert_eq!(first.execute(insert("T", 1)).await, Ok(vec!["T".into()]));
    let mut second = Box::pin(store.query(insert("T", 2)));
    assert!(site.waits(&mut second).await);
    match commits {
        true => first.commit().await.expect("a commit"),
        false => first.rollback().await,
    }
    let inserted = site.soon(second).await.expect("its turn");
    assert_eq!(inserted.is_empty(), commits);
    let read = ReadTransactions { ids: vec!["T".into()] };
    let day = if commits { 1 } else { 2 };
    assert_eq!(store.query(read).await, Ok(vec![transaction("T", &one(), day)]));
}

async fn after_commit<S: StoreSite>(site: S) {
    other_inserter(site, true).await;
}

async fn after_rollback<S: StoreSite>(site: S) {
    other_inserter(site, false).await;
}

async fn updater<S: StoreSite>(site: S) {
    let store = site.store();
    store.query(insert("T", 1)).await.expect("free");
    store
        .query(UpdateTransactions { rows: vec![transaction("T", &one(), 5)] })
        .await
        .expect("free");
    assert_eq!(store.query(insert("T", 9)).await, Ok(vec![]));
    let read = ReadTransactions { ids: vec!["T".into(), "U".into()] };
    assert_eq!(store.query(read).await, Ok(vec![transaction("T", &one(), 5)]));
}

fn insert_key(key: Key, day: i32) -> InsertKeys {
    InsertKeys { keys: vec![(key, date(day))] }
}

async fn known_key<S: StoreSite>(site: S) {
    let store = site.store();
    add_keys(&store, &[&one()]).await;
    let holder = bumped(&store, &one()).await;
    site.soon(store.query(insert_key(one(), 5))).await.expect("no wait");
    holder.commit().await.expect("a commit");
    assert_eq!(revision(&store, &one()).await, Some(Revision(1)));
}

async fn new_key<S: StoreSite>(site: S) {
    let store = site.store();
    // The one that comes first stays.
    for (key, commits, watermark) in [(one(), false, 6), (two(), true, 4)] {
        let mut first = store.begin().await.expect("up");
        first.execute(insert_key(key.clone(), 5)).await.expect("free");
        let mut second = Box::pin(store.query(insert_key(key.clone(), 7)));
        assert!(site.waits(&mut second).await);
        match commits {
            true => first.commit().await.expect("a commit"),
            false => first.rollback().await,
        }
        site.soon(second).await.expect("its turn");
        let state = state(&store, &key).await.expect("there");
        assert_eq!(state.watermark_date, date(watermark));
    }
}

fn is_duplicate<T: std::fmt::Debug>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::UniqueViolation(_)))
}

async fn duplicate<S: StoreSite>(site: S) {
    let store = site.store();
    add_keys(&store, &[&one()]).await;
    let rows = || vec![history(&one(), "T", 1, 0, 1)];
    store.query(InsertHistory { rows: rows() }).await.expect("free");
    let mut transaction = bumped(&store, &one()).await;
    let again = transaction.execute(InsertHistory { rows: rows() }).await;
    assert!(is_duplicate(&again), "{again:?}");
    assert!(transaction.commit().await.is_err());
    assert_eq!(revision(&store, &one()).await, Some(Revision(0)), "all of it is gone");
}

async fn duplicate_waits<S: StoreSite>(site: S) {
    let store = site.store();
    let rows = |quantity| vec![history(&one(), "T", 1, 0, quantity)];
    let mut first = store.begin().await.expect("up");
    first.execute(InsertHistory { rows: rows(1) }).await.expect("free");
    let mut second = Box::pin(store.query(InsertHistory { rows: rows(2) }));
    assert!(site.waits(&mut second).await);
    first.commit().await.expect("a commit");
    let second = site.soon(second).await;
    assert!(is_duplicate(&second), "{second:?}");
    let read = ReadPositions { keys: vec![(one(), Epoch(0))], from: date(0), to: date(9) };
    let found = store.query(read).await.expect("a read");
    assert_eq!(found.iter().map(|row| row.position.quantity).collect::<Vec<_>>(), [Amount::ONE]);
}

fn prices(units: i64, version: i64) -> UpsertPrices {
    UpsertPrices { rows: vec![price("S1", 1, units, version)] }
}

fn lock_price() -> LockPrices {
    LockPrices { ids: vec![("S1".into(), date(1))] }
}

async fn versions<S: StoreSite>(site: S) {
    let store = site.store();
    for (units, version, expected) in [(10, 5, 10), (20, 4, 10), (30, 5, 30), (40, 6, 40)] {
        store.query(prices(units, version)).await.expect("free");
        let found = store.query(lock_price()).await.expect("free");
        let found = found.iter().map(|row| row.price.price).collect::<Vec<_>>();
        assert_eq!(found, [Amount::from_units(expected)], "{units} of version {version}");
    }
    let rate = |units, source_version| RateRow {
        rate: ExchangeRate {
            from_currency: Currency::new("USD"),
            to_currency: Currency::eur(),
            rate_date: date(1),
            rate: Amount::from_units(units),
        },
        source_version,
    };
    for row in [rate(1, 2), rate(2, 1)] {
        store.query(UpsertRates { rows: vec![row] }).await.expect("free");
    }
    let ids = vec![(Currency::new("USD"), Currency::eur(), date(1))];
    assert_eq!(store.query(LockRates { ids }).await, Ok(vec![rate(1, 2)]));
}

async fn versions_waits<S: StoreSite>(site: S) {
    let store = site.store();
    store.query(prices(10, 1)).await.expect("free");
    let mut first = store.begin().await.expect("up");
    first.execute(prices(20, 5)).await.expect("free");
    let mut second = Box::pin(store.query(prices(30, 3)));
    assert!(site.waits(&mut second).await);
    first.commit().await.expect("a commit");
    site.soon(second).await.expect("its turn");
    assert_eq!(store.query(lock_price()).await, Ok(vec![price("S1", 1, 20, 5)]));
}

async fn locks_kept<S: StoreSite>(site: S) {
    let store = site.store();
    store.query(prices(10, 5)).await.expect("free");
    let mut first = store.begin().await.expect("up");
    first.execute(prices(20, 4)).await.expect("free");
    let mut second = Box::pin(store.query(lock_price()));
    assert!(site.waits(&mut second).await, "the row is locked although it was not written");
    first.commit().await.expect("a commit");
    assert_eq!(site.soon(second).await, Ok(vec![price("S1", 1, 10, 5)]));
}

async fn earliest<S: StoreSite>(site: S) {
    let store = site.store();
    let trigger = |day| TriggerRow { subject: Subject::Calendar, earliest_date: date(day) };
    for (day, expected) in [(5, 5), (7, 5), (2, 2)] {
        store.query(UpsertTriggers { rows: vec![trigger(day)] }).await.expect("free");
        let mut reader = store.begin().await.expect("up");
        let found = reader.execute(TakeTriggers { limit: 10 }).await;
        assert_eq!(found, Ok(vec![trigger(expected)]));
        reader.rollback().await;
    }
}

async fn epochs<S: StoreSite>(site: S) {
    let store = site.store();
    let row = |epoch, day| EpochRow { key: one(), epoch: Epoch(epoch), from_date: date(day) };
    let rows = vec![history(&one(), "T1", 1, 0, 1), history(&one(), "T4", 4, 0, 4)];
    store.query(InsertHistory { rows }).await.expect("free");
    for day in [5, 3, 4] {
        store.query(UpsertEpochs { rows: vec![row(1, day)] }).await.expect("free");
    }
    let read = ReadPositions { keys: vec![(one(), Epoch(1))], from: date(0), to: date(9) };
    let dates: Vec<_> = store.query(read).await.expect("a read").iter().map(|r| r.date).collect();
    assert_eq!(dates, [date(1)], "epoch 1 begins on day 3, so day 4 of epoch 0 is not valid");
}

async fn replaced<S: StoreSite>(site: S) {
    let store = site.store();
    let row = |epoch, day| ReplayRow {
        key: one(),
        epoch: Epoch(epoch),
        from_date: date(day),
        cursor: Some(super::super::fixtures::place("T", day)),
    };
    store.query(UpsertReplays { rows: vec![row(1, 3)] }).await.expect("free");
    store.query(UpsertReplays { rows: vec![row(2, 4)] }).await.expect("free");
    let found = store.query(ReadReplays { keys: vec![one(), two()] }).await;
    assert_eq!(found, Ok(vec![row(2, 4)]));
}

async fn returning<S: StoreSite>(site: S) {
    let store = site.store();
    let dates = |days: &[i32]| days.iter().map(|day| business_date(*day)).collect::<Vec<_>>();
    let insert = |days| InsertBusinessDates { rows: dates(days) };
    assert_eq!(store.query(insert(&[2, 3])).await, Ok(dates(&[2, 3])));
    assert_eq!(store.query(insert(&[1, 2, 3, 4])).await, Ok(dates(&[1, 4])));
}

async fn calendar<S: StoreSite>(site: S) {
    let store = site.store();
    let code = || LockCalendar { code: "GLOBAL".into() };
    let mut first = store.begin().await.expect("up");
    first.execute(code()).await.expect("free");
    let mut second = store.begin().await.expect("up");
    let mut lock = Box::pin(second.execute(code()));
    assert!(site.waits(&mut lock).await, "also before the first row is committed");
    first.commit().await.expect("a commit");
    site.soon(lock).await.expect("its turn");
    let mut third = Box::pin(store.query(code()));
    assert!(site.waits(&mut third).await);
    second.commit().await.expect("a commit");
    site.soon(third).await.expect("its turn");
}

async fn copied<S: StoreSite>(site: S) {
    let store = site.store();
    let rows = |revision, days: &[i32]| {
        days.iter().map(|day| snapshot(&one(), *day, 0, revision)).collect::<Vec<_>>()
    };
    store.query(CopySnapshots { rows: rows(0, &[1, 2, 3]) }).await.expect("free");
    let again = store.query(CopySnapshots { rows: rows(1, &[3, 4]) }).await;
    assert!(is_duplicate(&again), "{again:?}");
    let mut transaction = store.begin().await.expect("up");
    let range = DeleteSnapshots { keys: vec![(one(), Epoch(0))], from: date(2), to: date(3) };
    transaction.execute(range).await.expect("free");
    transaction.execute(CopySnapshots { rows: rows(1, &[2, 3]) }).await.expect("deleted");
    transaction.commit().await.expect("a commit");
    let again = store.query(CopySnapshots { rows: rows(2, &[1]) }).await;
    assert!(is_duplicate(&again), "{again:?}");
}
