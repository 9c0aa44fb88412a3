//! What a batch saves: statements and round trips per unit of work at several sizes of batches.
//!
//! Each size has an engine, topics and a schema of its own, and a load that fills its batches. What
//! an idle engine asks the database to find out that there is no work counts too; the table says
//! how much that is.

use std::path::Path;
use std::time::Duration;

use backdate_benches::Line;
use backdate_engine::ports::log::NewRecord;

use super::engine::{Engine, Services, pause};
use super::load::Load;
use super::now;
use super::proxy::Proxy;

/// A size of batches: its name, records, keys and jobs of one transaction unless they are as by
/// default, and the load: portfolios, securities, dates.
const SIZES: [(&str, Option<u32>, [usize; 3]); 4] = [
    ("1", Some(1), [10, 5, 4]),
    ("10", Some(10), [10, 30, 10]),
    ("100", Some(100), [50, 100, 10]),
    ("default", None, [50, 100, 10]),
];
/// For how long an idle engine is watched.
const IDLE: Duration = Duration::from_secs(2);

/// Statements and round trips per unit.
struct PerUnit {
    statements: f64,
    round_trips: f64,
}

/// Prints the table; a line for each size and unit.
#[expect(clippy::print_stdout, reason = "a benchmark talks to a person")]
pub(super) async fn table(folder: &Path) -> Vec<Line> {
    println!(
        "real/batches              per key-date               per transaction             idle"
    );
    println!("  batch         statements  round trips    statements  round trips    statements/s");
    let mut lines = Vec::new();
    let mut first: Option<[f64; 2]> = None;
    for (name, size, [portfolios, securities, dates]) in SIZES {
        let load = Load::sized(portfolios, securities, dates);
        let (dates, transactions, idle) = measure(name, size, &load, folder).await;
        println!(
            "  {name:12} {:11.4} {:12.4} {:13.4} {:12.4} {idle:15.0}",
            dates.statements, dates.round_trips, transactions.statements, transactions.round_trips
        );
        let ours = [dates.round_trips, transactions.round_trips];
        let baseline = *first.get_or_insert(ours);
        for (what, at) in [("key_date", 0), ("transaction", 1)] {
            lines.push(Line {
                name: format!("real/batch_{name}/{what}"),
                ours: ours[at],
                baseline: baseline[at],
                ratio: baseline[at] / ours[at],
                unit: format!("round trips/{what}"),
                note: "round trips to the database, beside those in batches of 1".to_owned(),
            });
        }
    }
    lines
}

async fn measure(
    name: &str,
    size: Option<u32>,
    load: &Load,
    folder: &Path,
) -> (PerUnit, PerUnit, f64) {
    let mut services = Services::from_environment(&format!("batch_{name}"));
    let database = services.postgres.clone();
    let proxy = Proxy::start(database.host, database.port).await;
    services.link = Some(proxy.address());
    let mut engine = Engine::prepare(services, folder).await;
    engine.start(&cluster(size));
    load.initial_state(&mut engine).await;
    engine.settled(now()).await;
    let before = engine.statements().await;
    pause(IDLE).await;
    let idle = (engine.statements().await - before) / IDLE.as_secs_f64();
    let dates = count(&mut engine, &proxy, load.business_dates(), load.key_dates()).await;
    let transactions = count(&mut engine, &proxy, load.live(), load.live_count()).await;
    engine.finish().await;
    (dates, transactions, idle)
}

async fn count(
    engine: &mut Engine,
    proxy: &Proxy,
    records: Vec<NewRecord>,
    units: usize,
) -> PerUnit {
    let before = (engine.statements().await, proxy.round_trips());
    engine.send_records(records).await;
    engine.settled(now()).await;
    let after = (engine.statements().await, proxy.round_trips());
    let units = units as f64;
    PerUnit { statements: (after.0 - before.0) / units, round_trips: (after.1 - before.1) / units }
}

/// One instance of each process, and one size for all batches. Pauses are short, because in small
/// batches work goes through in many rounds.
fn cluster(size: Option<u32>) -> String {
    let sizes = size.map_or_else(String::new, |size| {
        let knobs = [
            "consumer_batch",
            "outbox_batch",
            "replay_keys",
            "trigger_batch",
            "visit_batch",
            "job_keys",
            "job_days",
            "claim_batch",
            "fanout_batch",
        ];
        knobs.map(|knob| format!("{knob} = {size}\n")).concat()
    });
    format!("[knobs]\nconsumer_poll_ms = 5\nscheduler_poll_ms = 20\n{sizes}")
}
