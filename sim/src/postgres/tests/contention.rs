//! Many sessions at once: no update is lost, no lock is left, and only opposite orders deadlock.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use backdate_engine::domain::ids::Key;
use backdate_engine::ports::store::StoreError;
use backdate_engine::ports::store::statements::{LockKeys, UpdateKeys};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::fixtures::key;
use super::{Bench, run, simulate};

const SESSIONS: usize = 8;
const TRANSACTIONS: usize = 60;

/// What the sessions have done.
#[derive(Default)]
struct Tally {
    /// Committed bumps by key.
    bumps: BTreeMap<Key, u64>,
    deadlocks: u32,
    ended: usize,
}

fn keys() -> Vec<Key> {
    (0..5).map(|number| key("P", &format!("S{number}"))).collect()
}

/// Locks each key by a statement of its own, thinks, writes all of them.
async fn transact(bench: &Bench, keys: &[Key], rng: &mut ChaCha8Rng) -> Result<bool, StoreError> {
    let mut session = bench.session("worker");
    let mut rows = Vec::new();
    for key in keys {
        let lock = LockKeys { keys: vec![key.clone()], skip_locked: false };
        rows.extend(run(&mut session, lock).await?);
        bench.backend.process.sleep(Duration::from_millis(rng.random_range(0..20))).await;
    }
    rows.iter_mut().for_each(|row| row.revision = row.revision.next());
    run(&mut session, UpdateKeys { rows }).await?;
    let commits = rng.random_range(0..4) > 0;
    if commits {
        session.commit();
    }
    Ok(commits)
}

async fn work(bench: Bench, number: usize, in_order: bool, tally: Rc<RefCell<Tally>>) {
    let mut rng = bench.backend.process.rng(&format!("worker-{number}"));
    let all = keys();
    for _ in 0..TRANSACTIONS {
        let mut chosen: Vec<Key> = Vec::new();
        for _ in 0..3 {
            let key = &all[rng.random_range(0..all.len())];
            if !chosen.contains(key) {
                chosen.push(key.clone());
            }
        }
        if in_order {
            chosen.sort();
        }
        let outcome = transact(&bench, &chosen, &mut rng).await;
        let mut tally = tally.borrow_mut();
        match outcome {
            Ok(true) => chosen.into_iter().for_each(|k| *tally.bumps.entry(k).or_default() += 1),
            Ok(false) => {}
            Err(StoreError::Deadlock) => tally.deadlocks += 1,
            Err(error) => panic!("{error}"),
        }
    }
    tally.borrow_mut().ended += 1;
}

/// Runs the sessions; the number of deadlocks.
async fn contend(bench: Bench, in_order: bool) -> u32 {
    let all = keys();
    bench.add_keys(&all.iter().collect::<Vec<_>>()).await;
    let tally = Rc::new(RefCell::new(Tally::default()));
    for number in 0..SESSIONS {
        bench.backend.process.spawn(work(bench.clone(), number, in_order, Rc::clone(&tally)));
    }
    while tally.borrow().ended < SESSIONS {
        bench.backend.process.sleep(Duration::from_millis(100)).await;
    }
    let states = bench.run(LockKeys { keys: all, skip_locked: true }).await;
    let revisions = states.into_iter().map(|state| (state.key, state.revision.0)).collect();
    assert_eq!(tally.borrow().bumps, revisions, "each committed bump counts, and no other");
    let storage = bench.backend.storage.borrow();
    assert_eq!((storage.locks.waiting(), storage.open_transactions()), (0, 0));
    tally.borrow().deadlocks
}

#[test]
fn sessions_that_lock_in_key_order_never_deadlock() {
    simulate(|bench| async move { assert_eq!(contend(bench, true).await, 0) });
}

#[test]
fn sessions_that_lock_in_any_order_deadlock_and_go_on() {
    simulate(|bench| async move { assert!(contend(bench, false).await > 0) });
}
