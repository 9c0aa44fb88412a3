//! What the engine does on a real broker and a real database, against a plain COPY of its rows.
//!
//! Needs servers (`BACKDATE_KAFKA`, `BACKDATE_POSTGRES`) and the release binary. All processes of
//! the engine run in one process of the machine. Both sides of each ratio are measured one after
//! the other on the same server, with a checkpoint before each.
//!
//! - `real/first_valuation`: key-dates per second from sending business dates until all are valued.
//! - `real/series`: the same until series of positions and portfolios are complete too; baseline:
//!   a copy of those rows as well.
//! - `real/revaluation`: the same after the first price of every security was corrected.
//! - `real/live`: transactions per second from sending until positions and values are up to date;
//!   baseline: consuming the topic and copying the rows into `transactions`, and nothing else.
//! - `real/replay`: history rows per second that rebuilds write, one late trade a key.
//! - `real/latency_N`: from the intended time of a transaction to the snapshot that contains it,
//!   at N % of the rate of `real/live`.
//! - `real/api_quiet`, `real/api_herd`: `GET positions` at a fixed rate, and as fast as answered,
//!   of an idle and of a busy engine; baseline: a bare route with one indexed query.
//! - `real/history_N`: what a transaction costs a key that has N already, appended and rebuilt.
//! - `real/batch_N`: round trips to the database per key-date and per transaction, in batches of N.
//!
//! The rates are sustained ones: the loads take so long that the pauses of the processes at begin
//! and end, some 0.4 s, hardly count. The engine stands still while a baseline is measured.
//! `api`, `history` and `batches` measure those last tables, each alone; `rates` leaves out the
//! latencies; `--quick` does all with a tenth of the rows, where the pauses do count.

#[path = "real/api.rs"]
mod api;
#[path = "real/bare.rs"]
mod bare;
#[path = "real/batches.rs"]
mod batches;
#[path = "real/client.rs"]
mod client;
#[path = "real/copy.rs"]
mod copy;
#[path = "real/engine.rs"]
mod engine;
#[path = "real/history.rs"]
mod history;
#[path = "real/latency.rs"]
mod latency;
#[path = "real/load.rs"]
mod load;
#[path = "real/proxy.rs"]
mod proxy;
#[path = "real/watch.rs"]
mod watch;

use std::time::Instant;

use backdate_benches::measure::{Folder, is_quick};
use backdate_benches::{Line, write_results};
use backdate_engine::ports::log::NewRecord;
use hdrhistogram::Histogram;

use self::copy::Baseline;
use self::engine::{CLUSTER, Engine, Services};
use self::latency::Latencies;
use self::load::Load;

#[expect(clippy::disallowed_methods, reason = "a benchmark measures the machine")]
fn now() -> Instant {
    Instant::now()
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("the machine gives a runtime");
    let lines = tokio::task::LocalSet::new().block_on(&runtime, measure());
    write_results(&lines).expect("the target folder is writable");
}

/// What a load took: how many of what, in how long, with how many statements.
struct Taken {
    count: f64,
    seconds: f64,
    /// Until what follows from it (cash flows, series) is done too.
    all_seconds: f64,
    statements: f64,
}

impl Taken {
    fn rate(&self) -> f64 {
        self.count / self.seconds
    }
}

/// Whether that part of the measurements is asked for.
fn asks_for(part: &str) -> bool {
    std::env::args().any(|argument| argument == part)
}

async fn measure() -> Vec<Line> {
    let folder = Folder::new("bench-real");
    if asks_for("batches") {
        return batches::table(folder.path()).await;
    }
    if asks_for("history") {
        return history::table(folder.path()).await;
    }
    if asks_for("api") {
        return api::table(folder.path()).await;
    }
    let load = Load::new(is_quick());
    let services = Services::from_environment("real");
    let mut baseline = Baseline::connect(&services.postgres).await;
    let mut engine = Engine::prepare(services, folder.path()).await;
    engine.start(CLUSTER);
    load.initial_state(&mut engine).await;
    engine.settled(now()).await;

    let mut lines = Vec::new();
    let all = load.key_dates() as f64;
    let first = taken(&mut engine, &mut baseline, load.business_dates(), all).await;
    let copy = baseline.copy_snapshots(&engine).await;
    lines.push(line("first_valuation", &first, &copy, "key-dates/s", "valued for the first time"));
    let series = baseline.copy_series(&engine).await;
    let seconds = copy.seconds + series.seconds;
    let what = "valued for the first time, with all series";
    let complete = Taken { seconds: first.all_seconds, ..first };
    let copies = Taken { seconds, all_seconds: seconds, ..copy };
    lines.push(line("series", &complete, &copies, "key-dates/s", what));
    let again = taken(&mut engine, &mut baseline, load.corrections(1), all).await;
    let copy = baseline.copy_snapshots(&engine).await;
    lines.push(line("revaluation", &again, &copy, "key-dates/s", "valued again, a price changed"));
    let count = load.live_count() as f64;
    let live = taken(&mut engine, &mut baseline, load.live(), count).await;
    let copy = baseline.consume_and_copy(&engine).await;
    lines.push(line("live", &live, &copy, "transactions/s", "stored, folded and valued"));
    if !asks_for("rates") {
        lines.extend(latencies(&mut engine, &mut baseline, &load, live.rate()).await);
    }
    let mut replayed = taken(&mut engine, &mut baseline, load.late(), 0.0).await;
    replayed.count = baseline.rebuilt().await as f64;
    let copy = baseline.copy_history(&engine).await;
    let what = "rebuilt after one late trade a key";
    lines.push(line("replay", &replayed, &copy, "history rows/s", what));
    engine.finish().await;
    lines
}

/// Sends records and waits until all that they change is valued, and then until nothing is left to
/// do for them.
async fn taken(
    engine: &mut Engine,
    baseline: &mut Baseline,
    records: Vec<NewRecord>,
    count: f64,
) -> Taken {
    baseline.checkpoint().await;
    let before = engine.statements().await;
    let begun = now();
    engine.send_records(records).await;
    let seconds = engine.valued(begun).await;
    let all_seconds = engine.settled(begun).await;
    let statements = engine.statements().await - before;
    Taken { count, seconds, all_seconds, statements }
}

/// Latencies at shares of the sustained rate.
async fn latencies(
    engine: &mut Engine,
    baseline: &mut Baseline,
    load: &Load,
    sustained: f64,
) -> Vec<Line> {
    let seconds = if is_quick() { 3.0 } else { 8.0 };
    let mut before = load.live_count();
    let mut lines = Vec::new();
    let mut least = None;
    for percent in [10, 30, 60] {
        baseline.checkpoint().await;
        let rate = sustained * f64::from(percent) / 100.0;
        let latencies = latency::at_rate(engine, load, before, rate, seconds).await;
        before += usize::try_from(latencies.committed.len()).expect("few transactions");
        engine.settled(now()).await;
        let least = least.get_or_insert_with(|| latencies.committed.clone());
        lines.extend(latency_lines(percent, &latencies, least));
    }
    lines
}

/// A table row for a person, and a line for each percentile.
#[expect(clippy::print_stdout, reason = "a benchmark talks to a person")]
fn latency_lines(percent: u32, latencies: &Latencies, least: &Histogram<u64>) -> Vec<Line> {
    let Latencies { committed, rate, late } = latencies;
    let mut text = format!("real/latency_{percent:<8} {rate:10.0} transactions/s, ms:");
    let mut lines = Vec::new();
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        let ms = |histogram: &Histogram<u64>| histogram.value_at_quantile(quantile) as f64 / 1e3;
        let (ours, baseline) = (ms(committed), ms(least));
        text += &format!(" {name} {ours:.0}");
        lines.push(Line {
            name: format!("real/latency_{percent}/{name}"),
            ours,
            baseline,
            ratio: ours / baseline.max(0.001),
            unit: "ms".to_owned(),
            note: format!(
                "from the intended time of a transaction to the commit of its snapshot, at \
                 {rate:.0} transactions a second, {percent} % of the sustained rate; beside it at \
                 the lowest rate"
            ),
        });
    }
    println!(
        "{text}, max {:.0}; of {} transactions; the last send was late by {:.0} ms",
        committed.max() as f64 / 1e3,
        committed.len(),
        late * 1e3
    );
    lines
}

#[expect(clippy::print_stdout, reason = "a benchmark talks to a person")]
fn line(name: &str, ours: &Taken, copy: &Taken, unit: &str, what: &str) -> Line {
    let per_unit = ours.statements / ours.count;
    let note = format!(
        "{what}: {:.0} in {:.2} s, with cash flows and series in {:.2} s, {:.0} statements \
         ({per_unit:.4} each); baseline: binary COPY of the same rows, {:.0} in {:.2} s",
        ours.count, ours.seconds, ours.all_seconds, ours.statements, copy.count, copy.seconds
    );
    let ratio = ours.rate() / copy.rate();
    println!(
        "real/{name:16} {:10.0} baseline {:10.0} {unit}, ratio {ratio:.3} ({note})",
        ours.rate(),
        copy.rate()
    );
    Line {
        name: format!("real/{name}"),
        ours: ours.rate(),
        baseline: copy.rate(),
        ratio,
        unit: unit.to_owned(),
        note,
    }
}
