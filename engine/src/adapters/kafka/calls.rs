//! The calls of librdkafka that a member makes, in the words of the port.
//!
//! Those that wait for a broker block; a member makes them apart from its own thread.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use smol_str::SmolStr;

use super::context::{Context, Place};
use super::error::{self, Teller};
use super::names::Names;
use super::producer::{CORRELATION_ID, PRODUCER};
use crate::ports::log::{Headers, LogError, Topic};

/// librdkafka's member of a group.
pub(super) type Inner = StreamConsumer<Context>;

/// Events that are looked through for the cause of trouble.
const EVENTS: usize = 20;

/// How long a seek may take; one that takes longer is tried again at the next poll.
const SEEK: Duration = Duration::from_secs(2);

/// How long a cluster may take to tell about topics before a member joins.
const METADATA: Duration = Duration::from_secs(3);

/// Subscribes, if all topics are there.
pub(super) fn subscribe(inner: &Inner, topics: &[String], teller: &Teller) -> Result<(), LogError> {
    for topic in topics {
        let told = inner.fetch_metadata(Some(topic), METADATA);
        let told = told.map_err(|error| {
            take_events(inner);
            teller.error(&error, inner.context().reason().as_deref())
        })?;
        let found = told.topics().iter().find(|found| found.name() == topic);
        let code = found.and_then(|found| found.error()).map(Code::from);
        match code {
            None if found.is_some() => {}
            None | Some(Code::UnknownTopicOrPartition) => {
                return Err(LogError::Refused(error::missing(topic)));
            }
            // It has just been made.
            Some(Code::LeaderNotAvailable) => {}
            Some(code) => return Err(teller.code(code, None, Some(topic))),
        }
    }
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    inner.subscribe(&topics).map_err(|error| teller.error(&error, None))
}

/// Takes the events that wait, of a client that has no records: among them is the cause of trouble.
fn take_events(inner: &Inner) {
    for _ in 0..EVENTS {
        let mut context = TaskContext::from_waker(Waker::noop());
        // An event that is no record and no error is taken and not ready.
        drop(pin!(inner.recv()).as_mut().poll(&mut context));
    }
}

/// What waits in librdkafka's queue, if anything does.
pub(super) async fn given_at_once(
    inner: &Inner,
) -> Option<Result<BorrowedMessage<'_>, KafkaError>> {
    let mut next = pin!(inner.recv());
    poll_fn(|_| {
        // Nobody is to be woken: if nothing is there, the caller asks again or waits.
        let mut context = TaskContext::from_waker(Waker::noop());
        Poll::Ready(match next.as_mut().poll(&mut context) {
            Poll::Ready(given) => Some(given),
            Poll::Pending => None,
        })
    })
    .await
}

/// Seeks; the partitions where that worked.
pub(super) fn seek(inner: &Inner, names: &Names, list: TopicPartitionList) -> Vec<Place> {
    if list.count() == 0 {
        return Vec::new();
    }
    let Ok(answers) = inner.seek_partitions(list, SEEK) else { return Vec::new() };
    let elements = answers.elements();
    let done = elements.iter().filter(|element| element.error().is_ok());
    done.filter_map(|e| Some((names.parse(e.topic())?, u32::try_from(e.partition()).ok()?)))
        .collect()
}

pub(super) fn list(names: &Names, places: &[(Topic, u32, u64)]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(places.len());
    for &(topic, partition, offset) in places {
        let partition = i32::try_from(partition).expect("Kafka numbers partitions by i32");
        let offset = i64::try_from(offset).expect("Kafka numbers records by i64");
        list.add_partition_offset(&names.topic(topic), partition, Offset::Offset(offset))
            .expect("an offset that is not negative can be written");
    }
    list
}

/// The headers that the engine knows; of two of one name, the later one.
pub(super) fn headers(message: &BorrowedMessage<'_>) -> Headers {
    let mut known = Headers::default();
    for header in message.headers().into_iter().flat_map(|headers| headers.iter()) {
        let value = || header.value.map(|value| SmolStr::new(String::from_utf8_lossy(value)));
        match header.key {
            CORRELATION_ID => known.correlation_id = value(),
            PRODUCER => known.producer = value(),
            _ => {}
        }
    }
    known
}
