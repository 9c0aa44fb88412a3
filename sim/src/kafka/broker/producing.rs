//! Appends, and how they are acknowledged: `acks=all` with `min.insync.replicas`.
//!
//! What is appended is recorded when it is acknowledged: no consumer sees it before, and a leader
//! that dies may take it along. With one replica both are the same.

use backdate_reports::recording::EventKind;

use super::super::log::{Stamp, Verdict};
use super::super::wire::{Batch, Produced, ProducerId, Response};
use super::super::{Place, millis};
use super::Broker;
use crate::world::sync::timeout;

/// A batch that other replicas must have before it is acknowledged.
struct Awaited {
    /// Its number in the request.
    number: usize,
    place: Place,
    epoch: u32,
    /// The high watermark must be there.
    end: u64,
}

impl Broker {
    /// Appends a stored record once more; false if there is none.
    pub(in super::super) fn duplicate(&self, place: Place, offset: u64) -> bool {
        let stamp = self.stamp(place);
        let copied = self.cluster.disk.with_replica(place, self.id, |replica| {
            let is_readable = offset < self.visible_end(replica);
            is_readable.then(|| replica.log.duplicate(stamp, offset)).flatten()
        });
        let is_copied = copied.flatten().is_some();
        if is_copied {
            self.note_append(place);
        }
        is_copied
    }

    /// A producer id, or the next epoch of one.
    pub(super) fn open_producer(&self, current: Option<ProducerId>) -> ProducerId {
        match current {
            Some(ProducerId { id, epoch }) => ProducerId { id, epoch: epoch + 1 },
            None => ProducerId { id: self.cluster.disk.next_producer(), epoch: 0 },
        }
    }

    /// Appends batches and waits until all replicas in sync have them.
    pub(super) async fn produce(&self, by: ProducerId, batches: &[Batch<'_>]) -> Response<'static> {
        let mut verdicts = Vec::with_capacity(batches.len());
        let mut awaited = Vec::new();
        for (number, batch) in batches.iter().enumerate() {
            let place = (batch.topic, batch.partition);
            let verdict = self.append(place, by, batch);
            if verdict == Produced::Done && self.is_replicated() {
                let end = self.cluster.disk.with_replica(place, self.id, |r| r.log.end());
                let (epoch, end) = (self.stamp(place).epoch, end.unwrap_or(0));
                awaited.push(Awaited { number, place, epoch, end });
            }
            verdicts.push(verdict);
        }
        let deadline = self.process.now() + millis(self.cluster.spec.timings.request_ms);
        for append in awaited {
            verdicts[append.number] = loop {
                if let Some(verdict) = self.acknowledgement(&append) {
                    break verdict;
                }
                if self.process.now() >= deadline {
                    break Produced::TimedOut;
                }
                let bell = self.fetches.hang(std::iter::once(append.place));
                // Another leader rings no bell here.
                let patience = millis(self.cluster.spec.timings.broker_heartbeat_ms);
                timeout(&self.process, patience, bell.notified()).await;
            };
        }
        Response::Produced(verdicts)
    }

    fn append(&self, place: Place, by: ProducerId, batch: &Batch<'_>) -> Produced {
        if !self.leads(place) {
            return Produced::NotLeader;
        }
        if self.is_replicated() && !self.has_enough_replicas(place) {
            return Produced::NotEnoughReplicas;
        }
        let stamp = self.stamp(place);
        let append = self
            .cluster
            .disk
            .with_replica(place, self.id, |replica| replica.log.append(place, stamp, by, batch));
        self.note_append(place);
        match append.expect("its leader has the partition") {
            Verdict::Appended | Verdict::Duplicate => Produced::Done,
            Verdict::StaleEpoch | Verdict::OutOfOrder => Produced::Refused,
        }
    }

    /// What has become of an append, once that is known.
    fn acknowledgement(&self, append: &Awaited) -> Option<Produced> {
        let leadership = self.cluster.controller.leadership(append.place);
        if leadership.leader != Some(self.id) || leadership.epoch != append.epoch {
            return Some(Produced::NotLeader);
        }
        let high = self.cluster.disk.with_replica(append.place, self.id, |r| r.high);
        (high.unwrap_or(0) >= append.end).then(|| match self.has_enough_replicas(append.place) {
            true => Produced::Done,
            false => Produced::NotEnoughReplicas,
        })
    }

    pub(super) fn has_enough_replicas(&self, place: Place) -> bool {
        let in_sync = self.cluster.controller.leadership(place).in_sync.len();
        in_sync >= self.cluster.spec.min_insync as usize
    }

    /// The epoch in which this broker appends, and the time.
    fn stamp(&self, place: Place) -> Stamp {
        let epoch = match self.is_replicated() {
            true => self.cluster.controller.leadership(place).epoch,
            false => 0,
        };
        Stamp { epoch, at_ms: self.process.now().0 / 1_000_000 }
    }

    /// Something may have been appended to a partition that this broker leads.
    fn note_append(&self, place: Place) {
        self.followers.ring(place);
        self.advance(place);
    }

    /// Records what consumers can read from now on, and tells those that wait for it.
    pub(super) fn publish(&self, place: Place, high: u64) {
        for record in self.cluster.disk.acknowledge(place, self.id, high) {
            self.process.record(EventKind::Appended(record));
        }
        self.fetches.ring(place);
    }
}
