//! `list`: what there is, for people and for scripts.

use backdate_engine::adapters::telemetry::metrics::NAMES;
use backdate_reports::meters::{COUNTERS, HOPS, QUEUES};
use serde::Serialize;

use super::Failure;
use super::arguments::ListCommand;
use crate::oracle::RuleId;
use crate::runner::exit;
use crate::scenario::faults::KINDS;
use crate::scenario::{points, schema, source};

/// Everything that is listed.
#[derive(Serialize)]
struct Listing {
    scenarios: Vec<ScenarioEntry>,
    rules: Vec<Entry>,
    faults: Vec<Entry>,
    crash_points: Vec<String>,
    sometimes: Vec<&'static str>,
    metrics: Vec<String>,
    /// Of the engine: in `metrics.csv`, and where `serve` exposes them.
    engine_metrics: Vec<&'static str>,
    /// Defects that can be planted; none in a build without the feature.
    defects: Vec<Entry>,
    exit_codes: Vec<ExitCode>,
}

#[derive(Serialize)]
struct ScenarioEntry {
    path: String,
    about: String,
}

#[derive(Serialize)]
struct Entry {
    id: String,
    about: String,
}

#[derive(Serialize)]
struct ExitCode {
    code: u8,
    about: &'static str,
}

const EXIT_CODES: [(u8, &str); 8] = [
    (exit::PASS, "pass"),
    (exit::RULE, "a rule broke"),
    (exit::USAGE, "usage or bad input file"),
    (exit::NOT_CONVERGED, "did not converge"),
    (exit::NONDETERMINISM, "nondeterminism"),
    (exit::THRESHOLD, "a threshold or an expectation was missed"),
    (exit::ENVIRONMENT, "environment: disk full, folder not writable"),
    (exit::INTERRUPTED, "Ctrl-C"),
];

pub(super) fn list(command: &ListCommand) -> Result<u8, Failure> {
    if command.schema {
        let text = serde_json::to_string_pretty(&schema::schema());
        sayln!("{}", text.expect("a schema is plain data"));
        return Ok(exit::PASS);
    }
    let listing = listing();
    if command.json {
        let text = serde_json::to_string_pretty(&listing).expect("a listing is plain data");
        sayln!("{text}");
    } else {
        print(&listing);
    }
    Ok(exit::PASS)
}

fn listing() -> Listing {
    let latencies = HOPS.iter().map(|hop| format!("latency_ms.{hop}.p99"));
    let counters = COUNTERS.iter().map(|name| format!("counters.{name}"));
    let queues = QUEUES.iter().map(|name| format!("queue_max.{name}"));
    let plain = ["catch_up_seconds", "sim_seconds", "wall_seconds", "peak_rss_bytes"];
    let exit_codes = EXIT_CODES.map(|(code, about)| ExitCode { code, about });
    let entry = |(id, about): (&str, &str)| Entry { id: id.to_owned(), about: about.to_owned() };
    Listing {
        scenarios: scenarios(),
        rules: RuleId::ALL
            .iter()
            .map(|id| Entry { id: id.to_string(), about: id.title().to_owned() })
            .collect(),
        faults: KINDS.iter().copied().map(entry).collect(),
        crash_points: points::all().map(|point| point.name().to_string()).collect(),
        sometimes: backdate_reports::meters::SOMETIMES.to_vec(),
        metrics: plain
            .map(str::to_owned)
            .into_iter()
            .chain(counters)
            .chain(latencies)
            .chain(queues)
            .collect(),
        engine_metrics: NAMES.to_vec(),
        defects: super::defects::all().into_iter().map(entry).collect(),
        exit_codes: exit_codes.into(),
    }
}

/// The scenario files, by path.
fn scenarios() -> Vec<ScenarioEntry> {
    let files = source::files(&source::shipped()).unwrap_or_default();
    let entry = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let table: toml::Table = text.parse().unwrap_or_default();
        let named = |key| table.get(key).and_then(toml::Value::as_str);
        let about = match named("about") {
            Some(about) => about.to_owned(),
            None if source::is_plan(&text) => {
                format!("a saved plan of {}", named("name").unwrap_or("?"))
            }
            None => "(cannot be read)".to_owned(),
        };
        ScenarioEntry { path: path.display().to_string(), about }
    };
    files.into_iter().map(entry).collect()
}

fn print(listing: &Listing) {
    sayln!("scenarios");
    for ScenarioEntry { path, about } in &listing.scenarios {
        sayln!("  {path:<48} {about}");
    }
    for (title, entries) in [("rules", &listing.rules), ("faults", &listing.faults)] {
        sayln!("{title}");
        for Entry { id, about } in entries {
            sayln!("  {id:<20} {about}");
        }
    }
    if !listing.defects.is_empty() {
        sayln!("defects (for --defect and hunt)");
    }
    for Entry { id, about } in &listing.defects {
        sayln!("  {id:<34} {about}");
    }
    sayln!("crash points");
    for point in &listing.crash_points {
        sayln!("  {point}");
    }
    sayln!("sometimes-states");
    for state in &listing.sometimes {
        sayln!("  {state}");
    }
    sayln!("metrics (in thresholds)");
    for metric in &listing.metrics {
        sayln!("  {metric}");
    }
    sayln!("metrics of the engine (metrics.csv, /metrics)");
    for metric in &listing.engine_metrics {
        sayln!("  {metric}");
    }
    sayln!("exit codes");
    for ExitCode { code, about } in &listing.exit_codes {
        sayln!("  {code:<4} {about}");
    }
}
