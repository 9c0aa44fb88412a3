//! What exists before the storm: reference data, quotes, and the first transactions of every key.
//!
//! Each kind of data is sent after the one it needs, with pauses: a price that meets no key yet is
//! cheap, and the warm-up is not what a scenario is about.

use backdate_engine::domain::records::{GLOBAL_CALENDAR, TransactionType};
use backdate_engine::domain::time::Date;
use backdate_engine::ports::log::Topic;
use smol_str::{SmolStr, format_smolstr};

use super::market::Pair;
use super::messages::{
    BusinessDateMessage, InstrumentMessage, PortfolioMessage, PriceMessage, RateMessage,
    TransactionMessage, json,
};
use super::universe::{Security, Trade};
use super::{
    Context, Drafts, late_dates, late_prices, late_rates, late_reference, portfolio_id, weighted,
};
use crate::world::random::below;

/// When quotes are sent, in milliseconds.
const QUOTES_AT_MS: u64 = 500;
/// When transactions are sent: quotes are persisted by then.
const TRANSACTIONS_AT_MS: u64 = 3_000;
/// Transactions a millisecond: a bulk load, but not one that is a herd of its own.
const TRANSACTIONS_PER_MS: u64 = 2;

pub(super) fn draft(context: &Context<'_>, drafts: &mut Drafts) {
    portfolios(context, drafts);
    instruments(context, drafts);
    dates(context, drafts);
    rates(context, drafts);
    prices(context, drafts);
    transactions(context, drafts);
}

fn portfolios(context: &Context<'_>, drafts: &mut Drafts) {
    let late = late_reference::portfolios(context);
    let numbers = 1..=context.workload.portfolios.count;
    for number in numbers.filter(|number| !late.contains(number)) {
        let (key, value, label) = portfolio_message(context, number);
        drafts.warmup(0, Topic::RawPortfolios, key, value, label);
    }
}

/// Key, payload and label of a portfolio.
pub(super) fn portfolio_message(context: &Context<'_>, number: u32) -> (SmolStr, String, SmolStr) {
    let portfolios = &context.workload.portfolios;
    let mut rng = context.stream(&format!("portfolios/{number}"));
    let id = portfolio_id(number);
    let message = PortfolioMessage {
        portfolio_id: id.as_str(),
        base_currency: weighted(&mut rng, &portfolios.base_currencies),
        open_date: context.market.dates[0],
        cost_basis_method: weighted(&mut rng, &portfolios.methods),
    };
    (id.as_str().into(), json(&message), format_smolstr!("portfolio/{number}"))
}

fn instruments(context: &Context<'_>, drafts: &mut Drafts) {
    let late = late_reference::instruments(context);
    let securities = context.universe.securities.iter();
    for security in securities.filter(|security| !late.contains(&security.id)) {
        let (key, value, label) = instrument_message(&security.id, &security.currency);
        drafts.warmup(0, Topic::Instruments, key, value, label);
    }
}

/// Key, payload and label of an instrument.
pub(super) fn instrument_message(
    security: &SmolStr,
    currency: &SmolStr,
) -> (SmolStr, String, SmolStr) {
    let message = InstrumentMessage { security_id: security, currency, product_type: "Equity" };
    (security.clone(), json(&message), format_smolstr!("instrument/{security}"))
}

fn dates(context: &Context<'_>, drafts: &mut Drafts) {
    let late = late_dates::dates(context);
    for date in context.market.dates.iter().filter(|date| !late.contains(date)) {
        let (key, value, label) = business_date(*date);
        drafts.warmup(0, Topic::RawBusinessDates, key, value, label);
    }
}

fn rates(context: &Context<'_>, drafts: &mut Drafts) {
    let late = late_rates::rates(context);
    let (first, today) = (context.market.first_quote(), context.market.today());
    for (pair, series) in &context.market.rates {
        for (date, rate) in series.range(first..=today) {
            if !late.contains(&(pair.clone(), *date)) {
                let (key, value, label) = rate_message(pair, *date, *rate, 0);
                drafts.warmup(QUOTES_AT_MS, Topic::FxRates, key, value, label);
            }
        }
    }
}

fn prices(context: &Context<'_>, drafts: &mut Drafts) {
    let late = late_prices::prices(context);
    let (first, today) = (context.market.first_quote(), context.market.today());
    for security in &context.universe.securities {
        for (date, price) in security.prices.range(first..=today) {
            if !late.contains(&(&security.id, *date)) {
                let (key, value, label) = price_message(security, *date, *price, 0);
                drafts.warmup(QUOTES_AT_MS, Topic::MarketPrices, key, value, label);
            }
        }
    }
}

fn transactions(context: &Context<'_>, drafts: &mut Drafts) {
    let mut sent = 0;
    for number in 0..context.workload.holdings.transactions_per_key {
        for (index, held) in context.universe.holdings.iter().enumerate() {
            let portfolio = 1 + u32::try_from(index).expect("portfolios are counted by u32");
            for security in held {
                let message = transaction(context, portfolio, *security, number);
                let at_ms = TRANSACTIONS_AT_MS + sent / TRANSACTIONS_PER_MS;
                sent += 1;
                let label = format_smolstr!("initial/{}", message.transaction_id);
                let key = message.portfolio_id.clone();
                drafts.warmup(at_ms, Topic::RawTransactions, key, json(&message), label);
            }
        }
    }
}

/// The initial transaction of a key with that number, from 0.
pub(super) fn transaction(
    context: &Context<'_>,
    portfolio: u32,
    security: usize,
    number: u32,
) -> TransactionMessage {
    let id = context.universe.securities[security].id.clone();
    let label = format!("initial/{portfolio}/{id}/{number}");
    let mut rng = context.stream(&label);
    let (kind, units, date) = if number == 0 {
        let least = u64::from(context.workload.holdings.first_units);
        let units = least + below(&mut rng, least);
        (TransactionType::Buy, units, context.market.dates[0])
    } else {
        let is_sale = below(&mut rng, 3) == 0;
        let kind = if is_sale { TransactionType::Sell } else { TransactionType::Buy };
        // Not today, which belongs to live transactions.
        let days = context.market.dates.len().saturating_sub(1).max(1);
        let day = below(&mut rng, days as u64);
        let date = context.market.dates[usize::try_from(day).expect("an index")];
        (kind, 1 + below(&mut rng, 20), date)
    };
    let id = format_smolstr!("INIT-{portfolio}-{id}-{number}");
    let trade =
        Trade { id: &id, portfolio, security, kind, date, time_ms: None, units, source_version: 0 };
    context.universe.trade(&mut rng, &trade)
}

/// Key, payload and label of a business date.
pub(super) fn business_date(date: Date) -> (SmolStr, String, SmolStr) {
    let message = BusinessDateMessage { business_date: date, calendar_code: GLOBAL_CALENDAR };
    (GLOBAL_CALENDAR.into(), json(&message), format_smolstr!("business_date/{date}"))
}

/// Key, payload and label of a rate.
pub(super) fn rate_message(
    pair: &Pair,
    rate_date: Date,
    rate: backdate_engine::domain::money::Amount,
    source_version: u32,
) -> (SmolStr, String, SmolStr) {
    let (from_currency, to_currency) = (pair.0.as_str(), pair.1.as_str());
    let message = RateMessage { from_currency, to_currency, rate_date, rate, source_version };
    let key = format_smolstr!("{from_currency}/{to_currency}");
    (key, json(&message), format_smolstr!("rate/{from_currency}/{to_currency}/{rate_date}"))
}

/// Key, payload and label of a price.
pub(super) fn price_message(
    security: &Security,
    price_date: Date,
    price: backdate_engine::domain::money::Amount,
    source_version: u32,
) -> (SmolStr, String, SmolStr) {
    let message = PriceMessage {
        security_id: &security.id,
        price_date,
        price,
        currency: &security.currency,
        source_version,
    };
    let label = format_smolstr!("price/{}/{price_date}", security.id);
    (security.id.clone(), json(&message), label)
}
