//! Zombie producers: who publishes an event that another one has published and crossed off.
//!
//! A dispatcher that was cut off comes back and sends what it had in its hands. By then its events
//! are gone from the outbox, taken by somebody else. Only events that carry tokens are watched.

use std::collections::{BTreeMap, BTreeSet};

use backdate_engine::domain::ids::{Key, Token};
use backdate_engine::domain::messages;
use backdate_engine::ports::host::Signal;
use backdate_engine::ports::log::{Record, Topic};
use smol_str::SmolStr;
use xxhash_rust::xxh3::xxh3_64;

use crate::recording::{Change, Row};

/// What a zombie said about a key: its name, the key, epoch and revision.
type Claim = (SmolStr, Key, u32, u64);

/// The events that are published, and what zombies say.
#[derive(Default)]
pub(super) struct Zombies {
    /// Who crossed an event off, by the hash of its payload.
    published: BTreeMap<u64, SmolStr>,
    claims: BTreeSet<Claim>,
}

impl Zombies {
    pub(super) fn committed(&mut self, client: &SmolStr, changes: &[Change]) {
        for Change { row, deleted } in changes {
            if let Row::Outbox(row) = row
                && *deleted
                && row.topic == Topic::ValuationRequired
            {
                self.published.insert(xxh3_64(row.payload.as_bytes()), client.clone());
            }
        }
    }

    /// Takes in a record; whether a zombie sent it.
    pub(super) fn appended(&mut self, record: &Record) -> bool {
        if record.topic != Topic::ValuationRequired {
            return false;
        }
        let Some(producer) = &record.headers.producer else { return false };
        let by = self.published.get(&xxh3_64(&record.value));
        if by.is_none_or(|by| by == producer) {
            return false;
        }
        if let Ok(job) = messages::read_valuation_required(&record.value) {
            for (key, token) in job.keys {
                self.claims.insert(claim(producer, key, token));
            }
        }
        true
    }

    /// Whether a report says that a zombie's message was fenced.
    pub(super) fn is_fenced(&self, signal: &Signal) -> bool {
        match signal {
            Signal::Fenced { key, message, producer: Some(producer), .. } => {
                self.claims.contains(&claim(producer, key.clone(), *message))
            }
            _ => false,
        }
    }
}

fn claim(producer: &SmolStr, key: Key, token: Token) -> Claim {
    (producer.clone(), key, token.epoch.0, token.revision.0)
}
