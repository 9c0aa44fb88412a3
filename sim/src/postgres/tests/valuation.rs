//! Statements of the scheduler and of the valuation.

use std::time::Duration;

use backdate_engine::domain::ids::{Epoch, Key, Revision};
use backdate_engine::domain::records::KeyStatus;
use backdate_engine::ports::store::rows::{JobStatus, KeyState, ReplayRow};
use backdate_engine::ports::store::statements::{
    ClaimValuationJobs, CopySnapshots, DeleteReplays, DeleteSnapshots, FindDueKeys, InsertHistory,
    InsertValuationJobs, LockKeys, PostponeValuationJob, Progress, ProgressQuery, ReadBacklog,
    ReadPositions, ReadPrices, ReadProgress, ReadRates, UpdateKeys, UpsertEpochs, UpsertPrices,
    UpsertRates, UpsertReplays, UpsertTimeline,
};

use super::fixtures::{
    applied, currency, date, epoch, history, job, key, parked, position, price, rate, snapshot,
    timeline,
};
use super::{Bench, run, simulate};

async fn set(bench: &Bench, key: &Key, change: impl Fn(&mut KeyState)) {
    let lock = LockKeys { keys: vec![key.clone()], skip_locked: false };
    let mut rows = bench.run(lock).await;
    change(&mut rows[0]);
    bench.run(UpdateKeys { rows }).await;
}

async fn due_are(bench: &Bench, keys: &[&Key]) {
    let found = bench.run(FindDueKeys { after: None, limit: 10 }).await;
    assert_eq!(found.iter().collect::<Vec<_>>(), keys);
}

#[test]
fn due_keys_are_behind_without_replay_or_job() {
    simulate(|bench| async move {
        let [a, b, c] = ["S1", "S2", "S3"].map(|security| key("P", security));
        bench.add_keys(&[&a, &b, &c]).await;
        // No business date, and all are current.
        due_are(&bench, &[]).await;
        set(&bench, &b, |state| state.status = KeyStatus::Reprocessing).await;
        due_are(&bench, &[&b]).await;
        bench.add_business_dates([1]).await;
        due_are(&bench, &[&a, &b, &c]).await;
        let after = FindDueKeys { after: Some(a.clone()), limit: 1 };
        assert_eq!(bench.run(after).await, std::slice::from_ref(&b));
        set(&bench, &a, |state| state.watermark_date = date(1)).await;
        due_are(&bench, &[&b, &c]).await;

        let cursor = None;
        let open = ReplayRow { key: b.clone(), epoch: Epoch(1), from_date: date(1), cursor };
        bench.run(UpsertReplays { rows: vec![open] }).await;
        due_are(&bench, &[&c]).await;
        bench.run(DeleteReplays { keys: vec![b.clone()] }).await;
        due_are(&bench, &[&b, &c]).await;

        let jobs = vec![job(&[(&a, 0, 0), (&b, 0, 0), (&c, 0, 0)], 1, 1)];
        bench.run(InsertValuationJobs { jobs }).await;
        due_are(&bench, &[]).await;
        set(&bench, &c, |state| state.revision = Revision(1)).await;
        // The job's token is an old one.
        due_are(&bench, &[&c]).await;
        let backlog = bench.run(ReadBacklog {}).await;
        assert_eq!((backlog.valuation_jobs, backlog.keys_behind), (1, 2));
    });
}

#[test]
fn a_transaction_that_has_written_finds_due_keys_by_its_own_rows() {
    simulate(|bench| async move {
        let (a, b) = (key("P", "S1"), key("P", "S2"));
        bench.add_keys(&[&a, &b]).await;
        let mut session = bench.session("a");
        let lock = LockKeys { keys: vec![b.clone()], skip_locked: false };
        let mut rows = run(&mut session, lock).await.expect("free");
        rows[0].status = KeyStatus::Reprocessing;
        run(&mut session, UpdateKeys { rows }).await.expect("held");
        let find = FindDueKeys { after: None, limit: 10 };
        assert_eq!(run(&mut session, find).await, Ok(vec![b]));
        // Nobody else sees it.
        due_are(&bench, &[]).await;
    });
}

fn progress_of(key: &Key, epoch: u32, revision: u64, watermark: i32) -> ReadProgress {
    let (epoch, revision) = (Epoch(epoch), Revision(revision));
    let key = key.clone();
    let keys = vec![ProgressQuery { key, epoch, revision, watermark_date: date(watermark) }];
    ReadProgress { keys }
}

#[test]
fn progress_tells_the_first_gap_after_the_watermark() {
    simulate(|bench| async move {
        let k = key("P", "S");
        bench.add_keys(&[&k]).await;
        let nothing = bench.run(progress_of(&k, 0, 0, 0)).await.remove(0);
        let expected = Progress {
            key: k.clone(),
            replay_open: false,
            job_open: false,
            first_applied: None,
            latest_business_date: None,
            first_missing: None,
            complete_through: None,
            gap_days: 0,
        };
        assert_eq!(nothing, expected);

        bench.add_business_dates([1, 2, 5, 6, 7]).await;
        let latest_business_date = Some(date(7));
        let rows = vec![timeline(&k, "A", 1, parked())];
        bench.run(UpsertTimeline { new: vec![], rows }).await;
        let none = bench.run(progress_of(&k, 0, 0, 0)).await.remove(0);
        let complete_through = Some(date(7));
        let expected = Progress { latest_business_date, complete_through, ..expected };
        assert_eq!(none, expected, "nothing is due of a key with nothing applied");

        let rows = vec![timeline(&k, "B", 4, applied()), timeline(&k, "C", 6, applied())];
        bench.run(UpsertTimeline { new: vec![], rows }).await;
        let rows = vec![snapshot(&k, 5, 0, 0), snapshot(&k, 6, 0, 1), snapshot(&k, 7, 0, 0)];
        bench.run(CopySnapshots { rows }).await;
        bench.run(InsertValuationJobs { jobs: vec![job(&[(&k, 0, 1)], 1, 2)] }).await;
        let expected = Progress { first_applied: Some(date(4)), ..expected };
        for (revision, watermark, missing, complete, gap) in [
            (0, 0, Some(6), Some(5), 1),
            (0, 5, Some(6), None, 1),
            (0, 6, None, Some(7), 0),
            (0, 7, None, None, 0),
            (1, 0, Some(5), Some(2), 1),
            (1, 5, Some(7), Some(6), 1),
        ] {
            let seen = bench.run(progress_of(&k, 0, revision, watermark)).await.remove(0);
            let expected = Progress {
                job_open: revision == 1,
                first_missing: missing.map(date),
                complete_through: complete.map(date),
                gap_days: gap,
                ..expected.clone()
            };
            assert_eq!(seen, expected, "revision {revision} from {watermark}");
        }
    });
}

#[test]
fn positions_open_with_the_last_valid_one_and_follow_the_range() {
    simulate(|bench| async move {
        let k = key("P", "S");
        bench.run(UpsertEpochs { rows: vec![epoch(&k, 1, 5)] }).await;
        let rows = vec![
            history(&k, "A", 2, 0, 20),
            history(&k, "B", 4, 0, 40),
            history(&k, "C", 6, 0, 60),
            history(&k, "D", 6, 1, 61),
            history(&k, "E", 6, 1, 62),
            history(&k, "F", 8, 1, 81),
        ];
        bench.run(InsertHistory { rows }).await;
        for (epoch, from, to, expected) in [
            (0, 1, 9, vec![(2, 20), (4, 40), (6, 60)]),
            (0, 5, 5, vec![(4, 40)]),
            (1, 1, 2, vec![(2, 20)]),
            (1, 4, 6, vec![(4, 40), (6, 61), (6, 62)]),
            (1, 6, 8, vec![(6, 62), (8, 81)]),
            (1, 1, 1, vec![]),
        ] {
            let keys = vec![(k.clone(), Epoch(epoch))];
            let seen = bench.run(ReadPositions { keys, from: date(from), to: date(to) }).await;
            let seen: Vec<_> = seen.into_iter().map(|row| (row.date, row.position)).collect();
            let expected: Vec<_> =
                expected.into_iter().map(|(day, units)| (date(day), position(units))).collect();
            assert_eq!(seen, expected, "epoch {epoch} from {from} to {to}");
        }
    });
}

#[test]
fn series_of_prices_and_rates_open_with_the_latest_before() {
    simulate(|bench| async move {
        let rows = [1, 3, 5].map(|day| price("S", day, "EUR", 1)).into();
        bench.run(UpsertPrices { rows }).await;
        let rows = [1, 3, 5].map(|day| rate("USD", "EUR", day, 1)).into();
        bench.run(UpsertRates { rows }).await;
        bench.run(UpsertRates { rows: vec![rate("EUR", "USD", 2, 1)] }).await;
        for (from, to, expected) in [
            (0, 9, vec![1, 3, 5]),
            (3, 5, vec![3, 5]),
            (4, 4, vec![3]),
            (4, 5, vec![3, 5]),
            (0, 0, vec![]),
        ] {
            let expected: Vec<_> = expected.into_iter().map(date).collect();
            let (from, to) = (date(from), date(to));
            let securities = vec!["S".into(), "T".into()];
            let prices = bench.run(ReadPrices { securities, from, to }).await;
            let dates = prices.iter().map(|row| row.price.price_date);
            assert_eq!(dates.collect::<Vec<_>>(), expected);
            let pairs = vec![(currency("USD"), currency("EUR"))];
            let rates = bench.run(ReadRates { pairs, from, to }).await;
            let dates = rates.iter().map(|row| row.rate.rate_date);
            assert_eq!(dates.collect::<Vec<_>>(), expected);
        }
    });
}

#[test]
fn jobs_are_claimed_in_order_under_leases_and_within_a_limit() {
    simulate(|bench| async move {
        let k = key("P", "S");
        let jobs = (1..=5).map(|day| job(&[(&k, 0, 0)], day, day)).collect();
        bench.run(InsertValuationJobs { jobs }).await;
        let claim =
            |limit, in_flight_max| ClaimValuationJobs { limit, in_flight_max, lease_ms: 1_000 };
        let (mut a, mut b) = (bench.session("a"), bench.session("b"));
        let first = run(&mut a, claim(2, 10)).await.expect("no wait");
        let second = run(&mut b, claim(1, 10)).await.expect("no wait");
        let ids = |jobs: &[backdate_engine::ports::store::rows::ValuationJobRow]| {
            jobs.iter().map(|job| (job.id, job.attempts)).collect::<Vec<_>>()
        };
        assert_eq!((ids(&first), ids(&second)), (vec![(1, 1), (2, 1)], vec![(3, 1)]));
        assert_eq!(first[0].status, JobStatus::Processing);
        a.commit();
        b.abort();
        assert_eq!(ids(&bench.run(claim(9, 3)).await), [(3, 1)], "two are in flight");
        assert!(bench.run(claim(9, 3)).await.is_empty());
        let postpone = PostponeValuationJob { id: 2, keys: first[1].keys.clone(), delay_ms: 3_000 };
        bench.run(postpone).await;
        bench.backend.process.sleep(Duration::from_millis(1_500)).await;
        assert_eq!(ids(&bench.run(claim(9, 3)).await), [(1, 2), (3, 2), (4, 1)], "leases are over");
        bench.backend.process.sleep(Duration::from_millis(1_600)).await;
        assert_eq!(ids(&bench.run(claim(1, 3)).await), [(1, 3)], "ids decide");
        assert_eq!(ids(&bench.run(claim(9, 9)).await), [(2, 2), (3, 3), (4, 2), (5, 1)]);
    });
}

#[test]
fn snapshots_of_a_range_are_replaced() {
    simulate(|bench| async move {
        let (k, other) = (key("P", "S1"), key("P", "S2"));
        let rows = (1..=5).map(|day| snapshot(&k, day, 0, 0)).collect();
        bench.run(CopySnapshots { rows }).await;
        bench.run(CopySnapshots { rows: vec![snapshot(&other, 3, 0, 0)] }).await;
        let mut session = bench.session("a");
        let keys = vec![(k.clone(), Epoch(0))];
        let range = DeleteSnapshots { keys, from: date(2), to: date(4) };
        run(&mut session, range).await.expect("free");
        let rows = vec![snapshot(&k, 2, 0, 1), snapshot(&k, 3, 0, 1)];
        run(&mut session, CopySnapshots { rows }).await.expect("deleted by itself");
        let duplicate = CopySnapshots { rows: vec![snapshot(&k, 5, 0, 1)] };
        let committed = session.commit();
        let kinds: Vec<bool> = committed.changes.iter().map(|change| change.deleted).collect();
        assert_eq!(kinds, [false, false, true], "the last write of each row");
        run(&mut session, duplicate).await.expect_err("day 5 was not deleted");
        let storage = bench.backend.storage.borrow();
        let left =
            storage.tables.snapshots.dump().into_iter().map(|row| (row.date, row.revision.0));
        let expected = [(1, 0), (2, 1), (3, 1), (5, 0), (3, 0)].map(|(day, r)| (date(day), r));
        assert_eq!(left.collect::<Vec<_>>(), expected);
    });
}
