//! Who does what in a cluster, as its controller says.
//!
//! Kafka's controllers are a quorum of their own (KRaft, KIP-500): what they have decided is never
//! lost. Here they are one value that is never down, and that brokers reach without the network.
//!
//! # Invariants
//! - At any time a group has one coordinator.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use smol_str::SmolStr;

use super::Spec;

/// The controller; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Controller {
    spec: Spec,
    state: Rc<RefCell<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Coordinators of groups that have moved.
    coordinators: BTreeMap<SmolStr, u32>,
}

impl Controller {
    pub(super) fn new(spec: Spec) -> Self {
        Self { spec, state: Rc::default() }
    }

    /// The broker that coordinates a group, from 1: in Kafka the leader of the partition of
    /// `__consumer_offsets` that the group's name hashes to.
    pub(super) fn coordinator_of(&self, group: &str) -> u32 {
        let moved = self.state.borrow().coordinators.get(group).copied();
        moved.unwrap_or_else(|| self.spec.coordinator_of(group))
    }

    /// The next broker coordinates the group from now on.
    pub(super) fn move_coordinator(&self, group: &str) {
        let next = self.coordinator_of(group) % self.spec.brokers + 1;
        self.state.borrow_mut().coordinators.insert(SmolStr::new(group), next);
    }
}
