//! Row locks: who waits for whom, what is read after a wait, deadlocks.

use std::cell::RefCell;
use std::rc::Rc;

use backdate_engine::ports::store::rows::Subject;
use backdate_engine::ports::store::rows::TriggerRow;
use backdate_engine::ports::store::statements::{
    DeleteTriggers, DeleteValuationJob, InsertValuationJobs, LockPrices, LockValuationJob,
    PostponeValuationJob, RaiseValuedThrough, ReadPrices, UpsertPrices, UpsertTriggers,
};

use super::super::fixtures::{job, price};
use super::*;

contract!(store(StoreSettings):
    newest as a_wait_returns_the_newest_version_of_the_locked_row;
    joined as what_is_read_beside_the_lock_needs_a_statement_of_its_own;
    not_visited as a_row_that_was_not_there_at_the_start_is_not_visited;
    deleted as a_row_that_is_deleted_during_the_wait_is_gone;
    kept as a_row_whose_deletion_is_rolled_back_is_still_there;
    queue as no_update_is_lost_in_a_queue;
    skip as skip_locked_leaves_out_what_others_hold;
    readers as readers_never_wait;
    updates as an_update_without_a_lock_waits_for_the_holder;
    orders as keys_are_locked_in_key_order_whatever_the_order_asked_for;
    deadlock as a_deadlock_has_exactly_one_victim;
    victim as a_victim_leaves_nothing_behind;
    no_cycle as a_wait_without_a_cycle_outlasts_the_deadlock_timeout { deadlock_timeout_ms: 50 };
    lock_timeout as a_lock_timeout_ends_the_wait_and_the_transaction { lock_timeout_ms: 300 };
    statement_timeout as a_statement_timeout_ends_a_wait { statement_timeout_ms: 300 };
);

async fn newest<S: StoreSite>(site: S) {
    let store = site.store();
    add_keys(&store, &[&one()]).await;
    let first = bumped(&store, &one()).await;
    let mut second = store.begin().await.expect("up");
    let mut lock = Box::pin(second.execute(lock_keys(&[&one()])));
    assert!(site.waits(&mut lock).await);
    first.commit().await.expect("a commit");
    let states = site.soon(lock).await.expect("its turn");
    assert_eq!(revisions(&states), [(one(), Revision(1))]);
}

/// A price that is read after the lock is known to be as new as the token.
async fn joined<S: StoreSite>(site: S) {
    let store = site.store();
    add_keys(&store, &[&one()]).await;
    let upsert = |units| UpsertPrices { rows: vec![price("S1", 1, units, 0)] };
    store.query(upsert(10)).await.expect("free");
    let mut first = bumped(&store, &one()).await;
    first.execute(upsert(20)).await.expect("free");
    let mut second = store.begin().await.expect("up");
    let mut lock = Box::pin(second.execute(lock_keys(&[&one()])));
    assert!(site.waits(&mut lock).await);
    first.commit().await.expect("a commit");
    site.soon(lock).await.expect("its turn");
    let read = ReadPrices { securities: vec!["S1".into()], from: date(1), to: date(1) };
    let prices = second.execute(read).await.expect("a read");
    assert_eq!(prices, [price("S1", 1, 20, 0)]);
}

async fn not_visited<S: StoreSite>(site: S) {
    let store = site.store();
    add_keys(&store, &[&one()]).await;
    let first = bumped(&store, &one()).await;
    let mut second = store.begin().await.expect("up");
    let mut lock = Box::pin(second.execute(lock_keys(&[&one(), &two()])));
    assert!(site.waits(&mut lock).await);
    add_keys(&store, &[&two()]).await;
    first.commit().await.expect("a commit");
    let states = site.soon(lock).await.expect("its turn");
    assert_eq!(revisions(&states), [(one(), Revision(1))], "the second key came too late");
    let states = second.execute(lock_keys(&[&two()])).await.expect("free");
    assert_eq!(states.len(), 1, "the next statement sees it");
}

async fn job_of<S: Store>(store: &S) -> u64 {
    let jobs = vec![job(&[(&one(), 0, 0)], 1, 2)];
    store.query(InsertValuationJobs { jobs }).await.expect("free");
    1
}

async fn deleted<S: StoreSite>(site: S) {
    let store = site.store();
    let id = job_of(&store).await;
    let mut first = store.begin().await.expect("up");
    assert!(first.execute(LockValuationJob { id }).await.expect("free").is_some());
    first.execute(DeleteValuationJob { id }).await.expect("held");
    let mut second = Box::pin(store.query(LockValuationJob { id }));
    assert!(site.waits(&mut second).await);
    first.commit().await.expect("a commit");
    assert_eq!(site.soon(second).await, Ok(None));
}

async fn kept<S: StoreSite>(site: S) {
    let store = site.store();
    let id = job_of(&store).await;
    let mut first = store.begin().await.expect("up");
    first.execute(DeleteValuationJob { id }).await.expect("free");
    let postpone = PostponeValuationJob { id, keys: vec![], delay_ms: 0 };
    let mut second = Box::pin(store.query(postpone));
    assert!(site.waits(&mut second).await);
    first.rollback().await;
    assert_eq!(site.soon(second).await, Ok(()));
    let found = store.query(LockValuationJob { id }).await.expect("free");
    assert_eq!(found.map(|job| job.keys), Some(vec![]));
}

async fn queue<S: StoreSite>(site: S) {
    let store = site.store();
    add_keys(&store, &[&one()]).await;
    let first = bumped(&store, &one()).await;
    let done = Rc::new(RefCell::new(0));
    for _ in 0..3 {
        let (store, done) = (site.store(), Rc::clone(&done));
        site.spawn(async move {
            bumped(&store, &one()).await.commit().await.expect("a commit");
            *done.borrow_mut() += 1;
        });
    }
    site.sleep(100).await;
    assert_eq!(*done.borrow(), 0, "all three wait");
    first.commit().await.expect("a commit");
    while *done.borrow() < 3 {
        site.sleep(10).await;
    }
    assert_eq!(revision(&store, &one()).await, Some(Revision(4)));
}

async fn skip<S: StoreSite>(site: S) {
    let store = site.store();
    add_keys(&store, &[&one(), &two()]).await;
    let _first = bumped(&store, &one()).await;
    let mut second = store.begin().await.expect("up");
    let all = LockKeys { keys: vec![one(), two()], skip_locked: true };
    let states = site.soon(second.execute(all)).await.expect("no wait");
    assert_eq!(revisions(&states), [(two(), Revision(0))]);
}

async fn readers<S: StoreSite>(site: S) {
    let store = site.store();
    store.query(UpsertPrices { rows: vec![price("S1", 1, 1, 0)] }).await.expect("free");
    let mut writer = store.begin().await.expect("up");
    writer.execute(LockPrices { ids: vec![("S1".into(), date(1))] }).await.expect("free");
    writer.execute(UpsertPrices { rows: vec![price("S1", 1, 2, 0)] }).await.expect("held");
    let read = ReadPrices { securities: vec!["S1".into()], from: date(1), to: date(1) };
    let prices = site.soon(store.query(read)).await;
    assert_eq!(prices, Ok(vec![price("S1", 1, 1, 0)]));
}

async fn updates<S: StoreSite>(site: S) {
    let store = site.store();
    add_keys(&store, &[&one()]).await;
    let first = bumped(&store, &one()).await;
    let raise = RaiseValuedThrough { keys: vec![one()], date: date(5) };
    let mut second = Box::pin(store.query(raise));
    assert!(site.waits(&mut second).await);
    first.commit().await.expect("a commit");
    site.soon(second).await.expect("its turn");
    let state = state(&store, &one()).await.expect("it is there");
    assert_eq!((state.revision, state.valued_through), (Revision(1), Some(date(5))));
}

async fn orders<S: StoreSite>(site: S) {
    let store = site.store();
    let keys: Vec<Key> = (0..10).map(|n| key("P", &format!("S{n}"))).collect();
    add_keys(&store, &keys.iter().collect::<Vec<_>>()).await;
    let forwards: Vec<&Key> = keys.iter().collect();
    let backwards: Vec<&Key> = keys.iter().rev().collect();
    for _ in 0..10 {
        let turn = async |keys: &[&Key]| {
            let mut transaction = store.begin().await.expect("up");
            let states = transaction.execute(lock_keys(keys)).await?;
            transaction.commit().await.map(|()| states)
        };
        let both = futures_util::future::join(turn(&forwards), turn(&backwards));
        let (first, second) = site.soon(both).await;
        let first = first.expect("no deadlock");
        assert_eq!(first, second.expect("no deadlock"));
        assert!(first.is_sorted_by_key(|state| state.key.clone()) && first.len() == 10);
    }
}

/// Two transactions that wait for each other.
async fn cross<S: StoreSite>(site: &S) -> (S::Store, [Result<S::Transaction, StoreError>; 2]) {
    let store = site.store();
    add_keys(&store, &[&one(), &two()]).await;
    let (mut a, mut b) = (bumped(&store, &one()).await, bumped(&store, &two()).await);
    let first = async {
        a.execute(lock_keys(&[&two()])).await.map(|_| ())?;
        Ok(a)
    };
    let second = async {
        site.sleep(20).await;
        b.execute(lock_keys(&[&one()])).await.map(|_| ())?;
        Ok(b)
    };
    let (first, second) = site
        .soon(futures_util::future::join(async { (first.await, ()).0 }, async {
            (second.await, ()).0
        }))
        .await;
    (store, [first, second])
}

async fn deadlock<S: StoreSite>(site: S) {
    let (_, outcomes) = cross(&site).await;
    let errors: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert_eq!(errors, [&StoreError::Deadlock]);
}

async fn victim<S: StoreSite>(site: S) {
    let (store, outcomes) = cross(&site).await;
    let (victim, survivor) = match &outcomes {
        [Err(_), Ok(_)] => (one(), two()),
        _ => (two(), one()),
    };
    for survivor in outcomes.into_iter().flatten() {
        survivor.commit().await.expect("a commit");
    }
    assert_eq!(revision(&store, &victim).await, Some(Revision(0)));
    assert_eq!(revision(&store, &survivor).await, Some(Revision(1)));
}

async fn no_cycle<S: StoreSite>(site: S) {
    let store = site.store();
    add_keys(&store, &[&one()]).await;
    let first = bumped(&store, &one()).await;
    let mut second = store.begin().await.expect("up");
    let mut lock = Box::pin(second.execute(lock_keys(&[&one()])));
    assert!(site.waits(&mut lock).await && site.waits(&mut lock).await);
    first.commit().await.expect("a commit");
    site.soon(lock).await.expect("its turn");
}

async fn lock_timeout<S: StoreSite>(site: S) {
    let store = site.store();
    add_keys(&store, &[&one(), &two()]).await;
    let first = bumped(&store, &one()).await;
    let mut second = bumped(&store, &two()).await;
    let locked = site.soon(second.execute(lock_keys(&[&one()]))).await;
    assert_eq!(locked.map(|_| ()), Err(StoreError::Timeout));
    let commit = second.commit().await;
    assert!(commit.is_err(), "the transaction is over");
    assert_eq!(revision(&store, &two()).await, Some(Revision(0)), "and its locks are free");
    first.commit().await.expect("the holder does not notice");
}

async fn statement_timeout<S: StoreSite>(site: S) {
    let store = site.store();
    let row = || TriggerRow { subject: Subject::Calendar, earliest_date: date(1) };
    store.query(UpsertTriggers { rows: vec![row()] }).await.expect("free");
    let mut first = store.begin().await.expect("up");
    let delete = DeleteTriggers { subjects: vec![Subject::Calendar] };
    first.execute(delete).await.expect("free");
    let second = site.soon(store.query(UpsertTriggers { rows: vec![row()] })).await;
    assert_eq!(second, Err(StoreError::Timeout));
    first.commit().await.expect("the holder does not notice");
}
