//! The engine's log port on the simulated brokers.
//!
//! A client knows the shape of the cluster beforehand. Each consumer and each producer has its own
//! connections, and its own belief about leaders, as in Kafka's clients.

use std::rc::Rc;
use std::time::Duration;

use backdate_engine::ports::log::{Log, LogError, Topic};
use backdate_reports::recording::SimTime;

use super::consumer::Consumer;
use super::producer::Producer;
use super::{Spec, millis};
use crate::world::Process;

/// Access to a cluster from a process.
#[derive(Clone)]
pub struct Client {
    pub(super) process: Process,
    pub(super) spec: Spec,
}

impl Client {
    pub(super) fn new(process: Process, spec: Spec) -> Self {
        Self { process, spec }
    }

    /// The same client with other waits and timeouts.
    pub fn with_timings(&self, timings: super::Timings) -> Self {
        let mut spec = super::ClusterSpec::clone(&self.spec);
        spec.timings = timings;
        Self::new(self.process.clone(), Rc::new(spec))
    }

    /// Whether another broker may come to lead a partition.
    pub(super) fn is_replicated(&self) -> bool {
        self.spec.replication > 1
    }

    pub(super) fn request_timeout(&self) -> Duration {
        millis(self.spec.timings.request_ms)
    }

    /// How long to wait for an answer if there is a deadline.
    pub(super) fn patience(&self, deadline: SimTime) -> Duration {
        self.request_timeout().min(deadline.since(self.process.now()))
    }

    /// Waits before the next attempt; gives the error back if that would be past the deadline.
    pub(super) async fn pause(
        &self,
        failures: u32,
        deadline: SimTime,
        error: LogError,
    ) -> Result<(), LogError> {
        let pause = self.spec.timings.backoff(failures);
        if self.process.now() + pause >= deadline {
            return Err(error);
        }
        self.process.sleep(pause).await;
        Ok(())
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
        Ok(Consumer::new(self.clone(), group, topics))
    }

    async fn producer(&self) -> Result<Self::Producer, LogError> {
        let mut producer = Producer::new(self.clone());
        producer.open().await?;
        Ok(producer)
    }
}
