//! A year of history that arrives back-dated in random order: transactions a second, end to end.
//!
//! `scenarios/load/bulk_backfill.toml`, nearly every transaction of which starts a rebuild.
//!
//! - `backfill/processor`: transactions per processor second of a simulated run as it is shipped,
//!   against the pace at which they arrive in it.
//! - `backfill/simulated`: transactions per simulated second when all of them arrive within two
//!   seconds: from the first until every key is up to date; against that pace too.
//! - `backfill/real`: the same of a fifth of the portfolios on a real broker and database, beside
//!   the same simulated. Only where `BACKDATE_KAFKA` and `BACKDATE_POSTGRES` name servers; needs
//!   the release binary.
//!
//! `--quick` takes a tenth of the portfolios.

use std::time::Duration;

use backdate::scenario::Plan;
use backdate_benches::measure::{Measured, Onlookers, is_quick, measure, plan, run_release};
use backdate_benches::{Line, write_results};
use backdate_engine::ports::log::Topic;
use backdate_reports::recording::Phase;
use backdate_reports::summary::{Summary, Verdict};

const SCENARIO: &str = "load/bulk_backfill.toml";
/// Seconds in which they arrive as shipped.
const SHIPPED: f64 = 55.0;
/// How long the transactions of a burst take to arrive.
const BURST: Duration = Duration::from_secs(2);

fn main() {
    let portfolios = if is_quick() { 100 } else { 1_000 };
    let mut lines = Vec::new();
    let shipped = sized(portfolios);
    let (plan, run) = simulated(&shipped);
    let transactions = late(&plan);
    tell("as shipped", transactions, &run.outcome.summary, None, run.cpu);
    let (ours, cpu) = (transactions / run.cpu, run.cpu);
    let pace = transactions / SHIPPED;
    let note = format!("{transactions:.0} transactions in {cpu:.2} s on the processor; their pace");
    lines.push(line("processor", ours, pace, &note));

    let burst = burst(portfolios);
    let (_, run) = simulated(&burst);
    let rate = rate(transactions, &run.outcome.summary);
    tell("in a burst", transactions, &run.outcome.summary, Some(rate), run.cpu);
    let note = format!("per simulated second, of {transactions:.0} within {BURST:?}; as shipped");
    lines.push(line("simulated", rate, pace, &note));

    if has_services() {
        lines.push(on_real(portfolios / 5));
    }
    write_results(&lines).expect("the target folder is writable");
}

/// A part of the portfolios on real services, and simulated.
fn on_real(portfolios: u32) -> Line {
    let mut small = self::burst(portfolios);
    small.push("cluster.brokers=1".to_owned());
    let (plan, run) = simulated(&small);
    let transactions = late(&plan);
    let simulated = rate(transactions, &run.outcome.summary);
    tell("a fifth of it", transactions, &run.outcome.summary, Some(simulated), run.cpu);
    let summary: Summary = serde_json::from_value(run_release(SCENARIO, &small, "real"))
        .expect("a summary is of this version");
    let real = rate(transactions, &summary);
    tell("on real services", transactions, &summary, Some(real), 0.0);
    let note = format!("of {transactions:.0} transactions within {BURST:?}; simulated");
    line("real", real, simulated, &note)
}

/// The scenario with so many portfolios.
fn sized(portfolios: u32) -> Vec<String> {
    vec![
        format!("workload.portfolios.count={portfolios}"),
        format!("expect.epochs_min={}", 5 * portfolios),
        format!("expect.replay_rows_min={}", 10 * portfolios),
    ]
}

/// The same, all at once.
fn burst(portfolios: u32) -> Vec<String> {
    let mut overrides = sized(portfolios);
    overrides.extend([
        format!("workload.backfill.lasts=\"{}s\"", BURST.as_secs()),
        "phases.storm=\"4s\"".to_owned(),
        // What comes together is rebuilt together.
        "expect={}".to_owned(),
    ]);
    overrides
}

fn simulated(overrides: &[String]) -> (Plan, Measured) {
    let plan = plan(SCENARIO, overrides);
    let run = measure(&plan, Onlookers::default());
    let summary = &run.outcome.summary;
    assert_eq!(summary.verdict, Verdict::Pass, "{:?} {:?}", summary.notes, summary.expectations);
    (plan, run)
}

/// Transactions that arrive late.
fn late(plan: &Plan) -> f64 {
    let is_late = |topic, phase| topic == Topic::RawTransactions && phase == Phase::Storm;
    plan.inputs.iter().filter(|input| is_late(input.topic, input.phase)).count() as f64
}

/// Transactions a second, from the first until every key is up to date.
fn rate(transactions: f64, summary: &Summary) -> f64 {
    let catch_up = summary.catch_up_seconds.expect("a run that passed has caught up");
    transactions / (BURST.as_secs_f64() + catch_up)
}

#[expect(clippy::print_stdout, reason = "a benchmark talks to a person")]
fn tell(what: &str, transactions: f64, summary: &Summary, rate: Option<f64>, cpu: f64) {
    let count = |name: &str| summary.counters.get(name).copied().unwrap_or_default();
    let rate = rate.map_or_else(String::new, |rate| format!("{rate:.0} transactions/s, "));
    println!(
        "backfill {what}: {transactions:.0} transactions, {} epochs, {} rows rebuilt; {rate}\
         caught up {:.3} s after the last; {cpu:.2} s on the processor",
        count("epochs"),
        count("replay_rows"),
        summary.catch_up_seconds.unwrap_or_default(),
    );
}

fn line(name: &str, ours: f64, baseline: f64, note: &str) -> Line {
    Line {
        name: format!("backfill/{name}"),
        ours,
        baseline,
        ratio: ours / baseline,
        unit: "transactions/s".to_owned(),
        note: note.to_owned(),
    }
}

#[expect(clippy::disallowed_methods, reason = "servers are named by the environment")]
fn has_services() -> bool {
    ["BACKDATE_KAFKA", "BACKDATE_POSTGRES"].iter().all(|name| std::env::var_os(name).is_some())
}
