//! What may come out either way does, by the coin: who waits for a row and who waits for the end of
//! the one that has written it reach it in either order.

use backdate_engine::ports::store::rows::{Subject, TriggerRow};
use backdate_engine::ports::store::statements::{DeleteTriggers, UpsertTriggers};

use super::super::core::locks::Locks;
use super::fixtures::date;
use super::{Bench, run, simulate, waits};

fn upsert(day: i32) -> UpsertTriggers {
    let row = TriggerRow { subject: Subject::Calendar, earliest_date: date(day) };
    UpsertTriggers { rows: vec![row] }
}

fn toss(bench: &Bench, round: u32) {
    let coin = bench.backend.process.rng(&format!("coin/{round}"));
    bench.backend.storage.borrow_mut().locks = Locks::with_coin(coin);
}

/// The days of the triggers that are left.
fn left(bench: &Bench) -> Vec<i32> {
    let rows = bench.backend.storage.borrow().tables.triggers.dump();
    rows.iter().map(|row| row.earliest_date.days() - date(0).days()).collect()
}

/// One session has updated a trigger; a second one deletes it, a third one upserts it. What is left
/// once all have committed, or the first one has rolled back.
async fn race(bench: &Bench, round: u32, commits: bool) -> Vec<i32> {
    toss(bench, round);
    bench.run(DeleteTriggers { subjects: vec![Subject::Calendar] }).await;
    bench.run(upsert(9)).await;
    let (mut a, mut b, mut c) = (bench.session("a"), bench.session("b"), bench.session("c"));
    run(&mut a, upsert(8)).await.expect("free");
    let mut deletes = Box::pin(async {
        let subjects = vec![Subject::Calendar];
        run(&mut b, DeleteTriggers { subjects }).await.expect("its turn");
        b.commit();
    });
    assert!(waits(&mut deletes).await);
    let mut upserts = Box::pin(async {
        run(&mut c, upsert(7)).await.expect("its turn");
        c.commit();
    });
    assert!(waits(&mut upserts).await);
    match commits {
        true => drop(a.commit()),
        false => a.abort(),
    }
    futures_util::future::join(deletes, upserts).await;
    assert_eq!(bench.backend.storage.borrow().locks.waiting(), 0);
    left(bench)
}

#[test]
fn an_upsert_and_a_delete_that_wait_for_one_session_go_in_either_order() {
    simulate(|bench| async move {
        for commits in [true, false] {
            let mut seen = [0; 2];
            for round in 0..40 {
                // The delete came first and the upsert inserted anew, or the other way round.
                let left = race(&bench, round, commits).await;
                assert!(left.is_empty() || left == [7], "{left:?}");
                seen[left.len()] += 1;
            }
            assert!(seen.iter().all(|times| *times > 5), "{seen:?}");
        }
    });
}

#[test]
fn a_row_that_is_kept_for_a_session_that_dies_goes_to_the_queue() {
    simulate(|bench| async move {
        for round in 0..10 {
            toss(&bench, round);
            bench.run(upsert(9)).await;
            let (mut a, mut b) = (bench.session("a"), bench.session("b"));
            run(&mut a, upsert(8)).await.expect("free");
            let mut session = bench.session("c");
            let mut upserts = Box::pin(run(&mut session, upsert(7)));
            assert!(waits(&mut upserts).await);
            let subjects = vec![Subject::Calendar];
            let mut deletes = Box::pin(run(&mut b, DeleteTriggers { subjects }));
            assert!(waits(&mut deletes).await);
            a.commit();
            // It has been woken and has not run yet.
            drop(upserts);
            drop(session);
            deletes.await.expect("its turn");
            b.commit();
            assert_eq!(left(&bench), [0; 0]);
        }
    });
}
