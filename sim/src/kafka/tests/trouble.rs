//! What brokers can do to their clients without dying.

use super::*;

impl Bench {
    /// Two readers and a writer of 400 records, after two seconds.
    fn busy(seed: u64, brokers: u32) -> Self {
        let mut bench = Bench::new(seed, brokers, 4);
        bench.writer("writer", 400, 0);
        bench.reader("reader-1");
        bench.reader("reader-2");
        bench.run(2_000);
        bench
    }

    fn is_shared(&self) -> bool {
        ["reader-1", "reader-2"].iter().all(|reader| self.assigned(reader).len() == 2)
    }

    /// Everything was read, and committed, at least once.
    fn check_all_done(&self) {
        let mut values = sorted(self.values(None));
        values.dedup();
        assert_eq!(values, all(400));
        assert_eq!(self.cluster.disk().lag(GROUP, &[TOPIC]), 0);
    }
}

#[test]
fn members_find_a_coordinator_that_moves_and_join_again() {
    for brokers in [1, 3] {
        let mut bench = Bench::busy(20, brokers);
        let first = bench.cluster.controller.coordinator_of(GROUP).0;
        for second in 3..6 {
            bench.cluster.control().move_coordinator(GROUP);
            bench.run(second * 1_000);
        }
        let now = bench.cluster.controller.coordinator_of(GROUP).0;
        assert_eq!(now, (first - 1 + 3) % brokers + 1);
        bench.run(12_000);
        assert!(bench.is_shared(), "{brokers} brokers");
        bench.check_all_done();
        let refusals = bench.count(|kind| matches!(kind, EventKind::CommitRefused { .. }));
        assert!(refusals > 0, "somebody committed to a coordinator that did not know it");
    }
}

#[test]
fn a_coordinator_that_moved_is_found_behind_a_dead_one() {
    let mut bench = Bench::busy(21, 3);
    let dead = ClusterSpec::broker_name(bench.cluster.controller.coordinator_of(GROUP).0);
    bench.crash(&dead);
    bench.cluster.control().move_coordinator(GROUP);
    bench.run(9_000);
    assert!(bench.is_shared(), "the group lives while its first coordinator is dead");
    bench.control.restart(&dead);
    bench.run(20_000);
    bench.check_all_done();
}

#[test]
fn a_storm_of_rebalances_skips_nothing() {
    let mut bench = Bench::busy(22, 1);
    for hundred in 20..50 {
        bench.run(hundred * 100);
        assert!(bench.cluster.control().rebalance(GROUP));
    }
    bench.run(15_000);
    assert!(bench.is_shared());
    bench.check_all_done();
}

#[test]
fn a_slow_broker_is_late_with_its_own_partitions_only() {
    let mut bench = Bench::new(23, 2, 2);
    bench.writer("writer", 100, 1_500);
    bench.reader("reader");
    bench.cluster.control().slow_fetches("kafka-1", millis(20_000));
    bench.run(12_000);
    let slow: Vec<u32> =
        (0..2).filter(|p| bench.cluster.spec().leader_of(TOPIC, *p) == 1).collect();
    assert_eq!(slow.len(), 1);
    let seen = |bench: &Bench| -> std::collections::BTreeSet<u32> {
        bench.seen.records.borrow().iter().map(|(_, record)| record.partition).collect()
    };
    assert_eq!(seen(&bench), (0..2).filter(|p| !slow.contains(p)).collect());
    bench.cluster.control().hurry_fetches("kafka-1", millis(20_000));
    bench.run(40_000);
    assert_eq!(sorted(bench.values(None)), all(100));
}
