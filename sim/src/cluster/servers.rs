//! The servers of a cluster in the hands of whoever injects faults.

use std::time::Duration;

use super::operator::Operator;
use super::{Cluster, GROUPS};
use crate::world::faults::{Fault, Performance, Servers};
use crate::world::{Control, Process};

impl Servers for Cluster {
    fn kill_sessions(&self, process: &str) {
        self.postgres.control.kill_session(process);
    }

    fn move_coordinator(&self, group: &str) {
        self.kafka.control().move_coordinator(group);
    }

    fn move_leaders(&self, broker: &str) {
        self.kafka.control().move_leaders(broker);
    }

    fn rebalance(&self, group: &str) {
        // A coordinator that is down has no members to call.
        self.kafka.control().rebalance(group);
    }

    fn slow_fetches(&self, broker: &str, extra: Duration) {
        self.kafka.control().slow_fetches(broker, extra);
    }

    fn hurry_fetches(&self, broker: &str, extra: Duration) {
        self.kafka.control().hurry_fetches(broker, extra);
    }

    fn deliver_again(&self, group: &str, records: u64) {
        let committed = self.kafka.disk().committed(group);
        let topics = GROUPS.iter().find(|(name, _)| *name == group).map(|(_, topics)| *topics);
        for (&(topic, partition), &end) in &committed {
            if topics.is_some_and(|topics| topics.contains(&topic)) {
                for offset in end.saturating_sub(records)..end {
                    // A leader that is down takes no late retry.
                    self.kafka.control().duplicate(topic, partition, offset);
                }
            }
        }
    }

    fn perform(&self, fault: Fault, control: Control, injector: Process) -> Performance {
        let operator = Operator { cluster: self.clone(), control };
        Box::pin(async move { operator.perform(fault, &injector).await })
    }
}
