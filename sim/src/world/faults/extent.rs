//! Whom a fault concerns, and how long it lasts.

use std::time::Duration;

use smol_str::SmolStr;

use super::{Fault, millis};

impl Fault {
    /// Whom it concerns.
    pub fn processes(&self) -> Vec<&SmolStr> {
        match self {
            Fault::Crash { process, .. }
            | Fault::CrashAtPoint { process, .. }
            | Fault::Pause { process, .. }
            | Fault::RestartLoop { process, .. }
            | Fault::ClockSkew { process, .. }
            | Fault::ClockDrift { process, .. }
            | Fault::ClockJump { process, .. }
            | Fault::LatencySpike { process, .. }
            | Fault::SessionKill { process } => vec![process],
            Fault::SlowFetch { broker, .. } | Fault::LeaderChange { broker } => vec![broker],
            Fault::CoordinatorMove { .. }
            | Fault::RebalanceStorm { .. }
            | Fault::DuplicateDelivery { .. } => Vec::new(),
            Fault::LinkDelay { a, b, .. }
            | Fault::Flapping { a, b, .. }
            | Fault::ConnectionReset { a, b } => vec![a, b],
            Fault::Partition { a, b, .. } => a.iter().chain(b).collect(),
            Fault::PartitionOneWay { from, to, .. } => from.iter().chain(to).collect(),
            Fault::Database(fault) => vec![fault.process()],
            Fault::Operator(fault) => fault.process().into_iter().collect(),
            Fault::AtPoint { fault, .. } => fault.processes(),
        }
    }

    /// The group that it concerns.
    pub fn group(&self) -> Option<&SmolStr> {
        match self {
            Fault::CoordinatorMove { group }
            | Fault::RebalanceStorm { group, .. }
            | Fault::DuplicateDelivery { group, .. } => Some(group),
            Fault::AtPoint { fault, .. } => fault.group(),
            _ => None,
        }
    }

    /// Whom it concerns, in one line.
    pub fn detail(&self) -> SmolStr {
        let whom = self.processes().into_iter().chain(self.group());
        SmolStr::from(whom.map(SmolStr::as_str).collect::<Vec<_>>().join(" "))
    }

    /// Changes all its waits.
    pub fn hurry(&mut self, wait: &dyn Fn(u64) -> u64) {
        let waits = match self {
            Fault::Crash { down_ms, .. } => vec![down_ms],
            Fault::CrashAtPoint { within_ms, down_ms, .. } => vec![within_ms, down_ms],
            Fault::Pause { for_ms, .. }
            | Fault::ClockSkew { for_ms, .. }
            | Fault::ClockDrift { for_ms, .. }
            | Fault::LinkDelay { for_ms, .. }
            | Fault::LatencySpike { for_ms, .. }
            | Fault::Partition { for_ms, .. }
            | Fault::PartitionOneWay { for_ms, .. }
            | Fault::SlowFetch { for_ms, .. } => vec![for_ms],
            Fault::RestartLoop { up_ms, down_ms, .. } => vec![up_ms, down_ms],
            Fault::ClockJump { every_ms, .. } | Fault::RebalanceStorm { every_ms, .. } => {
                vec![every_ms]
            }
            Fault::Flapping { cut_ms, whole_ms, .. } => vec![cut_ms, whole_ms],
            Fault::ConnectionReset { .. }
            | Fault::SessionKill { .. }
            | Fault::CoordinatorMove { .. }
            | Fault::LeaderChange { .. }
            | Fault::DuplicateDelivery { .. } => Vec::new(),
            Fault::Database(fault) => fault.waits(),
            Fault::Operator(fault) => fault.waits(),
            Fault::AtPoint { within_ms, fault, .. } => {
                fault.hurry(wait);
                vec![within_ms]
            }
        };
        waits.into_iter().for_each(|ms| *ms = wait(*ms));
    }

    /// How long it lasts at most.
    pub fn lasts(&self) -> Duration {
        millis(self.lasts_ms())
    }

    fn lasts_ms(&self) -> u64 {
        match self {
            Fault::Crash { down_ms, .. } => *down_ms,
            Fault::CrashAtPoint { within_ms, down_ms, .. } => within_ms + down_ms,
            Fault::Pause { for_ms, .. }
            | Fault::ClockSkew { for_ms, .. }
            | Fault::ClockDrift { for_ms, .. }
            | Fault::LinkDelay { for_ms, .. }
            | Fault::LatencySpike { for_ms, .. }
            | Fault::Partition { for_ms, .. }
            | Fault::PartitionOneWay { for_ms, .. }
            | Fault::SlowFetch { for_ms, .. } => *for_ms,
            Fault::RestartLoop { times, up_ms, down_ms, .. } => {
                u64::from(*times) * (up_ms + down_ms)
            }
            Fault::ClockJump { times, every_ms, .. } => u64::from(*times) * 2 * every_ms,
            Fault::RebalanceStorm { times, every_ms, .. } => u64::from(*times) * every_ms,
            Fault::Flapping { times, cut_ms, whole_ms, .. } => {
                u64::from(*times) * (cut_ms + whole_ms)
            }
            Fault::ConnectionReset { .. }
            | Fault::SessionKill { .. }
            | Fault::CoordinatorMove { .. }
            | Fault::LeaderChange { .. }
            | Fault::DuplicateDelivery { .. } => 0,
            Fault::Database(fault) => fault.lasts_ms(),
            Fault::Operator(fault) => fault.lasts_ms(),
            Fault::AtPoint { within_ms, fault, .. } => within_ms + fault.lasts_ms(),
        }
    }
}
