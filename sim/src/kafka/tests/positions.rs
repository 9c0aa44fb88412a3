//! Positions that are not there: deleted records, retention, `auto.offset.reset`.

use super::*;
use crate::kafka::OffsetReset;

/// A reader that writes down what it cannot read, and goes on.
async fn complain(process: Process, cluster: Cluster, seen: Rc<Seen>) {
    let client = cluster.client(process.clone());
    let mut consumer = client.consumer(GROUP, &[TOPIC]).await.expect("no request yet");
    loop {
        match consumer.poll(50).await {
            Ok(records) => {
                let name = process.name().to_owned();
                seen.records.borrow_mut().extend(records.into_iter().map(|r| (name.clone(), r)));
            }
            Err(error) => seen.refusals.borrow_mut().push(error.to_string()),
        }
    }
}

impl Bench {
    fn with_reset(seed: u64, offset_reset: OffsetReset) -> Self {
        Self::of(seed, ClusterSpec { offset_reset, partitions_default: 1, ..Default::default() })
    }

    fn complainer(&self, name: &str) {
        let (cluster, seen) = (self.cluster.clone(), self.seen.clone());
        let main = move |process: Process| complain(process, cluster.clone(), seen.clone());
        self.control.add_process(name, Rc::new(move |process| Box::pin(main(process))));
    }
}

#[test]
fn a_group_whose_position_was_deleted_begins_where_the_policy_says() {
    for (policy, values, complaints) in [
        (OffsetReset::Earliest, (30..60).collect::<Vec<u32>>(), 0),
        (OffsetReset::Latest, (50..60).collect(), 0),
        (OffsetReset::None, vec![], 1),
    ] {
        let mut bench = Bench::with_reset(50, policy);
        bench.writer("writer", 50, 0);
        bench.run(2_000);
        assert!(bench.cluster.control().delete_records(TOPIC, 0, 30));
        bench.complainer("reader");
        bench.run(5_000);
        let start = bench.cluster.disk().records(TOPIC).next().map(|record| record.offset);
        assert_eq!(start, Some(30));
        let more = {
            let cluster = bench.cluster.clone();
            move |process: Process| {
                let cluster = cluster.clone();
                async move {
                    let mut producer = cluster.client(process).producer().await.expect("up");
                    producer.send((50..60).map(record).collect()).await.expect("up");
                }
            }
        };
        bench.control.add_process("more", Rc::new(move |process| Box::pin(more(process))));
        bench.run(8_000);
        assert_eq!(bench.values(None), values, "{policy:?}");
        assert_eq!(bench.seen.refusals.borrow().len(), complaints, "{policy:?}");
    }
}

#[test]
fn a_position_behind_the_end_is_one_that_is_not_there() {
    let mut bench = Bench::new(51, 1, 1);
    bench.writer("writer", 3, 0);
    let (cluster, seen) = (bench.cluster.clone(), bench.seen.clone());
    let main = move |process: Process| {
        let (client, seen) = (cluster.client(process.clone()), seen.clone());
        async move {
            let mut consumer = client.consumer(GROUP, &[TOPIC]).await.expect("no request yet");
            let mut is_sought = false;
            loop {
                for record in consumer.poll(10).await.expect("the policy is to begin anew") {
                    seen.records.borrow_mut().push((process.name().to_owned(), record));
                }
                if !is_sought && seen.records.borrow().len() == 3 {
                    is_sought = true;
                    consumer.seek(Position { topic: TOPIC, partition: 0, next_offset: 99 });
                }
            }
        }
    };
    bench.control.add_process("seeker", Rc::new(move |process| Box::pin(main(process))));
    bench.run(10_000);
    assert_eq!(bench.values(None), [0, 1, 2, 0, 1, 2]);
}

#[test]
fn old_records_go_with_time_and_large_logs_are_cut_on_all_replicas() {
    for (retention_ms, retention_bytes) in [(Some(3_000), None), (None, Some(60))] {
        let spec = ClusterSpec {
            brokers: 3,
            replication: 3,
            partitions_default: 1,
            retention_ms,
            retention_bytes,
            ..Default::default()
        };
        let mut bench = Bench::of(52, spec);
        bench.writer("writer", 100, 1_500);
        bench.reader("reader");
        bench.run(6_000);
        assert_eq!(sorted(bench.values(None)), all(100), "nothing is deleted before it is read");
        bench.run(12_000);
        let starts = [1, 2, 3].map(|broker| {
            let place = (TOPIC, 0);
            bench.cluster.disk().with_replica(place, broker, |replica| replica.log.start())
        });
        assert!(starts[0] > Some(50), "{starts:?}");
        assert_eq!((starts[0], starts[1]), (starts[1], starts[2]));
        assert_eq!(bench.cluster.disk().lag(GROUP, &[TOPIC]), 0);
        assert_eq!(bench.cluster.disk().end_offsets()[&(TOPIC, 0)], 100);
    }
}
