//! The log (Apache Kafka): topics with partitions, consumer groups, producers.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use thiserror::Error;

use crate::domain::records::named;

named!(
    /// The topics, by the reference's names.
    Topic {
        /// Input: portfolios.
        RawPortfolios = "raw_portfolios",
        /// Input: instruments.
        Instruments = "instruments",
        /// Input: transactions.
        RawTransactions = "raw_transactions",
        /// Input: prices.
        MarketPrices = "market_prices",
        /// Input: rates.
        FxRates = "fx_rates",
        /// Input: business dates.
        RawBusinessDates = "raw_business_dates",
        /// News of a stored transaction; carries no token.
        RawTransactionsCompleted = "raw_transactions_completed",
        /// News of a stored price.
        MarketPricePersisted = "market_price_persisted",
        /// News of a stored rate.
        FxRatePersisted = "fx_rate_persisted",
        /// A transaction with its costs.
        ProcessedTransactionsCompleted = "processed_transactions_completed",
        /// A valuation job.
        ValuationRequired = "valuation_required",
        /// Snapshots of a key and a range of dates.
        DailyPositionSnapshotPersisted = "daily_position_snapshot_persisted",
        /// Rows of a portfolio's series are due.
        PortfolioAggregationRequired = "portfolio_aggregation_required",
        /// Poison messages.
        DeadLetters = "persistence_service.dlq",
    }
);

/// A message read from the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Topic.
    pub topic: Topic,
    /// Partition.
    pub partition: u32,
    /// Offset.
    pub offset: u64,
    /// Message key.
    pub key: SmolStr,
    /// Payload, JSON unless it is poison.
    pub value: Vec<u8>,
    /// Headers that the engine knows.
    pub headers: Headers,
}

/// A message to be written; records of one key go to one partition, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewRecord {
    /// Topic.
    pub topic: Topic,
    /// Message key.
    pub key: SmolStr,
    /// Payload.
    pub value: Vec<u8>,
    /// Headers.
    pub headers: Headers,
}

/// Headers of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headers {
    /// Travels through from the input.
    pub correlation_id: Option<SmolStr>,
    /// Process and instance that sent it, e.g. `outbox-dispatcher-2`.
    pub producer: Option<SmolStr>,
}

/// Next offset to be read of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Topic.
    pub topic: Topic,
    /// Partition.
    pub partition: u32,
    /// The first offset that is not done.
    pub next_offset: u64,
}

/// What can go wrong with the log.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum LogError {
    /// The broker cannot be reached or the connection broke; a produce may have happened.
    #[error("the broker cannot be reached: {0}")]
    Disconnected(String),
    /// The group has rebalanced: the member's partitions are gone and its commit was refused.
    #[error("the member was fenced by a rebalance")]
    Fenced,
    /// Something that the implementation does not do.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// The broker refuses for a cause that a person can remove: a topic that is missing, a message
    /// that is too large. The text names the cause and the cure.
    #[error("{0}")]
    Refused(String),
    /// A partition cannot be read for a cause that a person has to remove, e.g. a batch that is
    /// corrupt. The member keeps its partitions and goes on with the others; nothing is skipped.
    /// The text names topic, partition and cause.
    #[error("{0}")]
    Unreadable(String),
}

impl LogError {
    /// Whether the same call may succeed later.
    pub fn is_retriable(&self) -> bool {
        !matches!(self, LogError::Unsupported(_))
    }

    /// Whether the cause goes away without anybody's doing.
    pub fn is_transient(&self) -> bool {
        matches!(self, LogError::Disconnected(_) | LogError::Fenced)
    }
}

/// Access to the log.
///
/// # Implementers must
/// - deliver at least once and in offset order per partition;
/// - assign each partition of a group to at most one live member of a generation, and refuse the
///   commit of a member of an older one ([`LogError::Fenced`]);
/// - acknowledge a produce only when it survives the crash of one broker process.
#[allow(async_fn_in_trait, reason = "instances are single-threaded; no future is sent")]
pub trait Log {
    /// A member of a consumer group.
    type Consumer: LogConsumer;
    /// An idempotent producer.
    type Producer: LogProducer;

    /// Joins a group; partitions arrive with later polls.
    async fn consumer(
        &self,
        group: &'static str,
        topics: &[Topic],
    ) -> Result<Self::Consumer, LogError>;

    /// Opens a producer.
    async fn producer(&self) -> Result<Self::Producer, LogError>;
}

/// A member of a consumer group.
#[allow(async_fn_in_trait, reason = "instances are single-threaded; no future is sent")]
pub trait LogConsumer {
    /// The next records, at most `max`, in offset order per partition; empty when none came within
    /// the fetch wait or the group is rebalancing. Rebalances happen only inside this call, and it
    /// keeps the membership alive, so it must be called more often than the poll timeout.
    async fn poll(&mut self, max: usize) -> Result<Vec<Record>, LogError>;

    /// Commits positions; everything below is done.
    async fn commit(&mut self, positions: &[Position]) -> Result<(), LogError>;

    /// Reads again from that position on (after a failure). Of a partition that the member does not
    /// have, nothing happens.
    fn seek(&mut self, position: Position);

    /// Delivers no records of these partitions until they are resumed or assigned anew; the member
    /// keeps them, and reads its others. What a paused partition delivers next is what it would
    /// have delivered without the pause.
    fn pause(&mut self, places: &[(Topic, u32)]);

    /// Delivers records of these partitions again.
    fn resume(&mut self, places: &[(Topic, u32)]);

    /// Leaves the group.
    async fn close(self);
}

/// A producer.
#[allow(async_fn_in_trait, reason = "instances are single-threaded; no future is sent")]
pub trait LogProducer {
    /// Writes records in order and waits until all are acknowledged. On an error any subset may
    /// have been written.
    async fn send(&mut self, records: Vec<NewRecord>) -> Result<(), LogError>;
}
