//! The log port on Apache Kafka, through librdkafka.
//!
//! Groups use the classic protocol with eager assignment, so that a member knows at every moment
//! which partitions are its own, and the rebalances that it lives through are those that the
//! simulated brokers make. Positions are committed by the engine alone, after the effect.
//!
//! A broker that goes away and comes back is found again by librdkafka; until then calls fail with
//! [`LogError::Disconnected`] within bounded time, and the services repeat them. Nothing is printed
//! here: what librdkafka says about a cause is part of the error that the caller gets.
//!
//! # Implementers must
//! - keep librdkafka's blocking calls off the thread of the instances (`offload.rs`);
//! - show no value of [`KafkaConfig::properties`]: some are passwords.

pub mod admin;
mod calls;
pub mod config;
mod consumer;
mod context;
mod error;
mod names;
mod offload;
mod producer;
mod settings;
mod unreadable;

use std::rc::Rc;

pub use config::KafkaConfig;
pub use consumer::Consumer;
pub use producer::Producer;

use crate::ports::log::{Log, LogError, Topic};

/// Access to a cluster. It connects when it is used.
#[derive(Clone, Debug)]
pub struct Client(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    config: KafkaConfig,
    client_id: String,
}

impl Client {
    /// Access under an id that the broker's own logs and quotas show, e.g. `persistence-1`.
    pub fn new(config: &KafkaConfig, client_id: &str) -> Self {
        Self(Rc::new(Inner { config: config.clone(), client_id: client_id.to_owned() }))
    }
}

impl Log for Client {
    type Consumer = Consumer;
    type Producer = Producer;

    async fn consumer(
        &self,
        group: &'static str,
        topics: &[Topic],
    ) -> Result<Self::Consumer, LogError> {
        Consumer::join(&self.0.config, &self.0.client_id, group, topics).await
    }

    async fn producer(&self) -> Result<Self::Producer, LogError> {
        Producer::new(&self.0.config, &self.0.client_id)
    }
}
