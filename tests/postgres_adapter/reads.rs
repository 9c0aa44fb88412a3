//! What readers see, and what is left to do.

use backdate_engine::domain::ids::{Epoch, Key, Revision};
use backdate_engine::domain::records::KeyStatus;
use backdate_engine::ports::store::rows::{HistoryRow, KeyState, Subject, TriggerRow};
use backdate_engine::ports::store::statements::{
    AppendOutbox, Backlog, ClaimValuationJobs, CopySnapshots, HistoryRead, InsertHistory,
    InsertReprocessingJobs, InsertValuationJobs, PositionRead, PostponeValuationJob, ReadBacklog,
    ReadPortfolioPositions, ReadPositionHistory, UpdateKeys, UpsertEpochs, UpsertReplays,
    UpsertTriggers,
};

use super::on;
use super::rows::{date, epoch, event, held, history, job, key, position, replay, snapshot, state};

#[test]
fn a_portfolio_is_read_under_the_served_epoch() {
    on(async |bench| {
        let (a, b, other) = (key("P", "A"), key("P", "B"), key("Q", "A"));
        for row in [epoch(&a, 1, 2), epoch(&a, 2, 2)] {
            bench.run(UpsertEpochs { rows: vec![row] }).await;
        }
        bench.add_keys(&[&a, &b, &other]).await;
        bench.run(UpdateKeys { rows: vec![state(&a)] }).await;
        let rows = vec![
            history(&a, "1", 1, 0, 1),
            history(&a, "3", 3, 0, 3),
            history(&a, "3", 3, 1, 31),
            history(&a, "3", 3, 2, 32),
            history(&other, "9", 1, 0, 9),
        ];
        bench.run(InsertHistory { rows: rows.clone() }).await;
        let snapshots = vec![
            snapshot(&a, 1, 0, 1),
            snapshot(&a, 4, 0, 1),
            snapshot(&a, 3, 1, 2),
            snapshot(&a, 5, 2, 9),
        ];
        bench.run(CopySnapshots { rows: snapshots.clone() }).await;
        let read = async |as_of: Option<i32>| {
            let as_of = as_of.map(date);
            bench.run(ReadPortfolioPositions { portfolio_id: "P".into(), as_of }).await
        };
        let expected = PositionRead {
            key: a.clone(),
            served_epoch: Epoch(1),
            epoch: Epoch(2),
            revision: Revision(9),
            status: KeyStatus::Reprocessing,
            watermark_date: date(5),
            snapshot: Some(snapshots[2].clone()),
            position: position(31),
            position_date: date(3),
        };
        assert_eq!(read(None).await, std::slice::from_ref(&expected));
        let earlier = PositionRead {
            snapshot: Some(snapshots[0].clone()),
            position: position(1),
            position_date: date(1),
            ..expected
        };
        assert_eq!(read(Some(2)).await, [earlier]);
        assert_eq!(read(Some(0)).await, []);
        let history = async |key: &Key, after: Option<&HistoryRow>, limit| {
            let after = after.map(|row| row.place.clone());
            bench.run(ReadPositionHistory { key: key.clone(), after, limit }).await
        };
        let served = |rows: &[HistoryRow]| HistoryRead {
            served_epoch: Epoch(1),
            epoch: Epoch(2),
            revision: Revision(9),
            status: KeyStatus::Reprocessing,
            rows: rows.to_vec(),
        };
        let valid = [rows[0].clone(), rows[2].clone()];
        assert_eq!(history(&a, None, 9).await, Some(served(&valid)));
        assert_eq!(history(&a, None, 1).await, Some(served(&valid[..1])));
        assert_eq!(history(&a, Some(&valid[0]), 1).await, Some(served(&valid[1..])));
        assert_eq!(history(&a, Some(&valid[1]), 1).await, Some(served(&[])));
        assert_eq!(history(&b, None, 9).await.map(|read| read.rows), Some(Vec::new()));
        assert_eq!(history(&key("X", "Y"), None, 9).await, None);
    });
}

#[test]
fn the_backlog_counts_what_is_not_done() {
    on(async |bench| {
        assert_eq!(bench.run(ReadBacklog {}).await, Backlog::default());
        let keys = ["A", "B", "C"].map(|name| key(name, "S"));
        bench.add_keys(&keys.iter().collect::<Vec<_>>()).await;
        bench.add_business_dates([0, 5]).await;
        let current = KeyState { status: KeyStatus::Current, ..state(&keys[0]) };
        bench.run(UpdateKeys { rows: vec![current] }).await;
        bench.run(AppendOutbox { rows: vec![event(0, "{}"), event(1, "{}")] }).await;
        let rows = vec![TriggerRow { subject: Subject::Calendar, earliest_date: date(1) }];
        bench.run(UpsertTriggers { rows }).await;
        let jobs = vec![(Subject::Calendar, date(1)); 3];
        bench.run(InsertReprocessingJobs { jobs }).await;
        bench.run(UpsertReplays { rows: vec![replay(&keys[1], None)] }).await;
        let held_c = vec![held(&keys[2], 0, 0)];
        let jobs = vec![job(&held_c, 1, 2), job(&held_c, 3, 4), job(&[held(&keys[1], 0, 0)], 1, 1)];
        bench.run(InsertValuationJobs { jobs }).await;
        let claim = ClaimValuationJobs { limit: 2, in_flight_max: 9, lease_ms: 10_000 };
        for claimed in bench.run(claim).await {
            let keys = claimed.keys;
            bench.run(PostponeValuationJob { id: claimed.id, keys, delay_ms: 10_000 }).await;
        }
        let expected = Backlog {
            outbox_events: 2,
            triggers: 1,
            reprocessing_jobs: 3,
            replays: 1,
            valuation_jobs: 1,
            waiting_jobs: 2,
            keys_behind: 1,
            keys_waiting: 1,
        };
        assert_eq!(bench.run(ReadBacklog {}).await, expected);
    });
}
