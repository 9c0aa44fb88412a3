//! The death of connections, of one process or between two.
//!
//! A process that dies takes its packets with it, and every connection it had is reset by forged
//! RST segments: at its own end at once (else its ports stay taken), at the other end after the
//! link's latency, behind what the link holds if it is cut.
//!
//! The socket layer never frees a half-open connection that is reset, and with it the listener's
//! port. So the forged RST of such a one is preceded by the forged end of its handshake, after
//! which it is an accepted connection that was reset, as on Linux.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use turmoil_net::{NetstatEntry, NetstatState};

use super::super::packet::{address, forged_reset, process_at};
use super::super::timers::Timers;
use super::Network;

impl Network {
    /// Resets every connection between two processes, at both ends at once.
    pub(in crate::world) fn reset(&mut self, a: u16, b: u16) {
        for (here, there) in [(a, b), (b, a)] {
            for (local, peer) in self.connections(here) {
                if process_at(peer.ip()) == there {
                    self.deliver(forged_reset(peer, local));
                }
            }
        }
    }

    /// The connections of a process that is about to die: (its end, the other end).
    pub(in crate::world) fn connections(&self, process: u16) -> Vec<(SocketAddr, SocketAddr)> {
        if self.guard.is_none() {
            return Vec::new();
        }
        let established = |entry: NetstatEntry| {
            let peer = entry.peer?;
            (entry.state != Some(NetstatState::Listen)).then_some((entry.local, peer))
        };
        let entries = turmoil_net::netstat(address(process)).entries;
        entries.into_iter().filter_map(established).collect()
    }

    /// Buries a process whose tasks have been dropped: discards its packets, frees its ports and
    /// resets the connections that it had.
    pub(in crate::world) fn bury(
        &mut self,
        now: u64,
        process: u16,
        connections: Vec<(SocketAddr, SocketAddr)>,
        timers: &mut Timers,
    ) {
        if self.guard.is_none() {
            return;
        }
        self.sweep(now, timers);
        let index = usize::from(process);
        for other in 0..self.links.len() {
            self.links[index][other].clear();
            self.links[other][index].clear();
        }
        let home = address(process);
        self.half_open.retain(|(server, _), _| server.ip() != home);
        for (local, peer) in self.connections(process) {
            self.deliver(forged_reset(peer, local));
        }
        // This sweep reaps the dead sockets; whatever they still said dies with them.
        self.sweep(now, timers);
        for other in 0..self.links.len() {
            self.links[index][other].clear();
        }
        let half_open = self.half_open.keys().filter(|(_, client)| client.ip() == home);
        let orphans = half_open.map(|(server, client)| (*client, *server));
        let ends: BTreeSet<_> = connections.into_iter().chain(orphans).collect();
        for (local, peer) in ends {
            self.send(Some(now), now, forged_reset(local, peer), timers);
        }
    }
}
