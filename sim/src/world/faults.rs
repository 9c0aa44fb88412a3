//! Faults of machines, of the network and of servers, and how each is done to the world.
//!
//! A fault is data: a plan lists faults with the times at which they begin, and [`inject`] begins
//! one, waits and ends it. Both are recorded, so that a rule can tell what was going on. Faults may
//! overlap: cuts, pauses and extra latency are counted, so that the end of one fault does not end
//! another. Of a clock, the fault that came last decides.
//!
//! It refuses to lose, to duplicate or to reorder packets: connections are TCP, so all that a bad
//! network can do to them is to hold and to break them.
//!
//! # The engine must survive
//! what stands at each variant: as always, without any effect on what it ends up with.

mod database;
mod extent;
mod inject;
mod operators;

use std::time::Duration;

use backdate_engine::ports::host::Side;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

pub use database::DatabaseFault;
pub use inject::{Performance, Servers, inject};
pub use operators::OperatorFault;

/// A fault. Times are simulated milliseconds; processes go by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// A process dies at any instruction and loses its memory; it starts again later.
    ///
    /// # The engine must survive
    /// the loss of everything that was not committed, at any moment, and messages that are
    /// delivered again.
    Crash {
        /// Who.
        process: SmolStr,
        /// How long it stays down.
        down_ms: u64,
    },
    /// A process dies at a named point in its code, on the n-th pass from now on.
    ///
    /// # The engine must survive
    /// death between any two port calls, in particular between a commit and what follows it.
    CrashAtPoint {
        /// Who.
        process: SmolStr,
        /// Process kind.
        kind: SmolStr,
        /// Port call.
        call: SmolStr,
        /// Before or after it.
        side: Side,
        /// On which pass, counted from 1 when the fault begins.
        pass: u64,
        /// The fault is off if the pass has not come by then.
        within_ms: u64,
        /// How long it stays down.
        down_ms: u64,
    },
    /// A machine freezes: garbage collection, a suspended virtual machine.
    ///
    /// # The engine must survive
    /// an instance that goes on in the middle of its work after its lease has run out, its group
    /// membership has been given away and its keys have moved on.
    Pause {
        /// Who.
        process: SmolStr,
        /// How long.
        for_ms: u64,
    },
    /// A process dies again and again soon after it has started.
    ///
    /// # The engine must survive
    /// rebalances without end, and work that is claimed and never finished.
    RestartLoop {
        /// Who.
        process: SmolStr,
        /// How often.
        times: u32,
        /// How long each life lasts.
        up_ms: u64,
        /// How long it is down each time.
        down_ms: u64,
    },
    /// A clock is wrong by a constant.
    ///
    /// # The engine must survive
    /// instances that disagree about the time: nothing may be ordered by the clock of a machine.
    ClockSkew {
        /// Whose.
        process: SmolStr,
        /// By how much; negative is slow.
        offset_ms: i64,
        /// How long.
        for_ms: u64,
    },
    /// A clock runs too fast or too slowly, and is set right at the end.
    ///
    /// # The engine must survive
    /// the same as for a skew, with an error that grows.
    ClockDrift {
        /// Whose.
        process: SmolStr,
        /// Microseconds gained a second; negative is slow.
        ppm: i64,
        /// How long.
        for_ms: u64,
    },
    /// A clock jumps away and back again and again, as under a broken time service.
    ///
    /// # The engine must survive
    /// time that goes backwards between two looks at the clock.
    ClockJump {
        /// Whose.
        process: SmolStr,
        /// How far; negative is back.
        offset_ms: i64,
        /// How often.
        times: u32,
        /// How long each stay lasts, away and at home.
        every_ms: u64,
    },
    /// The link between two processes is slow, both ways.
    ///
    /// # The engine must survive
    /// answers that come late, but come: no timeout may be mistaken for an outcome.
    LinkDelay {
        /// One end.
        a: SmolStr,
        /// The other.
        b: SmolStr,
        /// Added to the latency of a packet at least.
        min_ms: u64,
        /// At most.
        max_ms: u64,
        /// How long.
        for_ms: u64,
    },
    /// All links of a process are slow for a moment.
    ///
    /// # The engine must survive
    /// missed heartbeats of an instance that is well.
    LatencySpike {
        /// Whose.
        process: SmolStr,
        /// Added to the latency of a packet.
        extra_ms: u64,
        /// How long.
        for_ms: u64,
    },
    /// Two groups of processes do not reach each other.
    ///
    /// # The engine must survive
    /// work that goes on at both sides, and outcomes that stay unknown: a commit may or may not
    /// have happened.
    Partition {
        /// One side.
        a: Vec<SmolStr>,
        /// The other.
        b: Vec<SmolStr>,
        /// How long.
        for_ms: u64,
    },
    /// One group does not reach another, but hears it.
    ///
    /// # The engine must survive
    /// requests that are carried out and never answered, and answers to nobody.
    PartitionOneWay {
        /// Who is not heard.
        from: Vec<SmolStr>,
        /// Who does not hear.
        to: Vec<SmolStr>,
        /// How long.
        for_ms: u64,
    },
    /// A link is cut and healed again and again.
    ///
    /// # The engine must survive
    /// bursts of old messages, and retries that meet what they retry.
    Flapping {
        /// One end.
        a: SmolStr,
        /// The other.
        b: SmolStr,
        /// How often.
        times: u32,
        /// How long each cut lasts.
        cut_ms: u64,
        /// How long it is whole between two cuts.
        whole_ms: u64,
    },
    /// All connections between two processes break.
    ///
    /// # The engine must survive
    /// transactions whose outcome is unknown, and sends that may have arrived.
    ConnectionReset {
        /// One end.
        a: SmolStr,
        /// The other.
        b: SmolStr,
    },
    /// The database ends all sessions of a process, as an operator or a pooler does.
    ///
    /// # The engine must survive
    /// transactions that are gone in the middle, commits whose outcome is unknown, and connections
    /// that are dead when they are next used.
    SessionKill {
        /// Whose.
        process: SmolStr,
    },
    /// Another broker coordinates a group from now on, and knows none of its members.
    ///
    /// # The engine must survive
    /// members that lose their partitions in the middle of a batch, and commits that are refused
    /// although nobody was slow.
    CoordinatorMove {
        /// Which group.
        group: SmolStr,
    },
    /// A broker leads nothing any more for which another replica is in sync, as in its controlled
    /// shutdown, or when leaders are balanced.
    ///
    /// # The engine must survive
    /// sends and fetches that meet the wrong broker, and sends that are repeated elsewhere.
    LeaderChange {
        /// Which broker.
        broker: SmolStr,
    },
    /// The members of a group are made to join again and again, as by a deployment that starts
    /// and stops one after the other.
    ///
    /// # The engine must survive
    /// partitions that change hands before a batch is committed, again and again: nothing may be
    /// skipped, and what is read twice is done once.
    RebalanceStorm {
        /// Which group.
        group: SmolStr,
        /// How often.
        times: u32,
        /// Pause between two rebalances.
        every_ms: u64,
    },
    /// A broker answers fetches slowly: a cold page cache, a disk that is busy with others.
    ///
    /// # The engine must survive
    /// news that is late for some partitions only, so that their order among each other is lost.
    SlowFetch {
        /// Which broker.
        broker: SmolStr,
        /// Added to each answer.
        extra_ms: u64,
        /// How long.
        for_ms: u64,
    },
    /// The newest records of each partition that a group is done with are in the log once more, as
    /// by the late retry of a producer that is not idempotent, or was replaced.
    ///
    /// # The engine must survive
    /// a message that it has dealt with long ago, behind newer ones of the same key.
    DuplicateDelivery {
        /// Who reads them.
        group: SmolStr,
        /// How many of each partition.
        records: u64,
    },
    /// What else befalls the database.
    Database(DatabaseFault),
    /// What people do by mistake.
    Operator(OperatorFault),
    /// Another fault, which begins when a process passes a named point in its code for the n-th
    /// time from now on; the process goes on.
    ///
    /// # The engine must survive
    /// the other fault, at the worst of moments.
    AtPoint {
        /// Who passes.
        process: SmolStr,
        /// Process kind.
        kind: SmolStr,
        /// Port call.
        call: SmolStr,
        /// Before or after it.
        side: Side,
        /// On which pass, counted from 1.
        pass: u64,
        /// The fault does not begin if the pass has not come by then.
        within_ms: u64,
        /// What begins there.
        fault: Box<Fault>,
    },
}

impl Fault {
    /// Its kind, as it stands in scenario files and recordings.
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::Crash { .. } => "crash",
            Fault::CrashAtPoint { .. } => "crash_at_point",
            Fault::Pause { .. } => "pause",
            Fault::RestartLoop { .. } => "restart_loop",
            Fault::ClockSkew { .. } => "clock_skew",
            Fault::ClockDrift { .. } => "clock_drift",
            Fault::ClockJump { .. } => "clock_jump",
            Fault::LinkDelay { .. } => "link_delay",
            Fault::LatencySpike { .. } => "latency_spike",
            Fault::Partition { .. } => "partition",
            Fault::PartitionOneWay { .. } => "partition_one_way",
            Fault::Flapping { .. } => "flapping",
            Fault::ConnectionReset { .. } => "connection_reset",
            Fault::SessionKill { .. } => "session_kill",
            Fault::CoordinatorMove { .. } => "coordinator_move",
            Fault::LeaderChange { .. } => "leader_change",
            Fault::RebalanceStorm { .. } => "rebalance_storm",
            Fault::SlowFetch { .. } => "slow_fetch",
            Fault::DuplicateDelivery { .. } => "duplicate_delivery",
            Fault::Database(fault) => fault.kind(),
            Fault::Operator(fault) => fault.kind(),
            Fault::AtPoint { fault, .. } => fault.kind(),
        }
    }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
