//! What a simulated second costs under the everyday load, and which layer it goes to.
//!
//! `scenarios/smoke/steady.toml`: 15 processes, 50 transactions a second, rules and recording on.
//! `steady/speed` is the storm, in which the load runs; `steady/speed_run` the whole run with its
//! warm-up and its last word. `steady/us_*` are microseconds on the processor per simulated second
//! of the storm: the shares of a probed run of the time of an unprobed one.

use backdate_benches::measure::{
    Folder, Layer, LayerMeter, Measured, Onlookers, is_quick, measure, plan,
};
use backdate_benches::{Line, write_results};
use backdate_reports::recording::Phase;
use backdate_reports::summary::Verdict;
use criterion::Criterion;

/// Simulated seconds per second that 15 processes must reach on one core.
const BAR: f64 = 150.0;
/// Runs of which the best counts: what disturbs a run makes it slower, never faster.
const ATTEMPTS: usize = 3;

fn main() {
    if !std::env::args().any(|argument| argument == "--profile-time") {
        compare();
    }
    if is_quick() {
        return;
    }
    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    let mut group = criterion.benchmark_group("steady");
    group.bench_function("run", |bench| bench.iter(|| run(None)));
    group.finish();
    criterion.final_summary();
}

fn run(meter: Option<&LayerMeter>) -> Measured {
    let folder = Folder::new("bench-steady");
    let plan = plan("smoke/steady.toml", &[]);
    let looking = Onlookers { folder: Some(&folder), meter, ..Onlookers::default() };
    let measured = measure(&plan, looking);
    let summary = &measured.outcome.summary;
    assert_eq!(summary.verdict, Verdict::Pass, "{:?}", summary.notes);
    measured
}

fn compare() {
    let runs: Vec<Measured> = (0..ATTEMPTS).map(|_| run(None)).collect();
    let best = runs.iter().min_by(|a, b| a.cpu.total_cmp(&b.cpu)).expect("at least one attempt");
    let meter = LayerMeter::default();
    let probed = run(Some(&meter));
    let prints = [&best.outcome, &probed.outcome].map(|outcome| &outcome.summary.fingerprint);
    assert_eq!(prints[0], prints[1], "a probe changes nothing");
    let storm = best.phases[&Phase::Storm];
    let whole = best.outcome.summary.sim_seconds / best.cpu;
    let mut lines = vec![
        speed("steady/speed", storm.speed(), "storm of smoke/steady, rules and recording on"),
        speed("steady/speed_run", whole, "all of smoke/steady with warm-up and last judgement"),
    ];
    let second = storm.cpu / storm.simulated * 1e6;
    for (layer, share) in meter.shares(Phase::Storm) {
        lines.push(Line {
            name: format!("steady/us_{}", layer.name()),
            ours: share * second,
            baseline: 1e6 / BAR,
            ratio: 1e6 / BAR / (share * second).max(1e-3),
            unit: "microseconds per simulated second".to_owned(),
            note: "share of one layer, against what all of them may take together".to_owned(),
        });
    }
    report(&lines, &probed, &meter);
    write_results(&lines).expect("the target folder is writable");
}

fn speed(name: &str, ours: f64, what: &str) -> Line {
    Line {
        name: name.to_owned(),
        ours,
        baseline: BAR,
        ratio: ours / BAR,
        unit: "simulated seconds per second".to_owned(),
        note: format!("{what}; against the bar of {BAR}"),
    }
}

#[expect(clippy::print_stdout, reason = "a benchmark talks to a person")]
fn report(lines: &[Line], probed: &Measured, meter: &LayerMeter) {
    for line in lines {
        println!("{:20} {:10.1} {} ({})", line.name, line.ours, line.unit, line.note);
    }
    println!("each phase of the probed run ({} looks at the clock):", meter.switches());
    for (phase, span) in &probed.phases {
        let shares = meter.shares(*phase);
        let second = span.cpu / span.simulated * 1e6;
        let shares = Layer::ALL.map(|l| format!("{} {:.0}", l.name(), shares[&l] * second));
        let (simulated, cpu) = (span.simulated, span.cpu);
        println!("{phase:?}: {simulated:.1} s in {cpu:.3} s; us: {}", shares.join(", "));
    }
}
