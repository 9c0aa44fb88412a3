//! Claims about the order that is made of what witnesses saw.

use backdate_engine::ports::log::Headers;
use backdate_engine::ports::store::rows::OutboxRow;

use super::*;

const MS: i64 = 1_000_000;

fn outbox(id: u64, payload: &str, deleted: bool) -> Change {
    let row = OutboxRow {
        id,
        lane: 0,
        topic: Topic::MarketPricePersisted,
        key: "S".into(),
        payload: payload.to_owned(),
        correlation_id: None,
    };
    Change { row: Row::Outbox(Rc::new(row)), deleted }
}

/// A round that began after all that it brings.
fn round() -> Round {
    Round { began: 1_000 * MS, ..Round::default() }
}

fn own(at: i64, process: &str, kind: EventKind) -> Own {
    Own { at, process: process.into(), kind, flushed: None }
}

fn commit(at_us: i64, change: Change) -> Commit {
    Commit { lsn: at_us.cast_unsigned(), at: at_us, changes: vec![change] }
}

fn seen(topic: Topic, offset: u64, made_ms: i64, value: &str) -> Seen {
    let headers = Headers { correlation_id: None, producer: Some("outbox-dispatcher-2".into()) };
    let value = value.as_bytes().to_vec();
    let record = Record { topic, partition: 0, offset, key: "S".into(), value, headers };
    Seen { made_ms, record: Rc::new(record) }
}

/// What happened, a word an event.
fn words(events: &[Event]) -> Vec<String> {
    let word = |event: &Event| match &event.kind {
        EventKind::Appended(record) => format!("append {}", record.offset),
        EventKind::Committed { client, changes, .. } => match changes[0].deleted {
            true => format!("cross off by {client}"),
            false => "write".to_owned(),
        },
        EventKind::OffsetsCommitted { .. } => "position".to_owned(),
        EventKind::InputAcknowledged { .. } => "acknowledge".to_owned(),
        other => format!("{other:?}"),
    };
    events.iter().map(word).collect()
}

#[test]
fn an_event_is_appended_after_it_was_written_and_before_it_is_crossed_off() {
    let mut merge = Merge::new(0);
    // All in one millisecond, whose beginning is all that a record tells.
    let seen = Round {
        commits: vec![commit(5_100, outbox(1, "a", false)), commit(5_900, outbox(1, "a", true))],
        records: vec![seen(Topic::MarketPricePersisted, 0, 5, "a")],
        ..round()
    };
    let events = merge.take(seen);
    assert_eq!(words(&events), ["write", "append 0", "cross off by outbox-dispatcher-2"]);
    assert!(events.iter().zip(0..).all(|(event, seq)| event.seq == seq));
    assert!(events.is_sorted_by_key(|event| event.at));
}

#[test]
fn an_event_waits_for_the_round_that_brings_its_transaction() {
    let mut merge = Merge::new(0);
    let early = Round {
        records: vec![
            seen(Topic::MarketPricePersisted, 0, 5, "a"),
            seen(Topic::MarketPrices, 0, 6, "a"),
        ],
        ..round()
    };
    assert_eq!(words(&merge.take(early)), ["append 0"], "what came from outside waits for nothing");
    let late = Round { commits: vec![commit(5_100, outbox(1, "a", false))], ..round() };
    assert_eq!(words(&merge.take(late)), ["write", "append 0"]);
}

#[test]
fn a_record_that_nobody_wrote_is_shown_all_the_same() {
    let mut merge = Merge::new(0);
    let records = vec![seen(Topic::ValuationRequired, 7, 5, "forged")];
    assert!(merge.take(Round { records, ..round() }).is_empty());
    assert_eq!(words(&merge.take(round())), ["append 7"]);
}

#[test]
fn an_input_stands_before_its_acknowledgement_whatever_it_looks_like() {
    let mut merge = Merge::new(0);
    let acknowledged = EventKind::InputAcknowledged { id: 1 };
    let seen = Round {
        own: vec![own(5 * MS + 200, "client-1", acknowledged)],
        // The event that follows from it has the same payload and comes later.
        commits: vec![commit(9_000, outbox(1, "a", false))],
        records: vec![seen(Topic::MarketPrices, 0, 5, "a")],
        ..round()
    };
    assert_eq!(words(&merge.take(seen)), ["append 0", "acknowledge", "write"]);
}

#[test]
fn transactions_keep_the_order_in_which_they_committed() {
    let mut merge = Merge::new(0);
    let seen = Round {
        commits: vec![commit(5_900, outbox(1, "a", false)), commit(5_800, outbox(2, "b", true))],
        ..round()
    };
    assert_eq!(words(&merge.take(seen)), ["write", "cross off by outbox-dispatcher"]);
}

#[test]
fn what_happened_after_a_round_began_waits_for_what_others_saw_before_it() {
    let mut merge = Merge::new(0);
    let commits = vec![commit(4_000, outbox(1, "a", false)), commit(7_000, outbox(1, "a", true))];
    assert_eq!(words(&merge.take(Round { began: 5 * MS, commits, ..round() })), ["write"]);
    let acknowledged = EventKind::InputAcknowledged { id: 1 };
    let late = Round { own: vec![own(6 * MS, "client-1", acknowledged)], ..round() };
    assert_eq!(words(&merge.take(late)), ["acknowledge", "cross off by outbox-dispatcher"]);
}

#[test]
fn a_read_that_may_have_come_before_what_it_is_placed_after_is_left_out() {
    let mut merge = Merge::new(0);
    let read = |at: i64, flushed: u64| {
        let kind = EventKind::Read { portfolio_id: "P".into(), positions: Vec::new() };
        Own { flushed: Some(flushed), ..own(at, "reader-1", kind) }
    };
    // The first is placed after a commit record at 5,000 that nobody could see yet; so the second,
    // which began when the log was on disk up to 4,999, may not have seen it either.
    let commits = vec![commit(5_000, outbox(1, "a", false))];
    let own = vec![read(6 * MS, 4_000), read(7 * MS, 4_999), read(8 * MS, 5_001)];
    let events = merge.take(Round { commits, own, ..round() });
    assert_eq!(
        events.iter().map(|event| event.at.0).collect::<Vec<_>>(),
        [5_000_000, 6_000_000, 8_000_000]
    );
}
