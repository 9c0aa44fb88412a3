//! A cluster as the harness holds it: what to start, what to look at, what to break.
//!
//! Out of band: none of it goes over the network, and the engine cannot reach it.
//!
//! # The engine must survive
//! - late duplicates: a record that was appended before is appended again behind newer ones;
//! - slow fetches;
//! - a rebalance of a group at any moment;
//! - another coordinator, which knows nobody;
//! - other leaders.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use backdate_engine::ports::log::Topic;
use smol_str::SmolStr;

use super::broker::{self, Broker};
use super::client::Client;
use super::controller::Controller;
use super::{ClusterSpec, Disk, Spec};
use crate::world::{Main, Process};

/// A cluster; clones share it.
#[derive(Clone)]
pub struct Cluster {
    pub(super) spec: Spec,
    pub(super) disk: Disk,
    pub(super) controller: Controller,
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
        let controller = Controller::new(spec.clone());
        Self {
            disk: Disk::new(spec.clone(), controller.clone()),
            controller: controller.clone(),
            control: BrokerControl {
                spec: spec.clone(),
                controller,
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

    /// The broker that leads a partition now, from 1.
    pub fn leader_of(&self, topic: Topic, partition: u32) -> Option<u32> {
        self.controller.leader_of((topic, partition))
    }

    /// The broker that coordinates a group now, from 1.
    pub fn coordinator_of(&self, group: &str) -> u32 {
        self.controller.coordinator_of(group).0
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
    controller: Controller,
    brokers: Rc<RefCell<BTreeMap<u32, Weak<Broker>>>>,
    /// How much each answer to a fetch is delayed, by broker.
    slowness: Rc<RefCell<BTreeMap<u32, Duration>>>,
}

impl BrokerControl {
    /// Appends a stored record again at the end of its partition, as the late retry of a cut-off
    /// producer would. False if its broker is down or there is no such record.
    pub fn duplicate(&self, topic: Topic, partition: u32, offset: u64) -> bool {
        let leader = self.controller.leader_of((topic, partition));
        let leader = leader.and_then(|leader| self.running(leader));
        leader.is_some_and(|broker| broker.duplicate((topic, partition), offset))
    }

    /// Delays each answer of a broker to a fetch by that much more; delays add up.
    pub fn slow_fetches(&self, broker: &str, extra: Duration) {
        if let Some(id) = self.number(broker) {
            *self.slowness.borrow_mut().entry(id).or_default() += extra;
        }
    }

    /// Takes a delay of [`BrokerControl::slow_fetches`] back.
    pub fn hurry_fetches(&self, broker: &str, extra: Duration) {
        if let Some(id) = self.number(broker) {
            let mut slowness = self.slowness.borrow_mut();
            let delay = slowness.entry(id).or_default();
            *delay = delay.saturating_sub(extra);
        }
    }

    /// Lets the next broker coordinate a group; the only one forgets it and loads it anew. What the
    /// group has committed moves with it, who its members are does not.
    pub fn move_coordinator(&self, group: &str) {
        let (before, _) = self.controller.coordinator_of(group);
        self.controller.move_coordinator(group);
        if let Some(broker) = self.running(before) {
            broker.resign(group);
        }
    }

    /// Takes the leadership of all partitions from a broker of which somebody else is in sync, as
    /// its controlled shutdown does.
    pub fn move_leaders(&self, broker: &str) {
        if let Some(id) = self.number(broker) {
            self.controller.move_leaders(id);
        }
    }

    /// Deletes the records of a partition below an offset (`DeleteRecords`, KIP-107), as far as
    /// they are acknowledged. False if its broker is down.
    pub fn delete_records(&self, topic: Topic, partition: u32, before: u64) -> bool {
        let leader = self.controller.leader_of((topic, partition));
        let leader = leader.and_then(|leader| self.running(leader));
        leader.is_some_and(|broker| broker.delete_records((topic, partition), before))
    }

    /// Makes all members of a group join again. False if its coordinator is down or does not know
    /// the group.
    pub fn rebalance(&self, group: &str) -> bool {
        let coordinator = self.running(self.controller.coordinator_of(group).0);
        coordinator.is_some_and(|broker| broker.rebalance(group))
    }

    pub(super) fn register(&self, id: u32, broker: Weak<Broker>) {
        self.brokers.borrow_mut().insert(id, broker);
    }

    pub(super) fn slowness(&self, broker: u32) -> Duration {
        self.slowness.borrow().get(&broker).copied().unwrap_or_default()
    }

    fn number(&self, broker: &str) -> Option<u32> {
        (1..=self.spec.brokers).find(|id| ClusterSpec::broker_name(*id) == broker)
    }

    fn running(&self, id: u32) -> Option<Rc<Broker>> {
        self.brokers.borrow().get(&id)?.upgrade()
    }
}
