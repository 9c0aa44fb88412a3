//! One direction between two processes: its latency, its cuts and the packets on it.
//!
//! # Invariants
//! - Arrival times never decrease along the packets of a link.

use std::collections::VecDeque;
use std::time::Duration;

use turmoil_net::Packet;

use super::course::Stream;

/// Writes to one connection within this time may become one packet; the first of them is late by
/// at most as much.
pub(super) const LOOKAHEAD_MAX: u64 = 1_000_000;

/// Bounds of a latency in nanoseconds: at least, at most.
pub(super) type Latency = (u64, u64);

/// How long packets may wait before they are collected, on a link of that latency at least.
pub(super) fn lookahead(min: Duration) -> u64 {
    nanos((min, min)).0.min(LOOKAHEAD_MAX)
}

/// See the module.
#[derive(Default)]
pub(super) struct Link {
    /// Latency without faults.
    pub(super) latency: Latency,
    /// Sum of what the faults that go on add to it.
    pub(super) extra: Latency,
    /// Cuts that go on.
    pub(super) cuts: u32,
    /// Whether the queue of what will happen has an entry for the link.
    pub(super) armed: bool,
    /// When something was last written that is to go over the link.
    pub(super) written_at: u64,
    /// Bytes (and ends of streams) that were written to go over the link and that no sweep has
    /// collected; it may be too high after a reset, until [`super::network`] looks closer.
    pub(super) unsent: usize,
    /// Whether a sweep has left some of them: they wait for an acknowledgement.
    pub(super) blocked: bool,
    /// Bytes delivered that were not acknowledged over the link the other way.
    pub(super) unacknowledged: usize,
    /// Acknowledgements that wait for data to go with, one a connection.
    pub(super) delayed: Vec<Packet>,
    last_arrival: u64,
    packets: VecDeque<(u64, Packet)>,
}

/// Bounds in nanoseconds.
pub(super) fn nanos(bounds: (Duration, Duration)) -> Latency {
    let to_nanos = |duration: Duration| {
        u64::try_from(duration.as_nanos()).expect("a latency is shorter than 584 years")
    };
    assert!(bounds.0 <= bounds.1, "latency bounds are (min, max)");
    (to_nanos(bounds.0), to_nanos(bounds.1))
}

impl Link {
    pub(super) fn new(latency: Latency) -> Self {
        Self { latency, ..Self::default() }
    }

    /// Puts a packet on the link that was sent then and is collected now; when it arrives, if no
    /// cut holds it.
    pub(super) fn push(
        &mut self,
        (sent, now): (u64, u64),
        packet: Packet,
        rng: &mut Stream,
    ) -> u64 {
        let at = (sent + self.draw(rng)).max(now).max(self.last_arrival);
        self.last_arrival = at;
        self.packets.push_back((at, packet));
        at
    }

    /// When the first packet arrives.
    pub(super) fn next_at(&self) -> Option<u64> {
        self.packets.front().map(|(at, _)| *at)
    }

    /// Takes the first packet.
    pub(super) fn pop(&mut self) -> Option<Packet> {
        self.packets.pop_front().map(|(_, packet)| packet)
    }

    /// Packets on the link.
    pub(super) fn len(&self) -> usize {
        self.packets.len()
    }

    /// Forgets its packets, and what was to become packets.
    pub(super) fn clear(&mut self) {
        (self.unsent, self.blocked) = (0, false);
        self.delayed.clear();
        self.packets.clear();
    }

    /// Gives each packet a fresh latency from now on, in order.
    pub(super) fn restart(&mut self, now: u64, rng: &mut Stream) {
        let mut last = now;
        for index in 0..self.packets.len() {
            last = last.max(now + self.draw(rng)).max(self.packets[index].0);
            self.packets[index].0 = last;
        }
        self.last_arrival = self.last_arrival.max(last);
    }

    fn draw(&self, rng: &mut Stream) -> u64 {
        let min = self.latency.0 + self.extra.0;
        let max = self.latency.1 + self.extra.1;
        if min == max {
            return min;
        }
        min + rng.below(max - min + 1)
    }
}
