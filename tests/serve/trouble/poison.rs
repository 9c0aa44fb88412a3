//! Messages that no engine can make sense of, each between two good ones of its partition.

use std::collections::BTreeMap;

use backdate_engine::ports::log::Topic;

use super::letters::{Letter, Raw, dead, send};
use crate::serve::fixture::{Place, until};
use crate::serve::stop;

/// A broker takes 1,048,588 bytes by default, its own overhead included.
const NEARLY_TOO_MUCH: usize = 1_048_000;

/// As long as a text may be.
const TEXT_MAX: usize = 512;

/// A message with its key, and the code of the dead letter that must come of it.
type Bad = (Topic, Option<Vec<u8>>, Option<Vec<u8>>, &'static str);

/// A good transaction.
fn trade(id: &str) -> String {
    format!(
        concat!(
            r#"{{"transaction_id":"{id}","portfolio_id":"P","instrument_id":"I","#,
            r#""security_id":"S","transaction_date":"2025-03-03T10:00:00Z","#,
            r#""transaction_type":"SELL","quantity":"1","price":"10","#,
            r#""gross_transaction_amount":"10","trade_fee":"1","trade_currency":"USD","#,
            r#""currency":"USD"}}"#
        ),
        id = id
    )
}

/// The good transaction BAD with a part of its text replaced.
fn spoilt(from: &str, to: &str) -> Vec<u8> {
    let good = trade("BAD");
    assert!(good.contains(from), "{from}");
    good.replace(from, to).into_bytes()
}

fn price(date: &str, price: &str) -> String {
    format!(r#"{{"security_id":"S","price_date":"{date}","price":{price},"currency":"USD"}}"#)
}

fn rate(date: &str, rate: &str) -> String {
    format!(r#"{{"from_currency":"USD","to_currency":"EUR","rate_date":"{date}","rate":{rate}}}"#)
}

fn portfolio(id: &str, base: &str, method: &str) -> String {
    format!(
        concat!(
            r#"{{"portfolio_id":"{id}","base_currency":"{base}","open_date":"2025-01-01","#,
            r#""cost_basis_method":"{method}"}}"#
        ),
        id = id,
        base = base,
        method = method
    )
}

fn instrument(id: &str, currency: &str) -> String {
    format!(r#"{{"security_id":"{id}","currency":"{currency}","product_type":"Equity"}}"#)
}

fn business_date(date: &str) -> String {
    format!(r#"{{"business_date":"{date}","calendar_code":"GLOBAL"}}"#)
}

/// Transactions that are none, by what is wrong with their bytes or fields.
fn transactions() -> Vec<(Vec<u8>, &'static str)> {
    let mut all: Vec<(Vec<u8>, &'static str)> = vec![
        (b"hello".to_vec(), "MALFORMED_JSON"),
        (Vec::new(), "MALFORMED_JSON"),
        (b"   ".to_vec(), "MALFORMED_JSON"),
        (b"null".to_vec(), "MALFORMED_JSON"),
        (b"[]".to_vec(), "MALFORMED_JSON"),
        (format!("[{}]", trade("BAD")).into_bytes(), "MALFORMED_JSON"),
        (trade("BAD").as_bytes()[..100].to_vec(), "MALFORMED_JSON"),
        (format!("{} {{}}", trade("BAD")).into_bytes(), "MALFORMED_JSON"),
        (format!("\u{feff}{}", trade("BAD")).into_bytes(), "MALFORMED_JSON"),
        (spoilt("{", r#"{"quantity":"1","#), "MALFORMED_JSON"),
        (spoilt("BAD", "BAD\u{1}"), "MALFORMED_JSON"),
        (spoilt(r#""quantity":"1""#, r#""quantity":NaN"#), "MALFORMED_JSON"),
        (b"{\"transaction_id\":\"\xff\xfe\xc0\"}".to_vec(), "MALFORMED_JSON"),
        (vec![0; 64], "MALFORMED_JSON"),
        ([b"{".as_slice(), &[b'['; 200_000]].concat(), "MALFORMED_JSON"),
        (b"{}".to_vec(), "MISSING_FIELD"),
        (spoilt(r#""BAD""#, "null"), "MISSING_FIELD"),
        (spoilt(r#""BAD""#, r#""""#), "MISSING_FIELD"),
        (spoilt(r#""BAD""#, "7"), "BAD_FIELD"),
        (spoilt(r#""BAD""#, r#"{"id":"BAD"}"#), "BAD_FIELD"),
        (spoilt("BAD", r"BAD\u0000"), "BAD_FIELD"),
        (spoilt("BAD", r"BAD\ud800"), "BAD_FIELD"),
        (spoilt("BAD", &"B".repeat(TEXT_MAX + 1)), "BAD_FIELD"),
        (spoilt(r#""portfolio_id":"P""#, r#""portfolio_id":"\u0000""#), "BAD_FIELD"),
        (spoilt("{", r#"{"settlement_date":"2025\u0000","#), "BAD_FIELD"),
        (spoilt("{", r#"{"calculation_policy_id":"\u0000","#), "BAD_FIELD"),
        (spoilt("{", r#"{"source_version":"first","#), "BAD_FIELD"),
        (spoilt("{", r#"{"source_version":9223372036854775808,"#), "BAD_FIELD"),
        (spoilt("2025-03-03T10:00:00Z", "2025-02-30T10:00:00Z"), "BAD_FIELD"),
        (spoilt("2025-03-03T10:00:00Z", "2025-03-03T25:00:00Z"), "BAD_FIELD"),
        (spoilt("2025-03-03T10:00:00Z", "20250303"), "BAD_FIELD"),
        (spoilt("2025-03-03T10:00:00Z", "0001-01-01T23:59:59Z"), "BAD_FIELD"),
        (spoilt("2025-03-03T10:00:00Z", "10000-01-01T00:00:00Z"), "BAD_FIELD"),
        (spoilt(r#""quantity":"1""#, r#""quantity":"NaN""#), "BAD_FIELD"),
        (spoilt(r#""quantity":"1""#, r#""quantity":"-Infinity""#), "BAD_FIELD"),
        (spoilt(r#""quantity":"1""#, r#""quantity":true"#), "BAD_FIELD"),
        (spoilt(r#""quantity":"1""#, r#""quantity":"0x10""#), "BAD_FIELD"),
        (spoilt("SELL", "SWAP"), "UNKNOWN_TYPE"),
        (spoilt("SELL", "sell"), "UNKNOWN_TYPE"),
        (spoilt(r#""quantity":"1""#, r#""quantity":0"#), "QUANTITY_NOT_POSITIVE"),
        (spoilt(r#""quantity":"1""#, r#""quantity":-1"#), "QUANTITY_NOT_POSITIVE"),
        (spoilt(r#""quantity":"1""#, r#""quantity":1e-999999999"#), "QUANTITY_NOT_POSITIVE"),
        (spoilt(r#""price":"10""#, r#""price":-10"#), "NEGATIVE_AMOUNT"),
        (spoilt(r#""trade_fee":"1""#, r#""trade_fee":"-0.01""#), "NEGATIVE_AMOUNT"),
        (spoilt(r#"_amount":"10""#, r#"_amount":-10"#), "NEGATIVE_AMOUNT"),
        (spoilt(r#""trade_fee":"1""#, r#""trade_fee":"10.01""#), "FEE_EXCEEDS_GROSS"),
        (spoilt(r#""quantity":"1""#, r#""quantity":1000000000000"#), "NUMBER_TOO_LARGE"),
        (spoilt(r#""price":"10""#, r#""price":1e999999999"#), "NUMBER_TOO_LARGE"),
        // Amendments of the first good one.
        (trade("GOOD-0").replace(r#""P""#, r#""Q""#).into_bytes(), "KEY_CHANGED"),
        (trade("GOOD-0").replace(r#""S""#, r#""T""#).into_bytes(), "KEY_CHANGED"),
        // Quoted, each byte of these becomes six, or three.
        (vec![1; NEARLY_TOO_MUCH], "MALFORMED_JSON"),
        (vec![0xff; NEARLY_TOO_MUCH], "MALFORMED_JSON"),
    ];
    let required = ["portfolio_id", "instrument_id", "security_id", "transaction_date", "price"];
    all.extend(required.map(|name| (spoilt(&format!("\"{name}\""), "\"x\""), "MISSING_FIELD")));
    all
}

/// All bad messages.
fn bad() -> Vec<Bad> {
    let value = |text: String| Some(text.into_bytes());
    let mut all: Vec<Bad> = transactions()
        .into_iter()
        .map(|(bytes, code)| (Topic::RawTransactions, Some(b"P".to_vec()), Some(bytes), code))
        .collect();
    let stray: [(Topic, Option<Vec<u8>>, &'static str); 18] = [
        (Topic::MarketPrices, value(price("2025-03-04", "-1")), "NEGATIVE_AMOUNT"),
        (Topic::MarketPrices, value(price("2025-03-04", "\"1,5\"")), "BAD_FIELD"),
        (Topic::MarketPrices, value(price("04.03.2025", "1")), "BAD_FIELD"),
        (
            Topic::MarketPrices,
            value(price("2025-03-04", "999999999999.99999999999")),
            "NUMBER_TOO_LARGE",
        ),
        (Topic::MarketPrices, None, "MALFORMED_JSON"),
        (Topic::FxRates, value(rate("2025-03-04", "0")), "RATE_NOT_POSITIVE"),
        (Topic::FxRates, value(rate("2025-03-04", "-0.5")), "RATE_NOT_POSITIVE"),
        (Topic::FxRates, value(rate("2025-03-04", "0.00000000001")), "RATE_NOT_POSITIVE"),
        (Topic::FxRates, value(rate("2025-03-04", "null")), "MISSING_FIELD"),
        (Topic::RawPortfolios, value(portfolio("P", "EUR", "LIFO")), "UNKNOWN_TYPE"),
        (Topic::RawPortfolios, value(portfolio("P", r"E\u0000R", "FIFO")), "BAD_FIELD"),
        (Topic::RawPortfolios, value("\"P\"".to_owned()), "MALFORMED_JSON"),
        (Topic::Instruments, value(instrument(r"S\u0000", "USD")), "BAD_FIELD"),
        (Topic::Instruments, value(instrument("", "USD")), "MISSING_FIELD"),
        (Topic::Instruments, value(instrument("S", &"U".repeat(9_000))), "BAD_FIELD"),
        (Topic::RawBusinessDates, value(business_date("2025-02-29")), "BAD_FIELD"),
        (Topic::RawBusinessDates, value(business_date("")), "MISSING_FIELD"),
        (Topic::RawBusinessDates, value(r#"{"business_date":20250303}"#.to_owned()), "BAD_FIELD"),
    ];
    all.extend(
        stray.into_iter().map(|(topic, bytes, code)| (topic, Some(b"k".to_vec()), bytes, code)),
    );
    // The key does not matter, whatever it is.
    let nothing = || Some(b"nothing".to_vec());
    all.push((Topic::RawTransactions, None, nothing(), "MALFORMED_JSON"));
    all.push((Topic::RawTransactions, Some(b"\xff\xfe\0".to_vec()), nothing(), "MALFORMED_JSON"));
    all.push((Topic::RawTransactions, Some(b"P".to_vec()), None, "MALFORMED_JSON"));
    all.push((Topic::RawTransactions, None, None, "MALFORMED_JSON"));
    all
}

/// The good message of a topic with that number; no two are of one identity.
fn good(topic: Topic, number: usize) -> Vec<u8> {
    let date = format!("2025-{:02}-{:02}", 3 + number / 28, number % 28 + 1);
    let text = match topic {
        Topic::RawTransactions => {
            trade(&format!("GOOD-{number}")).replace("SELL", "BUY").replace("2025-03-03", &date)
        }
        Topic::MarketPrices => price(&date, "11"),
        Topic::FxRates => rate(&date, "0.9"),
        Topic::RawPortfolios => match number {
            0 => portfolio("P", "EUR", "FIFO"),
            _ => portfolio(&format!("P{number}"), "EUR", "FIFO"),
        },
        Topic::Instruments => match number {
            0 => instrument("S", "USD"),
            _ => instrument(&format!("S{number}"), "USD"),
        },
        Topic::RawBusinessDates => business_date(&date),
        other => unreachable!("{other} is no input"),
    };
    text.into_bytes()
}

/// A text of that length that no compression makes short.
fn long(salt: u64) -> String {
    let mut state = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'0' + (state % 75) as u8)
    };
    std::iter::from_fn(|| Some(next())).filter(|c| *c != '\\').take(TEXT_MAX).collect()
}

/// Strange messages that are good, with the labels of some.
fn strange() -> Vec<Raw> {
    let raw = |topic, value: String| {
        let value = Some(value.into_bytes());
        Raw { topic, key: None, value, correlation_id: None }
    };
    let labelled = |id: &str, label: Vec<u8>| Raw {
        correlation_id: Some(label),
        ..raw(Topic::RawTransactions, trade(id).replace("SELL", "BUY"))
    };
    let [id, portfolio_id, security, currency, other] = [1, 2, 3, 4, 5].map(long);
    let longest = trade(&id)
        .replace(r#""P""#, &format!("\"{portfolio_id}\""))
        .replace(r#""S""#, &format!("\"{security}\""))
        .replace(r#""USD""#, &format!("\"{currency}\""))
        .replace("SELL", "BUY")
        .replace('{', &format!(r#"{{"settlement_date":"{other}","calculation_policy_id":"{id}","#));
    let plain = |id: &str| trade(id).replace("SELL", "BUY");
    let filler = "x".repeat(NEARLY_TOO_MUCH - 1_000);
    let huge = plain("HUGE").replace('{', &format!(r#"{{"comment":"{filler}","#));
    let nested = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let nested = plain("NESTED").replace('{', &format!(r#"{{"more":{nested},"nul":"\u0000","#));
    let trades = Topic::RawTransactions;
    let long_rate = rate("2025-03-01", "0.5").replace("USD", &currency).replace("EUR", &other);
    let long_price = price("2025-03-01", "5")
        .replace(r#""S""#, &format!("\"{security}\""))
        .replace("USD", &currency);
    let early = plain("EARLY").replace("2025-03-03T10:00:00Z", "0001-01-02");
    let late = plain("LATE").replace("2025-03-03T10:00:00Z", "9999-12-31T23:59:59.9999999Z");
    vec![
        raw(Topic::RawPortfolios, portfolio(&portfolio_id, &other, "AVCO")),
        raw(Topic::Instruments, instrument(&security, &currency)),
        raw(Topic::FxRates, long_rate),
        raw(Topic::MarketPrices, long_price),
        raw(Topic::MarketPrices, price("0001-01-02", "1")),
        raw(Topic::MarketPrices, price("9999-12-31", "1")),
        raw(Topic::FxRates, rate("0001-01-02", "1")),
        raw(Topic::FxRates, rate("9999-12-31", "1e11")),
        raw(Topic::RawBusinessDates, business_date("0001-01-02")),
        raw(trades, longest),
        raw(trades, huge),
        raw(trades, nested),
        raw(trades, early),
        raw(trades, late),
        Raw { key: Some(b"\xff\0\xfe".to_vec()), ..raw(trades, plain("KEY")) },
        labelled("NUL", b"a\0b".to_vec()),
        labelled("LONG", vec![b'7'; NEARLY_TOO_MUCH - 1_000]),
        labelled("BYTES", vec![0xff; 100]),
    ]
}

/// What a dead letter has to say of a message.
fn letter((topic, key, value, code): &Bad) -> Letter {
    let text = |bytes: &Option<Vec<u8>>| {
        String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned()
    };
    let (topic, code) = (topic.to_string(), (*code).to_owned());
    Letter { topic, key: text(key), value: text(value), code }
}

/// The bad messages with a good one before each and after the last, then the strange ones; and by
/// topic how many are good and how many are bad.
fn between_good_ones(bad: &[Bad]) -> (Vec<Raw>, BTreeMap<Topic, (usize, usize)>) {
    let mut counts: BTreeMap<Topic, (usize, usize)> = BTreeMap::new();
    let mut messages = Vec::new();
    let next_good = |topic: Topic, goods: &mut usize| {
        *goods += 1;
        let value = Some(good(topic, *goods - 1));
        Raw { topic, key: Some(b"k".to_vec()), value, correlation_id: Some(b"good".to_vec()) }
    };
    for (topic, key, value, _) in bad {
        let (goods, bads) = counts.entry(*topic).or_default();
        *bads += 1;
        messages.push(next_good(*topic, goods));
        let (key, value) = (key.clone(), value.clone());
        messages.push(Raw { topic: *topic, key, value, correlation_id: None });
    }
    for (topic, (goods, _)) in &mut counts {
        messages.push(next_good(*topic, goods));
    }
    for raw in strange() {
        counts.entry(raw.topic).or_default().0 += 1;
        messages.push(raw);
    }
    (messages, counts)
}

#[test]
fn what_is_no_message_is_put_aside_and_holds_up_nothing() {
    let place = Place::migrated();
    let mut serving = place.serve(&[]);
    let bad = bad();
    let (messages, counts) = between_good_ones(&bad);
    send(place.prefix.config(), &messages);
    place.settle();
    let mut expected: Vec<Letter> = bad.iter().map(letter).collect();
    expected.sort();
    let found = dead(place.prefix.config());
    assert_eq!(found.len(), expected.len());
    for (expected, found) in expected.iter().zip(&found) {
        assert!(
            expected == found,
            "{:.300}\n{:.300}",
            format!("{expected:?}"),
            format!("{found:?}")
        );
    }
    for (topic, (good, bad)) in counts {
        let metric = format!("dead_letter_total{{topic=\"{topic}\"}}");
        until("all are counted", || match serving.metric(&metric) {
            Some(value) if value == bad as f64 => Ok(()),
            other => Err(format!("{metric} {other:?}, not {bad}")),
        });
        let table = match topic {
            Topic::RawTransactions => "transactions",
            Topic::RawPortfolios => "portfolios",
            Topic::RawBusinessDates => "business_dates",
            other => other.as_str(),
        };
        let stored = place.lines(&format!("SELECT count(*)::text FROM {table}"));
        assert_eq!(stored, [good.to_string()], "{table}");
    }
    let applied = "SELECT count(*)::text FROM position_timeline WHERE applied";
    let all = place.lines("SELECT count(*)::text FROM transactions");
    assert_eq!(place.lines(applied), all);
    let labels =
        "SELECT correlation_id FROM transactions WHERE transaction_id = ANY(ARRAY['GOOD-0',
        'NUL', 'LONG']) ORDER BY transaction_id = 'GOOD-0', correlation_id";
    let labels = labels.replace("SELECT correlation_id", "SELECT coalesce(correlation_id, '-')");
    assert_eq!(place.lines(&labels), ["-", "-", "good"]);
    assert!(!serving.log().contains("An attempt failed"), "{}", serving.log());
    stop(&mut serving);
}
