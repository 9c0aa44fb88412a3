//! The network between processes: links with latency, cuts, and the death of connections.
//!
//! Sockets are those of `turmoil_net`, one of its hosts per process. This file carries packets
//! between them: each direction between two processes is a *link*, whose packets arrive in the
//! order in which they were sent, each after a latency drawn from the `network` stream. A cut link
//! holds its packets, however long; a heal lets them go in order. Nothing is lost, duplicated or
//! reordered, because the socket layer has no clock to retransmit by (retransmission is off).
//!
//! A process that dies takes its packets with it, and every connection it had is reset by forged
//! RST segments: at its own end at once (else its ports stay taken), at the other end after the
//! link's latency, behind what the link holds if it is cut.
//!
//! The socket layer never frees a half-open connection that is reset, and with it the listener's
//! port. So the forged RST of such a one is preceded by the forged end of its handshake, after
//! which it is an accepted connection that was reset, as on Linux.
//!
//! # Invariants
//! - A link has an entry in the queue of what will happen exactly when `armed`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use turmoil_net::{
    EnterGuard, HostId, KernelConfig, Net, NetstatEntry, NetstatState, Packet, TcpFlags,
    TcpSegment, Transport,
};

use super::link::{Latency, Link};
use super::random;
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
    rng: ChaCha8Rng,
    outgoing: Vec<Packet>,
    /// Half-open connections, by (server's end, client's end): the server's first sequence number.
    half_open: BTreeMap<(SocketAddr, SocketAddr), u32>,
}

/// The address of a process.
pub(super) fn address(process: u16) -> IpAddr {
    // Host part 0 is the subnet's own address.
    let [high, low] = (process + 1).to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(10, 0, high, low))
}

/// The process of an address.
pub(super) fn process_at(address: IpAddr) -> u16 {
    let IpAddr::V4(address) = address else {
        unreachable!("processes have IPv4 addresses");
    };
    let [_, _, high, low] = address.octets();
    u16::from_be_bytes([high, low]) - 1
}

impl Network {
    pub(super) fn new(latency: Latency, seed: u64) -> Self {
        Self {
            guard: None,
            hosts: Vec::new(),
            links: Vec::new(),
            latency,
            rng: random::stream(seed, "network"),
            outgoing: Vec::new(),
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
        for packet in outgoing.drain(..) {
            self.send(now, packet, timers);
        }
        self.outgoing = outgoing;
    }

    /// Delivers what has arrived on a link.
    pub(super) fn arrive(
        &mut self,
        now: u64,
        from: u16,
        to: u16,
        timers: &mut Timers,
        trace: &mut Trace,
    ) {
        self.link(from, to).armed = false;
        loop {
            let link = self.link(from, to);
            if link.cuts > 0 {
                return;
            }
            match link.next_at() {
                None => return,
                Some(at) if at > now => {
                    link.armed = true;
                    timers.arrive(at, from, to);
                    return;
                }
                Some(_) => {}
            }
            if let Some(packet) = link.pop() {
                trace.delivery(now, from, to, &packet);
                self.deliver(packet);
            }
        }
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

    /// Resets every connection between two processes, at both ends at once.
    pub(super) fn reset(&mut self, a: u16, b: u16) {
        for (here, there) in [(a, b), (b, a)] {
            for (local, peer) in self.connections(here) {
                if process_at(peer.ip()) == there {
                    self.deliver(forged_reset(peer, local));
                }
            }
        }
    }

    /// The connections of a process that is about to die: (its end, the other end).
    pub(super) fn connections(&self, process: u16) -> Vec<(SocketAddr, SocketAddr)> {
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
    pub(super) fn bury(
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
            self.send(now, forged_reset(local, peer), timers);
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

    fn send(&mut self, now: u64, packet: Packet, timers: &mut Timers) {
        let (from, to) = (process_at(packet.src), process_at(packet.dst));
        self.note_handshake(&packet);
        let link = &mut self.links[usize::from(from)][usize::from(to)];
        let at = link.push(now, packet, &mut self.rng);
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
            let server = SocketAddr::new(packet.src, segment.src_port);
            let client = SocketAddr::new(packet.dst, segment.dst_port);
            self.half_open.insert((server, client), segment.seq);
        }
    }

    fn deliver(&mut self, packet: Packet) {
        let guard = self.guard.as_ref().expect("packets exist only while up");
        if !self.half_open.is_empty()
            && let Transport::Tcp(segment) = &packet.payload
            && !segment.flags.syn
        {
            let server = SocketAddr::new(packet.dst, segment.dst_port);
            let client = SocketAddr::new(packet.src, segment.src_port);
            if let Some(first) = self.half_open.remove(&(server, client))
                && segment.flags.rst
            {
                let flags = TcpFlags { ack: true, ..TcpFlags::default() };
                guard.deliver(forged(client, server, first.wrapping_add(1), flags));
            }
        }
        guard.deliver(packet);
    }
}

fn forged_reset(from: SocketAddr, to: SocketAddr) -> Packet {
    let flags = TcpFlags { rst: true, ..TcpFlags::default() };
    forged(from, to, 0, flags)
}

fn forged(from: SocketAddr, to: SocketAddr, ack: u32, flags: TcpFlags) -> Packet {
    Packet {
        src: from.ip(),
        dst: to.ip(),
        ttl: 64,
        payload: Transport::Tcp(TcpSegment {
            src_port: from.port(),
            dst_port: to.port(),
            seq: 0,
            ack,
            flags,
            window: u16::MAX,
            payload: Bytes::new(),
        }),
    }
}
