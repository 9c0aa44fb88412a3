//! Message keys that both services put into the same partition. They hash keys differently, which
//! the ledger says; the schedules need keys that lead to a partition of theirs on both sides.

use std::collections::BTreeMap;

use backdate::kafka::ClusterSpec;
use backdate_engine::ports::log::{Headers, Log, LogConsumer, LogProducer, NewRecord};

use super::drive::{GROUP, TOPIC};
use super::settings;
use crate::contract::real::RealLog;
use crate::contract::site::{LogSite, Site};

/// Keys that are tried; in each partition of four some sixteen fall on the same one.
const TRIED: usize = 256;

/// Keys by number of partitions: one for each partition, in order.
pub(super) struct Places(BTreeMap<u32, Vec<String>>);

impl Places {
    /// Asks the real broker.
    pub(super) async fn find() -> Self {
        let mut all = BTreeMap::new();
        for partitions in 2..=4 {
            all.insert(partitions, keys(partitions).await);
        }
        Self(all)
    }

    /// The key of each partition.
    pub(super) fn keys(&self, partitions: u32) -> &[String] {
        &self.0[&partitions]
    }
}

async fn keys(partitions: u32) -> Vec<String> {
    let site = RealLog::new(&settings(partitions)).await;
    let mut producer = site.log().producer().await.expect("the broker is up");
    let new = |n: usize| NewRecord {
        topic: TOPIC,
        key: format!("key-{n}").into(),
        value: Vec::new(),
        headers: Headers::default(),
    };
    producer.send((0..TRIED).map(new).collect()).await.expect("the broker is up");
    let mut consumer = site.log().consumer(GROUP, &[TOPIC]).await.expect("the broker is up");
    let simulated = ClusterSpec { partitions_default: partitions, ..ClusterSpec::default() };
    let mut found = BTreeMap::new();
    let mut read = 0;
    let reading = async {
        while read < TRIED {
            for record in consumer.poll(TRIED).await.expect("the broker is up") {
                read += 1;
                if simulated.partition_of(TOPIC, &record.key) == record.partition {
                    found.entry(record.partition).or_insert_with(|| record.key.to_string());
                }
            }
        }
    };
    site.soon(reading).await;
    consumer.close().await;
    assert_eq!(found.len(), partitions as usize, "some key leads to each partition on both sides");
    found.into_values().collect()
}
