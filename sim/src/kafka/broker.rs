//! A broker process: connections, service times and waits around the synchronous state machines.
//!
//! It decides nothing itself: appends are `log.rs`, groups are `group.rs`, who leads and coordinates
//! is `controller.rs`. A request occupies one of the broker's workers for its service time and takes
//! effect at the end of it; a fetch that waits for data (`fetch.max.wait.ms`) occupies none, like
//! Kafka's purgatory.
//!
//! # Invariants
//! - A produce is answered after its records are on the disk and in the recording.
//! - The requests of a connection are answered in order.

mod fetching;
mod groups;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use backdate_reports::recording::{EventKind, SimTime};
use smol_str::SmolStr;

use super::control::Cluster;
use super::group::{Group, Ticket};
use super::log::Verdict;
use super::wire::{Batch, GroupResponse, Produced, ProducerId, Request, Response, decode, encode};
use super::{PORT, Place, millis};
use crate::world::sync::{Notify, Workers};
use crate::world::{Connection, Process};

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
                if !self.coordinates(&group) {
                    return encode(&Response::Group(GroupResponse::NotCoordinator));
                }
                let committed = self.cluster.disk.committed(&group);
                let offsets = of.iter().map(|place| committed.get(place).copied());
                encode(&Response::Committed(offsets.collect()))
            }
            Request::FindCoordinator(group) => {
                self.work(0).await;
                encode(&Response::Coordinator(self.cluster.controller.coordinator_of(&group)))
            }
            Request::Group(group, request) => {
                self.work(0).await;
                let answer = match self.coordinates(&group) {
                    true => self.ask_group(group, request).await,
                    false => GroupResponse::NotCoordinator,
                };
                encode(&Response::Group(answer))
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

    fn leads(&self, place: Place) -> bool {
        self.cluster.spec.leader_of(place.0, place.1) == self.id
    }
}
