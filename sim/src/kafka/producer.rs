//! An idempotent producer: a retry after a lost answer does not append twice.
//!
//! Follows KIP-98 (sequences per partition), KIP-91 (`delivery.timeout.ms`, after which the outcome
//! is unknown) and KIP-360 (after that the producer bumps its epoch, so that a request which is
//! still on its way cannot be appended behind newer records). One request per broker is in flight.
//! A producer that is made after a crash has another id: what it sends again is appended again.
//!
//! # Invariants
//! - Records of a partition are appended in the order of their sends.

use std::collections::BTreeMap;

use backdate_engine::ports::log::{LogError, LogProducer, NewRecord};
use backdate_reports::recording::SimTime;
use futures_util::future::join_all;

use super::Place;
use super::client::Client;
use super::link::Link;
use super::millis;
use super::wire::{Batch, Payload, Produced, ProducerId, Request, Response, decode, encode};

/// Payload of one request (a quarter of `max.request.size`, well above a batch of the engine).
const REQUEST_BYTES: usize = 256 * 1024;

/// A producer.
pub struct Producer {
    client: Client,
    id: Option<ProducerId>,
    /// The next sequence, by partition.
    sequences: BTreeMap<Place, u64>,
    links: BTreeMap<u32, Link>,
    /// Whether the outcome of the last send is unknown.
    is_lost: bool,
}

impl Producer {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            id: None,
            sequences: BTreeMap::new(),
            links: BTreeMap::new(),
            is_lost: false,
        }
    }

    /// Gets a producer id, or the next epoch of the one it has, from whichever broker answers.
    pub(super) async fn open(&mut self) -> Result<(), LogError> {
        let deadline = self.deadline();
        let frame = encode(&Request::OpenProducer { current: self.id });
        let mut failures = 0;
        let answer = loop {
            let broker = failures % self.client.spec.brokers + 1;
            let mut link = self.link(broker);
            let answer = link.call(&frame, self.client.patience(deadline)).await;
            self.links.insert(broker, link);
            match answer {
                Ok(answer) => break answer,
                Err(error) => {
                    failures += 1;
                    self.client.pause(failures, deadline, error).await?;
                }
            }
        };
        match decode(&answer) {
            Response::Producer(id) => {
                self.id = Some(id);
                self.sequences.clear();
                self.is_lost = false;
                Ok(())
            }
            other => Err(LogError::Unsupported(format!("{other:?} to a producer"))),
        }
    }

    fn deadline(&self) -> SimTime {
        self.client.process.now() + millis(self.client.spec.timings.delivery_ms)
    }

    fn link(&mut self, broker: u32) -> Link {
        let kept = self.links.remove(&broker);
        kept.unwrap_or_else(|| Link::new(self.client.process.clone(), broker))
    }

    /// Requests by broker, in order.
    fn requests(&mut self, id: ProducerId, records: &[NewRecord]) -> BTreeMap<u32, Vec<Vec<u8>>> {
        let mut by_place: BTreeMap<Place, Vec<&NewRecord>> = BTreeMap::new();
        for record in records {
            let partition = self.client.spec.partition_of(record.topic, &record.key);
            by_place.entry((record.topic, partition)).or_default().push(record);
        }
        let mut requests: BTreeMap<u32, Requests<'_>> = BTreeMap::new();
        for (place, records) in by_place {
            let sequence = self.sequences.entry(place).or_default();
            let broker = self.client.spec.leader_of(place.0, place.1);
            let requests = requests.entry(broker).or_default();
            for record in records {
                requests.push(id, place, *sequence, record);
                *sequence += 1;
            }
        }
        requests.into_iter().map(|(broker, requests)| (broker, requests.finish(id))).collect()
    }
}

impl LogProducer for Producer {
    async fn send(&mut self, records: Vec<NewRecord>) -> Result<(), LogError> {
        if records.is_empty() {
            return Ok(());
        }
        if self.is_lost {
            self.open().await?;
        }
        let id = self.id.expect("the client opens producers before it hands them out");
        let deadline = self.deadline();
        // Stays so if this call is dropped half-way.
        self.is_lost = true;
        let mut sends = Vec::new();
        for (broker, frames) in self.requests(id, &records) {
            let link = self.link(broker);
            sends.push(deliver(self.client.clone(), broker, link, frames, deadline));
        }
        let mut outcome = Ok(());
        for (broker, link, delivered) in join_all(sends).await {
            self.links.insert(broker, link);
            outcome = outcome.and(delivered);
        }
        self.is_lost = outcome.is_err();
        outcome
    }
}

/// Requests to one broker under construction.
#[derive(Default)]
struct Requests<'a> {
    done: Vec<Vec<u8>>,
    batches: Vec<Batch<'a>>,
    bytes: usize,
}

impl<'a> Requests<'a> {
    fn push(&mut self, by: ProducerId, place: Place, sequence: u64, record: &'a NewRecord) {
        let bytes = record.key.len() + record.value.len();
        if self.bytes + bytes > REQUEST_BYTES && self.bytes > 0 {
            self.cut(by);
        }
        self.bytes += bytes;
        let payload = Payload {
            key: &record.key,
            value: &record.value,
            correlation_id: record.headers.correlation_id.as_deref(),
            producer: record.headers.producer.as_deref(),
        };
        match self.batches.last_mut() {
            Some(batch) if (batch.topic, batch.partition) == place => batch.records.push(payload),
            _ => self.batches.push(Batch {
                topic: place.0,
                partition: place.1,
                sequence,
                records: vec![payload],
            }),
        }
    }

    fn cut(&mut self, by: ProducerId) {
        let batches = std::mem::take(&mut self.batches);
        self.done.push(encode(&Request::Produce(by, batches)));
        self.bytes = 0;
    }

    fn finish(mut self, by: ProducerId) -> Vec<Vec<u8>> {
        self.cut(by);
        self.done
    }
}

async fn deliver(
    client: Client,
    broker: u32,
    mut link: Link,
    frames: Vec<Vec<u8>>,
    deadline: SimTime,
) -> (u32, Link, Result<(), LogError>) {
    for frame in frames {
        let outcome = match insist(&client, &mut link, &frame, deadline).await {
            Ok(answer) => judge(&answer),
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            return (broker, link, outcome);
        }
    }
    (broker, link, Ok(()))
}

fn judge(answer: &[u8]) -> Result<(), LogError> {
    match decode(answer) {
        Response::Produced(verdicts) if verdicts.contains(&Produced::Refused) => {
            Err(LogError::Disconnected("the broker has lost track of this producer".into()))
        }
        Response::Produced(_) => Ok(()),
        Response::Unsupported(what) => Err(LogError::Unsupported(what)),
        other => Err(LogError::Unsupported(format!("{other:?} to a produce"))),
    }
}

/// Repeats a request until it is answered or the deadline has passed.
async fn insist(
    client: &Client,
    link: &mut Link,
    frame: &[u8],
    deadline: SimTime,
) -> Result<bytes::Bytes, LogError> {
    let mut failures = 0;
    loop {
        match link.call(frame, client.patience(deadline)).await {
            Ok(answer) => return Ok(answer),
            Err(error) => {
                failures += 1;
                client.pause(failures, deadline, error).await?;
            }
        }
    }
}
