//! What survives the crash of a broker, and the harness's view of it.
//!
//! One value holds the disks of all brokers; each broker touches only the partitions it leads and
//! the groups it coordinates. Committed offsets and generations are durable, as in
//! `__consumer_offsets`; membership is not, so members rejoin after a crash of the coordinator.
//!
//! # Invariants
//! - A generation number of a group, a member id and a producer id are never given twice.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use backdate_engine::ports::log::{Position, Record, Topic};
use smol_str::{SmolStr, format_smolstr};

use super::log::PartitionLog;
use super::{Place, Spec};

/// The disks of a cluster; clones share them.
#[derive(Clone, Debug)]
pub struct Disk {
    spec: Spec,
    contents: Rc<RefCell<Contents>>,
}

#[derive(Debug, Default)]
struct Contents {
    logs: BTreeMap<Place, PartitionLog>,
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
    pub(super) fn new(spec: Spec) -> Self {
        let mut contents = Contents::default();
        for &topic in Topic::ALL {
            for partition in 0..spec.partitions_of(topic) {
                let log = PartitionLog::default();
                contents.logs.insert((topic, partition), log);
            }
        }
        Self { spec, contents: Rc::new(RefCell::new(contents)) }
    }

    /// The offset after the last record, of every partition.
    pub fn end_offsets(&self) -> BTreeMap<(Topic, u32), u64> {
        let contents = self.contents.borrow();
        let ends = contents.logs.iter().map(|(&place, log)| (place, log.end()));
        ends.collect()
    }

    /// What a group has committed.
    pub fn committed(&self, group: &str) -> BTreeMap<(Topic, u32), u64> {
        let contents = self.contents.borrow();
        let group = contents.groups.get(group);
        group.map(|group| group.committed.clone()).unwrap_or_default()
    }

    /// Records of those topics that a group has not committed.
    pub fn lag(&self, group: &str, topics: &[Topic]) -> u64 {
        let contents = self.contents.borrow();
        let group = contents.groups.get(group);
        let mut lag = 0;
        for &topic in topics {
            for partition in 0..self.spec.partitions_of(topic) {
                let place = (topic, partition);
                let end = contents.logs.get(&place).map_or(0, PartitionLog::end);
                let done = group.and_then(|group| group.committed.get(&place));
                lag += end.saturating_sub(done.copied().unwrap_or(0));
            }
        }
        lag
    }

    /// The records of a topic, partition by partition.
    pub fn records(&self, topic: Topic) -> impl Iterator<Item = Rc<Record>> + use<> {
        let contents = self.contents.borrow();
        let logs = contents.logs.range((topic, 0)..=(topic, u32::MAX));
        let records: Vec<_> = logs.flat_map(|(_, log)| log.records.clone()).collect();
        records.into_iter()
    }

    /// Lets a function read or change a partition's log; none if there is no such partition.
    pub(super) fn with_log<T>(
        &self,
        place: Place,
        apply: impl FnOnce(&mut PartitionLog) -> T,
    ) -> Option<T> {
        self.contents.borrow_mut().logs.get_mut(&place).map(apply)
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
