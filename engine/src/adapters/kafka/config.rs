//! How to reach a Kafka cluster, and under which names.

use std::collections::BTreeMap;

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
    /// Any property of librdkafka, e.g. for TLS and SASL; it decides over everything else. No value
    /// is ever shown: some are passwords.
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
