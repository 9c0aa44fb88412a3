//! How simulated figures compare with real ones: the same scenarios, once simulated and once on a
//! real broker and database.
//!
//! Needs servers (`BACKDATE_KAFKA`, `BACKDATE_POSTGRES`) and the release binary. Nothing is
//! calibrated: the simulator's latencies, service times and fsyncs are as by default, and it has
//! one machine a process where the real run shares the cores of one. So the table says how far to
//! trust a simulated figure; it has no bar to meet. A run that fails ends the benchmark.

use backdate_benches::measure::run_release;
use backdate_benches::{Line, write_results};
use serde_json::Value;

/// Scenarios with what is set in them; the herd in a size at which real runs take a minute.
const RUNS: [(&str, &[&str]); 3] = [
    ("smoke/herd_small", &[]),
    ("smoke/steady", &[]),
    (
        "load/thundering_herd",
        &[
            "cluster.brokers=1",
            "workload.portfolios.count=500",
            "workload.live.rate_per_second=20",
            "phases.storm=\"20s\"",
            "expect.keys_reset_min=500",
            "expect.dates_revalued_min=30000",
        ],
    ),
];

/// Latencies of a summary that are compared.
const LATENCIES: [&str; 5] =
    ["raw_to_stored", "raw_to_snapshot", "price_to_revalued", "reprocessing", "outbox"];

fn main() {
    let mut lines = Vec::new();
    for (scenario, overrides) in RUNS {
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        let [simulated, real] = ["sim", "real"].map(|on| run_release(scenario, &overrides, on));
        lines.extend(compare(scenario, &simulated, &real));
    }
    write_results(&lines).expect("the target folder is writable");
}

/// Prints a table, and makes a line of each of its rows.
#[expect(clippy::print_stdout, reason = "a benchmark talks to a person")]
fn compare(scenario: &str, simulated: &Value, real: &Value) -> Vec<Line> {
    println!("{scenario:34} simulated       real      ratio");
    let mut lines = Vec::new();
    let mut row = |figure: &str, unit: &str, path: &str| {
        let of = |summary: &Value| summary.pointer(path).and_then(Value::as_f64);
        let (Some(ours), Some(baseline)) = (of(simulated), of(real)) else {
            println!("  {figure:30} (none on one side)");
            return;
        };
        // A figure of zero is less than what the clock can tell.
        let ratio = ours.max(0.001) / baseline.max(0.001);
        println!("  {figure:30} {ours:10.3} {baseline:10.3} {ratio:10.2} {unit}");
        lines.push(Line {
            name: format!("sim_and_real/{scenario}/{figure}"),
            ours,
            baseline,
            ratio,
            unit: unit.to_owned(),
            note: "simulated, not calibrated, beside the same scenario on real services".to_owned(),
        });
    };
    row("catch-up time", "s", "/catch_up_seconds");
    for latency in LATENCIES {
        for percentile in ["p50", "p99"] {
            let path = format!("/latency_ms/{latency}/{percentile}");
            row(&format!("{latency} {percentile}"), "ms", &path);
        }
    }
    lines
}
