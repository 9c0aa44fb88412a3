//! The worked cases, fed to the binary: in steps against what is expected, then in shuffled orders
//! and with faults against what the steps came to.
//!
//! # Invariants
//! - A missing table, row or column fails the case: no expectation is skipped.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::tempdir;

use crate::support::{CsvRow, assert_same_tables, comparable_tables, feed, read_csv, same_value};

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

/// Asserts what is expected of a case; how many expectations that were.
pub(crate) fn assert_met(case: &Path, out: &Path) -> usize {
    let mut failures = Vec::new();
    let mut met = 0;
    for row in read_csv(&case.join("expected.csv")).expect("a case has expectations") {
        match check(out, &row) {
            Ok(()) => met += 1,
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
    assert!(met >= 59, "only {met} expectations");
}

/// Whether an expectation is met, and why not.
fn check(out: &Path, expectation: &CsvRow) -> Result<(), String> {
    let folder = match expectation["checkpoint"].strip_prefix("after_step_") {
        Some(step) => out.join(format!("step_{step}")),
        None => out.to_path_buf(),
    };
    let table = expectation["table"].as_str();
    let rows = match table {
        "api_positions" => Some(current_positions(&folder)?),
        _ => read_csv(&folder.join(format!("{table}.csv"))),
    };
    let rows = rows.ok_or("the table is missing")?;
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
            true => Ok(()),
            false => Err(format!("{count} rows")),
        };
    }
    let [row] = found.as_slice() else {
        return Err(format!("{} rows instead of one", found.len()));
    };
    let value = row.get(field).ok_or("no such column")?;
    match same_value(&expectation["value"], value) {
        true => Ok(()),
        false => Err(format!("found {value:?}")),
    }
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
    assert_eq!(checked("transactions", "T", "net_cost", "-8000.0"), Ok(()));
    assert!(checked("transactions", "T", "net_cost", "-8001").is_err());
    assert!(checked("transactions", "U", "net_cost", "-8000").is_err());
    assert!(checked("transactions", "T", "gross_cost", "1").is_err());
    assert_eq!(checked("position_history", "P|S|2025-01-01|epoch1", "quantity", "3"), Ok(()));
    assert_eq!(checked("api_positions", "P|S", "quantity", "3"), Ok(()));
    assert!(checked("api_positions", "P|S", "count", "2").is_err());
    assert!(checked("parked", "T", "reason", "NO_FX").is_err());
    assert!(checked("cashflows", "T", "amount", "1").is_err());
    assert!(checked("position_timeseries", "P|S|2025-01-01", "fees", "1").is_err());
}
