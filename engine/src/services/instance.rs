//! A running instance: its ports and knobs, and the one place where every port call passes its
//! named crash points.

use std::time::Duration;

use super::is_listed;
use crate::defects::{Defect, is_any_planted, is_planted};
use crate::ports::Ports;
use crate::ports::clock::Clock;
use crate::ports::host::{Host, Measure, Side, Signal};
use crate::ports::log::{
    Log, LogConsumer, LogError, LogProducer, NewRecord, Position, Record, Topic,
};
use crate::ports::random::Random;
use crate::ports::store::{Statement, Store, StoreError, Transaction};
use crate::runtime::Knobs;

/// A running instance of a process.
#[derive(Clone)]
pub(crate) struct Instance<P: Ports> {
    /// Its ports.
    pub(crate) ports: P,
    /// Its knobs.
    pub(crate) knobs: Knobs,
    /// Its process, as crash points name it.
    pub(crate) process: &'static str,
}

impl<P: Ports> Instance<P> {
    /// Passes the point before a call, makes it, passes the point after it.
    async fn call<T>(&self, name: &'static str, call: impl Future<Output = T>) -> T {
        debug_assert!(
            is_listed(self.process, name) || is_any_planted(),
            "{}/{name} must stand in the list of its process: it is a crash point",
            self.process
        );
        self.ports.host().point(self.process, name, Side::Before).await;
        let answer = call.await;
        self.ports.host().point(self.process, name, Side::After).await;
        answer
    }

    /// Begins a transaction.
    pub(crate) async fn begin(&self) -> Result<Session<'_, P>, StoreError> {
        Ok(Session { instance: self, transaction: self.ports.store().begin().await? })
    }

    /// Runs one statement in a transaction of its own.
    pub(crate) async fn query<S: Statement>(&self, statement: S) -> Result<S::Output, StoreError> {
        self.call(S::NAME, self.ports.store().query(statement)).await
    }

    /// Opens a producer.
    pub(crate) async fn producer(&self) -> Result<Producer<'_, P>, LogError> {
        let inner = self.ports.log().producer().await?;
        Ok(Producer { instance: self, inner })
    }

    /// Reports something.
    pub(crate) fn emit(&self, signal: Signal) {
        self.ports.host().emit(signal);
    }

    /// Counts something.
    pub(crate) fn measure(&self, measure: Measure) {
        self.ports.host().measure(measure);
    }

    /// Reports what was in vain.
    pub(crate) fn trouble(&self, during: &str, error: &impl std::fmt::Display) {
        self.emit(Signal::Trouble { during: during.into(), error: error.to_string() });
    }

    /// Whether the instance is asked to stop; every loop asks between two batches.
    pub(crate) fn is_stopping(&self) -> bool {
        self.ports.host().is_stopping()
    }

    /// Waits.
    pub(crate) async fn sleep(&self, duration: Duration) {
        self.ports.clock().sleep(duration).await;
    }

    /// Waits between three quarters and five quarters of it, so that instances drift apart.
    pub(crate) async fn pause(&self, milliseconds: u64) {
        let spread = milliseconds * 1_000 / 2;
        let jitter = self.ports.random().next_u64() % (spread + 1);
        self.sleep(Duration::from_micros(milliseconds * 750 + jitter)).await;
    }
}

/// An open transaction of an instance.
pub(crate) struct Session<'a, P: Ports> {
    instance: &'a Instance<P>,
    transaction: <P::Store as Store>::Transaction,
}

impl<'a, P: Ports> Session<'a, P> {
    /// Commits what is done so far and goes on in another transaction: what a planted defect does.
    pub(crate) async fn split(&mut self) -> Result<(), StoreError> {
        let instance: &'a Instance<P> = self.instance;
        std::mem::replace(self, instance.begin().await?).commit().await
    }

    /// Runs one statement.
    pub(crate) async fn run<S: Statement>(
        &mut self,
        statement: S,
    ) -> Result<S::Output, StoreError> {
        self.instance.call(S::NAME, self.transaction.execute(statement)).await
    }

    /// Commits.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        match self.instance.call("Commit", self.transaction.commit()).await {
            Err(StoreError::UnknownOutcome) if is_planted(Defect::UnknownCommitTakenForDone) => {
                Ok(())
            }
            ended => ended,
        }
    }

    /// Rolls back a transaction that found nothing to do.
    pub(crate) async fn rollback(self) {
        self.transaction.rollback().await;
    }
}

/// A producer of an instance.
pub(crate) struct Producer<'a, P: Ports> {
    instance: &'a Instance<P>,
    inner: <P::Log as Log>::Producer,
}

impl<P: Ports> Producer<'_, P> {
    /// Writes records in order and waits until all are acknowledged.
    pub(crate) async fn send(&mut self, records: Vec<NewRecord>) -> Result<(), LogError> {
        self.instance.call("Send", self.inner.send(records)).await
    }
}

/// A consumer of an instance.
pub(crate) struct Consumer<'a, P: Ports> {
    instance: &'a Instance<P>,
    inner: <P::Log as Log>::Consumer,
    group: &'static str,
}

impl<'a, P: Ports> Consumer<'a, P> {
    /// Joins a group.
    pub(crate) async fn join(
        instance: &'a Instance<P>,
        group: &'static str,
        topics: &[Topic],
    ) -> Result<Self, LogError> {
        let inner = instance.ports.log().consumer(group, topics).await?;
        Ok(Self { instance, inner, group })
    }

    /// The next records.
    pub(crate) async fn poll(&mut self, max: u32) -> Result<Vec<Record>, LogError> {
        let records = self.inner.poll(max as usize).await?;
        for run in records.chunk_by(|a, b| a.topic == b.topic) {
            let (topic, group, records) = (run[0].topic, self.group, run.len() as u64);
            self.instance.measure(Measure::Consumed { topic, group, records });
        }
        Ok(records)
    }

    /// Commits positions.
    pub(crate) async fn commit(&mut self, positions: &[Position]) -> Result<(), LogError> {
        self.instance.call("CommitOffsets", self.inner.commit(positions)).await
    }

    /// Leaves partitions alone.
    pub(crate) fn pause(&mut self, places: &[(Topic, u32)]) {
        self.inner.pause(places);
    }

    /// Reads partitions again that were left alone.
    pub(crate) fn resume(&mut self, places: &[(Topic, u32)]) {
        self.inner.resume(places);
    }

    /// Reads again from there.
    pub(crate) fn seek(&mut self, position: Position) {
        self.inner.seek(position);
    }

    /// Leaves the group.
    pub(crate) async fn close(self) {
        self.inner.close().await;
    }
}
