//! What is to be known about a packet, and packets that nobody sent.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use turmoil_net::{Packet, TcpFlags, TcpSegment, Transport};

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

/// Flags of a segment.
pub(super) fn flags_of(packet: &Packet) -> TcpFlags {
    match &packet.payload {
        Transport::Tcp(segment) => segment.flags,
        Transport::Udp(_) => TcpFlags::default(),
    }
}

/// Source and destination.
pub(super) fn ends_of(packet: &Packet) -> (SocketAddr, SocketAddr) {
    let (source, destination) = match &packet.payload {
        Transport::Tcp(segment) => (segment.src_port, segment.dst_port),
        Transport::Udp(datagram) => (datagram.src_port, datagram.dst_port),
    };
    (SocketAddr::new(packet.src, source), SocketAddr::new(packet.dst, destination))
}

/// Bytes that a packet carries.
pub(super) fn payload_of(packet: &Packet) -> usize {
    match &packet.payload {
        Transport::Tcp(segment) => segment.payload.len(),
        Transport::Udp(_) => 0,
    }
}

/// Whether a packet is a bare acknowledgement which a later one of the same connection repeats.
pub(super) fn is_superseded(packet: &Packet, later: &[Packet]) -> bool {
    if !is_bare(packet) {
        return false;
    }
    let ends = ends_of(packet);
    let mut of_host = later.iter().take_while(|other| other.src == packet.src);
    of_host.any(|other| {
        let flags = flags_of(other);
        flags.ack && !flags.rst && ends_of(other) == ends
    })
}

/// Whether a packet is the reset with which the socket layer answers a bare acknowledgement of a
/// connection that it does not know any more; that acknowledgement is taken from the list.
pub(super) fn answers_bare(packet: &Packet, bare: &mut Vec<(SocketAddr, SocketAddr)>) -> bool {
    let flags = flags_of(packet);
    // With the acknowledgement flag it is the reset of a connection or of an attempt.
    if !flags.rst || flags.ack {
        return false;
    }
    let (source, destination) = ends_of(packet);
    let cause = bare.iter().position(|ends| *ends == (destination, source));
    cause.map(|index| bare.swap_remove(index)).is_some()
}

/// Whether a packet does nothing but acknowledge.
pub(super) fn is_bare(packet: &Packet) -> bool {
    let flags = flags_of(packet);
    payload_of(packet) == 0 && flags.ack && !flags.syn && !flags.fin && !flags.rst
}

/// A segment that resets a connection, as if its source had sent it.
pub(super) fn forged_reset(from: SocketAddr, to: SocketAddr) -> Packet {
    let flags = TcpFlags { rst: true, ..TcpFlags::default() };
    forged(from, to, 0, flags)
}

/// A segment that its source did not send.
pub(super) fn forged(from: SocketAddr, to: SocketAddr, ack: u32, flags: TcpFlags) -> Packet {
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
