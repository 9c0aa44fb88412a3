//! What librdkafka calls back: rebalances, causes of trouble, acknowledgements.
//!
//! # Invariants
//! - A partition is in the membership from when it is assigned to when it begins to be revoked.
//! - The generation changes with every change of the assignment.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::sync::Notify;

use super::names::Names;
use super::offload::now;
use crate::ports::log::Topic;

/// A partition of a topic.
pub(super) type Place = (Topic, u32);

/// As long as a cause lasts, librdkafka repeats it every half minute.
const REASON_AGE_MAX: Duration = Duration::from_secs(60);

/// What a client's callbacks write.
pub(super) struct Context {
    names: Names,
    assigned: Mutex<BTreeSet<Place>>,
    generation: AtomicU64,
    reason: Mutex<Option<(String, Instant)>>,
}

impl Context {
    pub(super) fn new(names: Names) -> Self {
        Self {
            names,
            assigned: Mutex::default(),
            generation: AtomicU64::new(0),
            reason: Mutex::default(),
        }
    }

    /// Counts the changes of the assignment.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The partitions that the member has now.
    pub(super) fn assigned(&self) -> BTreeSet<Place> {
        lock(&self.assigned).clone()
    }

    /// What librdkafka said last about its connections; nothing if that is over.
    pub(super) fn reason(&self) -> Option<String> {
        let said = lock(&self.reason).clone();
        let (reason, at) = said?;
        (now().saturating_duration_since(at) < REASON_AGE_MAX).then_some(reason)
    }

    /// A call has succeeded: whatever was wrong before is no cause of what comes.
    pub(super) fn forget(&self) {
        *lock(&self.reason) = None;
    }
}

impl ClientContext for Context {
    /// A cause reaches the caller with the error of its call, once; a log would repeat it for ever.
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        // Says only that what was said before is true of every broker.
        if error.rdkafka_error_code() != Some(Code::AllBrokersDown) {
            *lock(&self.reason) = Some((reason.to_owned(), now()));
        }
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if !matches!(rebalance, Rebalance::Assign(_)) {
            lock(&self.assigned).clear();
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(list) = rebalance {
            let place = |topic: &str, partition: i32| {
                Some((self.names.parse(topic)?, u32::try_from(partition).ok()?))
            };
            let elements = list.elements();
            let places = elements.iter().filter_map(|e| place(e.topic(), e.partition()));
            *lock(&self.assigned) = places.collect();
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// The records of one send that have no outcome yet.
pub(super) struct Pending {
    state: Mutex<(usize, Option<(Code, String)>)>,
    changed: Notify,
}

impl Pending {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::new((0, None)), changed: Notify::new() })
    }

    /// One more record is under way.
    pub(super) fn add(&self) {
        lock(&self.state).0 += 1;
    }

    /// The last one is not: it could not be queued.
    pub(super) fn take_back(&self) {
        lock(&self.state).0 -= 1;
    }

    /// Waits until all have an outcome; the first failure with its topic, if any failed.
    pub(super) async fn settled(&self) -> Option<(Code, String)> {
        loop {
            let changed = self.changed.notified();
            {
                let state = lock(&self.state);
                if state.0 == 0 {
                    return state.1.clone();
                }
            }
            changed.await;
        }
    }

    fn settle(&self, failure: Option<(Code, String)>) {
        let mut state = lock(&self.state);
        state.0 -= 1;
        if state.1.is_none() {
            state.1 = failure;
        }
        if state.0 == 0 {
            self.changed.notify_one();
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Arc<Pending>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Self::DeliveryOpaque) {
        use rdkafka::Message;
        let failure = result.as_ref().err().map(|(error, message)| {
            let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
            (code, message.topic().to_owned())
        });
        pending.settle(failure);
    }
}

/// A panic of another thread has not left the data half written: each change is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_cause_is_told_until_a_call_succeeds_or_it_is_old() {
    let context = Context::new(Names::of(&super::config::KafkaConfig::default()));
    context.error(KafkaError::Global(Code::BrokerTransportFailure), "refused");
    assert_eq!(context.reason().as_deref(), Some("refused"));
    context.forget();
    assert_eq!(context.reason(), None);
    context.error(KafkaError::Global(Code::BrokerTransportFailure), "refused");
    let old =
        lock(&context.reason).take().map(|(reason, at)| (reason, at.checked_sub(REASON_AGE_MAX)));
    let (reason, at) = old.expect("it was told");
    *lock(&context.reason) = at.map(|at| (reason, at));
    assert_eq!(context.reason(), None);
}
