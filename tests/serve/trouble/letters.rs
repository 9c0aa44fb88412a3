//! Messages of any bytes, sent to one partition, and the dead letters that come of them.

use std::time::{Duration, Instant};

use backdate_engine::adapters::kafka::config::KafkaConfig;
use backdate_engine::ports::log::Topic;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

use crate::serve::fixture::wait;

/// How long the broker may take over one thing.
const PATIENCE: Duration = Duration::from_secs(20);

/// A message as it lies in the log.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    pub(super) topic: Topic,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) correlation_id: Option<Vec<u8>>,
}

/// What a dead letter says of a message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Letter {
    pub(super) topic: String,
    pub(super) key: String,
    pub(super) value: String,
    pub(super) code: String,
}

fn client(config: &KafkaConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &config.bootstrap_servers);
    client
}

/// Sends them in this order to partition 0 of their topics.
pub(super) fn send(config: &KafkaConfig, messages: &[Raw]) {
    let mut client = client(config);
    // More than a broker takes by default: it shall be the broker that decides.
    client.set("message.max.bytes", "2000000").set("enable.idempotence", "true");
    let producer: FutureProducer = client.create().expect("a plain client");
    let one = |message: &Raw| {
        let topic = format!("{}{}", config.prefix, message.topic);
        let mut record = FutureRecord::<[u8], [u8]>::to(&topic).partition(0);
        record.key = message.key.as_deref();
        record.payload = message.value.as_deref();
        if let Some(value) = message.correlation_id.as_deref() {
            let header = Header { key: "correlation_id", value: Some(value) };
            record = record.headers(OwnedHeaders::new().insert(header));
        }
        producer.send_result(record).map_err(|(error, _)| error).expect("there is room")
    };
    wait(async {
        let sent: Vec<_> = messages.iter().map(one).collect();
        for sent in sent {
            sent.await.expect("it is not cancelled").expect("the broker takes it");
        }
    });
}

/// All dead letters, sorted.
#[allow(clippy::disallowed_methods, reason = "a real broker takes real time")]
pub(super) fn dead(config: &KafkaConfig) -> Vec<Letter> {
    let mut client = client(config);
    client.set("group.id", format!("{}test-letters", config.prefix));
    client.set("enable.auto.commit", "false");
    let consumer: BaseConsumer = client.create().expect("a plain client");
    let topic = format!("{}{}", config.prefix, Topic::DeadLetters);
    let told = consumer.fetch_metadata(Some(&topic), PATIENCE).expect("the broker answers");
    let mut list = TopicPartitionList::new();
    let mut expected = 0;
    for partition in told.topics()[0].partitions() {
        let (_, high) =
            consumer.fetch_watermarks(&topic, partition.id(), PATIENCE).expect("an answer");
        expected += high;
        list.add_partition_offset(&topic, partition.id(), Offset::Beginning).expect("an offset");
    }
    consumer.assign(&list).expect("a plain assignment");
    let begun = Instant::now();
    let mut letters = Vec::new();
    while (letters.len() as i64) < expected {
        assert!(begun.elapsed() < PATIENCE, "{} of {expected} letters", letters.len());
        let Some(message) = consumer.poll(Duration::from_millis(200)) else { continue };
        let message = message.expect("a letter can be read");
        let value: Value = serde_json::from_slice(message.payload().expect("it has a value"))
            .expect("a dead letter is JSON");
        let text = |name: &str| value[name].as_str().expect("a text").to_owned();
        assert!(!text("timestamp").is_empty());
        assert_eq!(message.key().unwrap_or_default(), text("key").as_bytes());
        letters.push(Letter {
            topic: text("original_topic"),
            key: text("key"),
            value: text("value"),
            code: text("error"),
        });
    }
    letters.sort();
    letters
}
