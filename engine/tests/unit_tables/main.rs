//! The worked tables of single calculations, each row held against the rules.
//!
//! The tables in `testdata/unit_*` come from outside and are read as they are. A row that nobody
//! understands fails: no condition is skipped.

mod costs;
mod flows;
mod series;
mod values;

use std::collections::BTreeMap;

use backdate_engine::domain::money::Amount;

pub(crate) type Row = BTreeMap<String, String>;

pub(crate) fn table(path: &str) -> Vec<Row> {
    let path = format!("{}/testdata/{path}", env!("CARGO_MANIFEST_DIR"));
    let mut reader = csv::Reader::from_path(&path).expect("the table is there");
    let rows: Vec<Row> =
        reader.deserialize().map(|row| row.expect("a row has all columns")).collect();
    assert!(!rows.is_empty(), "{path} has rows");
    rows
}

pub(crate) fn number(text: &str) -> Amount {
    Amount::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

pub(crate) fn number_or(text: &str, default: Amount) -> Amount {
    if text.is_empty() { default } else { number(text) }
}

pub(crate) fn optional(text: &str) -> Option<Amount> {
    (text != "null").then(|| number(text))
}
