//! A small recording made by hand: one key, three business dates, a late trade and a rebuild.

use std::collections::BTreeMap;
use std::rc::Rc;

use backdate_engine::domain::ids::{Currency, Epoch, Key, Revision, TransactionId};
use backdate_engine::domain::money::{Amount, FxRate};
use backdate_engine::domain::records::{Cashflow, Classification, Timing};
use backdate_engine::domain::records::{
    Costs, Fate, Instrument, KeyStatus, Lot, MarketPrice, Outcome, Place, Portfolio, Position,
    Terms, Transaction, TransactionType, ValuationStatus, Values,
};
use backdate_engine::domain::time::{Date, Timestamp};
use backdate_engine::ports::log::{self, Headers, Record, Topic};
use backdate_engine::ports::store::rows::{
    CashflowRow, HistoryRow, InstrumentRow, KeyState, LotRow, OutboxRow, PortfolioRow, PriceRow,
    SnapshotRow, TimelineRow, TransactionRow,
};
use backdate_engine::ports::store::statements::PositionRead;
use backdate_reports::recording::{Change, Event, EventKind, Row, SimTime};
use smol_str::SmolStr;

pub(super) fn key() -> Key {
    Key::new("P", "S")
}

pub(super) fn date(day: u32) -> Date {
    Date::parse(&format!("2025-01-{day:02}")).expect("a date")
}

pub(super) fn units(units: i64) -> Amount {
    Amount::from_units(units)
}

/// A purchase: id, day, hour, quantity, gross.
#[derive(Clone, Copy)]
pub(super) struct Buy(
    pub(super) &'static str,
    pub(super) u32,
    pub(super) u32,
    pub(super) i64,
    pub(super) i64,
);

impl Buy {
    pub(super) fn json(self) -> String {
        let Buy(id, day, hour, quantity, gross) = self;
        format!(
            r#"{{"transaction_id":"{id}","portfolio_id":"P","instrument_id":"I","security_id":"S",
            "transaction_date":"2025-01-{day:02}T{hour:02}:00:00Z","transaction_type":"BUY",
            "quantity":{quantity},"price":1,"gross_transaction_amount":{gross},"trade_fee":0,
            "trade_currency":"USD","currency":"USD"}}"#
        )
    }

    fn terms(self) -> Terms {
        let Buy(_, day, hour, quantity, gross) = self;
        let text = format!("2025-01-{day:02}T{hour:02}:00:00Z");
        Terms {
            at: Timestamp::parse(&text).expect("an instant"),
            kind: TransactionType::Buy,
            quantity: units(quantity),
            price: Amount::ONE,
            gross: units(gross),
            fee: Amount::ZERO,
            accrued_interest: Amount::ZERO,
            policy: None,
            trade_currency: Currency::new("USD"),
            currency: Currency::new("USD"),
        }
    }

    pub(super) fn place(self) -> Place {
        Place::of(&TransactionId::new(self.0), &self.terms())
    }

    pub(super) fn stored(self) -> Change {
        put(Row::Transaction(Rc::new(TransactionRow {
            transaction: Transaction {
                transaction_id: TransactionId::new(self.0),
                key: key(),
                instrument_id: SmolStr::new("I"),
                settlement_date: None,
                terms: self.terms(),
            },
            source_version: 0,
            correlation_id: None,
        })))
    }

    pub(super) fn entry(self, folded: bool) -> TimelineRow {
        let gross = units(self.4);
        let costs = Costs {
            gross_cost: gross,
            net_cost: gross,
            net_cost_local: gross,
            realized_gain_loss: Some(Amount::ZERO),
            realized_gain_loss_local: Some(Amount::ZERO),
            transaction_fx_rate: Amount::ONE,
        };
        TimelineRow {
            key: key(),
            place: self.place(),
            terms: self.terms(),
            correlation_id: None,
            outcome: folded
                .then_some(Outcome { fx: Some(FxRate::ONE), fate: Fate::Applied(costs) }),
        }
    }

    pub(super) fn lot(self) -> LotRow {
        LotRow {
            key: key(),
            lot: Lot {
                opened: self.place(),
                quantity: units(self.3),
                cost: units(self.4),
                cost_local: units(self.4),
            },
        }
    }

    /// What a fold writes: timeline, lot, and the history row under an epoch.
    pub(super) fn folded(self, epoch: u32, after: (i64, i64)) -> Vec<Change> {
        vec![
            put(Row::Timeline(Rc::new(self.entry(true)))),
            put(Row::Lot(Rc::new(self.lot()))),
            put(Row::History(Rc::new(self.history(epoch, after)))),
        ]
    }

    pub(super) fn flow(self, epoch: u32) -> CashflowRow {
        CashflowRow {
            key: key(),
            place: self.place(),
            epoch: Epoch(epoch),
            kind: TransactionType::Buy,
            cashflow: Cashflow {
                amount: units(-self.4),
                currency: Currency::new("USD"),
                classification: Classification::InvestmentOutflow,
                timing: Timing::Bod,
                is_position_flow: true,
                is_portfolio_flow: false,
            },
        }
    }

    pub(super) fn history(self, epoch: u32, after: (i64, i64)) -> HistoryRow {
        HistoryRow {
            key: key(),
            place: self.place(),
            epoch: Epoch(epoch),
            position: position(after),
        }
    }
}

pub(super) fn position((quantity, cost): (i64, i64)) -> Position {
    Position { quantity: units(quantity), cost_basis: units(cost), cost_basis_local: units(cost) }
}

pub(super) fn put(row: Row) -> Change {
    Change { row, deleted: false }
}

pub(super) fn gone(row: Row) -> Change {
    Change { row, deleted: true }
}

/// A snapshot at a price of 10 that was quoted on the first day.
pub(super) fn snapshot(day: u32, token: (u32, u64), held: (i64, i64)) -> SnapshotRow {
    let position = position(held);
    let value = units(held.0 * 10);
    SnapshotRow {
        key: key(),
        date: date(day),
        epoch: Epoch(token.0),
        revision: Revision(token.1),
        position,
        market_price: Some(units(10)),
        values: Some(Values {
            market_value: value,
            market_value_local: value,
            unrealized_gain_loss: value - position.cost_basis,
            unrealized_gain_loss_local: value - position.cost_basis,
        }),
        valuation_status: match day {
            1 => ValuationStatus::ValuedCurrent,
            _ => ValuationStatus::ValuedStale,
        },
    }
}

pub(super) fn snapshots(from: u32, token: (u32, u64), held: &[(i64, i64)]) -> Vec<Change> {
    let rows = (from..).zip(held);
    rows.map(|(day, held)| put(Row::Snapshot(Rc::new(snapshot(day, token, *held))))).collect()
}

pub(super) fn new_key() -> KeyState {
    KeyState {
        key: key(),
        epoch: Epoch(0),
        revision: Revision(0),
        watermark_date: Date::parse("2024-12-31").expect("a date"),
        valued_through: None,
        status: KeyStatus::Current,
        served_epoch: Epoch(0),
        input_version: 0,
        fold_terms: None,
        position: Position::default(),
        updated_at: Timestamp::from_micros(0),
    }
}

pub(super) fn stored_portfolio() -> Change {
    put(Row::Portfolio(Rc::new(PortfolioRow {
        portfolio: Portfolio {
            portfolio_id: "P".into(),
            base_currency: "USD".into(),
            open_date: SmolStr::new("2025-01-01"),
            cost_basis_method: backdate_engine::domain::records::CostMethod::Fifo,
        },
        source_version: 0,
    })))
}

pub(super) fn stored_instrument(id: &str) -> Change {
    put(Row::Instrument(Rc::new(InstrumentRow {
        instrument: Instrument {
            security_id: id.into(),
            currency: "USD".into(),
            product_type: SmolStr::new("Equity"),
        },
        source_version: 0,
    })))
}

pub(super) fn stored_price() -> Change {
    put(Row::Price(Rc::new(PriceRow {
        price: MarketPrice {
            security_id: "S".into(),
            price_date: date(1),
            price: units(10),
            currency: "USD".into(),
        },
        source_version: 0,
    })))
}

pub(super) fn outbox(id: u64, topic: Topic, payload: &str) -> Row {
    Row::Outbox(Rc::new(OutboxRow {
        id,
        lane: 0,
        topic,
        key: SmolStr::new("P"),
        payload: payload.to_owned(),
        correlation_id: None,
    }))
}

/// News of applied transactions of the key.
pub(super) fn applied(id: u64) -> Row {
    outbox(id, Topic::ProcessedTransactionsCompleted, APPLIED)
}

const APPLIED: &str = r#"{"portfolio_id":"P","security_id":"S","epoch":0,"revision":0}"#;

/// What a reader sees of the key, given its state and its latest snapshot.
pub(super) fn seen(state: &KeyState, latest: SnapshotRow, position_day: u32) -> PositionRead {
    PositionRead {
        key: key(),
        served_epoch: state.served_epoch,
        epoch: state.epoch,
        revision: state.revision,
        status: state.status,
        watermark_date: state.watermark_date,
        position: latest.position,
        snapshot: Some(latest),
        position_date: date(position_day),
    }
}

/// Events in the making; some have a name, by which they are doctored.
#[derive(Default)]
pub(super) struct Tape {
    pub(super) events: Vec<Event>,
    names: BTreeMap<&'static str, usize>,
    offsets: BTreeMap<Topic, u64>,
    inputs: u64,
}

impl Tape {
    pub(super) fn push(&mut self, process: &str, kind: EventKind) {
        self.events.push(Event {
            seq: 0,
            at: SimTime::default(),
            process: SmolStr::new(process),
            kind,
        });
    }

    /// Names the latest event.
    pub(super) fn name(&mut self, name: &'static str) {
        self.names.insert(name, self.events.len() - 1);
    }

    pub(super) fn at(&self, name: &str) -> usize {
        self.names[name]
    }

    pub(super) fn insert_after(&mut self, name: &str, process: &str, kind: EventKind) {
        let at = self.at(name) + 1;
        let event = Event { seq: 0, at: SimTime::default(), process: SmolStr::new(process), kind };
        self.events.insert(at, event);
        let later = self.names.values_mut().filter(|index| **index >= at);
        later.for_each(|index| *index += 1);
    }

    /// The changes of a named commit.
    pub(super) fn changes(&mut self, name: &str) -> &mut Vec<Change> {
        let at = self.at(name);
        match &mut self.events[at].kind {
            EventKind::Committed { changes, .. } => changes,
            other => panic!("{name} is no commit: {other:?}"),
        }
    }

    pub(super) fn append(&mut self, topic: Topic, value: &str) {
        let offset = self.offsets.entry(topic).or_default();
        let record = Record {
            topic,
            partition: 0,
            offset: *offset,
            key: SmolStr::new("P"),
            value: value.as_bytes().to_vec(),
            headers: Headers::default(),
        };
        *offset += 1;
        self.push("kafka-1", EventKind::Appended(Rc::new(record)));
    }

    pub(super) fn input(&mut self, topic: Topic, value: &str) {
        let id = self.inputs;
        self.inputs += 1;
        let sent = EventKind::InputSent {
            id,
            topic,
            key: SmolStr::new("P"),
            value: Rc::from(value.as_bytes()),
        };
        self.push("client-1", sent);
        self.append(topic, value);
        self.push("client-1", EventKind::InputAcknowledged { id });
    }

    pub(super) fn commit(&mut self, client: &str, changes: Vec<Change>) {
        self.push("postgres", committed(client, changes));
    }

    /// News of applied transactions is published, and their cash flows are written.
    pub(super) fn flows(&mut self, id: u64, epoch: u32, buys: &[Buy]) {
        let topic = Topic::ProcessedTransactionsCompleted;
        self.append(topic, APPLIED);
        self.commit("outbox-dispatcher-1", vec![gone(applied(id))]);
        let rows = buys.iter().map(|buy| put(Row::Cashflow(Rc::new(buy.flow(epoch)))));
        self.commit("cashflow-calculator-1", rows.collect());
        self.name(match id {
            11 => "first flow",
            12 => "later flow",
            _ => "replayed flows",
        });
        self.done("cashflow-calculator", &[topic]);
    }

    pub(super) fn done(&mut self, group: &str, topics: &[Topic]) {
        let position = |topic: &Topic| log::Position {
            topic: *topic,
            partition: 0,
            next_offset: self.offsets.get(topic).copied().unwrap_or(0),
        };
        let positions = topics.iter().map(position).collect();
        let group = SmolStr::new(group);
        self.push("kafka-1", EventKind::OffsetsCommitted { group, positions });
    }

    /// Numbers the events, one a millisecond, on top of their own times.
    pub(super) fn finished(mut self) -> Vec<Event> {
        for (seq, event) in (0..).zip(&mut self.events) {
            event.seq = seq;
            event.at = SimTime(event.at.0 + seq * 1_000_000);
        }
        self.events
    }
}

pub(super) fn committed(client: &str, changes: Vec<Change>) -> EventKind {
    EventKind::Committed { client: SmolStr::new(client), keys_locked: 1, changes }
}
