//! The recording: what happened in a run, in order, as the rules judge it.
//!
//! The engine does not write it. Brokers record what they append and which offsets are committed,
//! the database records what each transaction committed, clients record what they sent and read,
//! and hosts record faults and what instances reported. So a rule that reads it judges what the
//! outside world could see, not what the engine believes.
//!
//! # Invariants
//! - `seq` counts from 0 without gaps; `at` never decreases.
//! - Two runs of one plan write the same bytes.

use std::fmt;
use std::rc::Rc;

use backdate_engine::domain::ids::PortfolioId;
use backdate_engine::domain::records::BusinessDate;
use backdate_engine::ports::host::{Side, Signal};
use backdate_engine::ports::log::{Position, Record, Topic};
use backdate_engine::ports::store::StoreError;
use backdate_engine::ports::store::rows::{
    CashflowRow, EpochRow, HistoryRow, InstrumentRow, KeyState, LotRow, OutboxRow, PortfolioRow,
    PortfolioSeriesRow, PositionSeriesRow, PriceRow, RateRow, ReplayRow, ReprocessingJobRow,
    SnapshotRow, TimelineRow, TransactionRow, TriggerRow, ValuationJobRow,
};
use backdate_engine::ports::store::statements::PositionRead;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// Simulated time since the start of a run, in nanoseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct SimTime(pub u64);

impl SimTime {
    /// Seconds, for people.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Time since an earlier instant.
    pub fn since(self, earlier: SimTime) -> std::time::Duration {
        std::time::Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<std::time::Duration> for SimTime {
    type Output = SimTime;
    fn add(self, duration: std::time::Duration) -> SimTime {
        SimTime(
            self.0 + u64::try_from(duration.as_nanos()).expect("a run is shorter than 584 years"),
        )
    }
}

impl fmt::Display for SimTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}s", self.seconds())
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Number of the event in its run.
    pub seq: u64,
    /// When.
    pub at: SimTime,
    /// The process in which it happened, e.g. `postgres`, `kafka-1`, `replayer-2`, `reader-1`.
    pub process: SmolStr,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum EventKind {
    /// The process started, or started again.
    Started,
    /// The process died and lost its memory.
    Crashed(CrashCause),
    /// A fault other than a crash was injected, or ended.
    Fault {
        /// Kind, e.g. `partition`.
        fault: SmolStr,
        /// Whether it begins (or ends).
        begins: bool,
        /// Whom it concerns, for people.
        detail: SmolStr,
    },
    /// A phase of the scenario begins.
    Phase(Phase),
    /// A client is about to send an input; it may or may not be written.
    InputSent {
        /// Number of the input in the plan.
        id: u64,
        /// Topic.
        topic: Topic,
        /// Message key.
        key: SmolStr,
        /// Payload.
        value: Rc<[u8]>,
    },
    /// The broker acknowledged an input.
    InputAcknowledged {
        /// Number of the input in the plan.
        id: u64,
    },
    /// A broker appended a record.
    Appended(Rc<Record>),
    /// A group's positions were committed.
    OffsetsCommitted {
        /// Consumer group.
        group: SmolStr,
        /// New positions.
        positions: Vec<Position>,
    },
    /// A commit of positions was refused: its member belongs to an older generation.
    CommitRefused {
        /// Consumer group.
        group: SmolStr,
        /// The zombie.
        member: SmolStr,
    },
    /// A database transaction committed.
    Committed {
        /// The process whose session it was.
        client: SmolStr,
        /// Rows of `position_state` that it held locked.
        keys_locked: u32,
        /// What it changed, in the order of its writes (one entry a row: the last write).
        changes: Vec<Change>,
    },
    /// A database transaction ended with an error.
    Aborted {
        /// The process whose session it was.
        client: SmolStr,
        /// The statement.
        statement: SmolStr,
        /// The error.
        error: StoreError,
    },
    /// An instance reported something.
    Signal(Signal),
    /// A reader saw the positions of a portfolio.
    Read {
        /// The portfolio.
        portfolio_id: PortfolioId,
        /// What it saw.
        positions: Vec<PositionRead>,
    },
    /// A reader asked for the positions of a portfolio and was shown none.
    ReadRefused {
        /// The portfolio.
        portfolio_id: PortfolioId,
        /// The fixed code of the answer, e.g. `database_unavailable`.
        code: SmolStr,
    },
}

/// Why a process died.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CrashCause {
    /// At a time.
    Scheduled,
    /// At a named point.
    Point {
        /// Process kind.
        process: SmolStr,
        /// Port call.
        call: SmolStr,
        /// Before or after it.
        side: Side,
        /// On which pass.
        pass: u64,
    },
    /// By its own hand: an invariant of its code does not hold.
    Panic {
        /// What the code says about it.
        message: SmolStr,
        /// File and line.
        place: SmolStr,
    },
}

/// Phases of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// The initial state is loaded; no faults.
    Warmup,
    /// Load and faults; safety is checked.
    Storm,
    /// Faults have ended; everything must converge.
    Calm,
    /// Everything has settled.
    Settled,
}

/// A row as committed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The new row; of a deletion, the old one.
    pub row: Row,
    /// Whether the row is gone.
    pub deleted: bool,
}

/// A row of any table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Row {
    /// `transactions`
    Transaction(Rc<TransactionRow>),
    /// `market_prices`
    Price(Rc<PriceRow>),
    /// `fx_rates`
    Rate(Rc<RateRow>),
    /// `portfolios`
    Portfolio(Rc<PortfolioRow>),
    /// `instruments`
    Instrument(Rc<InstrumentRow>),
    /// `business_dates`
    BusinessDate(Rc<BusinessDate>),
    /// `position_state`
    Key(Rc<KeyState>),
    /// `position_timeline`
    Timeline(Rc<TimelineRow>),
    /// `position_history`
    History(Rc<HistoryRow>),
    /// `position_lots`
    Lot(Rc<LotRow>),
    /// `position_epochs`
    Epoch(Rc<EpochRow>),
    /// `replays`
    Replay(Rc<ReplayRow>),
    /// `daily_position_snapshots`
    Snapshot(Rc<SnapshotRow>),
    /// Trigger tables.
    Trigger(Rc<TriggerRow>),
    /// `reprocessing_jobs`
    ReprocessingJob(Rc<ReprocessingJobRow>),
    /// `portfolio_valuation_jobs`
    ValuationJob(Rc<ValuationJobRow>),
    /// `outbox_events`
    Outbox(Rc<OutboxRow>),
    /// `cashflows`
    Cashflow(Rc<CashflowRow>),
    /// `position_timeseries`
    PositionSeries(Rc<PositionSeriesRow>),
    /// `portfolio_timeseries`
    PortfolioSeries(Rc<PortfolioSeriesRow>),
}
