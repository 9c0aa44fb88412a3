//! One key with a long history, and one trade at its very beginning.
//!
//! The rebuild of n transactions must write O(n) history rows, at the most one for each place of
//! the timeline; an engine that rewrites all later rows for every message writes n (n + 1) / 2.

use std::cell::RefCell;
use std::rc::Rc;

use backdate::scenario::{Plan, PlannedInput};
use backdate::world::Course;
use backdate_engine::ports::host::Signal;
use backdate_engine::ports::log::Topic;
use backdate_reports::recording::{Event, EventKind, Phase, Row};
use backdate_reports::summary::Verdict;
use serde_json::{Value, json};

use crate::measure::{Onlookers, measure, plan};

/// What the rebuild took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rebuild {
    /// History rows that reached the database after the late trade was sent.
    pub rows: u64,
    /// Rows that the replayer says it wrote.
    pub replayed: u64,
    /// Simulated seconds from sending the trade until the replay was done.
    pub simulated_seconds: f64,
    /// Epochs that began.
    pub epochs: u64,
}

/// Gives one key that many transactions, then one before all of them.
pub fn rebuild(transactions: u32) -> Rebuild {
    let seen = Rc::new(RefCell::new((Rebuild::default(), Seen::default())));
    let shared = Rc::clone(&seen);
    let events = Box::new(move |event: &Event, _: Option<&Course>| {
        let (rebuild, seen) = &mut *shared.borrow_mut();
        observe(event, rebuild, seen);
    });
    let plan = long_key(transactions);
    let measured = measure(&plan, Onlookers { events: Some(events), ..Onlookers::default() });
    let summary = &measured.outcome.summary;
    assert_eq!(summary.verdict, Verdict::Pass, "{:?} {:?}", summary.notes, summary.rules);
    seen.borrow().0
}

#[derive(Default)]
struct Seen {
    in_storm: bool,
    sent_at: f64,
}

fn observe(event: &Event, rebuild: &mut Rebuild, seen: &mut Seen) {
    match &event.kind {
        EventKind::Phase(Phase::Storm) => seen.in_storm = true,
        _ if !seen.in_storm => {}
        EventKind::InputSent { .. } => seen.sent_at = event.at.seconds(),
        EventKind::Committed { changes, .. } => {
            let is_written = |row: &Row| matches!(row, Row::History(_));
            let written = changes.iter().filter(|change| !change.deleted);
            rebuild.rows += written.filter(|change| is_written(&change.row)).count() as u64;
        }
        EventKind::Signal(Signal::EpochBumped { .. }) => rebuild.epochs += 1,
        EventKind::Signal(Signal::Replayed { rows, done, .. }) => {
            rebuild.replayed += u64::from(*rows);
            if *done {
                rebuild.simulated_seconds = event.at.seconds() - seen.sent_at;
            }
        }
        _ => {}
    }
}

/// A plan: the everyday cluster, one key, its transactions one second apart, then the late one.
fn long_key(transactions: u32) -> Plan {
    let mut plan = plan(
        "smoke/steady.toml",
        &[
            "thresholds=[]".into(),
            "workload.data.business_days=3".into(),
            "workload.portfolios={ count = 1 }".into(),
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
    let trade = |number: u32, second: u32, phase: Phase| {
        let mut message: Value = serde_json::from_str(&first.value).expect("a transaction is JSON");
        let date = message["transaction_date"].as_str().expect("a date");
        let at = format!("{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60);
        message["transaction_date"] = json!(format!("{}T{at}", &date[..10]));
        message["transaction_id"] = json!(format!("LONG-{number:06}"));
        PlannedInput {
            phase,
            // A burst, but in the order of the dates: each is an append.
            at_ms: if phase == Phase::Warmup { first.at_ms + u64::from(number) } else { 0 },
            value: message.to_string().into(),
            ..first.clone()
        }
    };
    plan.inputs.extend((1..=transactions).map(|n| trade(n, n, Phase::Warmup)));
    plan.inputs.push(trade(0, 0, Phase::Storm));
    for (id, input) in (0..).zip(&mut plan.inputs) {
        input.id = id;
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trade_before_all_others_writes_each_row_once() {
        const TRANSACTIONS: u32 = 2_000;
        let rebuild = rebuild(TRANSACTIONS);
        assert_eq!(rebuild.epochs, 1);
        assert!(rebuild.rows > 1, "the history was rebuilt");
        assert!(rebuild.rows <= u64::from(TRANSACTIONS) + 1, "{rebuild:?}");
        assert_eq!(rebuild.rows, rebuild.replayed, "what the replayer says is what it wrote");
    }
}
