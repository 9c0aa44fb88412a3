//! The thundering herd: one old price of 5,000 portfolios, corrected under the day's load.
//!
//! `scenarios/load/thundering_herd.toml`, once, with the live load of 20 seconds:
//! `herd/wall_seconds` from the start to the verdict, `herd/cpu_seconds` of it on the processor
//! (the wall clock counts what else the machine does), `herd/peak_bytes` of memory, and
//! `herd/revalued` key-dates a second. `--quick` runs a tenth of the portfolios and writes no bar.

use backdate_benches::measure::{
    Layer, LayerMeter, Measured, Onlookers, is_quick, measure, peak_memory, plan,
};
use backdate_benches::{Line, write_results};
use backdate_reports::summary::Verdict;

/// Seconds that the whole run may take.
const WALL_SECONDS: f64 = 60.0;
/// Bytes that it may hold.
const PEAK_BYTES: f64 = 3.0 * 1024.0 * 1024.0 * 1024.0;
/// Portfolios of a quick run.
const QUICK: u64 = 500;

fn main() {
    let mut overrides = vec!["phases.storm=20s".to_owned()];
    if is_quick() {
        overrides.extend([
            format!("workload.portfolios.count={QUICK}"),
            format!("expect.keys_reset_min={QUICK}"),
            format!("expect.dates_revalued_min={}", QUICK * 60),
        ]);
    }
    let plan = plan("load/thundering_herd.toml", &overrides);
    let timed = measure(&plan, Onlookers::default());
    let peak = peak_memory().unwrap_or(0.0);
    let summary = &timed.outcome.summary;
    assert_eq!(summary.verdict, Verdict::Pass, "{:?} {:?}", summary.notes, summary.expectations);
    let lines = lines(&timed, peak);
    let prefix = if is_quick() { "herd_quick" } else { "herd" };
    let lines = lines.map(|line| Line { name: format!("{prefix}/{}", line.name), ..line });
    report(&lines, &timed);
    write_results(&lines).expect("the target folder is writable");
    if !is_quick() {
        return;
    }
    // Where the time goes, by layer; the quick run is short enough to be run twice.
    let meter = LayerMeter::default();
    let probed = measure(&plan, Onlookers { meter: Some(&meter), ..Onlookers::default() });
    layers(&probed, &meter);
}

fn lines(timed: &Measured, peak: f64) -> [Line; 4] {
    let revalued = timed.outcome.summary.counters["dates_revalued"] as f64;
    let line = |name: &str, ours: f64, baseline: f64, unit: &str, note: &str| Line {
        name: name.to_owned(),
        ours,
        baseline,
        ratio: if name == "revalued" { ours / baseline } else { baseline / ours.max(1e-9) },
        unit: unit.to_owned(),
        note: note.to_owned(),
    };
    [
        line("wall_seconds", timed.wall, WALL_SECONDS, "seconds", "whole run, against the bar"),
        line("cpu_seconds", timed.cpu, WALL_SECONDS, "seconds", "the same on an unshared core"),
        line("peak_bytes", peak, PEAK_BYTES, "bytes", "VmHWM, against the bar of 3 GiB"),
        line(
            "revalued",
            revalued / timed.cpu,
            305_000.0 / WALL_SECONDS,
            "key-dates per second",
            "all after the warm-up per processor second of the run; bar: 305,000 in 60 s",
        ),
    ]
}

#[expect(clippy::print_stdout, reason = "a benchmark talks to a person")]
fn report(lines: &[Line], timed: &Measured) {
    for line in lines {
        println!(
            "{:24} {:14.1} (bar {:14.1}, ratio {:6.2}) {}: {}",
            line.name, line.ours, line.baseline, line.ratio, line.unit, line.note
        );
    }
    for (phase, span) in &timed.phases {
        println!("{phase:?}: {:.1} simulated seconds in {:.2} s", span.simulated, span.cpu);
    }
    let summary = &timed.outcome.summary;
    println!("caught up after {:?} simulated seconds", summary.catch_up_seconds);
}

#[expect(clippy::print_stdout, reason = "a benchmark talks to a person")]
fn layers(probed: &Measured, meter: &LayerMeter) {
    for (phase, span) in &probed.phases {
        let shares = meter.shares(*phase);
        let shares = Layer::ALL.map(|l| format!("{} {:.2}", l.name(), shares[&l] * span.cpu));
        println!("{phase:?}: {:.2} s: {}", span.cpu, shares.join(", "));
    }
}
