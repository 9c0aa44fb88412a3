//! Claims about a log.

use backdate_engine::ports::log::Topic;

use super::*;

const PLACE: Place = (Topic::MarketPrices, 0);
const STAMP: Stamp = Stamp { epoch: 0, at_ms: 0 };

fn batch(sequence: u64, values: &[&'static str]) -> Batch<'static> {
    let payload = |value: &&'static str| Payload {
        key: "k",
        value: value.as_bytes(),
        correlation_id: None,
        producer: Some("p-1"),
    };
    Batch {
        topic: PLACE.0,
        partition: PLACE.1,
        sequence,
        records: values.iter().map(payload).collect(),
    }
}

#[test]
fn a_retried_batch_is_appended_once() {
    let mut log = PartitionLog::default();
    let by = ProducerId { id: 1, epoch: 0 };
    for (sequence, values, verdict) in [
        (0, &["a", "b"][..], Verdict::Appended),
        (0, &["a", "b"][..], Verdict::Duplicate),
        (3, &["d"][..], Verdict::OutOfOrder),
        (2, &["c"][..], Verdict::Appended),
        (0, &["a", "b"][..], Verdict::Duplicate),
    ] {
        assert_eq!(log.append(PLACE, STAMP, by, &batch(sequence, values)), verdict);
    }
    let values: Vec<_> = log.records.iter().map(|r| r.value.as_slice()).collect();
    assert_eq!(values, [b"a", b"b", b"c"]);
}

#[test]
fn a_bumped_epoch_starts_over_and_shuts_the_old_one_out() {
    let mut log = PartitionLog::default();
    let old = ProducerId { id: 1, epoch: 0 };
    let new = ProducerId { id: 1, epoch: 1 };
    assert_eq!(log.append(PLACE, STAMP, old, &batch(0, &["a"])), Verdict::Appended);
    assert_eq!(log.append(PLACE, STAMP, new, &batch(1, &["b"])), Verdict::OutOfOrder);
    assert_eq!(log.append(PLACE, STAMP, new, &batch(0, &["b"])), Verdict::Appended);
    assert_eq!(log.append(PLACE, STAMP, old, &batch(1, &["c"])), Verdict::StaleEpoch);
    assert_eq!(log.end(), 2);
}

#[test]
fn a_new_producer_may_duplicate() {
    let mut log = PartitionLog::default();
    for id in [1, 2] {
        let by = ProducerId { id, epoch: 0 };
        assert_eq!(log.append(PLACE, STAMP, by, &batch(0, &["a"])), Verdict::Appended);
    }
    assert_eq!(log.duplicate(STAMP, 0).map(|copy| copy.offset), Some(2));
    assert_eq!(log.duplicate(STAMP, 9), None);
    assert_eq!(log.end(), 3);
}

/// A log with one batch of two records for each stamp.
fn grown(stamps: &[Stamp]) -> PartitionLog {
    let mut log = PartitionLog::with_marks();
    for (number, stamp) in (0..).zip(stamps) {
        let by = ProducerId { id: 1, epoch: 0 };
        assert_eq!(
            log.append(PLACE, *stamp, by, &batch(number * 2, &["a", "b"])),
            Verdict::Appended
        );
    }
    log
}

fn stamp(epoch: u32, at_ms: u64) -> Stamp {
    Stamp { epoch, at_ms }
}

#[test]
fn a_follower_becomes_what_the_leader_is_and_knows_its_producers() {
    let leader = grown(&[stamp(0, 1), stamp(0, 2), stamp(2, 3)]);
    let mut follower = PartitionLog::with_marks();
    while follower.end() < leader.end() {
        let (marks, records) = leader.slice(follower.end(), 1);
        let payloads: Vec<_> = records.iter().map(|record| Payload::of(record)).collect();
        follower.copy(PLACE, &marks, &payloads);
    }
    assert_eq!(follower.range(0, 9), leader.range(0, 9));
    assert_eq!(follower.epoch_before(6), Some(2));
    let by = ProducerId { id: 1, epoch: 0 };
    assert_eq!(follower.append(PLACE, stamp(3, 4), by, &batch(4, &["a", "b"])), Verdict::Duplicate);
    assert_eq!(follower.append(PLACE, stamp(3, 4), by, &batch(6, &["c"])), Verdict::Appended);
}

#[test]
fn epochs_have_ends_and_what_is_cut_off_is_forgotten() {
    let mut log = grown(&[stamp(1, 0), stamp(1, 0), stamp(4, 0)]);
    for (epoch, end) in [(0, None), (1, Some((1, 4))), (3, Some((1, 4))), (4, Some((4, 6)))] {
        assert_eq!(log.end_of_epoch(epoch), end, "{epoch}");
    }
    assert_eq!(
        (log.epoch_before(0), log.epoch_before(4), log.epoch_before(5)),
        (None, Some(1), Some(4))
    );
    log.truncate(4);
    assert_eq!((log.end(), log.end_of_epoch(4)), (4, Some((1, 4))));
    let by = ProducerId { id: 1, epoch: 0 };
    assert_eq!(log.append(PLACE, stamp(5, 0), by, &batch(4, &["c"])), Verdict::Appended);
    log.restart(9);
    assert_eq!((log.start(), log.end(), log.epoch_before(9)), (9, 9, None));
}

#[test]
fn retention_deletes_whole_appends_that_are_old_or_too_many_and_committed() {
    let log = || grown(&[stamp(0, 10), stamp(0, 20), stamp(0, 30)]);
    // Each record has a key of one byte and a value of one byte.
    for (since_ms, bytes, below, start) in [
        (Some(20), None, 6, 2),
        (Some(99), None, 6, 6),
        (Some(99), None, 3, 2),
        (None, Some(8), 6, 2),
        (None, Some(9), 6, 0),
        (None, Some(0), 6, 4),
        (None, None, 6, 0),
    ] {
        let mut log = log();
        log.retain(below, Retention { since_ms, bytes });
        assert_eq!(log.start(), start, "{since_ms:?} {bytes:?} {below}");
        assert_eq!(log.end(), 6);
        assert!(log.range(0, 9).first().is_none_or(|record| record.offset == start));
    }
    let mut log = log();
    log.delete_before(3);
    assert_eq!((log.start(), log.range(3, 6).len(), log.epoch_before(4)), (3, 3, Some(0)));
    assert_eq!(log.slice(3, 1).0[0].offset, 3);
}
