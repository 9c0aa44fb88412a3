//! A broker process: connections, service times and waits around the synchronous state machines.
//!
//! It decides nothing itself: appends are `log.rs`, groups are `group.rs`. A request
//! occupies one of the broker's workers for its service time and takes effect at the end of it; a
//! fetch that waits for data (`fetch.max.wait.ms`) occupies none, like Kafka's purgatory.
//!
//! # Invariants
//! - A produce is answered after its records are on the disk and in the recording.
//! - The requests of a connection are answered in order.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use backdate_engine::ports::log::Position;
use backdate_reports::recording::{EventKind, SimTime};
use smol_str::SmolStr;

use super::control::Cluster;
use super::group::{Effect, Group, Ticket};
use super::log::Verdict;
use super::wire::{
    Batch, Fetched, GroupRequest, GroupResponse, Payload, Produced, ProducerId, Request, Response,
    decode, encode,
};
use super::{PORT, Place, fair_shares, millis};
use crate::world::sync::{Notify, Workers, timeout};
use crate::world::{Connection, Process};

/// Payload of one partition in one answer (a quarter of `max.partition.fetch.bytes`, so that all
/// partitions together stay near it).
const FETCH_BYTES_PER_PARTITION: usize = 256 * 1024;

/// Runs a broker until its process dies.
pub(super) async fn main(process: Process, id: u32, cluster: Cluster) {
    let broker = Rc::new(Broker::new(process.clone(), id, cluster));
    broker.cluster.control.register(id, Rc::downgrade(&broker));
    let listener = process.listen(PORT).await;
    let mut listener = listener.expect("nobody else listens on the port of a broker");
    let ticker = broker.clone();
    process.spawn(async move { ticker.keep_time().await });
    while let Ok(connection) = listener.accept().await {
        let server = broker.clone();
        process.spawn(async move { server.serve(connection).await });
    }
}

/// A running broker; all of it dies with its process, but for the disk.
pub(super) struct Broker {
    process: Process,
    id: u32,
    cluster: Cluster,
    workers: Workers,
    groups: RefCell<BTreeMap<SmolStr, Group>>,
    tickets: Cell<Ticket>,
    waiting: RefCell<BTreeMap<Ticket, Rc<Waiting>>>,
    fetches: RefCell<BTreeMap<Place, Vec<Weak<Notify>>>>,
    /// Rings when a group's deadline came nearer than the one that is slept for.
    bell: Notify,
    alarm: Cell<Option<SimTime>>,
}

/// A request whose answer depends on others.
#[derive(Default)]
struct Waiting {
    answer: RefCell<Option<GroupResponse>>,
    bell: Notify,
}

impl Broker {
    fn new(process: Process, id: u32, cluster: Cluster) -> Self {
        let workers = usize::try_from(cluster.spec.profile.workers);
        Self {
            process,
            id,
            workers: Workers::new(workers.expect("a handful of workers")),
            cluster,
            groups: RefCell::default(),
            tickets: Cell::new(0),
            waiting: RefCell::default(),
            fetches: RefCell::default(),
            bell: Notify::default(),
            alarm: Cell::new(None),
        }
    }

    /// Appends a stored record once more; false if there is none.
    pub(super) fn duplicate(&self, place: Place, offset: u64) -> bool {
        let copied = self.cluster.disk.with_log(place, |log| log.duplicate(offset));
        let Some(record) = copied.flatten() else {
            return false;
        };
        self.process.record(EventKind::Appended(record));
        self.wake(place);
        true
    }

    /// Makes the members of a group join again; false if the group is unknown here.
    pub(super) fn rebalance(&self, name: &str) -> bool {
        let now = self.process.now();
        let effects = match self.groups.borrow_mut().get_mut(name) {
            Some(group) => group.rebalance(now),
            None => return false,
        };
        self.carry_out(name, effects);
        self.set_alarm();
        true
    }

    async fn serve(&self, mut connection: Connection) {
        while let Ok(frame) = connection.read_frame().await {
            let answer = self.answer(decode(&frame)).await;
            if connection.write_frame(&answer).await.is_err() {
                return;
            }
        }
    }

    async fn answer(&self, request: Request<'_>) -> Vec<u8> {
        match request {
            Request::OpenProducer { current } => {
                self.work(0).await;
                encode(&Response::Producer(self.open_producer(current)))
            }
            Request::Produce(by, batches) => {
                self.work(batches.iter().map(|batch| batch.records.len()).sum()).await;
                encode(&self.produce(by, &batches))
            }
            Request::Fetch { wait_ms, records_max, from } => {
                let max = usize::try_from(records_max).expect("a batch fits in memory");
                self.fetch(millis(wait_ms), max, &from).await
            }
            Request::Committed { group, of } => {
                self.work(0).await;
                let committed = self.cluster.disk.committed(&group);
                let offsets = of.iter().map(|place| committed.get(place).copied());
                encode(&Response::Committed(offsets.collect()))
            }
            Request::Group(group, request) => {
                self.work(0).await;
                if self.cluster.spec.coordinator_of(&group) != self.id {
                    return encode(&Response::Unsupported("coordinators that move".into()));
                }
                encode(&Response::Group(self.ask_group(group, request).await))
            }
        }
    }

    async fn work(&self, records: usize) {
        let profile = &self.cluster.spec.profile;
        let micros = profile.request_us + profile.record_us * records as u64;
        let _permit = self.workers.acquire().await;
        if micros > 0 {
            self.process.occupy(Duration::from_micros(micros)).await;
        }
    }

    fn open_producer(&self, current: Option<ProducerId>) -> ProducerId {
        match current {
            Some(ProducerId { id, epoch }) => ProducerId { id, epoch: epoch + 1 },
            None => ProducerId { id: self.cluster.disk.next_producer(), epoch: 0 },
        }
    }

    fn produce(&self, by: ProducerId, batches: &[Batch<'_>]) -> Response<'static> {
        let mut verdicts = Vec::with_capacity(batches.len());
        for batch in batches {
            let place = (batch.topic, batch.partition);
            if !self.leads(place) {
                return Response::Unsupported("leaders that move".into());
            }
            let appended = self.cluster.disk.with_log(place, |log| {
                let before = log.records.len();
                let verdict = log.append(place, by, batch);
                (verdict, log.records[before..].to_vec())
            });
            let (verdict, records) = appended.expect("its leader has the partition");
            for record in records {
                self.process.record(EventKind::Appended(record));
            }
            self.wake(place);
            verdicts.push(match verdict {
                Verdict::Appended | Verdict::Duplicate => Produced::Done,
                Verdict::StaleEpoch | Verdict::OutOfOrder => Produced::Refused,
            });
        }
        Response::Produced(verdicts)
    }

    async fn fetch(&self, wait: Duration, max: usize, from: &[Position]) -> Vec<u8> {
        if let Some(foreign) = from.iter().find(|p| !self.leads((p.topic, p.partition))) {
            let topic = foreign.topic;
            return encode(&Response::Unsupported(format!("leaders that move ({topic})")));
        }
        if self.available(from).iter().all(|&records| records == 0) {
            let bell = Rc::new(Notify::default());
            self.enlist(&bell, from);
            timeout(&self.process, wait, bell.notified()).await;
        }
        let slowness = self.cluster.control.slowness();
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

    fn wake(&self, place: Place) {
        if let Some(waiting) = self.fetches.borrow_mut().get_mut(&place) {
            let bells = waiting.drain(..).filter_map(|bell| bell.upgrade());
            bells.for_each(|bell| bell.notify_one());
        }
    }

    fn leads(&self, place: Place) -> bool {
        self.cluster.spec.leader_of(place.0, place.1) == self.id
    }

    async fn ask_group(&self, name: SmolStr, request: GroupRequest) -> GroupResponse {
        let ticket = self.tickets.get();
        self.tickets.set(ticket + 1);
        let waiting = Rc::new(Waiting::default());
        self.waiting.borrow_mut().insert(ticket, waiting.clone());
        let effects = {
            let mut groups = self.groups.borrow_mut();
            let group = groups.entry(name.clone()).or_insert_with(|| {
                let delay = millis(self.cluster.spec.timings.initial_rebalance_ms);
                Group::new(name.clone(), self.cluster.disk.clone(), delay)
            });
            group.apply(self.process.now(), ticket, request)
        };
        self.carry_out(&name, effects);
        self.set_alarm();
        loop {
            let answer = waiting.answer.borrow_mut().take();
            match answer {
                Some(answer) => return answer,
                None => waiting.bell.notified().await,
            }
        }
    }

    fn carry_out(&self, group: &str, effects: Vec<Effect>) {
        for effect in effects {
            let group = SmolStr::new(group);
            match effect {
                Effect::Answer(ticket, answer) => {
                    let waiting = self.waiting.borrow_mut().remove(&ticket);
                    let waiting = waiting.expect("a ticket is answered at most once");
                    *waiting.answer.borrow_mut() = Some(answer);
                    waiting.bell.notify_one();
                }
                Effect::Committed(positions) => {
                    self.process.record(EventKind::OffsetsCommitted { group, positions });
                }
                Effect::CommitRefused { member } => {
                    self.process.record(EventKind::CommitRefused { group, member });
                }
            }
        }
    }

    fn deadline(&self) -> Option<SimTime> {
        let groups = self.groups.borrow();
        groups.values().filter_map(Group::deadline).min()
    }

    fn set_alarm(&self) {
        let nearer = match (self.deadline(), self.alarm.get()) {
            (Some(deadline), Some(alarm)) => deadline < alarm,
            (deadline, _) => deadline.is_some(),
        };
        if nearer {
            self.bell.notify_one();
        }
    }

    async fn keep_time(&self) {
        loop {
            let deadline = self.deadline();
            self.alarm.set(deadline);
            match deadline {
                None => self.bell.notified().await,
                Some(at) => {
                    let wait = at.since(self.process.now());
                    timeout(&self.process, wait, self.bell.notified()).await;
                }
            }
            self.expire();
        }
    }

    fn expire(&self) {
        let now = self.process.now();
        let mut due = Vec::new();
        for (name, group) in self.groups.borrow_mut().iter_mut() {
            if group.deadline().is_some_and(|deadline| deadline <= now) {
                due.push((name.clone(), group.expire(now)));
            }
        }
        for (name, effects) in due {
            self.carry_out(&name, effects);
        }
    }
}
