//! `GET /portfolios/{id}/positions` beside a bare route with one indexed query, while nothing
//! happens and while a herd runs.
//!
//! The herd is that of `scenarios/load/thundering_herd.toml` in another shape of the same size:
//! 5,000 keys whose 60 dates are valued again, here of 500 portfolios that hold ten securities
//! each, so that an answer has ten positions. As soon as all are valued, the next correction comes;
//! live transactions go on meanwhile. Both sides are asked in turn, some seconds each, so that
//! neither has the better part of the herd.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use backdate_benches::Line;
use backdate_benches::measure::is_quick;
use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::bare;
use super::client::{Answers, Clients};
use super::copy::{Baseline, connect};
use super::engine::{CLUSTER, Engine, Services, pause};
use super::load::Load;
use super::now;

/// Securities of each portfolio.
const SECURITIES: usize = 10;
/// Business dates of each key.
const DATES: usize = 60;
/// Requests a second of the open loop.
const RATE: f64 = 500.0;
/// Transactions a second that arrive beside the herd.
const LIVE_RATE: f64 = 100.0;
/// How often each side has its turn.
const TURNS: usize = 3;
/// Between two looks at the herd.
const LOOK: Duration = Duration::from_millis(50);
/// Whether a key is behind by more than the date that a live transaction invalidates.
const IS_RUNNING: &str = "SELECT EXISTS (SELECT FROM position_state WHERE watermark_date < \
     (SELECT max(business_date) - 1 FROM business_dates))";

/// Both sides under one load.
#[derive(Default)]
struct Sides {
    bare: Answers,
    ours: Answers,
}

/// What ran beside the requests.
#[derive(Default)]
struct Herds {
    whole: usize,
    transactions: usize,
    seconds: f64,
}

/// Prints the table; a line for each load and figure.
pub(super) async fn table(folder: &Path) -> Vec<Line> {
    let portfolios = if is_quick() { 50 } else { 500 };
    let load = Load::sized(portfolios, SECURITIES, DATES);
    let services = Services::from_environment("api");
    let database = services.postgres.clone();
    let mut baseline = Baseline::connect(&database).await;
    let mut engine = Engine::prepare(services, folder).await;
    engine.start(CLUSTER);
    load.initial_state(&mut engine).await;
    engine.settled(now()).await;
    engine.send_records(load.business_dates()).await;
    engine.settled(now()).await;
    baseline.tidy().await;

    let bare = Clients::new(bare::serve(&database), portfolios);
    let ours = Clients::new(engine.api(), portfolios);
    let quiet = sides(&bare, &ours).await;
    baseline.checkpoint().await;
    let mut looker = connect(&database).await;
    let is_over = Cell::new(false);
    let measured = async {
        let sides = sides(&bare, &ours).await;
        is_over.set(true);
        sides
    };
    let herd = herd(&mut engine, &mut looker, &load, &is_over);
    let (herds, herd) = futures_util::future::join(herd, measured).await;
    engine.settled(now()).await;
    engine.finish().await;
    report(&load, &quiet, &herd, &herds)
}

/// Asks both sides in turn.
async fn sides(bare: &Clients, ours: &Clients) -> Sides {
    let seconds = if is_quick() { 1.0 } else { 5.0 };
    let mut sides = Sides::default();
    for _ in 0..TURNS {
        for (clients, answers) in [(bare, &mut sides.bare), (ours, &mut sides.ours)] {
            clients.at_rate(RATE, seconds, answers).await;
        }
        for (clients, answers) in [(bare, &mut sides.bare), (ours, &mut sides.ours)] {
            clients.as_fast_as_answered(seconds, answers).await;
        }
    }
    sides
}

/// Corrects the oldest prices again and again, each time when all has been valued anew.
async fn herd(
    engine: &mut Engine,
    looker: &mut PgConnection,
    load: &Load,
    is_over: &Cell<bool>,
) -> Herds {
    let begun = now();
    let mut herds = Herds::default();
    let mut is_expected = true;
    engine.send_records(load.corrections(1)).await;
    while !is_over.get() {
        match (is_running(looker).await, is_expected) {
            (true, _) => is_expected = false,
            (false, true) => {}
            (false, false) => {
                herds.whole += 1;
                let version = u32::try_from(1 + herds.whole).expect("few herds");
                engine.send_records(load.corrections(version)).await;
                is_expected = true;
            }
        }
        let due = ((now() - begun).as_secs_f64() * LIVE_RATE) as usize - herds.transactions;
        engine.send_records(load.more_trades(herds.transactions, due)).await;
        herds.transactions += due;
        pause(LOOK).await;
    }
    herds.seconds = (now() - begun).as_secs_f64();
    herds
}

async fn is_running(looker: &mut PgConnection) -> bool {
    let row = sqlx::query(IS_RUNNING).fetch_one(looker).await;
    row.expect("the database is there").get(0)
}

#[expect(clippy::print_stdout, reason = "a benchmark talks to a person")]
fn report(load: &Load, quiet: &Sides, herd: &Sides, herds: &Herds) -> Vec<Line> {
    println!(
        "real/api: {SECURITIES} positions an answer, {} bytes, of the bare route {}; {RATE} \
         requests/s in the open loop",
        quiet.ours.bytes, quiet.bare.bytes
    );
    println!(
        "  the herd: {} times {} keys over {DATES} dates in {:.1} s, {} transactions beside it",
        herds.whole,
        load.key_count(),
        herds.seconds,
        herds.transactions
    );
    println!(
        "  {:8} {:6} {:>9} {:>9} {:>9} {:>12}",
        "", "", "p50 ms", "p99", "p99.9", "requests/s"
    );
    let mut lines = Vec::new();
    for (name, sides) in [("quiet", quiet), ("herd", herd)] {
        let ms = |answers: &Answers, quantile| {
            answers.latencies.value_at_quantile(quantile) as f64 / 1e3
        };
        for (side, answers) in [("bare", &sides.bare), ("ours", &sides.ours)] {
            println!(
                "  {name:8} {side:6} {:9.2} {:9.2} {:9.2} {:12.0}",
                ms(answers, 0.5),
                ms(answers, 0.99),
                ms(answers, 0.999),
                answers.rate()
            );
        }
        let note = format!(
            "GET positions of a portfolio that holds {SECURITIES}, {name}; baseline: a bare route \
             of axum with one indexed query, asked in turn with ours"
        );
        for (figure, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            let (ours, baseline) = (ms(&sides.ours, quantile), ms(&sides.bare, quantile));
            let name = format!("real/api_{name}/{figure}");
            let note = format!("{note}, at {RATE} requests a second, from their intended times");
            lines.push(Line {
                name,
                ours,
                baseline,
                ratio: baseline / ours,
                unit: "ms".into(),
                note,
            });
        }
        let (ours, baseline) = (sides.ours.rate(), sides.bare.rate());
        let ratio = ours / baseline;
        println!("  {name:8} ratio {:39.3}", ratio);
        let name = format!("real/api_{name}/requests");
        lines.push(Line { name, ours, baseline, ratio, unit: "requests/s".into(), note });
    }
    lines
}
