//! Who leads, who is in sync and who coordinates, as the controller of a cluster says.
//!
//! Follows KIP-500 (KRaft: brokers are known by their heartbeats, and fenced without), KIP-497
//! (`AlterPartition`: a leader proposes who is in sync), KIP-903 (broker epochs) and KIP-966 as far
//! as it says that a broker which has died uncleanly is not in sync when it is back. A leader is
//! elected from those in sync only (`unclean.leader.election.enable=false`).
//!
//! Kafka's controllers are a quorum of their own whose decisions are never lost. Here they are one
//! value that is never down, is reached without the network and is heard at once; a broker that is
//! frozen or dead is noticed by the heartbeats that it does not send.
//!
//! # Invariants
//! - At any time a group has one coordinator, a partition one leader or none, and somebody in sync.
//! - Leader epochs only grow.
//! - With one replica nothing ever changes, but for coordinators that are moved by hand.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use backdate_engine::ports::log::Topic;
use backdate_reports::recording::SimTime;
use smol_str::SmolStr;

use super::{Place, Spec, millis};

/// The controller; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Controller {
    spec: Spec,
    state: Rc<RefCell<State>>,
}

/// Who leads a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leadership {
    /// None: nobody in sync is there.
    pub(super) leader: Option<u32>,
    /// How often that changed.
    pub(super) epoch: u32,
    /// Replicas that have all that is committed, in the order of preference; never empty.
    pub(super) in_sync: Vec<u32>,
}

#[derive(Debug, Default)]
struct State {
    /// Of partitions with several replicas.
    partitions: BTreeMap<Place, Leadership>,
    /// Coordinators of groups that have moved, and how often they did.
    coordinators: BTreeMap<SmolStr, (u32, u32)>,
    /// When brokers were last heard.
    heard: BTreeMap<u32, SimTime>,
    /// Which life of each broker is the present one.
    broker_epochs: BTreeMap<u32, u32>,
    /// Brokers that are not to lead or coordinate.
    fenced: BTreeSet<u32>,
}

impl Controller {
    pub(super) fn new(spec: Spec) -> Self {
        let mut state = State::default();
        if spec.replication > 1 {
            for &topic in Topic::ALL {
                for partition in 0..spec.partitions_of(topic) {
                    let in_sync = spec.replicas_of(topic, partition);
                    let leader = in_sync.first().copied();
                    let leadership = Leadership { leader, epoch: 0, in_sync };
                    state.partitions.insert((topic, partition), leadership);
                }
            }
            state.heard = (1..=spec.brokers).map(|broker| (broker, SimTime(0))).collect();
        }
        Self { spec, state: Rc::new(RefCell::new(state)) }
    }

    /// The broker that leads a partition.
    pub(super) fn leader_of(&self, place: Place) -> Option<u32> {
        match self.spec.replication {
            1 => Some(self.spec.leader_of(place.0, place.1)),
            _ => self.state.borrow().partitions.get(&place)?.leader,
        }
    }

    /// Who leads a partition, since when, and who is in sync.
    pub(super) fn leadership(&self, place: Place) -> Leadership {
        let known = self.state.borrow().partitions.get(&place).cloned();
        known.unwrap_or_else(|| {
            let leader = self.spec.leader_of(place.0, place.1);
            Leadership { leader: Some(leader), epoch: 0, in_sync: vec![leader] }
        })
    }

    /// The replica that has all that is committed: the leader, or who may be the next.
    pub(super) fn keeper_of(&self, place: Place) -> u32 {
        self.leader_of(place).unwrap_or_else(|| self.leadership(place).in_sync[0])
    }

    /// A broker has started, with what it found on its disk.
    pub(super) fn register(&self, broker: u32, epoch: u32, now: SimTime) {
        self.state.borrow_mut().broker_epochs.insert(broker, epoch);
        self.fence(broker);
        self.heartbeat(broker, now);
    }

    /// Whether a request comes from the present life of a broker: what it had before it died it may
    /// not have any more.
    pub(super) fn is_present(&self, broker: u32, epoch: u32) -> bool {
        self.state.borrow().broker_epochs.get(&broker) == Some(&epoch)
    }

    /// A broker is alive; those that have not been heard for too long are fenced.
    pub(super) fn heartbeat(&self, broker: u32, now: SimTime) {
        let session = millis(self.spec.timings.broker_session_ms);
        let late: Vec<u32> = {
            let mut state = self.state.borrow_mut();
            state.heard.insert(broker, now);
            let silent = state.heard.iter().filter(|(_, heard)| now.since(**heard) > session);
            silent.map(|(broker, _)| *broker).filter(|b| !state.fenced.contains(b)).collect()
        };
        late.into_iter().for_each(|broker| self.fence(broker));
        let mut state = self.state.borrow_mut();
        if state.fenced.remove(&broker) {
            let State { partitions, .. } = &mut *state;
            for leadership in partitions.values_mut() {
                if leadership.leader.is_none() && leadership.in_sync.contains(&broker) {
                    leadership.leader = Some(broker);
                    leadership.epoch += 1;
                }
            }
        }
    }

    /// A leader proposes who is in sync; whether it still was the leader.
    pub(super) fn alter_in_sync(&self, place: Place, by: u32, epoch: u32, in_sync: &[u32]) -> bool {
        let mut state = self.state.borrow_mut();
        let State { partitions, fenced, .. } = &mut *state;
        let Some(leadership) = partitions.get_mut(&place) else { return false };
        if leadership.leader != Some(by) || leadership.epoch != epoch {
            return false;
        }
        let replicas = self.spec.replicas_of(place.0, place.1).into_iter();
        let agreed = |b: &u32| *b == by || in_sync.contains(b) && !fenced.contains(b);
        leadership.in_sync = replicas.filter(agreed).collect();
        true
    }

    /// Takes the leadership of all partitions from a broker that have somebody else in sync.
    pub(super) fn move_leaders(&self, broker: u32) {
        let mut state = self.state.borrow_mut();
        let State { partitions, fenced, .. } = &mut *state;
        let led = partitions.values_mut().filter(|l| l.leader == Some(broker));
        for leadership in led {
            let mut others = leadership.in_sync.iter();
            let next = others.find(|other| **other != broker && !fenced.contains(other));
            if let Some(&next) = next {
                leadership.leader = Some(next);
                leadership.epoch += 1;
            }
        }
    }

    /// The broker that coordinates a group, and how often that changed: in Kafka the leader of the
    /// partition of `__consumer_offsets` that the group's name hashes to.
    pub(super) fn coordinator_of(&self, group: &str) -> (u32, u32) {
        let mut state = self.state.borrow_mut();
        let known = state.coordinators.get(group).copied();
        let (broker, epoch) = known.unwrap_or_else(|| (self.spec.coordinator_of(group), 0));
        if !state.fenced.contains(&broker) {
            return (broker, epoch);
        }
        let replicas = self.spec.coordinators_of(group);
        let next = replicas.into_iter().find(|other| !state.fenced.contains(other));
        let Some(next) = next else { return (broker, epoch) };
        state.coordinators.insert(SmolStr::new(group), (next, epoch + 1));
        (next, epoch + 1)
    }

    /// The next broker coordinates the group from now on. With one replica it is as after a
    /// reassignment of the partition of `__consumer_offsets`.
    pub(super) fn move_coordinator(&self, group: &str) {
        let (broker, epoch) = self.coordinator_of(group);
        let brokers = self.spec.brokers;
        let others = (0..brokers).map(|step| (broker + step) % brokers + 1);
        let mut state = self.state.borrow_mut();
        let next = others.into_iter().find(|other| !state.fenced.contains(other));
        let next = next.unwrap_or(broker);
        state.coordinators.insert(SmolStr::new(group), (next, epoch + 1));
    }

    /// Takes everything from a broker that others can do. The last one in sync stays so.
    fn fence(&self, broker: u32) {
        let mut state = self.state.borrow_mut();
        let State { partitions, fenced, .. } = &mut *state;
        fenced.insert(broker);
        for leadership in partitions.values_mut() {
            if leadership.in_sync.len() > 1 {
                leadership.in_sync.retain(|other| *other != broker);
            }
            if leadership.leader == Some(broker) {
                let next = leadership.in_sync.iter().find(|other| !fenced.contains(other));
                leadership.leader = next.copied();
                leadership.epoch += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::ClusterSpec;

    const PLACE: Place = (Topic::MarketPrices, 0);

    fn controller() -> (Controller, Vec<u32>) {
        let spec = ClusterSpec { brokers: 3, replication: 3, ..ClusterSpec::default() };
        let replicas = spec.replicas_of(PLACE.0, PLACE.1);
        (Controller::new(Rc::new(spec)), replicas)
    }

    fn at(ms: u64) -> SimTime {
        SimTime(ms * 1_000_000)
    }

    #[test]
    fn a_silent_leader_is_replaced_by_one_in_sync_and_comes_back_behind() {
        let (controller, replicas) = controller();
        let [first, second, third] = replicas[..] else { panic!("{replicas:?}") };
        assert_eq!(controller.leader_of(PLACE), Some(first));
        assert!(controller.alter_in_sync(PLACE, first, 0, &[first, third]));
        controller.heartbeat(second, at(2_000));
        controller.heartbeat(third, at(2_000));
        controller.heartbeat(third, at(3_000));
        controller.heartbeat(second, at(4_000));
        let after = controller.leadership(PLACE);
        assert_eq!(after, Leadership { leader: Some(third), epoch: 1, in_sync: vec![third] });
        assert!(!controller.alter_in_sync(PLACE, first, 0, &[first]), "it is no leader any more");
        controller.heartbeat(first, at(4_100));
        assert_eq!(controller.leadership(PLACE), after);
        assert!(controller.alter_in_sync(PLACE, third, 1, &[first, second, third]));
        assert_eq!(controller.leadership(PLACE).in_sync, replicas);
    }

    #[test]
    fn the_last_one_in_sync_is_waited_for() {
        let (controller, replicas) = controller();
        for broker in &replicas {
            controller.register(*broker, 1, at(100));
        }
        assert!(controller.is_present(1, 1) && !controller.is_present(1, 0));
        // Who came back last is the only one that has everything for sure.
        let last = *replicas.last().expect("three");
        assert_eq!(controller.leadership(PLACE).in_sync, [last]);
        controller.heartbeat(replicas[0], at(9_000));
        assert_eq!((controller.leader_of(PLACE), controller.keeper_of(PLACE)), (None, last));
        controller.heartbeat(last, at(9_500));
        assert_eq!(controller.leader_of(PLACE), Some(last));
    }

    #[test]
    fn leaders_move_to_others_in_sync_and_coordinators_away_from_the_fenced() {
        let (controller, replicas) = controller();
        controller.move_leaders(replicas[0]);
        assert_eq!(controller.leader_of(PLACE), Some(replicas[1]));
        let (before, _) = controller.coordinator_of("group");
        controller.fence(before);
        let (after, epoch) = controller.coordinator_of("group");
        assert_eq!((before != after, epoch), (true, 1));
        controller.move_coordinator("group");
        assert_ne!(controller.coordinator_of("group").0, before, "it is still fenced");
    }
}
