//! Sessions that die, commits that nobody confirms, limits.

use backdate_engine::ports::store::statements::{ReadLatestBusinessDate, UpsertPrices};

use super::super::fixtures::price;
use super::*;

/// How often, 50 ms apart, it is asked for what a loaded machine takes a while to do.
const LOOKS: u32 = 100;

contract!(store(StoreSettings):
    killed as a_session_that_is_killed_leaves_nothing_behind;
    killed_waiting as a_session_that_is_killed_while_it_waits_gives_way;
    recovered as a_client_connects_anew_after_its_sessions_died;
    lost_answer as a_commit_without_an_answer_has_an_unknown_outcome;
    idle as a_transaction_that_idles_too_long_ends { idle_in_transaction_timeout_ms: 300 };
    full as one_session_too_many_is_refused { sessions_max: 3 };
    crashed as what_was_acknowledged_survives_a_crash { crashes: true };
);

/// Looks until that is so, for as long as a loaded machine may take.
async fn look<S: StoreSite>(site: &S, is_so: impl AsyncFn() -> bool) {
    for _ in 0..LOOKS {
        if is_so().await {
            return;
        }
        site.sleep(50).await;
    }
}

/// Whether the session is gone.
fn is_lost<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Disconnected(_)))
}

async fn killed<S: StoreSite>(site: S) {
    let store = site.store();
    add_keys(&store, &[&one()]).await;
    let mut transaction = bumped(&store, &one()).await;
    site.kill_sessions().await;
    let answer = transaction.execute(lock_keys(&[&one()])).await;
    assert!(is_lost(&answer), "{answer:?}");
    let mut next = store.begin().await.expect("up");
    let states = site.soon(next.execute(lock_keys(&[&one()]))).await.expect("the lock is free");
    assert_eq!(revisions(&states), [(one(), Revision(0))]);
}

async fn killed_waiting<S: StoreSite>(site: S) {
    let store = site.store();
    add_keys(&store, &[&one()]).await;
    let _first = bumped(&store, &one()).await;
    let mut second = store.begin().await.expect("up");
    let mut lock = Box::pin(second.execute(lock_keys(&[&one()])));
    assert!(site.waits(&mut lock).await);
    site.kill_sessions().await;
    // The holder is killed too, so the lock may be given before the waiter dies.
    if site.soon(lock).await.is_ok() {
        let answer = second.execute(lock_keys(&[&one()])).await;
        assert!(is_lost(&answer), "{answer:?}");
    }
    assert_eq!(revision(&site.store(), &one()).await, Some(Revision(0)));
}

async fn recovered<S: StoreSite>(site: S) {
    let store = site.store();
    let latest = || ReadLatestBusinessDate {};
    store.query(latest()).await.expect("up");
    site.kill_sessions().await;
    // A pool may notice only when it uses a session that has died.
    for attempt in 0.. {
        if store.query(latest()).await.is_ok() {
            break;
        }
        assert!(attempt < 4, "as often as the pool has connections");
    }
    let mut transaction = store.begin().await.expect("up");
    let rows = vec![price("S", 1, 1, 0)];
    transaction.execute(UpsertPrices { rows }).await.expect("up");
    transaction.commit().await.expect("a commit");
}

async fn lost_answer<S: StoreSite>(site: S) {
    let store = site.store();
    add_keys(&store, &[&one()]).await;
    let transaction = bumped(&store, &one()).await;
    site.lose_commit_answer().await;
    assert_eq!(site.soon(transaction.commit()).await, Err(StoreError::UnknownOutcome));
    // Nobody is told when.
    look(&site, async || revision(&store, &one()).await == Some(Revision(1))).await;
    assert_eq!(revision(&store, &one()).await, Some(Revision(1)), "it did happen");
    bumped(&store, &one()).await.commit().await.expect("the next one is answered");
}

async fn idle<S: StoreSite>(site: S) {
    let store = site.store();
    add_keys(&store, &[&one()]).await;
    let mut transaction = bumped(&store, &one()).await;
    let mut next = store.begin().await.expect("up");
    let mut lock = Box::pin(next.execute(lock_keys(&[&one()])));
    assert!(site.waits(&mut lock).await);
    let states = site.soon(lock).await.expect("the other one's time is up");
    assert_eq!(revisions(&states), [(one(), Revision(0))]);
    let answer = transaction.execute(lock_keys(&[&two()])).await;
    assert!(is_lost(&answer), "{answer:?}");
}

async fn full<S: StoreSite>(site: S) {
    let store = site.store();
    let latest = || ReadLatestBusinessDate {};
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut transaction = store.begin().await.expect("up");
        transaction.execute(latest()).await.expect("there is room");
        open.push(transaction);
    }
    let other = site.store();
    assert_eq!(other.query(latest()).await, Err(StoreError::TooManyConnections));
    let mut refused = other.begin().await.expect("nothing is asked yet");
    assert_eq!(refused.execute(latest()).await, Err(StoreError::TooManyConnections));
    drop(open.pop());
    // A server hears of it in its own time.
    look(&site, async || other.query(latest()).await.is_ok()).await;
    assert_eq!(other.query(latest()).await, Ok(None));
}

async fn crashed<S: StoreSite>(site: S) {
    let store = site.store();
    add_keys(&store, &[&one(), &two()]).await;
    bumped(&store, &one()).await.commit().await.expect("a commit");
    let _open = bumped(&store, &two()).await;
    site.crash().await;
    let store = site.store();
    assert_eq!(revision(&store, &one()).await, Some(Revision(1)));
    assert_eq!(revision(&store, &two()).await, Some(Revision(0)));
    bumped(&store, &two()).await.commit().await.expect("a commit");
}
