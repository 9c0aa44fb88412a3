//! Timelines, history, lots, epochs and replays.

use backdate_engine::domain::ids::{Epoch, TransactionId};
use backdate_engine::domain::money::FxRate;
use backdate_engine::domain::records::{Fate, Lot, Outcome, ParkReason, Place};
use backdate_engine::domain::time::Date;
use backdate_engine::ports::store::rows::{HistoryRow, LotRow, ReplayRow, TimelineRow};
use backdate_engine::ports::store::statements::{
    CopySnapshots, DeleteHistory, DeleteLots, DeleteReplays, DeleteTimeline, FindReplays,
    InsertHistory, LockKeys, PruneEpochs, ReadLots, ReadPositions, ReadReplays, ReadTimelineChunks,
    ReadTimelineEntries, ReadTimelineHeads, ReadTimelineRates, ReadTimelineTails, ResetLots,
    TimelineRate, UpdateKeys, UpsertEpochs, UpsertLots, UpsertReplays, UpsertTimeline,
};
use backdate_engine::ports::store::{Store as _, StoreError};

use super::on;
use super::rows::{
    amount, applied, costs, date, epoch, history, key, lot, parked, place, replay, snapshot,
    timeline,
};

#[test]
fn timelines_are_read_from_both_ends_and_in_chunks() {
    on(async |bench| {
        let (a, b, none) = (key("A", "S"), key("B", "S"), key("C", "S"));
        let direct = Outcome {
            fx: Some(FxRate::direct(amount("0.0000000001"))),
            fate: Fate::Applied(costs()),
        };
        let rows = vec![
            timeline(&a, "1", 1, applied()),
            timeline(&a, "2", 2, None),
            timeline(&a, "3", 2, parked(ParkReason::NoFx)),
            timeline(&a, "4", 3, Some(direct)),
            timeline(&b, "5", 1, None),
        ];
        bench.run(UpsertTimeline { new: vec![], rows: rows.clone() }).await;
        let keys = vec![b.clone(), none.clone(), a.clone()];
        let tails = bench.run(ReadTimelineTails { keys: keys.clone() }).await;
        let tail = |row: &TimelineRow| (row.key.clone(), row.place.clone());
        assert_eq!(tails, [tail(&rows[4]), tail(&rows[3])]);
        let heads = bench.run(ReadTimelineHeads { keys }).await;
        assert_eq!(heads, [rows[4].clone(), rows[0].clone()]);
        let ranges = vec![(b.clone(), None), (a.clone(), Some(place("1", 1)))];
        let chunks = bench.run(ReadTimelineChunks { ranges, limit: 2 }).await;
        assert_eq!(chunks, [rows[4].clone(), rows[1].clone(), rows[2].clone()]);
        let ids = [(&b, "5"), (&a, "4"), (&a, "1"), (&a, "1"), (&b, "1")];
        let ids = ids.map(|(key, id)| (key.clone(), TransactionId::new(id))).into();
        let entries = bench.run(ReadTimelineEntries { ids }).await;
        assert_eq!(entries, [rows[0].clone(), rows[3].clone(), rows[4].clone()]);
        let keys = vec![(b.clone(), Date::FIRST), (a.clone(), date(2))];
        let rates = bench.run(ReadTimelineRates { keys }).await;
        let folded = |at: usize| TimelineRate {
            key: a.clone(),
            place: rows[at].place.clone(),
            trade_currency: "CHF".into(),
            fx: rows[at].outcome.as_ref().and_then(|outcome| outcome.fx),
        };
        assert_eq!(rates, [folded(2), folded(3)]);
    });
}

#[test]
fn a_timeline_row_is_replaced_and_a_transaction_has_one_place() {
    on(async |bench| {
        let k = key("A", "S");
        bench
            .run(UpsertTimeline { new: vec![], rows: vec![timeline(&k, "1", 1, applied())] })
            .await;
        let mut changed = timeline(&k, "1", 1, None);
        changed.terms.policy = None;
        changed.correlation_id = None;
        bench.run(UpsertTimeline { new: vec![], rows: vec![changed.clone()] }).await;
        assert_eq!(bench.run(ReadTimelineHeads { keys: vec![k.clone()] }).await, [changed]);
        let elsewhere = vec![timeline(&k, "1", 2, None)];
        let refused =
            bench.store.query(UpsertTimeline { new: vec![], rows: elsewhere.clone() }).await;
        let index = "position_timeline_transaction_id_key".to_owned();
        assert_eq!(refused, Err(StoreError::UniqueViolation(index)));
        bench.run(DeleteTimeline { places: vec![(k.clone(), place("1", 1))] }).await;
        bench.run(UpsertTimeline { new: vec![], rows: elsewhere.clone() }).await;
        assert_eq!(bench.run(ReadTimelineHeads { keys: vec![k] }).await, elsewhere);
    });
}

#[test]
fn new_rows_of_a_timeline_are_refused_where_there_are_some() {
    on(async |bench| {
        let k = key("A", "S");
        let new = vec![timeline(&k, "1", 1, applied())];
        bench.run(UpsertTimeline { new: new.clone(), rows: vec![] }).await;
        let refused = bench.store.query(UpsertTimeline { new: new.clone(), rows: vec![] }).await;
        let index = "position_timeline_pkey".to_owned();
        assert_eq!(refused, Err(StoreError::UniqueViolation(index)));
        assert_eq!(bench.run(ReadTimelineHeads { keys: vec![k] }).await, new);
    });
}

#[test]
fn many_new_rows_of_a_timeline_are_written_as_few_are() {
    on(async |bench| {
        let k = key("é", "S");
        let direct = FxRate::direct(amount("1.25"));
        let cross = FxRate::cross(FxRate::inverse(amount("0.8")), direct);
        let outcomes = [
            None,
            applied(),
            parked(ParkReason::NoFx),
            Some(Outcome { fx: Some(direct), fate: Fate::Parked(ParkReason::NoLots) }),
            Some(Outcome { fx: Some(cross), fate: Fate::Applied(costs()) }),
        ];
        let row = |(n, outcome): (i32, &Option<Outcome>)| {
            let mut row = timeline(&k, &format!("{n:03}"), n / 9 + 1, outcome.clone());
            if n % 7 == 0 {
                row.terms.policy = None;
                row.correlation_id = None;
            }
            row
        };
        let rows: Vec<_> = (0..200).zip(outcomes.iter().cycle()).map(row).collect();
        let (old, new) = rows.split_at(50);
        bench.run(UpsertTimeline { new: vec![], rows: old.to_vec() }).await;
        bench.run(UpsertTimeline { new: new.to_vec(), rows: old.to_vec() }).await;
        let ranges = vec![(k, None)];
        assert_eq!(bench.run(ReadTimelineChunks { ranges, limit: 1_000 }).await, rows);
    });
}

#[test]
fn every_rate_comes_back_as_it_was_folded() {
    on(async |bench| {
        let k = key("A", "S");
        let (small, large) = (amount("0.0000000001"), amount("999999999999.9999999999"));
        let rates = [
            FxRate::ONE,
            FxRate::direct(small),
            FxRate::inverse(large),
            FxRate::cross(FxRate::inverse(large), FxRate::direct(small)),
            FxRate::cross(FxRate::direct(large), FxRate::direct(large)),
            FxRate::cross(FxRate::inverse(small), FxRate::inverse(large)),
        ];
        let rows: Vec<_> = (0..)
            .zip(rates)
            .map(|(at, fx)| {
                let fate = Fate::Parked(ParkReason::Overflow);
                timeline(&k, &format!("{at}"), at, Some(Outcome { fx: Some(fx), fate }))
            })
            .collect();
        bench.run(UpsertTimeline { new: vec![], rows: rows.clone() }).await;
        let ranges = vec![(k.clone(), None)];
        let read = bench.run(ReadTimelineChunks { ranges, limit: 99 }).await;
        assert_eq!(read, rows);
        for (row, fx) in read.iter().zip(rates) {
            let stored = row.outcome.as_ref().and_then(|outcome| outcome.fx).expect("stored");
            assert_eq!(stored.parts(), fx.parts());
        }
    });
}

async fn all_positions(bench: &super::Bench, k: &backdate_engine::domain::ids::Key) -> Vec<i64> {
    let keys = vec![(k.clone(), Epoch(99))];
    let (from, to) = (Date::FIRST, date(999));
    let rows = bench.run(ReadPositions { keys, from, to }).await;
    rows.iter().map(|row| (row.position.quantity.raw() / 10_i128.pow(10)) as i64).collect()
}

#[test]
fn history_is_unique_by_epoch_and_rewound_from_a_date() {
    on(async |bench| {
        let k = key("A", "S");
        let rows: Vec<HistoryRow> = vec![
            history(&k, "1", 1, 0, 10),
            history(&k, "2", 2, 0, 20),
            history(&k, "2", 2, 1, 21),
            history(&k, "3", 3, 0, 30),
        ];
        bench.run(InsertHistory { rows: rows.clone() }).await;
        let again = bench.store.query(InsertHistory { rows: rows[..1].to_vec() }).await;
        let index = "position_history_pkey".to_owned();
        assert_eq!(again, Err(StoreError::UniqueViolation(index)));
        assert_eq!(all_positions(bench, &k).await, [10, 20, 21, 30]);
        bench.run(DeleteHistory { ranges: vec![(k.clone(), Epoch(0), date(2))] }).await;
        assert_eq!(all_positions(bench, &k).await, [10, 21]);
    });
}

#[test]
fn a_prune_takes_what_later_epochs_have_outlived() {
    on(async |bench| {
        let (a, b) = (key("A", "S"), key("B", "S"));
        let mut rows = Vec::new();
        let mut snapshots = Vec::new();
        for (k, base) in [(&a, 0), (&b, 1000)] {
            for day in 1..=4 {
                for epoch in 0..=3 {
                    let units = base + i64::from(day) * 10 + i64::from(epoch);
                    rows.push(history(k, &format!("{day}"), day, epoch, units));
                    snapshots.push(snapshot(k, day, epoch, 1));
                }
            }
        }
        bench.run(InsertHistory { rows }).await;
        bench.run(CopySnapshots { rows: snapshots }).await;
        let epochs = [epoch(&a, 1, 4), epoch(&a, 2, 3), epoch(&a, 3, 1), epoch(&b, 1, 1)];
        // The lower date stays, whichever comes first.
        for row in epochs.into_iter().chain([epoch(&a, 2, 9), epoch(&a, 1, 2)]) {
            bench.run(UpsertEpochs { rows: vec![row] }).await;
        }
        bench.run(PruneEpochs { keys: vec![(a.clone(), Epoch(2))] }).await;
        let mut connection = super::faults::connect(bench).await;
        let left: Vec<(i32, i32)> = sqlx::query_as(
            "SELECT date - '2024-10-04'::date, epoch FROM daily_position_snapshots
            WHERE portfolio_id = 'A' ORDER BY 1, 2",
        )
        .fetch_all(&mut connection)
        .await
        .expect("read");
        // Epoch 0 up to day 1, epoch 1 up to day 2, epochs 2 and 3 whole.
        let expected: Vec<(i32, i32)> = (1..=4)
            .flat_map(|day| (0..=3).map(move |epoch| (day, epoch)))
            .filter(|(day, epoch)| match epoch {
                0 => *day < 2,
                1 => *day < 3,
                _ => true,
            })
            .collect();
        assert_eq!(left, expected);
        let history: Vec<(i32, i32)> = sqlx::query_as(
            "SELECT transaction_date::date - '2024-10-04'::date, epoch FROM position_history
            WHERE portfolio_id = 'A' ORDER BY 1, 2",
        )
        .fetch_all(&mut connection)
        .await
        .expect("read");
        assert_eq!(history, expected);
        let others: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM daily_position_snapshots WHERE portfolio_id = 'B'",
        )
        .fetch_one(&mut connection)
        .await
        .expect("read");
        assert_eq!(others, 16);
    });
}

/// Number and first day of each epoch of a key that is kept.
async fn cuts(bench: &super::Bench, k: &backdate_engine::domain::ids::Key) -> Vec<(i32, i32)> {
    let mut connection = super::faults::connect(bench).await;
    let text = "SELECT epoch, from_date - '2024-10-04'::date FROM position_epochs
        WHERE portfolio_id = $1 AND security_id = $2 ORDER BY epoch";
    let query = sqlx::query_as(text).bind(k.portfolio_id.as_str()).bind(k.security_id.as_str());
    query.fetch_all(&mut connection).await.expect("read")
}

#[test]
fn an_epoch_goes_that_cuts_off_no_more_than_a_later_one() {
    on(async |bench| {
        let k = key("A", "S");
        bench.add_keys(&[&k]).await;
        let note = async |number, day| {
            bench.run(UpsertEpochs { rows: vec![epoch(&k, number, day)] }).await;
            cuts(bench, &k).await
        };
        note(1, 6).await;
        assert_eq!(note(2, 8).await, [(1, 6), (2, 8)]);
        assert_eq!(note(3, 7).await, [(1, 6), (3, 7)], "epoch 2 was never served");
        let mut rows = bench.run(LockKeys { keys: vec![k.clone()], skip_locked: false }).await;
        rows[0].served_epoch = Epoch(3);
        bench.run(UpdateKeys { rows }).await;
        assert_eq!(note(4, 5).await, [(1, 6), (3, 7), (4, 5)], "readers of epoch 3 need them");
        bench.run(PruneEpochs { keys: vec![(k.clone(), Epoch(4))] }).await;
        assert_eq!(cuts(bench, &k).await, [(4, 5)]);
    });
}

#[test]
fn lots_are_kept_by_the_place_that_opened_them() {
    on(async |bench| {
        let (a, b) = (key("A", "S"), key("B", "S"));
        let pool = Lot { opened: Place::start_of(Date::FIRST), ..lot(&a, "x", 1).lot };
        let pool = LotRow { key: b.clone(), lot: pool };
        let rows = vec![lot(&a, "1", 1), lot(&a, "2", 2), pool.clone()];
        bench.run(UpsertLots { new: rows[1..].to_vec(), rows: rows[..1].to_vec() }).await;
        let keys = vec![(a.clone(), amount("100")), (b.clone(), amount("0"))];
        assert_eq!(bench.run(ReadLots { keys: keys.clone() }).await, rows);
        let first = rows[0].lot.quantity;
        let enough = vec![(a.clone(), first), (b.clone(), first)];
        assert_eq!(bench.run(ReadLots { keys: enough }).await, [rows[0].clone(), pool.clone()]);
        let more = vec![(a.clone(), first + amount("0.0000000001"))];
        assert_eq!(bench.run(ReadLots { keys: more }).await, rows[..2]);
        let mut less = rows[0].clone();
        less.lot.quantity = amount("0.5");
        bench.run(UpsertLots { new: vec![], rows: vec![less.clone()] }).await;
        let again = bench.store.query(UpsertLots { new: vec![less.clone()], rows: vec![] }).await;
        assert_eq!(again, Err(StoreError::UniqueViolation("position_lots_pkey".to_owned())));
        bench.run(DeleteLots { lots: vec![(a.clone(), place("2", 2))] }).await;
        assert_eq!(bench.run(ReadLots { keys: keys.clone() }).await, [less, pool.clone()]);
        bench.run(ResetLots { keys: vec![a.clone()] }).await;
        assert_eq!(bench.run(ReadLots { keys }).await, [pool]);
    });
}

#[test]
fn at_most_one_replay_of_a_key_is_open() {
    on(async |bench| {
        let (a, b, c) = (key("A", "S"), key("B", "S"), key("C", "S"));
        let rows = vec![replay(&a, None), replay(&b, Some(place("1", 1))), replay(&c, None)];
        bench.run(UpsertReplays { rows: rows.clone() }).await;
        let keys = vec![c.clone(), b.clone()];
        assert_eq!(bench.run(ReadReplays { keys }).await, rows[1..]);
        assert_eq!(bench.run(FindReplays { after: None, limit: 2 }).await, [a.clone(), b.clone()]);
        let next = bench.run(FindReplays { after: Some(a.clone()), limit: 9 }).await;
        assert_eq!(next, [b.clone(), c.clone()]);
        let moved = ReplayRow { epoch: Epoch(8), from_date: Date::FIRST, ..replay(&b, None) };
        bench.run(UpsertReplays { rows: vec![moved.clone()] }).await;
        bench.run(DeleteReplays { keys: vec![a.clone(), c.clone()] }).await;
        let all = bench.run(ReadReplays { keys: vec![a, b, c] }).await;
        assert_eq!(all, [moved]);
    });
}
