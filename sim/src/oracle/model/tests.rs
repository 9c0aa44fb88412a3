//! The model's own claims, from worked numbers; it is written without the engine, and so tested.

use backdate_engine::domain::ids::{Key, TransactionId};
use backdate_engine::domain::records::{ParkReason, ValuationStatus};
use backdate_engine::ports::log::Topic;

use super::*;

/// Messages as (topic, payload); the message key plays no part.
fn tables(messages: &[(Topic, String)]) -> Tables {
    let view = |(topic, value): &(Topic, String)| (*topic, value.clone());
    let owned: Vec<(Topic, String)> = messages.iter().map(view).collect();
    Model::from_inputs(owned.iter().map(|(topic, value)| (*topic, "k", value.as_bytes())))
}

fn portfolio(base: &str, method: &str) -> (Topic, String) {
    let value = format!(
        r#"{{"portfolio_id":"P","base_currency":"{base}","open_date":"2023-01-01",
        "cost_basis_method":"{method}"}}"#
    );
    (Topic::RawPortfolios, value)
}

fn instrument(currency: &str) -> (Topic, String) {
    let value = format!(r#"{{"security_id":"S","currency":"{currency}","product_type":"Equity"}}"#);
    (Topic::Instruments, value)
}

fn day(date: &str) -> (Topic, String) {
    let value = format!(r#"{{"business_date":"{date}"}}"#);
    (Topic::RawBusinessDates, value)
}

fn price(date: &str, price: &str, currency: &str) -> (Topic, String) {
    let value = format!(
        r#"{{"security_id":"S","price_date":"{date}","price":{price},"currency":"{currency}"}}"#
    );
    (Topic::MarketPrices, value)
}

fn rate(from: &str, to: &str, date: &str, rate: &str) -> (Topic, String) {
    let value = format!(
        r#"{{"from_currency":"{from}","to_currency":"{to}","rate_date":"{date}","rate":"{rate}"}}"#
    );
    (Topic::FxRates, value)
}

/// `"id ts TYPE quantity gross fee currency"`, with more JSON fields behind a `|`.
fn trade(text: &str) -> (Topic, String) {
    let (words, more) = text.split_once('|').unwrap_or((text, ""));
    let w: Vec<&str> = words.split_whitespace().collect();
    let value = format!(
        r#"{{"transaction_id":"{}","portfolio_id":"P","instrument_id":"I","security_id":"S",
        "transaction_date":"{}","transaction_type":"{}","quantity":{},"price":1,
        "gross_transaction_amount":{},"trade_fee":{},"trade_currency":"{}",
        "currency":"{}"{more}}}"#,
        w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[6]
    );
    (Topic::RawTransactions, value)
}

fn costs(tables: &Tables, id: &str) -> String {
    let costs = &tables.costs[&TransactionId::new(id)];
    let gain = costs.realized_gain_loss.map_or("-".into(), |g| g.to_string());
    let local = costs.realized_gain_loss_local.map_or("-".into(), |g| g.to_string());
    format!("{} {} {} {gain} {local}", costs.gross_cost, costs.net_cost, costs.net_cost_local)
}

/// Quantity and costs of the last history row.
fn position(tables: &Tables) -> String {
    let (_, position) = tables.position_history.last_key_value().expect("a row");
    format!("{} {} {}", position.quantity, position.cost_basis, position.cost_basis_local)
}

#[test]
fn fifo_takes_the_oldest_lot_first() {
    let tables = tables(&[
        portfolio("USD", "FIFO"),
        trade("S1 2023-01-10 SELL 120 1800 0 USD"),
        trade("B2 2023-01-05 BUY 50 600 0 USD"),
        trade("B1 2023-01-01 BUY 100 1000 0 USD"),
    ]);
    assert_eq!(costs(&tables, "S1"), "-1240 -1240 -1240 560 560");
    assert_eq!(position(&tables), "30 360 360");
    let lots = &tables.lots[&Key::new("P", "S")];
    assert_eq!(lots.len(), 1);
    assert_eq!(lots[0].quantity.to_string(), "30");
}

#[test]
fn avco_keeps_one_pool() {
    let tables = tables(&[
        portfolio("USD", "AVCO"),
        trade("B1 2025-08-01T10:00:00Z BUY 100 1000 0 USD"),
        trade("B2 2025-08-05T10:00:00Z BUY 100 1200 0 USD"),
        trade("S1 2025-08-10T10:00:00Z SELL 50 750 0 USD"),
    ]);
    assert_eq!(costs(&tables, "S1"), "-550 -550 -550 200 200");
    assert_eq!(position(&tables), "150 1650 1650");
    assert_eq!(tables.lots[&Key::new("P", "S")].len(), 1);
}

#[test]
fn costs_follow_the_table_by_type() {
    let cases = [
        ("BUY 10 1500 5.5", "1500 1515.5 1515.5 0 0", r#","accrued_interest":10"#),
        (
            "BUY 100 98000 40",
            "98000 98040 98040 0 0",
            r#","accrued_interest":1250,
            "calculation_policy_id":"BUY_EXCLUDE_ACCRUED_INTEREST_FROM_BOOK_COST""#,
        ),
        ("DEPOSIT 10000 10000 0", "10000 10000 10000 - -", ""),
        ("DIVIDEND 0 500 0", "0 0 0 - -", ""),
        ("TRANSFER_IN 100 15000 0", "15000 15000 15000 - -", ""),
        ("WITHDRAWAL 500 500 0", "-500 -500 -500 - -", ""),
        ("FEE 1 25 0", "25 25 25 - -", ""),
        ("TAX 1 25 0", "25 25 25 - -", ""),
    ];
    for (terms, expected, more) in cases {
        let message = trade(&format!("T 2023-01-01 {terms} USD|{more}"));
        let tables = tables(&[portfolio("USD", "FIFO"), message]);
        assert_eq!(costs(&tables, "T"), expected, "{terms}");
    }
}

#[test]
fn two_currencies_are_kept_apart() {
    let tables = tables(&[
        portfolio("USD", "FIFO"),
        rate("EUR", "USD", "2023-01-01", "1.10"),
        rate("EUR", "USD", "2023-01-05", "1.20"),
        trade("B 2023-01-01 BUY 50 7500 0 EUR"),
        trade("S 2023-01-05 SELL 50 8000 8 EUR"),
    ]);
    assert_eq!(costs(&tables, "S"), "-8250 -8250 -7500 1340.4 492");
    assert_eq!(position(&tables), "0 0 0");
}

#[test]
fn a_debt_is_repaid_by_the_next_lot() {
    let tables = tables(&[
        portfolio("USD", "FIFO"),
        trade("D1 2023-01-01 DEPOSIT 0 100 0 USD"),
        trade("W1 2023-01-02 WITHDRAWAL 0 150 0 USD"),
        trade("D2 2023-01-03 DEPOSIT 0 80 0 USD"),
    ]);
    assert_eq!(position(&tables), "30 30 30");
    let lot = &tables.lots[&Key::new("P", "S")][0];
    assert_eq!((lot.quantity.to_string(), lot.cost.to_string()), ("30".into(), "30".into()));
}

#[test]
fn what_cannot_be_applied_is_parked_with_its_first_reason() {
    let sell = trade("S 2023-01-01 SELL 1 1 0 EUR");
    let reason = |messages: &[(Topic, String)]| tables(messages).parked[&TransactionId::new("S")];
    assert_eq!(reason(std::slice::from_ref(&sell)), ParkReason::NoPortfolio);
    let mut messages = vec![sell, portfolio("USD", "FIFO")];
    assert_eq!(reason(&messages), ParkReason::NoFx);
    messages.push(rate("USD", "EUR", "2022-12-31", "0.5"));
    assert_eq!(reason(&messages), ParkReason::NoLots);
    let large = [
        portfolio("USD", "FIFO"),
        rate("EUR", "USD", "2022-12-31", "999999999999"),
        trade("S 2023-01-01 BUY 1 999999999999 0 EUR"),
        trade("T 2023-01-02 BUY 1 1 0 USD"),
    ];
    assert_eq!(reason(&large), ParkReason::Overflow);
    assert_eq!(position(&tables(&large)), "1 1 1");
}

#[test]
fn rates_are_direct_else_reverse_else_over_eur_and_not_rounded() {
    let messages = [
        portfolio("CHF", "FIFO"),
        instrument("EUR"),
        rate("EUR", "USD", "2023-01-01", "3"),
        rate("EUR", "CHF", "2023-01-01", "3"),
        day("2023-01-02"),
        price("2023-01-02", "3", "USD"),
        trade("B 2023-01-02 BUY 7 7 0 USD"),
    ];
    let tables = tables(&messages);
    assert_eq!(costs(&tables, "B"), "7 7 7 0 0");
    let (_, snapshot) = tables.snapshots.last_key_value().expect("a snapshot");
    let values = snapshot.values.expect("valued");
    assert_eq!(values.market_value_local.to_string(), "7");
    assert_eq!(values.market_value.to_string(), "21");
    assert_eq!(snapshot.status, ValuationStatus::ValuedCurrent);
}

#[test]
fn snapshots_stand_on_business_dates_from_the_first_applied_transaction() {
    let mut messages = vec![
        portfolio("USD", "FIFO"),
        trade("B 2025-09-02 BUY 100 1000 0 USD"),
        day("2025-09-01"),
        day("2025-09-02"),
        day("2025-09-04"),
        price("2025-09-03", "12", "USD"),
    ];
    assert!(tables(&messages).snapshots.is_empty());
    assert_eq!(tables(&messages).waiting.len(), 1);
    messages.push(instrument("USD"));
    let found = tables(&messages);
    let seen: Vec<String> = found
        .snapshots
        .iter()
        .map(|((_, day), snapshot)| format!("{day} {}", snapshot.status))
        .collect();
    assert_eq!(seen, ["2025-09-02 UNVALUED", "2025-09-04 VALUED_STALE"]);
    messages[0] = portfolio("CHF", "FIFO");
    messages.push(rate("USD", "CHF", "2025-09-01", "1"));
    messages.push(instrument("GBP"));
    let failed = tables(&messages);
    let (_, last) = failed.snapshots.last_key_value().expect("a snapshot");
    assert_eq!(last.status, ValuationStatus::Failed);
    assert_eq!(last.market_price.map(|p| p.to_string()).as_deref(), Some("12"));
}

#[test]
fn versions_decide_and_at_equal_ones_the_later_message() {
    let cases =
        [([("1", 2), ("2", 1)], "1"), ([("1", 1), ("2", 1)], "2"), ([("1", 1), ("2", 2)], "2")];
    for (arrival, expected) in cases {
        let mut messages = vec![portfolio("USD", "FIFO")];
        for (quantity, version) in arrival {
            let text =
                format!(r#"B 2023-01-01 BUY {quantity} 10 0 USD|,"source_version":{version}"#);
            messages.push(trade(&text));
        }
        assert!(position(&tables(&messages)).starts_with(&format!("{expected} ")));
    }
}

#[test]
fn rejected_content_has_one_code_and_no_effect() {
    let good = trade("B 2023-01-01 BUY 1 10 0 USD");
    let moved =
        (Topic::RawTransactions, good.1.replace(r#""security_id":"S""#, r#""security_id":"X""#));
    let cases = [
        ((Topic::RawTransactions, "{".to_owned()), "MALFORMED_JSON"),
        ((Topic::RawTransactions, "[1]".to_owned()), "MALFORMED_JSON"),
        ((Topic::RawTransactions, r#"{"price":"x"}"#.to_owned()), "MISSING_FIELD"),
        (trade("B 2023-01-01 BUY true 10 0 USD"), "BAD_FIELD"),
        (trade("B yesterday GIFT 0 10 0 USD"), "BAD_FIELD"),
        (trade("B 2023-01-01 GIFT 0 10 0 USD"), "UNKNOWN_TYPE"),
        (trade("B 2023-01-01 BUY 0 1e12 0 USD"), "NUMBER_TOO_LARGE"),
        (trade("B 2023-01-01 BUY 1e-11 10 0 USD"), "QUANTITY_NOT_POSITIVE"),
        (trade("B 2023-01-01 SELL 1 -10 5 USD"), "NEGATIVE_AMOUNT"),
        (trade("B 2023-01-01 SELL 1 10 11 USD"), "FEE_EXCEEDS_GROSS"),
        (moved, "KEY_CHANGED"),
        (rate("EUR", "USD", "2023-01-01", "1e-11"), "RATE_NOT_POSITIVE"),
        (price("2023-01-01", "-1", "USD"), "NEGATIVE_AMOUNT"),
        (portfolio("USD", "LIFO"), "UNKNOWN_TYPE"),
    ];
    for (message, expected) in cases {
        let tables = tables(&[portfolio("USD", "FIFO"), good.clone(), message.clone()]);
        let codes: Vec<&str> = tables.dead_letters.iter().map(|letter| letter.error).collect();
        assert_eq!(codes, [expected], "{message:?}");
        assert!(position(&tables).starts_with("1 "));
    }
}

#[test]
fn a_timeline_is_ordered_by_instant_then_rank_then_bytes() {
    let tables = tables(&[
        portfolio("USD", "FIFO"),
        trade("a 2023-01-10T00:30:00+02:00 SELL 1 1 0 USD"),
        trade("b 2023-01-09T22:30:00 BUY 1 1 0 USD"),
        trade("B 2023-01-09T22:30:00Z BUY 1 1 0 USD"),
    ]);
    let order: Vec<&str> =
        tables.position_history.keys().map(|(_, place)| place.transaction_id.as_str()).collect();
    assert_eq!(order, ["B", "b", "a"]);
}
