//! A leader and its followers: who is how far, who is in sync, and what consumers may read.
//!
//! Follows the Kafka documentation on replication: the high watermark is where all that are in sync
//! are, and does not rise with fewer than `min.insync.replicas` (KIP-966); a follower that has not
//! caught up for `replica.lag.time.max.ms` is not in sync, and is again
//! when it has everything that the leader had when it began to lead (KIP-497, `isFollowerInSync`).

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use backdate_engine::ports::log::Record;
use backdate_reports::recording::SimTime;

use super::super::disk::Replica;
use super::super::log::Mark;
use super::super::wire::{Payload, ReplicaNews, ReplicaPosition, Replicated, Response, encode};
use super::super::{Place, millis};
use super::Broker;
use crate::world::sync::timeout;

/// Records of one partition in one answer to a follower.
const RECORDS_PER_PARTITION: u64 = 1_000;

/// A term as leader of a partition.
pub(super) struct Lead {
    epoch: u32,
    since: SimTime,
    /// The end of the log when it began.
    began: u64,
    followers: BTreeMap<u32, Follower>,
}

/// A follower as the leader sees it.
#[derive(Clone, Copy, Default)]
struct Follower {
    /// The end of its log.
    end: u64,
    caught_up_at: SimTime,
    asked_at: SimTime,
    /// The leader's end at that time.
    end_when_asked: u64,
}

impl Broker {
    /// Whether partitions have several replicas.
    pub(super) fn is_replicated(&self) -> bool {
        self.cluster.spec.replication > 1
    }

    /// Up to where consumers may read.
    pub(super) fn visible_end(&self, replica: &Replica) -> u64 {
        if self.is_replicated() { replica.high } else { replica.log.end() }
    }

    /// Raises the high watermark as far as all that are in sync are.
    pub(super) fn advance(&self, place: Place) {
        let end = self.cluster.disk.with_replica(place, self.id, |replica| replica.log.end());
        let end = end.expect("its leader has the partition");
        if !self.is_replicated() {
            return self.publish(place, end);
        }
        if !self.has_enough_replicas(place) {
            return;
        }
        let in_sync = self.cluster.controller.leadership(place).in_sync;
        let high = self.with_lead(place, |lead| {
            let reached = |broker: &u32| match *broker == self.id {
                true => end,
                false => lead.followers.get(broker).map_or(0, |follower| follower.end),
            };
            in_sync.iter().map(reached).min().unwrap_or(0)
        });
        let before = self.cluster.disk.with_replica(place, self.id, |replica| replica.high);
        if high > before {
            self.publish(place, high.unwrap_or(0));
        }
    }

    /// Answers a follower, at once if there is anything for it.
    pub(super) async fn replicate(&self, wait: Duration, from: &[ReplicaPosition]) -> Vec<u8> {
        if !from.iter().any(|position| self.has_news(position)) {
            let places = from.iter().map(|position| (position.topic, position.partition));
            let bell = self.followers.hang(places);
            timeout(&self.process, wait, bell.notified()).await;
        }
        let slices: Vec<_> = from.iter().map(|position| self.slice(position)).collect();
        let news = from.iter().zip(&slices).map(|(position, slice)| Replicated {
            topic: position.topic,
            partition: position.partition,
            leader_epoch: position.leader_epoch,
            news: match slice {
                Ok(slice) => ReplicaNews::Records {
                    high: slice.high,
                    start: slice.start,
                    marks: slice.marks.clone(),
                    records: slice.records.iter().map(|record| Payload::of(record)).collect(),
                },
                Err(refusal) => match *refusal {
                    Refusal::Fenced => ReplicaNews::Fenced,
                    Refusal::Diverging { epoch, end } => ReplicaNews::Diverging { epoch, end },
                    Refusal::OutOfRange { start } => ReplicaNews::OutOfRange { start },
                },
            },
        });
        encode(&Response::Replicated(news.collect()))
    }

    /// Proposes that followers which are too far behind are not in sync any more.
    pub(super) fn shrink(&self, place: Place) {
        let leadership = self.cluster.controller.leadership(place);
        let end = self.cluster.disk.with_replica(place, self.id, |replica| replica.log.end());
        let (end, now) = (end.unwrap_or(0), self.process.now());
        let lag = millis(self.cluster.spec.timings.replica_lag_ms);
        let kept = self.with_lead(place, |lead| {
            let is_kept = |broker: &u32| {
                let known = lead.followers.get(broker).copied();
                let follower =
                    known.unwrap_or(Follower { caught_up_at: lead.since, ..Follower::default() });
                *broker == self.id || follower.end == end || now.since(follower.caught_up_at) <= lag
            };
            leadership.in_sync.iter().copied().filter(is_kept).collect::<Vec<u32>>()
        });
        if let Some(kept) = kept.filter(|kept| kept.len() < leadership.in_sync.len()) {
            self.cluster.controller.alter_in_sync(place, self.id, leadership.epoch, &kept);
            self.advance(place);
        }
    }

    /// The term in which this broker leads a partition, if it does.
    fn with_lead<T>(&self, place: Place, apply: impl FnOnce(&mut Lead) -> T) -> Option<T> {
        let leadership = self.cluster.controller.leadership(place);
        if leadership.leader != Some(self.id) {
            return None;
        }
        let mut leads = self.leads.borrow_mut();
        if leads.get(&place).is_none_or(|lead| lead.epoch != leadership.epoch) {
            let end = self.cluster.disk.with_replica(place, self.id, |replica| replica.log.end());
            let (epoch, since) = (leadership.epoch, self.process.now());
            let began = end.unwrap_or(0);
            leads.insert(place, Lead { epoch, since, began, followers: BTreeMap::new() });
        }
        leads.get_mut(&place).map(apply)
    }

    /// Takes note of how far a follower is, and of one that has caught up.
    pub(super) fn note_progress(&self, id: u32, position: &ReplicaPosition) {
        let place = (position.topic, position.partition);
        if self.refusal(position).is_some() {
            return;
        }
        let ends = |replica: &mut Replica| (replica.log.end(), replica.high);
        let (end, high) = self.cluster.disk.with_replica(place, self.id, ends).unwrap_or_default();
        let now = self.process.now();
        let began = self.with_lead(place, |lead| {
            let first = Follower { caught_up_at: lead.since, ..Follower::default() };
            let follower = lead.followers.entry(id).or_insert(first);
            if position.offset >= end {
                follower.caught_up_at = now;
            } else if position.offset >= follower.end_when_asked {
                follower.caught_up_at = follower.caught_up_at.max(follower.asked_at);
            }
            (follower.end, follower.asked_at, follower.end_when_asked) =
                (position.offset, now, end);
            lead.began
        });
        let Some(began) = began else { return };
        let leadership = self.cluster.controller.leadership(place);
        if !leadership.in_sync.contains(&id) && position.offset >= high.max(began) {
            let mut in_sync = leadership.in_sync;
            in_sync.push(id);
            self.cluster.controller.alter_in_sync(place, self.id, leadership.epoch, &in_sync);
        }
        self.advance(place);
    }

    fn has_news(&self, position: &ReplicaPosition) -> bool {
        let place = (position.topic, position.partition);
        let end = self.cluster.disk.with_replica(place, self.id, |replica| replica.log.end());
        end.is_some_and(|end| end > position.offset) || self.refusal(position).is_some()
    }

    fn slice(&self, position: &ReplicaPosition) -> Result<Slice, Refusal> {
        if let Some(refusal) = self.refusal(position) {
            return Err(refusal);
        }
        let place = (position.topic, position.partition);
        let slice = self.cluster.disk.with_replica(place, self.id, |replica| {
            let (marks, records) = replica.log.slice(position.offset, RECORDS_PER_PARTITION);
            Slice { high: replica.high, start: replica.log.start(), marks, records }
        });
        slice.ok_or(Refusal::Fenced)
    }

    /// Why a follower gets no records.
    fn refusal(&self, position: &ReplicaPosition) -> Option<Refusal> {
        let place = (position.topic, position.partition);
        let leadership = self.cluster.controller.leadership(place);
        if leadership.leader != Some(self.id) || leadership.epoch != position.leader_epoch {
            return Some(Refusal::Fenced);
        }
        let refusal = self.cluster.disk.with_replica(place, self.id, |replica| {
            let log = &replica.log;
            let start = log.start();
            if position.offset < start {
                return Some(Refusal::OutOfRange { start });
            }
            let agreed = match position.last_epoch {
                None => {
                    return (position.offset > log.end()).then_some(Refusal::OutOfRange { start });
                }
                Some(epoch) => (epoch, log.end_of_epoch(epoch)),
            };
            match agreed {
                (_, None) => Some(Refusal::OutOfRange { start }),
                (last, Some((epoch, end))) if epoch < last || end < position.offset => {
                    Some(Refusal::Diverging { epoch, end })
                }
                _ => None,
            }
        });
        refusal.unwrap_or(Some(Refusal::Fenced))
    }
}

/// What a follower gets.
struct Slice {
    high: u64,
    start: u64,
    marks: Vec<Mark>,
    records: Vec<Rc<Record>>,
}

/// Why a follower gets no records.
#[derive(Clone, Copy)]
enum Refusal {
    Fenced,
    Diverging { epoch: u32, end: u64 },
    OutOfRange { start: u64 },
}
