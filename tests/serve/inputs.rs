//! Messages for the raw topics whose result does not depend on the order in which they arrive.

use backdate_engine::ports::log::Topic;

/// A message of a raw topic.
#[derive(Clone, Debug)]
pub(super) struct Input {
    pub(super) topic: Topic,
    pub(super) key: String,
    pub(super) value: String,
}

/// Enough for each of a dozen partitions to have some, and without a factor in common with the
/// turns of [`trade`], so that every portfolio buys.
const PORTFOLIOS: u32 = 49;
const SECURITIES: u32 = 5;
const DAYS: u32 = 20;

/// Reference data, business dates and prices.
pub(super) fn market() -> Vec<Input> {
    let mut inputs = Vec::new();
    for number in 0..PORTFOLIOS {
        let method = if number % 2 == 0 { "FIFO" } else { "AVCO" };
        let id = portfolio(number);
        let value = format!(
            r#"{{"portfolio_id":"{id}","base_currency":"EUR","open_date":"2025-01-01",
            "cost_basis_method":"{method}"}}"#
        );
        inputs.push(Input { topic: Topic::RawPortfolios, key: id, value });
    }
    for number in 0..SECURITIES {
        let id = security(number);
        let value = format!(r#"{{"security_id":"{id}","currency":"USD","product_type":"Equity"}}"#);
        inputs.push(Input { topic: Topic::Instruments, key: id, value });
    }
    for day in 0..DAYS {
        inputs.push(business_date(day));
        for number in 0..SECURITIES {
            inputs.push(price(number, day, 100 + number * 10 + day));
        }
        let rate = format!(
            r#"{{"from_currency":"USD","to_currency":"EUR","rate_date":"{}",
            "rate":"0.9{day:02}"}}"#,
            date(day)
        );
        inputs.push(Input { topic: Topic::FxRates, key: "USDEUR".into(), value: rate });
    }
    inputs
}

/// A business date.
pub(super) fn business_date(day: u32) -> Input {
    let value = format!(r#"{{"business_date":"{}","calendar_code":"GLOBAL"}}"#, date(day));
    Input { topic: Topic::RawBusinessDates, key: "GLOBAL".into(), value }
}

/// A price.
pub(super) fn price(number: u32, day: u32, price: u32) -> Input {
    let id = security(number);
    let value = format!(
        r#"{{"security_id":"{id}","price_date":"{}","price":"{price}.5","currency":"USD"}}"#,
        date(day)
    );
    Input { topic: Topic::MarketPrices, key: id, value }
}

/// Purchases and sales, most of them dated before one that was sent earlier; some sales find
/// nothing to sell.
pub(super) fn trades(count: u32) -> Vec<Input> {
    (0..count).map(trade).collect()
}

fn trade(number: u32) -> Input {
    // Steps that have no factor in common with what they walk through.
    let day = number * 7 % DAYS;
    let portfolio_id = portfolio(number * 5 % PORTFOLIOS);
    let security_id = security(number / PORTFOLIOS % SECURITIES);
    let (kind, quantity) = if number % 4 == 3 { ("SELL", 7) } else { ("BUY", 10 + number % 3) };
    let gross = quantity * (100 + day);
    let value = format!(
        r#"{{"transaction_id":"T{number:05}","portfolio_id":"{portfolio_id}","instrument_id":"I",
        "security_id":"{security_id}","transaction_date":"{}T10:00:{:02}Z",
        "transaction_type":"{kind}","quantity":"{quantity}","price":"{}",
        "gross_transaction_amount":"{gross}","trade_fee":"1.25","trade_currency":"USD",
        "currency":"USD"}}"#,
        date(day),
        number % 60,
        100 + day,
    );
    Input { topic: Topic::RawTransactions, key: portfolio_id, value }
}

/// Name of a portfolio.
pub(super) fn portfolio(number: u32) -> String {
    format!("P{number:03}")
}

fn security(number: u32) -> String {
    format!("S{number:03}")
}

fn date(day: u32) -> String {
    format!("2025-03-{:02}", day + 1)
}
