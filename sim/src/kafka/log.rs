//! One partition's log, and the sequence numbers of its idempotent producers.
//!
//! Follows KIP-98 (idempotent producer: producer id, epoch, sequence per partition) and KIP-360
//! (a producer that lost track bumps its epoch and starts at sequence 0). It keeps no segments, no
//! retention and no expiry of producer ids.
//!
//! # Invariants
//! - `records[i].offset == i`.
//! - A batch that was appended once is not appended again while it is among its producer's last
//!   five, as many as a producer may have in flight.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use backdate_engine::ports::log::{Headers, Record};
use smol_str::SmolStr;

use super::Place;
use super::wire::{Batch, ProducerId};

/// Batches that a broker remembers per producer (`ProducerStateEntry.NUM_BATCHES_TO_RETAIN`).
const BATCHES_REMEMBERED: usize = 5;

/// The log of a partition.
#[derive(Debug, Default)]
pub(super) struct PartitionLog {
    pub(super) records: Vec<Rc<Record>>,
    producers: BTreeMap<u64, Sequences>,
}

/// What a producer has appended to a partition.
#[derive(Debug)]
struct Sequences {
    epoch: u32,
    /// (first, after the last) sequence of the last batches.
    batches: VecDeque<(u64, u64)>,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is in the log from now on.
    Appended,
    /// It was there already.
    Duplicate,
    /// Its producer's epoch is older than one that was seen (`INVALID_PRODUCER_EPOCH`).
    StaleEpoch,
    /// A batch before it is missing (`OUT_OF_ORDER_SEQUENCE_NUMBER`).
    OutOfOrder,
}

impl PartitionLog {
    /// The offset of the next record.
    pub(super) fn end(&self) -> u64 {
        self.records.len() as u64
    }

    /// Appends a batch, unless it is a retry or comes out of turn.
    pub(super) fn append(&mut self, place: Place, by: ProducerId, batch: &Batch<'_>) -> Verdict {
        let after = batch.sequence + batch.records.len() as u64;
        let verdict = self.judge(by, batch.sequence, after);
        if verdict != Verdict::Appended {
            return verdict;
        }
        let producer = self
            .producers
            .entry(by.id)
            .or_insert_with(|| Sequences { epoch: by.epoch, batches: VecDeque::new() });
        if producer.epoch != by.epoch {
            producer.epoch = by.epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == BATCHES_REMEMBERED {
            producer.batches.pop_front();
        }
        producer.batches.push_back((batch.sequence, after));
        for payload in &batch.records {
            let headers = Headers {
                correlation_id: payload.correlation_id.map(SmolStr::new),
                producer: payload.producer.map(SmolStr::new),
            };
            self.push(Record {
                topic: place.0,
                partition: place.1,
                offset: self.end(),
                key: SmolStr::new(payload.key),
                value: payload.value.to_vec(),
                headers,
            });
        }
        verdict
    }

    /// Appends a stored record once more, as a non-idempotent retry does; none if there is no such
    /// record.
    pub(super) fn duplicate(&mut self, offset: u64) -> Option<Rc<Record>> {
        let index = usize::try_from(offset).ok()?;
        let mut copy = Record::clone(self.records.get(index)?);
        copy.offset = self.end();
        self.push(copy);
        self.records.last().cloned()
    }

    fn judge(&self, by: ProducerId, first: u64, after: u64) -> Verdict {
        let next = match self.producers.get(&by.id) {
            Some(known) if by.epoch < known.epoch => return Verdict::StaleEpoch,
            Some(known) if by.epoch == known.epoch => {
                if known.batches.contains(&(first, after)) {
                    return Verdict::Duplicate;
                }
                known.batches.back().map_or(0, |last| last.1)
            }
            _ => 0,
        };
        if first == next { Verdict::Appended } else { Verdict::OutOfOrder }
    }

    fn push(&mut self, record: Record) {
        debug_assert_eq!(record.offset, self.end(), "offsets have no gaps");
        self.records.push(Rc::new(record));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::wire::Payload;
    use backdate_engine::ports::log::Topic;

    const PLACE: Place = (Topic::MarketPrices, 0);

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
            assert_eq!(log.append(PLACE, by, &batch(sequence, values)), verdict);
        }
        let values: Vec<_> = log.records.iter().map(|r| r.value.as_slice()).collect();
        assert_eq!(values, [b"a", b"b", b"c"]);
    }

    #[test]
    fn a_bumped_epoch_starts_over_and_shuts_the_old_one_out() {
        let mut log = PartitionLog::default();
        let old = ProducerId { id: 1, epoch: 0 };
        let new = ProducerId { id: 1, epoch: 1 };
        assert_eq!(log.append(PLACE, old, &batch(0, &["a"])), Verdict::Appended);
        assert_eq!(log.append(PLACE, new, &batch(1, &["b"])), Verdict::OutOfOrder);
        assert_eq!(log.append(PLACE, new, &batch(0, &["b"])), Verdict::Appended);
        assert_eq!(log.append(PLACE, old, &batch(1, &["c"])), Verdict::StaleEpoch);
        assert_eq!(log.end(), 2);
    }

    #[test]
    fn a_new_producer_may_duplicate() {
        let mut log = PartitionLog::default();
        for id in [1, 2] {
            let by = ProducerId { id, epoch: 0 };
            assert_eq!(log.append(PLACE, by, &batch(0, &["a"])), Verdict::Appended);
        }
        assert_eq!(log.duplicate(0).map(|copy| copy.offset), Some(2));
        assert_eq!(log.duplicate(9), None);
        assert_eq!(log.end(), 3);
    }
}
