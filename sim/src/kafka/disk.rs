//! What survives the crash of a broker, and the harness's view of it.
//!
//! One value holds the disks of all brokers; each broker touches only its replicas and the groups
//! that it coordinates. Committed offsets and generations are durable, as in `__consumer_offsets`,
//! and are where the coordinator is; membership is not, so members rejoin after a crash of the
//! coordinator.
//!
//! A crash takes from a replica what was neither flushed nor acknowledged: as little is lost as if
//! another replica still had it, whatever dies. A partition with one replica flushes at once.
//!
//! # Invariants
//! - Whoever is in sync has every acknowledged record of the partition.
//! - A generation number of a group, a member id and a producer id are never given twice.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use backdate_engine::ports::log::{Position, Record, Topic};
use smol_str::{SmolStr, format_smolstr};

use super::controller::Controller;
use super::log::PartitionLog;
use super::{Place, Spec};

/// The disks of a cluster; clones share them.
#[derive(Clone, Debug)]
pub struct Disk {
    spec: Spec,
    controller: Controller,
    contents: Rc<RefCell<Contents>>,
}

/// What a broker has of a partition.
#[derive(Debug, Default)]
pub(super) struct Replica {
    pub(super) log: PartitionLog,
    /// The high watermark as far as the broker knows it; up to there consumers may read.
    pub(super) high: u64,
    /// What survives a crash.
    flushed: u64,
}

#[derive(Debug, Default)]
struct Contents {
    replicas: BTreeMap<(Place, u32), Replica>,
    /// The highest high watermark that each partition ever had.
    acknowledged: BTreeMap<Place, u64>,
    groups: BTreeMap<SmolStr, GroupDisk>,
    producers: u64,
}

#[derive(Debug, Default)]
struct GroupDisk {
    committed: BTreeMap<Place, u64>,
    generation: u32,
    members: u64,
}

impl Disk {
    /// Empty disks with all partitions of a cluster.
    pub(super) fn new(spec: Spec, controller: Controller) -> Self {
        let mut contents = Contents::default();
        for &topic in Topic::ALL {
            for partition in 0..spec.partitions_of(topic) {
                for broker in spec.replicas_of(topic, partition) {
                    let log = match spec.replication > 1 || spec.retains() {
                        true => PartitionLog::with_marks(),
                        false => PartitionLog::default(),
                    };
                    let replica = Replica { log, ..Replica::default() };
                    contents.replicas.insert(((topic, partition), broker), replica);
                }
            }
        }
        Self { spec, controller, contents: Rc::new(RefCell::new(contents)) }
    }

    /// The offset after the last record that is acknowledged, of every partition.
    pub fn end_offsets(&self) -> BTreeMap<(Topic, u32), u64> {
        self.places().map(|place| (place, self.end_of(place))).collect()
    }

    fn places(&self) -> impl Iterator<Item = Place> + '_ {
        let of_topic = |&topic: &Topic| {
            (0..self.spec.partitions_of(topic)).map(move |partition| (topic, partition))
        };
        Topic::ALL.iter().flat_map(of_topic)
    }

    fn end_of(&self, place: Place) -> u64 {
        let contents = self.contents.borrow();
        if self.spec.replication > 1 {
            return contents.acknowledged.get(&place).copied().unwrap_or(0);
        }
        let keeper = (place, self.controller.keeper_of(place));
        contents.replicas.get(&keeper).map_or(0, |replica| replica.log.end())
    }

    /// What a group has committed.
    pub fn committed(&self, group: &str) -> BTreeMap<(Topic, u32), u64> {
        let contents = self.contents.borrow();
        let group = contents.groups.get(group);
        group.map(|group| group.committed.clone()).unwrap_or_default()
    }

    /// Records of those topics that a group has not committed.
    pub fn lag(&self, group: &str, topics: &[Topic]) -> u64 {
        let committed = self.committed(group);
        let mut lag = 0;
        for place in self.places().filter(|(topic, _)| topics.contains(topic)) {
            let done = committed.get(&place).copied().unwrap_or(0);
            lag += self.end_of(place).saturating_sub(done);
        }
        lag
    }

    /// The acknowledged records of a topic that are not deleted, partition by partition.
    pub fn records(&self, topic: Topic) -> impl Iterator<Item = Rc<Record>> + use<> {
        let places = self.places().filter(|place| place.0 == topic);
        let records = places.flat_map(|place| {
            let (keeper, end) = (self.controller.keeper_of(place), self.end_of(place));
            let records = self.with_replica(place, keeper, |replica| replica.log.range(0, end));
            records.unwrap_or_default()
        });
        records.collect::<Vec<_>>().into_iter()
    }

    /// Lets a function read or change a broker's replica; none if it has none of that partition.
    pub(super) fn with_replica<T>(
        &self,
        place: Place,
        broker: u32,
        apply: impl FnOnce(&mut Replica) -> T,
    ) -> Option<T> {
        self.contents.borrow_mut().replicas.get_mut(&(place, broker)).map(apply)
    }

    /// The partitions of which a broker has a replica.
    pub(super) fn places_of(&self, broker: u32) -> Vec<Place> {
        let contents = self.contents.borrow();
        let own = contents.replicas.keys().filter(|(_, owner)| *owner == broker);
        own.map(|(place, _)| *place).collect()
    }

    /// The leader's high watermark rises; the records that nobody could read before.
    pub(super) fn acknowledge(&self, place: Place, leader: u32, high: u64) -> Vec<Rc<Record>> {
        let mut contents = self.contents.borrow_mut();
        let Contents { replicas, acknowledged, .. } = &mut *contents;
        let Some(replica) = replicas.get_mut(&(place, leader)) else { return Vec::new() };
        replica.high = replica.high.max(high.min(replica.log.end()));
        let known = acknowledged.entry(place).or_default();
        let news = replica.log.range(*known, replica.high);
        *known = replica.high.max(*known);
        news
    }

    /// Everything that a broker has written so far survives its crash from now on.
    pub(super) fn flush(&self, broker: u32) {
        let mut contents = self.contents.borrow_mut();
        let own = contents.replicas.iter_mut().filter(|((_, owner), _)| *owner == broker);
        own.for_each(|(_, replica)| replica.flushed = replica.log.end());
    }

    /// What a broker finds after a crash.
    pub(super) fn recover(&self, broker: u32) {
        let mut contents = self.contents.borrow_mut();
        let Contents { replicas, acknowledged, .. } = &mut *contents;
        for ((place, owner), replica) in replicas.iter_mut() {
            if *owner == broker {
                let kept = acknowledged.get(place).copied().unwrap_or(0).max(replica.flushed);
                replica.truncate(kept);
            }
        }
    }

    /// Stores a group's positions.
    pub(super) fn commit(&self, group: &SmolStr, positions: &[Position]) {
        let mut contents = self.contents.borrow_mut();
        let group = contents.groups.entry(group.clone()).or_default();
        for position in positions {
            let place = (position.topic, position.partition);
            group.committed.insert(place, position.next_offset);
        }
    }

    /// A producer id that nobody had.
    pub(super) fn next_producer(&self) -> u64 {
        let mut contents = self.contents.borrow_mut();
        contents.producers += 1;
        contents.producers
    }

    /// A member id that nobody had, made of the client's name.
    pub(super) fn next_member(&self, group: &SmolStr, client: &str) -> SmolStr {
        let mut contents = self.contents.borrow_mut();
        let group = contents.groups.entry(group.clone()).or_default();
        group.members += 1;
        format_smolstr!("{client}#{}", group.members)
    }

    /// The next generation of a group.
    pub(super) fn next_generation(&self, group: &SmolStr) -> u32 {
        let mut contents = self.contents.borrow_mut();
        let group = contents.groups.entry(group.clone()).or_default();
        group.generation += 1;
        group.generation
    }
}

impl Replica {
    /// Begins anew at the leader's log start.
    pub(super) fn restart(&mut self, start: u64) {
        self.log.restart(start);
        (self.high, self.flushed) = (start, start);
    }

    /// Cuts off everything from an offset on.
    pub(super) fn truncate(&mut self, to: u64) {
        if to < self.log.end() {
            self.log.truncate(to);
            self.high = self.high.min(to);
            self.flushed = self.flushed.min(to);
        }
    }
}
