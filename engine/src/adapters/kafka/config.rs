//! How to reach a Kafka cluster, and under which names.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::adapters::secret::Secret;

/// How to reach a Kafka cluster.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaConfig {
    /// `host:port`, separated by commas.
    pub bootstrap_servers: String,
    /// Put before the names of all topics and groups; empty in production. A harness gives its own,
    /// so that what it makes and removes is never somebody else's.
    pub prefix: String,
    /// Partitions of topics that are created.
    pub partitions: u32,
    /// Copies of topics that are created.
    pub replication_factor: u32,
    /// A member that is silent for so long is dead.
    pub session_timeout_ms: u32,
    /// A member that does not poll for so long is dead.
    pub max_poll_interval_ms: u32,
    /// How long a poll waits for a first record.
    pub fetch_wait_ms: u32,
    /// How long a record may take to be acknowledged before its send fails.
    pub delivery_timeout_ms: u32,
    /// Any property of librdkafka; it decides over everything else. No value is ever shown: some
    /// are passwords. TLS is in builds with the feature `kafka-tls` only.
    pub properties: BTreeMap<String, Secret>,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            bootstrap_servers: "127.0.0.1:9092".to_owned(),
            prefix: String::new(),
            partitions: 4,
            replication_factor: 1,
            session_timeout_ms: 10_000,
            max_poll_interval_ms: 60_000,
            fetch_wait_ms: 100,
            delivery_timeout_ms: 30_000,
            properties: BTreeMap::new(),
        }
    }
}

impl KafkaConfig {
    /// What the properties ask for and this build does not have, with the cure.
    pub fn unsupported(&self) -> Option<String> {
        if cfg!(feature = "kafka-tls") {
            return None;
        }
        let says = |key: &str, value: &str| {
            let said = self.properties.get(key).map(|said| said.reveal().to_lowercase());
            said.is_some_and(|said| said.contains(value))
        };
        let scram = says("sasl.mechanism", "scram") || says("sasl.mechanisms", "scram");
        let wanted = match () {
            () if says("security.protocol", "ssl") => "TLS",
            () if scram => "SASL/SCRAM",
            () => return None,
        };
        Some(format!(
            "this build has no {wanted} for Kafka: build it with `--features kafka-tls`, which \
             needs OpenSSL and its headers (Debian: libssl-dev)"
        ))
    }

    /// How long a record may take to be acknowledged, properties included.
    pub fn delivery_timeout(&self) -> Duration {
        let given = ["message.timeout.ms", "delivery.timeout.ms"].into_iter();
        let given = given.filter_map(|key| self.properties.get(key)?.reveal().parse().ok()).next();
        match given.unwrap_or(u64::from(self.delivery_timeout_ms)) {
            // To librdkafka this is no limit.
            0 => Duration::MAX,
            ms => Duration::from_millis(ms),
        }
    }
}

#[test]
fn what_a_build_does_not_have_is_named() {
    let of = |key: &str, value: &str| {
        let properties = [(key.to_owned(), Secret::new(value))].into();
        KafkaConfig { properties, ..KafkaConfig::default() }.unsupported()
    };
    let has_tls = cfg!(feature = "kafka-tls");
    for (key, value) in [
        ("security.protocol", "ssl"),
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("sasl.mechanisms", "SCRAM-SHA-256"),
    ] {
        assert_eq!(of(key, value).is_none(), has_tls, "{key} = {value}");
    }
    assert_eq!(of("security.protocol", "sasl_plaintext"), None);
    assert_eq!(of("sasl.mechanism", "PLAIN"), None);
}
