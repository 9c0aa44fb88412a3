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
use super::metadata::{self, Metadata};
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
    metadata: Metadata,
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
            metadata: Metadata::default(),
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

    /// Batches by broker and request, in order.
    fn requests<'a>(&mut self, records: &'a [NewRecord]) -> BTreeMap<u32, Vec<Vec<Batch<'a>>>> {
        let mut by_place: BTreeMap<Place, Vec<&NewRecord>> = BTreeMap::new();
        for record in records {
            let partition = self.client.spec.partition_of(record.topic, &record.key);
            by_place.entry((record.topic, partition)).or_default().push(record);
        }
        let mut requests: BTreeMap<u32, Requests<'_>> = BTreeMap::new();
        for (place, records) in by_place {
            let sequence = self.sequences.entry(place).or_default();
            let broker = self.metadata.leader_of(&self.client, place);
            let requests = requests.entry(broker).or_default();
            for record in records {
                requests.push(place, *sequence, record);
                *sequence += 1;
            }
        }
        requests.into_iter().map(|(broker, requests)| (broker, requests.finish())).collect()
    }

    /// Sends requests to all brokers at the same time; the batches that are to be sent again, if
    /// their leaders have moved, and a broker that did not take one.
    async fn round<'a>(
        &mut self,
        id: ProducerId,
        requests: BTreeMap<u32, Vec<Vec<Batch<'a>>>>,
        deadline: SimTime,
    ) -> Result<Option<(u32, Vec<Batch<'a>>)>, LogError> {
        let mut sends = Vec::new();
        for (broker, requests) in requests {
            let link = self.link(broker);
            sends.push(deliver(self.client.clone(), id, broker, link, requests, deadline));
        }
        let (mut outcome, mut left) = (Ok(()), None);
        for (broker, link, delivered) in join_all(sends).await {
            self.links.insert(broker, link);
            match delivered {
                Ok(again) if again.is_empty() => {}
                Ok(again) => left.get_or_insert((broker, Vec::new())).1.extend(again),
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome.map(|()| left)
    }

    /// Batches of the last round, each to the leader that it has now; whole, as they were before,
    /// because a broker knows them by their sequences.
    fn again<'a>(&self, batches: Vec<Batch<'a>>) -> BTreeMap<u32, Vec<Vec<Batch<'a>>>> {
        let mut requests: BTreeMap<u32, Vec<Vec<Batch<'a>>>> = BTreeMap::new();
        for batch in batches {
            let broker = self.metadata.leader_of(&self.client, (batch.topic, batch.partition));
            requests.entry(broker).or_default().push(vec![batch]);
        }
        requests
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
        let mut requests = self.requests(&records);
        let mut failures = 0;
        let outcome = loop {
            let (failed, left) = match self.round(id, requests, deadline).await {
                Ok(Some(left)) => left,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            failures += 1;
            let moves = LogError::Disconnected("the leader of a partition moves".into());
            if let Err(error) = self.client.pause(failures, deadline, moves).await {
                break Err(error);
            }
            let places = left.iter().map(|batch| (batch.topic, batch.partition)).collect();
            self.metadata.learn(metadata::leaders(&self.client, failed, places).await);
            requests = self.again(left);
        };
        self.is_lost = outcome.is_err();
        outcome
    }
}

/// Requests to one broker under construction.
#[derive(Default)]
struct Requests<'a> {
    done: Vec<Vec<Batch<'a>>>,
    batches: Vec<Batch<'a>>,
    bytes: usize,
}

impl<'a> Requests<'a> {
    fn push(&mut self, place: Place, sequence: u64, record: &'a NewRecord) {
        let bytes = record.key.len() + record.value.len();
        if self.bytes + bytes > REQUEST_BYTES && self.bytes > 0 {
            self.cut();
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

    fn cut(&mut self) {
        self.done.push(std::mem::take(&mut self.batches));
        self.bytes = 0;
    }

    fn finish(mut self) -> Vec<Vec<Batch<'a>>> {
        self.cut();
        self.done
    }
}

/// Sends one request after the other; the batches that are to be sent again, in order. After a
/// batch that is not acknowledged nothing more is sent, so that none overtakes it.
async fn deliver<'a>(
    client: Client,
    by: ProducerId,
    broker: u32,
    mut link: Link,
    requests: Vec<Vec<Batch<'a>>>,
    deadline: SimTime,
) -> (u32, Link, Result<Vec<Batch<'a>>, LogError>) {
    let mut left = Vec::new();
    for batches in requests {
        if !left.is_empty() {
            left.extend(batches);
            continue;
        }
        let request = Request::Produce(by, batches);
        let frame = encode(&request);
        let Request::Produce(_, batches) = request else {
            unreachable!("it was made a moment ago");
        };
        let verdicts = match insist(&client, &mut link, &frame, deadline).await {
            Ok(answer) => judge(&answer),
            // Somebody else may lead by now, and has what was replicated.
            Err(LogError::Disconnected(_)) if client.is_replicated() => {
                left.extend(batches);
                continue;
            }
            Err(error) => Err(error),
        };
        match verdicts {
            Ok(verdicts) => {
                let verdicts = batches.into_iter().zip(verdicts);
                let again = verdicts.filter(|(_, verdict)| *verdict != Produced::Done);
                left.extend(again.map(|(batch, _)| batch));
            }
            Err(error) => return (broker, link, Err(error)),
        }
    }
    (broker, link, Ok(left))
}

fn judge(answer: &[u8]) -> Result<Vec<Produced>, LogError> {
    match decode(answer) {
        Response::Produced(verdicts) if verdicts.contains(&Produced::Refused) => {
            Err(LogError::Disconnected("the broker has lost track of this producer".into()))
        }
        Response::Produced(verdicts) => Ok(verdicts),
        Response::Unsupported(what) => Err(LogError::Unsupported(what)),
        other => Err(LogError::Unsupported(format!("{other:?} to a produce"))),
    }
}

/// Repeats a request until it is answered or the deadline has passed; once, if another broker may
/// lead by then.
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
            Err(error) if client.is_replicated() => return Err(error),
            Err(error) => {
                failures += 1;
                client.pause(failures, deadline, error).await?;
            }
        }
    }
}
