//! A versioned table: per primary key the committed version and at most one uncommitted one.
//!
//! A write needs the row's lock, so there is never more than one uncommitted version, and a
//! statement reads all that it needs at one instant, so no older version is ever asked for. Index
//! entries exist for both versions; whoever scans an index checks the version that it sees.
//!
//! Rows that belong to a key are ordered by the number that their table has given the key, as most
//! of the time of an ordered map goes into comparing texts. So a range of such a table must stay
//! within one key.
//!
//! It refuses to wait or to lock: that is [`super::locks`] and [`super::session`].
//!
//! # Invariants
//! - A slot without any version does not exist.
//! - An index entry exists exactly if one of the versions of its row has it.
//! - A row keeps its [`RowId`] through updates; what is inserted after a deletion gets a new one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, RangeBounds};
use std::rc::Rc;

use backdate_engine::domain::ids::Key;
use backdate_reports::recording::{Change, Row};

use super::hash::Lookup;

/// Identity of a row through its updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub u64);

/// Identity of a transaction; 0 is nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxId(pub u64);

/// A primary key.
pub trait PrimaryKey: Clone + Ord + 'static {
    /// What its table is ordered by.
    type Sorted: Ord + Clone;

    /// The order of the row; `number` tells the number of a key.
    fn sorted(&self, number: impl FnOnce(&Key) -> u32) -> Self::Sorted;
}

/// The row type of one table.
pub trait Record: Sized + 'static {
    /// Primary key.
    type Pk: PrimaryKey;
    /// Entry of the secondary index; [`std::convert::Infallible`] where there is none.
    type Index: Ord + Clone + 'static;
    /// Name of the table.
    const NAME: &'static str;
    /// Whether locked rows are counted for the recording (`position_state`).
    const COUNTED: bool = false;

    /// The primary key of the row.
    fn pk(&self) -> Self::Pk;

    /// Its entries in the secondary index.
    fn index(&self, _entries: &mut Vec<Self::Index>) {}

    /// The row as the recording shows it; none for tables of the implementation.
    fn recorded(row: &Rc<Self>) -> Option<Row>;
}

/// A version of a row.
#[derive(Debug)]
pub struct Version<R> {
    /// Which row.
    pub id: RowId,
    /// Its content.
    pub row: Rc<R>,
}

impl<R> Clone for Version<R> {
    fn clone(&self) -> Self {
        Self { id: self.id, row: Rc::clone(&self.row) }
    }
}

/// An uncommitted version.
struct Pending<R> {
    tx: TxId,
    /// None: deleted.
    version: Option<Version<R>>,
}

struct Slot<R> {
    committed: Option<Version<R>>,
    pending: Option<Box<Pending<R>>>,
}

impl<R> Slot<R> {
    fn visible(&self, tx: TxId) -> Option<&Version<R>> {
        match &self.pending {
            Some(pending) if pending.tx == tx => pending.version.as_ref(),
            _ => self.committed.as_ref(),
        }
    }
}

/// What there is at a primary key.
pub enum Look<'a, R> {
    /// Another transaction has an uncommitted version; the committed row, if there is one.
    Written(TxId, Option<RowId>),
    /// Nobody else is writing: the visible version.
    Settled(Option<&'a Version<R>>),
}

/// A table.
pub struct Table<R: Record> {
    rows: BTreeMap<<R::Pk as PrimaryKey>::Sorted, Slot<R>>,
    numbers: Lookup<Key, u32>,
    index: BTreeSet<(R::Index, R::Pk)>,
}

impl<R: Record> Default for Table<R> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), numbers: Lookup::default(), index: BTreeSet::new() }
    }
}

impl<R: Record> Table<R> {
    /// The version that a transaction sees.
    pub fn get(&self, pk: &R::Pk, tx: TxId) -> Option<&Version<R>> {
        self.slot(pk)?.visible(tx)
    }

    /// Who else is writing the row, or the version that the transaction sees.
    pub fn look(&self, pk: &R::Pk, tx: TxId) -> Look<'_, R> {
        match self.slot(pk) {
            Some(Slot { pending: Some(pending), committed }) if pending.tx != tx => {
                Look::Written(pending.tx, committed.as_ref().map(|version| version.id))
            }
            slot => Look::Settled(slot.and_then(|slot| slot.visible(tx))),
        }
    }

    /// The committed version.
    pub fn committed(&self, pk: &R::Pk) -> Option<&Version<R>> {
        self.slot(pk)?.committed.as_ref()
    }

    /// Who has an uncommitted version of the row.
    pub fn writer(&self, pk: &R::Pk) -> Option<TxId> {
        self.slot(pk)?.pending.as_ref().map(|pending| pending.tx)
    }

    /// Whether the uncommitted version updates the committed row (it neither inserts nor deletes).
    pub fn is_update(&self, pk: &R::Pk) -> bool {
        let Some(slot) = self.slot(pk) else { return false };
        let new = slot.pending.as_ref().and_then(|pending| pending.version.as_ref());
        matches!((&slot.committed, new), (Some(old), Some(new)) if old.id == new.id)
    }

    /// Visible versions in primary-key order.
    pub fn range(
        &self,
        range: impl RangeBounds<R::Pk>,
        tx: TxId,
    ) -> impl DoubleEndedIterator<Item = &Version<R>> {
        let start = range.start_bound().map(|pk| self.sorted(pk));
        let end = range.end_bound().map(|pk| self.sorted(pk));
        self.rows.range((start, end)).filter_map(move |(_, slot)| slot.visible(tx))
    }

    /// Visible versions that have the index entry `of` wants, from `from` on, in index order; ends
    /// at the first entry that it does not want.
    pub fn scan<'a>(
        &'a self,
        from: Bound<(R::Index, R::Pk)>,
        wanted: impl Fn(&R::Index) -> bool + 'a,
        tx: TxId,
    ) -> impl Iterator<Item = (&'a R::Index, &'a Version<R>)> {
        let mut entries = Vec::new();
        self.index
            .range((from, Bound::Unbounded))
            .take_while(move |(entry, _)| wanted(entry))
            .filter_map(move |(entry, pk)| {
                let version = self.get(pk, tx)?;
                entries.clear();
                version.row.index(&mut entries);
                entries.contains(entry).then_some((entry, version))
            })
    }

    /// Raw index entries from there on, whether visible or not.
    pub fn entries(
        &self,
        from: Bound<(R::Index, R::Pk)>,
    ) -> impl Iterator<Item = &(R::Index, R::Pk)> {
        self.index.range((from, Bound::Unbounded))
    }

    /// Number of rows that a transaction sees.
    pub fn count(&self, tx: TxId) -> usize {
        self.rows.values().filter(|slot| slot.visible(tx).is_some()).count()
    }

    /// All committed rows.
    pub fn all(&self) -> impl Iterator<Item = &Rc<R>> {
        self.rows.values().filter_map(|slot| slot.committed.as_ref().map(|version| &version.row))
    }

    /// All committed rows in primary-key order.
    pub fn dump(&self) -> Vec<Rc<R>> {
        let mut rows: Vec<Rc<R>> = self.all().cloned().collect();
        rows.sort_by_cached_key(|row| row.pk());
        rows
    }

    /// The committed and the uncommitted version.
    pub fn both(&self, pk: &R::Pk) -> (Option<&Rc<R>>, Option<&Rc<R>>) {
        let Some(slot) = self.slot(pk) else { return (None, None) };
        let new = slot.pending.as_ref().and_then(|pending| pending.version.as_ref());
        (slot.committed.as_ref().map(|old| &old.row), new.map(|new| &new.row))
    }

    /// Writes an uncommitted version (none: deletes); whether it is the transaction's first of this
    /// row.
    ///
    /// # Panics
    /// If somebody else has an uncommitted version: the caller has to hold the row's lock.
    pub fn write(&mut self, pk: R::Pk, tx: TxId, version: Option<Version<R>>) -> bool {
        let next = u32::try_from(self.numbers.len()).expect("fewer than 2^32 keys");
        let numbers = &mut self.numbers;
        let number = |key: &Key| match numbers.get(key) {
            Some(number) => *number,
            None => *numbers.entry(key.clone()).or_insert(next),
        };
        let slot = self.rows.entry(pk.sorted(number));
        let slot = slot.or_insert_with(|| Slot { committed: None, pending: None });
        let first = slot.pending.is_none();
        let mut old = Vec::new();
        if let Some(pending) = slot.pending.take() {
            assert!(pending.tx == tx, "a row of {} is written by two transactions", R::NAME);
            pending.version.iter().for_each(|version| version.row.index(&mut old));
        }
        let mut kept = Vec::new();
        slot.committed.iter().for_each(|version| version.row.index(&mut kept));
        let mut new = Vec::new();
        version.iter().for_each(|version| version.row.index(&mut new));
        slot.pending = Some(Box::new(Pending { tx, version }));
        for entry in old {
            if !kept.contains(&entry) && !new.contains(&entry) {
                self.index.remove(&(entry, pk.clone()));
            }
        }
        for entry in new {
            if !kept.contains(&entry) {
                self.index.insert((entry, pk.clone()));
            }
        }
        first
    }

    /// Makes the uncommitted version the committed one; what has changed, if the table is recorded.
    pub fn commit(&mut self, pk: &R::Pk) -> Option<Change> {
        let sorted = self.sorted(pk);
        let slot = self.rows.get_mut(&sorted)?;
        let pending = slot.pending.take()?;
        let old = std::mem::replace(&mut slot.committed, pending.version);
        let new = slot.committed.clone();
        if new.is_none() {
            self.rows.remove(&sorted);
        }
        self.forget_entries(pk, old.as_ref(), new.as_ref());
        match (new, old) {
            (Some(new), _) => Some(Change { row: R::recorded(&new.row)?, deleted: false }),
            (None, Some(old)) => Some(Change { row: R::recorded(&old.row)?, deleted: true }),
            (None, None) => None,
        }
    }

    /// Forgets the uncommitted version.
    pub fn abort(&mut self, pk: &R::Pk) {
        let sorted = self.sorted(pk);
        let Some(slot) = self.rows.get_mut(&sorted) else { return };
        let Some(pending) = slot.pending.take() else { return };
        let kept = slot.committed.clone();
        if kept.is_none() {
            self.rows.remove(&sorted);
        }
        self.forget_entries(pk, pending.version.as_ref(), kept.as_ref());
    }

    /// Puts a committed row in place, outside of any transaction.
    pub fn load(&mut self, version: Version<R>) {
        let pk = version.row.pk();
        self.write(pk.clone(), TxId(0), Some(version));
        self.commit(&pk);
    }

    fn slot(&self, pk: &R::Pk) -> Option<&Slot<R>> {
        self.rows.get(&self.sorted(pk))
    }

    fn sorted(&self, pk: &R::Pk) -> <R::Pk as PrimaryKey>::Sorted {
        // A key without a number has no row; its ranges are empty, too.
        pk.sorted(|key| self.numbers.get(key).copied().unwrap_or(u32::MAX))
    }

    fn forget_entries(&mut self, pk: &R::Pk, gone: Option<&Version<R>>, kept: Option<&Version<R>>) {
        let Some(gone) = gone else { return };
        let mut entries = Vec::new();
        gone.row.index(&mut entries);
        if entries.is_empty() {
            return;
        }
        let mut still = Vec::new();
        kept.iter().for_each(|version| version.row.index(&mut still));
        for entry in entries {
            if !still.contains(&entry) {
                self.index.remove(&(entry, pk.clone()));
            }
        }
    }
}
