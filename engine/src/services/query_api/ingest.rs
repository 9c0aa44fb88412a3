//! `POST /portfolios` and its likes: inputs, checked as a whole and then put on their raw topic.
//!
//! A body is taken or refused as a whole: if one row of it cannot be accepted, none is published,
//! and the answer says which are wrong. What is published travels as from any other source, so it
//! may be sent again after an answer that was lost: an equal content changes nothing.

use std::rc::Rc;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use smol_str::{SmolStr, format_smolstr};

use super::Api;
use super::answer::{Answer, Reply};
use super::asked::{Asked, Media};
use super::problem::{Problem, RowError};
use crate::domain::intake;
use crate::ports::Ports;
use crate::ports::host::Host as _;
use crate::ports::log::{Headers, NewRecord, Topic};

/// Rows of a body.
const ROWS_MAX: usize = 10_000;
/// Bytes of a row: a broker takes a megabyte.
const ROW_MAX: usize = 64 * 1024;
/// Code of a row that is longer.
const ROW_TOO_LARGE: &str = "ROW_TOO_LARGE";

/// Bytes of the names of a table's columns, at most.
const HEADER_MAX: usize = 4 * 1024;

/// What was taken.
#[derive(Serialize)]
struct Taken<'a> {
    accepted: usize,
    correlation_id: &'a str,
}

/// Answers what an accepted request comes to.
pub(super) fn taken(accepted: usize, correlation_id: &str) -> Answer {
    Answer::accepted(&Taken { accepted, correlation_id })
}

/// Takes records of a topic.
pub(super) async fn take<P: Ports>(api: Rc<Api<P>>, asked: Asked, topic: Topic) -> Reply {
    let rows = match asked.media()? {
        Media::Json => json_rows(asked.body())?,
        Media::Csv => csv_rows(asked.body())?,
    };
    let (mut records, mut errors) = (Vec::new(), Vec::new());
    for (number, row) in (1..).zip(rows) {
        let key = match row.len() > ROW_MAX {
            true => Err(ROW_TOO_LARGE),
            false => key_of(topic, row.as_bytes()).map_err(intake::Rejection::as_str),
        };
        match key {
            Ok(key) => records.push(api.record(topic, key, row, asked.correlation_id())),
            Err(code) => errors.push(RowError { row: number, code }),
        }
    }
    if !errors.is_empty() {
        return Err(Problem::InvalidRows(errors));
    }
    let accepted = records.len();
    api.publish(&asked, records).await?;
    Ok(taken(accepted, asked.correlation_id()))
}

impl<P: Ports> Api<P> {
    /// A record that this instance sends for a client.
    pub(super) fn record(
        &self,
        topic: Topic,
        key: SmolStr,
        value: String,
        correlation_id: &str,
    ) -> NewRecord {
        let producer = Some(self.instance.ports.host().instance().into());
        let headers = Headers { correlation_id: Some(correlation_id.into()), producer };
        NewRecord { topic, key, value: value.into_bytes(), headers }
    }
}

/// Reads a row as the engine will; the key that it is published under.
fn key_of(topic: Topic, row: &[u8]) -> Result<SmolStr, intake::Rejection> {
    Ok(match topic {
        Topic::RawPortfolios => intake::portfolio(row)?.content.portfolio_id.as_str().into(),
        Topic::Instruments => intake::instrument(row)?.content.security_id.as_str().into(),
        Topic::RawBusinessDates => intake::business_date(row)?.content.calendar_code,
        Topic::MarketPrices => intake::market_price(row)?.content.security_id.as_str().into(),
        Topic::FxRates => {
            let rate = intake::exchange_rate(row)?.content;
            format_smolstr!("{}/{}", rate.from_currency, rate.to_currency)
        }
        _ => intake::transaction(row)?.content.key.portfolio_id.as_str().into(),
    })
}

/// The rows of a JSON array, as they were written: numbers stay exact.
fn json_rows(body: &[u8]) -> Result<Vec<String>, Problem> {
    let malformed = |_| Problem::MalformedBody("must be a JSON array of objects");
    let rows: Vec<&RawValue> = serde_json::from_slice(body).map_err(malformed)?;
    if rows.len() > ROWS_MAX {
        return Err(Problem::TooManyRows);
    }
    Ok(rows.into_iter().map(|row| row.get().to_owned()).collect())
}

/// The rows of a CSV body as JSON objects; an empty cell is absent.
fn csv_rows(body: &[u8]) -> Result<Vec<String>, Problem> {
    let malformed = |_| Problem::MalformedBody("must be CSV in UTF-8 with a header");
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(body);
    let header = reader.headers().map_err(malformed)?;
    // Each row repeats the names, so that a long one would be multiplied by the number of rows.
    if header.as_slice().len() > HEADER_MAX {
        return Err(Problem::MalformedBody("has a header of more than 4 KiB"));
    }
    let header: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
    let mut rows = Vec::new();
    for row in reader.records() {
        let row = row.map_err(malformed)?;
        if row.len() > header.len() {
            return Err(Problem::MalformedBody("has a row with more cells than the header"));
        }
        if rows.len() == ROWS_MAX {
            return Err(Problem::TooManyRows);
        }
        rows.push(Value::Object(object(&header, &row)).to_string());
    }
    Ok(rows)
}

fn object(header: &[String], row: &csv::StringRecord) -> Map<String, Value> {
    let cells = header.iter().zip(row).filter(|(_, cell)| !cell.is_empty());
    let fields = cells.filter_map(|(name, cell)| match name.as_str() {
        // Of a feed that comes in steps; whoever posts decides when.
        "step" => None,
        "transaction_ts" => Some(("transaction_date".to_owned(), cell.into())),
        "source_version" => {
            let number = cell.trim().parse::<i64>().map(Value::from);
            Some((name.clone(), number.unwrap_or_else(|_| cell.into())))
        }
        _ => Some((name.clone(), cell.into())),
    });
    fields.collect()
}

#[test]
fn a_table_says_what_the_objects_say() {
    let rows = csv_rows(
        b"step,security_id,price_date,price,currency,source_version\n\
        1,S,2025-01-02,1.10,EUR,7\n,S,2025-01-03,2,EUR,\n",
    );
    let rows = rows.expect("a table");
    assert_eq!(rows.len(), 2);
    assert_eq!(key_of(Topic::MarketPrices, rows[0].as_bytes()), Ok("S".into()));
    let price = intake::market_price(rows[0].as_bytes()).expect("a price");
    assert_eq!((price.source_version, price.content.price.to_string()), (7, "1.1".to_owned()));
    assert!(csv_rows(b"a\n1,2\n").is_err() && csv_rows(b"a\n\xff\n").is_err());
    assert!(csv_rows(&[&[b'a'; HEADER_MAX + 1][..], b"\n1\n"].concat()).is_err());
}

#[test]
fn numbers_stay_as_they_were_written() {
    let rows = json_rows(br#"[{"price": 0.10000000000000000001}]"#).expect("an array");
    assert_eq!(rows, [r#"{"price": 0.10000000000000000001}"#]);
    assert!(json_rows(b"{}").is_err() && json_rows(b"[").is_err());
}
