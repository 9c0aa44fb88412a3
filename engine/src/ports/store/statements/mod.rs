//! The statements of the engine, each with the SQL that it stands for.
//!
//! `$name` is a field of the statement. A statement that locks states its order; where the SQL says
//! `FOR NO KEY UPDATE` the rows it returns are the newest versions of the locked rows, while
//! everything else that it reads is as of its start. `key` is short for `(portfolio_id,
//! security_id)`; sets are given as `unnest($rows)`.
//!
//! # Invariants
//! - The order in [`AnyStatement`] is part of how statements are encoded.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// One SQL statement with its parameters.
pub trait Statement: Serialize + DeserializeOwned + Into<AnyStatement> + Clone + 'static {
    /// What it answers.
    type Output: Serialize + DeserializeOwned + 'static;
    /// Name, in crash points and measurements.
    const NAME: &'static str;
}

/// Declares statements. One that `any_statement!` does not list does not compile.
macro_rules! statements {
    ($(
        $(#[$doc:meta])*
        $name:ident { $($(#[$fdoc:meta])* $field:ident: $ty:ty),* $(,)? } -> $out:ty;
    )+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, ::serde::Serialize, ::serde::Deserialize)]
            pub struct $name { $($(#[$fdoc])* pub $field: $ty),* }

            impl super::Statement for $name {
                type Output = $out;
                const NAME: &'static str = stringify!($name);
            }

            impl From<$name> for super::AnyStatement {
                fn from(statement: $name) -> Self {
                    super::AnyStatement::$name(statement)
                }
            }
        )+
    };
}

mod cashflows;
mod fan_out;
mod fold;
mod keys;
mod outbox;
mod persistence;
mod reads;
mod series;
mod support;
mod valuation;

pub use cashflows::*;
pub use fan_out::*;
pub use fold::*;
pub use keys::*;
pub use outbox::*;
pub use persistence::*;
pub use reads::*;
pub use series::*;
pub use support::*;
pub use valuation::*;

/// Makes one type of all statements.
macro_rules! any_statement {
    ($($name:ident),+ $(,)?) => {
        /// Any statement, as it travels to a simulated server.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub enum AnyStatement {
            $(#[doc = stringify!($name)] $name($name)),+
        }

        impl AnyStatement {
            /// [`Statement::NAME`] of all statements.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),+];

            /// [`Statement::NAME`].
            pub fn name(&self) -> &'static str {
                match self { $(AnyStatement::$name(_) => stringify!($name)),+ }
            }
        }

        /// Calls `$callback! { Name, Name, ... }` with the names of all statements: what an
        /// implementation generates its dispatch from.
        #[macro_export]
        macro_rules! for_each_statement {
            ($callback:path) => { $callback! { $($name),+ } };
        }

        /// The same for this crate, where an exported macro has no path.
        #[cfg(feature = "postgres")]
        macro_rules! each_statement {
            ($callback:ident) => { $callback! { $($name),+ } };
        }
        #[cfg(feature = "postgres")]
        pub(crate) use each_statement;
    };
}

any_statement! {
    // persistence
    LockTransactions, InsertTransactions, UpdateTransactions, InsertKeys, LockPrices, UpsertPrices,
    LockRates, UpsertRates, LockPortfolios, UpsertPortfolios, LockInstruments, UpsertInstruments,
    LockCalendar, InsertBusinessDates, AppendOutbox,
    // triggers and the fan-out
    ReadLatestBusinessDate, UpsertTriggers, TakeTriggers, DeleteTriggers, InsertReprocessingJobs,
    TakeReprocessingJob, ScanKeys, MoveReprocessingJob, DeleteReprocessingJob,
    // keys
    LockKeys, UpdateKeys,
    // timeline, history, lots, replays
    ReadTransactions, ReadPortfolios, ReadInstruments, ReadTimelineEntries, ReadTimelineTails,
    ReadTimelineHeads, ReadTimelineChunks, ReadTimelineRates, DeleteTimeline, UpsertTimeline,
    InsertHistory, DeleteHistory, PruneEpochs, ReadLots, DeleteLots, ResetLots, UpsertLots,
    UpsertEpochs, ReadReplays, FindReplays, UpsertReplays, DeleteReplays,
    // rates and prices
    ReadRates, ReadPrices,
    // valuation
    FindDueKeys, ReadProgress, InsertValuationJobs, ClaimValuationJobs, LockValuationJob,
    ReadBusinessDates, ReadPositions, DeleteSnapshots, CopySnapshots, RaiseValuedThrough,
    DeleteValuationJob, PostponeValuationJob, DropSupersededJobs,
    // outbox
    TakeOutboxLane, ReadOutbox, DeleteOutbox,
    // reads (query-api)
    ReadPortfolioPositions, ReadPositionHistory, ReadPortfolioCashflows, ReadPortfolioSeries,
    ReadBacklog,
    // support (query-api)
    FindStuckKeys, FindValuationJobs, ReadPortfolioOverview, ReadLineage,
    // cash flows
    ReadApplied, InsertCashflows,
    // time series
    ReadSnapshots, ReadCashflows, FindValued, DeletePositionSeries, CopyPositionSeries,
    ReadSwitched, ReadDaySums, ReadPortfolioEdges, DeletePortfolioSeries, CopyPortfolioSeries,
}
