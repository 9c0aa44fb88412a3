//! The worked cases, fed to the binary: in steps against what is expected, then in shuffled orders
//! and with faults against what the steps came to.
//!
//! # Invariants
//! - A table that `feed` does not write is skipped by name, and only if it is known to be of a
//!   process that does not exist yet; any other missing table, row or column fails the case.

use std::fs;
use std::path::{Path, PathBuf};

use backdate_engine::domain::money::Amount;
use tempfile::tempdir;

use crate::support::{CsvRow, assert_same_tables, comparable_tables, feed, read_csv, same_value};

/// Tables of processes that the engine does not have yet.
const LATER_TABLES: &[&str] = &["position_timeseries", "portfolio_timeseries"];

const SHUFFLED_ORDERS: u64 = 4;
const SWARMS: u64 = 4;

/// Columns of the key of each table; what an expectation's key says beyond them is an epoch.
fn key_columns(table: &str) -> &'static [&'static str] {
    match table {
        "transactions" | "cashflows" => &["transaction_id"],
        "position_state" => &["portfolio_id", "security_id"],
        "position_history" => &["portfolio_id", "security_id", "position_date"],
        "portfolio_timeseries" => &["portfolio_id", "date"],
        _ => &["portfolio_id", "security_id", "date"],
    }
}

pub(crate) fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the cases are there")
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort();
    assert_eq!(cases.len(), 5, "{cases:?}");
    cases
}

pub(crate) fn name(case: &Path) -> String {
    case.file_name().expect("a case has a name").to_string_lossy().into_owned()
}

/// Asserts what is expected of a case; how many expectations are met, the others being of tables
/// that do not exist yet.
pub(crate) fn assert_met(case: &Path, out: &Path) -> usize {
    let mut failures = Vec::new();
    let mut met = 0;
    for row in read_csv(&case.join("expected.csv")).expect("a case has expectations") {
        match check(out, &row) {
            Ok(is_met) => met += usize::from(is_met),
            Err(why) => failures.push(format!("{}: {row:?}: {why}", name(case))),
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    met
}

#[test]
fn each_case_meets_its_expectations() {
    let mut met = 0;
    for case in cases() {
        let out = tempdir().expect("a temporary folder can be made");
        feed(&case, out.path(), &["--seed", "1"]);
        met += assert_met(&case, out.path());
    }
    assert!(met >= 45, "only {met} expectations were met, the others skipped");
}

/// Whether an expectation is met; false if it is of a table that does not exist yet.
fn check(out: &Path, expectation: &CsvRow) -> Result<bool, String> {
    let folder = match expectation["checkpoint"].strip_prefix("after_step_") {
        Some(step) => out.join(format!("step_{step}")),
        None => out.to_path_buf(),
    };
    let table = expectation["table"].as_str();
    let rows = match table {
        "api_positions" => Some(current_positions(&folder)?),
        _ => read_csv(&folder.join(format!("{table}.csv"))),
    };
    let Some(rows) = rows else {
        if !LATER_TABLES.contains(&table) {
            return Err("the table is missing".into());
        }
        return match value_of_snapshots(&folder, expectation)? {
            Some(value) if same_value(&expectation["value"], &value) => Ok(true),
            Some(value) => Err(format!("the snapshots come to {value}")),
            None => Ok(false),
        };
    };
    let columns = match table {
        "api_positions" => &["portfolio_id", "security_id"],
        _ => key_columns(table),
    };
    let key: Vec<&str> = expectation["key"].split('|').take(columns.len()).collect();
    let matches = |row: &&CsvRow| columns.iter().zip(&key).all(|(c, k)| row[*c] == *k);
    let found: Vec<&CsvRow> = rows.iter().filter(matches).collect();
    let field = expectation["field"].as_str();
    if field == "count" {
        let count = found.len().to_string();
        return match same_value(&expectation["value"], &count) {
            true => Ok(true),
            false => Err(format!("{count} rows")),
        };
    }
    let [row] = found.as_slice() else {
        return Err(format!("{} rows instead of one", found.len()));
    };
    let value = row.get(field).ok_or("no such column")?;
    match same_value(&expectation["value"], value) {
        true => Ok(true),
        false => Err(format!("found {value:?}")),
    }
}

/// The end-of-day value of a series that does not exist yet, from the snapshots that it will be
/// made of: one of them, in the instrument's currency, or the sum of a portfolio, in base currency.
fn value_of_snapshots(folder: &Path, expectation: &CsvRow) -> Result<Option<String>, String> {
    if expectation["field"] != "eod_market_value" {
        return Ok(None);
    }
    let (columns, field): (&[&str], _) = match expectation["table"].as_str() {
        "position_timeseries" => (&["portfolio_id", "security_id", "date"], "market_value_local"),
        _ => (&["portfolio_id", "date"], "market_value"),
    };
    let path = folder.join("daily_position_snapshots.csv");
    let snapshots = read_csv(&path).ok_or("daily_position_snapshots is missing")?;
    let key: Vec<&str> = expectation["key"].split('|').take(columns.len()).collect();
    let matches = |row: &&CsvRow| columns.iter().zip(&key).all(|(c, k)| row[*c] == *k);
    let values = snapshots.iter().filter(matches).filter_map(|row| Amount::parse(&row[field]).ok());
    let raw: i128 = values.map(Amount::raw).sum();
    Ok(Some(Amount::from_raw(raw).to_string()))
}

/// What a reader of positions is answered: the latest snapshot of each key, or its latest history
/// where there is no snapshot yet; quantity 0 is left out.
fn current_positions(folder: &Path) -> Result<Vec<CsvRow>, String> {
    let read = |table: &str| {
        read_csv(&folder.join(format!("{table}.csv"))).ok_or(format!("{table} is missing"))
    };
    let snapshots = read("daily_position_snapshots")?;
    let history = read("position_history")?;
    let mut positions = Vec::new();
    for state in read("position_state")? {
        let is_of_key = |row: &&CsvRow| {
            ["portfolio_id", "security_id"].iter().all(|column| row[*column] == state[*column])
        };
        let latest_snapshot = snapshots.iter().filter(is_of_key).max_by_key(|row| &row["date"]);
        let latest_history = history.iter().filter(is_of_key).max_by_key(|r| &r["position_date"]);
        if let Some(row) = latest_snapshot.or(latest_history).filter(|row| row["quantity"] != "0") {
            positions.push(row.clone());
        }
    }
    Ok(positions)
}

#[test]
fn any_order_and_any_faults_come_to_the_same_tables() {
    for case in cases() {
        let steps = tempdir().expect("a temporary folder can be made");
        feed(&case, steps.path(), &["--seed", "1"]);
        let expected = comparable_tables(steps.path());
        let run = |seed: u64, options: &[&str]| {
            let out = tempdir().expect("a temporary folder can be made");
            let seed = seed.to_string();
            let options = [&["--seed", seed.as_str()], options].concat();
            feed(&case, out.path(), &options);
            let what = format!("{}: {}", name(&case), options.join(" "));
            assert_same_tables(&expected, &comparable_tables(out.path()), &what);
        };
        for seed in 1..=SHUFFLED_ORDERS {
            run(seed, &["--order", "shuffled"]);
        }
        for seed in 1..=SWARMS {
            run(seed, &["--faults", "swarm"]);
            run(seed, &["--order", "shuffled", "--faults", "swarm"]);
        }
    }
}

#[test]
fn an_expectation_that_is_not_met_is_seen() {
    let out = tempdir().expect("a temporary folder can be made");
    let write = |table: &str, text: &str| {
        fs::write(out.path().join(format!("{table}.csv")), text).expect("writable");
    };
    write("transactions", "transaction_id,net_cost\nT,-8000\n");
    write("position_state", "portfolio_id,security_id,epoch\nP,S,1\n");
    write(
        "position_history",
        "portfolio_id,security_id,position_date,quantity\nP,S,2025-01-01,3\n",
    );
    write("daily_position_snapshots", "portfolio_id,security_id,date,quantity\n");
    let checked = |table: &str, key: &str, field: &str, value: &str| {
        let cells = [("checkpoint", "quiescent"), ("table", table), ("key", key), ("field", field)];
        let cells = cells.into_iter().chain([("value", value)]);
        check(out.path(), &cells.map(|(name, cell)| (name.into(), cell.into())).collect())
    };
    assert_eq!(checked("transactions", "T", "net_cost", "-8000.0"), Ok(true));
    assert!(checked("transactions", "T", "net_cost", "-8001").is_err());
    assert!(checked("transactions", "U", "net_cost", "-8000").is_err());
    assert!(checked("transactions", "T", "gross_cost", "1").is_err());
    assert_eq!(checked("position_history", "P|S|2025-01-01|epoch1", "quantity", "3"), Ok(true));
    assert_eq!(checked("api_positions", "P|S", "quantity", "3"), Ok(true));
    assert!(checked("api_positions", "P|S", "count", "2").is_err());
    assert!(checked("parked", "T", "reason", "NO_FX").is_err());
    assert!(checked("cashflows", "T", "amount", "1").is_err());
    assert_eq!(checked("position_timeseries", "P|S|2025-01-01", "fees", "1"), Ok(false));
}
