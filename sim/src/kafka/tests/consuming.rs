//! Consumer groups: redelivery, rebalances, zombies, fairness.

use super::*;

fn refused(kind: &EventKind) -> bool {
    matches!(kind, EventKind::CommitRefused { .. })
}

#[test]
fn reading_goes_on_after_the_committed_offset() {
    let mut bench = Bench::new(1, 2, 2);
    bench.writer("writer", 50, 0);
    bench.reader("reader");
    bench.run(3_000);
    assert_eq!(sorted(bench.values(None)), all(50));
    bench.seen.commits_off.set(true);
    bench.writer("again", 20, 0);
    bench.run(6_000);
    bench.crash("reader");
    bench.seen.records.borrow_mut().clear();
    bench.seen.commits_off.set(false);
    bench.run(7_000);
    bench.control.restart("reader");
    // The dead member is missed after its session only.
    bench.run(25_000);
    assert_eq!(sorted(bench.values(None)), all(20));
    assert_eq!(bench.cluster.disk().lag(GROUP, &[TOPIC]), 0);
}

#[test]
fn a_member_takes_over_from_a_dead_one_after_its_session() {
    let mut bench = Bench::new(2, 3, 4);
    bench.reader("reader-1");
    bench.reader("reader-2");
    bench.run(2_000);
    assert_eq!((bench.assigned("reader-1").len(), bench.assigned("reader-2").len()), (2, 2));
    bench.crash("reader-1");
    bench.writer("writer", 100, 0);
    bench.run(9_000);
    assert_eq!(bench.assigned("reader-2").len(), 2);
    bench.run(14_000);
    assert_eq!(bench.assigned("reader-2").len(), 4);
    assert_eq!(sorted(bench.values(Some("reader-2"))), all(100));
}

#[test]
fn a_zombie_is_fenced() {
    let mut bench = Bench::new(3, 1, 1);
    bench.reader("reader-1");
    bench.run(2_000);
    bench.reader("reader-2");
    bench.run(4_000);
    let (zombie, heir) = match bench.assigned("reader-1").len() {
        1 => ("reader-1", "reader-2"),
        _ => ("reader-2", "reader-1"),
    };
    bench.seen.work_ms.set(500);
    bench.writer("writer", 100, 0);
    bench.run(4_100);
    bench.control.pause(zombie);
    bench.run(16_000);
    assert_eq!(bench.assigned(heir), [0]);
    let done = bench.cluster.disk().committed(GROUP);
    bench.control.resume(zombie);
    bench.run(16_200);
    assert_eq!(bench.count(refused), 1);
    assert_eq!(bench.seen.refusals.borrow().len(), 1);
    assert!(bench.cluster.disk().committed(GROUP) >= done);
    bench.run(40_000);
    assert_eq!(bench.cluster.disk().lag(GROUP, &[TOPIC]), 0);
    assert_eq!(bench.cluster.disk().committed(GROUP), [((TOPIC, 0), 100)].into());
}

#[test]
fn a_member_that_does_not_poll_is_kicked_out() {
    let mut bench = Bench::new(4, 1, 2);
    bench.reader("reader-1");
    bench.writer("writer", 30, 1_000);
    bench.seen.work_ms.set(70_000);
    bench.run(5_000);
    bench.seen.work_ms.set(0);
    bench.reader("reader-2");
    // Heartbeats keep the first one in while its poll interval lasts.
    bench.run(55_000);
    assert!(bench.assigned("reader-2").is_empty());
    bench.run(68_000);
    assert_eq!(bench.assigned("reader-2"), [0, 1]);
    bench.run(90_000);
    assert_eq!(bench.count(refused), 1);
    assert_eq!(sorted(bench.values(Some("reader-2"))), all(30));
    assert_eq!((bench.assigned("reader-1").len(), bench.assigned("reader-2").len()), (1, 1));
}

#[test]
fn a_third_member_takes_its_share() {
    let mut bench = Bench::new(5, 2, 6);
    bench.writer("writer", 500, 0);
    bench.reader("reader-1");
    bench.reader("reader-2");
    bench.run(3_000);
    bench.reader("reader-3");
    bench.run(10_000);
    for reader in ["reader-1", "reader-2", "reader-3"] {
        assert_eq!(bench.assigned(reader).len(), 2, "{reader}");
        assert!(!bench.values(Some(reader)).is_empty(), "{reader}");
    }
    let mut values = sorted(bench.values(None));
    values.dedup();
    assert_eq!(values, all(500));
}

#[test]
fn a_member_that_leaves_is_replaced_at_once() {
    let mut bench = Bench::new(6, 2, 4);
    bench.reader("reader");
    let cluster = bench.cluster.clone();
    let main = move |process: Process| {
        let client = cluster.client(process.clone());
        async move {
            let mut consumer = client.consumer(GROUP, &[TOPIC]).await.expect("no request yet");
            while process.now() < SimTime(3_000_000_000) {
                consumer.poll(10).await.expect("no faults");
            }
            assert_eq!(consumer.assignment().count(), 2);
            consumer.close().await;
        }
    };
    bench.control.add_process("leaver", Rc::new(move |process| Box::pin(main(process))));
    bench.run(3_000);
    assert_eq!(bench.assigned("reader").len(), 2);
    bench.run(5_500);
    assert_eq!(bench.assigned("reader").len(), 4);
}

#[test]
fn a_crash_of_the_coordinator_makes_members_join_again() {
    let mut bench = Bench::new(7, 1, 4);
    bench.writer("writer", 400, 0);
    bench.reader("reader-1");
    bench.reader("reader-2");
    bench.run(2_000);
    bench.crash("kafka-1");
    bench.run(2_500);
    bench.control.restart("kafka-1");
    bench.run(12_000);
    assert_eq!((bench.assigned("reader-1").len(), bench.assigned("reader-2").len()), (2, 2));
    let mut values = sorted(bench.values(None));
    values.dedup();
    assert_eq!(values, all(400));
    assert_eq!(bench.cluster.disk().lag(GROUP, &[TOPIC]), 0);
}

#[test]
fn a_forced_rebalance_ends_with_everything_read() {
    let mut bench = Bench::new(8, 2, 4);
    assert!(!bench.cluster.control().rebalance(GROUP), "there is no such group yet");
    bench.writer("writer", 400, 0);
    bench.reader("reader-1");
    bench.reader("reader-2");
    for second in 2..8 {
        bench.run(second * 1_000);
        assert!(bench.cluster.control().rebalance(GROUP));
    }
    bench.cluster.control().slow_fetches("kafka-1", millis(200));
    bench.run(15_000);
    let mut values = sorted(bench.values(None));
    values.dedup();
    assert_eq!(values, all(400));
}

#[test]
fn a_cut_from_the_coordinator_makes_a_zombie_for_as_long_as_it_lasts() {
    let mut bench = Bench::new(9, 1, 2);
    bench.reader("reader-1");
    bench.reader("reader-2");
    bench.run(2_000);
    bench.cut("reader-1", "kafka-1");
    bench.writer("writer", 200, 0);
    bench.run(20_000);
    assert_eq!(bench.assigned("reader-2"), [0, 1]);
    bench.heal("reader-1", "kafka-1");
    bench.run(50_000);
    assert_eq!((bench.assigned("reader-1").len(), bench.assigned("reader-2").len()), (1, 1));
    assert_eq!(bench.cluster.disk().lag(GROUP, &[TOPIC]), 0);
}

#[test]
fn partitions_take_turns() {
    let mut bench = Bench::new(10, 2, 7);
    bench.writer("writer", 350, 0);
    bench.run(6_000);
    bench.reader("reader");
    bench.run(6_900);
    let records = bench.seen.records.borrow();
    assert!(records.len() >= 50);
    let mut by_partition = BTreeMap::new();
    for (_, record) in records.iter().take(50) {
        *by_partition.entry(record.partition).or_insert(0) += 1;
    }
    let ends = bench.cluster.disk().end_offsets();
    let filled = ends.iter().filter(|((topic, _), end)| *topic == TOPIC && **end > 0).count();
    // The first batch may hold the partitions of one broker only.
    assert!(by_partition.len() * 2 + 1 >= filled, "{by_partition:?} of {filled}");
    let (fewest, most) = (by_partition.values().min(), by_partition.values().max());
    assert!(most.zip(fewest).is_some_and(|(most, fewest)| most - fewest <= 1));
}

#[test]
fn seeking_back_reads_again() {
    let mut bench = Bench::new(11, 1, 1);
    bench.writer("writer", 10, 0);
    bench.run(2_000);
    let (cluster, seen) = (bench.cluster.clone(), bench.seen.clone());
    let main = move |process: Process| {
        let (client, seen) = (cluster.client(process.clone()), seen.clone());
        async move {
            let mut consumer = client.consumer(GROUP, &[TOPIC]).await.expect("no request yet");
            let mut is_first = true;
            loop {
                for record in consumer.poll(4).await.expect("no faults") {
                    if std::mem::take(&mut is_first) {
                        let (topic, partition) = (record.topic, record.partition);
                        consumer.seek(Position { topic, partition, next_offset: 8 });
                    }
                    seen.records.borrow_mut().push((process.name().to_owned(), record));
                }
            }
        }
    };
    bench.control.add_process("seeker", Rc::new(move |process| Box::pin(main(process))));
    bench.run(6_000);
    assert_eq!(bench.values(None), [0, 1, 2, 3, 8, 9]);
}

#[test]
fn a_paused_partition_waits_and_skips_nothing_while_the_others_go_on() {
    let mut bench = Bench::new(14, 1, 2);
    bench.writer("writer", 40, 0);
    bench.run(2_000);
    let (cluster, seen) = (bench.cluster.clone(), bench.seen.clone());
    let main = move |process: Process| {
        let (client, seen) = (cluster.client(process.clone()), seen.clone());
        async move {
            let mut consumer = client.consumer(GROUP, &[TOPIC]).await.expect("no request yet");
            let mut is_first = true;
            loop {
                if process.now() >= SimTime(20_000_000_000) {
                    consumer.resume(&[(TOPIC, 0)]);
                }
                let mut is_sought = false;
                for record in consumer.poll(4).await.expect("no faults") {
                    let (topic, partition) = (record.topic, record.partition);
                    if partition == 0 && std::mem::take(&mut is_first) {
                        let next_offset = record.offset;
                        consumer.seek(Position { topic, partition, next_offset });
                        consumer.pause(&[(topic, partition)]);
                        is_sought = true;
                    }
                    if partition == 0 && is_sought {
                        continue;
                    }
                    seen.records.borrow_mut().push((process.name().to_owned(), record));
                }
            }
        }
    };
    bench.control.add_process("reader", Rc::new(move |process| Box::pin(main(process))));
    bench.run(19_000);
    let partitions = || -> Vec<u32> {
        bench.seen.records.borrow().iter().map(|(_, record)| record.partition).collect()
    };
    assert!(!partitions().is_empty() && !partitions().contains(&0));
    bench.run(23_000);
    assert_eq!(sorted(bench.values(None)), all(40));
}

#[test]
fn an_idle_consumer_costs_little() {
    let mut bench = Bench::new(12, 1, 4);
    bench.reader("reader");
    bench.run(10_000);
    let before = bench.world.stats();
    bench.run(20_000);
    let after = bench.world.stats();
    // Two fetches and one heartbeat a second.
    let polls = after.polls - before.polls;
    assert!(polls <= 10 * 40, "{polls} polls in 10 s");
}

#[test]
fn a_seed_decides_everything() {
    let run = |seed| {
        let mut bench = Bench::new(seed, 3, 4);
        bench.writer("writer", 200, 0);
        bench.reader("reader-1");
        bench.reader("reader-2");
        bench.run(1_500);
        bench.crash("kafka-1");
        bench.crash("reader-2");
        bench.run(2_000);
        bench.control.restart("kafka-1");
        bench.control.restart("reader-2");
        bench.run(20_000);
        (bench.world.fingerprint(), bench.events.borrow().len())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
