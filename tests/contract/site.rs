//! Where a body runs: a service with clients on it, and what can be done to both.

use std::pin::Pin;
use std::time::Duration;

use backdate_engine::ports::clock::Clock;
use backdate_engine::ports::log::{Log, Topic};
use backdate_engine::ports::store::Store;
use futures_util::future::{Either, select};

/// How long a body waits before it believes that a call is blocked: long enough for a busy machine
/// to have done the call if nothing had held it.
const PATIENCE_TO_SEE_A_WAIT: Duration = Duration::from_millis(150);
/// How long a body waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A place with a clock.
pub(crate) trait Site: Clone + 'static {
    /// The clock port.
    type Clock: Clock;

    /// The clock of this machine.
    fn clock(&self) -> &Self::Clock;

    /// Runs a task beside the caller.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);

    /// Waits.
    async fn sleep(&self, ms: u64) {
        self.clock().sleep(Duration::from_millis(ms)).await;
    }

    /// The wall clock in milliseconds.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock().now().micros() / 1_000).expect("it is after 1970")
    }

    /// What a call answers, which must come.
    async fn soon<T>(&self, call: impl Future<Output = T>) -> T {
        let call = std::pin::pin!(call);
        let end = std::pin::pin!(self.clock().sleep(PATIENCE));
        match select(call, end).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => panic!("no answer within {PATIENCE:?}"),
        }
    }

    /// Makes sure that a call waits.
    async fn waits<F: Future>(&self, call: &mut Pin<Box<F>>) -> bool {
        let end = std::pin::pin!(self.clock().sleep(PATIENCE_TO_SEE_A_WAIT));
        matches!(select(call, end).await, Either::Right(_))
    }
}

/// A database with an empty schema.
pub(crate) trait StoreSite: Site {
    /// The store port.
    type Store: Store<Transaction = Self::Transaction> + Clone;
    /// Its transactions.
    type Transaction: backdate_engine::ports::store::Transaction;

    /// A client with a pool of four connections of its own.
    fn store(&self) -> Self::Store;

    /// Ends all sessions of all clients, as an operator would.
    async fn kill_sessions(&self);

    /// The next commit that has written something happens, and its answer gets lost with the
    /// connection.
    async fn lose_commit_answer(&self);

    /// Ends the server without notice and starts it again on what is on the disk.
    async fn crash(&self);
}

/// What a database allows.
#[derive(Clone, Debug)]
pub(crate) struct StoreSettings {
    /// Longest wait for one lock; 0: no limit.
    pub(crate) lock_timeout_ms: u64,
    /// Longest statement; 0: no limit.
    pub(crate) statement_timeout_ms: u64,
    /// Longest pause of a client in a transaction; 0: no limit.
    pub(crate) idle_in_transaction_timeout_ms: u64,
    /// When a waiting session looks for a deadlock.
    pub(crate) deadlock_timeout_ms: u64,
    /// Sessions of all clients.
    pub(crate) sessions_max: usize,
    /// Whether the body crashes the server, which then has to be its own.
    pub(crate) crashes: bool,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            lock_timeout_ms: 0,
            statement_timeout_ms: 0,
            idle_in_transaction_timeout_ms: 0,
            deadlock_timeout_ms: 500,
            sessions_max: 100,
            crashes: false,
        }
    }
}

/// A broker with topics.
pub(crate) trait LogSite: Site {
    /// The log port.
    type Log: Log<Consumer = Self::Consumer, Producer = Self::Producer> + Clone;
    /// Its consumers.
    type Consumer: backdate_engine::ports::log::LogConsumer + Assigned;
    /// Its producers.
    type Producer: backdate_engine::ports::log::LogProducer;

    /// A client.
    fn log(&self) -> Self::Log;

    /// Ends the broker without notice and starts it again on what is on the disk, `down_ms` later.
    async fn crash(&self, down_ms: u64);
}

/// Three brokers, any of which can be down for a while.
pub(crate) trait ClusterSite: LogSite {
    /// The broker that leads a partition of the topic, and the other ones that have it.
    async fn replicas(&self, partition: u32) -> Vec<u32>;

    /// The broker that coordinates a group.
    async fn coordinator(&self, group: &str) -> u32;

    /// Ends a broker without notice.
    async fn kill(&self, broker: u32);

    /// Starts a broker again.
    async fn start(&self, broker: u32);

    /// Deletes the records of a partition below an offset.
    async fn delete_before(&self, partition: u32, offset: u64);
}

/// A member that knows its partitions.
pub(crate) trait Assigned {
    /// The partitions that it has now, in order.
    fn assigned(&self) -> Vec<u32>;
}

/// What a broker and its clients do.
#[derive(Clone, Debug)]
pub(crate) struct LogSettings {
    /// Topics that are there.
    pub(crate) topics: &'static [Topic],
    /// Partitions of each of them.
    pub(crate) partitions: u32,
    /// How long a member may be silent.
    pub(crate) session_ms: u64,
    /// How long a member may go without a poll.
    pub(crate) max_poll_ms: u64,
    /// How long a poll waits for a first record.
    pub(crate) fetch_wait_ms: u64,
    /// Whether the body crashes the broker, which then has to be its own.
    pub(crate) crashes: bool,
    /// Replicas of each partition; of several, two must be in sync, the brokers are three, and they
    /// belong to the body.
    pub(crate) replicas: u32,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            topics: &[Topic::MarketPrices],
            partitions: 3,
            session_ms: 1_500,
            max_poll_ms: 60_000,
            fetch_wait_ms: 50,
            crashes: false,
            replicas: 1,
        }
    }
}

/// Nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClockSettings {}
