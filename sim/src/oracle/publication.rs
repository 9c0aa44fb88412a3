//! The order in which events of the outbox first appear in the log.
//!
//! Of one topic and message key, an event must not appear before another that has a lower id and
//! was committed earlier: whoever read the one from the outbox could see the other. Duplicates may
//! come at any time, so an event whose payload has been seen before proves nothing.

use std::collections::{BTreeMap, HashMap, HashSet};

use backdate_engine::ports::log::{Record, Topic};
use backdate_engine::ports::store::rows::OutboxRow;
use smol_str::SmolStr;
use xxhash_rust::xxh3::xxh3_64;

/// Events of one topic and message key.
#[derive(Default)]
struct Lane {
    /// Events that have not appeared: the commit of each and its payload, by id.
    unpublished: BTreeMap<u64, (u64, u64)>,
    /// Payloads that have appeared.
    seen: HashSet<u64>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Publications {
    lanes: HashMap<(Topic, SmolStr), Lane>,
}

impl Publications {
    /// A commit has written an event, or crossed it off.
    pub(super) fn outbox(&mut self, row: &OutboxRow, deleted: bool, commit: u64) {
        let lane = self.lanes.entry((row.topic, row.key.clone())).or_default();
        if deleted {
            lane.unpublished.remove(&row.id);
        } else {
            let print = xxh3_64(row.payload.as_bytes());
            lane.unpublished.insert(row.id, (commit, print));
        }
    }

    /// A broker has appended a record; the ids of an event that was overtaken and of the one that
    /// overtook it. None: it was no event of the outbox, or in order.
    pub(super) fn appended(&mut self, record: &Record) -> Option<(u64, u64)> {
        let lane = self.lanes.get_mut(&(record.topic, record.key.clone()))?;
        let print = xxh3_64(&record.value);
        let is_new = lane.seen.insert(print);
        let mut rows = lane.unpublished.iter();
        let (id, commit) = rows.find(|(_, row)| row.1 == print).map(|(id, row)| (*id, row.0))?;
        lane.unpublished.remove(&id);
        let mut before = lane.unpublished.range(..id);
        let overtaken = before.find(|(_, row)| row.0 < commit).map(|(other, _)| *other)?;
        is_new.then_some((overtaken, id))
    }
}
