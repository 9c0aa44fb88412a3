//! What three brokers with replicas promise: one of them may be down at any time, and nothing that
//! was acknowledged is lost, nothing that is not is read, and everybody goes on.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Duration;

use backdate::kafka::ClusterSpec;
use backdate_engine::ports::log::{Log, LogConsumer, LogError, LogProducer, Record};
use backdate_reports::recording::CrashCause;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::contract;
use super::log::{GROUP, TOPIC, after, record, value};
use super::real::{RealLog, beside};
use super::sim::SimLog;
use super::site::{ClusterSite, LogSite, Site};
use crate::services::Act;

contract!(log(LogSettings):
    led as what_is_acknowledged_outlives_its_leader { replicas: 3, partitions: 2 };
    coordinated as a_group_outlives_its_coordinator { replicas: 3, partitions: 2 };
    too_few as too_few_replicas_acknowledge_nothing_and_show_nothing { replicas: 2, partitions: 1 };
    deleted as reading_begins_after_what_was_deleted { replicas: 3, partitions: 1 };
);

/// How long a body waits for what comes with a new leader on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(40);

/// Sends one record after the other, each until it is acknowledged.
async fn send<S: LogSite>(site: &S, values: std::ops::Range<u32>, pause_ms: u64) {
    let mut producer = site.log().producer().await.expect("two brokers are up");
    for value in values {
        producer.send(vec![record(value % 7, value)]).await.expect("it is acknowledged in the end");
        site.sleep(pause_ms).await;
    }
}

/// Polls until all of these values have come.
async fn read<C: LogConsumer, S: LogSite>(
    site: &S,
    consumer: &mut C,
    wanted: std::ops::Range<u32>,
) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    let mut missing: BTreeSet<u32> = wanted.collect();
    let end = site.now_ms() + u64::try_from(PATIENCE.as_millis()).expect("seconds");
    while !missing.is_empty() {
        assert!(site.now_ms() < end, "{missing:?} have not come within {PATIENCE:?}");
        // A broker that is down is not an error to the one, and may be to the other.
        let polled = consumer.poll(100).await.unwrap_or_default();
        polled.iter().for_each(|record| {
            missing.remove(&value(record));
        });
        records.extend(polled);
    }
    records
}

async fn led<S: ClusterSite>(site: S) {
    let mut consumer = site.log().consumer(GROUP, &[TOPIC]).await.expect("up");
    let records = RefCell::new(Vec::new());
    let leader = site.replicas(0).await[0];
    let reading = async {
        let found = read(&site, &mut consumer, 0..60).await;
        records.replace(found);
    };
    let dying = async {
        site.sleep(300).await;
        site.kill(leader).await;
    };
    futures_util::future::join3(send(&site, 0..60, 20), reading, dying).await;
    let now = site.replicas(0).await[0];
    assert_ne!(now, leader, "another broker leads");
    site.start(leader).await;
    // Everything is there once, in the order of each key, also for those who come later.
    let mut late = site.log().consumer("late", &[TOPIC]).await.expect("up");
    let all = read(&site, &mut late, 0..60).await;
    assert_eq!(all.len(), 60, "no record is stored twice");
    let places: BTreeSet<_> = all.iter().map(|r| (r.partition, r.offset, value(r))).collect();
    for record in records.borrow().iter() {
        let place = (record.partition, record.offset, value(record));
        assert!(places.contains(&place), "{place:?} was read and is not there any more");
    }
    for key in 0..7 {
        let of_key = all.iter().filter(|record| record.key == format!("k{key}"));
        assert!(of_key.map(value).is_sorted(), "k{key}");
    }
    consumer.close().await;
    late.close().await;
}

async fn coordinated<S: ClusterSite>(site: S) {
    send(&site, 0..20, 0).await;
    let mut consumer = site.log().consumer(GROUP, &[TOPIC]).await.expect("up");
    let records = read(&site, &mut consumer, 0..20).await;
    consumer.commit(&after(&records)).await.expect("it is a member");
    let coordinator = site.coordinator(GROUP).await;
    site.kill(coordinator).await;
    send(&site, 20..40, 0).await;
    let mut records = read(&site, &mut consumer, 20..40).await;
    loop {
        match consumer.commit(&after(&records)).await {
            Ok(()) => break,
            // A member that was forgotten joins again, and reads again what it has not committed.
            Err(LogError::Fenced) => records = read(&site, &mut consumer, 20..40).await,
            Err(LogError::Disconnected(_)) => site.sleep(200).await,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(records.iter().all(|record| value(record) >= 20), "what was committed stays so");
    assert_ne!(site.coordinator(GROUP).await, coordinator);
    consumer.close().await;
    site.start(coordinator).await;
    send(&site, 40..50, 0).await;
    let mut next = site.log().consumer(GROUP, &[TOPIC]).await.expect("up");
    let records = read(&site, &mut next, 40..50).await;
    assert!(records.iter().all(|record| value(record) >= 40));
    next.close().await;
}

async fn too_few<S: ClusterSite>(site: S) {
    send(&site, 0..5, 0).await;
    let mut consumer = site.log().consumer(GROUP, &[TOPIC]).await.expect("up");
    read(&site, &mut consumer, 0..5).await;
    let replicas = site.replicas(0).await;
    site.kill(replicas[1]).await;
    let is_acknowledged = Cell::new(false);
    let sending = async {
        send(&site, 5..6, 0).await;
        is_acknowledged.set(true);
    };
    let watching = async {
        let end = site.now_ms() + 5_000;
        while site.now_ms() < end {
            let polled = consumer.poll(100).await.unwrap_or_default();
            assert!(polled.iter().all(|record| value(record) < 5), "{polled:?}");
        }
        assert!(!is_acknowledged.get(), "one replica is too few");
        site.start(replicas[1]).await;
        read(&site, &mut consumer, 5..6).await
    };
    let ((), records) = futures_util::future::join(sending, watching).await;
    assert_eq!(records.iter().filter(|record| value(record) == 5).count(), 1);
    consumer.close().await;
}

async fn deleted<S: ClusterSite>(site: S) {
    send(&site, 0..20, 0).await;
    let mut consumer = site.log().consumer(GROUP, &[TOPIC]).await.expect("up");
    let records = read(&site, &mut consumer, 0..20).await;
    consumer.commit(&after(&records[..5])).await.expect("it is a member");
    consumer.close().await;
    site.delete_before(0, 12).await;
    let mut next = site.log().consumer(GROUP, &[TOPIC]).await.expect("up");
    let records = read(&site, &mut next, 12..20).await;
    let offsets: Vec<u64> = records.iter().map(|record| record.offset).collect();
    assert_eq!(offsets, (12..20).collect::<Vec<u64>>(), "from the first that is left");
    next.close().await;
}

impl ClusterSite for SimLog {
    async fn replicas(&self, partition: u32) -> Vec<u32> {
        let mut replicas = self.cluster().spec().replicas_of(TOPIC, partition);
        let leader = self.cluster().leader_of(TOPIC, partition);
        replicas.sort_by_key(|broker| Some(*broker) != leader);
        replicas
    }

    async fn coordinator(&self, group: &str) -> u32 {
        self.cluster().coordinator_of(group)
    }

    async fn kill(&self, broker: u32) {
        self.control().crash(&ClusterSpec::broker_name(broker), CrashCause::Scheduled);
    }

    async fn start(&self, broker: u32) {
        self.control().restart(&ClusterSpec::broker_name(broker));
        self.sleep(1_000).await;
    }

    async fn delete_before(&self, partition: u32, offset: u64) {
        assert!(self.cluster().control().delete_records(TOPIC, partition, offset));
    }
}

impl RealLog {
    /// Topic and group bear the prefix of the body.
    fn named(&self, name: &str) -> String {
        format!("{}{name}", self.config().prefix)
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.config().bootstrap_servers);
        client
    }

    /// Leaders and replicas of a topic, by partition; the leader stands first.
    async fn layout(&self, topic: String) -> Vec<Vec<u32>> {
        let client = self.client();
        beside(move || {
            let consumer: BaseConsumer = client.create().expect("the settings are right");
            let metadata = consumer.fetch_metadata(Some(&topic), PATIENCE).expect("two are up");
            let mut partitions: Vec<_> = metadata.topics()[0].partitions().iter().collect();
            partitions.sort_by_key(|partition| partition.id());
            let brokers = |leader: i32, replicas: &[i32]| {
                let mut brokers = replicas.to_vec();
                brokers.sort_by_key(|broker| *broker != leader);
                brokers.into_iter().map(|broker| u32::try_from(broker).expect("1 to 3")).collect()
            };
            partitions.iter().map(|p| brokers(p.leader(), p.replicas())).collect()
        })
        .await
    }
}

impl ClusterSite for RealLog {
    async fn replicas(&self, partition: u32) -> Vec<u32> {
        self.layout(self.named(TOPIC.as_str())).await.swap_remove(partition as usize)
    }

    /// The leader of the partition of `__consumer_offsets` that the group's name hashes to.
    async fn coordinator(&self, group: &str) -> u32 {
        let layout = self.layout("__consumer_offsets".to_owned()).await;
        let hash = self
            .named(group)
            .bytes()
            .fold(0_i32, |hash, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte)));
        let partition = (hash & i32::MAX) as usize % layout.len();
        layout[partition][0]
    }

    async fn kill(&self, broker: u32) {
        self.act_on(broker, Act::Kill);
    }

    async fn start(&self, broker: u32) {
        self.act_on(broker, Act::Start);
    }

    async fn delete_before(&self, partition: u32, offset: u64) {
        let admin: AdminClient<DefaultClientContext> =
            self.client().create().expect("the settings are right");
        let mut below = TopicPartitionList::new();
        let (partition, offset) = (partition.cast_signed(), offset.cast_signed());
        below
            .add_partition_offset(&self.named(TOPIC.as_str()), partition, Offset::Offset(offset))
            .expect("an offset");
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        admin.delete_records(&below, &options).await.expect("the leader deletes them");
    }
}
