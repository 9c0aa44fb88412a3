//! The loop of every consumer: poll, take effect, send dead letters, commit offsets.
//!
//! # Invariants
//! - An offset is committed only after the effect of its record and of all before it in its
//!   partition is durable; a failure seeks back and never skips.
//! - One bad partition does not hold up the others: a batch that fails is done again partition by
//!   partition, and only the one that fails waits.

use super::ServiceError;
use super::backoff::Backoff;
use super::instance::{Consumer, Instance, Producer};
use crate::domain::intake::Rejection;
use crate::domain::messages;
use crate::ports::Ports;
use crate::ports::clock::Clock;
use crate::ports::host::Host as _;
use crate::ports::host::Signal;
use crate::ports::log::{Headers, LogError, NewRecord, Position, Record, Topic};

/// What a consumer does with its records.
pub(super) trait Handler<P: Ports> {
    /// Its consumer group.
    const GROUP: &'static str;
    /// Its topics.
    const TOPICS: &'static [Topic];

    /// Makes the effect of the records durable and returns those that are poison. Records of one
    /// partition are in offset order.
    async fn handle<'r>(
        &self,
        instance: &Instance<P>,
        records: &'r [Record],
    ) -> Result<Vec<(&'r Record, Rejection)>, ServiceError>;
}

/// Consumes for ever.
pub(super) async fn consume<P: Ports, H: Handler<P>>(instance: Instance<P>, handler: H) {
    let mut backoff = Backoff::default();
    loop {
        let error = match serve(&instance, &handler, &mut backoff).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        instance.trouble(H::GROUP, &error);
        backoff.wait(&instance).await;
    }
}

/// Consumes as one member until the log fails it.
async fn serve<P: Ports, H: Handler<P>>(
    instance: &Instance<P>,
    handler: &H,
    backoff: &mut Backoff,
) -> Result<std::convert::Infallible, LogError> {
    let mut consumer = Consumer::join(instance, H::GROUP, H::TOPICS).await?;
    let mut producer = instance.producer().await?;
    loop {
        let records = match consumer.poll(instance.knobs.consumer_batch).await {
            Ok(records) => records,
            Err(error) => {
                consumer.close().await;
                return Err(error);
            }
        };
        if records.is_empty() {
            continue;
        }
        if let Err(error) = take(instance, handler, &mut producer, &mut consumer, &records).await {
            instance.trouble(H::GROUP, &error);
            if one_by_one(instance, handler, &mut producer, &mut consumer, &records).await {
                backoff.reset();
            } else {
                backoff.wait(instance).await;
            }
            continue;
        }
        backoff.reset();
        instance.pause(instance.knobs.consumer_poll_ms).await;
    }
}

/// Takes each partition of a failed batch for itself; whether all went well.
async fn one_by_one<P: Ports, H: Handler<P>>(
    instance: &Instance<P>,
    handler: &H,
    producer: &mut Producer<'_, P>,
    consumer: &mut Consumer<'_, P>,
    records: &[Record],
) -> bool {
    let mut sorted = records.to_vec();
    sorted.sort_by_key(|r| (r.topic, r.partition, r.offset));
    let mut well = true;
    for slice in sorted.chunk_by(|a, b| (a.topic, a.partition) == (b.topic, b.partition)) {
        if let Err(error) = take(instance, handler, producer, consumer, slice).await {
            instance.trouble(H::GROUP, &error);
            let first = &slice[0];
            consumer.seek(Position {
                topic: first.topic,
                partition: first.partition,
                next_offset: first.offset,
            });
            well = false;
        }
    }
    well
}

/// Effect, dead letters, offsets, in this order.
async fn take<P: Ports, H: Handler<P>>(
    instance: &Instance<P>,
    handler: &H,
    producer: &mut Producer<'_, P>,
    consumer: &mut Consumer<'_, P>,
    records: &[Record],
) -> Result<(), ServiceError> {
    let poison = handler.handle(instance, records).await?;
    if !poison.is_empty() {
        producer.send(dead_letters(instance, &poison)).await?;
        for (record, error) in &poison {
            let error = error.as_str().into();
            instance.emit(Signal::DeadLettered { topic: record.topic, error });
        }
    }
    match consumer.commit(&positions(records)).await {
        // The partitions are somebody else's now; what was done here is done again there, and
        // finds itself done.
        Err(LogError::Fenced) => Ok(()),
        other => Ok(other?),
    }
}

fn dead_letters<P: Ports>(
    instance: &Instance<P>,
    poison: &[(&Record, Rejection)],
) -> Vec<NewRecord> {
    let now = instance.ports.clock().now();
    poison
        .iter()
        .map(|(record, error)| NewRecord {
            topic: Topic::DeadLetters,
            key: record.key.clone(),
            value: messages::dead_letter(
                record.topic.as_str(),
                &record.key,
                &record.value,
                *error,
                now,
            )
            .into_bytes(),
            headers: Headers {
                correlation_id: record.headers.correlation_id.clone(),
                producer: Some(instance.ports.host().instance().into()),
            },
        })
        .collect()
}

/// The positions after the records.
fn positions(records: &[Record]) -> Vec<Position> {
    let mut ends: std::collections::BTreeMap<(Topic, u32), u64> = Default::default();
    for record in records {
        let end = ends.entry((record.topic, record.partition)).or_default();
        *end = (*end).max(record.offset + 1);
    }
    ends.into_iter()
        .map(|((topic, partition), next_offset)| Position { topic, partition, next_offset })
        .collect()
}
