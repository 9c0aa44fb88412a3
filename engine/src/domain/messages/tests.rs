//! Claims about payloads: their text, and that what is written is read back.

use super::*;
use crate::domain::ids::{Epoch, Revision};
use crate::domain::intake::{self, Rejection};
use crate::domain::money::Amount;
use crate::domain::records::Costs;
use crate::domain::time::Timestamp;

const RAW: &str = r#"{"transaction_id": "L1", "portfolio_id": "P1", "instrument_id": "I1",
    "security_id": "S1", "transaction_date": "2026-02-27T11:00:00Z", "transaction_type": "BUY",
    "quantity": "10", "price": "101", "gross_transaction_amount": "1010.50",
    "trade_currency": "USD", "currency": "USD", "trade_fee": "0"}"#;

const COMPLETED: &str = concat!(
    r#"{"transaction_id":"L1","portfolio_id":"P1","instrument_id":"I1","security_id":"S1","#,
    r#""transaction_date":"2026-02-27T11:00:00Z","transaction_type":"BUY","quantity":"10","#,
    r#""price":"101","gross_transaction_amount":"1010.5","trade_currency":"USD","#,
    r#""currency":"USD","trade_fee":"0","settlement_date":null,"net_cost":null,"#,
    r#""gross_cost":null,"realized_gain_loss":null,"transaction_fx_rate":null,"#,
    r#""net_cost_local":null,"realized_gain_loss_local":null,"economic_event_id":null,"#,
    r#""linked_transaction_group_id":null,"calculation_policy_id":null,"#,
    r#""calculation_policy_version":null,"source_system":null,"epoch":null}"#
);

fn token(epoch: u32, revision: u64) -> Token {
    Token { epoch: Epoch(epoch), revision: Revision(revision) }
}

fn date(text: &str) -> Date {
    Date::parse(text).expect("a date")
}

#[test]
fn news_of_a_transaction_carry_no_token() {
    let transaction = intake::transaction(RAW.as_bytes()).expect("good").content;
    let payload = transaction_completed(&transaction);
    assert_eq!(payload, COMPLETED);
    let news = read_transaction_completed(payload.as_bytes()).expect("our own");
    assert_eq!(news.transaction_id.as_str(), "L1");
    assert_eq!(news.key, Key::new("P1", "S1"));
    let read = read_transaction_processed(payload.as_bytes()).expect("a capture's");
    assert_eq!(read.token, None);
}

#[test]
fn an_applied_transaction_carries_costs_and_token() {
    let transaction = intake::transaction(RAW.as_bytes()).expect("good").content;
    let cost = Amount::parse("1010.5").expect("a number");
    let costs = Costs {
        gross_cost: cost,
        net_cost: cost,
        net_cost_local: cost,
        realized_gain_loss: None,
        realized_gain_loss_local: Some(Amount::ZERO),
        transaction_fx_rate: Amount::ONE,
    };
    let payload = transaction_processed(&transaction, &costs, token(3, 7));
    assert!(payload.contains(r#""net_cost":"1010.5","gross_cost":"1010.5""#));
    assert!(payload.contains(r#""realized_gain_loss":null,"transaction_fx_rate":"1""#));
    assert!(payload.ends_with(r#""source_system":null,"epoch":3,"revision":7}"#));
    let news = read_transaction_processed(payload.as_bytes()).expect("our own");
    assert_eq!(news.token, Some(token(3, 7)));
}

#[test]
fn prices_and_rates_read_as_inputs_and_as_news() {
    let text = r#"{"security_id":"S1","price_date":"2026-02-16","price":"128","currency":"USD"}"#;
    let price = intake::market_price(text.as_bytes()).expect("good").content;
    assert_eq!(price_persisted(&price), text);
    let news = read_price_persisted(text.as_bytes()).expect("our own");
    assert_eq!((news.security_id.as_str(), news.price_date), ("S1", date("2026-02-16")));
    let text =
        r#"{"from_currency":"EUR","to_currency":"USD","rate_date":"2026-02-16","rate":"1.1"}"#;
    let rate = intake::exchange_rate(text.as_bytes()).expect("good").content;
    assert_eq!(rate_persisted(&rate), text);
    let news = read_rate_persisted(text.as_bytes()).expect("our own");
    assert_eq!(news.pair, (Currency::new("EUR"), Currency::new("USD")));
    assert_eq!(news.rate_date, date("2026-02-16"));
    assert_eq!(read_price_persisted(b"{}"), Err(Rejection::MissingField));
    assert_eq!(read_rate_persisted(b"{}"), Err(Rejection::MissingField));
    assert_eq!(read_transaction_completed(b"{}"), Err(Rejection::MissingField));
}

#[test]
fn a_valuation_job_is_read_back() {
    let job = ValuationRequired {
        job_id: Some(u64::MAX),
        attempt: 2,
        keys: vec![(Key::new("P1", "S\"1"), token(1, 9)), (Key::new("P2", "S1"), token(0, 0))],
        date_from: date("2026-02-16"),
        date_to: date("2026-02-20"),
        correlation_id: Some("C-1".into()),
    };
    let payload = valuation_required(&job);
    assert!(payload.starts_with(concat!(
        r#"{"portfolio_id":"P1","security_id":"S\"1","valuation_date":"2026-02-16","epoch":1,"#,
        r#""correlation_id":"C-1","revision":9,"valuation_date_to":"2026-02-20","#,
    )));
    assert_eq!(read_valuation_required(payload.as_bytes()), Ok(job));
}

#[test]
fn a_job_of_a_capture_is_one_key_and_one_date() {
    let captured = br#"{"portfolio_id": "P1", "security_id": "S1", "valuation_date": "2026-02-16",
        "epoch": 1, "correlation_id": "SCHEDULER_BACKFILL_2026-02-16"}"#;
    let read = read_valuation_required(captured).expect("readable");
    let expected = ValuationRequired {
        job_id: None,
        attempt: 0,
        keys: vec![(Key::new("P1", "S1"), token(1, 0))],
        date_from: date("2026-02-16"),
        date_to: date("2026-02-16"),
        correlation_id: Some("SCHEDULER_BACKFILL_2026-02-16".into()),
    };
    assert_eq!(read, expected);
}

#[test]
fn a_job_that_cannot_be_fenced_or_has_no_key_is_refused() {
    use Rejection::{BadField, Malformed, MissingField};
    let head = r#"{"portfolio_id":"P","security_id":"S","valuation_date":"2026-02-16""#;
    for (tail, reason) in [
        ("", BadField),
        (r#","epoch":null"#, BadField),
        (r#","epoch":-1"#, BadField),
        (r#","epoch":0,"revision":"x""#, BadField),
        (r#","epoch":0,"keys":[]"#, BadField),
        (r#","epoch":0,"keys":{}"#, BadField),
        (r#","epoch":0,"keys":[[]]"#, BadField),
        (r#","epoch":0,"keys":[{"portfolio_id":"P","security_id":"S"}]"#, BadField),
        (r#","epoch":0,"keys":[{"portfolio_id":"P","epoch":0}]"#, MissingField),
        (r#","epoch":0,"valuation_date_to":"2026-02-15""#, BadField),
        (r#","epoch":0,"epoch":1"#, Malformed),
    ] {
        let payload = format!("{head}{tail}}}");
        assert_eq!(read_valuation_required(payload.as_bytes()), Err(reason), "{tail}");
    }
}

#[test]
fn snapshot_events_are_read_back_and_from_captures() {
    let key = Key::new("P1", "S1");
    let (from, to) = (date("2026-02-16"), date("2026-02-17"));
    let payload = snapshots_persisted(&key, token(2, 5), from, to);
    let expected =
        SnapshotsNews { key: key.clone(), token: token(2, 5), date_from: from, date_to: to };
    assert_eq!(read_snapshots_persisted(payload.as_bytes()), Ok(expected));
    let captured = br#"{"id": 4, "portfolio_id": "P1", "security_id": "S1", "date": "2026-02-16",
        "epoch": 0}"#;
    let expected = SnapshotsNews { key, token: token(0, 0), date_from: from, date_to: from };
    assert_eq!(read_snapshots_persisted(captured), Ok(expected));
}

#[test]
fn a_dead_letter_keeps_what_it_came_from() {
    let at = Timestamp::from_micros(0);
    let payload = dead_letter("fx_rates", "k", b"{\"a\":\0\xff", Rejection::BadField, at);
    assert!(payload.starts_with(r#"{"original_topic":"fx_rates","key":"k","value":"{\"a\":"#));
    assert!(payload.ends_with(r#""error":"BAD_FIELD","timestamp":"1970-01-01T00:00:00Z"}"#));
    let expected = DeadLetter {
        topic: "fx_rates".into(),
        key: "k".into(),
        value: "{\"a\":\0\u{fffd}".into(),
        error: "BAD_FIELD".into(),
    };
    assert_eq!(read_dead_letter(payload.as_bytes()), Some(expected));
    assert!(!payload.contains("value_bytes"));
    assert_eq!(read_dead_letter(b"{}"), None);
    assert_eq!(read_dead_letter(b"nothing"), None);
}

#[test]
fn a_dead_letter_fits_whatever_it_came_from() {
    let key = "\u{1}".repeat(QUOTED_KEY_MAX + 1);
    for filler in [b'\x01', b'"', b'\xff', b'a'] {
        let value = vec![filler; QUOTED_VALUE_MAX + 5];
        let payload =
            dead_letter("fx_rates", &key, &value, Rejection::Malformed, Timestamp::from_micros(0));
        assert!(payload.len() + QUOTED_VALUE_MAX * 3 < DEAD_LETTER_BYTES_MAX as usize);
        assert!(payload.ends_with(&format!(r#","value_bytes":{}}}"#, QUOTED_VALUE_MAX + 5)));
        let letter = read_dead_letter(payload.as_bytes()).expect("a letter");
        assert_eq!(letter.value.chars().count(), QUOTED_VALUE_MAX);
        assert_eq!(letter.key.len(), QUOTED_KEY_MAX);
    }
}
