//! The tables: their primary keys, their secondary indexes, and what the recording shows of them.
//!
//! # Invariants
//! - Every table of [`Table`] is here, plus three that belong to the implementation: `calendars`,
//!   `outbox_lanes`, and the fan-out jobs' counter of visits.

mod own;

use std::convert::Infallible;
use std::rc::Rc;

use backdate_engine::domain::ids::{Currency, Epoch, Key, PortfolioId, SecurityId, TransactionId};
use backdate_engine::domain::records::{BusinessDate, Place};
use backdate_engine::domain::time::{Date, Timestamp};
use backdate_engine::ports::store::rows::{
    CashflowRow, EpochRow, HistoryRow, InstrumentRow, JobStatus, KeyState, LotRow, OutboxRow,
    PortfolioRow, PortfolioSeriesRow, PositionSeriesRow, PriceRow, RateRow, ReplayRow,
    ReprocessingJobRow, SnapshotRow, Subject, Table as TableName, TimelineRow, TransactionRow,
    TriggerRow, ValuationJobRow,
};
use backdate_reports::recording::{Change, Row};
use smol_str::SmolStr;

use super::core::table::{PrimaryKey, Record, Table};
pub use own::{CalendarRow, LaneRow};

/// A fan-out job with the number of its batches.
#[derive(Clone, Debug)]
pub struct FanoutRow {
    /// The job.
    pub row: Rc<ReprocessingJobRow>,
    /// Batches done.
    pub visited: u64,
}

/// Index of `portfolio_valuation_jobs`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobIndex {
    /// By state.
    Status(JobStatus),
    /// By each of its keys.
    Key(Key),
}

/// A record that has a table.
pub trait Stored: Record {
    /// Its table.
    fn table(tables: &Tables) -> &Table<Self>;
    /// Its table.
    fn table_mut(tables: &mut Tables) -> &mut Table<Self>;
    /// Names a row of it.
    fn written(pk: Self::Pk) -> Written;
}

macro_rules! tables {
    ($($field:ident: $variant:ident($record:ty)),+ $(,)?) => {
        /// All tables.
        #[derive(Default)]
        pub struct Tables { $(#[doc = stringify!($variant)] pub $field: Table<$record>),+ }

        /// A row that a transaction has written.
        #[derive(Clone)]
        pub enum Written { $(#[doc = stringify!($variant)] $variant(<$record as Record>::Pk)),+ }

        $(impl Stored for $record {
            fn table(tables: &Tables) -> &Table<Self> { &tables.$field }
            fn table_mut(tables: &mut Tables) -> &mut Table<Self> { &mut tables.$field }
            fn written(pk: Self::Pk) -> Written { Written::$variant(pk) }
        })+

        impl Tables {
            /// Commits the uncommitted version of a row.
            pub fn commit(&mut self, written: &Written) -> Option<Change> {
                match written { $(Written::$variant(pk) => self.$field.commit(pk)),+ }
            }

            /// Forgets the uncommitted version of a row.
            pub fn abort(&mut self, written: &Written) {
                match written { $(Written::$variant(pk) => self.$field.abort(pk)),+ }
            }
        }
    };
}

tables! {
    transactions: Transactions(TransactionRow),
    prices: Prices(PriceRow),
    rates: Rates(RateRow),
    portfolios: Portfolios(PortfolioRow),
    instruments: Instruments(InstrumentRow),
    calendars: Calendars(CalendarRow),
    business_dates: BusinessDates(BusinessDate),
    keys: Keys(KeyState),
    timeline: Timeline(TimelineRow),
    history: History(HistoryRow),
    lots: Lots(LotRow),
    epochs: Epochs(EpochRow),
    replays: Replays(ReplayRow),
    snapshots: Snapshots(SnapshotRow),
    triggers: Triggers(TriggerRow),
    fanouts: Fanouts(FanoutRow),
    jobs: Jobs(ValuationJobRow),
    outbox: Outbox(OutboxRow),
    lanes: Lanes(LaneRow),
    cashflows: Cashflows(CashflowRow),
    position_series: PositionSeries(PositionSeriesRow),
    portfolio_series: PortfolioSeries(PortfolioSeriesRow),
}

impl Tables {
    /// All committed rows of a table in primary-key order.
    pub fn dump(&self, table: TableName) -> Vec<Row> {
        fn all<R: Record>(table: &Table<R>) -> Vec<Row> {
            table.dump().iter().filter_map(R::recorded).collect()
        }
        match table {
            TableName::Transactions => all(&self.transactions),
            TableName::MarketPrices => all(&self.prices),
            TableName::FxRates => all(&self.rates),
            TableName::Portfolios => all(&self.portfolios),
            TableName::Instruments => all(&self.instruments),
            TableName::BusinessDates => all(&self.business_dates),
            TableName::PositionState => all(&self.keys),
            TableName::PositionTimeline => all(&self.timeline),
            TableName::PositionHistory => all(&self.history),
            TableName::PositionLots => all(&self.lots),
            TableName::PositionEpochs => all(&self.epochs),
            TableName::Replays => all(&self.replays),
            TableName::DailyPositionSnapshots => all(&self.snapshots),
            TableName::InstrumentReprocessingState => all(&self.triggers),
            TableName::ReprocessingJobs => all(&self.fanouts),
            TableName::PortfolioValuationJobs => all(&self.jobs),
            TableName::OutboxEvents => all(&self.outbox),
            TableName::Cashflows => all(&self.cashflows),
            TableName::PositionTimeseries => all(&self.position_series),
            TableName::PortfolioTimeseries => all(&self.portfolio_series),
        }
    }
}

/// Sorts before every place of a key.
pub fn first_place() -> Place {
    Place { at: Timestamp::from_micros(i64::MIN), rank: 0, transaction_id: TransactionId::new("") }
}

/// Sorts after every place of a key.
pub fn last_place() -> Place {
    let at = Timestamp::from_micros(i64::MAX);
    Place { at, rank: u8::MAX, transaction_id: TransactionId::new("") }
}

macro_rules! primary_keys {
    ($($pk:ty),+ $(,)?; keyed $($of:ident: ($($part:ty),+)),+ $(,)?) => {
        $(impl PrimaryKey for $pk {
            type Sorted = $pk;

            fn sorted(&self, _number: impl FnOnce(&Key) -> u32) -> $pk {
                self.clone()
            }
        })+
        $(primary_keys!(@keyed $of $($part),+);)+
    };
    (@keyed $of:ident $part:ty) => {
        impl PrimaryKey for (Key, $part) {
            type Sorted = (u32, $part);

            fn sorted(&self, number: impl FnOnce(&Key) -> u32) -> (u32, $part) {
                (number(&self.0), self.1.clone())
            }
        }
    };
    (@keyed $of:ident $part:ty, $more:ty) => {
        impl PrimaryKey for (Key, $part, $more) {
            type Sorted = (u32, $part, $more);

            fn sorted(&self, number: impl FnOnce(&Key) -> u32) -> (u32, $part, $more) {
                (number(&self.0), self.1.clone(), self.2.clone())
            }
        }
    };
}

primary_keys!(
    u32, u64, SmolStr, Key, TransactionId, PortfolioId, SecurityId, Subject,
    (SecurityId, Date), (PortfolioId, Date), (SmolStr, Date), (Currency, Currency, Date);
    keyed timeline: (Place), epochs: (Epoch), history: (Place, Epoch), snapshots: (Date, Epoch)
);

macro_rules! record {
    (
        $record:ty, $name:literal, $variant:ident, $pk:ty = $self_pk:expr
        $(, $index:ty = $self_index:expr)?
    ) => {
        impl Record for $record {
            type Pk = $pk;
            record!(@index $record $(, $index = $self_index)?);
            const NAME: &'static str = $name;

            fn pk(&self) -> $pk {
                let pk: fn(&Self) -> $pk = $self_pk;
                pk(self)
            }

            fn recorded(row: &Rc<Self>) -> Option<Row> {
                Some(Row::$variant(Rc::clone(row)))
            }
        }
    };
    (@index $record:ty) => { type Index = Infallible; };
    (@index $record:ty, $index:ty = $self_index:expr) => {
        type Index = $index;

        fn index(&self, entries: &mut Vec<$index>) {
            let index: fn(&Self) -> $index = $self_index;
            entries.push(index(self));
        }
    };
}

record!(
    TransactionRow,
    "transactions",
    Transaction,
    TransactionId = |row| row.transaction.transaction_id.clone(),
    (Key, Currency) =
        |row| (row.transaction.key.clone(), row.transaction.terms.trade_currency.clone())
);
record!(
    PriceRow,
    "market_prices",
    Price,
    (SecurityId, Date) = |row| (row.price.security_id.clone(), row.price.price_date),
    (SecurityId, Currency) = |row| (row.price.security_id.clone(), row.price.currency.clone())
);
record!(
    RateRow,
    "fx_rates",
    Rate,
    (Currency, Currency, Date) = |row| {
        let rate = &row.rate;
        (rate.from_currency.clone(), rate.to_currency.clone(), rate.rate_date)
    }
);
record!(
    PortfolioRow,
    "portfolios",
    Portfolio,
    PortfolioId = |row| row.portfolio.portfolio_id.clone()
);
record!(
    InstrumentRow,
    "instruments",
    Instrument,
    SecurityId = |row| row.instrument.security_id.clone()
);
record!(
    BusinessDate,
    "business_dates",
    BusinessDate,
    (SmolStr, Date) = |row| (row.calendar_code.clone(), row.business_date)
);
record!(
    TimelineRow,
    "position_timeline",
    Timeline,
    (Key, Place) = |row| (row.key.clone(), row.place.clone()),
    (Key, TransactionId) = |row| (row.key.clone(), row.place.transaction_id.clone())
);
record!(
    HistoryRow,
    "position_history",
    History,
    (Key, Place, Epoch) = |row| (row.key.clone(), row.place.clone(), row.epoch)
);
record!(
    LotRow,
    "position_lots",
    Lot,
    (Key, Place) = |row| (row.key.clone(), row.lot.opened.clone())
);
record!(EpochRow, "position_epochs", Epoch, (Key, Epoch) = |row| (row.key.clone(), row.epoch));
record!(ReplayRow, "replays", Replay, Key = |row| row.key.clone());
record!(
    SnapshotRow,
    "daily_position_snapshots",
    Snapshot,
    (Key, Date, Epoch) = |row| (row.key.clone(), row.date, row.epoch)
);
record!(
    CashflowRow,
    "cashflows",
    Cashflow,
    (Key, Place, Epoch) = |row| (row.key.clone(), row.place.clone(), row.epoch)
);
record!(
    PositionSeriesRow,
    "position_timeseries",
    PositionSeries,
    (Key, Date, Epoch) = |row| (row.key.clone(), row.date, row.epoch)
);
record!(
    PortfolioSeriesRow,
    "portfolio_timeseries",
    PortfolioSeries,
    (PortfolioId, Date) = |row| (row.portfolio_id.clone(), row.date)
);
record!(TriggerRow, "instrument_reprocessing_state", Trigger, Subject = |row| row.subject.clone());
record!(OutboxRow, "outbox_events", Outbox, u64 = |row| row.id, u32 = |row| row.lane);

impl Record for KeyState {
    type Pk = Key;
    type Index = SecurityId;
    const NAME: &'static str = "position_state";
    const COUNTED: bool = true;

    fn pk(&self) -> Key {
        self.key.clone()
    }

    fn index(&self, entries: &mut Vec<SecurityId>) {
        entries.push(self.key.security_id.clone());
    }

    fn recorded(row: &Rc<Self>) -> Option<Row> {
        Some(Row::Key(Rc::clone(row)))
    }
}

impl Record for ValuationJobRow {
    type Pk = u64;
    type Index = JobIndex;
    const NAME: &'static str = "portfolio_valuation_jobs";

    fn pk(&self) -> u64 {
        self.id
    }

    fn index(&self, entries: &mut Vec<JobIndex>) {
        entries.push(JobIndex::Status(self.status));
        entries.extend(self.keys.iter().map(|job| JobIndex::Key(job.key.clone())));
    }

    fn recorded(row: &Rc<Self>) -> Option<Row> {
        Some(Row::ValuationJob(Rc::clone(row)))
    }
}

impl Record for FanoutRow {
    type Pk = u64;
    type Index = u64;
    const NAME: &'static str = "reprocessing_jobs";

    fn pk(&self) -> u64 {
        self.row.id
    }

    fn index(&self, entries: &mut Vec<u64>) {
        entries.push(self.visited);
    }

    fn recorded(row: &Rc<Self>) -> Option<Row> {
        Some(Row::ReprocessingJob(Rc::clone(&row.row)))
    }
}
