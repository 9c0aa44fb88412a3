//! A broker process: connections, service times and waits around the synchronous state machines.
//!
//! It decides nothing itself: appends are `log.rs`, groups are `group.rs`, who leads and who
//! coordinates is `controller.rs`. A request occupies one of the broker's workers for its service
//! time and takes effect at the end of it; a fetch that waits for data (`fetch.max.wait.ms`)
//! occupies none, like Kafka's purgatory.
//!
//! # Invariants
//! - A produce is answered after its records are on the disks of all that are in sync, and in the
//!   recording.
//! - The requests of a connection are answered in order.

mod bells;
mod duty;
mod fetching;
mod following;
mod groups;
mod leading;
mod producing;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use backdate_reports::recording::SimTime;
use smol_str::SmolStr;

use bells::Bells;
use leading::Lead;

use super::control::Cluster;
use super::group::{Group, Ticket};
use super::wire::{GroupResponse, Request, Response, decode, encode};
use super::{PORT, Place, millis};
use crate::world::sync::{Notify, Workers};
use crate::world::{Connection, Process};

/// Runs a broker until its process dies.
pub(super) async fn main(process: Process, id: u32, cluster: Cluster) {
    let broker = Rc::new(Broker::new(process.clone(), id, cluster));
    broker.cluster.control.register(id, Rc::downgrade(&broker));
    broker.take_up_duty();
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
    /// By name, with how often the coordinator had changed when it was loaded.
    groups: RefCell<BTreeMap<SmolStr, (u32, Group)>>,
    tickets: Cell<Ticket>,
    waiting: RefCell<BTreeMap<Ticket, Rc<Waiting>>>,
    /// Consumers that wait for a higher watermark, and producers.
    fetches: Bells,
    /// Followers that wait for records.
    followers: Bells,
    /// How far the followers of the partitions are that it leads.
    leads: RefCell<BTreeMap<Place, Lead>>,
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
            fetches: Bells::default(),
            followers: Bells::default(),
            leads: RefCell::default(),
            bell: Notify::default(),
            alarm: Cell::new(None),
        }
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
                encode(&self.produce(by, &batches).await)
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
                let (coordinator, _) = self.cluster.controller.coordinator_of(&group);
                encode(&Response::Coordinator(coordinator))
            }
            Request::Leaders(places) => {
                self.work(0).await;
                let leaders = places.into_iter().map(|p| self.cluster.controller.leader_of(p));
                encode(&Response::Leaders(leaders.collect()))
            }
            Request::Replicate { follower, broker_epoch, wait_ms, from } => {
                self.work(0).await;
                // A request may outlive the follower that has sent it.
                if self.cluster.controller.is_present(follower, broker_epoch) {
                    from.iter().for_each(|position| self.note_progress(follower, position));
                }
                self.replicate(millis(wait_ms), &from).await
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

    fn leads(&self, place: Place) -> bool {
        self.cluster.controller.leader_of(place) == Some(self.id)
    }
}
