//! A synthetic folder, fed to the binary in steps, in shuffled orders and with faults: every table
//! equals what the naive model computes from the same inputs.
//!
//! `BACKDATE_SYNTHETIC_SIZE=full` feeds 20 portfolios, 50 securities and 5,000 transactions over
//! 120 business days; a build without optimisation feeds less.
//!
//! # Invariants
//! - Every row of the model is in the tables, every row of the tables is in the model.
//! - Numbers differ by at most 1e-8, everything else not at all.

use std::collections::BTreeMap;
use std::path::Path;

use backdate::oracle::model::{Model, Tables};
use backdate_engine::domain::ids::TransactionId;
use backdate_engine::domain::money::Amount;
use backdate_engine::domain::records::ParkReason;
use tempfile::tempdir;

use crate::support::{feed, read_csv, same_value, variable};
use crate::synthetic::{Size, generate, messages};

const SHUFFLED_ORDERS: u64 = 10;
const SWARMS: u64 = 3;
const SEED: u64 = 20_100_104;

/// Cells by key: table, key columns -> other columns.
type Cells = BTreeMap<String, BTreeMap<String, String>>;

#[test]
fn a_synthetic_folder_comes_to_the_tables_of_the_naive_model() {
    let size = match variable("BACKDATE_SYNTHETIC_SIZE").as_deref() {
        None => Size::MODERATE,
        Some("full") => Size::FULL,
        Some(other) => panic!("BACKDATE_SYNTHETIC_SIZE is {other:?}; it may be full or absent"),
    };
    let inputs = tempdir().expect("a temporary folder can be made");
    generate(SEED, size, inputs.path());
    let (model, expected) = modelled(inputs.path());
    let mut orders: Vec<Vec<String>> = vec![vec!["--seed".into(), "1".into()]];
    orders.extend((1..=SHUFFLED_ORDERS).map(|seed| options(seed, &["--order", "shuffled"])));
    orders.extend(
        (1..=SWARMS).map(|seed| options(seed, &["--order", "shuffled", "--faults", "swarm"])),
    );
    for order in orders {
        let out = tempdir().expect("a temporary folder can be made");
        let order: Vec<&str> = order.iter().map(String::as_str).collect();
        feed(inputs.path(), out.path(), &order);
        let mut differences = Vec::new();
        for (table, cells) in tables_of(&model, &expected) {
            compare(table, &cells, &read(out.path(), table), &mut differences);
        }
        let count = differences.len();
        differences.truncate(30);
        let shown = differences.join("\n");
        if count > 0 {
            let kept = inputs.keep();
            let order = order.join(" ");
            panic!("{count} differences after\n  feed {} {order}\n{shown}", kept.display());
        }
    }
}

fn options(seed: u64, more: &[&str]) -> Vec<String> {
    let mut options = vec!["--seed".to_owned(), seed.to_string()];
    options.extend(more.iter().map(|option| (*option).to_owned()));
    options
}

/// What the naive model makes of a folder.
fn modelled(folder: &Path) -> (Model, Tables) {
    let mut model = Model::default();
    for message in messages(folder) {
        model.take(message.topic, &message.key, message.value.as_bytes());
    }
    let tables = model.tables();
    (model, tables)
}

/// Every reason to park, every status, rejections of every kind.
#[test]
fn the_synthetic_folder_holds_what_it_is_about() {
    let inputs = tempdir().expect("a temporary folder can be made");
    generate(SEED, Size::MODERATE, inputs.path());
    let (_, tables) = modelled(inputs.path());
    let mut reasons: Vec<ParkReason> = tables.parked.values().copied().collect();
    reasons.sort_unstable();
    reasons.dedup();
    assert_eq!(reasons.len(), ParkReason::ALL.len(), "reasons to park: {reasons:?}");
    let mut statuses: Vec<&str> = tables.snapshots.values().map(|s| s.status.as_str()).collect();
    statuses.sort_unstable();
    statuses.dedup();
    assert_eq!(statuses.len(), 4, "{statuses:?}");
    let mut errors: Vec<&str> = tables.dead_letters.iter().map(|letter| letter.error).collect();
    errors.sort_unstable();
    errors.dedup();
    assert!(errors.len() >= 9, "kinds of rejections: {errors:?}");
    assert!(!tables.waiting.is_empty(), "no key waits for its instrument");
    assert!(tables.costs.len() > tables.parked.len(), "most transactions are parked");
}

/// The tables as `feed` must write them, by their key columns.
fn tables_of(model: &Model, tables: &Tables) -> Vec<(&'static str, Cells)> {
    vec![
        ("position_state", position_state(tables)),
        ("transactions", transactions(model, tables)),
        ("position_history", position_history(tables)),
        ("daily_position_snapshots", snapshots(tables)),
        ("cashflows", cashflows(tables)),
        ("position_timeseries", position_series(tables)),
        ("portfolio_timeseries", portfolio_series(tables)),
        ("parked", parked(tables)),
        ("dead_letters", dead_letters(tables)),
    ]
}

/// Number of key columns of a table.
fn key_columns(table: &str) -> usize {
    match table {
        "position_state" | "portfolio_timeseries" => 2,
        "position_history" | "daily_position_snapshots" | "position_timeseries" => 3,
        "dead_letters" => 4,
        _ => 1,
    }
}

fn row<const N: usize>(cells: [(&str, String); N]) -> BTreeMap<String, String> {
    cells.into_iter().map(|(column, cell)| (column.to_owned(), cell)).collect()
}

fn cell(amount: Option<Amount>) -> String {
    amount.map_or_else(String::new, |amount| amount.to_string())
}

fn position_state(tables: &Tables) -> Cells {
    let mut cells = Cells::new();
    for (key, watermark) in &tables.position_state {
        let is_waiting = tables.waiting.contains(key);
        let mut expected = BTreeMap::new();
        // A key that waits rests as it is, and where that is depends on the order of arrival.
        if let Some(watermark) = watermark.filter(|_| !is_waiting) {
            let current = [("watermark_date", watermark.to_string()), ("status", "CURRENT".into())];
            expected = row(current);
        }
        cells.insert(format!("{}|{}", key.portfolio_id, key.security_id), expected);
    }
    cells
}

fn transactions(model: &Model, tables: &Tables) -> Cells {
    let ids = tables.costs.keys().chain(tables.parked.keys());
    ids.map(|id| (id.to_string(), transaction(model, tables, id))).collect()
}

fn transaction(model: &Model, tables: &Tables, id: &TransactionId) -> BTreeMap<String, String> {
    let content = &model.inputs.transaction(id).expect("a folded transaction is an input");
    let content = &content.transaction;
    let costs = tables.costs.get(id);
    row([
        ("portfolio_id", content.key.portfolio_id.to_string()),
        ("security_id", content.key.security_id.to_string()),
        ("transaction_date", content.terms.at.to_string()),
        ("transaction_type", content.terms.kind.to_string()),
        ("quantity", content.terms.quantity.to_string()),
        ("price", content.terms.price.to_string()),
        ("gross_transaction_amount", content.terms.gross.to_string()),
        ("trade_fee", content.terms.fee.to_string()),
        ("trade_currency", content.terms.trade_currency.to_string()),
        ("currency", content.terms.currency.to_string()),
        ("gross_cost", cell(costs.map(|c| c.gross_cost))),
        ("net_cost", cell(costs.map(|c| c.net_cost))),
        ("net_cost_local", cell(costs.map(|c| c.net_cost_local))),
        ("realized_gain_loss", cell(costs.and_then(|c| c.realized_gain_loss))),
        ("realized_gain_loss_local", cell(costs.and_then(|c| c.realized_gain_loss_local))),
        ("transaction_fx_rate", cell(costs.map(|c| c.transaction_fx_rate))),
    ])
}

fn position_history(tables: &Tables) -> Cells {
    let mut cells = Cells::new();
    for ((key, place), position) in &tables.position_history {
        let id = &place.transaction_id;
        let expected = row([
            ("position_date", place.date().to_string()),
            ("quantity", position.quantity.to_string()),
            ("cost_basis", position.cost_basis.to_string()),
            ("cost_basis_local", position.cost_basis_local.to_string()),
        ]);
        cells.insert(format!("{}|{}|{id}", key.portfolio_id, key.security_id), expected);
    }
    cells
}

fn snapshots(tables: &Tables) -> Cells {
    let mut cells = Cells::new();
    for ((key, date), snapshot) in &tables.snapshots {
        let values = snapshot.values;
        let expected = row([
            ("quantity", snapshot.position.quantity.to_string()),
            ("cost_basis", snapshot.position.cost_basis.to_string()),
            ("cost_basis_local", snapshot.position.cost_basis_local.to_string()),
            ("market_price", cell(snapshot.market_price)),
            ("market_value", cell(values.map(|v| v.market_value))),
            ("market_value_local", cell(values.map(|v| v.market_value_local))),
            ("unrealized_gain_loss", cell(values.map(|v| v.unrealized_gain_loss))),
            ("unrealized_gain_loss_local", cell(values.map(|v| v.unrealized_gain_loss_local))),
            ("valuation_status", snapshot.status.to_string()),
        ]);
        cells.insert(format!("{}|{}|{date}", key.portfolio_id, key.security_id), expected);
    }
    cells
}

fn cashflows(tables: &Tables) -> Cells {
    let flows = tables.cashflows.iter().map(|((key, place), flow)| {
        let expected = row([
            ("portfolio_id", key.portfolio_id.to_string()),
            ("security_id", key.security_id.to_string()),
            ("cashflow_date", place.date().to_string()),
            ("amount", flow.amount.to_string()),
            ("currency", flow.currency.to_string()),
            ("classification", flow.classification.to_string()),
            ("timing", flow.timing.to_string()),
            ("is_position_flow", flow.is_position_flow.to_string()),
            ("is_portfolio_flow", flow.is_portfolio_flow.to_string()),
            ("calculation_type", "NET".to_owned()),
        ]);
        (place.transaction_id.to_string(), expected)
    });
    flows.collect()
}

fn position_series(tables: &Tables) -> Cells {
    let rows = tables.position_series.iter().map(|((key, date), series)| {
        let expected = row([
            ("bod_market_value", series.bod_market_value.to_string()),
            ("bod_cashflow_position", series.bod_cashflow_position.to_string()),
            ("eod_cashflow_position", series.eod_cashflow_position.to_string()),
            ("bod_cashflow_portfolio", series.bod_cashflow_portfolio.to_string()),
            ("eod_cashflow_portfolio", series.eod_cashflow_portfolio.to_string()),
            ("eod_market_value", series.eod_market_value.to_string()),
            ("fees", series.fees.to_string()),
            ("quantity", series.quantity.to_string()),
            ("cost", cell(series.cost)),
        ]);
        (format!("{}|{}|{date}", key.portfolio_id, key.security_id), expected)
    });
    rows.collect()
}

fn portfolio_series(tables: &Tables) -> Cells {
    let rows = tables.portfolio_series.iter().map(|((id, date), series)| {
        let expected = row([
            ("bod_market_value", series.bod_market_value.to_string()),
            ("bod_cashflow", series.bod_cashflow.to_string()),
            ("eod_cashflow", series.eod_cashflow.to_string()),
            ("eod_market_value", series.eod_market_value.to_string()),
            ("fees", series.fees.to_string()),
        ]);
        (format!("{id}|{date}"), expected)
    });
    rows.collect()
}

fn parked(tables: &Tables) -> Cells {
    let parked = tables.parked.iter();
    parked.map(|(id, reason)| (id.to_string(), row([("reason", reason.to_string())]))).collect()
}

fn dead_letters(tables: &Tables) -> Cells {
    let letters = tables.dead_letters.iter().map(|letter| {
        let value = String::from_utf8_lossy(&letter.value);
        let key = format!("{}|{}|{value}|{}", letter.topic, letter.key, letter.error);
        (key, BTreeMap::new())
    });
    letters.collect()
}

/// A table that was written, by its key columns.
fn read(out: &Path, table: &str) -> Cells {
    let path = out.join(format!("{table}.csv"));
    let header = csv::Reader::from_path(&path)
        .and_then(|mut reader| reader.headers().cloned())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let rows = read_csv(&path).expect("the file was just opened");
    let key_columns: Vec<&str> = header.iter().take(key_columns(table)).collect();
    let key_of = |row: &BTreeMap<String, String>| {
        key_columns.iter().map(|column| row[*column].as_str()).collect::<Vec<_>>().join("|")
    };
    let mut cells = Cells::new();
    for row in rows {
        let key = key_of(&row);
        // A second row of one key is one that should not be there.
        let is_second = cells.contains_key(&key);
        cells.insert(if is_second { format!("{key} (a second time)") } else { key }, row);
    }
    cells
}

fn compare(table: &str, expected: &Cells, found: &Cells, differences: &mut Vec<String>) {
    for (key, cells) in expected {
        let Some(row) = found.get(key) else {
            differences.push(format!("{table}: {key} is missing"));
            continue;
        };
        for (column, cell) in cells {
            let found = row.get(column).map_or("(no such column)", String::as_str);
            if !same_value(cell, found) {
                let what = format!("{table}: {key}: {column} is {found:?}, expected {cell:?}");
                differences.push(what);
            }
        }
    }
    let extra = found.keys().filter(|key| !expected.contains_key(*key));
    differences.extend(extra.map(|key| format!("{table}: {key} should not be there")));
}

#[test]
fn each_kind_of_difference_is_seen() {
    let cells = |keys: &[(&str, &str)]| -> Cells {
        keys.iter().map(|(key, cell)| (key.to_string(), row([("a", cell.to_string())]))).collect()
    };
    let mut differences = Vec::new();
    let expected = cells(&[("1", "5"), ("2", "x"), ("3", "")]);
    compare("t", &expected, &cells(&[("1", "5.0"), ("2", "y"), ("4", "")]), &mut differences);
    let lines = ["t: 2: a is \"y\", expected \"x\"", "t: 3 is missing", "t: 4 should not be there"];
    assert_eq!(differences, lines);
}
