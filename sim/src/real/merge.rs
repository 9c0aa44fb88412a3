//! One order out of what the witnesses saw.
//!
//! Witnesses are asked in rounds: first what harness and groups did until now, then what the
//! database has committed, then what the log holds. So whatever an event depends on is in its round
//! or in an earlier one. Of a round, what happened after its beginning waits for the next one:
//! other witnesses may have seen something before it. Then the clock decides, because all of it
//! runs on one machine, with these bounds:
//!
//! - a transaction stands at the instant that its commit record bears, never before one that
//!   committed before it;
//! - a record stands at the beginning of the millisecond in which its producer made it, which is
//!   before anything that read it, and after the transaction that put it into the outbox: that one
//!   is known by its payload;
//! - a group's positions stand where they were seen, which is after they were committed;
//! - a read that may have come before a transaction that its reader's last read is placed after, by
//!   what was on disk when it began, is left out: a commit record is stamped before it is on disk,
//!   and on a slow disk that is long before anybody can see what it commits.
//!
//! # Invariants
//! - A cause comes before its effect; nothing is left out but reads that have no place.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;

use backdate_engine::ports::log::{Position, Record, Topic};
use backdate_reports::recording::{Change, Event, EventKind, Row, SimTime};
use smol_str::SmolStr;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::operator::BROKER;
use super::pgoutput::Commit;
use super::witness::Seen;

/// What was seen in one round.
#[derive(Default)]
pub(super) struct Round {
    /// Nanoseconds since 1970 at which it began: the harness has seen everything of its own until
    /// then.
    pub(super) began: i64,
    /// What the harness saw itself.
    pub(super) own: Vec<Own>,
    /// Positions, and when they were seen.
    pub(super) positions: Vec<(i64, &'static str, Vec<Position>)>,
    /// Transactions, in order.
    pub(super) commits: Vec<Commit>,
    /// Records, of each partition in order.
    pub(super) records: Vec<Seen>,
}

/// What the harness saw itself.
pub(super) struct Own {
    /// Nanoseconds since 1970.
    pub(super) at: i64,
    pub(super) process: SmolStr,
    pub(super) kind: EventKind,
    /// Of a read, up to where the write-ahead log was on disk when it began.
    pub(super) flushed: Option<u64>,
}

/// A record that waits for the transaction that wrote it.
struct Held {
    seen: Seen,
    /// Rounds that it has waited.
    rounds: u32,
}

/// Puts events in order and numbers them.
pub(super) struct Merge {
    /// Nanoseconds since 1970 at the beginning of the run.
    start: i64,
    seq: u64,
    last: SimTime,
    last_commit: i64,
    /// When an event was put into the outbox, by its topic and payload.
    written: HashMap<u64, i64>,
    /// Who published it last.
    published: HashMap<u64, SmolStr>,
    held: BTreeMap<(Topic, u32), VecDeque<Held>>,
    last_of: HashMap<(Topic, u32), i64>,
    /// What happened after the beginning of the last round.
    waiting: Vec<Placed>,
    /// The last commit record of what was shown.
    shown: u64,
    /// The same when each reader's last read was shown.
    read_after: HashMap<SmolStr, u64>,
}

/// An event and where it stands.
struct Placed {
    /// Nanoseconds since 1970.
    at: i64,
    /// Within an instant.
    rank: u8,
    process: SmolStr,
    kind: EventKind,
    /// Of a transaction its commit record, of a read what was on disk before.
    lsn: u64,
}

impl Merge {
    pub(super) fn new(start: i64) -> Self {
        Self {
            start,
            seq: 0,
            last: SimTime::default(),
            last_commit: start,
            written: HashMap::new(),
            published: HashMap::new(),
            held: BTreeMap::new(),
            last_of: HashMap::new(),
            waiting: Vec::new(),
            shown: 0,
            read_after: HashMap::new(),
        }
    }

    /// Orders a round.
    pub(super) fn take(&mut self, round: Round) -> Vec<Event> {
        let mut placed = std::mem::take(&mut self.waiting);
        for Commit { lsn, at, changes } in round.commits {
            let at = (at * 1_000).max(self.last_commit);
            self.last_commit = at;
            self.note_written(at, &changes);
            // A publication knows no tables but the engine's; what changed nothing of them, e.g. a
            // migration, is nobody's business.
            if changes.is_empty() {
                continue;
            }
            let (client, keys_locked) = (SmolStr::default(), locked(&changes));
            let kind = EventKind::Committed { client, keys_locked, changes };
            placed.push(Placed { at, rank: 1, process: "postgres".into(), kind, lsn });
        }
        for seen in round.records {
            let place = (seen.record.topic, seen.record.partition);
            self.held.entry(place).or_default().push_back(Held { seen, rounds: 0 });
        }
        self.release(&mut placed);
        for (at, group, positions) in round.positions {
            let kind = EventKind::OffsetsCommitted { group: group.into(), positions };
            placed.push(Placed { at, rank: 2, process: BROKER.into(), kind, lsn: 0 });
        }
        placed.extend(round.own.into_iter().map(|Own { at, process, kind, flushed }| {
            let lsn = flushed.unwrap_or(u64::MAX);
            Placed { at, rank: 2, process, kind, lsn }
        }));
        // Stable: what one stream brings at one instant stays in its order.
        placed.sort_by_key(|placed| (placed.at, placed.rank));
        self.waiting = placed.split_off(placed.partition_point(|placed| placed.at <= round.began));
        placed.into_iter().filter_map(|placed| self.event(placed)).collect()
    }

    fn note_written(&mut self, at: i64, changes: &[Change]) {
        for change in changes.iter().filter(|change| !change.deleted) {
            if let Row::Outbox(row) = &change.row {
                self.written.entry(print(row.topic, row.payload.as_bytes())).or_insert(at);
            }
        }
    }

    /// Lets go of records whose transaction is known, or that have none.
    fn release(&mut self, placed: &mut Vec<Placed>) {
        for (place, queue) in &mut self.held {
            while let Some(first) = queue.front() {
                let record = &first.seen.record;
                let is_from_outbox = is_from_outbox(record.topic);
                // What comes from outside may look like an event that follows from it.
                let cause = self.written.get(&print(record.topic, &record.value)).copied();
                let cause = cause.filter(|_| is_from_outbox);
                if is_from_outbox && cause.is_none() && first.rounds == 0 {
                    break;
                }
                let made = first.seen.made_ms * 1_000_000;
                let after_cause = cause.map_or(made, |cause| made.max(cause + 1));
                let at = after_cause.max(self.last_of.get(place).copied().unwrap_or(i64::MIN));
                self.last_of.insert(*place, at);
                let record = Rc::clone(record);
                let kind = EventKind::Appended(record);
                placed.push(Placed { at, rank: 0, process: BROKER.into(), kind, lsn: 0 });
                queue.pop_front();
            }
            queue.iter_mut().for_each(|held| held.rounds += 1);
        }
    }

    /// An event after all others.
    pub(super) fn append(&mut self, process: &'static str, kind: EventKind) -> Event {
        let seq = self.seq;
        self.seq += 1;
        Event { seq, at: self.last, process: process.into(), kind }
    }

    fn event(&mut self, placed: Placed) -> Option<Event> {
        let Placed { at, process, mut kind, lsn, .. } = placed;
        match &mut kind {
            EventKind::Appended(record) if is_from_outbox(record.topic) => self.note(record),
            EventKind::Committed { client, changes, .. } => {
                *client = self.client(changes);
                self.shown = self.shown.max(lsn);
            }
            EventKind::Read { .. } => {
                if self.read_after.get(&process).is_some_and(|before| *before >= lsn) {
                    return None;
                }
                self.read_after.insert(process.clone(), self.shown);
            }
            _ => {}
        }
        let since = SimTime(u64::try_from(at - self.start).unwrap_or(0));
        self.last = self.last.max(since);
        let seq = self.seq;
        self.seq += 1;
        Some(Event { seq, at: self.last, process, kind })
    }

    fn note(&mut self, record: &Record) {
        if let Some(producer) = &record.headers.producer {
            self.published.insert(print(record.topic, &record.value), producer.clone());
        }
    }

    /// Whose transaction it was, as far as what it did tells: only persistence writes inputs, and
    /// who crosses an event off has published it.
    fn client(&self, changes: &[Change]) -> SmolStr {
        let is_input = |change: &Change| {
            matches!(
                change.row,
                Row::Transaction(_)
                    | Row::Price(_)
                    | Row::Rate(_)
                    | Row::Portfolio(_)
                    | Row::Instrument(_)
                    | Row::BusinessDate(_)
            )
        };
        if changes.iter().any(is_input) {
            return "persistence".into();
        }
        let crossed_off = changes.iter().rev().find_map(|change| match &change.row {
            Row::Outbox(row) if change.deleted => {
                Some(self.published.get(&print(row.topic, row.payload.as_bytes())))
            }
            _ => None,
        });
        match crossed_off {
            Some(Some(producer)) => producer.clone(),
            Some(None) => "outbox-dispatcher".into(),
            None => "postgres".into(),
        }
    }
}

/// What tells one event of the outbox from another.
fn print(topic: Topic, payload: &[u8]) -> u64 {
    xxh3_64_with_seed(payload, topic as u64)
}

/// Keys whose state it changed: at least so many did it hold locked.
fn locked(changes: &[Change]) -> u32 {
    let states = changes.iter().filter(|change| matches!(change.row, Row::Key(_)));
    u32::try_from(states.count()).unwrap_or(u32::MAX)
}

fn is_from_outbox(topic: Topic) -> bool {
    matches!(
        topic,
        Topic::RawTransactionsCompleted
            | Topic::MarketPricePersisted
            | Topic::FxRatePersisted
            | Topic::ProcessedTransactionsCompleted
            | Topic::ValuationRequired
            | Topic::DailyPositionSnapshotPersisted
            | Topic::PortfolioAggregationRequired
    )
}

#[cfg(test)]
mod tests;
