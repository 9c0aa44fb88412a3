//! One replica's log of a partition, and the sequence numbers of its idempotent producers.
//!
//! Follows KIP-98 (idempotent producer: producer id, epoch, sequence per partition), KIP-360 (a
//! producer that lost track bumps its epoch and starts at sequence 0), KIP-101 and KIP-279 (a
//! follower cuts off what the leader of a later epoch does not have) and, for what is deleted,
//! `retention.ms`, `retention.bytes` and KIP-107. Kafka deletes whole segments; here a segment is
//! one append. Producer ids do not expire.
//!
//! # Invariants
//! - `records[i].offset == start + i`.
//! - A batch that was appended once is not appended again while it is among its producer's last
//!   five, as many as a producer may have in flight.
//! - Leader epochs never fall along the log.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use backdate_engine::ports::log::{Headers, Record};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::Place;
use super::wire::{Batch, Payload, ProducerId};

/// Batches that a broker remembers per producer (`ProducerStateEntry.NUM_BATCHES_TO_RETAIN`).
const BATCHES_REMEMBERED: usize = 5;

/// The log of a partition.
#[derive(Debug, Default)]
pub(super) struct PartitionLog {
    /// The log start offset: what is below was deleted.
    start: u64,
    records: VecDeque<Rc<Record>>,
    producers: BTreeMap<u64, Sequences>,
    /// The appends, where somebody needs to know of them: other replicas, or retention.
    marks: Option<VecDeque<Mark>>,
}

/// One append (a record batch), in the log up to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Offset of its first record.
    pub(super) offset: u64,
    pub(super) stamp: Stamp,
    /// The producer with its first sequence and the one after the last; none of a late duplicate.
    pub(super) by: Option<(ProducerId, u64, u64)>,
}

/// By which leader something was appended, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    /// Leader epoch.
    pub(super) epoch: u32,
    pub(super) at_ms: u64,
}

/// What is kept of a log.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Retention {
    /// Appended since then.
    pub(super) since_ms: Option<u64>,
    /// So many bytes.
    pub(super) bytes: Option<u64>,
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
    /// An empty log that knows of its appends.
    pub(super) fn with_marks() -> Self {
        Self { marks: Some(VecDeque::new()), ..Self::default() }
    }

    /// The offset of the first record that is not deleted.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// The offset of the next record.
    pub(super) fn end(&self) -> u64 {
        self.start + self.records.len() as u64
    }

    /// The records from one offset to another, as far as they are there.
    pub(super) fn range(&self, from: u64, to: u64) -> Vec<Rc<Record>> {
        let to = self.index(to).min(self.records.len());
        self.records.range(self.index(from).min(to)..to).cloned().collect()
    }

    /// Appends a batch, unless it is a retry or comes out of turn.
    pub(super) fn append(
        &mut self,
        place: Place,
        stamp: Stamp,
        by: ProducerId,
        batch: &Batch<'_>,
    ) -> Verdict {
        let after = batch.sequence + batch.records.len() as u64;
        let verdict = self.judge(by, batch.sequence, after);
        if verdict != Verdict::Appended {
            return verdict;
        }
        let by = (by, batch.sequence, after);
        self.remember(by);
        self.mark(Mark { offset: self.end(), stamp, by: Some(by) });
        for payload in &batch.records {
            self.push(place, payload);
        }
        verdict
    }

    /// Appends a stored record once more, as a non-idempotent retry does; none if there is no such
    /// record.
    pub(super) fn duplicate(&mut self, stamp: Stamp, offset: u64) -> Option<Rc<Record>> {
        let mut copy = Record::clone(self.range(offset, offset + 1).first()?);
        copy.offset = self.end();
        self.mark(Mark { offset: copy.offset, stamp, by: None });
        self.records.push_back(Rc::new(copy));
        self.records.back().cloned()
    }

    /// Appends what the leader has, mark by mark, as its follower.
    pub(super) fn copy(&mut self, place: Place, marks: &[Mark], payloads: &[Payload<'_>]) {
        for mark in marks {
            mark.by.into_iter().for_each(|by| self.remember(by));
            self.mark(*mark);
        }
        for payload in payloads {
            self.push(place, payload);
        }
    }

    /// Whole appends from an offset on, that many records or a little more.
    pub(super) fn slice(&self, from: u64, records: u64) -> (Vec<Mark>, Vec<Rc<Record>>) {
        let (Some(marks), true) = (&self.marks, from < self.end()) else {
            return (Vec::new(), Vec::new());
        };
        let first = marks.partition_point(|mark| mark.offset <= from).saturating_sub(1);
        let mut slice = Vec::new();
        let mut to = self.end();
        for mark in marks.range(first..) {
            if mark.offset >= from + records {
                to = mark.offset;
                break;
            }
            slice.push(Mark { offset: mark.offset.max(from), ..*mark });
        }
        (slice, self.range(from, to))
    }

    /// The leader epoch of the record before an offset.
    pub(super) fn epoch_before(&self, offset: u64) -> Option<u32> {
        let marks = self.marks.as_ref()?;
        let after = marks.partition_point(|mark| mark.offset < offset);
        marks.get(after.checked_sub(1)?).map(|mark| mark.stamp.epoch)
    }

    /// The largest epoch up to that one, and the offset after its last record
    /// (`OffsetForLeaderEpoch`).
    pub(super) fn end_of_epoch(&self, epoch: u32) -> Option<(u32, u64)> {
        let marks = self.marks.as_ref()?;
        let after = marks.partition_point(|mark| mark.stamp.epoch <= epoch);
        let last = marks.get(after.checked_sub(1)?)?;
        Some((last.stamp.epoch, marks.get(after).map_or(self.end(), |next| next.offset)))
    }

    /// Cuts off everything from an offset on.
    pub(super) fn truncate(&mut self, to: u64) {
        let Some(marks) = &mut self.marks else { return };
        while marks.back().is_some_and(|mark| mark.offset >= to) {
            marks.pop_back();
        }
        self.records.truncate(usize::try_from(to.saturating_sub(self.start)).unwrap_or(usize::MAX));
        self.start = self.start.min(to);
        let known: Vec<_> = marks.iter().filter_map(|mark| mark.by).collect();
        self.producers.clear();
        known.into_iter().for_each(|by| self.remember(by));
    }

    /// Begins anew at an offset: the leader has deleted what stands before.
    pub(super) fn restart(&mut self, start: u64) {
        self.records.clear();
        self.producers.clear();
        self.marks.iter_mut().for_each(VecDeque::clear);
        self.start = start;
    }

    /// Deletes what is below an offset.
    pub(super) fn delete_before(&mut self, offset: u64) {
        let gone = self.index(offset).min(self.records.len());
        self.records.drain(..gone);
        self.start += gone as u64;
        if let Some(marks) = &mut self.marks {
            // The first append may be deleted in part.
            while marks.get(1).is_some_and(|next| next.offset <= self.start) {
                marks.pop_front();
            }
            if self.records.is_empty() {
                marks.clear();
            }
        }
    }

    /// Deletes what need not be kept, append by append; never what is not below that offset.
    pub(super) fn retain(&mut self, below: u64, retention: Retention) {
        let size = |record: &Rc<Record>| (record.key.len() + record.value.len()) as u64;
        let mut bytes: u64 = match retention.bytes {
            Some(_) => self.records.iter().map(size).sum(),
            None => 0,
        };
        while let Some(marks) = &self.marks
            && let Some(first) = marks.front()
        {
            let next = marks.get(1).map(|next| next.offset);
            let end = next.unwrap_or(self.end());
            let own: u64 = self.range(self.start, end).iter().map(size).sum();
            let is_old = retention.since_ms.is_some_and(|since| first.stamp.at_ms < since);
            // Kafka never deletes for its size what is still being written to.
            let is_much = next.is_some() && retention.bytes.is_some_and(|max| bytes - own >= max);
            if end > below || !(is_old || is_much) {
                return;
            }
            bytes = bytes.saturating_sub(own);
            self.delete_before(end);
        }
    }

    fn index(&self, offset: u64) -> usize {
        usize::try_from(offset.saturating_sub(self.start)).expect("a log fits in memory")
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

    fn remember(&mut self, (by, first, after): (ProducerId, u64, u64)) {
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
        producer.batches.push_back((first, after));
    }

    fn mark(&mut self, mark: Mark) {
        if let Some(marks) = &mut self.marks {
            debug_assert!(marks.back().is_none_or(|last| last.stamp.epoch <= mark.stamp.epoch));
            marks.push_back(mark);
        }
    }

    fn push(&mut self, place: Place, payload: &Payload<'_>) {
        let headers = Headers {
            correlation_id: payload.correlation_id.map(SmolStr::new),
            producer: payload.producer.map(SmolStr::new),
        };
        self.records.push_back(Rc::new(Record {
            topic: place.0,
            partition: place.1,
            offset: self.end(),
            key: SmolStr::new(payload.key),
            value: payload.value.to_vec(),
            headers,
        }));
    }
}

#[cfg(test)]
mod tests;
