//! Random statements over a universe so small that sessions meet all the time.
//!
//! What the port asks of its callers is kept: rows are in key order and each is there once, and a
//! transaction's place follows from its identity.

use backdate_engine::domain::ids::{Currency, Epoch, Key, Revision, Token};
use backdate_engine::domain::money::Amount;
use backdate_engine::domain::records::{
    BusinessDate, CostMethod, Costs, ExchangeRate, Fate, FoldTerms, Instrument, KeyStatus, Lot,
    MarketPrice, Outcome, ParkReason, Place, Portfolio,
};
use backdate_engine::domain::time::{Date, Timestamp};
use backdate_engine::ports::store::AnyStatement;
use backdate_engine::ports::store::rows::{
    CashflowRow, EpochRow, HistoryRow, InstrumentRow, JobKey, JobStatus, KeyState, LotRow,
    PortfolioRow, PriceRow, RateRow, ReplayRow, SnapshotRow, Subject, TimelineRow, TransactionRow,
    TriggerRow,
};
use backdate_engine::ports::store::statements::*;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use smol_str::SmolStr;

use crate::contract::fixtures::{cashflow, date, event, history, place, position, snapshot, terms};

pub(super) const PORTFOLIOS: [&str; 2] = ["P1", "P2"];
pub(super) const SECURITIES: [&str; 2] = ["S1", "S2"];
pub(super) const CURRENCIES: [&str; 3] = ["EUR", "USD", "CHF"];
/// Transactions; the number is the day.
pub(super) const IDS: [&str; 4] = ["T1", "T2", "T3", "T4"];
/// Dates are day 1 to this one.
pub(super) const DAYS: i32 = 5;
/// Lanes of the outbox.
pub(super) const LANES: u32 = 2;
/// Kinds of schedules; the last one takes everything.
pub(super) const THEMES: usize = 7;

/// A source of choices.
type Rng = ChaCha8Rng;
/// Makes a statement.
type Maker = fn(&mut Rng) -> AnyStatement;

/// The three keys.
pub(super) fn keys() -> Vec<Key> {
    vec![Key::new("P1", "S1"), Key::new("P1", "S2"), Key::new("P2", "S1")]
}

const KEYS: &[Maker] = &[
    |r| LockKeys { keys: some(r, keys()), skip_locked: r.random_bool(0.2) }.into(),
    |r| LockKeys { keys: vec![one(r, &keys())], skip_locked: false }.into(),
    |r| UpdateKeys { rows: some(r, keys()).into_iter().map(|k| key_state(r, k)).collect() }.into(),
    |r| UpdateKeys { rows: vec![any_key_state(r)] }.into(),
    |r| InsertKeys { keys: some(r, keys()).into_iter().map(|k| (k, day(r))).collect() }.into(),
    |r| RaiseValuedThrough { keys: some(r, keys()), date: day(r) }.into(),
    |r| FindDueKeys { after: after(r), limit: r.random_range(1..4) }.into(),
    |r| ReadProgress { keys: some(r, keys()).into_iter().map(|k| query(r, k)).collect() }.into(),
    |r| ReadPortfolioPositions { portfolio_id: portfolio(r), as_of: maybe(r, day) }.into(),
    |_| ReadBacklog {}.into(),
    |r| FindStuckKeys { older_than_ms: 0, after: after(r), limit: r.random_range(1..4) }.into(),
    |r| ReadPortfolioOverview { portfolio_id: portfolio(r) }.into(),
];

const INPUTS: &[Maker] = &[
    |r| LockTransactions { ids: ids(r) }.into(),
    |r| InsertTransactions { rows: transactions(r) }.into(),
    |r| UpdateTransactions { rows: transactions(r) }.into(),
    |r| ReadTransactions { ids: ids(r) }.into(),
    |r| LockPrices { ids: price_ids(r) }.into(),
    |r| UpsertPrices { rows: prices(r) }.into(),
    |r| UpsertPrices { rows: prices(r) }.into(),
    |r| {
        let (from, to) = range(r);
        ReadPrices { securities: securities(r), from, to }.into()
    },
    |r| AppendOutbox { rows: events(r) }.into(),
    |_| TakeOutboxLane {}.into(),
    |r| ReadOutbox { lane: r.random_range(0..LANES), limit: r.random_range(1..5) }.into(),
    |r| {
        let ids = numbers(r);
        DeleteOutbox { lane: ids.len() as u32 % LANES, ids }.into()
    },
];

const FAN_OUT: &[Maker] = &[
    |r| UpsertTriggers { rows: triggers(r) }.into(),
    |r| UpsertTriggers { rows: triggers(r) }.into(),
    |r| TakeTriggers { limit: r.random_range(1..4) }.into(),
    |r| {
        DeleteTriggers { subjects: triggers(r).into_iter().map(|row| row.subject).collect() }.into()
    },
    |r| {
        let jobs = triggers(r).into_iter().map(|row| (row.subject, row.earliest_date)).collect();
        InsertReprocessingJobs { jobs }.into()
    },
    |_| TakeReprocessingJob {}.into(),
    |r| ScanKeys { subject: subject(r), after: after(r), limit: r.random_range(1..4) }.into(),
    |r| MoveReprocessingJob { id: r.random_range(1..5), cursor: one(r, &keys()) }.into(),
    |r| DeleteReprocessingJob { id: r.random_range(1..5) }.into(),
];

const HISTORY: &[Maker] = &[
    |r| UpsertTimeline { new: timeline(r), rows: vec![] }.into(),
    |r| UpsertTimeline { new: vec![], rows: timeline(r) }.into(),
    |r| DeleteTimeline { places: places(r) }.into(),
    |r| {
        ReadTimelineEntries {
            ids: places(r).into_iter().map(|(k, p)| (k, p.transaction_id)).collect(),
        }
        .into()
    },
    |r| ReadTimelineTails { keys: some(r, keys()) }.into(),
    |r| ReadTimelineHeads { keys: some(r, keys()) }.into(),
    |r| {
        let ranges = some(r, keys()).into_iter().map(|key| (key, maybe(r, any_place))).collect();
        ReadTimelineChunks { ranges, limit: r.random_range(1..4) }.into()
    },
    |r| {
        let keys = some(r, keys()).into_iter().map(|key| (key, day(r))).collect();
        ReadTimelineRates { keys }.into()
    },
    |r| InsertHistory { rows: histories(r) }.into(),
    |r| InsertCashflows { rows: cashflows(r) }.into(),
    |r| {
        let ids = places(r).into_iter().map(|(k, p)| (k, epoch(r), p.transaction_id)).collect();
        ReadApplied { ids }.into()
    },
    |r| InsertHistory { rows: histories(r) }.into(),
    |r| {
        let ranges = some(r, keys()).into_iter().map(|key| (key, epoch(r), day(r))).collect();
        DeleteHistory { ranges }.into()
    },
    |r| PruneEpochs { keys: some(r, keys()).into_iter().map(|k| (k, epoch(r))).collect() }.into(),
    |r| ReadLots { keys: some(r, keys()) }.into(),
    |r| DeleteLots { lots: places(r) }.into(),
    |r| ResetLots { keys: vec![one(r, &keys())] }.into(),
    |r| {
        let (new, rows) = lots(r).into_iter().partition(|row| row.key.security_id == "S1".into());
        UpsertLots { new, rows }.into()
    },
    |r| UpsertEpochs { rows: epochs(r) }.into(),
    |r| ReadReplays { keys: some(r, keys()) }.into(),
    |r| FindReplays { after: after(r), limit: r.random_range(1..4) }.into(),
    |r| UpsertReplays { rows: some(r, keys()).into_iter().map(|k| replay(r, k)).collect() }.into(),
    |r| DeleteReplays { keys: some(r, keys()) }.into(),
    |r| {
        let (key, after) = (one(r, &keys()), maybe(r, any_place));
        ReadPositionHistory { key, after, limit: r.random_range(1..4) }.into()
    },
    |r| ReadLineage { key: one(r, &keys()), limit: r.random_range(1..4) }.into(),
];

const VALUATION: &[Maker] = &[
    |r| InsertValuationJobs { jobs: jobs(r) }.into(),
    |r| {
        let in_flight_max = r.random_range(1..5);
        let lease_ms = if r.random_bool(0.5) { 0 } else { 9_000_000 };
        ClaimValuationJobs { limit: r.random_range(1..4), in_flight_max, lease_ms }.into()
    },
    |r| {
        let statuses = [JobStatus::Pending, JobStatus::Processing, JobStatus::Waiting];
        let status = maybe(r, |r| one(r, &statuses));
        let (after, limit) = (r.random_range(0..4), r.random_range(1..4));
        FindValuationJobs { status, after, limit }.into()
    },
    |r| match r.random_range(1..5) {
        id @ 1..=2 => LockValuationJob { id }.into(),
        other => DropSupersededJobs { fresh: other as u32 - 2, limit: 2 }.into(),
    },
    |r| DeleteValuationJob { id: r.random_range(1..5) }.into(),
    |r| {
        let keys = some(r, keys()).into_iter().map(|key| JobKey { key, token: token(r) }).collect();
        let delay_ms = if r.random_bool(0.5) { 0 } else { 9_000_000 };
        PostponeValuationJob { id: r.random_range(1..5), keys, delay_ms }.into()
    },
    |r| {
        let (from, to) = range(r);
        let keys = some(r, keys()).into_iter().map(|key| (key, epoch(r))).collect();
        ReadPositions { keys, from, to }.into()
    },
    |r| {
        let (from, to) = range(r);
        let keys = some(r, keys()).into_iter().map(|key| (key, epoch(r))).collect();
        DeleteSnapshots { keys, from, to }.into()
    },
    |r| CopySnapshots { rows: snapshots(r) }.into(),
    |r| CopySnapshots { rows: snapshots(r) }.into(),
    |r| FindDueKeys { after: after(r), limit: r.random_range(1..4) }.into(),
    |r| ReadProgress { keys: some(r, keys()).into_iter().map(|k| query(r, k)).collect() }.into(),
    |_| ReadBacklog {}.into(),
];

const REFERENCE: &[Maker] = &[
    |r| LockRates { ids: rate_rows(r).iter().map(rate_id).collect() }.into(),
    |r| UpsertRates { rows: rate_rows(r) }.into(),
    |r| {
        let (from, to) = range(r);
        let pairs = vec![(currency(r), currency(r))];
        ReadRates { pairs, from, to }.into()
    },
    |r| LockPortfolios { ids: vec![portfolio(r)] }.into(),
    |r| UpsertPortfolios { rows: portfolios(r) }.into(),
    |_| ReadPortfolios { ids: PORTFOLIOS.map(Into::into).into() }.into(),
    |r| LockInstruments { ids: securities(r) }.into(),
    |r| UpsertInstruments { rows: instruments(r) }.into(),
    |r| ReadInstruments { ids: securities(r) }.into(),
    |r| LockCalendar { code: calendar(r) }.into(),
    |r| InsertBusinessDates { rows: business_dates(r) }.into(),
    |_| ReadLatestBusinessDate {}.into(),
    |r| {
        let (from, to) = range(r);
        ReadBusinessDates { from, to }.into()
    },
];

/// A statement for a schedule of that theme.
pub(super) fn statement(rng: &mut Rng, theme: usize) -> AnyStatement {
    let groups = [KEYS, INPUTS, FAN_OUT, HISTORY, VALUATION, REFERENCE];
    let own = groups.get(theme).filter(|_| rng.random_bool(0.8));
    let group = own.unwrap_or_else(|| &groups[rng.random_range(0..groups.len())]);
    loop {
        let statement = group[rng.random_range(0..group.len())](rng);
        let only_reads = ["Read", "Find", "Scan"].iter().any(|n| statement.name().starts_with(n));
        // Nobody waits for who only reads, so most statements lock or write.
        if !only_reads || rng.random_bool(0.4) {
            return statement;
        }
    }
}

/// The statement with one row, if the port asks that its rows be locked before: without that the
/// order in which it locks them is the planner's.
pub(super) fn narrowed(mut statement: AnyStatement) -> AnyStatement {
    use AnyStatement as S;
    match &mut statement {
        S::UpdateTransactions(all) => all.rows.truncate(1),
        S::UpdateKeys(all) => all.rows.truncate(1),
        S::RaiseValuedThrough(all) => all.keys.truncate(1),
        S::DeleteTriggers(all) => all.subjects.truncate(1),
        S::DeleteOutbox(all) => all.ids.truncate(1),
        S::DeleteTimeline(all) => all.places.truncate(1),
        S::DeleteLots(all) => all.lots.truncate(1),
        S::DeleteReplays(all) => all.keys.truncate(1),
        S::DeleteHistory(all) => all.ranges.truncate(1),
        S::DeleteSnapshots(all) => all.keys.truncate(1),
        S::PruneEpochs(all) => all.keys.truncate(1),
        S::UpsertEpochs(all) => all.rows.truncate(1),
        _ => {}
    }
    statement
}

/// What is there before a schedule begins.
pub(super) fn prologue(rng: &mut Rng) -> Vec<AnyStatement> {
    const FIRST: &[Maker] = &[
        |r| InsertKeys { keys: keys().into_iter().map(|k| (k, day(r))).collect() }.into(),
        |r| InsertBusinessDates { rows: business_dates(r) }.into(),
        |r| UpsertPrices { rows: prices(r) }.into(),
        |r| InsertTransactions { rows: transactions(r) }.into(),
        |r| UpsertTriggers { rows: triggers(r) }.into(),
        |r| InsertReprocessingJobs { jobs: vec![(subject(r), day(r))] }.into(),
        |r| InsertValuationJobs { jobs: jobs(r) }.into(),
        |r| AppendOutbox { rows: events(r) }.into(),
        |r| UpsertTimeline { new: vec![], rows: timeline(r) }.into(),
        |r| InsertHistory { rows: histories(r) }.into(),
        |r| InsertCashflows { rows: cashflows(r) }.into(),
        |r| UpsertEpochs { rows: epochs(r) }.into(),
        |r| {
            UpsertReplays { rows: some(r, keys()).into_iter().map(|k| replay(r, k)).collect() }
                .into()
        },
        |r| CopySnapshots { rows: snapshots(r) }.into(),
        |r| UpsertPortfolios { rows: portfolios(r) }.into(),
        |r| UpsertInstruments { rows: instruments(r) }.into(),
        |r| UpsertRates { rows: rate_rows(r) }.into(),
        |r| UpsertLots { new: vec![], rows: lots(r) }.into(),
    ];
    let wanted: Vec<&Maker> = FIRST.iter().filter(|_| rng.random_bool(0.6)).collect();
    wanted.into_iter().map(|make| make(rng)).collect()
}

fn one<T: Clone>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.random_range(0..of.len())].clone()
}

/// Some of them, at least one, in their order.
fn some<T>(rng: &mut Rng, of: Vec<T>) -> Vec<T> {
    let kept = rng.random_range(0..of.len());
    let chosen = of.into_iter().enumerate();
    chosen.filter(|(n, _)| *n == kept || rng.random_bool(0.4)).map(|(_, item)| item).collect()
}

fn maybe<T>(rng: &mut Rng, make: impl FnOnce(&mut Rng) -> T) -> Option<T> {
    rng.random_bool(0.5).then(|| make(rng))
}

fn day(rng: &mut Rng) -> Date {
    date(rng.random_range(1..=DAYS))
}

fn days(rng: &mut Rng) -> Vec<i32> {
    some(rng, (1..=DAYS).collect())
}

fn range(rng: &mut Rng) -> (Date, Date) {
    let from = rng.random_range(0..=DAYS);
    (date(from), date(rng.random_range(from..=DAYS)))
}

fn after(rng: &mut Rng) -> Option<Key> {
    maybe(rng, |rng| one(rng, &keys()))
}

fn epoch(rng: &mut Rng) -> Epoch {
    Epoch(rng.random_range(0..3))
}

fn token(rng: &mut Rng) -> Token {
    Token { epoch: epoch(rng), revision: Revision(rng.random_range(0..2)) }
}

fn amount(rng: &mut Rng) -> Amount {
    Amount::from_units(rng.random_range(1..100))
}

fn version(rng: &mut Rng) -> i64 {
    rng.random_range(0..3)
}

fn currency(rng: &mut Rng) -> Currency {
    one(rng, &CURRENCIES).into()
}

fn portfolio(rng: &mut Rng) -> backdate_engine::domain::ids::PortfolioId {
    one(rng, &PORTFOLIOS).into()
}

fn securities(rng: &mut Rng) -> Vec<backdate_engine::domain::ids::SecurityId> {
    some(rng, SECURITIES.map(Into::into).into())
}

fn calendar(rng: &mut Rng) -> SmolStr {
    SmolStr::new(if rng.random_bool(0.7) { "GLOBAL" } else { "LOCAL" })
}

fn numbers(rng: &mut Rng) -> Vec<u64> {
    some(rng, (1..6).collect())
}

fn key_state(rng: &mut Rng, key: Key) -> KeyState {
    KeyState {
        key,
        epoch: epoch(rng),
        revision: Revision(rng.random_range(0..2)),
        watermark_date: day(rng),
        valued_through: maybe(rng, day),
        status: one(rng, KeyStatus::ALL),
        served_epoch: epoch(rng),
        input_version: rng.random_range(0..9),
        fold_terms: maybe(rng, |rng| FoldTerms {
            base_currency: currency(rng),
            method: one(rng, CostMethod::ALL),
        }),
        position: position(rng.random_range(-9..9)),
        updated_at: Timestamp::from_micros(0),
    }
}

fn any_key_state(rng: &mut Rng) -> KeyState {
    let key = one(rng, &keys());
    key_state(rng, key)
}

fn query(rng: &mut Rng, key: Key) -> ProgressQuery {
    let Token { epoch, revision } = token(rng);
    ProgressQuery { key, epoch, revision, watermark_date: date(rng.random_range(0..DAYS)) }
}

fn ids(rng: &mut Rng) -> Vec<backdate_engine::domain::ids::TransactionId> {
    some(rng, IDS.map(Into::into).into())
}

fn transactions(rng: &mut Rng) -> Vec<TransactionRow> {
    let row = |id: &str, rng: &mut Rng| {
        let key = one(rng, &keys());
        let mut row = crate::contract::fixtures::transaction(id, &key, 1);
        row.transaction.terms.gross = amount(rng);
        row.transaction.terms.trade_currency = currency(rng);
        row.source_version = version(rng);
        row
    };
    some(rng, IDS.into()).into_iter().map(|id| row(id, rng)).collect()
}

fn price_ids(rng: &mut Rng) -> Vec<(backdate_engine::domain::ids::SecurityId, Date)> {
    prices(rng).into_iter().map(|row| (row.price.security_id, row.price.price_date)).collect()
}

fn prices(rng: &mut Rng) -> Vec<PriceRow> {
    let mut rows = Vec::new();
    for security_id in securities(rng) {
        for day in some(rng, vec![1, 2, 3]) {
            rows.push(PriceRow {
                price: MarketPrice {
                    security_id: security_id.clone(),
                    price_date: date(day),
                    price: amount(rng),
                    currency: currency(rng),
                },
                source_version: version(rng),
            });
        }
    }
    rows
}

fn events(rng: &mut Rng) -> Vec<backdate_engine::ports::store::rows::OutboxRow> {
    let count = rng.random_range(1..3);
    (0..count).map(|n| event(rng.random_range(0..LANES), &format!("event {n}"))).collect()
}

fn subject(rng: &mut Rng) -> Subject {
    one(rng, &subjects())
}

/// In their order.
fn subjects() -> Vec<Subject> {
    vec![
        Subject::Security("S1".into()),
        Subject::Security("S2".into()),
        Subject::Pair("EUR".into(), "USD".into()),
        Subject::Pair("USD".into(), "CHF".into()),
        Subject::Calendar,
        Subject::Portfolio("P1".into()),
    ]
}

fn triggers(rng: &mut Rng) -> Vec<TriggerRow> {
    let rows = some(rng, subjects());
    rows.into_iter().map(|subject| TriggerRow { subject, earliest_date: day(rng) }).collect()
}

fn day_of(id: &str) -> i32 {
    id[1..].parse().expect("a letter and a number")
}

fn any_place(rng: &mut Rng) -> Place {
    let id = one(rng, &IDS);
    place(id, day_of(id))
}

/// Keys and places in order, each once.
fn places(rng: &mut Rng) -> Vec<(Key, Place)> {
    let mut places = Vec::new();
    for key in some(rng, keys()) {
        for id in some(rng, IDS.into()) {
            places.push((key.clone(), place(id, day_of(id))));
        }
    }
    places
}

fn timeline(rng: &mut Rng) -> Vec<TimelineRow> {
    let row = |(key, place): (Key, Place), rng: &mut Rng| TimelineRow {
        key,
        terms: terms(day_of(place.transaction_id.as_str()), one(rng, &CURRENCIES)),
        place,
        correlation_id: maybe(rng, |_| SmolStr::new("c")),
        outcome: maybe(rng, outcome),
    };
    places(rng).into_iter().map(|at| row(at, rng)).collect()
}

fn outcome(rng: &mut Rng) -> Outcome {
    let parked = Fate::Parked(one(rng, ParkReason::ALL));
    let costs = Costs {
        gross_cost: amount(rng),
        net_cost: amount(rng),
        net_cost_local: amount(rng),
        realized_gain_loss: maybe(rng, amount),
        realized_gain_loss_local: maybe(rng, amount),
        transaction_fx_rate: Amount::ONE,
    };
    let fate = if rng.random_bool(0.5) { parked } else { Fate::Applied(costs) };
    Outcome { fx: None, fate }
}

fn cashflows(rng: &mut Rng) -> Vec<CashflowRow> {
    let flows = histories(rng).into_iter();
    flows.map(|row| cashflow(&row.key, &row.place, row.epoch)).collect()
}

fn histories(rng: &mut Rng) -> Vec<HistoryRow> {
    let epoch = epoch(rng);
    let row = |(key, place): (Key, Place), rng: &mut Rng| {
        let id = place.transaction_id;
        history(&key, id.as_str(), day_of(id.as_str()), epoch.0, rng.random_range(1..9))
    };
    places(rng).into_iter().map(|at| row(at, rng)).collect()
}

fn lots(rng: &mut Rng) -> Vec<LotRow> {
    let row = |(key, opened): (Key, Place), rng: &mut Rng| LotRow {
        key,
        lot: Lot { opened, quantity: amount(rng), cost: amount(rng), cost_local: amount(rng) },
    };
    places(rng).into_iter().map(|at| row(at, rng)).collect()
}

fn epochs(rng: &mut Rng) -> Vec<EpochRow> {
    let mut rows = Vec::new();
    for key in some(rng, keys()) {
        let mut newest = None;
        for epoch in some(rng, vec![Epoch(1), Epoch(2)]) {
            newest = Some(EpochRow { key: key.clone(), epoch, from_date: day(rng) });
        }
        rows.extend(newest);
    }
    rows
}

fn replay(rng: &mut Rng, key: Key) -> ReplayRow {
    ReplayRow { key, epoch: epoch(rng), from_date: day(rng), cursor: maybe(rng, any_place) }
}

fn jobs(rng: &mut Rng) -> Vec<NewValuationJob> {
    let job = |rng: &mut Rng| {
        let (date_from, date_to) = range(rng);
        let keys = some(rng, keys()).into_iter().map(|key| JobKey { key, token: token(rng) });
        NewValuationJob { keys: keys.collect(), date_from, date_to }
    };
    (0..rng.random_range(1..3)).map(|_| job(rng)).collect()
}

fn snapshots(rng: &mut Rng) -> Vec<SnapshotRow> {
    let Token { epoch, revision } = token(rng);
    let mut rows = Vec::new();
    for key in some(rng, keys()) {
        rows.extend(days(rng).into_iter().map(|day| snapshot(&key, day, epoch.0, revision.0)));
    }
    rows
}

fn rate_rows(rng: &mut Rng) -> Vec<RateRow> {
    let row = |(from, to, day): (&str, &str, i32), rng: &mut Rng| RateRow {
        rate: ExchangeRate {
            from_currency: from.into(),
            to_currency: to.into(),
            rate_date: date(day),
            rate: amount(rng),
        },
        source_version: version(rng),
    };
    let all = vec![("EUR", "USD", 1), ("EUR", "USD", 2), ("USD", "CHF", 1), ("USD", "CHF", 3)];
    some(rng, all).into_iter().map(|id| row(id, rng)).collect()
}

fn rate_id(row: &RateRow) -> (Currency, Currency, Date) {
    let rate = &row.rate;
    (rate.from_currency.clone(), rate.to_currency.clone(), rate.rate_date)
}

fn portfolios(rng: &mut Rng) -> Vec<PortfolioRow> {
    let row = |id: &str, rng: &mut Rng| PortfolioRow {
        portfolio: Portfolio {
            portfolio_id: id.into(),
            base_currency: currency(rng),
            open_date: SmolStr::new("2020-01-01"),
            cost_basis_method: one(rng, CostMethod::ALL),
        },
        source_version: version(rng),
    };
    some(rng, PORTFOLIOS.into()).into_iter().map(|id| row(id, rng)).collect()
}

fn instruments(rng: &mut Rng) -> Vec<InstrumentRow> {
    let row = |security_id, rng: &mut Rng| InstrumentRow {
        instrument: Instrument {
            security_id,
            currency: currency(rng),
            product_type: SmolStr::new("Equity"),
        },
        source_version: version(rng),
    };
    securities(rng).into_iter().map(|id| row(id, rng)).collect()
}

fn business_dates(rng: &mut Rng) -> Vec<BusinessDate> {
    let calendar_code = calendar(rng);
    let row = |day| BusinessDate { calendar_code: calendar_code.clone(), business_date: date(day) };
    days(rng).into_iter().map(row).collect()
}
