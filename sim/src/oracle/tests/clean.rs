//! A run in which nothing is wrong: a first trade, a later one, a back-dated one, and readers.

use std::rc::Rc;

use backdate_engine::domain::ids::{Epoch, Revision};
use backdate_engine::domain::records::{BusinessDate, GLOBAL_CALENDAR, KeyStatus};
use backdate_engine::domain::time::Date;
use backdate_engine::ports::log::Topic;
use backdate_engine::ports::store::rows::{
    EpochRow, KeyState, ReplayRow, ReprocessingJobRow, Subject, TriggerRow,
};
use backdate_reports::recording::{Change, EventKind, Phase, Row};
use smol_str::SmolStr;

use super::series;
use super::tape::*;

pub(super) const FIRST: Buy = Buy("B1", 1, 10, 10, 100);
pub(super) const LATER: Buy = Buy("B2", 2, 10, 5, 60);
pub(super) const BACKDATED: Buy = Buy("B0", 1, 9, 2, 18);

const RAW: [Topic; 6] = [
    Topic::RawPortfolios,
    Topic::Instruments,
    Topic::RawTransactions,
    Topic::MarketPrices,
    Topic::FxRates,
    Topic::RawBusinessDates,
];

fn state(state: &KeyState) -> Change {
    put(Row::Key(Rc::new(state.clone())))
}

/// The whole run.
pub(super) fn tape() -> Tape {
    let mut tape = Tape::default();
    let mut key = new_key();
    tape.push("runner", EventKind::Phase(Phase::Storm));
    reference_data(&mut tape);
    first_trade(&mut tape, &mut key);
    price(&mut tape, &mut key);
    later_trade(&mut tape, &mut key);
    tape.push("runner", EventKind::Phase(Phase::Calm));
    backdated_trade(&mut tape, &mut key);
    tape.push("runner", EventKind::Phase(Phase::Settled));
    tape
}

fn reference_data(tape: &mut Tape) {
    tape.input(
        Topic::RawPortfolios,
        r#"{"portfolio_id":"P","base_currency":"USD","open_date":"2025-01-01",
        "cost_basis_method":"FIFO"}"#,
    );
    let mut changes = vec![stored_portfolio()];
    for id in ["S", "X"] {
        let value = format!(r#"{{"security_id":"{id}","currency":"USD","product_type":"Equity"}}"#);
        tape.input(Topic::Instruments, &value);
        changes.push(stored_instrument(id));
    }
    for day in 1..=3 {
        let value = format!(r#"{{"business_date":"2025-01-{day:02}"}}"#);
        tape.input(Topic::RawBusinessDates, &value);
        changes.push(put(Row::BusinessDate(Rc::new(BusinessDate {
            calendar_code: SmolStr::new(GLOBAL_CALENDAR),
            business_date: date(day),
        }))));
    }
    tape.commit("persistence-1", changes);
    tape.name("reference data");
    tape.input(Topic::RawTransactions, "poison");
    tape.append(
        Topic::DeadLetters,
        r#"{"original_topic":"raw_transactions",
        "key":"P","value":"poison","error":"MALFORMED_JSON"}"#,
    );
    tape.name("dead letter");
    tape.done("persistence", &RAW);
}

/// An input is stored, its news published; the calculator's commit is the caller's.
fn arrives(tape: &mut Tape, buy: Buy, id: u64, more: Vec<Change>) {
    let topic = Topic::RawTransactionsCompleted;
    let news = r#"{"portfolio_id":"P","security_id":"S"}"#;
    tape.input(Topic::RawTransactions, &buy.json());
    let mut changes = vec![buy.stored(), put(outbox(id, topic, news))];
    changes.extend(more);
    tape.commit("persistence-1", changes);
    tape.name(match id {
        1 => "first stored",
        2 => "later stored",
        _ => "backdated stored",
    });
    tape.done("persistence", &RAW);
    tape.append(topic, news);
    tape.commit("outbox-dispatcher-1", vec![gone(outbox(id, topic, news))]);
}

fn valued(tape: &mut Tape, key: &mut KeyState, rows: Vec<Change>, news: u64) {
    key.valued_through = Some(date(3));
    let mut changes = vec![state(key), put(series::valued(news))];
    changes.extend(rows);
    tape.commit("position-valuation-calculator-1", changes);
}

fn current(tape: &mut Tape, key: &mut KeyState, more: Vec<Change>) {
    key.watermark_date = date(3);
    key.status = KeyStatus::Current;
    key.served_epoch = key.epoch;
    key.input_version += 1;
    let mut changes = vec![state(key)];
    changes.extend(more);
    tape.commit("valuation-scheduler-1", changes);
}

fn read(tape: &mut Tape, key: &KeyState, snapshot: (u32, u64), held: (i64, i64)) {
    let latest = super::tape::snapshot(3, snapshot, held);
    tape.push(
        "reader-1",
        EventKind::Read { portfolio_id: "P".into(), positions: vec![seen(key, latest, 2)] },
    );
}

fn first_trade(tape: &mut Tape, key: &mut KeyState) {
    arrives(tape, FIRST, 1, vec![state(key)]);
    key.input_version += 1;
    key.position = position((10, 100));
    let mut changes = FIRST.folded(0, (10, 100));
    changes.extend([state(key), put(applied(11))]);
    tape.commit("position-calculator-1", changes);
    tape.done("position-calculator", &[Topic::RawTransactionsCompleted]);
    tape.flows(11, 0, &[FIRST]);
}

fn price(tape: &mut Tape, key: &mut KeyState) {
    let topic = Topic::MarketPricePersisted;
    let news = r#"{"security_id":"S","price_date":"2025-01-01"}"#;
    tape.input(
        Topic::MarketPrices,
        r#"{"security_id":"S","price_date":"2025-01-01","price":10,"currency":"USD"}"#,
    );
    tape.commit("persistence-1", vec![stored_price(), put(outbox(9, topic, news))]);
    tape.done("persistence", &RAW);
    tape.append(topic, news);
    tape.commit("outbox-dispatcher-1", vec![gone(outbox(9, topic, news))]);
    let trigger = Row::Trigger(Rc::new(TriggerRow {
        subject: Subject::Security("S".into()),
        earliest_date: date(1),
    }));
    tape.commit("price-watcher-1", vec![put(trigger.clone())]);
    tape.done("price-watcher", &[topic]);
    let job = Row::ReprocessingJob(Rc::new(ReprocessingJobRow {
        id: 1,
        subject: Subject::Security("S".into()),
        date: date(1),
        cursor: None,
    }));
    tape.commit("valuation-scheduler-1", vec![gone(trigger), put(job.clone())]);
    key.input_version += 1;
    tape.commit("reprocessing-worker-1", vec![state(key), gone(job)]);
    valued(tape, key, snapshots(1, (0, 0), &[(10, 100); 3]), 21);
    tape.name("first valued");
    let row = |day, begin, bought| series::row(day, (0, 0), (10, 100), begin, bought);
    tape.series(21, &[row(1, 0, 100), row(2, 100, 0), row(3, 100, 0)], Some(31));
    tape.sums(31, &[(1, 0, 100), (2, 100, 100), (3, 100, 100)]);
    current(tape, key, Vec::new());
    read(tape, key, (0, 0), (10, 100));
}

fn later_trade(tape: &mut Tape, key: &mut KeyState) {
    arrives(tape, LATER, 2, Vec::new());
    key.revision = Revision(1);
    key.watermark_date = date(1);
    key.status = KeyStatus::Reprocessing;
    key.position = position((15, 160));
    let mut changes = LATER.folded(0, (15, 160));
    changes.extend([state(key), put(applied(12))]);
    tape.commit("position-calculator-1", changes);
    tape.done("position-calculator", &[Topic::RawTransactionsCompleted]);
    tape.flows(12, 0, &[LATER]);
    valued(tape, key, snapshots(2, (0, 1), &[(15, 160); 2]), 22);
    tape.name("later valued");
    let row = |day, begin, bought| series::row(day, (0, 1), (15, 160), begin, bought);
    tape.series(22, &[row(2, 100, 60), row(3, 150, 0)], Some(32));
    tape.sums(32, &[(2, 100, 150), (3, 150, 150)]);
    current(tape, key, Vec::new());
    tape.name("later current");
    read(tape, key, (0, 1), (15, 160));
    read(tape, key, (0, 1), (15, 160));
    tape.name("later read");
}

/// Rows of the series that nobody sees once epoch 1 is served.
fn replaced() -> [Row; 3] {
    [
        series::row(1, (0, 0), (10, 100), 0, 100),
        series::row(2, (0, 1), (15, 160), 100, 60),
        series::row(3, (0, 1), (15, 160), 150, 0),
    ]
    .map(|row| Row::PositionSeries(Rc::new(row)))
}

fn backdated_trade(tape: &mut Tape, key: &mut KeyState) {
    arrives(tape, BACKDATED, 3, Vec::new());
    let replay = Row::Replay(Rc::new(ReplayRow {
        key: super::tape::key(),
        epoch: Epoch(1),
        from_date: date(1),
        cursor: None,
    }));
    let epoch = Row::Epoch(Rc::new(EpochRow {
        key: super::tape::key(),
        epoch: Epoch(1),
        from_date: date(1),
    }));
    key.epoch = Epoch(1);
    key.revision = Revision(2);
    key.watermark_date = Date::parse("2024-12-31").expect("a date");
    key.status = KeyStatus::Reprocessing;
    let entry = put(Row::Timeline(Rc::new(BACKDATED.entry(false))));
    let changes = vec![entry, put(epoch), put(replay.clone()), state(key)];
    tape.commit("position-calculator-1", changes);
    tape.name("epoch bumped");
    tape.done("position-calculator", &[Topic::RawTransactionsCompleted]);
    read(tape, key, (0, 1), (15, 160));
    tape.name("read in replay");
    key.input_version += 1;
    key.position = position((17, 178));
    let mut changes = BACKDATED.folded(1, (2, 18));
    changes.extend(FIRST.folded(1, (12, 118)));
    changes.extend(LATER.folded(1, (17, 178)));
    changes.extend([gone(replay), state(key), put(applied(13))]);
    tape.commit("position-calculator-1", changes);
    tape.name("replayed");
    tape.flows(13, 1, &[BACKDATED, FIRST, LATER]);
    valued(tape, key, snapshots(1, (1, 2), &[(12, 118), (17, 178), (17, 178)]), 23);
    tape.name("backdated valued");
    let rows = [
        series::row(1, (1, 2), (12, 118), 0, 118),
        series::row(2, (1, 2), (17, 178), 120, 60),
        series::row(3, (1, 2), (17, 178), 170, 0),
    ];
    tape.series(23, &rows, None);
    let pruned = [
        Row::Cashflow(Rc::new(FIRST.flow(0))),
        Row::Cashflow(Rc::new(LATER.flow(0))),
        Row::History(Rc::new(FIRST.history(0, (10, 100)))),
        Row::History(Rc::new(LATER.history(0, (15, 160)))),
        Row::Snapshot(Rc::new(snapshot(1, (0, 0), (10, 100)))),
        Row::Snapshot(Rc::new(snapshot(2, (0, 1), (15, 160)))),
        Row::Snapshot(Rc::new(snapshot(3, (0, 1), (15, 160)))),
    ];
    let mut more = pruned.map(gone).to_vec();
    more.extend(replaced().map(gone));
    more.push(put(series::due(33)));
    current(tape, key, more);
    tape.name("backdated current");
    tape.sums(33, &[(1, 0, 120), (2, 120, 170), (3, 170, 170)]);
    read(tape, key, (1, 2), (17, 178));
    read(tape, key, (1, 2), (17, 178));
    tape.name("last read");
}
