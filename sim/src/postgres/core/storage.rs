//! The database as it lies on the disk and in shared memory: tables, locks, open transactions.
//!
//! Everything here is synchronous; [`super::session`] does the waiting.
//!
//! It refuses to outlive a crash with anything uncommitted: [`Storage::recover`] forgets open
//! transactions and locks, and keeps the committed versions and the sequences.
//!
//! # Invariants
//! - `writes` of a transaction names each row that has an uncommitted version of it exactly once.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};
use std::rc::Rc;

use backdate_reports::recording::Change;
use rand_chacha::ChaCha8Rng;

use super::super::derived::{Derived, Dirty};
use super::super::schema::{Stored, Tables, Written};
use super::locks::{LockMode, Locks, Request};
use super::table::{RowId, TxId, Version};

/// What a transaction has committed.
#[derive(Debug, Default)]
pub struct Committed {
    /// One entry per changed row, in the order of the first writes.
    pub changes: Vec<Change>,
    /// Rows of `position_state` that were locked.
    pub keys_locked: u32,
}

#[derive(Default)]
struct Tx {
    writes: Vec<Written>,
}

/// Sequences: they never roll back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sequence {
    /// Ids of `outbox_events`.
    OutboxId,
    /// Ids of both job tables.
    JobId,
    /// Order in which lanes of the outbox were served.
    LaneServed,
}

/// The database.
#[derive(Default)]
pub struct Storage {
    /// All tables.
    pub tables: Tables,
    /// All locks.
    pub locks: Locks,
    derived: Derived,
    active: BTreeMap<TxId, Tx>,
    sequences: [u64; 3],
    last_row: u64,
    last_tx: u64,
}

/// What a transaction sees at one instant.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The tables.
    pub tables: &'a Tables,
    tx: TxId,
}

impl<'a> View<'a> {
    /// The committed state.
    pub fn committed(tables: &'a Tables) -> Self {
        Self { tables, tx: TxId(0) }
    }

    /// A row.
    pub fn get<R: Stored>(self, pk: &R::Pk) -> Option<&'a Rc<R>> {
        self.version(pk).map(|version| &version.row)
    }

    /// A row with its identity.
    pub fn version<R: Stored>(self, pk: &R::Pk) -> Option<&'a Version<R>> {
        R::table(self.tables).get(pk, self.tx)
    }

    /// Rows in primary-key order.
    pub fn range<R: Stored>(
        self,
        range: impl RangeBounds<R::Pk>,
    ) -> impl DoubleEndedIterator<Item = &'a Rc<R>> {
        R::table(self.tables).range(range, self.tx).map(|version| &version.row)
    }

    /// Versions in primary-key order.
    pub fn versions<R: Stored>(
        self,
        range: impl RangeBounds<R::Pk>,
    ) -> impl DoubleEndedIterator<Item = &'a Version<R>> {
        R::table(self.tables).range(range, self.tx)
    }

    /// Rows in index order, see [`super::table::Table::scan`].
    pub fn scan<R: Stored>(
        self,
        from: Bound<(R::Index, R::Pk)>,
        wanted: impl Fn(&R::Index) -> bool + 'a,
    ) -> impl Iterator<Item = (&'a R::Index, &'a Version<R>)> {
        R::table(self.tables).scan(from, wanted, self.tx)
    }
}

impl Storage {
    /// Opens a transaction.
    pub fn begin(&mut self) -> TxId {
        self.last_tx += 1;
        let tx = TxId(self.last_tx);
        self.active.insert(tx, Tx::default());
        tx
    }

    /// What a transaction sees now.
    pub fn view(&self, tx: TxId) -> View<'_> {
        View { tables: &self.tables, tx }
    }

    /// Views that follow from committed rows only; none for a transaction that has written.
    pub fn derived(&self, tx: TxId) -> Option<&Derived> {
        (!self.has_written(tx)).then_some(&self.derived)
    }

    /// Whether the transaction has changed anything.
    pub fn has_written(&self, tx: TxId) -> bool {
        self.active.get(&tx).is_some_and(|tx| !tx.writes.is_empty())
    }

    /// The next number of a sequence.
    pub fn next(&mut self, sequence: Sequence) -> u64 {
        let number = &mut self.sequences[sequence as usize];
        *number += 1;
        *number
    }

    /// A fresh row identity.
    pub fn new_row(&mut self) -> RowId {
        self.last_row += 1;
        RowId(self.last_row)
    }

    /// Asks for the lock of a row. `implicit`: the row is written right away, which is lock enough
    /// as long as nobody else wants the row.
    pub fn request<R: Stored>(&mut self, tx: TxId, id: RowId, pk: &R::Pk, wish: Wish) -> Request {
        let table = R::table(&self.tables);
        let writer = table.writer(pk);
        if writer.is_none_or(|writer| writer == tx) && !self.locks.is_known(id) {
            if writer == Some(tx) || wish.implicit {
                return Request::Granted;
            }
        } else if let Some(writer) = writer {
            let mode = if table.is_update(pk) { LockMode::NoKeyUpdate } else { LockMode::Update };
            self.locks.materialize(id, writer, mode, R::COUNTED);
        }
        self.locks.request(id, tx, wish.mode, wish.skip_locked, R::COUNTED)
    }

    /// Writes an uncommitted version; the caller holds the row's lock or has found no such row.
    pub fn write<R: Stored>(&mut self, tx: TxId, pk: R::Pk, version: Option<Version<R>>) {
        if R::table_mut(&mut self.tables).write(pk.clone(), tx, version) {
            let open = self.active.get_mut(&tx).expect("only open transactions write");
            open.writes.push(R::written(pk));
        }
    }

    /// Commits: all that was written becomes visible at once, and the locks go.
    pub fn commit(&mut self, tx: TxId) -> Committed {
        let open = self.active.remove(&tx).unwrap_or_default();
        let mut keys_locked = self.locks.counted(tx);
        let mut dirty = Dirty::default();
        for written in &open.writes {
            dirty.note(&self.tables, written);
            if let Written::Keys(pk) = written
                && self.tables.keys.is_update(pk)
                && let Some(version) = self.tables.keys.committed(pk)
                && !self.locks.holds(version.id, tx)
            {
                keys_locked += 1;
            }
        }
        let mut changes = Vec::with_capacity(open.writes.len());
        for written in &open.writes {
            changes.extend(self.tables.commit(written));
        }
        self.derived.refresh(&self.tables, dirty);
        self.locks.release(tx);
        Committed { changes, keys_locked }
    }

    /// Rolls back.
    pub fn abort(&mut self, tx: TxId) {
        for written in self.active.remove(&tx).unwrap_or_default().writes {
            self.tables.abort(&written);
        }
        self.locks.release(tx);
    }

    /// At a start, also after a crash: what was not committed is gone, and so are all locks. The
    /// coin decides who goes first where PostgreSQL leaves it open.
    pub fn recover(&mut self, coin: ChaCha8Rng) {
        while let Some(tx) = self.active.keys().next().copied() {
            self.abort(tx);
        }
        self.locks = Locks::with_coin(coin);
    }

    /// Transactions that are open.
    pub fn open_transactions(&self) -> usize {
        self.active.len()
    }
}

/// How a row is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Mode.
    pub mode: LockMode,
    /// Rather not than wait.
    pub skip_locked: bool,
    /// The row is written right away.
    pub implicit: bool,
}
