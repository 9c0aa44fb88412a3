//! Claims about a group's protocol, without network and without tasks.

use std::rc::Rc;

use super::*;
use crate::kafka::ClusterSpec;
use crate::kafka::controller::Controller;

const GROUP: &str = "g";

struct Bench {
    group: Group,
    disk: Disk,
    now: SimTime,
    tickets: Ticket,
}

impl Bench {
    fn new() -> Self {
        let spec = Rc::new(ClusterSpec::default());
        let disk = Disk::new(spec.clone(), Controller::new(spec));
        let group = Group::new(GROUP.into(), disk.clone(), millis(300));
        Self { group, disk, now: SimTime(0), tickets: 0 }
    }

    fn apply(&mut self, request: GroupRequest) -> (Ticket, Vec<Effect>) {
        self.tickets += 1;
        (self.tickets, self.group.apply(self.now, self.tickets, request))
    }

    /// The answer to a request that is answered at once.
    fn ask(&mut self, request: GroupRequest) -> GroupResponse {
        let (ticket, effects) = self.apply(request);
        answer(&effects, ticket).expect("answered at once")
    }

    fn join(&mut self, member: Option<&SmolStr>) -> (Ticket, Vec<Effect>) {
        self.apply(GroupRequest::Join(Join {
            member: member.cloned(),
            client: "c-1".into(),
            topics: vec![Topic::MarketPrices],
            session_ms: 10_000,
            rebalance_ms: 60_000,
        }))
    }

    fn new_id(&mut self) -> SmolStr {
        let (ticket, effects) = self.join(None);
        match answer(&effects, ticket) {
            Some(GroupResponse::MemberId(id)) => id,
            other => panic!("{other:?} instead of an id"),
        }
    }

    fn pass(&mut self, ms: u64) -> Vec<Effect> {
        self.now = self.now + millis(ms);
        self.group.expire(self.now)
    }

    fn heartbeat(&mut self, member: &SmolStr, generation: u32) -> GroupResponse {
        self.ask(GroupRequest::Heartbeat { member: member.clone(), generation })
    }

    fn commit(&mut self, member: &SmolStr, generation: u32, next_offset: u64) -> GroupResponse {
        let position = Position { topic: Topic::MarketPrices, partition: 0, next_offset };
        let positions = vec![position];
        self.ask(GroupRequest::Commit { member: member.clone(), generation, positions })
    }

    fn sync(&mut self, member: &SmolStr, generation: u32, to: &[(&SmolStr, u32)]) -> Ticket {
        let assignments = to.iter().map(|(member, partition)| Assignment {
            member: SmolStr::clone(member),
            places: vec![(Topic::MarketPrices, *partition)],
        });
        let assignments = assignments.collect();
        let member = member.clone();
        self.apply(GroupRequest::Sync { member, generation, assignments }).0
    }

    /// Two members in a stable generation.
    fn pair(&mut self) -> (SmolStr, SmolStr, u32) {
        let (a, b) = (self.new_id(), self.new_id());
        let (first, _) = self.join(Some(&a));
        let (second, _) = self.join(Some(&b));
        let effects = self.pass(300);
        let Some(GroupResponse::Joined { generation, members }) = answer(&effects, first) else {
            panic!("{effects:?}");
        };
        assert_eq!(members.len(), 2, "the first one leads");
        let follower = GroupResponse::Joined { generation, members: Vec::new() };
        assert_eq!(answer(&effects, second), Some(follower));
        self.sync(&b, generation, &[]);
        self.sync(&a, generation, &[(&a, 0), (&b, 1)]);
        (a, b, generation)
    }
}

fn answer(effects: &[Effect], ticket: Ticket) -> Option<GroupResponse> {
    effects.iter().find_map(|effect| match effect {
        Effect::Answer(to, answer) if *to == ticket => Some(answer.clone()),
        _ => None,
    })
}

#[test]
fn followers_wait_for_the_leaders_assignment() {
    let mut bench = Bench::new();
    let (a, b) = (bench.new_id(), bench.new_id());
    bench.join(Some(&a));
    bench.join(Some(&b));
    bench.pass(300);
    let request = GroupRequest::Sync { member: b.clone(), generation: 1, assignments: Vec::new() };
    let (follower, effects) = bench.apply(request);
    assert_eq!(effects, []);
    let places = |partition| vec![(Topic::MarketPrices, partition)];
    let assignments = vec![
        Assignment { member: a.clone(), places: places(0) },
        Assignment { member: b, places: places(1) },
    ];
    let request = GroupRequest::Sync { member: a, generation: 1, assignments };
    let (leader, effects) = bench.apply(request);
    assert_eq!(answer(&effects, leader), Some(GroupResponse::Synced(places(0))));
    assert_eq!(answer(&effects, follower), Some(GroupResponse::Synced(places(1))));
}

#[test]
fn a_silent_member_is_removed_and_its_commit_refused() {
    let mut bench = Bench::new();
    let (a, b, generation) = bench.pair();
    for _ in 0..9 {
        bench.pass(1_000);
        assert_eq!(bench.heartbeat(&a, generation), GroupResponse::Done);
    }
    bench.pass(1_000);
    assert_eq!(bench.heartbeat(&a, generation), GroupResponse::Rebalancing);
    assert_eq!(bench.commit(&b, generation, 7), GroupResponse::UnknownMember);
    let (_, effects) =
        bench.apply(GroupRequest::Commit { member: b.clone(), generation, positions: Vec::new() });
    assert!(effects.contains(&Effect::CommitRefused { member: b }));
    assert!(bench.disk.committed(GROUP).is_empty());
    let (ticket, effects) = bench.join(Some(&a));
    let members = vec![(a, vec![Topic::MarketPrices])];
    let joined = GroupResponse::Joined { generation: generation + 1, members };
    assert_eq!(answer(&effects, ticket), Some(joined));
}

#[test]
fn the_old_generation_commits_until_the_new_one_begins() {
    let mut bench = Bench::new();
    let (a, b, generation) = bench.pair();
    let c = bench.new_id();
    bench.join(Some(&c));
    assert_eq!(bench.heartbeat(&a, generation), GroupResponse::Rebalancing);
    assert_eq!(bench.commit(&a, generation, 3), GroupResponse::Done);
    bench.join(Some(&a));
    let (last, effects) = bench.join(Some(&b));
    assert!(answer(&effects, last).is_some(), "all three have joined");
    assert_eq!(bench.commit(&a, generation, 5), GroupResponse::IllegalGeneration);
    assert_eq!(bench.commit(&a, generation + 1, 5), GroupResponse::Rebalancing);
    assert_eq!(bench.disk.committed(GROUP), [((Topic::MarketPrices, 0), 3)].into());
}

#[test]
fn a_member_that_does_not_rejoin_is_left_behind() {
    let mut bench = Bench::new();
    let (a, b, generation) = bench.pair();
    bench.group.rebalance(bench.now);
    let (ticket, effects) = bench.join(Some(&a));
    assert_eq!(answer(&effects, ticket), None);
    let mut answered = None;
    for second in 1..=60 {
        let effects = bench.pass(1_000);
        answered = answered.or(answer(&effects, ticket).map(|answer| (second, answer)));
        if answered.is_none() {
            assert_eq!(bench.heartbeat(&b, generation), GroupResponse::Rebalancing);
        }
    }
    let members = vec![(a, vec![Topic::MarketPrices])];
    let joined = GroupResponse::Joined { generation: generation + 1, members };
    assert_eq!(answered, Some((60, joined)));
    assert_eq!(bench.heartbeat(&b, generation), GroupResponse::UnknownMember);
}

#[test]
fn the_death_of_the_leader_before_it_assigns_sends_followers_back() {
    let mut bench = Bench::new();
    let (a, b) = (bench.new_id(), bench.new_id());
    bench.join(Some(&a));
    bench.join(Some(&b));
    bench.pass(300);
    let waiting = bench.sync(&b, 1, &[]);
    let effects = bench.pass(10_000);
    assert_eq!(answer(&effects, waiting), Some(GroupResponse::Rebalancing));
    let (ticket, effects) = bench.join(Some(&b));
    let members = vec![(b, vec![Topic::MarketPrices])];
    assert_eq!(answer(&effects, ticket), Some(GroupResponse::Joined { generation: 2, members }));
}

#[test]
fn a_lost_answer_is_repeated_without_a_rebalance() {
    let mut bench = Bench::new();
    let (a, b, generation) = bench.pair();
    let (ticket, effects) = bench.join(Some(&b));
    let again = GroupResponse::Joined { generation, members: Vec::new() };
    assert_eq!(answer(&effects, ticket), Some(again));
    assert_eq!(bench.heartbeat(&a, generation), GroupResponse::Done);
}

#[test]
fn a_new_coordinator_knows_nobody_and_repeats_no_generation() {
    let mut bench = Bench::new();
    let (a, _, generation) = bench.pair();
    bench.group = Group::new(GROUP.into(), bench.disk.clone(), millis(300));
    assert_eq!(bench.heartbeat(&a, generation), GroupResponse::UnknownMember);
    let (ticket, effects) = bench.join(Some(&a));
    assert_eq!(answer(&effects, ticket), Some(GroupResponse::UnknownMember));
    let c = bench.new_id();
    let (ticket, _) = bench.join(Some(&c));
    let effects = bench.pass(300);
    let members = vec![(c, vec![Topic::MarketPrices])];
    assert_eq!(
        answer(&effects, ticket),
        Some(GroupResponse::Joined { generation: generation + 1, members })
    );
}
