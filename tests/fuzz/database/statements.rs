//! Random statements.
//!
//! What the port asks of its callers is kept: rows are in key order and each is there once, and a
//! transaction's place follows from its identity.

use backdate_engine::ports::store::AnyStatement;
use backdate_engine::ports::store::rows::{JobKey, JobStatus};
use backdate_engine::ports::store::statements::*;
use rand::RngExt;

use super::universe::*;

/// Kinds of schedules; the last one takes everything.
pub(super) const THEMES: usize = 7;

/// Makes a statement.
type Maker = fn(&mut Rng) -> AnyStatement;

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
    |r| {
        let keys = some(r, keys()).into_iter().map(|key| (key, amount(r))).collect();
        ReadLots { keys }.into()
    },
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
    |r| {
        let after = maybe(r, |r| (one(r, &keys()).security_id, any_place(r)));
        let (portfolio_id, from, to) = (portfolio(r), maybe(r, day), maybe(r, day));
        ReadPortfolioCashflows { portfolio_id, after, from, to, limit: r.random_range(1..4) }.into()
    },
    |r| {
        let (portfolio_id, from, to) = (portfolio(r), maybe(r, day), maybe(r, day));
        ReadPortfolioSeries { portfolio_id, from, to, limit: r.random_range(1..4) }.into()
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
    |r| match r.random_range(1..9) {
        id @ 1..=4 => LockValuationJob { id }.into(),
        other => DropSupersededJobs { fresh: (other as u32 - 3) / 2, limit: 2 }.into(),
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
    |r| CopyPositionSeries { rows: series(r) }.into(),
    |r| DeletePositionSeries { ranges: key_ranges(r) }.into(),
    |r| ReadSnapshots { ranges: key_ranges(r) }.into(),
    |r| {
        let ranges = key_ranges(r).into_iter();
        let ranges = ranges.map(|(k, e, from, to)| (k, e, maybe(r, |_| from), to)).collect();
        ReadCashflows { ranges }.into()
    },
    |r| {
        let keys = key_ranges(r).into_iter();
        let keys = keys.map(|(key, _, watermark_date, from)| ValuedQuery {
            key,
            token: token(r),
            watermark_date,
            from,
        });
        FindValued { keys: keys.collect() }.into()
    },
    |r| {
        let keys = some(r, keys()).into_iter().map(|key| (key, epoch(r)));
        let keys = keys.map(|(key, was)| (key, was, was.next())).collect();
        ReadSwitched { keys }.into()
    },
    |r| ReadDaySums { ranges: portfolio_ranges(r) }.into(),
    |r| ReadPortfolioEdges { ranges: portfolio_ranges(r) }.into(),
    |r| DeletePortfolioSeries { ranges: portfolio_ranges(r) }.into(),
    |r| CopyPortfolioSeries { rows: sums(r) }.into(),
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
        S::DeletePositionSeries(all) => all.ranges.truncate(1),
        S::DeletePortfolioSeries(all) => all.ranges.truncate(1),
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
        |r| CopyPositionSeries { rows: series(r) }.into(),
        |r| CopyPortfolioSeries { rows: sums(r) }.into(),
        |r| UpsertPortfolios { rows: portfolios(r) }.into(),
        |r| UpsertInstruments { rows: instruments(r) }.into(),
        |r| UpsertRates { rows: rate_rows(r) }.into(),
        |r| UpsertLots { new: vec![], rows: lots(r) }.into(),
    ];
    let wanted: Vec<&Maker> = FIRST.iter().filter(|_| rng.random_bool(0.6)).collect();
    wanted.into_iter().map(|make| make(rng)).collect()
}
