//! Prices and rates over dates, due keys, progress, positions and snapshots.

use backdate_engine::domain::ids::{Epoch, Key, Revision};
use backdate_engine::domain::records::{KeyStatus, ParkReason, ValuationStatus};
use backdate_engine::domain::time::Date;
use backdate_engine::ports::store::rows::{KeyState, SnapshotRow};
use backdate_engine::ports::store::statements::{
    CopySnapshots, DeleteSnapshots, FindDueKeys, InsertHistory, InsertValuationJobs, LockKeys,
    Progress, ProgressQuery, RaiseValuedThrough, ReadBusinessDates, ReadPortfolioPositions,
    ReadPositions, ReadPrices, ReadProgress, ReadRates, UpdateKeys, UpsertEpochs, UpsertPrices,
    UpsertRates, UpsertReplays, UpsertTimeline,
};
use backdate_engine::ports::store::{Store as _, StoreError};

use super::rows::{
    applied, date, epoch, held, history, job, key, parked, price, rate, replay, snapshot, state,
    timeline,
};
use super::{Bench, on};

#[test]
fn a_series_opens_with_the_latest_on_or_before_its_first_date() {
    on(async |bench| {
        let rows: Vec<_> = [1, 3, 5, 7].map(|day| price("S", day, i64::from(day))).into();
        bench.run(UpsertPrices { rows }).await;
        bench.run(UpsertPrices { rows: vec![price("T", 4, 40)] }).await;
        let read = async |from, to| {
            let securities = vec!["T".into(), "R".into(), "S".into()];
            let (from, to) = (date(from), date(to));
            let rows = bench.run(ReadPrices { securities, from, to }).await;
            let short = |row: &backdate_engine::ports::store::rows::PriceRow| {
                (row.price.security_id.as_str().to_owned(), row.price.price_date.days() - 20_000)
            };
            rows.iter().map(short).collect::<Vec<_>>()
        };
        let s = |day| ("S".to_owned(), day);
        let t = |day| ("T".to_owned(), day);
        assert_eq!(read(4, 6).await, [t(4), s(3), s(5)]);
        assert_eq!(read(3, 5).await, [t(4), s(3), s(5)]);
        assert_eq!(read(0, 1).await, [s(1)]);
        assert_eq!(read(8, 2).await, [t(4), s(7)]);

        let rows: Vec<_> = [1, 3, 5].map(|day| rate("EUR", "USD", day, i64::from(day))).into();
        bench.run(UpsertRates { rows: rows.clone() }).await;
        let pairs = vec![("USD".into(), "EUR".into()), ("EUR".into(), "USD".into())];
        let read = bench.run(ReadRates { pairs, from: date(4), to: date(9) }).await;
        assert_eq!(read, rows[1..]);
    });
}

#[test]
fn business_dates_are_those_of_the_one_calendar() {
    on(async |bench| {
        bench.add_business_dates([1, 2, 5]).await;
        let read =
            async |from, to| bench.run(ReadBusinessDates { from: date(from), to: date(to) }).await;
        assert_eq!(read(1, 4).await, [date(1), date(2)]);
        assert_eq!(read(4, 1).await, []);
    });
}

#[test]
fn positions_are_those_of_the_epoch_before_and_within_the_dates() {
    on(async |bench| {
        let (a, b) = (key("A", "S"), key("B", "S"));
        let rows = vec![
            history(&a, "1", 1, 0, 1),
            history(&a, "2", 2, 0, 2),
            history(&a, "2", 2, 1, 20),
            history(&a, "3", 3, 1, 30),
            history(&a, "3", 3, 2, 99),
            history(&b, "4", 4, 0, 4),
        ];
        bench.run(InsertHistory { rows }).await;
        for row in [epoch(&a, 1, 2), epoch(&a, 2, 3)] {
            bench.run(UpsertEpochs { rows: vec![row] }).await;
        }
        let read = async |number, from, to| {
            let keys = vec![(b.clone(), Epoch(0)), (a.clone(), Epoch(number))];
            let rows = bench.run(ReadPositions { keys, from: date(from), to: date(to) }).await;
            let unit = 10_i128.pow(10);
            rows.iter()
                .map(|row| (row.date.days() - 20_000, (row.position.quantity.raw() / unit) as i32))
                .collect::<Vec<_>>()
        };
        assert_eq!(read(1, 2, 3).await, [(2, 20), (3, 30)]);
        assert_eq!(read(0, 2, 3).await, [(2, 2)]);
        assert_eq!(read(2, 1, 4).await, [(4, 4), (1, 1), (2, 20), (3, 99)]);
        assert_eq!(read(1, 9, 9).await, [(4, 4), (3, 30)]);
        assert_eq!(read(1, 9, 2).await, [(4, 4), (3, 30)]);
    });
}

async fn snapshots(bench: &Bench) -> Vec<(String, i32, i32)> {
    let mut connection = super::faults::connect(bench).await;
    sqlx::query_as(
        "SELECT portfolio_id, date - '2024-10-04'::date, epoch FROM daily_position_snapshots
        ORDER BY 1, 2, 3",
    )
    .fetch_all(&mut connection)
    .await
    .expect("read")
}

#[test]
fn snapshots_are_copied_whole_and_deleted_by_range() {
    on(async |bench| {
        let (a, b) = (key("A", "S"), key("B", "S"));
        let mut odd = snapshot(&a, 2, 0, 1);
        odd.market_price = None;
        odd.values = None;
        odd.valuation_status = ValuationStatus::Unvalued;
        let mut ancient = snapshot(&b, 0, 0, 1);
        ancient.date = Date::FIRST;
        let rows = vec![snapshot(&a, 1, 0, 1), odd.clone(), snapshot(&a, 3, 0, 1), ancient.clone()];
        bench.run(CopySnapshots { rows: rows.clone() }).await;
        bench.run(CopySnapshots { rows: Vec::new() }).await;
        let again = bench.store.query(CopySnapshots { rows: rows[..1].to_vec() }).await;
        let index = "daily_position_snapshots_pkey".to_owned();
        assert_eq!(again, Err(StoreError::UniqueViolation(index)));

        // The read of a portfolio shows whole rows.
        bench.add_keys(&[&a, &b]).await;
        bench
            .run(InsertHistory { rows: vec![history(&a, "1", 1, 0, 5), history(&b, "2", 1, 0, 5)] })
            .await;
        let read = async |portfolio: &str, as_of: Option<Date>| {
            let portfolio_id = portfolio.into();
            let mut rows = bench.run(ReadPortfolioPositions { portfolio_id, as_of }).await;
            rows.pop().and_then(|row| row.snapshot)
        };
        assert_eq!(read("A", None).await.as_ref(), Some(&rows[2]));
        assert_eq!(read("A", Some(date(2))).await, Some(odd));
        assert_eq!(read("B", None).await, Some(ancient));

        bench.run(CopySnapshots { rows: vec![snapshot(&a, 2, 1, 2)] }).await;
        let keys = vec![(a.clone(), Epoch(0)), (b.clone(), Epoch(1))];
        bench.run(DeleteSnapshots { keys, from: date(2), to: date(3) }).await;
        let left = snapshots(bench).await;
        assert_eq!(left.len(), 3);
        assert_eq!(left[..2], [("A".to_owned(), 1, 0), ("A".to_owned(), 2, 1)]);
    });
}

#[test]
fn a_copy_of_many_rows_comes_whole() {
    on(async |bench| {
        let k = key("A", "S");
        let rows: Vec<SnapshotRow> = (0..5_000).map(|day| snapshot(&k, day, 0, 1)).collect();
        bench.run(CopySnapshots { rows }).await;
        assert_eq!(snapshots(bench).await.len(), 5_000);
    });
}

#[test]
fn valued_through_is_never_lowered() {
    on(async |bench| {
        let (a, b) = (key("A", "S"), key("B", "S"));
        bench.add_keys(&[&a, &b]).await;
        bench.run(RaiseValuedThrough { keys: vec![a.clone()], date: date(5) }).await;
        bench.run(RaiseValuedThrough { keys: vec![a.clone(), b.clone()], date: date(3) }).await;
        let states = bench.run(LockKeys { keys: vec![a, b], skip_locked: false }).await;
        let dates: Vec<_> = states.iter().map(|state| state.valued_through).collect();
        assert_eq!(dates, [Some(date(5)), Some(date(3))]);
    });
}

/// Sets status, watermark and token of a key.
async fn set(bench: &Bench, k: &Key, status: KeyStatus, watermark: i32, revision: u64) {
    let row = KeyState {
        epoch: Epoch(0),
        revision: Revision(revision),
        watermark_date: date(watermark),
        status,
        ..state(k)
    };
    bench.run(UpdateKeys { rows: vec![row] }).await;
}

#[test]
fn due_are_keys_behind_without_a_replay_or_a_job_of_their_token() {
    on(async |bench| {
        let keys: Vec<Key> = ["A", "B", "C", "D", "E", "F"].map(|name| key(name, "S")).into();
        bench.add_keys(&keys.iter().collect::<Vec<_>>()).await;
        let due = async |after: Option<&Key>, limit| {
            let found = bench.run(FindDueKeys { after: after.cloned(), limit }).await;
            found.iter().map(|key| key.portfolio_id.as_str().to_owned()).collect::<String>()
        };
        for (key, status) in keys.iter().zip([KeyStatus::Current, KeyStatus::Reprocessing]) {
            set(bench, key, status, 4, 1).await;
        }
        // No date at all: the statuses decide.
        assert_eq!(due(None, 9).await, "B");
        bench.add_business_dates([3]).await;
        for (key, watermark) in keys.iter().zip([3, 3, 2, 4, 2, 2]) {
            let reprocessing = key.portfolio_id.as_str() == "B";
            let status = if reprocessing { KeyStatus::Reprocessing } else { KeyStatus::Current };
            set(bench, key, status, watermark, 1).await;
        }
        bench.run(UpsertReplays { rows: vec![replay(&keys[4], None)] }).await;
        let jobs = vec![job(&[held(&keys[2], 0, 0), held(&keys[5], 0, 1)], 1, 3)];
        bench.run(InsertValuationJobs { jobs }).await;
        // A is current, C has a job of an older token, E a replay, F a job.
        assert_eq!(due(None, 9).await, "BCD");
        assert_eq!(due(None, 2).await, "BC");
        assert_eq!(due(Some(&keys[1]), 9).await, "CD");
        assert_eq!(due(Some(&keys[3]), 9).await, "");
    });
}

fn query(k: &Key, watermark: i32) -> ProgressQuery {
    ProgressQuery {
        key: k.clone(),
        epoch: Epoch(1),
        revision: Revision(2),
        watermark_date: date(watermark),
    }
}

#[test]
fn progress_tells_the_first_gap_of_the_token() {
    on(async |bench| {
        let (a, b, c) = (key("A", "S"), key("B", "S"), key("C", "S"));
        bench.add_keys(&[&a, &b]).await;
        let blank = |query: &ProgressQuery| Progress {
            key: query.key.clone(),
            replay_open: false,
            job_open: false,
            first_applied: None,
            latest_business_date: None,
            first_missing: None,
            complete_through: None,
            gap_days: 0,
        };
        let queries = vec![query(&b, 1), query(&a, 3), query(&c, 9)];
        let expected: Vec<_> = queries.iter().map(blank).collect();
        assert_eq!(bench.run(ReadProgress { keys: queries.clone() }).await, expected);

        bench.add_business_dates([2, 3, 4, 5, 8, 9]).await;
        let rows = vec![
            timeline(&a, "1", 1, parked(ParkReason::NoLots)),
            timeline(&a, "2", 2, None),
            timeline(&a, "3", 3, applied()),
            timeline(&b, "4", 4, applied()),
        ];
        bench.run(UpsertTimeline { new: vec![], rows }).await;
        bench.run(UpsertReplays { rows: vec![replay(&a, None)] }).await;
        let jobs = vec![job(&[held(&b, 1, 2), held(&c, 1, 2)], 1, 3), job(&[held(&a, 1, 1)], 1, 3)];
        bench.run(InsertValuationJobs { jobs }).await;
        let rows = vec![
            snapshot(&a, 2, 1, 2),
            snapshot(&a, 4, 1, 2),
            snapshot(&a, 5, 1, 1),
            snapshot(&a, 8, 0, 2),
            snapshot(&a, 9, 1, 2),
        ];
        bench.run(CopySnapshots { rows }).await;
        let latest_business_date = Some(date(9));
        let expected = [
            Progress {
                job_open: true,
                first_applied: Some(date(4)),
                latest_business_date,
                first_missing: Some(date(4)),
                complete_through: Some(date(3)),
                gap_days: 4,
                ..blank(&queries[0])
            },
            Progress {
                replay_open: true,
                first_applied: Some(date(3)),
                latest_business_date,
                first_missing: Some(date(5)),
                complete_through: Some(date(4)),
                gap_days: 2,
                ..blank(&queries[1])
            },
            // A key that does not exist has no job; nothing lies above its watermark.
            Progress { latest_business_date, ..blank(&queries[2]) },
        ];
        assert_eq!(bench.run(ReadProgress { keys: queries.clone() }).await, expected);
        let facts = bench.run(ReadProgress { keys: vec![query(&c, 4)] }).await;
        let complete = Progress {
            latest_business_date,
            complete_through: Some(date(9)),
            ..blank(&queries[2])
        };
        assert_eq!(facts, [complete]);
    });
}
