//! `persistence`: raw topics to tables, and in the same transaction the news of it.
//!
//! A batch is one transaction over all six tables, which are always gone over in the same order
//! and each in the order of its identities, so that two instances cannot deadlock.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use super::ServiceError;
use super::consume::{Handler, consume};
use super::instance::{Instance, Session};
use super::upserts::{Effect, Working, effect};
use crate::domain::ids::Key;
use crate::domain::intake::{self, Rejection, Versioned};
use crate::domain::messages;
use crate::domain::records::{
    BusinessDate, ExchangeRate, GLOBAL_CALENDAR, Instrument, MarketPrice, Portfolio, Transaction,
};
use crate::domain::time::Date;
use crate::ports::Ports;
use crate::ports::log::{Record, Topic};
use crate::ports::store::rows::{
    InstrumentRow, OutboxRow, PortfolioRow, PriceRow, RateRow, Subject, TransactionRow, TriggerRow,
};
use crate::ports::store::statements::{
    AppendOutbox, InsertBusinessDates, InsertKeys, InsertTransactions, LockCalendar,
    LockInstruments, LockPortfolios, LockPrices, LockRates, LockTransactions,
    ReadLatestBusinessDate, UpdateTransactions, UpsertInstruments, UpsertPortfolios, UpsertPrices,
    UpsertRates, UpsertTriggers,
};
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
        portfolios(&mut session, &batch.portfolios, &mut news).await?;
        instruments(&mut session, &batch.instruments, &mut news).await?;
        business_dates(&mut session, &batch.business_dates, &mut news).await?;
        rates(&mut session, &batch.rates, &mut news, lanes).await?;
        prices(&mut session, &batch.prices, &mut news, lanes).await?;
        let moved = transactions(&mut session, &batch.transactions, &mut news, lanes).await?;
        batch.poison.extend(moved);
        if !news.triggers.is_empty() {
            let rows = news.triggers.into_iter();
            let rows = rows.map(|(subject, earliest_date)| TriggerRow {
                subject,
                earliest_date,
            });
            session
                .run(UpsertTriggers {
                    rows: rows.collect(),
                })
                .await?;
        }
        if !news.outbox.is_empty() {
            session.run(AppendOutbox { rows: news.outbox }).await?;
        }
        session.commit().await?;
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
                push(
                    &mut b.business_dates,
                    &mut b.poison,
                    r,
                    intake::business_date(v),
                );
            }
            Topic::FxRates => push(&mut b.rates, &mut b.poison, r, intake::exchange_rate(v)),
            Topic::MarketPrices => push(&mut b.prices, &mut b.poison, r, intake::market_price(v)),
            Topic::RawTransactions => {
                push(
                    &mut b.transactions,
                    &mut b.poison,
                    r,
                    intake::transaction(v),
                );
            }
            other => unreachable!("{other} is not a topic of persistence"),
        }
    }
    b
}

async fn portfolios<P: Ports>(
    session: &mut Session<'_, P>,
    incoming: &[Incoming<'_, Portfolio>],
    news: &mut News,
) -> Result<(), ServiceError> {
    if incoming.is_empty() {
        return Ok(());
    }
    let ids = sorted(
        incoming
            .iter()
            .map(|i| i.versioned.content.portfolio_id.clone()),
    );
    let stored = session.run(LockPortfolios { ids }).await?;
    let mut rows = Working::new(
        stored
            .into_iter()
            .map(|row| (row.portfolio.portfolio_id.clone(), row)),
    );
    for Incoming { versioned, .. } in incoming {
        let id = versioned.content.portfolio_id.clone();
        let effect = effect(
            rows.get(&id).map(|r| (&r.portfolio, r.source_version)),
            versioned,
        );
        if effect != Effect::Nothing {
            let portfolio = versioned.content.clone();
            let source_version = versioned.source_version;
            rows.set(
                id,
                PortfolioRow {
                    portfolio,
                    source_version,
                },
                effect,
            );
        }
    }
    for row in rows.news() {
        news.trigger(
            Subject::Portfolio(row.portfolio.portfolio_id.clone()),
            Date::FIRST,
        );
    }
    let rows = rows.changed();
    if !rows.is_empty() {
        session.run(UpsertPortfolios { rows }).await?;
    }
    Ok(())
}

async fn instruments<P: Ports>(
    session: &mut Session<'_, P>,
    incoming: &[Incoming<'_, Instrument>],
    news: &mut News,
) -> Result<(), ServiceError> {
    if incoming.is_empty() {
        return Ok(());
    }
    let ids = sorted(
        incoming
            .iter()
            .map(|i| i.versioned.content.security_id.clone()),
    );
    let stored = session.run(LockInstruments { ids }).await?;
    let mut rows = Working::new(
        stored
            .into_iter()
            .map(|row| (row.instrument.security_id.clone(), row)),
    );
    for Incoming { versioned, .. } in incoming {
        let id = versioned.content.security_id.clone();
        let before = rows.get(&id);
        let effect = effect(before.map(|r| (&r.instrument, r.source_version)), versioned);
        if effect == Effect::Nothing {
            continue;
        }
        // A new instrument needs no trigger: jobs that wait for it are retried.
        if before.is_some_and(|r| r.instrument.currency != versioned.content.currency) {
            news.trigger(Subject::Security(id.clone()), Date::FIRST);
        }
        let instrument = versioned.content.clone();
        let source_version = versioned.source_version;
        rows.set(
            id,
            InstrumentRow {
                instrument,
                source_version,
            },
            effect,
        );
    }
    let rows = rows.changed();
    if !rows.is_empty() {
        session.run(UpsertInstruments { rows }).await?;
    }
    Ok(())
}

async fn business_dates<P: Ports>(
    session: &mut Session<'_, P>,
    incoming: &[Incoming<'_, BusinessDate>],
    news: &mut News,
) -> Result<(), ServiceError> {
    if incoming.is_empty() {
        return Ok(());
    }
    let rows = sorted(incoming.iter().map(|i| i.versioned.content.clone()));
    let calendars = sorted(rows.iter().map(|row| row.calendar_code.clone()));
    for code in calendars {
        session.run(LockCalendar { code }).await?;
    }
    // Read under the calendar's lock: else two writers would each miss that the other is later.
    let latest = session.run(ReadLatestBusinessDate {}).await?;
    let inserted = session.run(InsertBusinessDates { rows }).await?;
    for row in inserted
        .iter()
        .filter(|row| row.calendar_code == GLOBAL_CALENDAR)
    {
        if latest.is_some_and(|latest| row.business_date < latest) {
            news.trigger(Subject::Calendar, row.business_date);
        }
    }
    Ok(())
}

async fn rates<P: Ports>(
    session: &mut Session<'_, P>,
    incoming: &[Incoming<'_, ExchangeRate>],
    news: &mut News,
    lanes: u32,
) -> Result<(), ServiceError> {
    if incoming.is_empty() {
        return Ok(());
    }
    let id_of = |r: &ExchangeRate| (r.from_currency.clone(), r.to_currency.clone(), r.rate_date);
    let ids = sorted(incoming.iter().map(|i| id_of(&i.versioned.content)));
    let stored = session.run(LockRates { ids }).await?;
    let mut rows = Working::new(stored.into_iter().map(|row| (id_of(&row.rate), row)));
    let mut headers = BTreeMap::new();
    for Incoming { versioned, record } in incoming {
        let id = id_of(&versioned.content);
        let effect = effect(
            rows.get(&id).map(|r| (&r.rate, r.source_version)),
            versioned,
        );
        if effect != Effect::Nothing {
            headers.insert(id.clone(), record.headers.correlation_id.clone());
            let rate = versioned.content.clone();
            rows.set(
                id,
                RateRow {
                    rate,
                    source_version: versioned.source_version,
                },
                effect,
            );
        }
    }
    for row in rows.news() {
        let key = format!("{}/{}", row.rate.from_currency, row.rate.to_currency);
        let header = headers.remove(&id_of(&row.rate)).flatten();
        let payload = messages::rate_persisted(&row.rate);
        news.event(lanes, Topic::FxRatePersisted, &key, payload, header);
    }
    let rows = rows.changed();
    if !rows.is_empty() {
        session.run(UpsertRates { rows }).await?;
    }
    Ok(())
}

async fn prices<P: Ports>(
    session: &mut Session<'_, P>,
    incoming: &[Incoming<'_, MarketPrice>],
    news: &mut News,
    lanes: u32,
) -> Result<(), ServiceError> {
    if incoming.is_empty() {
        return Ok(());
    }
    let id_of = |p: &MarketPrice| (p.security_id.clone(), p.price_date);
    let ids = sorted(incoming.iter().map(|i| id_of(&i.versioned.content)));
    let stored = session.run(LockPrices { ids }).await?;
    let mut rows = Working::new(stored.into_iter().map(|row| (id_of(&row.price), row)));
    let mut headers = BTreeMap::new();
    for Incoming { versioned, record } in incoming {
        let id = id_of(&versioned.content);
        let effect = effect(
            rows.get(&id).map(|r| (&r.price, r.source_version)),
            versioned,
        );
        if effect != Effect::Nothing {
            headers.insert(id.clone(), record.headers.correlation_id.clone());
            let price = versioned.content.clone();
            rows.set(
                id,
                PriceRow {
                    price,
                    source_version: versioned.source_version,
                },
                effect,
            );
        }
    }
    for row in rows.news() {
        let header = headers.remove(&id_of(&row.price)).flatten();
        let payload = messages::price_persisted(&row.price);
        let key = row.price.security_id.as_str();
        news.event(lanes, Topic::MarketPricePersisted, key, payload, header);
    }
    let rows = rows.changed();
    if !rows.is_empty() {
        session.run(UpsertPrices { rows }).await?;
    }
    Ok(())
}

/// Stores transactions; returns those that would move one to another key.
async fn transactions<'r, P: Ports>(
    session: &mut Session<'_, P>,
    incoming: &[Incoming<'r, Transaction>],
    news: &mut News,
    lanes: u32,
) -> Result<Vec<(&'r Record, Rejection)>, ServiceError> {
    if incoming.is_empty() {
        return Ok(Vec::new());
    }
    let ids = sorted(
        incoming
            .iter()
            .map(|i| i.versioned.content.transaction_id.clone()),
    );
    let stored = session.run(LockTransactions { ids }).await?;
    let known: Vec<_> = stored
        .iter()
        .map(|r| r.transaction.transaction_id.clone())
        .collect();
    let mut rows = Working::new(
        stored
            .into_iter()
            .map(|row| (row.transaction.transaction_id.clone(), row)),
    );
    let mut moved = Vec::new();
    for Incoming { versioned, record } in incoming {
        let id = versioned.content.transaction_id.clone();
        let before = rows.get(&id);
        let effect = effect(
            before.map(|r| (&r.transaction, r.source_version)),
            versioned,
        );
        if effect == Effect::Nothing {
            continue;
        }
        if before.is_some_and(|row| row.transaction.key != versioned.content.key) {
            moved.push((*record, Rejection::KeyChanged));
            continue;
        }
        let row = TransactionRow {
            transaction: versioned.content.clone(),
            source_version: versioned.source_version,
            correlation_id: record.headers.correlation_id.clone(),
        };
        rows.set(id, row, effect);
    }
    for row in rows.news() {
        let payload = messages::transaction_completed(&row.transaction);
        let key = row.transaction.key.portfolio_id.as_str();
        let header = row.correlation_id.clone();
        news.event(lanes, Topic::RawTransactionsCompleted, key, payload, header);
    }
    store_transactions(session, &known, rows.changed()).await?;
    Ok(moved)
}

async fn store_transactions<P: Ports>(
    session: &mut Session<'_, P>,
    known: &[crate::domain::ids::TransactionId],
    changed: Vec<TransactionRow>,
) -> Result<(), ServiceError> {
    let (old, new): (Vec<_>, Vec<_>) = changed
        .into_iter()
        .partition(|row| known.binary_search(&row.transaction.transaction_id).is_ok());
    if !old.is_empty() {
        session.run(UpdateTransactions { rows: old }).await?;
    }
    if new.is_empty() {
        return Ok(());
    }
    let mut first_dates: BTreeMap<Key, Date> = BTreeMap::new();
    for row in &new {
        let date = row.transaction.terms.at.date();
        let first = first_dates
            .entry(row.transaction.key.clone())
            .or_insert(date);
        *first = (*first).min(date);
    }
    let count = new.len();
    let inserted = session.run(InsertTransactions { rows: new }).await?;
    if inserted.len() != count {
        return Err(ServiceError::Raced("a new transaction"));
    }
    session
        .run(InsertKeys {
            keys: first_dates.into_iter().collect(),
        })
        .await?;
    Ok(())
}

/// Distinct items in order: the order in which every instance locks.
fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    items
        .collect::<std::collections::BTreeSet<T>>()
        .into_iter()
        .collect()
}
