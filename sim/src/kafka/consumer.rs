//! A member of a consumer group: reads its partitions fairly, and rebalances within polls.
//!
//! Follows KIP-62 and KIP-41 (`max.poll.records`; fetched records wait in the client, partitions
//! take turns). There is no prefetch: a fetch is sent only by a poll that has nothing to deliver
//! from that broker, but one that is under way outlives the poll, and its answer goes to the next.
//!
//! # Invariants
//! - Records of a partition are delivered in offset order without gaps from where reading began.
//! - Nothing is delivered between the news of a rebalance and the next assignment.

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use backdate_engine::ports::log::{Headers, LogConsumer, LogError, Position, Record, Topic};
use bytes::Bytes;
use smol_str::SmolStr;

use super::client::Client;
use super::coordinator::Coordinator;
use super::link::Link;
use super::metadata::{self, Leaders, Metadata};
use super::wire::{FetchError, Fetched, Request, Response, decode, encode};
use super::{OffsetReset, Place, fair_shares, millis};
use crate::world::sync::timeout;

type Joining = Pin<Box<dyn Future<Output = Result<Vec<Position>, LogError>>>>;
type Fetching = Pin<Box<dyn Future<Output = Fetch>>>;

/// What a fetch has come to.
struct Fetch {
    link: Link,
    answer: Result<Bytes, LogError>,
    /// Who leads what, if the broker does not any more.
    leaders: Leaders,
}

/// A consumer.
pub struct Consumer {
    client: Client,
    coordinator: Rc<Coordinator>,
    joining: Option<Joining>,
    joins_failed: u32,
    feeds: BTreeMap<u32, Feed>,
    lanes: BTreeMap<Place, Lane>,
    metadata: Metadata,
    /// Counts up; says which partition comes first.
    turn: usize,
}

/// The connection to a broker.
enum Feed {
    Idle { link: Link, failures: u32 },
    Busy { fetching: Fetching, failures: u32 },
}

/// An assigned partition.
struct Lane {
    /// The next offset to be delivered.
    next: u64,
    /// What was fetched from there on.
    buffer: VecDeque<Record>,
    /// Whether it is left alone for now.
    is_paused: bool,
    /// Whether its position is nowhere, and no policy says where to begin.
    is_lost: bool,
}

/// What a poll has waited for.
enum News {
    Joined(Result<Vec<Position>, LogError>),
    Fetched(u32, Fetch),
    Standing,
}

impl Consumer {
    pub(super) fn new(client: Client, group: &str, topics: &[Topic]) -> Self {
        Self {
            coordinator: Coordinator::new(client.clone(), SmolStr::new(group), topics),
            client,
            joining: None,
            joins_failed: 0,
            feeds: BTreeMap::new(),
            lanes: BTreeMap::new(),
            metadata: Metadata::default(),
            turn: 0,
        }
    }

    /// The partitions that it has now, in order.
    pub fn assignment(&self) -> impl Iterator<Item = (Topic, u32)> + '_ {
        self.lanes.keys().copied()
    }

    fn rejoin_if_needed(&mut self) {
        if self.joining.is_some() || !self.coordinator.must_join() {
            return;
        }
        self.lanes.clear();
        let pause = match self.joins_failed {
            0 => Duration::ZERO,
            failures => self.client.spec.timings.backoff(failures),
        };
        let join = self.coordinator.clone().join();
        let process = self.client.process.clone();
        self.joining = Some(Box::pin(async move {
            if !pause.is_zero() {
                process.sleep(pause).await;
            }
            join.await
        }));
    }

    /// Asks each idle broker for the partitions that it leads, if none of them has records here.
    fn fetch_what_is_missing(&mut self, max: usize) {
        let spec = &self.client.spec;
        let mut wanted: BTreeMap<u32, (usize, Vec<Position>)> = BTreeMap::new();
        let read = self.lanes.iter().filter(|(_, lane)| !lane.is_paused && !lane.is_lost);
        for (&(topic, partition), lane) in read {
            let leader = self.metadata.leader_of(&self.client, (topic, partition));
            let broker = wanted.entry(leader).or_default();
            broker.0 += lane.buffer.len();
            broker.1.push(Position { topic, partition, next_offset: lane.next });
        }
        for (broker, (buffered, mut from)) in wanted {
            let process = &self.client.process;
            let feed = self.feeds.remove(&broker).unwrap_or_else(|| Feed::Idle {
                link: Link::new(process.clone(), broker),
                failures: 0,
            });
            let feed = match feed {
                Feed::Idle { link, failures } if buffered == 0 => {
                    let first = self.turn % from.len();
                    from.rotate_left(first);
                    let wait_ms = spec.timings.fetch_wait_ms;
                    let request = Request::Fetch { wait_ms, records_max: max as u64, from };
                    let pause = match failures {
                        0 => Duration::ZERO,
                        failures => spec.timings.backoff(failures),
                    };
                    let patience = millis(wait_ms) + self.client.request_timeout();
                    let fetching = fetch(self.client.clone(), link, request, pause, patience);
                    Feed::Busy { fetching: Box::pin(fetching), failures }
                }
                feed => feed,
            };
            self.feeds.insert(broker, feed);
        }
    }

    fn take(&mut self, max: usize) -> Vec<Record> {
        let length = |lane: &Lane| if lane.is_paused { 0 } else { lane.buffer.len() };
        let lengths: Vec<_> = self.lanes.values().map(length).collect();
        if lengths.iter().all(|&length| length == 0) {
            return Vec::new();
        }
        self.turn += 1;
        let shares = fair_shares(&lengths, max, self.turn);
        let mut records = Vec::with_capacity(shares.iter().sum());
        for (lane, share) in self.lanes.values_mut().zip(shares) {
            lane.next += share as u64;
            records.extend(lane.buffer.drain(..share));
        }
        records
    }

    fn take_in(&mut self, answer: &[u8]) -> Result<(), LogError> {
        match decode(answer) {
            Response::Fetched(slices) => {
                slices.into_iter().for_each(|slice| self.buffer(&slice));
                Ok(())
            }
            Response::FetchedInPart(slices, errors) => {
                slices.into_iter().for_each(|slice| self.buffer(&slice));
                errors.into_iter().try_for_each(|(place, error)| self.recover(place, error))
            }
            Response::Unsupported(what) => Err(LogError::Unsupported(what)),
            other => Err(LogError::Unsupported(format!("{other:?} to a fetch"))),
        }
    }

    /// Begins anew where `auto.offset.reset` says, if the position is not in the log any more.
    fn recover(&mut self, place: Place, error: FetchError) -> Result<(), LogError> {
        let (FetchError::OutOfRange { start, end }, Some(lane)) =
            (error, self.lanes.get_mut(&place))
        else {
            return Ok(());
        };
        if !lane.buffer.is_empty() || (start..=end).contains(&lane.next) {
            return Ok(());
        }
        match self.client.spec.offset_reset {
            OffsetReset::Earliest => lane.next = start,
            OffsetReset::Latest => lane.next = end,
            OffsetReset::None => {
                lane.is_lost = true;
                let (topic, partition) = place;
                return Err(LogError::Unreadable(format!(
                    "{topic}[{partition}] has no record at the position of this group, and no \
                     policy says where to begin: seek to one from {start} to {end}"
                )));
            }
        }
        Ok(())
    }

    /// Keeps a slice, unless the partition is gone or is read elsewhere by now.
    fn buffer(&mut self, slice: &Fetched<'_>) {
        let Some(lane) = self.lanes.get_mut(&(slice.topic, slice.partition)) else {
            return;
        };
        if lane.next + lane.buffer.len() as u64 != slice.offset {
            return;
        }
        lane.buffer.extend(slice.records.iter().zip(slice.offset..).map(|(payload, offset)| {
            Record {
                topic: slice.topic,
                partition: slice.partition,
                offset,
                key: SmolStr::new(payload.key),
                value: payload.value.to_vec(),
                headers: Headers {
                    correlation_id: payload.correlation_id.map(SmolStr::new),
                    producer: payload.producer.map(SmolStr::new),
                },
            }
        }));
    }

    fn note(&mut self, news: News) -> Result<(), LogError> {
        match news {
            News::Standing => Ok(()),
            News::Joined(Ok(positions)) => {
                self.joins_failed = 0;
                let lane = |position: Position| Lane {
                    next: position.next_offset,
                    buffer: VecDeque::new(),
                    is_paused: false,
                    is_lost: false,
                };
                let place = |position: &Position| (position.topic, position.partition);
                self.lanes = positions.into_iter().map(|p| (place(&p), lane(p))).collect();
                Ok(())
            }
            News::Joined(Err(error)) => {
                self.joins_failed += 1;
                if error.is_retriable() { Ok(()) } else { Err(error) }
            }
            News::Fetched(broker, Fetch { link, answer, leaders }) => {
                let has_failed = answer.is_err() || !leaders.is_empty();
                let failures = match self.feeds.get(&broker) {
                    Some(Feed::Busy { failures, .. }) if has_failed => failures + 1,
                    _ => 0,
                };
                self.feeds.insert(broker, Feed::Idle { link, failures });
                self.metadata.learn(leaders);
                match answer {
                    Ok(answer) => self.take_in(&answer),
                    Err(error) if error.is_retriable() => Ok(()),
                    Err(error) => Err(error),
                }
            }
        }
    }
}

impl LogConsumer for Consumer {
    /// A broker that cannot be reached is not an error: the call goes on without it, with pauses.
    async fn poll(&mut self, max: usize) -> Result<Vec<Record>, LogError> {
        let max = max.max(1);
        let process = self.client.process.clone();
        let end = process.now() + millis(self.client.spec.timings.fetch_wait_ms);
        self.coordinator.polled();
        loop {
            self.rejoin_if_needed();
            self.fetch_what_is_missing(max);
            let records = self.take(max);
            if !records.is_empty() {
                return Ok(records);
            }
            let wait = end.since(process.now());
            let coordinator = self.coordinator.clone();
            let bell = async { coordinator.bell.notified().await };
            let bell = pin!(bell);
            let news = next_news(&mut self.joining, &mut self.feeds, bell);
            match timeout(&process, wait, news).await {
                Some(news) => self.note(news)?,
                None => return Ok(Vec::new()),
            }
        }
    }

    async fn commit(&mut self, positions: &[Position]) -> Result<(), LogError> {
        self.coordinator.commit(positions).await
    }

    fn seek(&mut self, position: Position) {
        let lane = self.lanes.get_mut(&(position.topic, position.partition));
        if let Some(lane) = lane.filter(|lane| lane.next != position.next_offset) {
            lane.next = position.next_offset;
            lane.buffer.clear();
            lane.is_lost = false;
        }
    }

    fn pause(&mut self, places: &[Place]) {
        for place in places {
            if let Some(lane) = self.lanes.get_mut(place) {
                lane.is_paused = true;
            }
        }
    }

    fn resume(&mut self, places: &[Place]) {
        for place in places {
            if let Some(lane) = self.lanes.get_mut(place) {
                lane.is_paused = false;
            }
        }
    }

    async fn close(mut self) {
        self.joining = None;
        self.feeds.clear();
        self.coordinator.leave().await;
    }
}

/// The first of them that is ready, in a fixed order.
async fn next_news(
    joining: &mut Option<Joining>,
    feeds: &mut BTreeMap<u32, Feed>,
    mut bell: Pin<&mut impl Future<Output = ()>>,
) -> News {
    poll_fn(|context| {
        if let Some(join) = joining
            && let Poll::Ready(joined) = join.as_mut().poll(context)
        {
            *joining = None;
            return Poll::Ready(News::Joined(joined));
        }
        for (&broker, feed) in feeds.iter_mut() {
            if let Feed::Busy { fetching, .. } = feed
                && let Poll::Ready(fetch) = fetching.as_mut().poll(context)
            {
                return Poll::Ready(News::Fetched(broker, fetch));
            }
        }
        bell.as_mut().poll(context).map(|()| News::Standing)
    })
    .await
}

async fn fetch(
    client: Client,
    mut link: Link,
    request: Request<'static>,
    pause: Duration,
    patience: Duration,
) -> Fetch {
    if !pause.is_zero() {
        client.process.sleep(pause).await;
    }
    let answer = link.call(&encode(&request), patience).await;
    let is_led = match &answer {
        Err(_) => !client.is_replicated(),
        Ok(answer) => match decode(answer) {
            Response::FetchedInPart(_, errors) => {
                errors.iter().all(|(_, error)| *error != FetchError::NotLeader)
            }
            _ => true,
        },
    };
    let leaders = match request {
        Request::Fetch { from, .. } if !is_led => {
            let places = from.iter().map(|position| (position.topic, position.partition));
            metadata::leaders(&client, link.broker(), places.collect()).await
        }
        _ => Vec::new(),
    };
    Fetch { link, answer, leaders }
}
