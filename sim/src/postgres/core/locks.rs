//! Row locks in PostgreSQL's four modes, waits for the end of a transaction, deadlock detection.
//!
//! After the PostgreSQL manual, 13.3.2 (conflict table of row-level locks) and 13.3.4 (deadlocks).
//! A lock is granted if it conflicts with no holder, whoever waits; waiters are served first come,
//! first served, except that a holder that wants a stronger mode goes before those that hold
//! nothing. A granted lock is kept to the end of its transaction.
//!
//! Who inserts a key that another transaction has written waits for the end of that one and not for
//! the row (PostgreSQL: `XactLockTableWait` without a tuple lock). At its end both kinds of waiters
//! wake, and the first that reaches the row has it: a coin says which kind does.
//!
//! It refuses to know rows or time: the session waits and asks [`Locks::is_deadlocked`] when its
//! deadlock timeout has passed.
//!
//! # Invariants
//! - Two holders of one row never conflict.
//! - A transaction waits for one thing at a time.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::hash::Lookup;
use super::table::{RowId, TxId};

/// Modes of row locks, weakest first; each covers the weaker ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockMode {
    /// `FOR KEY SHARE`
    KeyShare,
    /// `FOR SHARE`
    Share,
    /// `FOR NO KEY UPDATE`, and any UPDATE that changes no key column.
    NoKeyUpdate,
    /// `FOR UPDATE`, and DELETE.
    Update,
}

impl LockMode {
    /// Whether two transactions cannot hold these modes of one row (PostgreSQL, table 13.3).
    pub fn conflicts(self, other: LockMode) -> bool {
        use LockMode::{KeyShare, NoKeyUpdate, Share, Update};
        match (self.min(other), self.max(other)) {
            (_, Update) | (Share | NoKeyUpdate, NoKeyUpdate) => true,
            (_, KeyShare | Share) | (KeyShare | Update, NoKeyUpdate) => false,
        }
    }
}

/// Somebody who waits; ready when what it waits for is there.
#[derive(Default)]
pub struct Waiter {
    done: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Waiter {
    fn finish(&self) {
        self.done.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// Waits until the waiter is served.
pub struct Served(pub Rc<Waiter>);

impl Future for Served {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.done.get() {
            return Poll::Ready(());
        }
        *self.0.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

struct Holder {
    tx: TxId,
    mode: LockMode,
}

struct Queued {
    tx: TxId,
    mode: LockMode,
    waiter: Rc<Waiter>,
}

/// Somebody who waits for the end of a transaction.
struct AtEnd {
    tx: TxId,
    /// The committed row that stands where it wants to insert.
    row: Option<RowId>,
    waiter: Rc<Waiter>,
}

#[derive(Default)]
struct RowLock {
    holders: Vec<Holder>,
    queue: VecDeque<Queued>,
    counted: bool,
}

#[derive(Clone, Copy)]
enum WaitsFor {
    Row(RowId),
    End(TxId),
}

/// What became of a request.
pub enum Request {
    /// The lock is held.
    Granted,
    /// Somebody holds the row, and the request did not want to wait.
    Refused,
    /// It waits.
    Waits(Rc<Waiter>),
}

/// All locks.
#[derive(Default)]
pub struct Locks {
    rows: Lookup<RowId, RowLock>,
    held: Lookup<TxId, Vec<RowId>>,
    waiting: BTreeMap<TxId, WaitsFor>,
    /// Who waits for the end of a transaction.
    ends: Lookup<TxId, Vec<AtEnd>>,
    /// Rows that go to nobody of their queue before these, woken by an end, have reached them.
    kept: BTreeMap<RowId, Vec<TxId>>,
    /// Without it those in the queue of a row always come first.
    coin: Option<ChaCha8Rng>,
}

impl Locks {
    /// No locks; the coin decides whatever may come out either way.
    pub fn with_coin(coin: ChaCha8Rng) -> Self {
        Self { coin: Some(coin), ..Self::default() }
    }

    /// Whether anybody holds or wants the row.
    pub fn is_known(&self, row: RowId) -> bool {
        self.rows.contains_key(&row)
    }

    /// Whether the transaction holds the row in any mode.
    pub fn holds(&self, row: RowId, tx: TxId) -> bool {
        let lock = self.rows.get(&row);
        lock.is_some_and(|lock| lock.holders.iter().any(|holder| holder.tx == tx))
    }

    /// Notes a lock that its holder has by having written the row.
    pub fn materialize(&mut self, row: RowId, tx: TxId, mode: LockMode, counted: bool) {
        let lock = self.rows.entry(row).or_default();
        lock.counted = counted;
        Self::add_holder(lock, &mut self.held, row, tx, mode);
    }

    /// Asks for a row.
    pub fn request(
        &mut self,
        row: RowId,
        tx: TxId,
        mode: LockMode,
        skip_locked: bool,
        counted: bool,
    ) -> Request {
        let lock = self.rows.entry(row).or_default();
        lock.counted = counted;
        let is_free = lock.holders.iter().all(|h| h.tx == tx || !h.mode.conflicts(mode));
        if is_free {
            Self::add_holder(lock, &mut self.held, row, tx, mode);
            self.reach(tx);
            return Request::Granted;
        }
        if skip_locked {
            self.reach(tx);
            return Request::Refused;
        }
        let waiter = Rc::new(Waiter::default());
        let queued = Queued { tx, mode, waiter: Rc::clone(&waiter) };
        if lock.holders.iter().any(|holder| holder.tx == tx) {
            let holds = |tx| lock.holders.iter().any(|holder| holder.tx == tx);
            let place = lock.queue.iter().take_while(|other| holds(other.tx)).count();
            lock.queue.insert(place, queued);
        } else {
            lock.queue.push_back(queued);
        }
        self.waiting.insert(tx, WaitsFor::Row(row));
        self.reach(tx);
        Request::Waits(waiter)
    }

    /// Waits for the end of a transaction, as the inserter of a key does that another has written;
    /// `row` is the committed row of that key.
    pub fn await_end(&mut self, of: TxId, tx: TxId, row: Option<RowId>) -> Rc<Waiter> {
        let waiter = Rc::new(Waiter::default());
        self.ends.entry(of).or_default().push(AtEnd { tx, row, waiter: Rc::clone(&waiter) });
        self.waiting.insert(tx, WaitsFor::End(of));
        self.reach(tx);
        waiter
    }

    /// The transaction, if an end has woken it, has done with the row what it wanted: the queue
    /// goes on.
    pub fn reach(&mut self, tx: TxId) {
        if self.kept.is_empty() {
            return;
        }
        self.kept.values_mut().for_each(|woken| woken.retain(|other| *other != tx));
        let reached = self.kept.extract_if(.., |_, woken| woken.is_empty());
        for row in reached.map(|(row, _)| row).collect::<Vec<_>>() {
            self.promote(row);
        }
    }

    /// Rows that are counted and that the transaction holds.
    pub fn counted(&self, tx: TxId) -> u32 {
        let Some(rows) = self.held.get(&tx) else { return 0 };
        let counted = |row: &&RowId| self.rows.get(row).is_some_and(|lock| lock.counted);
        u32::try_from(rows.iter().filter(counted).count()).expect("fewer than 2^32 locks")
    }

    /// Stops waiting.
    pub fn cancel(&mut self, tx: TxId) {
        match self.waiting.remove(&tx) {
            Some(WaitsFor::Row(row)) => {
                if let Some(lock) = self.rows.get_mut(&row) {
                    lock.queue.retain(|queued| queued.tx != tx);
                }
                self.promote(row);
            }
            Some(WaitsFor::End(of)) => {
                if let Some(waiters) = self.ends.get_mut(&of) {
                    waiters.retain(|waiter| waiter.tx != tx);
                }
            }
            None => {}
        }
    }

    /// The transaction has ended: its locks go, and whoever waited for them or for it goes on.
    pub fn release(&mut self, tx: TxId) {
        self.cancel(tx);
        self.reach(tx);
        let ends = self.ends.remove(&tx).unwrap_or_default();
        self.keep_rows(&ends);
        for row in self.held.remove(&tx).unwrap_or_default() {
            if let Some(lock) = self.rows.get_mut(&row) {
                lock.holders.retain(|holder| holder.tx != tx);
            }
            self.promote(row);
        }
        for AtEnd { tx, waiter, .. } in ends {
            self.waiting.remove(&tx);
            waiter.finish();
        }
    }

    /// Keeps the rows for those whom an end wakes, if others queue for them and the coin says so.
    fn keep_rows(&mut self, ends: &[AtEnd]) {
        let rows: BTreeSet<RowId> = ends.iter().filter_map(|end| end.row).collect();
        for row in rows {
            let is_wanted = self.rows.get(&row).is_some_and(|lock| !lock.queue.is_empty());
            if is_wanted && self.coin.as_mut().is_some_and(|coin| coin.next_u32() % 2 == 1) {
                let woken = ends.iter().filter(|end| end.row == Some(row)).map(|end| end.tx);
                self.kept.insert(row, woken.collect());
            }
        }
    }

    /// Whether the transaction waits, directly or not, for itself.
    pub fn is_deadlocked(&self, tx: TxId) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = self.blockers(tx);
        while let Some(next) = open.pop() {
            if next == tx {
                return true;
            }
            if seen.insert(next) {
                open.extend(self.blockers(next));
            }
        }
        false
    }

    /// Transactions that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the transaction waits.
    pub fn is_waiting(&self, tx: TxId) -> bool {
        self.waiting.contains_key(&tx)
    }

    fn blockers(&self, tx: TxId) -> Vec<TxId> {
        match self.waiting.get(&tx) {
            None => Vec::new(),
            Some(WaitsFor::End(of)) => vec![*of],
            Some(WaitsFor::Row(row)) => {
                let Some(lock) = self.rows.get(row) else { return Vec::new() };
                let place = lock.queue.iter().position(|queued| queued.tx == tx);
                let place = place.expect("a waiter is in the queue of what it waits for");
                let mode = lock.queue[place].mode;
                let ahead = lock.queue.iter().take(place).map(|queued| (queued.tx, queued.mode));
                let holders = lock.holders.iter().map(|holder| (holder.tx, holder.mode));
                let blocks =
                    |(other, held): &(TxId, LockMode)| *other != tx && held.conflicts(mode);
                holders.chain(ahead).filter(blocks).map(|(other, _)| other).collect()
            }
        }
    }

    fn add_holder(
        lock: &mut RowLock,
        held: &mut Lookup<TxId, Vec<RowId>>,
        row: RowId,
        tx: TxId,
        mode: LockMode,
    ) {
        match lock.holders.iter_mut().find(|holder| holder.tx == tx) {
            Some(holder) => holder.mode = holder.mode.max(mode),
            None => {
                lock.holders.push(Holder { tx, mode });
                held.entry(tx).or_default().push(row);
            }
        }
    }

    /// Grants what can be granted now, in order.
    fn promote(&mut self, row: RowId) {
        if self.kept.contains_key(&row) {
            return;
        }
        let Some(lock) = self.rows.get_mut(&row) else { return };
        let mut place = 0;
        while let Some(queued) = lock.queue.get(place) {
            let (tx, mode) = (queued.tx, queued.mode);
            let held = lock.holders.iter().any(|h| h.tx != tx && h.mode.conflicts(mode));
            let behind = lock.queue.iter().take(place).any(|ahead| ahead.mode.conflicts(mode));
            if held || behind {
                place += 1;
                continue;
            }
            let queued = lock.queue.remove(place).expect("found above");
            Self::add_holder(lock, &mut self.held, row, tx, mode);
            self.waiting.remove(&tx);
            queued.waiter.finish();
        }
        if lock.holders.is_empty() && lock.queue.is_empty() {
            self.rows.remove(&row);
        }
    }
}
