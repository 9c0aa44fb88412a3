//! One key with a long history, and what arrives at it then.
//!
//! What is appended must cost the same after 10,000 transactions as after 100. A trade before all
//! others makes the engine rebuild n transactions: that must write O(n) history rows, at the most
//! one for each place of the timeline (an engine that rewrites all later rows for every message
//! writes n (n + 1) / 2), and each of them must cost the same however many there are.
//!
//! Costs are counted in the simulated database: statements that return or write a row, and such
//! rows, of all processes of the engine from the first arrival to the end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use backdate::scenario::{Plan, PlannedInput};
use backdate::world::{Course, Measured};
use backdate_engine::domain::time::Date;
use backdate_engine::ports::host::Signal;
use backdate_engine::ports::log::Topic;
use backdate_reports::recording::{Event, EventKind, Phase, Row};
use backdate_reports::summary::Verdict;
use serde_json::{Value, json};

use crate::measure::{Onlookers, measure, plan};

/// What is appended, one after the other, each by itself.
const APPENDED: u32 = 20;
/// Between two of them.
const APPEND_MS: u64 = 200;
/// Transactions of the last date, if there is more than one.
const LAST_DATE: u32 = 10;
/// What readers and the harness ask for, whatever arrives; and the flows of a day, of which its row
/// of the series is the sum, so that it costs what the day has: here all trades are of one day.
const ASIDE: [&str; 3] = ["ReadPortfolioPositions", "ReadBacklog", "ReadCashflows"];

/// What arrives at the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Trades after all others, each of which adds a lot.
    Buys,
    /// Trades after all others, each of which takes the oldest lot.
    Sales,
    /// One trade before all others.
    First,
    /// One trade before those of the last date, which are ten.
    LastDate,
}

/// What that took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Taken {
    /// Transactions that arrived.
    pub arrived: u64,
    /// History rows that reached the database.
    pub rows: u64,
    /// Rows that the replayer says it wrote.
    pub replayed: u64,
    /// Simulated seconds from sending a transaction until it was folded, in the mean; of a trade
    /// before others, until its replay was done.
    pub seconds: f64,
    /// Epochs that began.
    pub epochs: u64,
    /// Statements that returned or wrote a row, and those rows, by name.
    pub served: BTreeMap<&'static str, (u64, u64)>,
}

impl Taken {
    /// All statements that returned or wrote a row.
    pub fn statements(&self) -> u64 {
        self.served.values().map(|(statements, _)| statements).sum()
    }

    /// All rows that were returned or written.
    pub fn touched(&self) -> u64 {
        self.served.values().map(|(_, rows)| rows).sum()
    }
}

/// Gives one key that many transactions, then what arrives.
pub fn after(transactions: u32, arrival: Arrival) -> Taken {
    let seen = Rc::new(RefCell::new(Seen::default()));
    let shared = Rc::clone(&seen);
    let events = Box::new(move |event: &Event, _: Option<&Course>| {
        shared.borrow_mut().observe(event);
    });
    let shared = Rc::clone(&seen);
    let measurer = Rc::new(move |_, _: &str, measured| shared.borrow_mut().measured(measured));
    let looking =
        Onlookers { events: Some(events), measurer: Some(measurer), ..Onlookers::default() };
    let measured = measure(&long_key(transactions, arrival), looking);
    let summary = &measured.outcome.summary;
    assert_eq!(summary.verdict, Verdict::Pass, "{:?} {:?}", summary.notes, summary.rules);
    let seen = seen.borrow();
    let mut taken = seen.taken.clone();
    taken.seconds /= taken.arrived as f64;
    taken
}

#[derive(Default)]
struct Seen {
    in_storm: bool,
    /// When each that is not folded yet was sent.
    sent: BTreeMap<String, f64>,
    last_sent: f64,
    taken: Taken,
}

impl Seen {
    fn observe(&mut self, event: &Event) {
        let at = event.at.seconds();
        let taken = &mut self.taken;
        match &event.kind {
            EventKind::Phase(Phase::Storm) => self.in_storm = true,
            _ if !self.in_storm => {}
            EventKind::InputSent { value, .. } => {
                taken.arrived += 1;
                self.sent.insert(id_of(value), at);
                self.last_sent = at;
            }
            EventKind::Committed { changes, .. } => {
                for change in changes.iter().filter(|change| !change.deleted) {
                    match &change.row {
                        Row::History(_) => taken.rows += 1,
                        Row::Timeline(row) if row.outcome.is_some() => {
                            let sent = self.sent.remove(row.place.transaction_id.as_str());
                            taken.seconds += sent.map_or(0.0, |sent| at - sent);
                        }
                        _ => {}
                    }
                }
            }
            EventKind::Signal(Signal::EpochBumped { .. }) => taken.epochs += 1,
            EventKind::Signal(Signal::Replayed { rows, done, .. }) => {
                taken.replayed += u64::from(*rows);
                if *done {
                    taken.seconds = at - self.last_sent;
                }
            }
            _ => {}
        }
    }

    fn measured(&mut self, measured: Measured) {
        if let Measured::Served { operation, rows } = measured
            && self.in_storm
            && rows > 0
            && !ASIDE.contains(&operation)
        {
            let served = self.taken.served.entry(operation).or_default();
            served.0 += 1;
            served.1 += rows;
        }
    }
}

fn id_of(value: &[u8]) -> String {
    let message: Value = serde_json::from_slice(value).expect("an input is JSON");
    message["transaction_id"].as_str().expect("a transaction has an id").to_owned()
}

/// A plan: the everyday cluster, one key, its transactions two seconds apart, then what arrives.
fn long_key(transactions: u32, arrival: Arrival) -> Plan {
    let mut plan = plan(
        "smoke/steady.toml",
        &[
            "thresholds=[]".into(),
            "workload.data.business_days=3".into(),
            "workload.portfolios={ count = 1, methods = { FIFO = 1 } }".into(),
            "workload.holdings={ securities = [\"AAPL\"] }".into(),
            "workload.live.rate_per_second=0".into(),
            "phases.storm=5s".into(),
            "expect={}".into(),
        ],
    );
    let is_trade = |input: &PlannedInput| input.topic == Topic::RawTransactions;
    let first = plan.inputs.iter().find(|input| is_trade(input)).cloned();
    let first = first.expect("the key has its first transaction");
    plan.inputs.retain(|input| !is_trade(input));
    let of_last = if arrival == Arrival::LastDate { LAST_DATE } else { 0 };
    let last_date_from = 2 * (transactions - of_last);
    let trade = |id: String, second: u32, phase: Phase, at_ms: u64| {
        let mut message: Value = serde_json::from_str(&first.value).expect("a transaction is JSON");
        let date = message["transaction_date"].as_str().expect("a date");
        let date = Date::parse(&date[..10]).expect("a date");
        let is_last = of_last > 0 && second > last_date_from;
        let date = if is_last { date.next() } else { date };
        let at = format!("{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60);
        message["transaction_date"] = json!(format!("{date}T{at}"));
        message["transaction_id"] = json!(id);
        let is_sale = phase == Phase::Storm && arrival == Arrival::Sales;
        message["transaction_type"] = json!(if is_sale { "SELL" } else { "BUY" });
        PlannedInput { phase, at_ms, value: message.to_string().into(), ..first.clone() }
    };
    // A burst, but in the order of the dates: each is an append.
    plan.inputs.extend(
        (1..=transactions).map(|n| {
            trade(format!("LONG-{n:06}"), 2 * n, Phase::Warmup, first.at_ms + u64::from(n))
        }),
    );
    let arrive = |n: u32, second| {
        trade(format!("MORE-{n:06}"), second, Phase::Storm, u64::from(n) * APPEND_MS)
    };
    match arrival {
        Arrival::Buys | Arrival::Sales => {
            let last = 2 * transactions;
            plan.inputs.extend((0..APPENDED).map(|n| arrive(n, last + 2 * (n + 1))));
        }
        Arrival::First => plan.inputs.push(arrive(0, 0)),
        Arrival::LastDate => plan.inputs.push(arrive(0, last_date_from + 1)),
    }
    for (id, input) in (0..).zip(&mut plan.inputs) {
        input.id = id;
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: u32 = 100;
    const LONG: u32 = 2_000;

    #[test]
    fn a_trade_before_all_others_writes_each_row_once() {
        let rebuild = after(LONG, Arrival::First);
        assert_eq!(rebuild.epochs, 1);
        assert!(rebuild.rows > 1, "the history was rebuilt");
        assert!(rebuild.rows <= u64::from(LONG) + 1, "{rebuild:?}");
        assert_eq!(rebuild.rows, rebuild.replayed, "what the replayer says is what it wrote");
    }

    #[test]
    fn what_is_appended_costs_the_same_after_a_long_history() {
        for arrival in [Arrival::Buys, Arrival::Sales] {
            let [short, long] = [SHORT, LONG].map(|transactions| after(transactions, arrival));
            assert_eq!((short.epochs, long.epochs), (0, 0), "all are appended");
            // How many jobs it becomes depends on when its steps happen to be looked for.
            let more = long.touched() as f64 / short.touched() as f64;
            assert!(more < 1.2, "{arrival:?}: {more} times the rows: {short:?}, {long:?}");
            let lots = ["ReadLots", "UpsertLots", "DeleteLots"];
            let [short, long] = [short, long]
                .map(|taken| lots.map(|name| taken.served.get(name).map(|(_, rows)| *rows)));
            assert_eq!(short, long, "{arrival:?}: rows of lots");
        }
    }

    #[test]
    fn what_comes_before_the_date_of_a_late_trade_is_not_written_again() {
        let taken = after(LONG, Arrival::LastDate);
        assert_eq!((taken.epochs, taken.rows), (1, u64::from(LAST_DATE) + 1));
    }

    #[test]
    fn a_rebuilt_row_costs_the_same_in_a_long_history() {
        let [short, long] = [SHORT, LONG].map(|transactions| {
            let taken = after(transactions, Arrival::First);
            assert_eq!(taken.replayed, u64::from(transactions) + 1);
            taken.touched() as f64 / taken.replayed as f64
        });
        // What is done once for the whole key is shared by more rows.
        assert!(long <= short, "{short} rows touched for each row of a short history, {long}");
    }
}
