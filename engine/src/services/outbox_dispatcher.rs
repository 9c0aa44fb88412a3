//! `outbox-dispatcher`: publishes what transactions have left in the outbox, in order per (topic,
//! key), at least once.
//!
//! Events of one message key share a lane. A lane is locked by the transaction that publishes it,
//! so its events leave in the order of their ids, one dispatcher at a time, and the death of a
//! dispatcher frees its lane at once. An event is deleted after the log has acknowledged it: a
//! crash in between publishes it again. A dispatcher that was cut off from the database may still
//! have messages on their way when its lane is somebody else's; consumers drop them as stale.

use super::ServiceError;
use super::backoff::Backoff;
use super::instance::{Instance, Producer};
use crate::defects::{Defect, is_planted};
use crate::ports::Ports;
use crate::ports::host::{Host, Measure};
use crate::ports::log::{Headers, NewRecord};
use crate::ports::store::statements::{DeleteOutbox, ReadOutbox, TakeOutboxLane};

/// Name of the process in crash points.
pub const PROCESS: &str = "outbox-dispatcher";

/// Its port calls.
pub const CALLS: &[&str] = &["TakeOutboxLane", "ReadOutbox", "Send", "DeleteOutbox", "Commit"];

/// The lane of a message key: FNV-1a, which stays the same on every machine and in every version.
pub fn lane_of(key: &str, lanes: u32) -> u32 {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash % u64::from(lanes.max(1))) as u32
}

/// Runs the process until the instance is asked to stop.
pub(crate) async fn run<P: Ports>(instance: Instance<P>) {
    let mut backoff = Backoff::default();
    while !instance.is_stopping() {
        let Err(error) = serve(&instance, &mut backoff).await else { continue };
        instance.trouble(PROCESS, &error);
        backoff.wait(&instance).await;
    }
}

async fn serve<P: Ports>(
    instance: &Instance<P>,
    backoff: &mut Backoff,
) -> Result<(), ServiceError> {
    let mut producer = instance.producer().await?;
    while !instance.is_stopping() {
        if !publish(instance, &mut producer).await? {
            instance.pause(instance.knobs.outbox_poll_ms).await;
        }
        backoff.reset();
    }
    Ok(())
}

/// Publishes the head of the lane that has waited longest; whether there was any.
async fn publish<P: Ports>(
    instance: &Instance<P>,
    producer: &mut Producer<'_, P>,
) -> Result<bool, ServiceError> {
    let mut session = instance.begin().await?;
    let Some(lane) = session.run(TakeOutboxLane {}).await? else {
        session.rollback().await;
        return Ok(false);
    };
    let rows = session.run(ReadOutbox { lane, limit: instance.knobs.outbox_batch }).await?;
    if rows.is_empty() {
        session.rollback().await;
        return Ok(true);
    }
    let sender: smol_str::SmolStr = instance.ports.host().instance().into();
    let ids = rows.iter().map(|row| row.id).collect();
    let records = rows.into_iter().map(|row| NewRecord {
        topic: row.topic,
        key: row.key,
        value: row.payload.into_bytes(),
        headers: Headers { correlation_id: row.correlation_id, producer: Some(sender.clone()) },
    });
    let records: Vec<NewRecord> = records.collect();
    let runs = records.chunk_by(|a, b| a.topic == b.topic);
    let published: Vec<_> = runs.map(|run| (run[0].topic, run.len() as u64)).collect();
    if is_planted(Defect::OutboxDeletedBeforeSend) {
        session.run(DeleteOutbox { lane, ids }).await?;
        session.commit().await?;
        producer.send(records).await?;
        return Ok(true);
    }
    producer.send(records).await?;
    for (topic, records) in published {
        instance.measure(Measure::Published { topic, records });
    }
    session.run(DeleteOutbox { lane, ids }).await?;
    session.commit().await?;
    Ok(true)
}
