//! The trace of a run: every recorded event goes to the sink, and everything that decides the
//! course of a run goes into the fingerprint.
//!
//! The fingerprint chains every scheduling step (time, task), every packet delivery (time, ends,
//! sequence numbers, flags, length) and the postcard bytes of every recorded event. Two runs of one
//! plan agree in it exactly when they took the same course.
//!
//! It refuses to filter or to buffer: the sink sees each event when it happens.
//!
//! # Invariants
//! - `seq` counts from 0 without gaps; `at` never decreases.

use backdate_reports::recording::{Event, EventKind, SimTime};
use smol_str::SmolStr;
use turmoil_net::{Packet, Transport};
use xxhash_rust::xxh3::Xxh3;

use super::executor::TaskId;

/// Receives every recorded event, in order. It runs inside the world, so it must not call back
/// into it.
pub type Sink = Box<dyn FnMut(Event)>;

/// What the world has done so far, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorldStats {
    /// Polls of tasks.
    pub polls: u64,
    /// Timers that fired.
    pub timers: u64,
    /// Packets delivered.
    pub packets: u64,
    /// Bytes of payload in them.
    pub bytes: u64,
    /// Sweeps over all sockets for outgoing packets.
    pub sweeps: u64,
    /// Events recorded.
    pub events: u64,
}

pub(super) struct Trace {
    sink: Sink,
    hash: Xxh3,
    encoded: Vec<u8>,
    pub(super) stats: WorldStats,
}

impl Trace {
    pub(super) fn new(sink: Sink) -> Self {
        Self { sink, hash: Xxh3::new(), encoded: Vec::new(), stats: WorldStats::default() }
    }

    pub(super) fn step(&mut self, now: u64, task: TaskId) {
        self.stats.polls += 1;
        let name = u64::from(task.slot) << 32 | u64::from(task.generation);
        self.words([now, name]);
    }

    pub(super) fn delivery(&mut self, now: u64, from: u16, to: u16, packet: &Packet) {
        let Transport::Tcp(segment) = &packet.payload else {
            return;
        };
        let bytes = segment.payload.len() as u64;
        self.stats.packets += 1;
        self.stats.bytes += bytes;
        let flags = &segment.flags;
        let mut ends = u64::from(from) << 48 | u64::from(to) << 32;
        ends |= u64::from(segment.src_port) << 16 | u64::from(segment.dst_port);
        let sequence = u64::from(segment.seq) << 32 | u64::from(segment.ack);
        let kind = bytes << 24
            | u64::from(segment.window) << 8
            | u64::from(flags.syn)
            | u64::from(flags.ack) << 1
            | u64::from(flags.fin) << 2
            | u64::from(flags.rst) << 3;
        self.words([now, ends, sequence, kind]);
    }

    pub(super) fn record(&mut self, at: SimTime, process: SmolStr, kind: EventKind) {
        let event = Event { seq: self.stats.events, at, process, kind };
        self.stats.events += 1;
        self.encoded.clear();
        self.encoded = postcard::to_extend(&event, std::mem::take(&mut self.encoded))
            .expect("an event has no shape that postcard cannot encode");
        self.hash.update(&self.encoded);
        (self.sink)(event);
    }

    pub(super) fn fingerprint(&self) -> u128 {
        self.hash.digest128()
    }

    fn words<const N: usize>(&mut self, words: [u64; N]) {
        let mut bytes = [[0; 8]; N];
        for (place, word) in bytes.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        self.hash.update(bytes.as_flattened());
    }
}
