//! Committed transactions out of the messages of logical decoding (plugin `pgoutput`, protocol 1).
//!
//! A transaction becomes the rows that it left or took, one entry a row: its last write. Rows carry
//! all their columns, so tables must have `REPLICA IDENTITY FULL`. Tables that are not recorded are
//! passed over.
//!
//! Source: "Logical Replication Message Formats" in the documentation of PostgreSQL 15.
//!
//! # Invariants
//! - Transactions come out in the order in which they committed, each once.

use std::collections::HashMap;

use backdate_engine::ports::store::rows::Table;
use backdate_reports::recording::Change;
use xxhash_rust::xxh3::Xxh3Default;

use super::rows;
use super::tables::{self, TableSpec};

/// Microseconds from 1970-01-01 to 2000-01-01, from where the server counts.
const TO_2000: i64 = 946_684_800_000_000;

/// A transaction that has committed.
#[derive(Debug)]
pub(super) struct Commit {
    /// Where its commit record stands in the write-ahead log.
    pub(super) lsn: u64,
    /// When, in microseconds since 1970.
    pub(super) at: i64,
    /// What it left or took.
    pub(super) changes: Vec<Change>,
}

/// A relation as the server announced it.
struct Relation {
    spec: &'static TableSpec,
    /// Where in its tuples the columns of the specification are.
    order: Vec<usize>,
}

/// A row that the open transaction has written.
struct Written {
    change: Change,
    /// The transaction itself made it.
    is_new: bool,
}

#[derive(Default)]
struct OpenTransaction {
    lsn: u64,
    at: i64,
    rows: Vec<Written>,
    by_key: HashMap<u128, usize>,
}

/// Reads messages in the order in which they come.
#[derive(Default)]
pub(super) struct Decoder {
    relations: HashMap<u32, Option<Relation>>,
    open: OpenTransaction,
    last: u64,
}

/// A tuple: texts, nulls and what was left as it was.
type Tuple<'a> = Vec<Datum<'a>>;

#[derive(Clone, Copy)]
enum Datum<'a> {
    Null,
    Unchanged,
    Text(&'a str),
}

impl Decoder {
    /// Takes the next message; a transaction if it is the last one of it.
    pub(super) fn take(&mut self, message: &[u8]) -> Result<Option<Commit>, String> {
        let mut bytes = Bytes(message);
        match bytes.byte()? {
            b'B' => {
                self.open.lsn = bytes.u64()?;
                self.open.at = bytes.u64()?.cast_signed() + TO_2000;
            }
            b'C' => return Ok(self.commit()),
            b'R' => self.relation(&mut bytes)?,
            b'I' => {
                let relation = bytes.u32()?;
                bytes.byte()?;
                let new = bytes.tuple()?;
                self.write(relation, None, &new, Written::inserted)?;
            }
            b'U' => {
                let relation = bytes.u32()?;
                let mut old = None;
                if bytes.byte()? != b'N' {
                    old = Some(bytes.tuple()?);
                    bytes.byte()?;
                }
                let new = bytes.tuple()?;
                self.write(relation, old.as_ref(), &new, Written::updated)?;
            }
            b'D' => {
                let relation = bytes.u32()?;
                if bytes.byte()? != b'O' {
                    return Err("a deletion without its row: set REPLICA IDENTITY FULL".into());
                }
                let old = bytes.tuple()?;
                self.write(relation, None, &old, Written::deleted)?;
            }
            // Origins, types, messages; nothing truncates a table.
            _ => {}
        }
        Ok(None)
    }

    /// After a crash of the server a slot may repeat what was read already.
    fn commit(&mut self) -> Option<Commit> {
        let open = std::mem::take(&mut self.open);
        if open.lsn <= self.last {
            return None;
        }
        self.last = open.lsn;
        let is_kept = |row: &Written| !(row.is_new && row.change.deleted);
        let changes = open.rows.into_iter().filter(is_kept).map(|row| row.change).collect();
        Some(Commit { lsn: open.lsn, at: open.at, changes })
    }

    fn relation(&mut self, bytes: &mut Bytes<'_>) -> Result<(), String> {
        let id = bytes.u32()?;
        bytes.string()?;
        let name = bytes.string()?;
        let spec = tables::by_name(name);
        bytes.byte()?;
        let mut names = Vec::new();
        for _ in 0..bytes.u16()? {
            bytes.byte()?;
            names.push(bytes.string()?);
            bytes.u32()?;
            bytes.u32()?;
        }
        let place = |column: &&str| {
            let found = names.iter().position(|name| name == column);
            found.ok_or_else(|| format!("{name} has no column {column}"))
        };
        let relation = match spec {
            Some(spec) => {
                let order = spec.columns.iter().map(place).collect::<Result<_, _>>()?;
                Some(Relation { spec, order })
            }
            None => None,
        };
        self.relations.insert(id, relation);
        Ok(())
    }

    fn write(
        &mut self,
        relation: u32,
        old: Option<&Tuple<'_>>,
        tuple: &Tuple<'_>,
        note: fn(Option<&Written>, backdate_reports::recording::Row) -> Written,
    ) -> Result<(), String> {
        let known = self.relations.get(&relation).ok_or("a change of an unknown relation")?;
        let Some(Relation { spec, order }) = known else { return Ok(()) };
        let cell = |place: &usize| match (tuple.get(*place), old.and_then(|old| old.get(*place))) {
            (Some(Datum::Text(text)), _) | (Some(Datum::Unchanged), Some(Datum::Text(text))) => {
                Ok(Some(*text))
            }
            (Some(Datum::Null), _) => Ok(None),
            _ => Err(format!("{}: a cell is missing: set REPLICA IDENTITY FULL", spec.name)),
        };
        let values = order.iter().map(cell).collect::<Result<Vec<_>, String>>()?;
        let row = rows::read(spec.table, &values).map_err(|why| format!("{}: {why}", spec.name))?;
        let identity = identity(spec.table, &values[..spec.key_columns]);
        let OpenTransaction { rows, by_key, .. } = &mut self.open;
        match by_key.get(&identity) {
            Some(at) => rows[*at] = note(Some(&rows[*at]), row),
            None => {
                by_key.insert(identity, rows.len());
                rows.push(note(None, row));
            }
        }
        Ok(())
    }
}

impl Written {
    /// Of a row that the transaction has deleted before, it is an update.
    fn inserted(before: Option<&Written>, row: backdate_reports::recording::Row) -> Self {
        let is_new = before.is_none_or(|before| before.is_new);
        Self { change: Change { row, deleted: false }, is_new }
    }

    fn updated(before: Option<&Written>, row: backdate_reports::recording::Row) -> Self {
        let is_new = before.is_some_and(|before| before.is_new);
        Self { change: Change { row, deleted: false }, is_new }
    }

    fn deleted(before: Option<&Written>, row: backdate_reports::recording::Row) -> Self {
        let is_new = before.is_some_and(|before| before.is_new);
        Self { change: Change { row, deleted: true }, is_new }
    }
}

fn identity(table: Table, key: &[Option<&str>]) -> u128 {
    let mut hasher = Xxh3Default::new();
    hasher.update(&[table as u8]);
    for cell in key {
        let text = cell.unwrap_or_default();
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.digest128()
}

/// What is left of a message.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("a message is cut off")?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self, width: usize) -> Result<u64, String> {
        Ok(self.take(width)?.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    fn u16(&mut self) -> Result<u16, String> {
        u16::try_from(self.number(2)?).map_err(|error| error.to_string())
    }

    fn u32(&mut self) -> Result<u32, String> {
        u32::try_from(self.number(4)?).map_err(|error| error.to_string())
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.number(8)
    }

    fn string(&mut self) -> Result<&'a str, String> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or("a text has no end")?;
        let text = self.take(end)?;
        self.byte()?;
        std::str::from_utf8(text).map_err(|error| error.to_string())
    }

    fn tuple(&mut self) -> Result<Tuple<'a>, String> {
        let mut tuple = Vec::new();
        for _ in 0..self.u16()? {
            tuple.push(match self.byte()? {
                b'n' => Datum::Null,
                b'u' => Datum::Unchanged,
                b't' => {
                    let length = self.u32()? as usize;
                    let text = std::str::from_utf8(self.take(length)?);
                    Datum::Text(text.map_err(|error| error.to_string())?)
                }
                other => return Err(format!("a datum of kind {other}")),
            });
        }
        Ok(tuple)
    }
}

#[cfg(test)]
mod tests;
