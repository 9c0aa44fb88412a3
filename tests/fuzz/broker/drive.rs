//! Drives the members of a group through a schedule and writes down what can be observed.
//!
//! Each act is followed until the group is at rest: every partition has one member, shares differ
//! by one at most, and whatever is to be delivered was. What is to be delivered is reckoned here
//! from acts alone, but only to know how long to wait: what is written down is what came.

use std::collections::{BTreeMap, BTreeSet};

use backdate_engine::ports::log::{
    Headers, Log, LogConsumer, LogError, LogProducer, NewRecord, Position, Record, Topic,
};

use super::schedule::{Act, Schedule};
use crate::contract::site::{Assigned, LogSite};

pub(super) const TOPIC: Topic = Topic::MarketPrices;
pub(super) const GROUP: &str = "group";
/// How long the group may take to come to rest.
const REST_MS: u64 = 20_000;
/// Rounds of polls that bring nothing more, at the end of each act.
const SURPLUS_ROUNDS: usize = 3;
/// Pause of a round in which no member waits inside of a poll.
const ROUND_MS: u64 = 10;

/// A site where members can die, and where committed positions can be looked up from outside.
pub(super) trait Stage: LogSite {
    /// What the life of a member hangs on.
    type Life;

    /// Lets a member join.
    async fn join(&self) -> (Self::Consumer, Self::Life);

    /// Lets a member die without a word: the brokers miss it when its session is over.
    fn die(&self, member: Self::Consumer, life: Self::Life);

    /// Committed positions of the group, by partition.
    async fn committed(&self) -> BTreeMap<u32, u64>;
}

/// A group at work.
struct Run<'a, S: Stage> {
    stage: &'a S,
    schedule: &'a Schedule,
    /// A message key of each partition.
    keys: &'a [String],
    producers: Vec<S::Producer>,
    members: Vec<S::Consumer>,
    /// Of the members, in the same order.
    lives: Vec<S::Life>,
    /// End of each partition.
    ends: BTreeMap<u32, u64>,
    committed: BTreeMap<u32, u64>,
    sent: u32,
    /// What came since the act began.
    came: BTreeMap<u32, BTreeSet<u64>>,
    /// Value of each record, by partition and offset, as it came first.
    values: BTreeMap<(u32, u64), String>,
    course: Vec<String>,
}

/// Runs a schedule on an empty topic.
pub(super) async fn drive<S: Stage>(
    stage: &S,
    schedule: &Schedule,
    keys: &[String],
) -> Vec<String> {
    let log = stage.log();
    let mut producers = Vec::new();
    for _ in 0..2 {
        producers.push(log.producer().await.expect("the broker is up"));
    }
    let mut run = Run {
        stage,
        schedule,
        keys,
        producers,
        members: Vec::new(),
        lives: Vec::new(),
        ends: (0..schedule.partitions).map(|partition| (partition, 0)).collect(),
        committed: BTreeMap::new(),
        sent: 0,
        came: BTreeMap::new(),
        values: BTreeMap::new(),
        course: Vec::new(),
    };
    for act in &schedule.acts {
        run.came.clear();
        let outcome = run.act(act).await;
        run.note(act, &outcome).await;
    }
    // The links of the members end after them.
    let Run { mut course, members, lives: _lives, values, .. } = run;
    for member in members {
        member.close().await;
    }
    let records = values.iter().map(|((p, offset), value)| format!("{p}:{offset} {value}"));
    course.extend(records);
    course
}

impl<S: Stage> Run<'_, S> {
    async fn act(&mut self, act: &Act) -> String {
        let mut expected = BTreeSet::new();
        let outcome = match act {
            Act::Produce { producer, to, count } => {
                let begin = self.ends.clone();
                let outcome = self.produce(*producer, to, *count).await;
                if !self.members.is_empty() {
                    expected = self.records_from(|p| begin[&p]);
                }
                outcome
            }
            Act::Commit { partition, back } => self.commit_back(*partition, *back).await,
            Act::Seek { partition, back } => {
                let next_offset = self.ends[partition].saturating_sub(*back);
                let position = Position { topic: TOPIC, partition: *partition, next_offset };
                let owner = self.owner(*partition);
                self.members[owner].seek(position);
                let ends = self.ends.clone();
                expected =
                    self.records_from(|p| if p == *partition { next_offset } else { ends[&p] });
                String::from("done")
            }
            Act::Join => {
                let (member, life) = self.stage.join().await;
                self.members.push(member);
                self.lives.push(life);
                expected = self.uncommitted();
                String::from("done")
            }
            Act::Leave(partition) => {
                let (member, _life) = self.take_out(*partition);
                member.close().await;
                expected = self.uncommitted();
                String::from("done")
            }
            Act::Die(partition) => {
                let (member, life) = self.take_out(*partition);
                self.stage.die(member, life);
                expected = self.uncommitted();
                String::from("done")
            }
            Act::Hang(partition) => {
                expected = self.uncommitted();
                self.hang(*partition).await
            }
        };
        if !self.members.is_empty() {
            self.rest(&expected).await;
        }
        outcome
    }

    async fn produce(&mut self, producer: usize, to: &[u32], count: u32) -> String {
        let mut records = Vec::new();
        for _ in 0..count {
            for &partition in to {
                self.sent += 1;
                *self.ends.entry(partition).or_default() += 1;
                records.push(NewRecord {
                    topic: TOPIC,
                    key: self.keys[partition as usize].as_str().into(),
                    value: self.sent.to_string().into_bytes(),
                    headers: Headers::default(),
                });
            }
        }
        told(self.producers[producer].send(records).await)
    }

    async fn commit_back(&mut self, partition: u32, back: u64) -> String {
        let next_offset = self.ends[&partition].saturating_sub(back);
        let owner = self.owner(partition);
        let position = Position { topic: TOPIC, partition, next_offset };
        let outcome = self.members[owner].commit(&[position]).await;
        if outcome.is_ok() {
            self.committed.insert(partition, next_offset);
        }
        told(outcome)
    }

    /// One member does not poll until the others have its partitions, or, where there are none,
    /// until its time is over.
    async fn hang(&mut self, partition: u32) -> String {
        let (mut zombie, life) = self.take_out(partition);
        if self.members.is_empty() {
            self.stage.sleep(super::MAX_POLL_MS + 1_000).await;
        } else {
            let expected = self.uncommitted();
            self.rest(&expected).await;
        }
        let next_offset = self.ends[&partition];
        let outcome = zombie.commit(&[Position { topic: TOPIC, partition, next_offset }]).await;
        self.members.push(zombie);
        self.lives.push(life);
        told(outcome)
    }

    /// Polls until the group is at rest and all that is expected has come, and then a little more.
    async fn rest(&mut self, expected: &BTreeSet<(u32, u64)>) {
        let (mut waited, mut surplus) = (0, 0);
        // A rebalance delivers anew, so what came under another assignment does not count.
        let (mut came, mut shares) = (BTreeSet::new(), self.shares());
        while surplus < SURPLUS_ROUNDS && waited < REST_MS {
            let max = self.schedule.poll_max;
            let polls = self.members.iter_mut().map(|member| member.poll(max));
            let before = self.stage.now_ms();
            let polled = futures_util::future::join_all(polls).await;
            let mut is_quiet = true;
            for polled in polled {
                let records = polled.expect("the broker is up");
                assert!(records.len() <= max, "{} records of {max}", records.len());
                is_quiet &= records.is_empty();
                records.iter().for_each(|record| self.take(record));
                came.extend(records.iter().map(|record| (record.partition, record.offset)));
            }
            let shares_now = self.shares();
            if shares_now != shares {
                shares = shares_now;
                is_quiet = false;
                // Partitions that are taken away come first, with nothing to deliver.
                if !self.is_balanced(&shares) {
                    came.clear();
                }
            }
            let is_done = is_quiet && self.is_balanced(&shares) && expected.is_subset(&came);
            surplus = if is_done { surplus + 1 } else { 0 };
            self.stage.sleep(ROUND_MS).await;
            waited += self.stage.now_ms() - before;
        }
        if surplus < SURPLUS_ROUNDS {
            self.course.push("the group does not come to rest".to_owned());
        }
    }

    fn take(&mut self, record: &Record) {
        self.came.entry(record.partition).or_default().insert(record.offset);
        let value = String::from_utf8_lossy(&record.value).into_owned();
        let place = (record.partition, record.offset);
        let known = self.values.entry(place).or_insert_with(|| value.clone());
        if *known != value {
            self.course.push(format!("{place:?} was {known} and is {value}"));
        }
    }

    /// The partitions of each member.
    fn shares(&self) -> Vec<Vec<u32>> {
        self.members.iter().map(Assigned::assigned).collect()
    }

    /// Whether each partition has one member and shares are even.
    fn is_balanced(&self, shares: &[Vec<u32>]) -> bool {
        let all: BTreeSet<u32> = shares.iter().flatten().copied().collect();
        let partitions = self.schedule.partitions as usize;
        let counts = shares.iter().map(Vec::len);
        let even = partitions / shares.len();
        counts.clone().sum::<usize>() == partitions
            && all.len() == partitions
            && counts.clone().all(|count| count == even || count == even + 1)
    }

    /// Takes the member of a partition out of those that poll.
    fn take_out(&mut self, partition: u32) -> (S::Consumer, S::Life) {
        let owner = self.owner(partition);
        (self.members.remove(owner), self.lives.remove(owner))
    }

    fn owner(&self, partition: u32) -> usize {
        let has = |member: &S::Consumer| member.assigned().contains(&partition);
        self.members.iter().position(has).unwrap_or(0)
    }

    fn records_from(&self, from: impl Fn(u32) -> u64) -> BTreeSet<(u32, u64)> {
        let of = |(&p, &end): (&u32, &u64)| (from(p)..end).map(move |offset| (p, offset));
        self.ends.iter().flat_map(of).collect()
    }

    /// What is delivered again after a rebalance.
    fn uncommitted(&self) -> BTreeSet<(u32, u64)> {
        self.records_from(|p| self.committed.get(&p).copied().unwrap_or(0))
    }

    async fn note(&mut self, act: &Act, outcome: &str) {
        self.course.push(format!("{act} -> {outcome}"));
        for (partition, offsets) in &self.came {
            self.course.push(format!("    partition {partition} delivers {}", ranges(offsets)));
        }
        let committed = self.stage.committed().await;
        self.course.push(format!("    committed {committed:?}"));
    }
}

fn told(outcome: Result<(), LogError>) -> String {
    match outcome {
        Ok(()) => String::from("done"),
        Err(LogError::Disconnected(_)) => String::from("error Disconnected"),
        Err(error) => format!("error {error:?}"),
    }
}

/// Offsets as ranges: `0..4 7..9`.
fn ranges(offsets: &BTreeSet<u64>) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for &offset in offsets {
        match ranges.last_mut() {
            Some((_, end)) if *end == offset => *end += 1,
            _ => ranges.push((offset, offset + 1)),
        }
    }
    let texts: Vec<String> = ranges.iter().map(|(from, to)| format!("{from}..{to}")).collect();
    texts.join(" ")
}
