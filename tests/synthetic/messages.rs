//! The messages that a folder stands for, read here a second time, independently of the binary.
//!
//! # Invariants
//! - Messages of one identity keep the order in which steps send them.

use std::path::Path;

use backdate_engine::ports::log::Topic;
use serde_json::{Map, Value};

/// A message of a raw topic.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    step: u64,
    pub(crate) topic: Topic,
    pub(crate) key: String,
    pub(crate) value: String,
}

const FILES: [(&str, Topic, &[&str]); 6] = [
    ("portfolios.csv", Topic::RawPortfolios, &["portfolio_id"]),
    ("instruments.csv", Topic::Instruments, &["security_id"]),
    ("business_dates.csv", Topic::RawBusinessDates, &["calendar_code"]),
    ("fx_rates.csv", Topic::FxRates, &["from_currency", "to_currency"]),
    ("market_prices.csv", Topic::MarketPrices, &["security_id"]),
    ("transactions.csv", Topic::RawTransactions, &["portfolio_id"]),
];

/// All messages of a folder, step by step.
pub(crate) fn messages(folder: &Path) -> Vec<Message> {
    let mut messages = Vec::new();
    for (file, topic, key) in FILES {
        let mut reader = csv::Reader::from_path(folder.join(file)).expect("the folder is complete");
        let header = reader.headers().expect("each file has a header").clone();
        for row in reader.records() {
            let row = row.expect("each row has all columns");
            let cells = header.iter().zip(row.iter()).filter(|(_, cell)| !cell.is_empty());
            messages.push(message(topic, key, cells));
        }
    }
    messages.sort_by_key(|message| message.step);
    messages
}

/// A row as JSON: cells are texts, only a version is a number where it is one.
fn message<'a>(
    topic: Topic,
    key: &[&str],
    cells: impl Iterator<Item = (&'a str, &'a str)>,
) -> Message {
    let mut step = 1;
    let mut fields = Map::new();
    for (column, cell) in cells {
        let value = match column {
            "source_version" => cell.parse::<i64>().map_or_else(|_| cell.into(), Value::from),
            _ => Value::from(cell),
        };
        match column {
            "step" => step = cell.parse().expect("steps are numbers"),
            "transaction_ts" => drop(fields.insert("transaction_date".into(), value)),
            _ => drop(fields.insert(column.into(), value)),
        }
    }
    let part = |column: &&str| match fields.get(*column).and_then(Value::as_str) {
        Some(text) => text.to_owned(),
        None if *column == "calendar_code" => "GLOBAL".into(),
        None => String::new(),
    };
    let key = key.iter().map(part).collect::<Vec<_>>().join("/");
    Message { step, topic, key, value: Value::Object(fields).to_string() }
}
