//! librdkafka's properties, each tuned one with its reason.

use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

use super::config::KafkaConfig;
use super::names::Names;
#[cfg(test)]
use crate::adapters::secret::Secret;
use crate::domain::messages::DEAD_LETTER_BYTES_MAX;

/// How long a broker may take to answer a request that has no time of its own.
pub(super) const REQUEST: Duration = Duration::from_secs(10);

/// What every client needs.
fn common(config: &KafkaConfig, client_id: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &config.bootstrap_servers);
    client.set("client.id", client_id);
    client.set("allow.auto.create.topics", "false");
    client.set("socket.keepalive.enable", "true");
    client.set("socket.nagle.disable", "true");
    client.set("socket.timeout.ms", REQUEST.as_millis().to_string());
    client.set("socket.connection.setup.timeout.ms", "5000");
    // A broker that is back is found within a second.
    client.set("reconnect.backoff.ms", "50");
    client.set("reconnect.backoff.max.ms", "1000");
    // New partitions and topics are seen within half a minute instead of five.
    client.set("topic.metadata.refresh.interval.ms", "30000");
    // Causes reach us as events; a line of log is not an event.
    client.set_log_level(RDKafkaLogLevel::Emerg);
    client
}

/// Properties of the file and the environment decide over ours.
fn overridden(mut client: ClientConfig, config: &KafkaConfig) -> ClientConfig {
    for (key, value) in &config.properties {
        client.set(key, value.reveal());
    }
    client
}

/// A member of a group.
pub(super) fn consumer(config: &KafkaConfig, client_id: &str, group: &str) -> ClientConfig {
    let mut client = common(config, client_id);
    client.set("group.id", Names::of(config).group(group));
    client.set("group.protocol", "classic");
    // Deals out all topics of a group over all its members; `range` would give the members beyond
    // a topic's partitions nothing. Both are eager.
    client.set("partition.assignment.strategy", "roundrobin");
    client.set("enable.auto.commit", "false");
    client.set("enable.auto.offset.store", "false");
    client.set("auto.offset.reset", "earliest");
    let heartbeat_ms = (config.session_timeout_ms / 4).clamp(100, 3_000);
    client.set("session.timeout.ms", config.session_timeout_ms.to_string());
    client.set("heartbeat.interval.ms", heartbeat_ms.to_string());
    // librdkafka refuses a poll interval below the session's timeout.
    let poll_ms = config.max_poll_interval_ms.max(config.session_timeout_ms);
    client.set("max.poll.interval.ms", poll_ms.to_string());
    // The broker answers at once when it has a byte; the wait only spaces the requests of an idle
    // consumer.
    client.set("fetch.min.bytes", "1");
    client.set("fetch.wait.max.ms", "250");
    // Some batches ahead, not the default of 100,000 records per partition: a seek and a rebalance
    // throw them away.
    client.set("queued.min.messages", "10000");
    client.set("queued.max.messages.kbytes", "16384");
    // A full queue is looked at again after 5 ms instead of a second.
    client.set("fetch.queue.backoff.ms", "5");
    client.set("fetch.error.backoff.ms", "100");
    overridden(client, config)
}

/// How long a member with these settings may go without a poll.
pub(super) fn max_poll(consumer: &ClientConfig) -> Duration {
    let given = consumer.get("max.poll.interval.ms").and_then(|ms| ms.parse().ok());
    // A value that is no number is refused when the client is made.
    given.map_or(Duration::MAX, Duration::from_millis)
}

/// An idempotent producer.
pub(super) fn producer(config: &KafkaConfig, client_id: &str) -> ClientConfig {
    let mut client = common(config, client_id);
    client.set("enable.idempotence", "true");
    client.set("acks", "all");
    // As the Java client chooses partitions, so that both kinds may feed one topic.
    client.set("partitioner", "murmur2_random");
    client.set("compression.codec", "lz4");
    // A send queues its records within a millisecond or two and waits then.
    client.set("linger.ms", "2");
    client.set("message.timeout.ms", config.delivery_timeout_ms.to_string());
    let request_ms = u64::from(config.delivery_timeout_ms).min(REQUEST.as_millis() as u64);
    client.set("request.timeout.ms", request_ms.to_string());
    // A topic that is not there is reported after 3 s instead of 30.
    client.set("topic.metadata.propagation.max.ms", "3000");
    // A dead letter may be several times as large as what it quotes; a broker that takes less says
    // so.
    client.set("message.max.bytes", DEAD_LETTER_BYTES_MAX.to_string());
    client.set("queue.buffering.max.messages", "100000");
    client.set("queue.buffering.max.kbytes", "131072");
    overridden(client, config)
}

/// A client that asks and administers.
pub(super) fn admin(config: &KafkaConfig) -> ClientConfig {
    overridden(common(config, "backdate-admin"), config)
}

/// A reader of a group's committed positions that is no member of it.
pub(super) fn onlooker(config: &KafkaConfig, group: &str) -> ClientConfig {
    let mut client = common(config, "backdate-admin");
    client.set("group.id", Names::of(config).group(group));
    client.set("enable.auto.commit", "false");
    overridden(client, config)
}

#[test]
fn a_member_goes_by_the_interval_that_librdkafka_has() {
    let max_poll = |config: &KafkaConfig| max_poll(&consumer(config, "test-1", "readers"));
    let own = KafkaConfig { max_poll_interval_ms: 20_000, ..KafkaConfig::default() };
    assert_eq!(max_poll(&own), Duration::from_secs(20));
    let short = KafkaConfig { max_poll_interval_ms: 1, ..KafkaConfig::default() };
    assert_eq!(max_poll(&short), Duration::from_secs(10), "no shorter than a session");
    let properties = [("max.poll.interval.ms".to_owned(), Secret::new("300000"))].into();
    let overridden = KafkaConfig { properties, ..own };
    assert_eq!(max_poll(&overridden), Duration::from_secs(300));
}
