//! What one late trade costs a key of 10,000 transactions: rows of history and simulated time.
//!
//! `replay/rows` stands against an engine that rewrites all later rows for every message that it
//! replays. `--quick` does the same, since it takes seconds.

use backdate_benches::long_key::rebuild;
use backdate_benches::measure::clock;
use backdate_benches::{Line, write_results};

const TRANSACTIONS: u32 = 10_000;

#[expect(clippy::print_stdout, reason = "a benchmark talks to a person")]
fn main() {
    let begun = clock();
    let rebuild = rebuild(TRANSACTIONS);
    let cpu = clock() - begun;
    let n = f64::from(TRANSACTIONS);
    let rows = rebuild.rows as f64;
    assert!(rows <= n + 1.0, "one row for each place at the most: {rebuild:?}");
    let naive = n * (n + 1.0) / 2.0;
    let line = |name: &str, ours: f64, baseline: f64, unit: &str, note: &str| Line {
        name: name.to_owned(),
        ours,
        baseline,
        ratio: baseline / ours,
        unit: unit.to_owned(),
        note: note.to_owned(),
    };
    let per_row = rebuild.simulated_seconds / rows;
    let lines = [
        line("replay/rows", rows, naive, "rows", "against rewriting all later rows per message"),
        line(
            "replay/seconds",
            rebuild.simulated_seconds,
            naive * per_row,
            "simulated seconds",
            "late trade sent until the history is rebuilt; baseline: its rows at our time per row",
        ),
    ];
    for line in &lines {
        println!(
            "{:16} {:10.2} baseline {:14.2} {} ({})",
            line.name, line.ours, line.baseline, line.unit, line.note
        );
    }
    println!("{rebuild:?}, {cpu:.2} s in all");
    write_results(&lines).expect("the target folder is writable");
}
