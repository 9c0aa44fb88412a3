//! A consumer group as its coordinator sees it: the classic protocol with eager rebalance.
//!
//! Follows the Kafka protocol guide (JoinGroup, SyncGroup, Heartbeat, OffsetCommit, LeaveGroup) and
//! the wiki page "Kafka Client-side Assignment Proposal"; KIP-62 (session and rebalance timeouts
//! are different things), KIP-134 (an empty group waits for more members), KIP-394 (a new member
//! joins in two steps, so that a lost answer leaves no ghost). Static membership (KIP-345) and
//! cooperative rebalance (KIP-429) are not modelled.
//!
//! Synchronous: a request goes in with a ticket, answers come out with tickets, some of them later.
//!
//! # Invariants
//! - Each ticket is answered at most once; a member holds at most one unanswered ticket.
//! - A commit is accepted only from a member of the present generation.
//! - In phase `Stable` every member has an assignment (which may be empty).

use std::collections::BTreeMap;
use std::time::Duration;

use backdate_engine::defects::{Defect, is_planted};
use backdate_engine::ports::log::{Position, Topic};
use backdate_reports::recording::SimTime;
use smol_str::SmolStr;

use super::wire::{Assignment, GroupRequest, GroupResponse, Join};
use super::{Disk, Place, millis};

/// Stands for a request that waits for its answer.
pub(super) type Ticket = u64;

/// What an operation on a group causes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Answer(Ticket, GroupResponse),
    Committed(Vec<Position>),
    CommitRefused { member: SmolStr },
}

/// A group.
#[derive(Debug)]
pub(super) struct Group {
    name: SmolStr,
    disk: Disk,
    initial_delay: Duration,
    generation: u32,
    phase: Phase,
    leader: Option<SmolStr>,
    members: BTreeMap<SmolStr, Member>,
    /// Ids that were given and not used yet, with their end.
    promised: BTreeMap<SmolStr, SimTime>,
    joins: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Empty,
    /// Waits for members to join, at most until then; an `initial` one waits that long in any case.
    Preparing {
        until: SimTime,
        initial: bool,
    },
    /// Waits for the leader's assignments.
    Completing {
        until: SimTime,
    },
    Stable,
}

#[derive(Debug)]
struct Member {
    topics: Vec<Topic>,
    session: Duration,
    rebalance: Duration,
    session_end: SimTime,
    /// Order of joining: the first one leads.
    order: u64,
    join: Option<Ticket>,
    sync: Option<Ticket>,
    assignment: Vec<Place>,
}

impl Group {
    pub(super) fn new(name: SmolStr, disk: Disk, initial_delay: Duration) -> Self {
        Self {
            name,
            disk,
            initial_delay,
            generation: 0,
            phase: Phase::Empty,
            leader: None,
            members: BTreeMap::new(),
            promised: BTreeMap::new(),
            joins: 0,
        }
    }

    /// Takes a request.
    pub(super) fn apply(
        &mut self,
        now: SimTime,
        ticket: Ticket,
        request: GroupRequest,
    ) -> Vec<Effect> {
        let mut out = Vec::new();
        let answer = match request {
            GroupRequest::Join(join) => self.join(now, ticket, join, &mut out),
            GroupRequest::Sync { member, generation, assignments } => {
                self.sync(now, ticket, &member, generation, assignments, &mut out)
            }
            GroupRequest::Heartbeat { member, generation } => {
                Some(self.heartbeat(now, &member, generation))
            }
            GroupRequest::Commit { member, generation, positions } => {
                Some(self.commit(now, member, generation, positions, &mut out))
            }
            GroupRequest::Leave { member } => Some(self.leave(now, &member, &mut out)),
        };
        out.extend(answer.map(|answer| Effect::Answer(ticket, answer)));
        out
    }

    /// Makes all members join again.
    pub(super) fn rebalance(&mut self, now: SimTime) -> Vec<Effect> {
        let mut out = Vec::new();
        if !self.members.is_empty() {
            self.prepare(now, &mut out);
        }
        out
    }

    /// Sends away whoever waits for an answer: the group is coordinated elsewhere, or anew.
    pub(super) fn resign(self) -> Vec<Effect> {
        let waiting = self.members.into_values();
        let tickets = waiting.flat_map(|member| member.join.into_iter().chain(member.sync));
        tickets.map(|ticket| Effect::Answer(ticket, GroupResponse::NotCoordinator)).collect()
    }

    /// When [`Group::expire`] has something to do, if nothing else happens.
    pub(super) fn deadline(&self) -> Option<SimTime> {
        let sessions = self.members.values().filter(|member| !member.waits());
        let sessions = sessions.map(|member| member.session_end);
        let phase = match self.phase {
            Phase::Preparing { until, .. } | Phase::Completing { until } => Some(until),
            Phase::Empty | Phase::Stable => None,
        };
        let promised = self.promised.values().copied();
        sessions.chain(promised).chain(phase).min()
    }

    /// Ends what has lasted too long.
    pub(super) fn expire(&mut self, now: SimTime) -> Vec<Effect> {
        let mut out = Vec::new();
        self.promised.retain(|_, end| *end > now);
        let over = |member: &Member| !member.waits() && member.session_end <= now;
        while let Some((id, _)) = self.members.iter().find(|(_, member)| over(member)) {
            let id = id.clone();
            self.remove(now, &id, &mut out);
        }
        match self.phase {
            Phase::Preparing { until, .. } if until <= now => self.complete_join(now, &mut out),
            Phase::Completing { until } if until <= now => {
                // KAFKA-9752: who did not ask for its assignment in time is taken for dead.
                self.members.retain(|_, member| member.sync.is_some());
                self.prepare(now, &mut out);
            }
            _ => {}
        }
        out
    }

    fn join(
        &mut self,
        now: SimTime,
        ticket: Ticket,
        join: Join,
        out: &mut Vec<Effect>,
    ) -> Option<GroupResponse> {
        let Some(id) = join.member.clone() else {
            let id = self.disk.next_member(&self.name, &join.client);
            let end = now + millis(join.session_ms);
            self.promised.insert(id.clone(), end);
            return Some(GroupResponse::MemberId(id));
        };
        if let Some(member) = self.members.get_mut(&id) {
            member.session_end = now + member.session;
            let settled = match self.phase {
                Phase::Stable => self.leader.as_ref() != Some(&id),
                Phase::Completing { .. } => true,
                Phase::Preparing { .. } | Phase::Empty => false,
            };
            if settled && member.topics == join.topics {
                // Its first answer was lost; nothing has changed since.
                return Some(self.joined(&id));
            }
            member.topics = join.topics;
            let replaced = member.join.replace(ticket);
            out.extend(replaced.map(|t| Effect::Answer(t, GroupResponse::Rebalancing)));
        } else if self.promised.remove(&id).is_some() {
            self.joins += 1;
            let session = millis(join.session_ms);
            let member = Member {
                topics: join.topics,
                session,
                rebalance: millis(join.rebalance_ms),
                session_end: now + session,
                order: self.joins,
                join: Some(ticket),
                sync: None,
                assignment: Vec::new(),
            };
            self.members.insert(id, member);
        } else {
            return Some(GroupResponse::UnknownMember);
        }
        self.prepare(now, out);
        None
    }

    fn sync(
        &mut self,
        now: SimTime,
        ticket: Ticket,
        id: &SmolStr,
        generation: u32,
        assignments: Vec<Assignment>,
        out: &mut Vec<Effect>,
    ) -> Option<GroupResponse> {
        if let Some(refusal) = self.refuses(id, generation) {
            return Some(refusal);
        }
        let member = self.members.get_mut(id).expect("refuses() knows all members");
        member.session_end = now + member.session;
        match self.phase {
            Phase::Empty | Phase::Preparing { .. } => Some(GroupResponse::Rebalancing),
            Phase::Stable => Some(GroupResponse::Synced(member.assignment.clone())),
            Phase::Completing { .. } => {
                let replaced = member.sync.replace(ticket);
                out.extend(replaced.map(|t| Effect::Answer(t, GroupResponse::Rebalancing)));
                if self.leader.as_ref() == Some(id) {
                    self.distribute(now, assignments, out);
                }
                None
            }
        }
    }

    fn heartbeat(&mut self, now: SimTime, id: &SmolStr, generation: u32) -> GroupResponse {
        if let Some(refusal) = self.refuses(id, generation) {
            return refusal;
        }
        let member = self.members.get_mut(id).expect("refuses() knows all members");
        member.session_end = now + member.session;
        match self.phase {
            Phase::Preparing { .. } => GroupResponse::Rebalancing,
            Phase::Empty | Phase::Completing { .. } | Phase::Stable => GroupResponse::Done,
        }
    }

    /// While a rebalance is being prepared the old generation may still commit, so that a member
    /// can finish what it has read before it joins again.
    fn commit(
        &mut self,
        now: SimTime,
        id: SmolStr,
        generation: u32,
        positions: Vec<Position>,
        out: &mut Vec<Effect>,
    ) -> GroupResponse {
        let completing = matches!(self.phase, Phase::Completing { .. });
        let refusal = self.refuses(&id, generation);
        let refusal = refusal.or_else(|| completing.then_some(GroupResponse::Rebalancing));
        if refusal.is_some() && is_planted(Defect::ZombieCommitAccepted) {
            self.disk.commit(&self.name, &positions);
            out.push(Effect::Committed(positions));
            return GroupResponse::Done;
        }
        if let Some(refusal) = refusal {
            out.push(Effect::CommitRefused { member: id });
            return refusal;
        }
        let member = self.members.get_mut(&id).expect("refuses() knows all members");
        member.session_end = now + member.session;
        self.disk.commit(&self.name, &positions);
        out.push(Effect::Committed(positions));
        GroupResponse::Done
    }

    fn leave(&mut self, now: SimTime, id: &SmolStr, out: &mut Vec<Effect>) -> GroupResponse {
        self.promised.remove(id);
        if self.members.contains_key(id) {
            self.remove(now, id, out);
        }
        GroupResponse::Done
    }

    fn refuses(&self, id: &SmolStr, generation: u32) -> Option<GroupResponse> {
        if !self.members.contains_key(id) {
            Some(GroupResponse::UnknownMember)
        } else if generation != self.generation {
            Some(GroupResponse::IllegalGeneration)
        } else {
            None
        }
    }

    fn remove(&mut self, now: SimTime, id: &SmolStr, out: &mut Vec<Effect>) {
        let member = self.members.remove(id).expect("callers have found it");
        for ticket in member.join.into_iter().chain(member.sync) {
            out.push(Effect::Answer(ticket, GroupResponse::UnknownMember));
        }
        self.prepare(now, out);
    }

    /// A rebalance begins, or goes on with one member more or less.
    fn prepare(&mut self, now: SimTime, out: &mut Vec<Effect>) {
        match self.phase {
            Phase::Preparing { initial: true, .. } => return,
            Phase::Preparing { .. } => {}
            Phase::Empty => {
                let until = now + self.initial_delay;
                self.phase = Phase::Preparing { until, initial: true };
                return;
            }
            Phase::Completing { .. } | Phase::Stable => {
                let waits = self.members.values().map(|member| member.rebalance).max();
                let until = now + waits.unwrap_or_default();
                self.phase = Phase::Preparing { until, initial: false };
                for member in self.members.values_mut() {
                    member.assignment.clear();
                    if let Some(ticket) = member.sync.take() {
                        member.session_end = now + member.session;
                        out.push(Effect::Answer(ticket, GroupResponse::Rebalancing));
                    }
                }
            }
        }
        if self.members.values().all(|member| member.join.is_some()) {
            self.complete_join(now, out);
        }
    }

    fn complete_join(&mut self, now: SimTime, out: &mut Vec<Effect>) {
        self.members.retain(|_, member| member.join.is_some());
        self.generation = self.disk.next_generation(&self.name);
        let first = self.members.iter().min_by_key(|(_, member)| member.order);
        self.leader = first.map(|(id, _)| id.clone());
        let waits = self.members.values().map(|member| member.rebalance).max();
        self.phase = match waits {
            None => Phase::Empty,
            Some(wait) => Phase::Completing { until: now + wait },
        };
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for id in ids {
            let answer = self.joined(&id);
            let member = self.members.get_mut(&id).expect("its id was just read");
            member.session_end = now + member.session;
            let ticket = member.join.take().expect("the others were just removed");
            out.push(Effect::Answer(ticket, answer));
        }
    }

    fn joined(&self, id: &SmolStr) -> GroupResponse {
        let leads = self.leader.as_ref() == Some(id);
        let members = self.members.iter().filter(|_| leads);
        GroupResponse::Joined {
            generation: self.generation,
            members: members.map(|(id, member)| (id.clone(), member.topics.clone())).collect(),
        }
    }

    fn distribute(&mut self, now: SimTime, assignments: Vec<Assignment>, out: &mut Vec<Effect>) {
        for Assignment { member, places } in assignments {
            if let Some(member) = self.members.get_mut(&member) {
                member.assignment = places;
            }
        }
        self.phase = Phase::Stable;
        for member in self.members.values_mut() {
            if let Some(ticket) = member.sync.take() {
                member.session_end = now + member.session;
                let answer = GroupResponse::Synced(member.assignment.clone());
                out.push(Effect::Answer(ticket, answer));
            }
        }
    }
}

impl Member {
    /// Whoever waits for an answer is alive: it cannot send heartbeats on the same connection.
    fn waits(&self) -> bool {
        self.join.is_some() || self.sync.is_some()
    }
}

#[cfg(test)]
mod tests;
