//! Parity: every scenario that runs on real services ends with the same tables in the simulator and
//! on a real Kafka and a real PostgreSQL.
//!
//! What a scenario sends is fixed by its file and the seed before the run begins, and what two
//! messages of one identity come to is fixed by their versions. So all of them have fixed input,
//! and neither the speed of a machine nor a fault may change a byte of what comes out. Each is run
//! on both with the same overrides: in small, and on real services in less time than it says.
//! What depends on speed (thresholds, and what must have happened) is left to the scenario itself.
//!
//! # Invariants
//! - A shipped scenario that says it runs on real services is compared; there is no list of
//!   exceptions.
//! - Tables without rows are no result; the same faults were injected on both.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::tempdir;

use crate::services::{Private, Services};
use crate::support::{assert_same_tables, comparable_tables, run_with};

/// One test for each scenario: file, divisor of its times on real services, where it runs, and
/// what is overridden on both sides; and how often the real run must have seen something.
macro_rules! scenarios {
    ($($test:ident: $file:literal / $hurry:literal, $site:expr, [$($set:expr),* $(,)?]
        $(, seeing [$($figure:literal: $often:expr),*])?;)+) => {
        /// All that are compared.
        const COMPARED: &[&str] = &[$($file),+];

        $(
            #[test]
            fn $test() {
                let real = compare($file, $hurry, $site, &[$($set),*]);
                assert_seen(&real, &[$($(($figure, $often)),*)?]);
            }
        )+
    };
}

/// Which servers a real run may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Site {
    /// Those that all tests share.
    Shared,
    /// Servers that may be killed.
    Private,
}

use Site::{Private as Killed, Shared};

scenarios! {
    steady: "smoke/steady.toml" / "6", Shared, ["workload.live.rate_per_second=10"];
    herd_small: "smoke/herd_small.toml" / "4", Shared, [],
        seeing ["/counters/dates_revalued": 4_200..=u64::MAX];
    thundering_herd: "load/thundering_herd.toml" / "12", Shared,
        ["workload.portfolios.count=60", "workload.live.rate_per_second=5"];
    // A dozen transactions of each key in three seconds: history is rebuilt again and again.
    bulk_backfill: "load/bulk_backfill.toml" / "12", Shared,
        ["workload.portfolios.count=20", "workload.data.business_days=20"],
        seeing ["/counters/epochs": 20..=u64::MAX];
    late_fx_feed: "load/late_fx_feed.toml" / "4", Shared,
        ["workload.portfolios.count=30", "workload.live.rate_per_second=5"];
    hot_key: "load/hot_key.toml" / "4", Shared,
        ["workload.portfolios.count=10", "workload.live.rate_per_second=10"];
    new_day_slow_valuer: "consistency/new_day_slow_valuer.toml" / "4", Shared, [];
    price_races_valuation: "consistency/price_races_valuation.toml" / "2", Shared, [];
    late_instrument: "consistency/late_instrument.toml" / "2", Shared, [];
    zombie_consumer: "consistency/zombie_consumer.toml" / "4", Shared, [];
    rapid_back_to_back: "consistency/rapid_back_to_back.toml" / "2", Shared, [];
    split_brain_producer: "consistency/split_brain_producer.toml" / "4", Shared, [];
    // A machine has one clock for all: of its faults, all but the wrong clock.
    two_schedulers: "consistency/two_schedulers.toml" / "3", Shared, [
        r#"on=["sim","real"]"#,
        r#"faults=[
            {kind="crash",process="valuation-scheduler-2",at="0s",down="3s"},
            {kind="pause",process="valuation-scheduler-1",at="4s",lasts="2500ms"},
            {kind="pause",process="valuation-scheduler",at="drawn",lasts="2s",repeat=2}]"#,
    ];
    kills: "recovery/kills.toml" / "2", Shared, [],
        seeing ["/faults/session_kill": 6..=6, "/counters/crashes": 2..=u64::MAX];
    // Every point once.
    mid_replay_crash: "recovery/mid_replay_crash.toml" / "5", Shared, ["faults[0].passes=[2]"];
    server_crash: "recovery/server_crash.toml" / "2", Killed, [];
    // A minute for the hour.
    stuck_consumer: "recovery/stuck_consumer.toml" / "10", Shared, [
        r#"phases.storm="61s""#,
        r#"faults[0].down="50s""#,
        r#"workload.price_corrections[0].at="20s""#,
        r#"workload.next_dates[0].at="30s""#,
        r#"workload.readers.every="1s""#,
        "workload.live.rate_per_second=5",
    ];
    torture: "recovery/torture.toml" / "20", Killed, [
        "workload.portfolios.count=8",
        "workload.live.rate_per_second=1",
        "faults[0].repeat=12",
        "faults[1].repeat=3",
        "faults[2].repeat=8",
        "faults[3].repeat=4",
    ];
}

/// Tables that no scenario leaves empty.
const FULL: [&str; 7] = [
    "position_state.csv",
    "transactions.csv",
    "position_history.csv",
    "daily_position_snapshots.csv",
    "cashflows.csv",
    "position_timeseries.csv",
    "portfolio_timeseries.csv",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

/// Where a run takes place: more arguments and variables.
#[derive(Default)]
struct Place {
    arguments: Vec<String>,
    variables: Vec<(&'static str, String)>,
    /// Servers that live as long as it.
    servers: Vec<Private>,
}

impl Place {
    /// Real services.
    fn real(site: Site, hurry: &str) -> Self {
        let mut place = Place::default();
        place.add(&["--on", "real", "--time-scale", hurry]);
        match site {
            Site::Shared => {
                let services = Services::get();
                place.add(&["--kafka", services.kafka().address()]);
                place.add(&["--postgres", services.postgres().address()]);
            }
            Site::Private => {
                let (kafka, postgres) = (Private::kafka(), Private::postgres());
                place.add(&["--kafka", kafka.address(), "--postgres", postgres.address()]);
                place.variables.push(("BACKDATE_KAFKA_CONTROL", kafka.control()));
                place.variables.push(("BACKDATE_POSTGRES_CONTROL", postgres.control()));
                place.servers = vec![kafka, postgres];
            }
        }
        place
    }

    fn add(&mut self, arguments: &[&str]) {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    }

    /// Runs a scenario; its tables and its summary. None if a bad access to memory ended the run.
    fn run(&self, file: &str, sets: &[&str]) -> Option<(BTreeMap<String, String>, Value)> {
        let out = tempdir().expect("there is room for a folder");
        let path = |path: &Path| path.to_str().expect("paths here are UTF-8").to_owned();
        let mut arguments = vec!["run".to_owned(), path(&folder().join(file))];
        arguments.extend(["--seed", "1", "--quiet", "--save"].map(str::to_owned));
        arguments.push(path(out.path()));
        for set in ["thresholds=[]", "expect={}"].iter().chain(sets) {
            arguments.extend(["--set".to_owned(), (*set).to_owned()]);
        }
        arguments.extend(self.arguments.iter().cloned());
        let variables: Vec<_> = self.variables.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let ran = run_with(&variables, &arguments);
        if ran.stderr.ends_with("ended by signal 11\n") {
            return None;
        }
        assert_eq!(ran.code, 0, "{arguments:?}\n{}\n{}", ran.stdout, ran.stderr);
        let summary = fs::read(out.path().join("summary.json")).expect("a run writes its summary");
        let summary = serde_json::from_slice(&summary).expect("a summary is JSON");
        Some((comparable_tables(&out.path().join("tables")), summary))
    }
}

/// Real runs of which one must not be ended by the broker's client: librdkafka 2.12.1 at times ends
/// its process in `rd_kafka_metadata_update_op` when a broker has come back.
const ATTEMPTS: usize = 3;

/// Runs a scenario on both and compares all tables; the summary of the real run.
#[allow(clippy::print_stdout, reason = "a test says how much it has compared")]
fn compare(file: &str, hurry: &str, site: Site, sets: &[&str]) -> Value {
    let simulated = Place::default().run(file, sets);
    let (expected, simulated) = simulated.expect("no simulated run has such a client");
    let real = (0..ATTEMPTS).find_map(|_| Place::real(site, hurry).run(file, sets));
    let (found, real) = real.expect("few runs are ended by the broker's client");
    assert_eq!((&simulated["on"], &real["on"]), (&"sim".into(), &"real".into()), "{file}");
    assert_judged(file, &real);
    assert_eq!(simulated["faults"], real["faults"], "{file}: other faults");
    assert_same_tables(&expected, &found, file);
    let mut rows = 0;
    for (name, text) in &expected {
        let of_table = text.lines().count() - 1;
        assert!(of_table > 0 || !FULL.contains(&name.as_str()), "{file}: {name} has no rows");
        rows += of_table;
    }
    let missing: Vec<_> = FULL.iter().filter(|name| !expected.contains_key(**name)).collect();
    assert!(missing.is_empty(), "{file}: {missing:?} not exported");
    println!(
        "{file}: {rows} rows of {} tables are equal; the real run took {} s",
        expected.len(),
        real["wall_seconds"]
    );
    real
}

/// The figures of a summary, by JSON pointer, are in these ranges.
fn assert_seen(summary: &Value, figures: &[(&str, RangeInclusive<u64>)]) {
    for (figure, often) in figures {
        let found = summary.pointer(figure).and_then(Value::as_u64);
        let is_met = found.is_some_and(|found| often.contains(&found));
        assert!(is_met, "{figure}: {found:?}, not in {often:?}: {summary}");
    }
}

/// Every rule was evaluated on the real run and none is broken.
fn assert_judged(file: &str, summary: &Value) {
    let rules = summary["rules"].as_array().expect("a list");
    assert_eq!(rules.len(), 10, "{file}");
    for rule in rules {
        assert!(rule["checks"].as_u64() > Some(0), "{file}: never evaluated: {rule}");
        assert_eq!(rule["violations"], 0, "{file}: {rule}");
    }
}

#[test]
fn every_scenario_that_runs_on_real_services_is_compared() {
    let mut shipped = BTreeSet::new();
    for kind in fs::read_dir(folder()).expect("there are scenarios") {
        let kind = kind.expect("the folder can be read").path();
        for file in fs::read_dir(&kind).into_iter().flatten().filter_map(Result::ok) {
            let path = file.path();
            let text = fs::read_to_string(&path).unwrap_or_default();
            let is_real =
                text.lines().any(|line| line.starts_with("on =") && line.contains("real"));
            if path.extension().is_some_and(|extension| extension == "toml") && is_real {
                let name = path.strip_prefix(folder()).expect("it lies there");
                shipped.insert(name.to_str().expect("UTF-8").to_owned());
            }
        }
    }
    let compared: BTreeSet<String> = COMPARED.iter().map(|name| (*name).to_owned()).collect();
    assert!(shipped.is_subset(&compared), "not compared: {:?}", shipped.difference(&compared));
    assert!(shipped.len() >= 12, "too few are seen: {shipped:?}");
}
