//! Claims about clients and brokers together, each in a small world with faults.

mod consuming;
mod positions;
mod producing;
mod replicas;
mod storm;
mod trouble;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use backdate_engine::domain::time::Timestamp;
use backdate_engine::ports::log::{
    Headers, Log, LogConsumer, LogError, LogProducer, NewRecord, Position, Record, Topic,
};
use backdate_reports::recording::{CrashCause, Event, EventKind, SimTime};
use smol_str::format_smolstr;

use super::{Cluster, ClusterSpec, Timings, fair_shares, millis};
use crate::world::{Control, Process, TaskChoice, World, WorldConfig};

const TOPIC: Topic = Topic::MarketPrices;
const GROUP: &str = "group";

/// A world with a cluster, and what was seen of both.
struct Bench {
    world: World,
    control: Control,
    cluster: Cluster,
    seen: Rc<Seen>,
    events: Rc<RefCell<Vec<Event>>>,
    /// By how much a broker answers fetches late.
    slow: RefCell<Vec<(&'static str, Duration)>>,
}

/// What clients saw, outside of the world.
#[derive(Default)]
struct Seen {
    records: RefCell<Vec<(String, Record)>>,
    refusals: RefCell<Vec<String>>,
    sends: RefCell<Vec<(SimTime, Result<(), LogError>)>>,
    assigned: RefCell<BTreeMap<String, Vec<u32>>>,
    /// Whether readers commit.
    commits_off: Cell<bool>,
    /// How long a reader works on a batch.
    work_ms: Cell<u64>,
}

impl Bench {
    fn new(seed: u64, brokers: u32, partitions: u32) -> Self {
        let partitions_default = partitions;
        Self::of(seed, ClusterSpec { brokers, partitions_default, ..Default::default() })
    }

    fn of(seed: u64, spec: ClusterSpec) -> Self {
        let events: Rc<RefCell<Vec<Event>>> = Rc::default();
        let sink = events.clone();
        let config = WorldConfig {
            seed,
            task_choice: TaskChoice::Seeded,
            latency: (millis(1), millis(5)),
            start: Timestamp::parse("2025-01-01").expect("a date"),
        };
        let world = World::new(config, Box::new(move |event| sink.borrow_mut().push(event)));
        let control = world.control();
        let cluster = Cluster::new(spec);
        for (name, main) in cluster.brokers() {
            control.add_process(name, main);
        }
        let slow = RefCell::default();
        Self { world, control, cluster, seen: Rc::default(), events, slow }
    }

    /// A process that sends `count` records, one every 10 ms, after `delay_ms`, over 7 keys.
    fn writer(&self, name: &str, count: u32, delay_ms: u64) {
        let (cluster, seen) = (self.cluster.clone(), self.seen.clone());
        let main =
            move |process: Process| write(process, cluster.clone(), seen.clone(), count, delay_ms);
        self.control.add_process(name, Rc::new(move |process| Box::pin(main(process))));
    }

    /// A process that reads and commits for ever.
    fn reader(&self, name: &str) {
        let (cluster, seen) = (self.cluster.clone(), self.seen.clone());
        let main = move |process: Process| read(process, cluster.clone(), seen.clone());
        self.control.add_process(name, Rc::new(move |process| Box::pin(main(process))));
    }

    fn run(&mut self, until_ms: u64) {
        self.world.run_until(SimTime(until_ms * 1_000_000));
    }

    fn crash(&self, name: &str) {
        self.control.crash(name, CrashCause::Scheduled);
    }

    fn cut(&self, a: &str, b: &str) {
        self.control.cut(a, b);
        self.control.cut(b, a);
    }

    fn heal(&self, a: &str, b: &str) {
        self.control.heal(a, b);
        self.control.heal(b, a);
    }

    /// Values that a reader (or all of them) saw.
    fn values(&self, reader: Option<&str>) -> Vec<u32> {
        let records = self.seen.records.borrow();
        let mine = records.iter().filter(|(by, _)| reader.is_none_or(|name| by == name));
        mine.map(|(_, record)| value(record)).collect()
    }

    fn count(&self, wanted: impl Fn(&EventKind) -> bool) -> usize {
        self.events.borrow().iter().filter(|event| wanted(&event.kind)).count()
    }

    fn assigned(&self, reader: &str) -> Vec<u32> {
        self.seen.assigned.borrow().get(reader).cloned().unwrap_or_default()
    }

    fn stored(&self) -> Vec<u32> {
        self.cluster.disk().records(TOPIC).map(|record| value(&record)).collect()
    }
}

fn value(record: &Record) -> u32 {
    let text = std::str::from_utf8(&record.value).expect("written by this test");
    text.parse().expect("written by this test")
}

fn record(value: u32) -> NewRecord {
    NewRecord {
        topic: TOPIC,
        key: format_smolstr!("k{}", value % 7),
        value: value.to_string().into_bytes(),
        headers: Headers::default(),
    }
}

async fn write(process: Process, cluster: Cluster, seen: Rc<Seen>, count: u32, delay_ms: u64) {
    process.sleep(millis(delay_ms)).await;
    let client = cluster.client(process.clone());
    let mut producer = client.producer().await.expect("a broker is up");
    for value in 0..count {
        let sent = producer.send(vec![record(value)]).await;
        seen.sends.borrow_mut().push((process.now(), sent));
        process.sleep(millis(10)).await;
    }
}

async fn read(process: Process, cluster: Cluster, seen: Rc<Seen>) {
    let client = cluster.client(process.clone());
    let mut consumer = client.consumer(GROUP, &[TOPIC]).await.expect("no request yet");
    loop {
        let records = consumer.poll(50).await.expect("nothing unsupported is used");
        let partitions = consumer.assignment().map(|(_, partition)| partition).collect();
        seen.assigned.borrow_mut().insert(process.name().to_owned(), partitions);
        let mut positions = BTreeMap::new();
        for record in records {
            positions.insert(record.partition, record.offset + 1);
            seen.records.borrow_mut().push((process.name().to_owned(), record));
        }
        if positions.is_empty() || seen.commits_off.get() {
            continue;
        }
        process.sleep(millis(seen.work_ms.get())).await;
        let position = |(partition, next_offset)| Position { topic: TOPIC, partition, next_offset };
        let positions: Vec<_> = positions.into_iter().map(position).collect();
        if let Err(error) = consumer.commit(&positions).await {
            seen.refusals.borrow_mut().push(format!("{} {error}", process.name()));
        }
    }
}

fn sorted(mut values: Vec<u32>) -> Vec<u32> {
    values.sort_unstable();
    values
}

fn all(count: u32) -> Vec<u32> {
    (0..count).collect()
}

#[test]
fn shares_are_even_and_complete() {
    for (lengths, room, start, shares) in [
        (&[10, 10, 10][..], 9, 0, &[3, 3, 3][..]),
        (&[10, 1, 10], 9, 0, &[4, 1, 4]),
        (&[5, 5, 5], 2, 2, &[1, 0, 1]),
        (&[1, 2], 9, 0, &[1, 2]),
        (&[0, 0], 9, 0, &[0, 0]),
        (&[], 9, 0, &[]),
    ] {
        assert_eq!(fair_shares(lengths, room, start), shares, "{lengths:?} {room} {start}");
    }
}

#[test]
fn a_spec_is_read_from_a_file_and_refused_where_it_is_wrong() {
    let read = |text: &str| toml::from_str::<ClusterSpec>(text);
    let spec = read("brokers = 3\n[partitions]\nmarket_prices = 8\n[timings]\nsession_ms = 6000");
    let spec = spec.expect("all settings have defaults");
    assert_eq!((spec.partitions_of(TOPIC), spec.partitions_of(Topic::FxRates)), (8, 4));
    assert_eq!((spec.timings.session_ms, spec.problem()), (6_000, None));
    assert!(read("replicas = 3").is_err());
    assert!(read("[profile]\nlinger_ms = 3").is_err());
    for (text, word) in [
        ("brokers = 0", "brokers"),
        ("replication = 2", "replication"),
        ("min_insync = 2", "min_insync"),
        ("[partitions]\nfx_rates = 0", "partitions"),
        ("[profile]\nworkers = 0", "workers"),
        ("[timings]\nheartbeat_ms = 10000", "heartbeat_ms"),
        ("[timings]\nmax_poll_ms = 500", "max_poll_ms"),
    ] {
        let problem = read(text).expect("it is well-formed").problem();
        assert!(problem.is_some_and(|problem| problem.starts_with(word)), "{text}: {problem:?}");
    }
}
