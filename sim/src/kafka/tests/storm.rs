//! Random faults of all kinds, then calm: nothing is lost, and nobody is stuck.

use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::*;
use crate::world::random::stream;

const RECORDS: u32 = 300;
const STORM_MS: u64 = 40_000;
const BROKERS: [&str; 3] = ["kafka-1", "kafka-2", "kafka-3"];
const CLIENTS: [&str; 4] = ["reader-1", "reader-2", "reader-3", "writer"];

impl Bench {
    /// A process that sends each record until it is acknowledged, and goes on after a crash.
    fn stubborn_writer(&self, next: &Rc<Cell<u32>>) {
        let (cluster, next) = (self.cluster.clone(), next.clone());
        let main = move |process: Process| {
            let (cluster, next) = (cluster.clone(), next.clone());
            async move {
                let client = cluster.client(process.clone());
                let mut producer = loop {
                    if let Ok(producer) = client.producer().await {
                        break producer;
                    }
                };
                while next.get() < RECORDS {
                    if producer.send(vec![record(next.get())]).await.is_ok() {
                        next.set(next.get() + 1);
                    }
                    process.sleep(millis(50)).await;
                }
            }
        };
        self.control.add_process("writer", Rc::new(move |process| Box::pin(main(process))));
    }

    fn fault(&self, dice: &mut ChaCha8Rng) {
        let mut draw = |sides: usize| dice.next_u32() as usize % sides;
        let broker = BROKERS[draw(3)];
        let client = CLIENTS[draw(4)];
        let control = self.cluster.control();
        match draw(16) {
            0 => self.crash(broker),
            1 => self.crash(client),
            2 => self.control.restart(broker),
            3 => self.control.restart(client),
            4 => self.cut(broker, client),
            5 => self.control.cut(broker, client),
            6 => self.heal(broker, client),
            7 => self.control.pause(client),
            8 => self.control.resume(client),
            9 => self.control.reset(broker, client),
            10 => self.control.pause(broker),
            11 => self.control.resume(broker),
            12 => {
                control.rebalance(GROUP);
            }
            13 => control.move_coordinator(GROUP),
            14 => control.move_leaders(broker),
            _ => {
                control.duplicate(TOPIC, draw(4) as u32, draw(10) as u64);
                let slowness = millis(draw(100) as u64);
                control.slow_fetches(broker, slowness);
                self.slow.borrow_mut().push((broker, slowness));
            }
        }
    }

    fn calm(&self) {
        for (broker, slowness) in self.slow.borrow_mut().drain(..) {
            self.cluster.control().hurry_fetches(broker, slowness);
        }
        // Faults overlap: each cut and pause is counted, so all of them are ended at once.
        self.control.calm();
        for process in CLIENTS.iter().chain(&BROKERS) {
            self.control.restart(process);
        }
    }

    /// Where each value first stands in the log of its key's partition.
    fn firsts(&self) -> BTreeMap<u32, (u32, u64)> {
        let mut firsts = BTreeMap::new();
        for record in self.cluster.disk().records(TOPIC) {
            firsts.entry(value(&record)).or_insert((record.partition, record.offset));
        }
        firsts
    }
}

fn weather(seed: u64, replication: u32) -> Bench {
    let min_insync = replication.min(2);
    let spec = ClusterSpec { brokers: 3, replication, min_insync, ..Default::default() };
    let mut bench = Bench::of(seed, spec);
    let next = Rc::new(Cell::new(0));
    bench.stubborn_writer(&next);
    CLIENTS[..3].iter().for_each(|reader| bench.reader(reader));
    let mut dice = stream(seed, "storm");
    let mut now = 2_000;
    while now < STORM_MS {
        bench.run(now);
        bench.fault(&mut dice);
        now += u64::from(dice.next_u32() % 3_000);
    }
    bench.run(STORM_MS);
    bench.calm();
    // A paused member may be waited for as long as its poll interval.
    bench.run(STORM_MS + 120_000);
    assert_eq!(next.get(), RECORDS, "seed {seed}: the writer is stuck");
    bench
}

#[test]
fn after_a_storm_everything_has_arrived_in_order() {
    let (mut refusals, mut duplicates) = (0, 0);
    for (seed, replication) in (0..40).map(|seed| (seed, 1)).chain((0..40).map(|seed| (seed, 3))) {
        let bench = weather(seed, replication);
        assert_eq!(bench.cluster.disk().lag(GROUP, &[TOPIC]), 0, "seed {seed}");
        let members: usize = CLIENTS[..3].iter().map(|reader| bench.assigned(reader).len()).sum();
        assert_eq!(members, 4, "seed {seed}: each partition has one reader");

        let firsts = bench.firsts();
        assert_eq!(firsts.len(), RECORDS as usize, "seed {seed}: a record is lost");
        for (value, place) in &firsts {
            let later = firsts.get(&(value + 7));
            assert!(later.is_none_or(|later| later > place), "seed {seed}: {value} is late");
        }

        let stored: BTreeSet<_> =
            bench.cluster.disk().records(TOPIC).map(|r| (r.partition, r.offset)).collect();
        let records = bench.seen.records.borrow();
        let read: BTreeSet<_> = records.iter().map(|(_, r)| (r.partition, r.offset)).collect();
        assert_eq!(read, stored, "seed {seed}: a record was skipped");

        for partition in (0..4).filter(|_| replication == 3) {
            let [first, second, third] = bench.replicas(partition);
            assert!(first == second && second == third, "seed {seed}: replicas differ");
        }
        refusals += bench.count(|kind| matches!(kind, EventKind::CommitRefused { .. }));
        duplicates += stored.len() - firsts.len();
    }
    assert!(refusals > 0, "no zombie was met");
    assert!(duplicates > 0, "no record was appended twice");
}

/// Judged from the recording alone, as rules do.
#[test]
fn nothing_is_committed_before_it_is_appended() {
    let bench = weather(77, 1);
    let mut ends = BTreeMap::new();
    let mut commits = 0;
    for event in bench.events.borrow().iter() {
        match &event.kind {
            EventKind::Appended(record) => {
                let end = ends.entry(record.partition).or_insert(0);
                assert_eq!(*end, record.offset, "offsets have no gaps");
                *end += 1;
            }
            EventKind::OffsetsCommitted { positions, .. } => {
                commits += 1;
                for position in positions {
                    assert!(position.next_offset <= ends[&position.partition]);
                }
            }
            _ => {}
        }
    }
    assert!(commits > 10);
}
