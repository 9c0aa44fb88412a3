//! A cluster as the harness holds it: what to start, what to look at, what to break.
//!
//! Out of band: none of it goes over the network, and the engine cannot reach it.
//!
//! # The engine must survive
//! - late duplicates: a record that was appended before is appended again behind newer ones;
//! - slow fetches;
//! - a rebalance of a group at any moment.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use backdate_engine::ports::log::Topic;
use smol_str::SmolStr;

use super::broker::{self, Broker};
use super::client::Client;
use super::{ClusterSpec, Disk, Spec, millis};
use crate::world::{Main, Process};

/// A cluster; clones share it.
#[derive(Clone)]
pub struct Cluster {
    pub(super) spec: Spec,
    pub(super) disk: Disk,
    pub(super) control: BrokerControl,
}

impl Cluster {
    /// A cluster with empty disks.
    ///
    /// # Panics
    /// If the spec has a [`ClusterSpec::problem`].
    pub fn new(spec: ClusterSpec) -> Self {
        assert_eq!(spec.problem(), None, "scenarios are validated before they run");
        let spec = Rc::new(spec);
        Self {
            disk: Disk::new(spec.clone()),
            control: BrokerControl {
                spec: spec.clone(),
                brokers: Rc::default(),
                slowness: Rc::default(),
            },
            spec,
        }
    }

    /// The processes of the brokers: name and main function.
    pub fn brokers(&self) -> impl Iterator<Item = (SmolStr, Main)> + '_ {
        (1..=self.spec.brokers).map(|id| {
            let cluster = self.clone();
            let main: Main =
                Rc::new(move |process| Box::pin(broker::main(process, id, cluster.clone())));
            (ClusterSpec::broker_name(id), main)
        })
    }

    /// A client in that process.
    pub fn client(&self, process: Process) -> Client {
        Client::new(process, self.spec.clone())
    }

    /// What is on the disks.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// What can be broken.
    pub fn control(&self) -> &BrokerControl {
        &self.control
    }

    /// Its shape.
    pub fn spec(&self) -> &ClusterSpec {
        &self.spec
    }
}

/// Faults of running brokers; clones share them.
#[derive(Clone)]
pub struct BrokerControl {
    spec: Spec,
    brokers: Rc<RefCell<BTreeMap<u32, Weak<Broker>>>>,
    slowness: Rc<Cell<u64>>,
}

impl BrokerControl {
    /// Appends a stored record again at the end of its partition, as the late retry of a cut-off
    /// producer would. False if its broker is down or there is no such record.
    pub fn duplicate(&self, topic: Topic, partition: u32, offset: u64) -> bool {
        let leader = self.running(self.spec.leader_of(topic, partition));
        leader.is_some_and(|broker| broker.duplicate((topic, partition), offset))
    }

    /// Delays the answers to all fetches by that many milliseconds; 0 ends it.
    pub fn slow_fetch(&self, delay_ms: u64) {
        self.slowness.set(delay_ms);
    }

    /// Makes all members of a group join again. False if its coordinator is down or does not know
    /// the group.
    pub fn rebalance(&self, group: &str) -> bool {
        let coordinator = self.running(self.spec.coordinator_of(group));
        coordinator.is_some_and(|broker| broker.rebalance(group))
    }

    pub(super) fn register(&self, id: u32, broker: Weak<Broker>) {
        self.brokers.borrow_mut().insert(id, broker);
    }

    pub(super) fn slowness(&self) -> Duration {
        millis(self.slowness.get())
    }

    fn running(&self, id: u32) -> Option<Rc<Broker>> {
        self.brokers.borrow().get(&id)?.upgrade()
    }
}
