//! The network between processes: links with latency, cuts, and the death of connections.
//!
//! Sockets are those of `turmoil_net`, one of its hosts per process. This file carries packets
//! between them: each direction between two processes is a *link*, whose packets arrive in the
//! order in which they were sent, each after a latency drawn from the `network` stream. A cut link
//! holds its packets, however long; a heal lets them go in order. Nothing is lost, duplicated or
//! reordered, because the socket layer has no clock to retransmit by (retransmission is off).
//!
//! How connections die is in `network/death.rs`.
//!
//! Acknowledgements are delayed as on Linux, which halves packets and sweeps: one that data of the
//! same connection follows within 40 ms is left out, and a delivery alone does not call for a sweep
//! of the sockets, unless it may unblock somebody (see [`Network::arrive`]).
//!
//! A sweep costs time for every socket of every process, so what is written is not collected at
//! once, but before it could arrive anywhere: nothing arrives before the shortest latency has
//! passed. The latency counts from the writing all the same.
//!
//! The socket layer has no TIME_WAIT either: it answers the last acknowledgement of a connection
//! that both ends have closed with a reset, upon which the other end would lose what it has not
//! read yet. Such answers are left out.
//!
//! # Invariants
//! - A link has an entry in the queue of what will happen exactly when `armed`.

mod acknowledge;
mod death;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

use turmoil_net::{
    EnterGuard, HostId, KernelConfig, Net, NetstatEntry, NetstatState, Packet, TcpFlags, Transport,
};

use super::course::{Course, Stream, StreamName};
use super::link::{LOOKAHEAD_MAX, Latency, Link};
use super::packet::{
    address, answers_bare, ends_of, flags_of, forged, is_bare, is_superseded, payload_of,
    process_at,
};
use super::timers::Timers;
use super::trace::Trace;

/// The window that a receiver can advertise at most: one segment a round trip.
const WINDOW: u32 = 65_535;
/// Room for received bytes. Four windows, so that the acknowledgement of a full segment already
/// advertises the next window and no separate update follows.
pub(super) const RECEIVE_BUFFER: usize = 4 * WINDOW as usize;
/// A read of at least half of the receive buffer; a smaller one never reopens a full window.
pub(super) const READ_BUFFER: usize = RECEIVE_BUFFER / 2 + 1;
/// As much as Linux gives a socket that is not tuned (`net.ipv4.tcp_wmem`, middle value, is 16 KiB;
/// autotuning reaches more): a writer of larger frames waits for acknowledgements.
const SEND_BUFFER: usize = 256 * 1024;
/// IPv4 and TCP headers.
const HEADERS: u32 = 40;

/// See the module.
pub(super) struct Network {
    guard: Option<EnterGuard>,
    hosts: Vec<HostId>,
    /// By source, then destination.
    links: Vec<Vec<Link>>,
    latency: Latency,
    rng: Stream,
    outgoing: Vec<Packet>,
    left_out: Vec<bool>,
    /// The links for which something was written that no sweep has collected.
    unsent: Vec<(u16, u16)>,
    /// Since when the oldest acknowledgement is delayed, if one is.
    delayed_since: Option<u64>,
    /// Bare acknowledgements delivered since the last sweep: (source, destination).
    bare: Vec<(SocketAddr, SocketAddr)>,
    /// Half-open connections, by (server's end, client's end): the server's first sequence number.
    half_open: BTreeMap<(SocketAddr, SocketAddr), u32>,
}

impl Network {
    pub(super) fn new(latency: Latency, seed: u64, course: &Rc<Course>) -> Self {
        Self {
            guard: None,
            hosts: Vec::new(),
            links: Vec::new(),
            latency,
            rng: Stream::new(seed, "network", StreamName::Network, course),
            outgoing: Vec::new(),
            left_out: Vec::new(),
            unsent: Vec::new(),
            delayed_since: None,
            bare: Vec::new(),
            half_open: BTreeMap::new(),
        }
    }

    /// Adds the links of a new process.
    pub(super) fn add_process(&mut self) {
        for row in &mut self.links {
            row.push(Link::new(self.latency));
        }
        let processes = self.links.len() + 1;
        let link = |_| Link::new(self.latency);
        let row = (0..processes).map(link).collect();
        self.links.push(row);
    }

    /// Puts up the socket layer with that many hosts. It cannot grow later.
    pub(super) fn install(&mut self, hosts: usize) {
        if self.guard.is_some() {
            return;
        }
        let config = KernelConfig::default()
            .mtu(WINDOW + HEADERS)
            .loopback_mtu(WINDOW + HEADERS)
            .send_buf_cap(SEND_BUFFER)
            .recv_buf_cap(RECEIVE_BUFFER)
            .retx_threshold(u32::MAX);
        let mut net = Net::with_config(config);
        self.hosts = (0..hosts)
            .map(|host| net.add_host(address(u16::try_from(host).expect("fewer than 65536 hosts"))))
            .collect();
        self.guard = Some(net.enter());
    }

    /// Hosts of the socket layer; `None` before it is up.
    pub(super) fn capacity(&self) -> Option<usize> {
        self.guard.is_some().then_some(self.hosts.len())
    }

    /// Takes the socket layer down. No socket may be used or dropped any more.
    pub(super) fn uninstall(&mut self) {
        self.guard = None;
    }

    /// Whose sockets the code that runs next uses.
    pub(super) fn set_current(&self, process: u16) {
        if let Some(guard) = &self.guard {
            guard.set_current(self.hosts[usize::from(process)]);
        }
    }

    /// Collects what the sockets want to send and puts it on the links.
    pub(super) fn sweep(&mut self, now: u64, timers: &mut Timers) {
        let Some(guard) = &self.guard else {
            return;
        };
        let mut outgoing = std::mem::take(&mut self.outgoing);
        guard.egress_all(&mut outgoing);
        let mut left_out = std::mem::take(&mut self.left_out);
        let mut bare = std::mem::take(&mut self.bare);
        left_out.extend((0..outgoing.len()).map(|index| {
            let packet: &Packet = &outgoing[index];
            answers_bare(packet, &mut bare)
                || is_superseded(packet, &outgoing[index + 1..]) && !self.ends_handshake(packet)
        }));
        for (packet, left_out) in outgoing.drain(..).zip(left_out.drain(..)) {
            if !left_out {
                self.send_or_delay(now, packet, timers);
            }
        }
        bare.clear();
        let links = &mut self.links;
        self.unsent.retain(|(from, to)| {
            let link = &mut links[usize::from(*from)][usize::from(*to)];
            link.blocked = link.unsent > 0;
            link.blocked
        });
        (self.outgoing, self.left_out, self.bare) = (outgoing, left_out, bare);
        if self.delayed_since.is_some_and(|since| now >= since + acknowledge::ACKNOWLEDGE_MAX) {
            self.acknowledge_all(now, timers);
        }
    }

    /// A process wrote that many bytes to another, or ended a stream (one).
    pub(super) fn wrote(&mut self, now: u64, (from, to): (u16, u16), bytes: usize) {
        let link = self.link(from, to);
        let is_first = link.unsent == 0;
        link.unsent += bytes;
        link.written_at = now;
        if is_first && bytes > 0 {
            self.unsent.push((from, to));
        }
    }

    /// How long a sweep may wait: nothing that it collects can arrive earlier.
    pub(super) fn lookahead(&self) -> u64 {
        let shortest = self.links.iter().flatten().map(|link| link.latency.0).min();
        shortest.unwrap_or(0).min(LOOKAHEAD_MAX)
    }

    /// Delivers what has arrived on a link; whether somebody waits for a sweep now: a connection
    /// begins or ends, much is unacknowledged, or an acknowledgement lets a writer go on.
    pub(super) fn arrive(
        &mut self,
        now: u64,
        (from, to): (u16, u16),
        timers: &mut Timers,
        trace: &mut Trace,
    ) -> bool {
        self.link(from, to).armed = false;
        let mut urgent = false;
        loop {
            let link = self.link(from, to);
            if link.cuts > 0 {
                return urgent;
            }
            match link.next_at() {
                None => return urgent,
                Some(at) if at > now => {
                    link.armed = true;
                    timers.arrive(at, from, to);
                    return urgent;
                }
                Some(_) => {}
            }
            if let Some(packet) = link.pop() {
                trace.delivery(now, from, to, &packet);
                let flags = flags_of(&packet);
                let link = self.link(from, to);
                link.unacknowledged += payload_of(&packet);
                let much = link.unacknowledged >= acknowledge::UNACKNOWLEDGED_MAX;
                if is_bare(&packet) {
                    self.bare.push(ends_of(&packet));
                }
                self.deliver(packet);
                if flags.syn || flags.fin || flags.rst {
                    urgent = true;
                    // The answer of the socket itself.
                    self.link(to, from).written_at = now;
                }
                urgent |= much || self.is_blocked(to, from);
            }
        }
    }

    /// Whether a process has something to send to another that waits for an acknowledgement.
    fn is_blocked(&mut self, from: u16, to: u16) -> bool {
        if !self.link(from, to).blocked {
            return false;
        }
        let entries = turmoil_net::netstat(address(from)).entries;
        let is_there = |peer: SocketAddr| process_at(peer.ip()) == to;
        let mut between = entries.iter().filter(|entry| entry.peer.is_some_and(is_there));
        let waits = |entry: &NetstatEntry| {
            let ending = matches!(
                entry.state,
                Some(NetstatState::FinWait1 | NetstatState::LastAck | NetstatState::Closing)
            );
            ending || entry.send_q > 0
        };
        let blocked = between.any(waits);
        if !blocked {
            let link = self.link(from, to);
            (link.unsent, link.blocked) = (0, false);
            self.unsent.retain(|link| *link != (from, to));
        }
        blocked
    }

    /// Cuts a link once more: its packets are held from now on.
    pub(super) fn cut(&mut self, from: u16, to: u16) {
        self.link(from, to).cuts += 1;
    }

    /// Takes a cut of a link back. After the last, what was held arrives in order, each packet
    /// after a fresh latency.
    pub(super) fn heal(&mut self, now: u64, from: u16, to: u16, timers: &mut Timers) {
        let link = &mut self.links[usize::from(from)][usize::from(to)];
        link.cuts = link.cuts.saturating_sub(1);
        if link.cuts > 0 {
            return;
        }
        link.restart(now, &mut self.rng);
        if let Some(at) = link.next_at()
            && !link.armed
        {
            link.armed = true;
            timers.arrive(at, from, to);
        }
    }

    /// Sets the latency of a link from now on.
    pub(super) fn set_latency(&mut self, from: u16, to: u16, latency: Latency) {
        self.link(from, to).latency = latency;
    }

    /// Adds to the latency of a link.
    pub(super) fn add_latency(&mut self, from: u16, to: u16, extra: Latency) {
        let sum = &mut self.link(from, to).extra;
        *sum = (sum.0 + extra.0, sum.1 + extra.1);
    }

    /// Takes back what was added.
    pub(super) fn remove_latency(&mut self, from: u16, to: u16, extra: Latency) {
        let sum = &mut self.link(from, to).extra;
        *sum = (sum.0.saturating_sub(extra.0), sum.1.saturating_sub(extra.1));
    }

    /// Ends every cut and every added latency.
    pub(super) fn calm(&mut self, now: u64, timers: &mut Timers) {
        for from in 0..self.links.len() {
            for to in 0..self.links.len() {
                let link = &mut self.links[from][to];
                link.extra = (0, 0);
                if link.cuts > 0 {
                    link.cuts = 1;
                    let end = |end: usize| u16::try_from(end).expect("fewer than 65536");
                    self.heal(now, end(from), end(to), timers);
                }
            }
        }
    }

    /// Packets that are under way or held.
    pub(super) fn under_way(&self) -> usize {
        let links = self.links.iter().flatten();
        links.map(Link::len).sum()
    }

    fn link(&mut self, from: u16, to: u16) -> &mut Link {
        &mut self.links[usize::from(from)][usize::from(to)]
    }

    /// Sends a packet that is collected now, and was written then; if that is not known, when
    /// something was last written to go the same way.
    fn send(&mut self, written: Option<u64>, now: u64, packet: Packet, timers: &mut Timers) {
        let (from, to) = (process_at(packet.src), process_at(packet.dst));
        self.note_handshake(&packet);
        let collected = payload_of(&packet) + usize::from(flags_of(&packet).fin);
        let link = &mut self.links[usize::from(from)][usize::from(to)];
        link.unsent = link.unsent.saturating_sub(collected);
        let earliest = now.saturating_sub(LOOKAHEAD_MAX.min(link.latency.0));
        let sent = written.unwrap_or(link.written_at.max(earliest));
        let at = link.push((sent, now), packet, &mut self.rng);
        if !link.armed && link.cuts == 0 {
            link.armed = true;
            timers.arrive(at, from, to);
        }
    }

    /// Remembers the half-open connection of a SYN-ACK.
    fn note_handshake(&mut self, packet: &Packet) {
        if let Transport::Tcp(segment) = &packet.payload
            && segment.flags.syn
            && segment.flags.ack
        {
            let (server, client) = ends_of(packet);
            self.half_open.insert((server, client), segment.seq);
        }
    }

    /// Whether a server waits for this packet as the end of a handshake. The socket layer takes
    /// nothing else from it, so it must not carry data as well.
    fn ends_handshake(&self, packet: &Packet) -> bool {
        let (source, destination) = ends_of(packet);
        !self.half_open.is_empty() && self.half_open.contains_key(&(destination, source))
    }

    fn deliver(&mut self, packet: Packet) {
        let guard = self.guard.as_ref().expect("packets exist only while up");
        let flags = flags_of(&packet);
        if !self.half_open.is_empty() && !flags.syn {
            let (client, server) = ends_of(&packet);
            if let Some(first) = self.half_open.remove(&(server, client))
                && flags.rst
            {
                let flags = TcpFlags { ack: true, ..TcpFlags::default() };
                guard.deliver(forged(client, server, first.wrapping_add(1), flags));
            }
        }
        guard.deliver(packet);
    }
}
