//! Statements of persistence, fan-out, timeline, outbox and readers.

use backdate_engine::domain::ids::{Epoch, Key};
use backdate_engine::domain::time::Date;
use backdate_engine::ports::store::StoreError;
use backdate_engine::ports::store::rows::{Subject, TriggerRow};
use backdate_engine::ports::store::statements::{
    AppendOutbox, CopySnapshots, DeleteOutbox, InsertHistory, InsertKeys, InsertReprocessingJobs,
    InsertTransactions, LockKeys, MoveReprocessingJob, PruneEpochs, ReadPortfolioPositions,
    ReadPositionHistory, ReadTimelineChunks, ReadTimelineEntries, ReadTimelineHeads,
    ReadTimelineTails, ScanKeys, TakeOutboxLane, TakeReprocessingJob, TakeTriggers, UpdateKeys,
    UpsertEpochs, UpsertInstruments, UpsertPortfolios, UpsertPrices, UpsertTimeline,
    UpsertTriggers,
};

use super::super::schema::Tables;
use super::fixtures::{
    applied, currency, date, epoch, event, history, instrument, key, place, portfolio, position,
    price, snapshot, timeline, transaction,
};
use super::{Bench, run, simulate};

async fn finds(bench: &Bench, subject: Subject, after: Option<&Key>, limit: u32, keys: &[&Key]) {
    let scan = ScanKeys { subject: subject.clone(), after: after.cloned(), limit };
    let found = bench.run(scan).await;
    assert_eq!(found.iter().collect::<Vec<_>>(), keys, "{subject} after {after:?}");
}

#[test]
fn a_new_key_starts_before_its_first_transaction_or_at_the_latest_date_if_that_is_earlier() {
    simulate(|bench| async move {
        let [a, b, c] = ["S1", "S2", "S3"].map(|security| key("P", security));
        bench.run(InsertKeys { keys: vec![(a.clone(), date(9))] }).await;
        bench.add_business_dates([4, 5]).await;
        let keys = vec![(a.clone(), date(1)), (b.clone(), date(9)), (c.clone(), date(3))];
        bench.run(InsertKeys { keys: keys.clone() }).await;
        let lock = LockKeys { keys: vec![a, b, c], skip_locked: false };
        let watermarks = bench.run(lock).await.into_iter().map(|state| state.watermark_date);
        assert_eq!(watermarks.collect::<Vec<_>>(), [date(8), date(5), date(2)]);
    });
}

#[test]
fn scans_find_the_keys_of_a_security_a_portfolio_or_the_calendar() {
    simulate(|bench| async move {
        let [a1, a2, b1] = [("A", "S1"), ("A", "S2"), ("B", "S1")].map(|(p, s)| key(p, s));
        bench.add_keys(&[&a1, &a2, &b1]).await;
        let (s1, a) = (Subject::Security("S1".into()), Subject::Portfolio("A".into()));
        finds(&bench, s1.clone(), None, 9, &[&a1, &b1]).await;
        finds(&bench, s1.clone(), None, 1, &[&a1]).await;
        finds(&bench, s1, Some(&a1), 9, &[&b1]).await;
        finds(&bench, Subject::Calendar, None, 9, &[&a1, &a2, &b1]).await;
        finds(&bench, Subject::Calendar, Some(&a1), 1, &[&a2]).await;
        finds(&bench, a.clone(), None, 9, &[&a1, &a2]).await;
        finds(&bench, a.clone(), Some(&a1), 9, &[&a2]).await;
        finds(&bench, a, Some(&b1), 9, &[]).await;
    });
}

#[test]
fn scans_find_the_keys_whose_look_ups_consult_a_pair() {
    simulate(|bench| async move {
        let (a1, a2, c3) = (key("A", "S1"), key("A", "S2"), key("C", "S3"));
        bench.add_keys(&[&a1, &a2, &c3]).await;
        let pair = |a: &str, b: &str| Subject::Pair(currency(a), currency(b));
        finds(&bench, pair("USD", "EUR"), None, 9, &[]).await;

        bench.run(UpsertPortfolios { rows: vec![portfolio("A", "CHF")] }).await;
        let rows = vec![transaction("T1", &a1, 1, "USD"), transaction("T2", &c3, 1, "USD")];
        bench.run(InsertTransactions { rows }).await;
        for (a, b) in [("USD", "CHF"), ("CHF", "USD"), ("EUR", "USD"), ("CHF", "EUR")] {
            finds(&bench, pair(a, b), None, 9, &[&a1]).await;
        }
        bench.run(UpsertInstruments { rows: vec![instrument("S3", "SEK")] }).await;
        bench.run(UpsertPrices { rows: vec![price("S3", 1, "NOK", 1)] }).await;
        // Price to instrument; C has no base yet.
        finds(&bench, pair("NOK", "SEK"), None, 9, &[&c3]).await;
        finds(&bench, pair("USD", "SEK"), None, 9, &[]).await;
        bench.run(UpsertPortfolios { rows: vec![portfolio("C", "GBP")] }).await;
        // Instrument to base, and the legs through EUR.
        finds(&bench, pair("GBP", "SEK"), None, 9, &[&c3]).await;
        finds(&bench, pair("USD", "EUR"), None, 9, &[&a1, &c3]).await;
        finds(&bench, pair("USD", "EUR"), Some(&a1), 9, &[&c3]).await;
        finds(&bench, pair("USD", "EUR"), None, 1, &[&a1]).await;
    });
}

#[test]
fn the_earliest_date_of_a_trigger_wins_and_locked_triggers_are_left_out() {
    simulate(|bench| async move {
        let trigger = |security: &str, day| TriggerRow {
            subject: Subject::Security(security.into()),
            earliest_date: date(day),
        };
        for day in [5, 3, 7] {
            bench.run(UpsertTriggers { rows: vec![trigger("S1", day), trigger("S2", day)] }).await;
        }
        let (mut a, mut b) = (bench.session("a"), bench.session("b"));
        let take = |limit| TakeTriggers { limit };
        assert_eq!(run(&mut a, take(1)).await, Ok(vec![trigger("S1", 3)]));
        assert_eq!(run(&mut b, take(9)).await, Ok(vec![trigger("S2", 3)]));
    });
}

#[test]
fn fan_out_jobs_take_turns() {
    simulate(|bench| async move {
        let subject = Subject::Calendar;
        let jobs = vec![(subject.clone(), date(1)), (subject, date(2))];
        bench.run(InsertReprocessingJobs { jobs }).await;
        let mut visited = Vec::new();
        for _ in 0..4 {
            let job = bench.run(TakeReprocessingJob {}).await.expect("both are open");
            visited.push(job.id);
            bench.run(MoveReprocessingJob { id: job.id, cursor: key("P", "S") }).await;
        }
        assert_eq!(visited, [1, 2, 1, 2]);
        assert_eq!(
            bench.run(TakeReprocessingJob {}).await.expect("open").cursor,
            Some(key("P", "S"))
        );
    });
}

#[test]
fn a_timeline_is_read_by_identity_from_both_ends_and_in_chunks() {
    simulate(|bench| async move {
        let (k, other) = (key("P", "S1"), key("P", "S2"));
        let rows: Vec<_> =
            [("B", 2), ("A", 3), ("C", 5)].map(|(id, day)| timeline(&k, id, day, applied())).into();
        bench.run(UpsertTimeline { new: vec![], rows: rows.clone() }).await;
        bench.run(UpsertTimeline { new: vec![], rows: vec![timeline(&other, "Z", 1, None)] }).await;
        let ids = vec![(k.clone(), "C".into()), (k.clone(), "A".into()), (other, "A".into())];
        let found = bench.run(ReadTimelineEntries { ids }).await;
        assert_eq!(found, [rows[1].clone(), rows[2].clone()]);
        let keys = vec![k.clone()];
        assert_eq!(bench.run(ReadTimelineHeads { keys: keys.clone() }).await, [rows[0].clone()]);
        let tail = (k.clone(), rows[2].place.clone());
        assert_eq!(bench.run(ReadTimelineTails { keys }).await, [tail]);
        let chunk = |after| ReadTimelineChunks { ranges: vec![(k.clone(), after)], limit: 2 };
        assert_eq!(bench.run(chunk(None)).await, rows[..2]);
        assert_eq!(bench.run(chunk(Some(place("A", 3)))).await, rows[2..]);
        let mut session = bench.session("a");
        let moved = UpsertTimeline { new: vec![], rows: vec![timeline(&k, "A", 4, None)] };
        let outcome = run(&mut session, moved).await;
        assert!(matches!(outcome, Err(StoreError::UniqueViolation(_))), "{outcome:?}");
    });
}

/// Epoch 1 rebuilt from day 5, epoch 2 from day 8, epoch 3 from day 3.
async fn three_epochs(bench: &Bench, k: &Key) {
    for row in [epoch(k, 1, 5), epoch(k, 2, 8), epoch(k, 3, 3)] {
        bench.run(UpsertEpochs { rows: vec![row] }).await;
    }
    let rows = vec![
        history(k, "A", 2, 0, 20),
        history(k, "B", 4, 0, 40),
        history(k, "C", 6, 0, 60),
        history(k, "C", 6, 1, 61),
        history(k, "D", 9, 1, 91),
        history(k, "D", 9, 2, 92),
        history(k, "B", 4, 3, 43),
    ];
    bench.run(InsertHistory { rows }).await;
    let rows = (2..=9).map(|day| snapshot(k, day, 0, 0));
    let rows = rows.chain((5..=9).map(|day| snapshot(k, day, 1, 1)));
    let rows = rows.chain((8..=9).map(|day| snapshot(k, day, 2, 2)));
    bench.run(CopySnapshots { rows: rows.collect() }).await;
}

/// Day and epoch of each row of history, and of each snapshot.
fn survivors(tables: &Tables) -> [Vec<(i32, u32)>; 2] {
    let day = |date: Date| date.days() - date_zero();
    let history = tables.history.dump().into_iter().map(|row| (day(row.place.date()), row.epoch.0));
    let snapshots = tables.snapshots.dump().into_iter().map(|row| (day(row.date), row.epoch.0));
    [history.collect(), snapshots.collect()]
}

fn date_zero() -> i32 {
    date(0).days()
}

#[test]
fn pruning_deletes_what_a_later_epoch_has_rebuilt_and_nothing_newer() {
    simulate(|bench| async move {
        let k = key("P", "S");
        three_epochs(&bench, &k).await;
        bench.run(PruneEpochs { keys: vec![(k.clone(), Epoch(2))] }).await;
        let [history, snapshots] = survivors(&bench.backend.storage.borrow().tables);
        assert_eq!(history, [(2, 0), (4, 0), (4, 3), (6, 1), (9, 2)]);
        let expected = [(2, 0), (3, 0), (4, 0), (5, 1), (6, 1), (7, 1), (8, 2), (9, 2)];
        assert_eq!(snapshots, expected);
        bench.run(PruneEpochs { keys: vec![(k.clone(), Epoch(3))] }).await;
        let [history, snapshots] = survivors(&bench.backend.storage.borrow().tables);
        assert_eq!(history, [(2, 0), (4, 3)]);
        assert_eq!(snapshots, [(2, 0)]);
    });
}

#[test]
fn readers_see_the_valid_rows_of_the_served_epoch() {
    simulate(|bench| async move {
        let (k, empty) = (key("P", "S"), key("P", "T"));
        // Without a state nothing says which epoch is served, so all cuts stay.
        three_epochs(&bench, &k).await;
        bench.add_keys(&[&k, &empty]).await;
        let lock = LockKeys { keys: vec![k.clone()], skip_locked: false };
        let expected = [
            (0, None, 60, 6, (9, 0)),
            (1, None, 91, 9, (9, 1)),
            (1, Some(7), 61, 6, (7, 1)),
            (2, None, 92, 9, (9, 2)),
            (2, Some(4), 40, 4, (4, 0)),
            (3, None, 43, 4, (2, 0)),
        ];
        for (served, as_of, quantity, day, (snapshot_day, snapshot_epoch)) in expected {
            let mut rows = bench.run(lock.clone()).await;
            rows[0].served_epoch = Epoch(served);
            bench.run(UpdateKeys { rows }).await;
            let read = ReadPortfolioPositions { portfolio_id: "P".into(), as_of: as_of.map(date) };
            let seen = bench.run(read).await;
            assert_eq!(seen.len(), 1, "a key without history is left out");
            assert_eq!(seen[0].position, position(quantity), "served {served}, as of {as_of:?}");
            assert_eq!(seen[0].position_date, date(day));
            let snapshot = seen[0].snapshot.as_ref().map(|row| (row.date, row.epoch));
            assert_eq!(snapshot, Some((date(snapshot_day), Epoch(snapshot_epoch))));
        }
        let read = ReadPositionHistory { key: k, after: None, limit: 9 };
        let rows = bench.run(read).await.expect("the key is there").rows;
        let quantities = rows.iter().map(|row| row.position);
        assert_eq!(quantities.collect::<Vec<_>>(), [position(20), position(43)]);
    });
}

#[test]
fn lanes_are_served_in_turn_and_by_one_dispatcher_at_a_time() {
    simulate(|bench| async move {
        assert_eq!(bench.run(TakeOutboxLane {}).await, None);
        let rows = vec![event(3, "a"), event(1, "b"), event(3, "c")];
        bench.run(AppendOutbox { rows }).await;
        let (mut a, mut b) = (bench.session("a"), bench.session("b"));
        let first = run(&mut a, TakeOutboxLane {}).await.expect("no wait");
        let second = run(&mut b, TakeOutboxLane {}).await.expect("no wait");
        assert_eq!((first, second), (Some(1), Some(3)));
        a.commit();
        b.abort();
        assert_eq!(bench.run(TakeOutboxLane {}).await, Some(3), "it has waited longest");
        assert_eq!(bench.run(TakeOutboxLane {}).await, Some(1));
        bench.run(DeleteOutbox { lane: 3, ids: vec![1, 2, 3] }).await;
        assert_eq!(bench.run(TakeOutboxLane {}).await, Some(1), "lane 3 is empty");
    });
}
