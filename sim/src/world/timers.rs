//! What will happen: timers and packet arrivals, ordered by (time, sequence).
//!
//! One heap for both, so that their order is total and the same in every run. A timer whose future
//! was dropped is forgotten lazily: its entry stays in the heap, neither wakes anyone nor moves
//! time, and is swept out when such entries become the majority (each request of a client arms a
//! timeout that it almost never needs).
//!
//! It refuses to know the current time: the executor asks for what is due and moves the clock.
//!
//! # Invariants
//! - Entries of equal time leave in the order in which they were added.
//! - A slot is reused only after its entry has left the heap.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::task::Waker;

/// Below this many forgotten timers a sweep is not worth its walk over the heap.
const SWEEP_MIN: usize = 1024;

/// What an entry of the queue is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// A timer, by slot.
    Timer(u32),
    /// The first packet of a link arrives: source and destination process.
    Link(u16, u16),
    /// Acknowledgements have been delayed long enough.
    Sweep,
}

/// A timer that was armed.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimerKey {
    slot: u32,
    sequence: u64,
}

struct Entry {
    at: u64,
    sequence: u64,
    due: Due,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// Reversed, because the standard heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

struct Slot {
    sequence: u64,
    /// None once the timer was forgotten.
    waker: Option<Waker>,
}

/// The queue of what will happen.
#[derive(Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Entry>,
    sequence: u64,
    slots: Vec<Slot>,
    free: Vec<u32>,
    forgotten: usize,
}

impl Timers {
    /// Wakes the waker at that time.
    pub(super) fn arm(&mut self, at: u64, waker: Waker) -> TimerKey {
        let sequence = self.sequence;
        let armed = Slot { sequence, waker: Some(waker) };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = armed;
                slot
            }
            None => {
                self.slots.push(armed);
                u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 timers")
            }
        };
        self.push(at, Due::Timer(slot));
        TimerKey { slot, sequence }
    }

    /// A packet arrives on a link at that time.
    pub(super) fn arrive(&mut self, at: u64, from: u16, to: u16) {
        self.push(at, Due::Link(from, to));
    }

    /// The sockets are swept at that time at the latest.
    pub(super) fn sweep_at(&mut self, at: u64) {
        self.push(at, Due::Sweep);
    }

    /// The timer now wakes this waker.
    pub(super) fn rewake(&mut self, key: TimerKey, waker: &Waker) {
        if let Some(slot) = self.slot_of(key)
            && !slot.waker.as_ref().is_some_and(|armed| armed.will_wake(waker))
        {
            slot.waker = Some(waker.clone());
        }
    }

    /// Nobody waits for the timer any more. Of one that has fired, nothing remains to forget.
    pub(super) fn forget(&mut self, key: TimerKey) {
        let Some(slot) = self.slot_of(key) else {
            return;
        };
        if slot.waker.take().is_some() {
            self.forgotten += 1;
        }
        if self.forgotten > SWEEP_MIN && self.forgotten * 2 > self.heap.len() {
            self.clean();
        }
    }

    /// When something happens next.
    pub(super) fn next_at(&mut self) -> Option<u64> {
        loop {
            let entry = self.heap.peek()?;
            match entry.due {
                Due::Timer(slot) if self.slots[slot as usize].waker.is_none() => {
                    self.heap.pop();
                    self.release(slot);
                    self.forgotten -= 1;
                }
                _ => return Some(entry.at),
            }
        }
    }

    /// Takes the next entry if it is due at that time: a link, or a timer with its waker.
    pub(super) fn pop_due(&mut self, now: u64) -> Option<(Due, Option<Waker>)> {
        if self.next_at()? > now {
            return None;
        }
        let entry = self.heap.pop()?;
        let waker = match entry.due {
            Due::Timer(slot) => {
                let waker = self.slots[slot as usize].waker.take();
                self.release(slot);
                waker
            }
            Due::Link(..) | Due::Sweep => None,
        };
        Some((entry.due, waker))
    }

    fn push(&mut self, at: u64, due: Due) {
        let sequence = self.sequence;
        self.sequence += 1;
        self.heap.push(Entry { at, sequence, due });
    }

    fn slot_of(&mut self, key: TimerKey) -> Option<&mut Slot> {
        self.slots.get_mut(key.slot as usize).filter(|slot| slot.sequence == key.sequence)
    }

    fn release(&mut self, slot: u32) {
        // No key has this sequence: one that is still held cannot touch the slot's next timer.
        self.slots[slot as usize].sequence = u64::MAX;
        self.free.push(slot);
    }

    fn clean(&mut self) {
        let (slots, free) = (&mut self.slots, &mut self.free);
        self.heap.retain(|entry| match entry.due {
            Due::Timer(slot) if slots[slot as usize].waker.is_none() => {
                slots[slot as usize].sequence = u64::MAX;
                free.push(slot);
                false
            }
            _ => true,
        });
        self.forgotten = 0;
    }
}
