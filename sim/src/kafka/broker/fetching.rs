//! Fetches: which wait for data, what they get, and how much of it.

use std::rc::Rc;
use std::time::Duration;

use backdate_engine::ports::log::Position;

use super::super::wire::{Fetched, Payload, Response, encode};
use super::super::{Place, fair_shares};
use super::Broker;
use crate::world::sync::{Notify, timeout};

/// Payload of one partition in one answer (a quarter of `max.partition.fetch.bytes`, so that all
/// partitions together stay near it).
const FETCH_BYTES_PER_PARTITION: usize = 256 * 1024;

impl Broker {
    pub(super) async fn fetch(&self, wait: Duration, max: usize, from: &[Position]) -> Vec<u8> {
        if let Some(foreign) = from.iter().find(|p| !self.leads((p.topic, p.partition))) {
            let topic = foreign.topic;
            return encode(&Response::Unsupported(format!("leaders that move ({topic})")));
        }
        if self.available(from).iter().all(|&records| records == 0) {
            let bell = Rc::new(Notify::default());
            self.enlist(&bell, from);
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
            let end = self.cluster.disk.with_log(place, |log| log.end());
            let records = end.unwrap_or(0).saturating_sub(position.next_offset);
            usize::try_from(records).expect("a log fits in memory")
        };
        from.iter().map(behind).collect()
    }

    fn read(&self, from: &[Position], shares: &[usize]) -> Vec<u8> {
        let mut slices = Vec::new();
        for (position, &share) in from.iter().zip(shares) {
            let place = (position.topic, position.partition);
            let first = usize::try_from(position.next_offset).expect("a log fits in memory");
            let slice = self.cluster.disk.with_log(place, |log| match share {
                0 if first > log.records.len() => None,
                0 => Some(Vec::new()),
                _ => Some(log.records[first..first + share].to_vec()),
            });
            match slice.flatten() {
                None => return encode(&Response::Unsupported("offset reset".into())),
                Some(records) if records.is_empty() => {}
                Some(records) => slices.push((position, records)),
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
            let payloads = records.iter().map(|record| Payload {
                key: &record.key,
                value: &record.value,
                correlation_id: record.headers.correlation_id.as_deref(),
                producer: record.headers.producer.as_deref(),
            });
            Fetched {
                topic: position.topic,
                partition: position.partition,
                offset: position.next_offset,
                records: payloads.take_while(fits).collect(),
            }
        });
        encode(&Response::Fetched(fetched.collect()))
    }

    /// Puts a fetch on the list of those to be woken by an append.
    fn enlist(&self, bell: &Rc<Notify>, from: &[Position]) {
        let mut fetches = self.fetches.borrow_mut();
        for position in from {
            let place = (position.topic, position.partition);
            let waiting = fetches.entry(place).or_default();
            waiting.retain(|bell| bell.strong_count() > 0);
            waiting.push(Rc::downgrade(bell));
        }
    }

    pub(super) fn wake(&self, place: Place) {
        if let Some(waiting) = self.fetches.borrow_mut().get_mut(&place) {
            let bells = waiting.drain(..).filter_map(|bell| bell.upgrade());
            bells.for_each(|bell| bell.notify_one());
        }
    }
}
