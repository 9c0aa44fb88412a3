//! The CSV files of a feed folder, as the messages that they stand for.
//!
//! A bad row is reported with its file and line, and travels as a poison message would: the engine
//! has to cope with it, not the reader.

use std::path::{Path, PathBuf};

use backdate_engine::domain::intake::{self, Rejection};
use backdate_engine::ports::log::Topic;
use serde_json::{Map, Value};
use smol_str::SmolStr;
use thiserror::Error;

/// The files in the order in which a step sends them: name, topic, columns of the message key,
/// columns of the identity.
const FILES: [FileKind; 6] = [
    FileKind {
        name: "portfolios.csv",
        topic: Topic::RawPortfolios,
        key: &["portfolio_id"],
        identity: &["portfolio_id"],
    },
    FileKind {
        name: "instruments.csv",
        topic: Topic::Instruments,
        key: &["security_id"],
        identity: &["security_id"],
    },
    FileKind {
        name: "business_dates.csv",
        topic: Topic::RawBusinessDates,
        key: &["calendar_code"],
        identity: &["calendar_code", "business_date"],
    },
    FileKind {
        name: "fx_rates.csv",
        topic: Topic::FxRates,
        key: &["from_currency", "to_currency"],
        identity: &["from_currency", "to_currency", "rate_date"],
    },
    FileKind {
        name: "market_prices.csv",
        topic: Topic::MarketPrices,
        key: &["security_id"],
        identity: &["security_id", "price_date"],
    },
    FileKind {
        name: "transactions.csv",
        topic: Topic::RawTransactions,
        key: &["portfolio_id"],
        identity: &["transaction_id"],
    },
];

struct FileKind {
    name: &'static str,
    topic: Topic,
    key: &'static [&'static str],
    identity: &'static [&'static str],
}

/// A row of a file as a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedRecord {
    /// Step in which it is sent.
    pub step: u32,
    /// Number of its file within a step.
    pub file: usize,
    /// Topic.
    pub topic: Topic,
    /// Message key.
    pub key: SmolStr,
    /// What it is a version of: records of one identity keep their order.
    pub identity: SmolStr,
    /// JSON payload.
    pub value: String,
}

/// A row that the engine will reject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// The file.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: u64,
    /// Why.
    pub rejection: Rejection,
}

impl std::fmt::Display for BadRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.rejection)
    }
}

/// Why a folder cannot be fed.
#[derive(Debug, Error)]
pub enum FeedError {
    /// No folder, or none of the files in it.
    #[error(
        "{0}: no input file here; expected any of portfolios.csv, instruments.csv, \
             business_dates.csv, fx_rates.csv, market_prices.csv, transactions.csv"
    )]
    Empty(PathBuf),
    /// A file cannot be read as CSV.
    #[error("{file}: {error}")]
    Csv {
        /// The file.
        file: PathBuf,
        /// Where and why.
        error: csv::Error,
    },
}

/// What is wrong with a row whose step is no number, or that has more cells than the header.
const BAD_ROW: Rejection = Rejection::BadField;

/// Everything in a folder.
#[derive(Debug, Default)]
pub struct FeedInputs {
    /// Records by step and file, in file order.
    pub records: Vec<FeedRecord>,
    /// Rows that the engine will reject.
    pub bad_rows: Vec<BadRow>,
}

impl FeedInputs {
    /// Reads a folder.
    pub fn read(folder: &Path) -> Result<Self, FeedError> {
        let mut inputs = FeedInputs::default();
        let mut files = 0;
        for (number, kind) in FILES.iter().enumerate() {
            let path = folder.join(kind.name);
            if path.is_file() {
                files += 1;
                read_file(&path, number, kind, &mut inputs)
                    .map_err(|error| FeedError::Csv { file: path.clone(), error })?;
            }
        }
        if files == 0 {
            return Err(FeedError::Empty(folder.to_path_buf()));
        }
        inputs.records.sort_by_key(|record| (record.step, record.file));
        Ok(inputs)
    }
}

fn read_file(
    path: &Path,
    number: usize,
    kind: &FileKind,
    inputs: &mut FeedInputs,
) -> Result<(), csv::Error> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(path)?;
    let header: Vec<String> = reader.headers()?.iter().map(|cell| cell.trim().into()).collect();
    for row in reader.records() {
        let row = row?;
        let line = row.position().map_or(0, csv::Position::line);
        let (step, message) = message(&header, &row);
        let text = |field: &str| match message.get(field) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None if field == "calendar_code" => "GLOBAL".into(),
            None => String::new(),
        };
        let join = |fields: &[&str]| fields.iter().map(|f| text(f)).collect::<Vec<_>>().join("/");
        let key = SmolStr::new(join(kind.key));
        let identity = SmolStr::new(format!("{}/{}", kind.topic, join(kind.identity)));
        let value = Value::Object(message).to_string();
        let is_whole = step.is_some() && row.len() <= header.len();
        let checked = if is_whole { check(kind.topic, value.as_bytes()) } else { Err(BAD_ROW) };
        if let Err(rejection) = checked {
            inputs.bad_rows.push(BadRow { file: path.to_path_buf(), line, rejection });
        }
        let (topic, step) = (kind.topic, step.unwrap_or(1));
        inputs.records.push(FeedRecord { step, file: number, topic, key, identity, value });
    }
    Ok(())
}

/// A row as a JSON object, with its step (none: not a number); an empty cell is absent.
fn message(header: &[String], row: &csv::StringRecord) -> (Option<u32>, Map<String, Value>) {
    let mut step = Some(1);
    let mut fields = Map::new();
    for (name, cell) in header.iter().zip(row.iter()) {
        if cell.is_empty() {
            continue;
        }
        match name.as_str() {
            "step" => step = cell.trim().parse().ok(),
            "transaction_ts" => {
                fields.insert("transaction_date".into(), Value::String(cell.into()));
            }
            "source_version" => {
                let number = cell.trim().parse::<i64>().map(Value::from);
                fields.insert(name.clone(), number.unwrap_or_else(|_| Value::String(cell.into())));
            }
            _ => {
                fields.insert(name.clone(), Value::String(cell.into()));
            }
        }
    }
    (step, fields)
}

/// Whether the engine will take the message, as far as the message alone tells.
fn check(topic: Topic, value: &[u8]) -> Result<(), Rejection> {
    match topic {
        Topic::RawPortfolios => intake::portfolio(value).map(drop),
        Topic::Instruments => intake::instrument(value).map(drop),
        Topic::RawBusinessDates => intake::business_date(value).map(drop),
        Topic::FxRates => intake::exchange_rate(value).map(drop),
        Topic::MarketPrices => intake::market_price(value).map(drop),
        _ => intake::transaction(value).map(drop),
    }
}
