//! How long it takes from a transaction to the snapshot that contains it, at fixed rates.
//!
//! The loop is open: each transaction has its time, whatever became of those before it, and its
//! latency counts from then, so that a stall shows in all that had to wait for it. Snapshots are
//! seen by logical decoding of the one column that tells: all trades of a key buy the same number
//! of units, so the quantity says which of them a snapshot contains.
//!
//! What counts is the time that the database gives the commit, to the microsecond and on this
//! machine's clock, so the slot need not be read often: each read decodes again what was written
//! since the last checkpoint of the slot, which would slow down what is measured. The time leaves
//! out the flush of the commit itself.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use backdate_engine::adapters::postgres::config::PostgresConfig;
use backdate_engine::ports::log::NewRecord;
use hdrhistogram::Histogram;

use super::engine::{Engine, pause};
use super::load::{Load, UNITS};
use super::now;
use super::watch::{Seen, Watch};

/// Between two sends: what has become due meanwhile goes out as one.
const TICK: Duration = Duration::from_millis(2);
/// Between two polls of the slot.
const POLL: Duration = Duration::from_millis(500);
/// How long the last snapshots may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Latencies at one rate, in microseconds.
pub(super) struct Latencies {
    /// Until the commit of the snapshot.
    pub(super) committed: Histogram<u64>,
    /// Transactions a second, as they were meant.
    pub(super) rate: f64,
    /// By how much the last send was late, in seconds.
    pub(super) late: f64,
}

/// Sends trades at a rate for some seconds, after as many as were sent `before`.
pub(super) async fn at_rate(
    engine: &mut Engine,
    load: &Load,
    before: usize,
    rate: f64,
    seconds: f64,
) -> Latencies {
    let count = (rate * seconds) as usize;
    let records = load.more_trades(before, count);
    let config: PostgresConfig = engine.services().postgres.clone();
    let mut watch = Watch::start(&config, &load.latest()).await;
    let mut waiting = Waiting::new(load, before, count, rate);
    let sender = send(engine, records, rate, waiting.begun);
    let receiver = async {
        while waiting.left > 0 {
            let seen = watch.poll().await;
            waiting.take(&seen);
            assert!(waiting.begun.elapsed_of(now()) < PATIENCE.as_secs_f64() + seconds, "too slow");
            pause(POLL).await;
        }
    };
    let (late, ()) = futures_util::future::join(sender, receiver).await;
    watch.end().await;
    Latencies { committed: waiting.committed, rate, late }
}

/// Sends each record at its time or, if it is late, as soon as it can; how late the last one was.
async fn send(engine: &mut Engine, records: Vec<NewRecord>, rate: f64, begun: Begun) -> f64 {
    let mut records = VecDeque::from(records);
    let all = records.len();
    while !records.is_empty() {
        let due = (begun.elapsed_of(now()) * rate) as usize;
        let due = due.min(all).saturating_sub(all - records.len());
        if due > 0 {
            engine.send_records(records.drain(..due).collect()).await;
        }
        pause(TICK).await;
    }
    begun.elapsed_of(now()) - all as f64 / rate
}

/// One instant on two clocks.
#[derive(Clone, Copy)]
struct Begun {
    instant: Instant,
    /// Microseconds since 1970.
    at: i64,
}

impl Begun {
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures the machine")]
    fn now() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let at = since.expect("the clock is past 1970").as_micros();
        Self { instant: now(), at: i64::try_from(at).expect("the clock is before 2200") }
    }

    /// Seconds until an instant.
    fn elapsed_of(self, instant: Instant) -> f64 {
        instant.saturating_duration_since(self.instant).as_secs_f64()
    }
}

/// Transactions that no snapshot contains yet.
struct Waiting {
    begun: Begun,
    /// Of each key: the quantity of the first snapshot that contains it, and the intended second.
    by_key: HashMap<(String, String), VecDeque<(usize, f64)>>,
    left: usize,
    committed: Histogram<u64>,
}

impl Waiting {
    fn new(load: &Load, before: usize, count: usize, rate: f64) -> Self {
        let mut by_key: HashMap<_, VecDeque<_>> = HashMap::new();
        for (i, (n, key)) in load.turns(before).take(count).enumerate() {
            // The key had one trade before its first turn.
            by_key.entry(key).or_default().push_back(((n + 1) * UNITS, i as f64 / rate));
        }
        let committed = Histogram::new_with_bounds(1, 600_000_000, 3);
        let committed = committed.expect("three digits are few");
        Self { begun: Begun::now(), by_key, left: count, committed }
    }

    fn take(&mut self, snapshots: &[Seen]) {
        for snapshot in snapshots {
            let committed = (snapshot.at - self.begun.at) as f64 / 1e6;
            let Some(of_key) = self.by_key.get_mut(&snapshot.key) else { continue };
            while let Some((_, meant)) = of_key.pop_front_if(|(q, _)| *q <= snapshot.quantity) {
                record(&mut self.committed, committed - meant);
                self.left -= 1;
            }
        }
    }
}

fn record(histogram: &mut Histogram<u64>, seconds: f64) {
    histogram.saturating_record((seconds * 1e6).max(0.0) as u64);
}
