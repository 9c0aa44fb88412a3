//! The groups that a broker coordinates: their requests, their deadlines, and how they are lost.

use std::rc::Rc;

use backdate_reports::recording::{EventKind, SimTime};
use smol_str::SmolStr;

use super::super::group::{Effect, Group};
use super::super::millis;
use super::super::wire::{GroupRequest, GroupResponse};
use super::{Broker, Waiting};
use crate::world::sync::timeout;

impl Broker {
    /// Whether a group belongs to this broker.
    pub(super) fn coordinates(&self, group: &str) -> bool {
        self.cluster.controller.coordinator_of(group).0 == self.id
    }

    /// Makes the members of a group join again; false if the group is unknown here.
    pub(in super::super) fn rebalance(&self, name: &str) -> bool {
        let now = self.process.now();
        let effects = match self.groups.borrow_mut().get_mut(name) {
            Some((_, group)) => group.rebalance(now),
            None => return false,
        };
        self.carry_out(name, effects);
        self.set_alarm();
        true
    }

    /// Forgets a group that another broker coordinates from now on, or this one anew; whoever waits
    /// for an answer is sent away (`GroupCoordinator.onResignation`).
    pub(in super::super) fn resign(&self, name: &str) {
        let group = self.groups.borrow_mut().remove(name);
        if let Some((_, group)) = group {
            self.carry_out(name, group.resign());
        }
    }

    /// Forgets the groups whose coordinator has changed since they were loaded.
    pub(super) fn resign_what_has_moved(&self) {
        let is_stale = |name: &SmolStr, loaded: u32| {
            self.cluster.controller.coordinator_of(name) != (self.id, loaded)
        };
        let groups = self.groups.borrow();
        let stale = groups.iter().filter(|(name, (loaded, _))| is_stale(name, *loaded));
        let stale: Vec<SmolStr> = stale.map(|(name, _)| name.clone()).collect();
        drop(groups);
        stale.iter().for_each(|name| self.resign(name));
    }

    pub(super) async fn ask_group(&self, name: SmolStr, request: GroupRequest) -> GroupResponse {
        self.resign_what_has_moved();
        let ticket = self.tickets.get();
        self.tickets.set(ticket + 1);
        let waiting = Rc::new(Waiting::default());
        self.waiting.borrow_mut().insert(ticket, waiting.clone());
        let effects = {
            let mut groups = self.groups.borrow_mut();
            let (_, group) = groups.entry(name.clone()).or_insert_with(|| {
                let delay = millis(self.cluster.spec.timings.initial_rebalance_ms);
                let (_, changes) = self.cluster.controller.coordinator_of(&name);
                (changes, Group::new(name.clone(), self.cluster.disk.clone(), delay))
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
        groups.values().filter_map(|(_, group)| group.deadline()).min()
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

    pub(super) async fn keep_time(&self) {
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
        for (name, (_, group)) in self.groups.borrow_mut().iter_mut() {
            if group.deadline().is_some_and(|deadline| deadline <= now) {
                due.push((name.clone(), group.expire(now)));
            }
        }
        for (name, effects) in due {
            self.carry_out(&name, effects);
        }
    }
}
