//! Acknowledgements that wait for data to go with, which halves the packets of a dialogue.
//!
//! # Invariants
//! - One waits 40 ms at most, and none while much is unacknowledged on the link: no sender ever
//!   stands at the end of its window because of it.
//! - The end of a handshake never waits.

use super::super::packet::{ends_of, is_bare, process_at};
use super::super::timers::Timers;
use super::Network;
use turmoil_net::Packet;

/// How long an acknowledgement is delayed at most: 40 ms, as on Linux (`TCP_DELACK_MIN`).
pub(super) const ACKNOWLEDGE_MAX: u64 = 40_000_000;
/// Bytes that may be delivered before they are acknowledged; a sender stops at 65,535.
pub(super) const UNACKNOWLEDGED_MAX: usize = 16 * 1024;
impl Network {
    /// When the acknowledgements that are delayed must be sent at the latest.
    pub(in crate::world) fn acknowledge_at(&self) -> Option<u64> {
        self.delayed_since.map(|since| since + ACKNOWLEDGE_MAX)
    }

    pub(super) fn acknowledge_all(&mut self, now: u64, timers: &mut Timers) {
        self.delayed_since = None;
        for from in 0..self.links.len() {
            for to in 0..self.links.len() {
                for packet in std::mem::take(&mut self.links[from][to].delayed) {
                    self.links[to][from].unacknowledged = 0;
                    self.send(None, now, packet, timers);
                }
            }
        }
    }

    /// Sends a packet, unless it is an acknowledgement that may wait for data to go with.
    pub(super) fn send_or_delay(&mut self, now: u64, packet: Packet, timers: &mut Timers) {
        let (from, to) = (process_at(packet.src), process_at(packet.dst));
        let bare = is_bare(&packet);
        let much = self.link(to, from).unacknowledged >= UNACKNOWLEDGED_MAX;
        let ends = ends_of(&packet);
        let waits = bare && !much && !self.ends_handshake(&packet);
        let link = self.link(from, to);
        // Whatever goes now, or waits now, repeats what waits already.
        link.delayed.retain(|delayed| ends_of(delayed) != ends);
        if waits {
            link.delayed.push(packet);
            self.delayed_since.get_or_insert(now);
            return;
        }
        if much {
            let delayed = std::mem::take(&mut self.link(from, to).delayed);
            for packet in delayed {
                self.send(None, now, packet, timers);
            }
        }
        if self.link(from, to).delayed.is_empty() {
            self.link(to, from).unacknowledged = 0;
        }
        self.send(None, now, packet, timers);
    }

    /// A reader has made room for much, of which the sender must learn at once.
    pub(in crate::world) fn made_room(&mut self, (from, to): (u16, u16)) {
        self.link(to, from).unacknowledged = UNACKNOWLEDGED_MAX;
    }
}
