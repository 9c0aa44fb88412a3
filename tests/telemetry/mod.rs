//! Files for others' tools beside the recording, read by others: `latency.hlog` by HdrHistogram's
//! own reader, on Java, and `metrics.csv` as any CSV file. They say what the summary says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::tempdir;

use crate::services::jars;
use crate::support::{run, run_with};

/// Metrics by which the engine is watched, as its contract names them.
const METRICS: [&str; 18] = [
    "reprocessing_active_keys_total",
    "scheduler_gap_days_bucket",
    "epoch_mismatch_dropped_total",
    "reprocessing_epoch_bumped_total",
    "instrument_reprocessing_triggers_pending",
    "valuation_jobs_created_total",
    "valuation_jobs_completed_total",
    "valuation_jobs_failed_total",
    "valuation_jobs_superseded_total",
    "valuation_jobs_pending",
    "outbox_events_pending",
    "outbox_events_published_total",
    "parked_transactions",
    "kafka_messages_consumed_total",
    "snapshot_lag_seconds",
    "db_operation_latency_seconds_sum",
    "replay_rows_total",
    "watermark_resets_total",
];

fn scenario(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios").join(name);
    path.to_str().expect("paths of the repository are UTF-8").to_owned()
}

fn saved(name: &str, folder: &Path) {
    let folder = folder.to_str().expect("UTF-8");
    let ran = run(["run", &scenario(name), "--seed", "1", "--quiet", "--save", folder]);
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
}

fn summary(folder: &Path) -> Value {
    let text = fs::read_to_string(folder.join("summary.json")).expect("a run writes its summary");
    serde_json::from_str(&text).expect("a summary is JSON")
}

/// What HdrHistogram's reader makes of a log: its first line, and by tag count, median, 99 %,
/// 99.9 % and maximum.
fn read_log(log: &Path) -> (String, BTreeMap<String, Vec<u64>>) {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("telemetry/ReadLog.java");
    let mut java = Command::new("java");
    java.arg("-cp").arg(format!("{}/*", jars().display())).arg(program).arg(log);
    let output = java.output().expect("Java is there, as the broker's jars are");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", log.display());
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let (first, rest) = text.split_once('\n').expect("a line");
    let line = |line: &str| {
        let (tag, numbers) = line.split_once(' ').expect("a tag and numbers");
        let numbers = numbers.split(' ').map(|n| n.parse().expect("a number"));
        (tag.to_owned(), numbers.collect())
    };
    (first.to_owned(), rest.lines().map(line).collect())
}

/// The log holds what the summary says, hop by hop.
pub(crate) fn assert_same_latencies(folder: &Path) {
    let (_, found) = read_log(&folder.join("latency.hlog"));
    let summary = summary(folder);
    let hops = summary["latency_ms"].as_object().expect("latencies by hop");
    assert!(hops.len() >= 5, "{hops:?}");
    assert_eq!(hops.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>());
    for (hop, said) in hops {
        let micros = |name: &str| (said[name].as_f64().expect("a number") * 1_000.0).round() as u64;
        let count = said["count"].as_u64().expect("a count");
        let expected = [count, micros("p50"), micros("p99"), micros("p999"), micros("max")];
        assert_eq!(found[hop], expected, "{hop}");
    }
}

type Row = BTreeMap<String, String>;

fn rows(folder: &Path) -> Vec<Row> {
    let mut reader = csv::Reader::from_path(folder.join("metrics.csv")).expect("metrics");
    reader.deserialize().map(|row| row.expect("every row has all columns")).collect()
}

/// The sum of a metric's series at an instant.
fn sum<'a>(rows: impl IntoIterator<Item = &'a Row>, metric: &str) -> f64 {
    let series = rows.into_iter().filter(|row| row["metric"] == metric);
    series.map(|row| row["value"].parse::<f64>().expect("a number")).sum()
}

/// The table ends with what the summary says.
pub(crate) fn assert_same_counts(folder: &Path) {
    let (rows, summary) = (rows(folder), summary(folder));
    let instants: BTreeSet<&str> = rows.iter().map(|row| row["seconds"].as_str()).collect();
    let seconds = summary["sim_seconds"].as_f64().expect("a time");
    assert_eq!(instants.len() as f64, seconds.ceil(), "a row a second");
    let last = format!("{seconds:.6}");
    let last: Vec<&Row> = rows.iter().filter(|row| row["seconds"] == last).collect();
    let counter = |name: &str| summary["counters"][name].as_f64().expect("a counter");
    for (metric, expected) in [
        ("epoch_mismatch_dropped_total", counter("fenced")),
        ("valuation_jobs_created_total", counter("jobs_created")),
        ("replay_rows_total", counter("replay_rows")),
        ("reprocessing_active_keys_total", 0.0),
        ("outbox_events_pending", 0.0),
        ("valuation_jobs_pending", 0.0),
        ("snapshot_lag_seconds", 0.0),
    ] {
        assert_eq!(sum(last.iter().copied(), metric), expected, "{metric}");
    }
    for (metric, least) in [
        ("outbox_events_published_total", 1.0),
        ("kafka_messages_consumed_total", counter("inputs")),
    ] {
        let found = sum(last.iter().copied(), metric);
        assert!(found >= least, "{metric}: {found}");
    }
}

#[test]
fn the_reference_reader_finds_the_latencies_of_the_summary() {
    let folder = tempdir().expect("a folder");
    saved("chaos/collisions.toml", folder.path());
    assert_same_latencies(folder.path());
    let (first, _) = read_log(&folder.path().join("latency.hlog"));
    let end = summary(folder.path())["sim_seconds"].as_f64().expect("a time") * 1_000.0;
    let found = first.strip_prefix("start 0.000 end ").expect("it starts at 0");
    let found: f64 = found.parse().expect("a number");
    assert!(found > 0.0 && found <= end.ceil(), "{first}, the run ends at {end} ms");
}

#[test]
fn metrics_tell_the_whole_run_and_end_as_the_summary() {
    let folder = tempdir().expect("a folder");
    saved("chaos/collisions.toml", folder.path());
    assert_same_counts(folder.path());
    let rows = rows(folder.path());
    let names: BTreeSet<&str> = rows.iter().map(|row| row["metric"].as_str()).collect();
    let missing: Vec<&str> = METRICS.into_iter().filter(|name| !names.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?} are missing");
    let was_busy =
        |metric: &str| rows.iter().any(|row| row["metric"] == metric && row["value"] != "0");
    assert!(was_busy("reprocessing_active_keys_total") && was_busy("snapshot_lag_seconds"));
    let statement = rows.iter().find(|row| row["operation"] == "LockKeys").expect("statements");
    assert!(statement["metric"].starts_with("db_operation_latency_seconds"));
}

#[test]
fn equal_runs_write_equal_files_and_saving_changes_no_run() {
    let (one, other) = (tempdir().expect("a folder"), tempdir().expect("a folder"));
    let files = ["metrics.csv", "latency.hlog", "recording"];
    let read = |folder: &Path| files.map(|name| fs::read(folder.join(name)).expect("a file"));
    saved("chaos/collisions.toml", one.path());
    saved("chaos/collisions.toml", other.path());
    assert!(read(one.path()) == read(other.path()), "two runs of one seed differ in {files:?}");
    let file = scenario("chaos/collisions.toml");
    let unsaved = run(["run", &file, "--seed", "1", "--quiet", "--json", "-"]);
    let unsaved: Value = serde_json::from_str(&unsaved.stdout).expect("a summary is JSON");
    assert_eq!(unsaved["fingerprint"], summary(one.path())["fingerprint"]);
}

#[test]
fn a_feed_saves_the_same_files_beside_its_recording_and_none_among_its_tables() {
    let (out, save) = (tempdir().expect("a folder"), tempdir().expect("a folder"));
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/01_backdated_sell_reprocessing");
    let words = ["feed", "--quiet", "--seed", "1"].map(Into::into);
    let folders = [&case, Path::new("--out"), out.path(), Path::new("--save"), save.path()];
    let folders = folders.map(|path| path.as_os_str().to_owned());
    let ran = run(words.into_iter().chain(folders).collect::<Vec<std::ffi::OsString>>());
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    for name in ["metrics.csv", "latency.hlog", "recording"] {
        assert!(save.path().join(name).is_file(), "{name}");
        assert!(!out.path().join(name).exists(), "{name}");
    }
    let (_, hops) = read_log(&save.path().join("latency.hlog"));
    assert_eq!(hops["raw_to_stored"][0], 3, "{hops:?}");
}

#[test]
fn a_full_disk_is_told_once_and_leaves_no_half_file() {
    let folder = tempdir().expect("a folder");
    // Room for plan and recording; what is written last does not fit.
    let limit = "trap '' XFSZ; ulimit -f 400; exec \"$0\" \"$@\"";
    let binary = crate::support::binary();
    let mut bash = Command::new("bash");
    bash.arg("-c").arg(limit).arg(binary).args(["run", &scenario("smoke/herd_small.toml")]);
    bash.args(["--seed", "1", "--quiet", "--save"]).arg(folder.path());
    let output = bash.output().expect("bash is there");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("File too large") && said.contains("choose another --save"), "{said}");
    let half: Vec<_> = fs::read_dir(folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| !["plan.toml", "tables"].map(Into::into).contains(name))
        .collect();
    assert!(half.is_empty(), "{half:?}");
}

#[test]
fn list_names_the_metrics_of_the_engine() {
    let ran = run_with(&[], ["list", "--json"]);
    let listing: Value = serde_json::from_str(&ran.stdout).expect("a listing is JSON");
    let entries = listing["engine_metrics"].as_array().expect("a list");
    let names: BTreeSet<&str> = entries.iter().map(|e| e.as_str().expect("a name")).collect();
    for metric in METRICS {
        let family = metric.trim_end_matches("_bucket").trim_end_matches("_sum");
        assert!(names.contains(family), "{family} is not in {names:?}");
    }
}
