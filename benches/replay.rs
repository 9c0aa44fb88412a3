//! What arrives at a key with 100, 1,000 and 10,000 transactions costs the simulated database.
//!
//! - `history/append_N`, `history/sale_N`: rows that one more transaction at the end makes all
//!   processes read and write, one that adds a lot and one that takes the oldest.
//! - `history/rebuild_N`: the same for each row that is rebuilt after a trade before all others.
//! - `history/tail_N`: the same in all for a trade before the ten of the last date: no history
//!   before it is written, but lots are kept of the end of a timeline alone, so it is folded from
//!   its start.
//! - `replay/rows`, `replay/seconds`: that rebuild against an engine that rewrites all later rows
//!   for every message that it replays.
//!
//! Baselines of the first four are those of the shortest history. `--quick` does the same, since
//! it takes seconds.

use backdate_benches::long_key::{Arrival, Taken, after};
use backdate_benches::measure::clock;
use backdate_benches::{Line, write_results};

const LENGTHS: [u32; 3] = [100, 1_000, 10_000];

#[expect(clippy::print_stdout, reason = "a benchmark talks to a person")]
fn main() {
    println!("history                 statements       rows  simulated ms  processor s");
    let mut lines = Vec::new();
    for (name, arrival) in [
        ("append", Arrival::Buys),
        ("sale", Arrival::Sales),
        ("rebuild", Arrival::First),
        ("tail", Arrival::LastDate),
    ] {
        let mut shortest = None;
        for length in LENGTHS {
            let begun = clock();
            let taken = after(length, arrival);
            let cpu = clock() - begun;
            let units = match arrival {
                Arrival::First => taken.replayed,
                _ => taken.arrived,
            } as f64;
            let (statements, rows) = (taken.statements() as f64, taken.touched() as f64 / units);
            println!(
                "{name:8} of {length:6} {:16.3} {rows:10.2} {:13.2} {cpu:12.2}",
                statements / units,
                per_unit_ms(&taken, arrival)
            );
            let baseline = *shortest.get_or_insert(rows);
            lines.push(Line {
                name: format!("history/{name}_{length}"),
                ours: rows,
                baseline,
                ratio: baseline / rows,
                unit: "rows".to_owned(),
                note: format!("read and written, beside a history of {}", LENGTHS[0]),
            });
            if arrival == Arrival::First {
                lines.retain(|line| !line.name.starts_with("replay/"));
                lines.extend(against_rewriting(&taken, f64::from(length)));
            }
        }
    }
    for line in lines.iter().filter(|line| line.name.starts_with("replay/")) {
        println!(
            "{:16} {:10.2} baseline {:14.2} {} ({})",
            line.name, line.ours, line.baseline, line.unit, line.note
        );
    }
    write_results(&lines).expect("the target folder is writable");
}

/// Simulated milliseconds until an appended transaction is folded, a row is rebuilt, or a tail.
fn per_unit_ms(taken: &Taken, arrival: Arrival) -> f64 {
    let units = if arrival == Arrival::First { taken.replayed } else { 1 };
    taken.seconds * 1e3 / units as f64
}

/// A rebuild of that many transactions beside one that rewrites all later rows for each.
fn against_rewriting(taken: &Taken, n: f64) -> [Line; 2] {
    let rows = taken.rows as f64;
    assert!(rows <= n + 1.0, "one row for each place at the most: {taken:?}");
    let naive = n * (n + 1.0) / 2.0;
    let line = |name: &str, ours: f64, baseline: f64, unit: &str, note: &str| Line {
        name: name.to_owned(),
        ours,
        baseline,
        ratio: baseline / ours,
        unit: unit.to_owned(),
        note: note.to_owned(),
    };
    let per_row = taken.seconds / rows;
    [
        line("replay/rows", rows, naive, "rows", "against rewriting all later rows per message"),
        line(
            "replay/seconds",
            taken.seconds,
            naive * per_row,
            "simulated seconds",
            "late trade sent until the history is rebuilt; baseline: its rows at our time per row",
        ),
    ]
}
