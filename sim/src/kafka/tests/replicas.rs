//! Replicas: what survives whose death, who leads then, and what consumers see meanwhile.

use super::*;

const BROKERS: [&str; 3] = ["kafka-1", "kafka-2", "kafka-3"];

impl Bench {
    /// Three brokers with three replicas of each partition, two of which must be in sync.
    fn replicated(seed: u64, partitions: u32) -> Self {
        Self::of(seed, spec(partitions, 2))
    }

    fn leader(&self, partition: u32) -> String {
        let leader = self.cluster.controller.leader_of((TOPIC, partition));
        ClusterSpec::broker_name(leader.expect("somebody leads")).to_string()
    }

    fn in_sync(&self, partition: u32) -> usize {
        self.cluster.controller.leadership((TOPIC, partition)).in_sync.len()
    }

    /// The values in each replica of a partition.
    pub(super) fn replicas(&self, partition: u32) -> [Vec<u32>; 3] {
        [1, 2, 3].map(|broker| {
            let records = self
                .cluster
                .disk()
                .with_replica((TOPIC, partition), broker, |replica| replica.log.range(0, u64::MAX));
            records.expect("three replicas").iter().map(|record| value(record)).collect()
        })
    }

    /// Cuts a broker off from the others, but not from clients.
    fn isolate(&self, broker: &str) {
        BROKERS.iter().filter(|other| **other != broker).for_each(|other| self.cut(broker, other));
    }

    fn rejoin(&self, broker: &str) {
        BROKERS.iter().filter(|other| **other != broker).for_each(|other| self.heal(broker, other));
    }

    fn sent(&self) -> usize {
        self.seen.sends.borrow().iter().filter(|(_, sent)| sent.is_ok()).count()
    }
}

fn spec(partitions_default: u32, min_insync: u32) -> ClusterSpec {
    ClusterSpec { brokers: 3, replication: 3, min_insync, partitions_default, ..Default::default() }
}

fn unique(values: Vec<u32>) -> Vec<u32> {
    let mut values = sorted(values);
    values.dedup();
    values
}

#[test]
fn all_replicas_become_the_same() {
    let mut bench = Bench::replicated(30, 3);
    bench.writer("writer", 200, 0);
    bench.reader("reader");
    bench.run(12_000);
    for partition in 0..3 {
        let [first, second, third] = bench.replicas(partition);
        assert!(!first.is_empty() && first == second && second == third, "{partition}");
        assert_eq!(bench.in_sync(partition), 3);
    }
    assert_eq!(sorted(bench.values(None)), all(200));
    assert_eq!(sorted(bench.stored()), all(200));
    assert_eq!(bench.count(|kind| matches!(kind, EventKind::Appended(_))), 200);
    assert_eq!(bench.cluster.disk().lag(GROUP, &[TOPIC]), 0);
}

#[test]
fn a_dead_leader_is_replaced_and_nothing_acknowledged_is_lost() {
    for broker in BROKERS {
        let mut bench = Bench::replicated(31, 3);
        bench.writer("writer", 200, 0);
        bench.reader("reader");
        bench.run(2_000);
        bench.crash(broker);
        bench.run(16_000);
        assert_eq!(bench.sent(), 200, "writing goes on without {broker}");
        assert_eq!(unique(bench.values(None)), all(200), "and so does reading");
        assert!((0..3).all(|partition| bench.leader(partition) != broker));
        assert!((0..3).all(|partition| bench.in_sync(partition) == 2));
        bench.control.restart(broker);
        bench.run(20_000);
        assert!((0..3).all(|partition| bench.in_sync(partition) == 3), "{broker} has caught up");
        assert_eq!(sorted(bench.stored()), all(200));
        assert_eq!(bench.cluster.disk().lag(GROUP, &[TOPIC]), 0);
    }
}

#[test]
fn nothing_is_read_that_is_not_on_all_replicas_in_sync() {
    let mut bench = Bench::of(32, spec(1, 1));
    bench.reader("reader");
    bench.writer("writer", 20, 2_000);
    bench.run(1_900);
    let leader = bench.leader(0);
    bench.isolate(&leader);
    bench.run(4_000);
    let [a, b, c] = bench.replicas(0);
    assert_eq!([a, b, c].iter().filter(|replica| !replica.is_empty()).count(), 1);
    assert_eq!((bench.values(None).len(), bench.sent(), bench.stored().len()), (0, 0, 0));
    assert_eq!(bench.count(|kind| matches!(kind, EventKind::Appended(_))), 0);
    // After `replica.lag.time.max.ms` the leader is in sync alone, which is enough here.
    bench.run(10_000);
    assert_eq!((bench.in_sync(0), bench.sent()), (1, 20));
    assert_eq!(sorted(bench.values(None)), all(20));
    bench.rejoin(&leader);
    bench.run(14_000);
    assert_eq!(bench.in_sync(0), 3);
}

#[test]
fn nothing_is_acknowledged_with_too_few_replicas() {
    let mut bench = Bench::replicated(33, 1);
    bench.writer("writer", 20, 2_000);
    bench.run(1_900);
    let leader = bench.leader(0);
    bench.isolate(&leader);
    bench.run(12_000);
    assert_eq!((bench.in_sync(0), bench.sent(), bench.stored().len()), (1, 0, 0));
    bench.rejoin(&leader);
    bench.run(25_000);
    assert_eq!((bench.in_sync(0), bench.sent()), (3, 20));
    assert_eq!(sorted(bench.stored()), all(20));
}

#[test]
fn a_leader_that_comes_back_gives_up_what_nobody_else_has() {
    let mut cut_off = 0;
    for seed in 40..46 {
        let mut bench = Bench::replicated(seed, 1);
        bench.writer("writer", 100, 1_000);
        bench.reader("reader");
        bench.run(1_500);
        let leader = bench.leader(0);
        let number = BROKERS.iter().position(|broker| *broker == leader).expect("it is one");
        bench.isolate(&leader);
        // Long enough to be flushed now and then, and not to be missed by the controller.
        bench.run(1_800 + (seed - 40) * 300);
        let before = bench.replicas(0)[number].len();
        let acknowledged = bench.stored().len();
        bench.crash(&leader);
        bench.rejoin(&leader);
        bench.run(15_000);
        assert_ne!(bench.leader(0), leader);
        assert_eq!(bench.sent(), 100, "seed {seed}");
        bench.control.restart(&leader);
        bench.run(20_000);
        let replicas = bench.replicas(0);
        assert_eq!((&replicas[0], &replicas[1]), (&replicas[1], &replicas[2]), "seed {seed}");
        assert_eq!(replicas[0], all(100), "seed {seed}: once, and in order");
        assert_eq!(unique(bench.values(None)), all(100));
        cut_off += usize::from(before > acknowledged);
    }
    assert!(cut_off > 0, "no leader died with something that was not acknowledged");
}

#[test]
fn leaders_move_under_load_and_nothing_is_lost_or_doubled() {
    let mut bench = Bench::replicated(34, 4);
    bench.writer("writer", 400, 0);
    bench.reader("reader-1");
    bench.reader("reader-2");
    let mut moved = 0;
    for turn in 0..12 {
        bench.run(1_000 + turn * 300);
        let before: Vec<_> = (0..4).map(|partition| bench.leader(partition)).collect();
        bench.cluster.control().move_leaders(BROKERS[turn as usize % 3]);
        moved += (0..4).filter(|p| bench.leader(*p) != before[*p as usize]).count();
    }
    bench.run(25_000);
    assert!(moved > 8, "{moved}");
    assert_eq!((bench.sent(), sorted(bench.stored())), (400, all(400)));
    assert_eq!(unique(bench.values(None)), all(400));
    assert_eq!(bench.cluster.disk().lag(GROUP, &[TOPIC]), 0);
}

#[test]
fn a_group_goes_on_under_another_coordinator_when_its_own_dies() {
    let mut bench = Bench::replicated(35, 3);
    bench.writer("writer", 300, 0);
    bench.reader("reader-1");
    bench.reader("reader-2");
    bench.run(2_000);
    let dead = ClusterSpec::broker_name(bench.cluster.controller.coordinator_of(GROUP).0);
    bench.crash(&dead);
    bench.run(25_000);
    assert_eq!(bench.assigned("reader-1").len() + bench.assigned("reader-2").len(), 3);
    assert_eq!(unique(bench.values(None)), all(300));
    assert_eq!(bench.cluster.disk().lag(GROUP, &[TOPIC]), 0);
}

#[test]
fn a_late_duplicate_reaches_all_replicas() {
    let mut bench = Bench::replicated(36, 1);
    bench.writer("writer", 5, 0);
    bench.reader("reader");
    bench.run(3_000);
    assert!(bench.cluster.control().duplicate(TOPIC, 0, 1));
    bench.run(5_000);
    assert_eq!(bench.values(None), [0, 1, 2, 3, 4, 1]);
    let [a, b, c] = bench.replicas(0);
    assert_eq!((a == b, b == c, a.len()), (true, true, 6));
}
