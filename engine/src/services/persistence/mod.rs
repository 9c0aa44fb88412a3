//! `persistence`: raw topics to tables, and in the same transaction the news of it.
//!
//! A batch is one transaction over all six tables, which are always gone over in the same order
//! and each in the order of its identities, so that two instances cannot deadlock.

mod market;
mod reference;
mod transactions;

use std::collections::BTreeMap;

use smol_str::SmolStr;

use super::ServiceError;
use super::consume::{Handler, consume};
use super::instance::Instance;
use crate::defects::{Defect, is_planted};
use crate::domain::ids::Key;
use crate::domain::intake::{self, Rejection, Versioned};
use crate::domain::records::{
    BusinessDate, ExchangeRate, Instrument, MarketPrice, Portfolio, Transaction,
};
use crate::domain::time::Date;
use crate::ports::Ports;
use crate::ports::log::{Record, Topic};
use crate::ports::store::rows::{OutboxRow, Subject, TriggerRow};
use crate::ports::store::statements::{AppendOutbox, InsertKeys, UpsertTriggers};
use crate::services::outbox_dispatcher::lane_of;

/// Name of the process in crash points.
pub const PROCESS: &str = "persistence";

/// Its port calls.
pub const CALLS: &[&str] = &[
    "LockPortfolios",
    "UpsertPortfolios",
    "LockInstruments",
    "UpsertInstruments",
    "LockCalendar",
    "ReadLatestBusinessDate",
    "InsertBusinessDates",
    "LockRates",
    "UpsertRates",
    "LockPrices",
    "UpsertPrices",
    "LockTransactions",
    "InsertTransactions",
    "UpdateTransactions",
    "InsertKeys",
    "UpsertTriggers",
    "AppendOutbox",
    "Commit",
    "Send",
    "CommitOffsets",
];

/// Runs the process.
pub(crate) async fn run<P: Ports>(instance: Instance<P>) {
    consume(instance, Persistence).await;
}

struct Persistence;

/// An accepted input with the header of its message.
struct Incoming<'r, T> {
    versioned: Versioned<T>,
    record: &'r Record,
}

/// The inputs of a batch by table.
#[derive(Default)]
struct Batch<'r> {
    portfolios: Vec<Incoming<'r, Portfolio>>,
    instruments: Vec<Incoming<'r, Instrument>>,
    business_dates: Vec<Incoming<'r, BusinessDate>>,
    rates: Vec<Incoming<'r, ExchangeRate>>,
    prices: Vec<Incoming<'r, MarketPrice>>,
    transactions: Vec<Incoming<'r, Transaction>>,
    poison: Vec<(&'r Record, Rejection)>,
}

/// What a batch leaves behind beside its rows.
#[derive(Default)]
struct News {
    triggers: BTreeMap<Subject, Date>,
    outbox: Vec<OutboxRow>,
    /// Keys that are created apart, by a planted defect.
    keys: Vec<(Key, Date)>,
}

impl News {
    fn trigger(&mut self, subject: Subject, date: Date) {
        let earliest = self.triggers.entry(subject).or_insert(date);
        *earliest = (*earliest).min(date);
    }

    fn event(&mut self, lanes: u32, topic: Topic, key: &str, payload: String, id: Option<SmolStr>) {
        self.outbox.push(OutboxRow {
            id: 0,
            lane: lane_of(key, lanes),
            topic,
            key: key.into(),
            payload,
            correlation_id: id,
        });
    }
}

impl<P: Ports> Handler<P> for Persistence {
    const GROUP: &'static str = "persistence";
    const TOPICS: &'static [Topic] = &[
        Topic::RawPortfolios,
        Topic::Instruments,
        Topic::RawBusinessDates,
        Topic::FxRates,
        Topic::MarketPrices,
        Topic::RawTransactions,
    ];

    async fn handle<'r>(
        &self,
        instance: &Instance<P>,
        records: &'r [Record],
    ) -> Result<Vec<(&'r Record, Rejection)>, ServiceError> {
        let mut batch = read(records);
        let lanes = instance.knobs.outbox_lanes;
        let mut news = News::default();
        let mut session = instance.begin().await?;
        reference::portfolios(&mut session, &batch.portfolios, &mut news).await?;
        reference::instruments(&mut session, &batch.instruments, &mut news).await?;
        reference::business_dates(&mut session, &batch.business_dates, &mut news).await?;
        market::rates(&mut session, &batch.rates, &mut news, lanes).await?;
        market::prices(&mut session, &batch.prices, &mut news, lanes).await?;
        let moved =
            transactions::store(&mut session, &batch.transactions, &mut news, lanes).await?;
        batch.poison.extend(moved);
        if !news.triggers.is_empty() {
            let rows = news.triggers.into_iter();
            let rows = rows.map(|(subject, earliest_date)| TriggerRow { subject, earliest_date });
            session.run(UpsertTriggers { rows: rows.collect() }).await?;
        }
        if is_planted(Defect::NewsCommittedApart) {
            session.commit().await?;
            session = instance.begin().await?;
        }
        if !news.outbox.is_empty() {
            session.run(AppendOutbox { rows: news.outbox }).await?;
        }
        session.commit().await?;
        if !news.keys.is_empty() {
            instance.query(InsertKeys { keys: news.keys }).await?;
        }
        Ok(batch.poison)
    }
}

/// Sorts records by table and out of the way what is poison.
fn read(records: &[Record]) -> Batch<'_> {
    fn push<'r, T>(
        list: &mut Vec<Incoming<'r, T>>,
        poison: &mut Vec<(&'r Record, Rejection)>,
        record: &'r Record,
        parsed: Result<Versioned<T>, Rejection>,
    ) {
        match parsed {
            Ok(versioned) => list.push(Incoming { versioned, record }),
            Err(rejection) => poison.push((record, rejection)),
        }
    }
    let mut b = Batch::default();
    for r in records {
        let v = &r.value;
        match r.topic {
            Topic::RawPortfolios => push(&mut b.portfolios, &mut b.poison, r, intake::portfolio(v)),
            Topic::Instruments => push(&mut b.instruments, &mut b.poison, r, intake::instrument(v)),
            Topic::RawBusinessDates => {
                push(&mut b.business_dates, &mut b.poison, r, intake::business_date(v));
            }
            Topic::FxRates => push(&mut b.rates, &mut b.poison, r, intake::exchange_rate(v)),
            Topic::MarketPrices => push(&mut b.prices, &mut b.poison, r, intake::market_price(v)),
            Topic::RawTransactions => {
                push(&mut b.transactions, &mut b.poison, r, intake::transaction(v));
            }
            other => unreachable!("{other} is not a topic of persistence"),
        }
    }
    b
}

/// The label that a message's rows and events bear.
fn label(record: &Record) -> Option<SmolStr> {
    intake::correlation_id(record.headers.correlation_id.as_ref())
}

/// Distinct items in order: the order in which every instance locks.
fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    items.collect::<std::collections::BTreeSet<T>>().into_iter().collect()
}
