//! Claims about what befalls the database and what operators do: it happens, and it does no harm.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;

use backdate_engine::ports::host::Signal;
use backdate_engine::ports::log::Topic;
use backdate_engine::ports::store::StoreError;
use backdate_reports::recording::{Event, EventKind, Row};
use backdate_reports::summary::Summary;

use crate::runner::{RunOptions, run};
use crate::scenario::{Plan, parse};

const SCENARIO: &str = r#"
name = "operated"
about = "Trades and corrections, and one fault after a second."
[cluster]
outbox-dispatcher = 2
[workload.data]
from = "2012-12-03"
business_days = 4
[workload.portfolios]
count = 3
[workload.holdings]
securities = ["SP500", "IBM"]
[workload.live]
rate_per_second = 20
backdated_share = 0.4
backdated_days_max = 3
[[workload.price_corrections]]
security = "SP500"
business_days_back = 3
at = "100ms"
factor = "1.01"
times = 20
every = "200ms"
[phases]
storm = "5s"
[[faults]]
at = "1s"
"#;

/// A run with a fault that must pass: its summary, and its events since the storm began.
fn suffer(fault: &str) -> (Summary, Vec<Event>) {
    let text = format!("{SCENARIO}{fault}");
    let loaded = parse(Path::new("operated.toml"), &text, &[]).expect("a good scenario");
    let plan = Plan::expand(&loaded, 1);
    let events: Rc<RefCell<Vec<Event>>> = Rc::default();
    let sink = Rc::clone(&events);
    let outcome = run(RunOptions {
        plan: &plan,
        save: None,
        canary: None,
        interrupted: &AtomicBool::new(false),
        progress: &mut |_| {},
        events: Some(Box::new(move |event, _| sink.borrow_mut().push(event.clone()))),
    });
    let summary = outcome.expect("nothing is saved").summary;
    assert_eq!(summary.exit_code, 0, "{fault}: {:?} {:?}", summary.rules, summary.notes);
    let mut events = events.take();
    let storm = events.iter().position(is_fault).unwrap_or(events.len());
    (summary, events.split_off(storm))
}

fn is_fault(event: &Event) -> bool {
    matches!(event.kind, EventKind::Fault { .. })
}

/// What happened while the fault lasted.
fn during(events: &[Event]) -> &[Event] {
    let end = events.iter().rposition(is_fault).expect("it begins and ends");
    &events[1..end]
}

fn writes_keys(event: &Event) -> bool {
    let EventKind::Committed { changes, .. } = &event.kind else { return false };
    changes.iter().any(|change| matches!(change.row, Row::Key(_)))
}

/// Milliseconds between two events.
fn between_ms(earlier: &Event, later: &Event) -> u128 {
    later.at.since(earlier.at).as_millis()
}

#[test]
fn a_slow_disk_keeps_the_database_busy() {
    let busy = |fault| suffer(fault).0.utilisation["postgres"];
    let slow = busy("kind = \"slow_disk\"\nfactor = 200\nlasts = \"3s\"");
    let well = busy("kind = \"slow_disk\"\nfactor = 1\nlasts = \"3s\"");
    assert!(slow > 3.0 * well, "{slow} and {well}");
}

#[test]
fn nobody_writes_a_key_that_somebody_has_locked() {
    let (_, events) = suffer("kind = \"lock_pile_up\"\nlasts = \"2s\"");
    let held = during(&events);
    // Whoever had locked keys before must let them go first.
    let late = held.iter().filter(|event| between_ms(&events[0], event) > 500);
    assert_eq!(late.filter(|event| writes_keys(event)).count(), 0);
    assert!(events[held.len() + 1..].iter().any(writes_keys));
}

#[test]
fn a_failover_refuses_writes_for_a_while() {
    let (_, events) = suffer("kind = \"failover\"\nlasts = \"2s\"");
    let down = during(&events);
    assert!(down.iter().any(|event| matches!(
        &event.kind,
        EventKind::Aborted { error: StoreError::ReadOnly, .. }
    )));
    // A commit that was under way is the last.
    let late = down.iter().filter(|event| between_ms(&events[0], event) > 100);
    assert_eq!(late.filter(|event| matches!(event.kind, EventKind::Committed { .. })).count(), 0);
    assert!(events[down.len() + 1..].iter().any(writes_keys));
}

#[test]
fn a_lost_answer_leaves_its_client_in_doubt() {
    let fault = "kind = \"lost_answer\"\nprocess = \"persistence\"\ntimes = 2\nlasts = \"4s\"";
    let (_, events) = suffer(fault);
    let unknown = StoreError::UnknownOutcome.to_string();
    let in_doubt = events.iter().filter(|event| match &event.kind {
        EventKind::Signal(Signal::Trouble { error, .. }) => *error == unknown,
        _ => false,
    });
    assert_eq!(in_doubt.filter(|event| event.process == "persistence-1").count(), 2);
    assert!(during(&events).len() < events.len() / 2, "it ends with the last answer lost");
}

#[test]
fn a_second_scheduler_works_until_it_is_killed() {
    let fault = "kind = \"second_instance\"\nprocess = \"valuation-scheduler\"\nlasts = \"3s\"";
    let (summary, events) = suffer(&format!("{fault}\nrepeat = 2\nevery = \"500ms\""));
    for second in ["valuation-scheduler-2", "valuation-scheduler-3"] {
        assert!(events.iter().any(|event| match &event.kind {
            EventKind::Committed { client, .. } => client == second,
            _ => false,
        }));
    }
    assert_eq!((summary.counters["crashes"], summary.faults["second_instance"]), (2, 2));
}

#[test]
fn a_zombie_is_fenced_and_named() {
    let fault = "kind = \"zombie_producer\"\nprocess = \"outbox-dispatcher-1\"\nlasts = \"3s\"";
    let (summary, _) = suffer(fault);
    assert!(summary.counters["zombie_records"] > 0, "{:?}", summary.counters);
    assert!(summary.counters["fenced_zombies"] > 0, "{:?}", summary.counters);
    assert!(summary.fenced_producers.contains_key("outbox-dispatcher-1-zombie"));
}

#[test]
fn news_that_come_again_change_nothing() {
    let (_, events) = suffer("kind = \"reprocess_twice\"\ntimes = 2");
    let news_of = |tool: &str| {
        let records = events.iter().filter(|event| match &event.kind {
            EventKind::Appended(record) => {
                record.topic == Topic::RawTransactionsCompleted
                    && record.headers.producer.as_deref() == Some(tool)
            }
            _ => false,
        });
        records.count()
    };
    assert!(news_of("reprocess-1") >= 6);
    assert_eq!(news_of("reprocess-1"), news_of("reprocess-2"));
}

#[test]
fn a_fault_begins_at_the_point_that_it_waits_for_or_not_at_all() {
    let at_point = |point: &str| {
        let kind = "kind = \"session_kill\"\nprocess = \"persistence\"\npasses = [2]";
        suffer(&format!("{kind}\npoint = \"{point}\"")).0.faults.get("session_kill").copied()
    };
    assert_eq!(at_point("persistence/Commit/before"), Some(1));
    assert_eq!(at_point("persistence/Send/before"), None, "no message is poison");
}
