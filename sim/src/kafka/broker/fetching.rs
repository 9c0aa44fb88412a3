//! Fetches: which wait for data, what they get, and how much of it.

use std::time::Duration;

use backdate_engine::ports::log::Position;

use super::super::fair_shares;
use super::super::wire::{FetchError, Fetched, Payload, Response, encode};
use super::Broker;
use crate::world::sync::timeout;

/// Payload of one partition in one answer (a quarter of `max.partition.fetch.bytes`, so that all
/// partitions together stay near it).
const FETCH_BYTES_PER_PARTITION: usize = 256 * 1024;

impl Broker {
    /// Answers a consumer, at once if there is anything for it, or anything wrong with its fetch.
    pub(super) async fn fetch(&self, wait: Duration, max: usize, from: &[Position]) -> Vec<u8> {
        let is_wrong = from.iter().any(|position| self.fetch_error(position).is_some());
        if !is_wrong && self.available(from).iter().all(|&records| records == 0) {
            let places = from.iter().map(|position| (position.topic, position.partition));
            let bell = self.fetches.hang(places);
            timeout(&self.process, wait, bell.notified()).await;
        }
        let slowness = self.cluster.control.slowness(self.id);
        if !slowness.is_zero() {
            self.process.sleep(slowness).await;
        }
        let shares = fair_shares(&self.available(from), max, 0);
        self.work(shares.iter().sum()).await;
        self.read(from, &shares)
    }

    /// How many records lie behind each position.
    fn available(&self, from: &[Position]) -> Vec<usize> {
        let behind = |position: &Position| {
            let place = (position.topic, position.partition);
            let end = self.cluster.disk.with_replica(place, self.id, |r| self.visible_end(r));
            let records = end.unwrap_or(0).saturating_sub(position.next_offset);
            usize::try_from(records).expect("a log fits in memory")
        };
        from.iter().map(behind).collect()
    }

    /// Why a position cannot be read. Between the high watermark and the end of the log there is
    /// nothing yet, and nothing wrong.
    fn fetch_error(&self, position: &Position) -> Option<FetchError> {
        let place = (position.topic, position.partition);
        if !self.leads(place) {
            return Some(FetchError::NotLeader);
        }
        let ends = self.cluster.disk.with_replica(place, self.id, |replica| {
            (replica.log.start(), replica.log.end(), self.visible_end(replica))
        });
        let (start, end, visible) = ends.expect("its leader has the partition");
        let is_there = (start..=end).contains(&position.next_offset);
        (!is_there).then_some(FetchError::OutOfRange { start, end: visible })
    }

    fn read(&self, from: &[Position], shares: &[usize]) -> Vec<u8> {
        let (mut slices, mut errors) = (Vec::new(), Vec::new());
        for (position, &share) in from.iter().zip(shares) {
            let place = (position.topic, position.partition);
            if let Some(error) = self.fetch_error(position) {
                errors.push((place, error));
                continue;
            }
            let records = self.cluster.disk.with_replica(place, self.id, |replica| {
                let end = (position.next_offset + share as u64).min(self.visible_end(replica));
                replica.log.range(position.next_offset, end)
            });
            let records = records.unwrap_or_default();
            if !records.is_empty() {
                slices.push((position, records));
            }
        }
        let fetched = slices.iter().map(|(position, records)| {
            let mut bytes = 0;
            let fits = |payload: &Payload<'_>| {
                bytes += payload.key.len() + payload.value.len();
                // The first record always goes, however large it is (KIP-74).
                bytes <= FETCH_BYTES_PER_PARTITION
                    || bytes == payload.key.len() + payload.value.len()
            };
            Fetched {
                topic: position.topic,
                partition: position.partition,
                offset: position.next_offset,
                records: records.iter().map(|r| Payload::of(r)).take_while(fits).collect(),
            }
        });
        if errors.is_empty() {
            return encode(&Response::Fetched(fetched.collect()));
        }
        encode(&Response::FetchedInPart(fetched.collect(), errors))
    }
}
