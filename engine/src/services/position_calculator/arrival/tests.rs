//! The five cases, each as the contract words it.

use super::*;
use crate::domain::ids::{Currency, Epoch, Revision, TransactionId};
use crate::domain::money::Amount;
use crate::domain::records::TransactionType;
use crate::domain::records::{CostMethod, FoldTerms, KeyStatus, Terms, Transaction};

fn date(text: &str) -> Date {
    Date::parse(text).expect("a date")
}

fn buy(id: &str, day: &str) -> TransactionRow {
    let terms = Terms {
        at: date(day).start(),
        kind: TransactionType::Buy,
        quantity: Amount::from_units(10),
        price: Amount::from_units(1),
        gross: Amount::from_units(10),
        fee: Amount::ZERO,
        accrued_interest: Amount::ZERO,
        policy: None,
        trade_currency: Currency::new("USD"),
        currency: Currency::new("USD"),
    };
    TransactionRow {
        transaction: Transaction {
            transaction_id: TransactionId::new(id),
            key: Key::new("P", "S"),
            instrument_id: "S".into(),
            settlement_date: None,
            terms,
        },
        source_version: 0,
        correlation_id: None,
    }
}

/// A key that holds one purchase of 2025-03-10, valued through and with its watermark as given.
fn held(valued_through: Option<&str>, watermark: &str) -> Work {
    let terms = FoldTerms { base_currency: Currency::new("USD"), method: CostMethod::Fifo };
    let first = buy("T1", "2025-03-10");
    let place = place_of(&first);
    let mut fold = Fold::new(Some(CostMethod::Fifo), Position::default(), Vec::new());
    fold.apply(&place, &first.transaction.terms, Some(crate::domain::money::FxRate::ONE));
    let state = KeyState {
        key: Key::new("P", "S"),
        epoch: Epoch(3),
        revision: Revision(7),
        watermark_date: date(watermark),
        valued_through: valued_through.map(date),
        status: KeyStatus::Current,
        served_epoch: Epoch(3),
        input_version: 5,
        fold_terms: Some(terms),
        position: fold.position(),
        updated_at: date(watermark).start(),
    };
    Work {
        before: state.clone(),
        state,
        touched: false,
        tail: Some(place),
        replay: None,
        fold,
        arrivals: Vec::new(),
    }
}

/// The same key in the middle of a replay from 2025-03-10 that has folded up to `cursor`.
fn replaying(cursor: Option<&str>) -> Work {
    let mut work = held(Some("2025-03-20"), "2025-03-09");
    work.state.status = KeyStatus::Reprocessing;
    work.replay = Some(ReplayRow {
        key: work.state.key.clone(),
        epoch: work.state.epoch,
        from_date: date("2025-03-10"),
        cursor: cursor
            .map(|day| Place::of(&TransactionId::new("T5"), &buy("", day).transaction.terms)),
    });
    work
}

fn arrive_new(work: &mut Work, id: &str, day: &str) -> Writes {
    let mut writes = Writes::default();
    arrive(work, buy(id, day), None, &FxTable::default(), &mut writes, 1);
    writes
}

/// Epoch, revision, watermark and status after an arrival.
fn outcome(work: &Work) -> (u32, u64, String, KeyStatus) {
    let state = &work.state;
    (state.epoch.0, state.revision.0, state.watermark_date.to_string(), state.status)
}

use KeyStatus::{Current, Reprocessing};

#[test]
fn beyond_the_cursor_of_a_replay_it_only_joins_the_timeline() {
    let mut work = replaying(Some("2025-03-12"));
    let writes = arrive_new(&mut work, "T9", "2025-03-13");
    assert_eq!(outcome(&work), (3, 7, "2025-03-09".into(), Reprocessing));
    assert_eq!(work.state.input_version, 6);
    assert!(writes.applied.is_empty() && writes.new_timeline.len() == 1);
}

#[test]
fn behind_the_cursor_of_a_replay_it_rewinds_and_lowers_the_first_date() {
    for (cursor, day, watermark) in
        [(Some("2025-03-12"), "2025-03-11", "2025-03-09"), (None, "2025-03-05", "2025-03-04")]
    {
        let mut work = replaying(cursor);
        let mut writes = arrive_new(&mut work, "T9", day);
        assert_eq!(outcome(&work), (3, 8, watermark.into(), Reprocessing), "{day}");
        let replay = work.replay.expect("still open");
        assert_eq!((replay.from_date, replay.cursor), (date(day), None));
        let rewound = (work.state.key.clone(), Epoch(3), date(day));
        assert_eq!(writes.rebuilds.deleted_history, [rewound]);
        assert_eq!(writes.rebuilds.take_epochs()[0].from_date, date(day));
    }
}

#[test]
fn after_all_that_is_valued_it_is_appended_under_the_same_token() {
    for valued_through in [None, Some("2025-03-14")] {
        let mut work = held(valued_through, "2025-03-14");
        let writes = arrive_new(&mut work, "T2", "2025-03-15");
        assert_eq!(outcome(&work), (3, 7, "2025-03-14".into(), Current));
        assert_eq!(work.state.input_version, 6);
        assert_eq!(writes.applied[0].0.position.quantity, Amount::from_units(20));
        assert_eq!(writes.applied.len(), 1);
    }
}

#[test]
fn at_or_before_what_is_valued_or_the_watermark_an_append_invalidates() {
    for (valued_through, watermark, day, lowered) in [
        (Some("2025-03-14"), "2025-03-14", "2025-03-14", "2025-03-13"),
        (Some("2025-03-14"), "2025-03-11", "2025-03-14", "2025-03-11"),
        (Some("2025-03-11"), "2025-03-14", "2025-03-14", "2025-03-13"),
        (None, "2025-03-14", "2025-03-12", "2025-03-11"),
    ] {
        let mut work = held(valued_through, watermark);
        let writes = arrive_new(&mut work, "T2", day);
        assert_eq!(
            outcome(&work),
            (3, 8, lowered.into(), Reprocessing),
            "{valued_through:?} {day}"
        );
        assert_eq!(writes.applied[0].0.epoch, Epoch(3));
        assert!(work.replay.is_none());
    }
}

#[test]
fn before_the_end_of_the_timeline_a_rebuild_opens() {
    let mut work = held(Some("2025-03-14"), "2025-03-14");
    let writes = arrive_new(&mut work, "T0", "2025-03-07");
    assert_eq!(outcome(&work), (4, 8, "2025-03-06".into(), Reprocessing));
    assert_eq!(work.state.served_epoch, Epoch(3), "readers keep the complete version");
    let replay = work.replay.expect("open");
    assert_eq!((replay.epoch, replay.from_date), (Epoch(4), date("2025-03-07")));
    assert_eq!(writes.rebuilds.reset_lots, [work.state.key.clone()]);
    assert!(writes.applied.is_empty(), "the replay will write it");
}

#[test]
fn a_later_watermark_never_rises_by_an_invalidation() {
    let mut work = held(Some("2025-03-14"), "2025-03-01");
    arrive_new(&mut work, "T0", "2025-03-07");
    assert_eq!(work.state.watermark_date, date("2025-03-01"));
}

#[test]
fn an_amendment_rebuilds_from_the_earlier_of_its_two_places() {
    for (new_day, from) in [("2025-03-20", "2025-03-10"), ("2025-03-07", "2025-03-07")] {
        let mut work = held(Some("2025-03-14"), "2025-03-14");
        let before = buy("T1", "2025-03-10");
        let old = TimelineRow {
            key: work.state.key.clone(),
            place: place_of(&before),
            terms: before.transaction.terms,
            correlation_id: None,
            outcome: None,
        };
        let mut writes = Writes::default();
        let row = buy("T1", new_day);
        arrive(&mut work, row, Some(&old), &FxTable::default(), &mut writes, 1);
        assert_eq!(work.state.epoch, Epoch(4), "never appended");
        assert_eq!(work.replay.expect("open").from_date, date(from));
        assert_eq!(writes.deleted_timeline, [(work.state.key.clone(), old.place)]);
        assert_eq!(writes.timeline.len(), 1);
    }
}

#[test]
fn several_first_dates_of_one_epoch_in_a_batch_are_one_row() {
    let mut work = held(Some("2025-03-14"), "2025-03-14");
    let mut writes = arrive_new(&mut work, "T0", "2025-03-07");
    arrive(&mut work, buy("T3", "2025-03-05"), None, &FxTable::default(), &mut writes, 1);
    arrive(&mut work, buy("T4", "2025-03-06"), None, &FxTable::default(), &mut writes, 1);
    let (key, epoch) = (work.state.key, Epoch(4));
    let row = EpochRow { key, epoch, from_date: date("2025-03-05") };
    assert_eq!(writes.rebuilds.take_epochs(), [row]);
}

#[test]
fn what_a_batch_has_appended_is_left_to_the_replay_that_it_opens() {
    let mut work = held(Some("2025-03-14"), "2025-03-14");
    let amended = buy("T1", "2025-03-10");
    let old = TimelineRow {
        key: work.state.key.clone(),
        place: place_of(&amended),
        terms: amended.transaction.terms,
        correlation_id: None,
        outcome: None,
    };
    let mut writes = arrive_new(&mut work, "T2", "2025-03-15");
    assert_eq!((writes.applied.len(), work.state.epoch), (1, Epoch(3)));
    arrive(&mut work, buy("T1", "2025-03-16"), Some(&old), &FxTable::default(), &mut writes, 1);
    assert_eq!(work.state.epoch, Epoch(4));
    assert!(writes.applied.is_empty(), "nothing is written under the epoch that is over");
    let mut entries = writes.new_timeline.iter().chain(writes.timeline.values());
    assert!(entries.all(|entry| entry.outcome.is_none()));
    assert_eq!(work.replay.expect("open").from_date, date("2025-03-10"));
}
