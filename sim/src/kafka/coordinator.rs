//! A consumer's membership of its group: joining, heartbeats, commits, leaving.
//!
//! The client's side of `group.rs`. Heartbeats run in a task of their own and keep the member
//! in its group while the engine works; if the engine does not poll for `max.poll.interval.ms`, the
//! same task leaves the group (KIP-62).
//!
//! # Invariants
//! - Requests to the coordinator go one after the other over one connection.
//! - No heartbeat and no commit is sent while a join is under way, as in Kafka's clients.
//! - A group that has moved is found by asking the brokers (`FindCoordinator`), no sooner than its
//!   coordinator cannot be reached or says that it is none.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use backdate_engine::ports::log::{LogError, Position, Topic};
use backdate_reports::recording::SimTime;
use bytes::Bytes;
use smol_str::SmolStr;

use super::assignor::assign;
use super::client::Client;
use super::link::Link;
use super::wire::{GroupRequest, GroupResponse, Join, Request, Response, decode, encode};
use super::{OffsetReset, Place, millis};
use crate::world::sync::{Notify, Workers};

/// What a coordinator may need beyond the rebalance timeout to answer a join (KAFKA-7610).
const JOIN_SLACK: Duration = Duration::from_secs(5);

/// A membership, shared by a consumer and its heartbeats.
pub(super) struct Coordinator {
    client: Client,
    group: SmolStr,
    topics: Vec<Topic>,
    /// One request at a time.
    turn: Workers,
    /// The coordinator as far as is known.
    broker: Cell<u32>,
    link: Cell<Option<Link>>,
    member: RefCell<Option<SmolStr>>,
    generation: Cell<u32>,
    standing: Cell<Standing>,
    polled_at: Cell<SimTime>,
    /// Rings when a running poll should look at the standing again.
    pub(super) bell: Notify,
}

/// How the member stands to its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It must join, under the id it has.
    Outside,
    /// A join is under way.
    Joining,
    /// It has partitions.
    Inside,
    /// It must join under the id it has, and is waited for: heartbeats go on until it polls.
    Recalled,
    /// The group goes on without it: it must join under a new id.
    Lost,
}

impl Coordinator {
    pub(super) fn new(client: Client, group: SmolStr, topics: &[Topic]) -> Rc<Self> {
        let now = client.process.now();
        let coordinator = Rc::new(Self {
            client: client.clone(),
            broker: Cell::new(client.spec.coordinator_of(&group)),
            group,
            topics: topics.to_vec(),
            turn: Workers::new(1),
            link: Cell::new(None),
            member: RefCell::default(),
            generation: Cell::new(0),
            standing: Cell::new(Standing::Outside),
            polled_at: Cell::new(now),
            bell: Notify::default(),
        });
        let weak = Rc::downgrade(&coordinator);
        client.process.spawn(keep_alive(client.clone(), weak));
        coordinator
    }

    /// Notes that the engine is alive.
    pub(super) fn polled(&self) {
        self.polled_at.set(self.client.process.now());
    }

    /// Whether the member has to join (again): its partitions are gone.
    pub(super) fn must_join(&self) -> bool {
        !matches!(self.standing.get(), Standing::Joining | Standing::Inside)
    }

    /// Joins the group and waits until all others have; where to read from, by partition. After an
    /// error the member is outside again.
    pub(super) async fn join(self: Rc<Self>) -> Result<Vec<Position>, LogError> {
        if self.standing.replace(Standing::Joining) == Standing::Lost {
            self.member.replace(None);
        }
        let joined = self.join_and_sync().await;
        self.standing.set(match joined {
            Ok(_) => Standing::Inside,
            Err(_) => Standing::Outside,
        });
        joined
    }

    /// Commits; a member whose place in the group is not sure asks the broker, which refuses.
    pub(super) async fn commit(&self, positions: &[Position]) -> Result<(), LogError> {
        let (Some((member, generation)), false) = (self.identity(), self.is_joining()) else {
            return Err(LogError::Fenced);
        };
        let positions = positions.to_vec();
        let request = GroupRequest::Commit { member, generation, positions };
        match self.ask(request, self.client.request_timeout()).await? {
            GroupResponse::Done => Ok(()),
            refusal => {
                self.demote(generation, &refusal);
                Err(LogError::Fenced)
            }
        }
    }

    /// Leaves the group, if it can be reached; else the session times out.
    pub(super) async fn leave(&self) {
        let member = self.member.borrow().clone();
        self.standing.set(Standing::Lost);
        if let Some(member) = member {
            let request = GroupRequest::Leave { member };
            // The group does without this member either way, so the outcome is nobody's business.
            let _ = self.ask(request, self.client.request_timeout()).await;
        }
    }

    async fn join_and_sync(&self) -> Result<Vec<Position>, LogError> {
        let timings = self.client.spec.timings;
        let patience = millis(timings.max_poll_ms) + JOIN_SLACK;
        loop {
            let join = Join {
                member: self.member.borrow().clone(),
                client: SmolStr::new(self.client.process.name()),
                topics: self.topics.clone(),
                session_ms: timings.session_ms,
                rebalance_ms: timings.max_poll_ms,
            };
            let (generation, members) = match self.ask(GroupRequest::Join(join), patience).await? {
                GroupResponse::Joined { generation, members } => (generation, members),
                GroupResponse::MemberId(id) => {
                    self.member.replace(Some(id));
                    continue;
                }
                refusal => {
                    self.forget_if_unknown(&refusal);
                    continue;
                }
            };
            let Some(member) = self.member.borrow().clone() else {
                return Err(LogError::Unsupported("a join without a member id".into()));
            };
            let assignments = assign(&members, |topic| self.client.spec.partitions_of(topic));
            let sync = GroupRequest::Sync { member, generation, assignments };
            match self.ask(sync, patience).await? {
                GroupResponse::Synced(places) => {
                    self.generation.set(generation);
                    return self.committed(places).await;
                }
                refusal => self.forget_if_unknown(&refusal),
            }
        }
    }

    /// Where to go on: after what the group has committed, else nowhere in particular, which is
    /// before the first record or behind the last one.
    async fn committed(&self, places: Vec<Place>) -> Result<Vec<Position>, LogError> {
        let request = Request::Committed { group: self.group.clone(), of: places.clone() };
        let answer = self.exchange(&encode(&request), self.client.request_timeout()).await?;
        let Response::Committed(offsets) = decode(&answer) else {
            return Err(LogError::Unsupported(format!("{:?}", decode::<Response<'_>>(&answer))));
        };
        let nowhere = match self.client.spec.offset_reset {
            OffsetReset::Earliest => 0,
            OffsetReset::Latest | OffsetReset::None => u64::MAX,
        };
        let position = |((topic, partition), offset): (Place, Option<u64>)| Position {
            topic,
            partition,
            next_offset: offset.unwrap_or(nowhere),
        };
        Ok(places.into_iter().zip(offsets).map(position).collect())
    }

    async fn beat(&self) {
        let Some((member, generation)) = self.identity() else {
            return;
        };
        if !self.is_member() {
            return;
        }
        let timings = &self.client.spec.timings;
        let silence = self.client.process.now().since(self.polled_at.get());
        if silence >= millis(timings.max_poll_ms) {
            self.leave().await;
            return;
        }
        let request = GroupRequest::Heartbeat { member, generation };
        // A broker that cannot be reached is asked again at the next beat.
        if let Ok(answer) = self.ask(request, millis(timings.session_ms)).await {
            self.demote(generation, &answer);
        }
    }

    /// Takes note of a refusal, unless the member has joined a newer generation meanwhile.
    fn demote(&self, generation: u32, answer: &GroupResponse) {
        if !self.is_member() || self.generation.get() != generation {
            return;
        }
        match answer {
            GroupResponse::Rebalancing => self.standing.set(Standing::Recalled),
            GroupResponse::IllegalGeneration => self.standing.set(Standing::Outside),
            GroupResponse::UnknownMember => self.standing.set(Standing::Lost),
            _ => return,
        }
        self.bell.notify_one();
    }

    fn forget_if_unknown(&self, answer: &GroupResponse) {
        if *answer == GroupResponse::UnknownMember {
            self.member.replace(None);
        }
    }

    fn identity(&self) -> Option<(SmolStr, u32)> {
        let member = self.member.borrow().clone();
        member.map(|member| (member, self.generation.get()))
    }

    fn is_member(&self) -> bool {
        matches!(self.standing.get(), Standing::Inside | Standing::Recalled)
    }

    fn is_joining(&self) -> bool {
        self.standing.get() == Standing::Joining
    }

    async fn ask(
        &self,
        request: GroupRequest,
        within: Duration,
    ) -> Result<GroupResponse, LogError> {
        let frame = encode(&Request::Group(self.group.clone(), request));
        let answer = self.exchange(&frame, within).await?;
        match decode(&answer) {
            Response::Group(answer) => Ok(answer),
            Response::Unsupported(what) => Err(LogError::Unsupported(what)),
            other => Err(LogError::Unsupported(format!("{other:?} to a group's request"))),
        }
    }

    /// Asks the coordinator; whoever is not any more sends the caller on.
    async fn exchange(&self, frame: &[u8], within: Duration) -> Result<Bytes, LogError> {
        let _turn = self.turn.acquire().await;
        let deadline = self.client.process.now() + within;
        let mut failures = 0;
        loop {
            let patience = deadline.since(self.client.process.now());
            let answer = self.call(self.broker.get(), frame, patience).await;
            let Ok(bytes) = &answer else {
                // The group may have moved from a broker that is dead; the next request will see.
                self.find().await;
                return answer;
            };
            if !matches!(decode(bytes), Response::Group(GroupResponse::NotCoordinator)) {
                return answer;
            }
            self.find().await;
            failures += 1;
            let moves = LogError::Disconnected("the coordinator of the group moves".into());
            self.client.pause(failures, deadline, moves).await?;
        }
    }

    /// Asks the brokers in turn who coordinates the group. The only one need not be asked.
    async fn find(&self) {
        let brokers = self.client.spec.brokers;
        if brokers == 1 {
            return;
        }
        let known = self.broker.get();
        let frame = encode(&Request::FindCoordinator(self.group.clone()));
        for broker in (1..=brokers).map(|step| (known - 1 + step) % brokers + 1) {
            let answer = self.call(broker, &frame, self.client.request_timeout()).await;
            if let Ok(answer) = answer
                && let Response::Coordinator(found) = decode(&answer)
            {
                self.broker.set(found);
                return;
            }
        }
    }

    async fn call(&self, broker: u32, frame: &[u8], within: Duration) -> Result<Bytes, LogError> {
        let kept = self.link.take().filter(|link| link.broker() == broker);
        let mut link = kept.unwrap_or_else(|| Link::new(self.client.process.clone(), broker));
        let answer = link.call(frame, within).await;
        self.link.set(Some(link));
        answer
    }
}

/// Beats while somebody holds the membership.
async fn keep_alive(client: Client, coordinator: Weak<Coordinator>) {
    let period = millis(client.spec.timings.heartbeat_ms);
    loop {
        client.process.sleep(period).await;
        match coordinator.upgrade() {
            Some(coordinator) => coordinator.beat().await,
            None => return,
        }
    }
}
