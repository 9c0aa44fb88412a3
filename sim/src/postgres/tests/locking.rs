//! Row locks, waits, deadlocks.

use std::rc::Rc;
use std::time::Duration;

use backdate_engine::domain::ids::{Key, Revision};
use backdate_engine::ports::store::StoreError;
use backdate_engine::ports::store::rows::{KeyState, PriceRow, TransactionRow};
use backdate_engine::ports::store::statements::{
    InsertKeys, InsertTransactions, LockKeys, LockPrices, LockTransactions, ReadTransactions,
    UpdateKeys, UpdateTransactions, UpsertPrices,
};
use backdate_reports::recording::SimTime;

use super::super::core::locks::LockMode::{self, KeyShare, NoKeyUpdate, Share, Update};
use super::super::core::session::Session;
use super::super::core::table::Version;
use super::super::profile::Profile;
use super::fixtures::{date, key, price, transaction};
use super::{Bench, run, simulate, simulate_with, waits};

/// `SELECT .. WHERE key = .. FOR <mode>`
async fn lock(
    session: &mut Session,
    key: &Key,
    mode: LockMode,
) -> Result<Vec<Rc<KeyState>>, StoreError> {
    let rows: Vec<Version<KeyState>> =
        session.read(|view| view.version::<KeyState>(key).cloned().into_iter().collect());
    session.lock(rows, mode, false, |_| true).await
}

/// `UPDATE position_state SET revision = revision + 1 WHERE key = ..`
async fn bump(session: &mut Session, key: &Key) -> Result<(), StoreError> {
    let rows: Vec<Version<KeyState>> =
        session.read(|view| view.version::<KeyState>(key).cloned().into_iter().collect());
    let bumped = |old: &KeyState| Some(KeyState { revision: old.revision.next(), ..old.clone() });
    let result = session.update(rows, bumped).await.map(drop);
    if result.is_err() {
        session.abort();
    }
    result
}

fn lock_keys(keys: &[&Key]) -> LockKeys {
    LockKeys { keys: keys.iter().map(|key| (*key).clone()).collect(), skip_locked: false }
}

/// The manual's table 13.3.
#[test]
fn modes_conflict_as_in_the_manual() {
    simulate(|bench| async move {
        let k = key("P", "S");
        bench.add_keys(&[&k]).await;
        let modes = [KeyShare, Share, NoKeyUpdate, Update];
        let conflicts = [
            [false, false, false, true],
            [false, false, true, true],
            [false, true, true, true],
            [true, true, true, true],
        ];
        for (held, row) in modes.into_iter().zip(conflicts) {
            for (wanted, conflict) in modes.into_iter().zip(row) {
                let (mut a, mut b) = (bench.session("a"), bench.session("b"));
                lock(&mut a, &k, held).await.expect("free");
                let mut second = Box::pin(lock(&mut b, &k, wanted));
                assert_eq!(waits(&mut second).await, conflict, "{held:?} against {wanted:?}");
            }
        }
        assert_eq!(bench.backend.storage.borrow().locks.waiting(), 0);
    });
}

#[test]
fn key_share_does_not_fence_but_share_does() {
    simulate(|bench| async move {
        let k = key("P", "S");
        bench.add_keys(&[&k]).await;
        let (mut fence, mut writer) = (bench.session("fence"), bench.session("writer"));
        lock(&mut fence, &k, KeyShare).await.expect("free");
        bump(&mut writer, &k).await.expect("a bump changes no key column and passes");
        writer.commit();
        fence.commit();
        lock(&mut fence, &k, Share).await.expect("free");
        let mut bumped = Box::pin(bump(&mut writer, &k));
        assert!(waits(&mut bumped).await);
        fence.commit();
        bumped.await.expect("the fence is gone");
    });
}

#[test]
fn two_shares_that_become_updates_deadlock() {
    simulate(|bench| async move {
        let k = key("P", "S");
        bench.add_keys(&[&k]).await;
        let (mut a, mut b) = (bench.session("a"), bench.session("b"));
        lock(&mut a, &k, Share).await.expect("free");
        lock(&mut b, &k, Share).await.expect("shared");
        let (first, second) = futures_util::future::join(bump(&mut a, &k), async {
            bench.backend.process.sleep(Duration::from_millis(10)).await;
            bump(&mut b, &k).await
        })
        .await;
        assert_eq!((first, second), (Err(StoreError::Deadlock), Ok(())));
        assert_eq!(bench.now(), SimTime(1_000_000_000), "found when the deadlock timeout passes");
    });
}

#[test]
fn no_key_update_queues_instead() {
    simulate(|bench| async move {
        let k = key("P", "S");
        bench.add_keys(&[&k]).await;
        let (mut a, mut b) = (bench.session("a"), bench.session("b"));
        run(&mut a, lock_keys(&[&k])).await.expect("free");
        let mut second = Box::pin(run(&mut b, lock_keys(&[&k])));
        assert!(waits(&mut second).await);
        bump(&mut a, &k).await.expect("held already");
        a.commit();
        let states = second.await.expect("its turn");
        assert_eq!(states[0].revision, Revision(1), "the newest version of the locked row");
    });
}

#[test]
fn opposite_lock_orders_end_in_one_deadlock() {
    simulate(|bench| async move {
        let (k, l) = (key("P", "S1"), key("P", "S2"));
        bench.add_keys(&[&k, &l]).await;
        let (mut a, mut b) = (bench.session("a"), bench.session("b"));
        bump(&mut a, &k).await.expect("free");
        bump(&mut b, &l).await.expect("free");
        let (first, second) = futures_util::future::join(bump(&mut a, &l), bump(&mut b, &k)).await;
        let outcomes = [first, second];
        let victims = outcomes.iter().filter(|outcome| **outcome == Err(StoreError::Deadlock));
        assert_eq!(victims.count(), 1, "{outcomes:?}");
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    });
}

#[test]
fn a_wait_that_is_no_cycle_outlasts_the_deadlock_timeout() {
    simulate(|bench| async move {
        let k = key("P", "S");
        bench.add_keys(&[&k]).await;
        let (mut a, mut b) = (bench.session("a"), bench.session("b"));
        bump(&mut a, &k).await.expect("free");
        let (_, second) = futures_util::future::join(
            async {
                bench.backend.process.sleep(Duration::from_secs(5)).await;
                a.commit();
            },
            bump(&mut b, &k),
        )
        .await;
        assert_eq!(second, Ok(()));
        assert_eq!(bench.now(), SimTime(5_000_000_000));
    });
}

#[test]
fn waiters_are_served_in_order_of_arrival() {
    simulate(|bench| async move {
        let k = key("P", "S");
        bench.add_keys(&[&k]).await;
        let [mut a, mut b, mut c] = ["a", "b", "c"].map(|client| bench.session(client));
        bump(&mut a, &k).await.expect("free");
        let mut second = Box::pin(bump(&mut b, &k));
        let mut third = Box::pin(bump(&mut c, &k));
        assert!(waits(&mut second).await && waits(&mut third).await);
        a.commit();
        assert!(waits(&mut third).await, "the second comes first");
        second.await.expect("its turn");
        b.commit();
        third.await.expect("its turn");
        c.commit();
        let states = bench.run(lock_keys(&[&k])).await;
        assert_eq!(states[0].revision, Revision(3), "no update is lost");
    });
}

#[test]
fn skip_locked_leaves_out_what_others_hold() {
    simulate(|bench| async move {
        let (k, l) = (key("P", "S1"), key("P", "S2"));
        bench.add_keys(&[&k, &l]).await;
        let (mut a, mut b) = (bench.session("a"), bench.session("b"));
        run(&mut a, lock_keys(&[&k])).await.expect("free");
        let keys = vec![k.clone(), l.clone()];
        let both = LockKeys { keys, skip_locked: true };
        let states = run(&mut b, both).await.expect("no wait");
        assert_eq!(states.iter().map(|state| &state.key).collect::<Vec<_>>(), [&l]);
    });
}

#[test]
fn the_inserter_of_a_key_waits_for_the_other_one() {
    simulate(|bench| async move {
        for commits in [true, false] {
            let k = key("P", "S");
            let id = format!("T{commits}");
            let row = transaction(&id, &k, 1, "EUR");
            let insert = InsertTransactions { rows: vec![row.clone()] };
            let (mut a, mut b) = (bench.session("a"), bench.session("b"));
            let inserted = run(&mut a, insert.clone()).await.expect("free");
            assert_eq!(inserted.len(), 1);
            let mut second = Box::pin(run(&mut b, insert));
            assert!(waits(&mut second).await);
            if commits {
                a.commit();
            } else {
                a.abort();
            }
            let inserted = second.await.expect("no error in either case");
            assert_eq!(inserted.len(), usize::from(!commits));
            b.commit();
            let ids = vec![row.transaction.transaction_id.clone()];
            assert_eq!(bench.run(ReadTransactions { ids }).await, [row]);
        }
    });
}

#[test]
fn a_plain_insertion_fails_once_the_other_has_committed() {
    simulate(|bench| async move {
        let row: TransactionRow = transaction("T1", &key("P", "S"), 1, "EUR");
        let (mut a, mut b) = (bench.session("a"), bench.session("b"));
        a.insert(row.clone()).await.expect("free");
        let mut second = Box::pin(b.insert(row));
        assert!(waits(&mut second).await);
        a.commit();
        let violated = StoreError::UniqueViolation("transactions_pkey".to_owned());
        assert_eq!(second.await, Err(violated));
    });
}

#[test]
fn an_upsert_waits_and_then_merges_with_the_newest_version() {
    simulate(|bench| async move {
        let newer = PriceRow { source_version: 2, ..price("S", 1, "EUR", 20) };
        let newer = UpsertPrices { rows: vec![newer] };
        let older = UpsertPrices { rows: vec![price("S", 1, "EUR", 10)] };
        let (mut a, mut b) = (bench.session("a"), bench.session("b"));
        run(&mut a, newer).await.expect("free");
        let mut second = Box::pin(run(&mut b, older));
        assert!(waits(&mut second).await);
        a.commit();
        second.await.expect("its WHERE does not hold, which is no error");
        b.commit();
        let lock = LockPrices { ids: vec![("S".into(), date(1))] };
        assert_eq!(bench.run(lock).await[0].source_version, 2);
    });
}

#[test]
fn do_nothing_waits_for_an_updater_and_not_for_a_locker() {
    simulate(|bench| async move {
        let insert = InsertTransactions { rows: vec![transaction("T", &key("P", "S"), 1, "EUR")] };
        bench.run(insert.clone()).await;
        let (mut a, mut b) = (bench.session("a"), bench.session("b"));
        let lock = LockTransactions { ids: vec!["T".into()] };
        let rows = run(&mut a, lock).await.expect("free");
        run(&mut b, insert.clone()).await.expect("a mere lock is not in the way");
        b.commit();
        run(&mut a, UpdateTransactions { rows }).await.expect("held");
        let mut second = Box::pin(run(&mut b, insert));
        assert!(waits(&mut second).await);
        a.commit();
        second.await.expect("the transaction is there");
    });
}

#[test]
fn an_insert_of_a_key_that_is_there_waits_for_nobody() {
    simulate(|bench| async move {
        let k = key("P", "S");
        bench.add_keys(&[&k]).await;
        let (mut a, mut b) = (bench.session("a"), bench.session("b"));
        let rows = run(&mut a, lock_keys(&[&k])).await.expect("free");
        run(&mut a, UpdateKeys { rows }).await.expect("held");
        let mut insert = Box::pin(run(&mut b, InsertKeys { keys: vec![(k.clone(), date(1))] }));
        assert!(!waits(&mut insert).await);
        drop(insert);
        b.commit();
    });
}

#[test]
fn a_lock_timeout_ends_the_wait_and_leaves_no_trace() {
    let profile = Profile { lock_timeout_ms: 300, ..Profile::default() };
    simulate_with(profile, |bench: Bench| async move {
        let k = key("P", "S");
        bench.add_keys(&[&k]).await;
        let (mut a, mut b) = (bench.session("a"), bench.session("b"));
        bump(&mut a, &k).await.expect("free");
        assert_eq!(bump(&mut b, &k).await, Err(StoreError::Timeout));
        assert_eq!(bench.now(), SimTime(300_000_000));
        assert_eq!(bench.backend.storage.borrow().locks.waiting(), 0);
        a.commit();
        bump(&mut b, &k).await.expect("free again");
    });
}

#[test]
fn a_session_that_is_dropped_while_it_waits_lets_the_next_one_through() {
    simulate(|bench| async move {
        let k = key("P", "S");
        bench.add_keys(&[&k]).await;
        let [mut a, mut b, mut c] = ["a", "b", "c"].map(|client| bench.session(client));
        lock(&mut a, &k, Share).await.expect("free");
        let mut second = Box::pin(lock(&mut b, &k, Update));
        let mut third = Box::pin(lock(&mut c, &k, NoKeyUpdate));
        assert!(waits(&mut second).await && waits(&mut third).await);
        drop(second);
        drop(b);
        drop(a);
        assert!(!waits(&mut third).await);
    });
}

#[test]
fn keys_are_counted_once_whether_locked_or_written() {
    simulate(|bench| async move {
        let (k, l) = (key("P", "S1"), key("P", "S2"));
        bench.add_keys(&[&k, &l]).await;
        let mut a = bench.session("a");
        let states = run(&mut a, lock_keys(&[&k])).await.expect("free");
        run(&mut a, UpdateKeys { rows: states }).await.expect("held");
        bump(&mut a, &l).await.expect("free");
        bump(&mut a, &l).await.expect("held");
        let committed = a.commit();
        assert_eq!(committed.keys_locked, 2);
        assert_eq!(committed.changes.len(), 2, "one entry a row");
    });
}
