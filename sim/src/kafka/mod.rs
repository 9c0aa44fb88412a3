//! The simulated Apache Kafka: several broker processes, and the engine's log port on them.
//!
//! The engine must survive what a log really does: redelivery, rebalances, zombies, lost answers.
//! So the brokers are processes of the world that can crash and be cut off, and clients talk to
//! them over its network. Decisions are synchronous state machines (`log.rs`, `group.rs`); the
//! asynchronous shell around them is `broker.rs`.
//!
//! Partitions have replicas (`replication.factor`), of which those in sync have all that is
//! acknowledged (`acks=all`); consumers read up to the high watermark. A leader that dies is
//! replaced from those in sync, never from others. What is acknowledged survives every crash: of a
//! partition with one replica everything is on disk at once, of one with several a crash may take
//! what was neither flushed nor acknowledged. Retention deletes by age and size; a consumer whose
//! position was deleted begins anew where `auto.offset.reset` says.
//!
//! Not modelled, and answered by a loud [`LogError::Unsupported`] where it could be asked for:
//! transactions, compaction, cooperative rebalance, static membership, other acks than all, unclean
//! elections, a controller that is cut off.
//!
//! # Invariants
//! - Offsets of a partition count from 0 without gaps.
//! - Partition, leader, first coordinator and assignment are functions of names and numbers only,
//!   never of timing or of chance.
//!
//! [`LogError::Unsupported`]: backdate_engine::ports::log::LogError::Unsupported

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use backdate_engine::ports::log::Topic;
use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};
use xxhash_rust::xxh3::xxh3_64;

mod assignor;
mod broker;
mod client;
mod consumer;
mod control;
mod controller;
mod coordinator;
mod disk;
mod group;
mod link;
mod log;
mod metadata;
mod producer;
#[cfg(test)]
mod tests;
mod wire;

pub use client::Client;
pub use consumer::Consumer;
pub use control::{BrokerControl, Cluster};
pub use disk::Disk;
pub use producer::Producer;

/// The port that every broker listens on.
pub const PORT: u16 = 9092;

/// Shape, cost and timing of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterSpec {
    /// Broker processes, `kafka-1` and so on; at least 1.
    pub brokers: u32,
    /// Partitions of a topic that is not listed below; at least 1.
    pub partitions_default: u32,
    /// Partitions by topic; at least 1 each.
    pub partitions: BTreeMap<Topic, u32>,
    /// Replicas of each partition (`replication.factor`); at least 1, at most one per broker.
    pub replication: u32,
    /// Replicas in sync without which nothing is appended (`min.insync.replicas`).
    pub min_insync: u32,
    /// How long records are kept (`retention.ms`); for ever, if it does not say.
    pub retention_ms: Option<u64>,
    /// How many bytes of a partition are kept (`retention.bytes`).
    pub retention_bytes: Option<u64>,
    /// Where a consumer begins whose position is not there.
    pub offset_reset: OffsetReset,
    /// Service times.
    pub profile: Profile,
    /// Waits and timeouts.
    pub timings: Timings,
}

/// Where a consumer begins whose position was deleted, or never was (`auto.offset.reset`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OffsetReset {
    /// At the first record that is there.
    #[default]
    Earliest,
    /// After the last one.
    Latest,
    /// Nowhere: it cannot read the partition, and says so.
    None,
}

/// Service times of a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// Microseconds of a request.
    pub request_us: u64,
    /// Microseconds of each record in a request or its answer.
    pub record_us: u64,
    /// Requests that a broker serves at the same time (`num.io.threads`); at least 1.
    pub workers: u32,
}

/// Waits and timeouts in milliseconds, by the names of Kafka's client and broker settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timings {
    /// `fetch.max.wait.ms`, and how long a poll waits.
    pub fetch_wait_ms: u64,
    /// `heartbeat.interval.ms`.
    pub heartbeat_ms: u64,
    /// `session.timeout.ms`.
    pub session_ms: u64,
    /// `max.poll.interval.ms`; also how long a rebalance waits for a member.
    pub max_poll_ms: u64,
    /// `request.timeout.ms`.
    pub request_ms: u64,
    /// `delivery.timeout.ms`.
    pub delivery_ms: u64,
    /// `retry.backoff.ms`, doubled at each failure in a row.
    pub retry_min_ms: u64,
    /// `retry.backoff.max.ms`.
    pub retry_max_ms: u64,
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members.
    pub initial_rebalance_ms: u64,
    /// `broker.heartbeat.interval.ms`; also how often a broker looks after its replicas.
    pub broker_heartbeat_ms: u64,
    /// `broker.session.timeout.ms`: how long the controller waits for a broker.
    pub broker_session_ms: u64,
    /// `replica.lag.time.max.ms`: how long a follower in sync may be behind.
    pub replica_lag_ms: u64,
    /// How long what is written may be lost with its broker: the system's write-back.
    pub flush_ms: u64,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            brokers: 1,
            partitions_default: 4,
            partitions: BTreeMap::new(),
            replication: 1,
            min_insync: 1,
            retention_ms: None,
            retention_bytes: None,
            offset_reset: OffsetReset::default(),
            profile: Profile::default(),
            timings: Timings::default(),
        }
    }
}

impl Default for Profile {
    fn default() -> Self {
        // The order of magnitude of a broker on one machine with a warm page cache.
        Self { request_us: 100, record_us: 2, workers: 8 }
    }
}

impl Default for Timings {
    /// Kafka's own defaults are ten times the waits here in places (45 s, 300 s, 120 s, 3 s; 9 s of
    /// a broker's session, 30 s of a follower's lag): shorter ones make a run of a minute meet
    /// every timeout.
    fn default() -> Self {
        Self {
            fetch_wait_ms: 500,
            heartbeat_ms: 1_000,
            session_ms: 10_000,
            max_poll_ms: 60_000,
            request_ms: 10_000,
            delivery_ms: 30_000,
            retry_min_ms: 100,
            retry_max_ms: 1_000,
            initial_rebalance_ms: 300,
            broker_heartbeat_ms: 200,
            broker_session_ms: 2_000,
            replica_lag_ms: 3_000,
            flush_ms: 1_000,
        }
    }
}

impl Timings {
    /// The pause after that many failures in a row (at least 1).
    fn backoff(&self, failures: u32) -> Duration {
        let factor = 1 << failures.saturating_sub(1).min(16);
        let doubled = self.retry_min_ms.saturating_mul(factor);
        millis(doubled.min(self.retry_max_ms))
    }
}

impl ClusterSpec {
    /// Partitions of a topic.
    pub fn partitions_of(&self, topic: Topic) -> u32 {
        let partitions = self.partitions.get(&topic);
        partitions.copied().unwrap_or(self.partitions_default)
    }

    /// The partition of a key (Kafka hashes with murmur2; any stable hash keeps the promise that
    /// one key stays in one partition).
    pub fn partition_of(&self, topic: Topic, key: &str) -> u32 {
        let hash = xxh3_64(key.as_bytes()) % u64::from(self.partitions_of(topic));
        u32::try_from(hash).expect("a remainder of a u32 fits")
    }

    /// The broker that leads a partition at first, from 1.
    pub fn leader_of(&self, topic: Topic, partition: u32) -> u32 {
        (topic as u32 + partition) % self.brokers + 1
    }

    /// The broker that coordinates a group at first, from 1.
    pub fn coordinator_of(&self, group: &str) -> u32 {
        let hash = xxh3_64(group.as_bytes()) % u64::from(self.brokers);
        u32::try_from(hash).expect("a remainder of a u32 fits") + 1
    }

    /// The brokers that have a partition, the one that leads it at first before the others.
    pub fn replicas_of(&self, topic: Topic, partition: u32) -> Vec<u32> {
        self.ring(self.leader_of(topic, partition))
    }

    /// The brokers that may coordinate a group.
    fn coordinators_of(&self, group: &str) -> Vec<u32> {
        self.ring(self.coordinator_of(group))
    }

    fn ring(&self, broker: u32) -> Vec<u32> {
        (0..self.replication).map(|step| (broker - 1 + step) % self.brokers + 1).collect()
    }

    fn retains(&self) -> bool {
        self.retention_ms.is_some() || self.retention_bytes.is_some()
    }

    /// The name of a broker's process.
    pub fn broker_name(broker: u32) -> SmolStr {
        format_smolstr!("kafka-{broker}")
    }

    /// The first setting that no cluster can have, in words.
    pub fn problem(&self) -> Option<&'static str> {
        let timings = &self.timings;
        let no_partitions = self.partitions.values().any(|&partitions| partitions == 0);
        match () {
            () if self.brokers == 0 => Some("brokers must be at least 1"),
            () if self.partitions_default == 0 || no_partitions => {
                Some("partitions must be at least 1")
            }
            () if self.replication == 0 || self.replication > self.brokers => {
                Some("replication must be at least 1 and at most the brokers")
            }
            () if self.min_insync == 0 || self.min_insync > self.replication => {
                Some("min_insync must be at least 1 and at most the replicas")
            }
            () if self.profile.workers == 0 => Some("workers must be at least 1"),
            () if timings.fetch_wait_ms == 0 => Some("fetch_wait_ms must be at least 1"),
            () if timings.max_poll_ms <= timings.fetch_wait_ms => {
                Some("max_poll_ms must be above fetch_wait_ms")
            }
            () if timings.retry_min_ms == 0 => Some("retry_min_ms must be at least 1"),
            () if timings.broker_heartbeat_ms == 0
                || timings.broker_heartbeat_ms >= timings.broker_session_ms =>
            {
                Some("broker_heartbeat_ms must be at least 1 and below broker_session_ms")
            }
            () if timings.heartbeat_ms == 0 || timings.heartbeat_ms >= timings.session_ms => {
                Some("heartbeat_ms must be at least 1 and below session_ms")
            }
            () => None,
        }
    }
}

/// A partition of a topic.
type Place = (Topic, u32);

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Splits `room` over queues of that length, evenly where all have enough, and gives what one
/// leaves to the others; the queues after `start` come first when it does not divide.
fn fair_shares(lengths: &[usize], room: usize, start: usize) -> Vec<usize> {
    let count = lengths.len();
    let mut shares = vec![0; count];
    let mut room = room;
    loop {
        let hungry = (0..count).filter(|&i| shares[i] < lengths[i]).count();
        if hungry == 0 || room == 0 {
            return shares;
        }
        let each = (room / hungry).max(1);
        for step in 0..count {
            let i = (start + step) % count;
            let taken = each.min(lengths[i] - shares[i]).min(room);
            shares[i] += taken;
            room -= taken;
        }
    }
}

/// A shared spec; it never changes during a run.
type Spec = Rc<ClusterSpec>;
