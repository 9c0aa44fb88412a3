//! Producers: order, retries, crashes of brokers.

use super::*;

#[test]
fn records_of_a_key_keep_their_order() {
    let mut bench = Bench::new(1, 3, 4);
    bench.writer("writer", 200, 0);
    bench.reader("reader");
    bench.run(10_000);
    let mut last = [None; 7];
    let values = bench.values(None);
    assert_eq!(sorted(values.clone()), all(200));
    for value in values {
        let key = (value % 7) as usize;
        assert!(last[key] < Some(value), "{value} after {:?}", last[key]);
        last[key] = Some(value);
    }
    assert_eq!(bench.count(|kind| matches!(kind, EventKind::Appended(_))), 200);
    assert_eq!(bench.cluster.disk().lag(GROUP, &[TOPIC]), 0);
}

#[test]
fn a_retry_after_a_lost_answer_is_not_appended_twice() {
    let mut bench = Bench::new(2, 1, 1);
    bench.writer("writer", 100, 0);
    bench.run(500);
    // Requests arrive, answers do not.
    bench.control.cut("kafka-1", "writer");
    bench.run(3_000);
    let before = bench.stored().len();
    assert!(bench.seen.sends.borrow().len() < before, "an append without an answer");
    bench.control.reset("kafka-1", "writer");
    bench.control.heal("kafka-1", "writer");
    bench.run(20_000);
    assert_eq!(bench.stored(), all(100));
    assert!(bench.seen.sends.borrow().iter().all(|(_, sent)| sent.is_ok()));
}

#[test]
fn a_send_gives_up_after_the_delivery_timeout() {
    let mut bench = Bench::new(3, 1, 1);
    bench.writer("writer", 20, 0);
    bench.run(100);
    bench.crash("kafka-1");
    bench.run(45_000);
    bench.control.restart("kafka-1");
    bench.run(60_000);
    let sends = bench.seen.sends.borrow();
    let failed: Vec<_> = sends.iter().filter(|(_, sent)| sent.is_err()).collect();
    assert_eq!(failed.len(), 1);
    let (at, error) = failed[0];
    assert!(matches!(error, Err(LogError::Disconnected(_))), "{error:?}");
    assert!((29.0..31.0).contains(&at.seconds()), "{at}");
    // The writer goes on with the next record, under a new epoch.
    assert_eq!(sends.len(), 20);
    assert_eq!(bench.stored().len(), 19);
}

#[test]
fn a_crash_of_a_broker_loses_nothing() {
    let mut bench = Bench::new(4, 3, 4);
    bench.writer("writer", 300, 0);
    bench.reader("reader");
    for second in 1..=3 {
        bench.run(second * 1_000);
        bench.crash("kafka-2");
        bench.run(second * 1_000 + 400);
        bench.control.restart("kafka-2");
    }
    bench.run(30_000);
    assert_eq!(sorted(bench.stored()), all(300));
    assert_eq!(
        sorted(bench.values(None)).into_iter().collect::<std::collections::BTreeSet<_>>(),
        all(300).into_iter().collect()
    );
    assert_eq!(bench.cluster.disk().lag(GROUP, &[TOPIC]), 0);
}

#[test]
fn a_stored_record_can_be_appended_again() {
    let mut bench = Bench::new(5, 2, 1);
    bench.writer("writer", 5, 0);
    bench.reader("reader");
    bench.run(3_000);
    assert!(bench.cluster.control().duplicate(TOPIC, 0, 1));
    assert!(!bench.cluster.control().duplicate(TOPIC, 0, 17));
    bench.run(4_000);
    assert_eq!(bench.values(None), [0, 1, 2, 3, 4, 1]);
    assert_eq!(bench.count(|kind| matches!(kind, EventKind::Appended(_))), 6);
}

#[test]
fn a_large_send_is_split_and_arrives_whole() {
    let mut bench = Bench::new(6, 2, 3);
    let cluster = bench.cluster.clone();
    let main = move |process: Process| {
        let cluster = cluster.clone();
        async move {
            let mut producer = cluster.client(process).producer().await.expect("it is up");
            let wide = |value: u32| {
                let mut record = record(value);
                record.value = format!("{value:020000}").into_bytes();
                record
            };
            producer.send((0..100).map(wide).collect()).await.expect("no faults");
        }
    };
    bench.control.add_process("writer", Rc::new(move |process| Box::pin(main(process))));
    bench.reader("reader");
    bench.run(20_000);
    assert_eq!(sorted(bench.values(None)), all(100));
}

#[test]
fn a_request_that_was_given_up_is_not_appended_behind_newer_ones() {
    let mut late = 0;
    for seed in 0..60 {
        let timings = Timings { request_ms: 700, delivery_ms: 1_000, ..Default::default() };
        let spec = ClusterSpec { brokers: 2, partitions_default: 1, timings, ..Default::default() };
        let mut bench = Bench::of(seed, spec);
        bench.writer("writer", 30, 0);
        bench.run(200);
        // Its requests lie in the broker's sockets and are served in any order afterwards.
        bench.control.pause("kafka-2");
        bench.run(1_700);
        bench.control.resume("kafka-2");
        bench.run(10_000);
        let stored = bench.stored();
        assert!(stored.is_sorted(), "seed {seed}: {stored:?}");
        let failed = bench.seen.sends.borrow().iter().position(|(_, sent)| sent.is_err());
        let failed = failed.expect("a send met the pause") as u32;
        late += usize::from(stored.contains(&failed));
    }
    assert!(late > 0, "a send that was given up is appended all the same now and then");
}
