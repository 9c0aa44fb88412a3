//! Claims about what is accepted and refused.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn good() -> Value {
    json!({
        "transaction_id": "T1", "portfolio_id": "P1", "instrument_id": "I1", "security_id": "S1",
        "transaction_date": "2025-01-02T10:00:00Z", "transaction_type": "SELL", "quantity": 10,
        "price": "2.5", "gross_transaction_amount": 25, "trade_fee": "0.5",
        "trade_currency": "USD", "currency": "EUR",
    })
}

fn read(message: &Value) -> Result<Versioned<Transaction>, Rejection> {
    transaction(message.to_string().as_bytes())
}

/// Reads a good transaction with the text of one field replaced.
fn with(field: &str, text: &str) -> Result<Versioned<Transaction>, Rejection> {
    let mut message = good();
    message[field] = json!("HERE");
    transaction(message.to_string().replace("\"HERE\"", text).as_bytes())
}

fn amount(text: &str) -> Amount {
    Amount::parse(text).expect("a number")
}

#[test]
fn a_transaction_is_read_whole() {
    let read = read(&good()).expect("good");
    let terms = &read.content.terms;
    assert_eq!(read.source_version, 0);
    assert_eq!(read.content.key, Key::new("P1", "S1"));
    assert_eq!(terms.at.to_string(), "2025-01-02T10:00:00Z");
    assert_eq!(terms.kind, TransactionType::Sell);
    assert_eq!((terms.quantity, terms.price), (amount("10"), amount("2.5")));
    assert_eq!((terms.gross, terms.fee), (amount("25"), amount("0.5")));
    assert_eq!(terms.accrued_interest, Amount::ZERO);
    assert_eq!((terms.trade_currency.as_str(), terms.currency.as_str()), ("USD", "EUR"));
    assert_eq!((&terms.policy, &read.content.settlement_date), (&None, &None));
}

#[test]
fn decimals_are_exact_as_numbers_and_as_texts() {
    for (text, expected) in [
        ("0.1", "0.1"),
        ("123456789012.1234567891", "123456789012.1234567891"),
        ("\"123456789012.1234567891\"", "123456789012.1234567891"),
        ("1.00000000005", "1"),
        ("1.00000000015", "1.0000000002"),
        ("25e-1", "2.5"),
        ("999999999999.99999999994", "999999999999.9999999999"),
        ("0.100000000000000000000000000000000000000000000000001", "0.1"),
    ] {
        let read = with("quantity", text).map(|read| read.content.terms.quantity);
        assert_eq!(read, Ok(amount(expected)), "{text}");
    }
}

#[test]
fn every_required_field_is_required() {
    let fields = good();
    let names = fields.as_object().expect("an object").keys();
    for name in names {
        for text in ["null", "\"\""] {
            assert_eq!(with(name, text), Err(Rejection::MissingField), "{name} {text}");
        }
        let mut message = good();
        message.as_object_mut().expect("an object").remove(name);
        assert_eq!(read(&message), Err(Rejection::MissingField), "{name}");
    }
}

#[test]
fn each_wrong_field_has_its_reason() {
    use Rejection::*;
    for (field, text, reason) in [
        ("transaction_id", "1", BadField),
        ("portfolio_id", "[\"P\"]", BadField),
        ("security_id", "\"a\\u0000b\"", BadField),
        ("currency", "\"\\ud800\"", BadField),
        ("transaction_date", "\"yesterday\"", BadField),
        ("transaction_date", "\"0001-01-01\"", BadField),
        ("transaction_date", "\"+10000-01-01\"", BadField),
        ("transaction_date", "20250101", BadField),
        ("transaction_type", "\"GIFT\"", UnknownType),
        ("transaction_type", "\"buy\"", UnknownType),
        ("transaction_type", "7", BadField),
        ("quantity", "true", BadField),
        ("quantity", "\"NaN\"", BadField),
        ("quantity", "NaN", Malformed),
        ("quantity", "{}", BadField),
        ("quantity", "1e400", NumberTooLarge),
        ("quantity", "1000000000000", NumberTooLarge),
        ("quantity", "999999999999.99999999995", NumberTooLarge),
        ("price", "-1e12", NumberTooLarge),
        ("accrued_interest", "1e12", NumberTooLarge),
        ("accrued_interest", "false", BadField),
        ("quantity", "0", QuantityNotPositive),
        ("quantity", "-1", QuantityNotPositive),
        ("quantity", "0.00000000005", QuantityNotPositive),
        ("price", "-0.0000000001", NegativeAmount),
        ("gross_transaction_amount", "-1", NegativeAmount),
        ("trade_fee", "-1", NegativeAmount),
        ("trade_fee", "25.0000000001", FeeExceedsGross),
        ("source_version", "1.5", BadField),
        ("source_version", "\"x\"", BadField),
        ("source_version", "9223372036854775808", BadField),
    ] {
        assert_eq!(with(field, text), Err(reason), "{field} {text}");
    }
    let long = format!("\"{}\"", "x".repeat(json::TEXT_BYTES_MAX + 1));
    assert_eq!(with("transaction_id", &long), Err(BadField));
}

#[test]
fn what_is_not_named_as_wrong_is_accepted() {
    for (field, text) in [
        ("price", "-0.00000000005"),
        ("price", "0"),
        ("trade_fee", "25"),
        ("accrued_interest", "-3"),
        ("accrued_interest", "null"),
        ("accrued_interest", "\"\""),
        ("settlement_date", "\"whenever\""),
        ("source_version", "\"12\""),
        ("source_version", "1795447399279"),
        ("unheard_of", "[[[{\"a\":[null]}]]]"),
        ("transaction_id", "\"T \\u00e9\\n\""),
    ] {
        assert!(with(field, text).is_ok(), "{field} {text}");
    }
    let mut dividend = good();
    dividend["transaction_type"] = json!("DIVIDEND");
    dividend["quantity"] = json!("-5");
    dividend["trade_fee"] = json!("26");
    assert!(read(&dividend).is_ok(), "quantity and fee matter to some types only");
}

#[test]
fn the_first_reason_in_the_documented_order_wins() {
    use Rejection::*;
    // Each step repairs the field of the reason before it.
    let mut message = json!({
        "transaction_id": "T1", "portfolio_id": "P1", "instrument_id": "I1", "security_id": "S1",
        "transaction_date": "never", "transaction_type": "GIFT", "quantity": 0,
        "price": -1, "gross_transaction_amount": "1e12", "trade_fee": "30",
        "trade_currency": "USD", "currency": null,
    });
    for (field, repaired, reason) in [
        ("currency", "EUR", MissingField),
        ("transaction_date", "2025-01-01", BadField),
        ("transaction_type", "SELL", UnknownType),
        ("gross_transaction_amount", "20", NumberTooLarge),
        ("quantity", "1", QuantityNotPositive),
        ("price", "1", NegativeAmount),
        ("trade_fee", "1", FeeExceedsGross),
    ] {
        assert_eq!(read(&message), Err(reason));
        message[field] = json!(repaired);
    }
    assert!(read(&message).is_ok());
}

#[test]
fn what_is_no_object_is_malformed() {
    let deep = "[".repeat(100_000);
    let nested = format!("{{\"x\":{}", "{\"x\":".repeat(100_000));
    for bytes in [
        &b""[..],
        b"null",
        b"[]",
        b"[\"2025-01-01\",\"GLOBAL\",0]",
        b"\"text\"",
        b"{",
        b"{}{}",
        b"{} x",
        b"\xef\xbb\xbf{\"business_date\":\"2025-01-01\"}",
        b"{\"business_date\":\"2025-01-01\",\"note\":\"\xff\"}",
        b"{\"business_date\":\"2025-01-01\",\"business_date\":\"2025-01-02\"}",
        b"{'business_date':'2025-01-01'}",
        deep.as_bytes(),
        nested.as_bytes(),
    ] {
        let read = business_date(bytes);
        assert_eq!(read, Err(Rejection::Malformed), "{:?}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(business_date(b" \n{}"), Err(Rejection::MissingField));
}

#[test]
fn prices_and_rates_have_their_signs() {
    let price = |text: &str| {
        let message = format!(
            r#"{{"security_id":"S","price_date":"2025-01-02T23:30:00-01:00","price":{text},
                "currency":"USD","source_version":3}}"#
        );
        market_price(message.as_bytes())
    };
    let read = price("\"0\"").expect("a price of zero is a price");
    assert_eq!(read.content.price_date.to_string(), "2025-01-03", "the UTC date");
    assert_eq!(read.source_version, 3);
    assert_eq!(price("-1"), Err(Rejection::NegativeAmount));
    assert_eq!(price("1e12"), Err(Rejection::NumberTooLarge));
    let rate = |num: &str| {
        let message = format!(
            r#"{{"from_currency":"USD","to_currency":"CHF","rate_date":"2025-01-02","rate":{num}}}"#
        );
        exchange_rate(message.as_bytes()).map(|read| read.content.rate)
    };
    assert_eq!(rate("0.0000000001"), Ok(Amount::from_raw(1)));
    for text in ["0", "-1", "0.00000000005"] {
        assert_eq!(rate(text), Err(Rejection::RateNotPositive), "{text}");
    }
    assert_eq!(rate("-1e13"), Err(Rejection::NumberTooLarge));
}

#[test]
fn reference_data_is_read() {
    let read = portfolio(
        br#"{"portfolio_id":"P","base_currency":"CHF","open_date":"2020-01-01",
             "cost_basis_method":"AVCO"}"#,
    );
    let content = read.expect("good").content;
    assert_eq!(content.cost_basis_method, CostMethod::Avco);
    let unknown = br#"{"portfolio_id":"P","base_currency":"CHF","open_date":"2020-01-01",
             "cost_basis_method":"LIFO"}"#;
    assert_eq!(portfolio(unknown), Err(Rejection::UnknownType));
    let read = instrument(br#"{"security_id":"S","currency":"USD","product_type":"Bond"}"#);
    assert_eq!(read.expect("good").content.product_type, "Bond");
    let read = business_date(br#"{"business_date":"2025-01-02"}"#);
    assert_eq!(read.expect("good").content.calendar_code, GLOBAL_CALENDAR);
    let read = business_date(br#"{"business_date":"2025-01-02","calendar_code":"CH"}"#);
    assert_eq!(read.expect("good").content.calendar_code, "CH");
}

fn read_as_anything(bytes: &[u8]) {
    let _ = transaction(bytes);
    let _ = market_price(bytes);
    let _ = exchange_rate(bytes);
    let _ = portfolio(bytes);
    let _ = instrument(bytes);
    let _ = business_date(bytes);
}

#[test]
fn a_label_that_cannot_be_stored_is_absent() {
    let label = |text: &str| correlation_id(Some(&text.into()));
    assert_eq!(label("batch-7"), Some("batch-7".into()));
    assert_eq!(label("batch\0"), None);
    assert_eq!(label(&"7".repeat(512)), Some("7".repeat(512).into()));
    assert_eq!(label(&"7".repeat(513)), None);
    assert_eq!(correlation_id(None), None);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read_as_anything(&bytes);
    }

    #[test]
    fn no_damaged_message_panics(
        at in any::<prop::sample::Index>(),
        length in 0_usize..20,
        patch in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        let mut bytes = good().to_string().into_bytes();
        let from = at.index(bytes.len());
        let to = (from + length).min(bytes.len());
        bytes.splice(from..to, patch);
        read_as_anything(&bytes);
    }

    #[test]
    fn no_text_in_a_field_panics(
        field in prop::sample::select(vec!["quantity", "transaction_date", "source_version"]),
        text in "[-+0-9.eEtTzZ: ]{0,30}|\\PC{0,20}",
    ) {
        let _ = with(field, &json!(text).to_string());
        let _ = with(field, &text);
    }
}
