//! An idempotent producer.
//!
//! A send queues all its records in order and waits until each has an outcome, so that nothing of a
//! failed send is under way when the caller repeats it. When librdkafka can no longer promise order
//! without duplicates (a fatal error), or has met a missing topic, the next send starts with a new
//! producer.
//!
//! # Invariants
//! - Records of a key go to one partition, in the order of their sends.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::config::KafkaConfig;
use super::context::{Context, Pending};
use super::error::Teller;
use super::names::Names;
use super::{offload, settings};
use crate::ports::log::{Headers, LogError, LogProducer, NewRecord};

/// Names of the headers.
pub(super) const CORRELATION_ID: &str = "correlation_id";
pub(super) const PRODUCER: &str = "producer";

/// How long a full queue is left alone.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(2);

type Inner = ThreadedProducer<Context>;

/// A producer.
pub struct Producer {
    config: KafkaConfig,
    client_id: String,
    names: Names,
    teller: Teller,
    inner: Option<Arc<Inner>>,
}

impl Producer {
    /// A producer that opens when it is first used: most have nothing to send but dead letters, and
    /// each open one has threads that keep looking for something to do.
    pub(super) fn new(config: &KafkaConfig, client_id: &str) -> Result<Self, LogError> {
        let teller = Teller::of(config);
        // What is wrong with the settings is said at once all the same.
        let checked = settings::producer(config, client_id).create_native_config();
        checked.map_err(|error| teller.error(&error, None))?;
        Ok(Self {
            config: config.clone(),
            client_id: client_id.to_owned(),
            names: Names::of(config),
            teller,
            inner: None,
        })
    }

    fn open(&mut self) -> Result<Arc<Inner>, LogError> {
        if let Some(inner) = &self.inner {
            return Ok(inner.clone());
        }
        let context = Context::new(self.names.clone());
        let settings = settings::producer(&self.config, &self.client_id);
        let inner = settings.create_with_context(context);
        let inner: Inner = inner.map_err(|error| self.teller.error(&error, None))?;
        let inner = Arc::new(inner);
        self.inner = Some(inner.clone());
        Ok(inner)
    }

    /// Lets go of a producer that can make no promise any more, or that goes on for half a minute
    /// to believe that a topic is not there.
    fn drop_if_useless(&mut self, inner: Arc<Inner>, code: Code) {
        let is_missing = matches!(
            code,
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition
        );
        if is_missing || inner.client().fatal_error().is_some() {
            drop(offload::drop_apart((inner, self.inner.take())));
        }
    }
}

impl LogProducer for Producer {
    async fn send(&mut self, records: Vec<NewRecord>) -> Result<(), LogError> {
        let inner = self.open()?;
        let pending = Pending::new();
        let mut refused = None;
        for record in &records {
            let topic = self.names.topic(record.topic);
            if let Err(error) = queue(&inner, &topic, record, &pending).await {
                refused = Some((error.rdkafka_error_code().unwrap_or(Code::Unknown), topic));
                break;
            }
        }
        let failed = pending.settled().await;
        let Some((code, topic)) = refused.or(failed) else {
            inner.client().context().forget();
            return Ok(());
        };
        let reason = inner.client().context().reason();
        self.drop_if_useless(inner, code);
        Err(self.teller.code(code, reason.as_deref(), Some(&topic)))
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            drop(offload::drop_apart(inner));
        }
    }
}

/// Queues a record, and waits while there is no room.
async fn queue(
    inner: &Inner,
    topic: &str,
    record: &NewRecord,
    pending: &Arc<Pending>,
) -> Result<(), KafkaError> {
    let mut next = BaseRecord::with_opaque_to(topic, pending.clone())
        .key(record.key.as_str())
        .payload(record.value.as_slice());
    if let Some(headers) = headers(&record.headers) {
        next = next.headers(headers);
    }
    loop {
        pending.add();
        let Err((error, back)) = inner.send(next) else { return Ok(()) };
        pending.take_back();
        if error.rdkafka_error_code() != Some(Code::QueueFull) {
            return Err(error);
        }
        next = back;
        offload::sleep(FULL_QUEUE_PAUSE).await;
    }
}

fn headers(headers: &Headers) -> Option<OwnedHeaders> {
    let known = [(CORRELATION_ID, &headers.correlation_id), (PRODUCER, &headers.producer)];
    let mut owned = None;
    for (key, value) in known {
        if let Some(value) = value {
            let all = owned.unwrap_or_else(|| OwnedHeaders::new_with_capacity(known.len()));
            owned = Some(all.insert(Header { key, value: Some(value.as_str()) }));
        }
    }
    owned
}
