//! The loop of every consumer: poll, take effect, send dead letters, commit offsets.
//!
//! # Invariants
//! - An offset is committed only after the effect of its record and of all before it in its
//!   partition is durable; a failure seeks back and never skips.
//! - One bad partition does not hold up the others: a batch that fails is done again partition by
//!   partition, and only the one that fails waits, each for its own back-off. It is paused for so
//!   long, and the member goes on polling, so that it keeps its partitions.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::ServiceError;
use super::backoff::Backoff;
use super::instance::{Consumer, Instance, Producer};
use crate::defects::{Defect, is_planted};
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

/// What records say, and those that nobody can read; both in the order of the records.
pub(super) type Parted<'r, T> = (Vec<(&'r Record, T)>, Vec<(&'r Record, Rejection)>);

/// Parts records into news and poison.
pub(super) fn part<T>(
    records: &[Record],
    read: impl Fn(&Record) -> Result<T, Rejection>,
) -> Parted<'_, T> {
    let (mut news, mut poison) = (Vec::new(), Vec::new());
    for record in records {
        match read(record) {
            Ok(said) => news.push((record, said)),
            Err(rejection) => poison.push((record, rejection)),
        }
    }
    (news, poison)
}

/// Consumes until the instance is asked to stop.
pub(super) async fn consume<P: Ports, H: Handler<P>>(instance: Instance<P>, handler: H) {
    let mut backoff = Backoff::default();
    while !instance.is_stopping() {
        let Err(error) = serve(&instance, &handler, &mut backoff).await else { continue };
        instance.trouble(H::GROUP, &error);
        backoff.wait(&instance).await;
    }
}

/// Consumes as one member until the log fails it or the instance is asked to stop.
async fn serve<P: Ports, H: Handler<P>>(
    instance: &Instance<P>,
    handler: &H,
    backoff: &mut Backoff,
) -> Result<(), LogError> {
    let mut consumer = Consumer::join(instance, H::GROUP, H::TOPICS).await?;
    let mut producer = instance.producer().await?;
    let mut waiting = Waiting::default();
    while !instance.is_stopping() {
        consumer.resume(&waiting.over());
        let records = match consumer.poll(instance.knobs.consumer_batch).await {
            Ok(records) => records,
            // The member finds its broker again by itself, and may still be in its group then; a
            // partition that cannot be read is no reason to give the others up.
            Err(error @ (LogError::Disconnected(_) | LogError::Unreadable(_))) => {
                instance.trouble(H::GROUP, &error);
                backoff.wait(instance).await;
                continue;
            }
            Err(error) => {
                consumer.close().await;
                return Err(error);
            }
        };
        if records.is_empty() {
            // The log answers: the next failure is another story.
            backoff.reset();
            continue;
        }
        if let Err(error) = take(instance, handler, &mut producer, &mut consumer, &records).await {
            if instance.is_stopping() {
                // What is not committed comes again, at whoever takes the partition over.
                break;
            }
            instance.trouble(H::GROUP, &error);
            if is_planted(Defect::FailedBatchSkipped) {
                continue;
            }
            let both = (&mut producer, &mut consumer);
            one_by_one(instance, handler, both, &records, &mut waiting).await;
            continue;
        }
        backoff.reset();
        waiting.succeed(&records);
        instance.pause(instance.knobs.consumer_poll_ms).await;
    }
    consumer.close().await;
    Ok(())
}

/// Takes each partition of a failed batch for itself; those that fail wait.
async fn one_by_one<P: Ports, H: Handler<P>>(
    instance: &Instance<P>,
    handler: &H,
    (producer, consumer): (&mut Producer<'_, P>, &mut Consumer<'_, P>),
    records: &[Record],
    waiting: &mut Waiting,
) {
    let mut sorted = records.to_vec();
    sorted.sort_by_key(|r| (r.topic, r.partition, r.offset));
    for slice in sorted.chunk_by(|a, b| (a.topic, a.partition) == (b.topic, b.partition)) {
        let Err(error) = take(instance, handler, producer, consumer, slice).await else {
            waiting.succeed(slice);
            continue;
        };
        instance.trouble(H::GROUP, &error);
        let first = &slice[0];
        let (topic, partition) = (first.topic, first.partition);
        consumer.seek(Position { topic, partition, next_offset: first.offset });
        consumer.pause(&[(topic, partition)]);
        waiting.fail(instance, (topic, partition));
    }
}

/// The partitions whose last batch failed. A rebalance may take one away that is noted here; if it
/// comes back, it is read at once and waits longer if it fails again.
#[derive(Default)]
struct Waiting(BTreeMap<(Topic, u32), Wait>);

#[derive(Default)]
struct Wait {
    backoff: Backoff,
    /// Set when the back-off is over.
    is_over: Rc<Cell<bool>>,
}

impl Waiting {
    /// Starts the back-off of a partition.
    fn fail<P: Ports>(&mut self, instance: &Instance<P>, place: (Topic, u32)) {
        let wait = self.0.entry(place).or_default();
        let pause_ms = wait.backoff.fail(instance);
        // A flag of its own: an earlier back-off that still runs is not this one's end.
        wait.is_over = Rc::default();
        let (sleeper, is_over) = (instance.clone(), wait.is_over.clone());
        instance.ports.host().spawn(async move {
            sleeper.pause(pause_ms).await;
            is_over.set(true);
        });
    }

    /// The partitions whose back-off has ended since the last call.
    fn over(&mut self) -> Vec<(Topic, u32)> {
        if is_planted(Defect::PausedPartitionNeverResumed) {
            return Vec::new();
        }
        let over = self.0.iter().filter(|(_, wait)| wait.is_over.replace(false));
        over.map(|(&place, _)| place).collect()
    }

    fn succeed(&mut self, records: &[Record]) {
        for record in records {
            self.0.remove(&(record.topic, record.partition));
        }
    }
}

/// Effect, dead letters, offsets, in this order.
async fn take<P: Ports, H: Handler<P>>(
    instance: &Instance<P>,
    handler: &H,
    producer: &mut Producer<'_, P>,
    consumer: &mut Consumer<'_, P>,
    records: &[Record],
) -> Result<(), ServiceError> {
    if is_planted(Defect::OffsetBeforeEffect) {
        consumer.commit(&positions(records)).await?;
    }
    let poison = handler.handle(instance, records).await?;
    if is_planted(Defect::PoisonStopsPartition) && !poison.is_empty() {
        return Err(ServiceError::Raced("a message that nobody can read"));
    }
    if !poison.is_empty() && !is_planted(Defect::DeadLetterForgotten) {
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
    let mut ends: BTreeMap<(Topic, u32), u64> = Default::default();
    for record in records {
        let end = ends.entry((record.topic, record.partition)).or_default();
        *end = (*end).max(record.offset + 1);
    }
    ends.into_iter()
        .map(|((topic, partition), next_offset)| Position { topic, partition, next_offset })
        .collect()
}
