//! What one more transaction costs a key that has 100, 1,000 or 10,000, on real services.
//!
//! There are fewer keys the longer their histories are, so that all lengths have as many
//! transactions in all and the pauses of the processes weigh the same. Beside the time it takes
//! stands the part that no pause is in: what statements of the two processes that fold took until
//! they were answered, and rows that the database read and wrote for it in the tables of keys, by
//! its own statistics.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use backdate_benches::Line;
use backdate_benches::measure::is_quick;
use backdate_engine::ports::log::NewRecord;
use backdate_engine::services::{position_calculator, replayer};
use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::copy::{Baseline, connect};
use super::engine::{CLUSTER, Engine, Services, pause};
use super::load::Load;
use super::now;

/// Transactions of each key.
const LENGTHS: [usize; 3] = [100, 1_000, 10_000];
/// Transactions of all keys together.
const ALL: usize = 100_000;
/// Appended ones of all keys together, of each kind.
const APPENDED: usize = 5_000;
/// A session that has nothing to do tells its counts after ten seconds (PostgreSQL 15).
const TOLD: Duration = Duration::from_secs(11);
const TOUCHED: &str = "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) \
     + n_tup_ins + n_tup_upd + n_tup_del)::bigint FROM pg_stat_user_tables \
     WHERE schemaname = current_schema() AND relname IN ('transactions', 'position_timeline', \
     'position_history', 'position_lots', 'position_epochs', 'replays', 'cashflows', \
     'daily_position_snapshots')";

/// Per transaction that was appended, or row that was rebuilt.
struct PerUnit {
    micros: f64,
    statement_micros: f64,
    rows: f64,
}

/// Prints the table; a line for each length and kind.
#[expect(clippy::print_stdout, reason = "a benchmark talks to a person")]
pub(super) async fn table(folder: &Path) -> Vec<Line> {
    println!("real/history of                  us  us of statements  rows touched");
    let mut lines: Vec<Line> = Vec::new();
    let mut shortest: Option<Vec<f64>> = None;
    for length in LENGTHS {
        let costs = measure(length, folder).await;
        let micros = costs.iter().map(|(_, cost)| cost.micros).collect();
        let shortest = shortest.get_or_insert(micros);
        for ((what, cost), baseline) in costs.iter().zip(shortest) {
            println!(
                "  {what:12} {length:6} {:14.1} {:17.1} {:13.2}",
                cost.micros, cost.statement_micros, cost.rows
            );
            lines.push(Line {
                name: format!("real/history_{length}/{what}"),
                ours: cost.micros,
                baseline: *baseline,
                ratio: *baseline / cost.micros,
                unit: "us".to_owned(),
                note: format!(
                    "per {what}; {:.1} us of statements, {:.2} rows touched; beside {} of history",
                    cost.statement_micros, cost.rows, LENGTHS[0]
                ),
            });
        }
    }
    lines
}

/// Costs with keys of that many transactions.
async fn measure(length: usize, folder: &Path) -> Vec<(&'static str, PerUnit)> {
    let all = if is_quick() { ALL / 10 } else { ALL };
    let keys = all / length;
    let appended = (if is_quick() { APPENDED / 10 } else { APPENDED } / keys).max(1);
    let load = Load::sized(keys, 1, 1);
    let services = Services::from_environment(&format!("history_{length}"));
    let mut bench = Bench {
        looker: connect(&services.postgres).await,
        baseline: Baseline::connect(&services.postgres).await,
        operations: position_calculator::CALLS.iter().chain(replayer::CALLS).copied().collect(),
        engine: Engine::prepare(services, folder).await,
        told: 0.0,
    };
    // It looks for work all the time.
    bench.operations.remove("FindReplays");
    bench.engine.start(CLUSTER);
    load.initial_state(&mut bench.engine).await;
    bench.engine.settled(now()).await;
    bench.engine.send_records(load.seconds("BUY", 0, length - 1)).await;
    bench.engine.settled(now()).await;
    bench.baseline.tidy().await;
    bench.told = bench.touched().await;
    let (buys, sales) =
        (load.seconds("BUY", length, appended), load.seconds("SELL", length + appended, appended));
    let units = (keys * appended) as f64;
    let append = bench.taken(buys, units).await;
    let sale = bench.taken(sales, units).await;
    let rebuilt = (keys * (length + 2 * appended + 1)) as f64;
    let rebuild = bench.taken(load.late(), rebuilt).await;
    bench.engine.finish().await;
    vec![("append", append), ("sale", sale), ("rebuilt row", rebuild)]
}

struct Bench {
    engine: Engine,
    baseline: Baseline,
    looker: PgConnection,
    operations: BTreeSet<&'static str>,
    /// Rows that were read and written until the last measurement.
    told: f64,
}

impl Bench {
    async fn taken(&mut self, records: Vec<NewRecord>, units: f64) -> PerUnit {
        self.baseline.checkpoint().await;
        let rows = self.told;
        let statements = self.engine.statement_ms(&self.operations).await;
        let begun = now();
        self.engine.send_records(records).await;
        let seconds = self.engine.settled(begun).await;
        let statements = self.engine.statement_ms(&self.operations).await - statements;
        self.told = self.touched().await;
        let rows = self.told - rows;
        PerUnit {
            micros: seconds * 1e6 / units,
            statement_micros: statements * 1e3 / units,
            rows: rows / units,
        }
    }

    /// Rows that were read and written so far.
    async fn touched(&mut self) -> f64 {
        pause(TOLD).await;
        let row = sqlx::query(TOUCHED).fetch_one(&mut self.looker).await;
        let count: i64 = row.expect("the database is there").get(0);
        count as f64
    }
}
