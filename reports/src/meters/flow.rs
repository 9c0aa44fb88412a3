//! How inputs flow: from a raw message to the snapshots that reflect it, hop by hop.
//!
//! A message is followed by its correlation id, which travels through all hops; one without an id
//! is not followed.

use std::collections::{BTreeMap, BTreeSet};

use backdate_engine::domain::ids::{Key, PortfolioId, SecurityId};
use backdate_engine::domain::intake;
use backdate_engine::domain::records::KeyStatus;
use backdate_engine::domain::time::Date;
use backdate_engine::ports::log::{Record, Topic};
use backdate_engine::ports::store::rows::{
    KeyState, ReplayRow, SnapshotRow, Subject, ValuationJobRow,
};
use smol_str::SmolStr;

use super::Latencies;
use crate::recording::{Change, Row, SimTime};

/// Where a transaction's message is.
#[derive(Clone, Copy)]
struct Travel {
    raw: SimTime,
    stored: Option<SimTime>,
    news: Option<SimTime>,
}

/// A transaction that is calculated and waits for its snapshot.
struct Unvalued {
    date: Date,
    raw: SimTime,
    calculated: SimTime,
}

/// A corrected price that its holders' snapshots do not reflect yet.
struct Correction {
    raw: SimTime,
    stored: bool,
    done: BTreeSet<PortfolioId>,
}

/// What the meters remember of a key.
struct KeyMeter {
    epoch: u32,
    revision: u64,
    /// Since when it is reprocessing.
    since: Option<SimTime>,
}

/// What a commit did.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) snapshots: u64,
    pub(super) transactions: u64,
    pub(super) new_keys: u64,
    pub(super) resets: u64,
    pub(super) epochs: u64,
    pub(super) became_current: bool,
    pub(super) sometimes: Vec<&'static str>,
}

/// The flow.
#[derive(Default)]
pub(super) struct Flow {
    travels: BTreeMap<SmolStr, Travel>,
    unvalued: BTreeMap<Key, Vec<Unvalued>>,
    corrections: BTreeMap<(SecurityId, Date), Correction>,
    keys: BTreeMap<Key, KeyMeter>,
    reprocessing: u64,
    triggers: BTreeMap<Subject, SimTime>,
    jobs: BTreeMap<u64, SimTime>,
    valuation_jobs: BTreeMap<u64, SimTime>,
    replays: BTreeMap<Key, (SimTime, ReplayRow)>,
    outbox: BTreeMap<u64, SimTime>,
}

impl Flow {
    /// Keys that are being reprocessed.
    pub(super) fn reprocessing(&self) -> u64 {
        self.reprocessing
    }

    /// Since when the key has been reprocessing that has been for longest.
    pub(super) fn reprocessing_since(&self) -> Option<SimTime> {
        self.keys.values().filter_map(|key| key.since).min()
    }

    pub(super) fn appended(
        &mut self,
        at: SimTime,
        record: &Record,
        is_storm: bool,
        latencies: &mut Latencies,
    ) {
        match record.topic {
            Topic::RawTransactions => {
                if let Some(id) = &record.headers.correlation_id {
                    let travel = Travel { raw: at, stored: None, news: None };
                    self.travels.entry(id.clone()).or_insert(travel);
                }
            }
            Topic::RawTransactionsCompleted => {
                let id = record.headers.correlation_id.as_ref();
                if let Some(travel) = id.and_then(|id| self.travels.get_mut(id))
                    && let Some(stored) = travel.stored
                    && travel.news.is_none()
                {
                    travel.news = Some(at);
                    latencies.record("stored_to_news", stored, at);
                }
            }
            Topic::MarketPrices if is_storm => {
                if let Ok(price) = intake::market_price(&record.value) {
                    let key = (price.content.security_id, price.content.price_date);
                    let done = BTreeSet::new();
                    self.corrections.insert(key, Correction { raw: at, stored: false, done });
                }
            }
            _ => {}
        }
    }

    pub(super) fn committed(
        &mut self,
        at: SimTime,
        changes: &[Change],
        latencies: &mut Latencies,
    ) -> Seen {
        let mut seen = Seen::default();
        for Change { row, deleted } in changes {
            match row {
                Row::Transaction(row) => {
                    seen.transactions += 1;
                    self.stored(at, row.correlation_id.as_ref(), latencies);
                }
                Row::Price(row) => {
                    let key = (row.price.security_id.clone(), row.price.price_date);
                    if let Some(correction) = self.corrections.get_mut(&key) {
                        correction.stored = true;
                    }
                }
                Row::Timeline(row) if !deleted => {
                    let date = row.place.date();
                    self.calculated(at, &row.key, date, row.correlation_id.as_ref(), latencies);
                }
                Row::Snapshot(row) if !deleted => {
                    seen.snapshots += 1;
                    self.valued(at, row, latencies);
                }
                Row::Key(state) => self.key(at, state, &mut seen, latencies),
                Row::Trigger(row) => {
                    let subject = row.subject.clone();
                    between(&mut self.triggers, subject, *deleted, at, "trigger_to_job", latencies);
                }
                Row::ReprocessingJob(row) => {
                    between(&mut self.jobs, row.id, *deleted, at, "job_to_done", latencies);
                }
                Row::ValuationJob(row) => self.job(at, row, *deleted, &mut seen, latencies),
                Row::Replay(row) => self.replay(at, row, *deleted, &mut seen, latencies),
                Row::Outbox(row) => {
                    between(&mut self.outbox, row.id, *deleted, at, "outbox", latencies);
                }
                _ => {}
            }
        }
        seen
    }

    fn stored(&mut self, at: SimTime, id: Option<&SmolStr>, latencies: &mut Latencies) {
        if let Some(travel) = id.and_then(|id| self.travels.get_mut(id))
            && travel.stored.is_none()
        {
            travel.stored = Some(at);
            latencies.record("raw_to_stored", travel.raw, at);
        }
    }

    /// A transaction's first row in the timeline ends its travel as a message.
    fn calculated(
        &mut self,
        at: SimTime,
        key: &Key,
        date: Date,
        id: Option<&SmolStr>,
        latencies: &mut Latencies,
    ) {
        let Some(travel) = id.and_then(|id| self.travels.remove(id)) else { return };
        if let Some(news) = travel.news {
            latencies.record("news_to_calculated", news, at);
        }
        let unvalued = Unvalued { date, raw: travel.raw, calculated: at };
        self.unvalued.entry(key.clone()).or_default().push(unvalued);
    }

    /// A snapshot written after a transaction was calculated, dated on or after it, reflects it.
    fn valued(&mut self, at: SimTime, row: &SnapshotRow, latencies: &mut Latencies) {
        if !self.unvalued.is_empty()
            && let Some(waiting) = self.unvalued.get_mut(&row.key)
        {
            waiting.retain(|unvalued| {
                let is_valued = unvalued.date <= row.date;
                if is_valued {
                    latencies.record("calculated_to_snapshot", unvalued.calculated, at);
                    latencies.record("raw_to_snapshot", unvalued.raw, at);
                }
                !is_valued
            });
            if waiting.is_empty() {
                self.unvalued.remove(&row.key);
            }
        }
        if !self.corrections.is_empty()
            && let Some(correction) =
                self.corrections.get_mut(&(row.key.security_id.clone(), row.date))
            && correction.stored
            && correction.done.insert(row.key.portfolio_id.clone())
        {
            latencies.record("price_to_revalued", correction.raw, at);
        }
    }

    fn key(&mut self, at: SimTime, state: &KeyState, seen: &mut Seen, latencies: &mut Latencies) {
        let key = match self.keys.get_mut(&state.key) {
            Some(key) => key,
            None => {
                seen.new_keys += 1;
                let (epoch, revision) = (state.epoch.0, state.revision.0);
                let new = KeyMeter { epoch, revision, since: None };
                self.keys.entry(state.key.clone()).or_insert(new)
            }
        };
        if state.revision.0 > key.revision {
            seen.resets += 1;
            // The commit that opens a replay also invalidates; only later ones meet it.
            if self.replays.get(&state.key).is_some_and(|(since, _)| *since < at) {
                seen.sometimes.push("invalidated_during_replay");
            }
            key.revision = state.revision.0;
        }
        if state.epoch.0 > key.epoch {
            seen.epochs += 1;
            key.epoch = state.epoch.0;
        }
        match (state.status, key.since) {
            (KeyStatus::Reprocessing, None) => {
                key.since = Some(at);
                self.reprocessing += 1;
            }
            (KeyStatus::Current, Some(since)) => {
                key.since = None;
                self.reprocessing -= 1;
                seen.became_current = true;
                latencies.record("reprocessing", since, at);
            }
            _ => {}
        }
    }

    fn job(
        &mut self,
        at: SimTime,
        row: &ValuationJobRow,
        deleted: bool,
        seen: &mut Seen,
        latencies: &mut Latencies,
    ) {
        if row.attempts > 1 && !deleted {
            seen.sometimes.push("job_claimed_again");
        }
        between(&mut self.valuation_jobs, row.id, deleted, at, "valuation_job", latencies);
    }

    fn replay(
        &mut self,
        at: SimTime,
        row: &ReplayRow,
        deleted: bool,
        seen: &mut Seen,
        latencies: &mut Latencies,
    ) {
        if deleted {
            if let Some((since, _)) = self.replays.remove(&row.key) {
                latencies.record("replay", since, at);
            }
            return;
        }
        let known = self.replays.entry(row.key.clone()).or_insert_with(|| (at, row.clone()));
        if row.epoch == known.1.epoch && row.cursor < known.1.cursor {
            seen.sometimes.push("replay_rewound");
        }
        known.1 = row.clone();
    }
}

/// Measures from the first time that a row is there until it is gone.
fn between<K: Ord>(
    open: &mut BTreeMap<K, SimTime>,
    key: K,
    deleted: bool,
    at: SimTime,
    hop: &'static str,
    latencies: &mut Latencies,
) {
    if !deleted {
        open.entry(key).or_insert(at);
    } else if let Some(since) = open.remove(&key) {
        latencies.record(hop, since, at);
    }
}
