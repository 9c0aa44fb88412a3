//! Which fields a kind of fault uses: a field that it does not use is an error.

use super::{FaultKind, FaultProblem, FaultSpec, OF_CONSUMERS};

/// Kinds that strike more than once.
const REPEATING: &[FaultKind] =
    &[FaultKind::RestartLoop, FaultKind::ClockJump, FaultKind::Flapping, FaultKind::RebalanceStorm];

/// Kinds that are done so many times.
const COUNTED: &[FaultKind] = &[
    FaultKind::RestartLoop,
    FaultKind::ClockJump,
    FaultKind::Flapping,
    FaultKind::RebalanceStorm,
    FaultKind::LostAnswer,
    FaultKind::ReprocessTwice,
];

/// Kinds that hit no process of the engine.
const OF_ALL: &[FaultKind] =
    &[FaultKind::SlowDisk, FaultKind::LockPileUp, FaultKind::Failover, FaultKind::ReprocessTwice];

/// Kinds that begin and end.
const LASTING: &[FaultKind] = &[
    FaultKind::Pause,
    FaultKind::ClockSkew,
    FaultKind::ClockDrift,
    FaultKind::LinkDelay,
    FaultKind::LatencySpike,
    FaultKind::Partition,
    FaultKind::PartitionOneWay,
    FaultKind::Flapping,
    FaultKind::SlowFetch,
    FaultKind::SlowDisk,
    FaultKind::LockPileUp,
    FaultKind::Failover,
    FaultKind::LostAnswer,
    FaultKind::SecondInstance,
    FaultKind::ZombieProducer,
];

impl FaultSpec {
    pub(super) fn refuse_unused_fields(&self) -> Result<(), FaultProblem> {
        use FaultKind as K;
        let kind = self.kind;
        let used_by: [(&'static str, bool, &[FaultKind]); 11] = [
            ("down", self.down.is_some(), &[K::Crash, K::RestartLoop]),
            (
                "other",
                self.other.is_some(),
                &[K::LinkDelay, K::Partition, K::PartitionOneWay, K::Flapping, K::ConnectionReset],
            ),
            ("between", self.between.is_some(), REPEATING),
            ("times", self.times.is_some(), COUNTED),
            ("factor", self.factor.is_some(), &[K::SlowDisk]),
            ("extra", self.extra.is_some(), &[K::LinkDelay, K::LatencySpike, K::SlowFetch]),
            ("group", self.group.is_some(), &OF_CONSUMERS),
            ("records", self.records.is_some(), &[K::DuplicateDelivery]),
            ("offset_ms", self.offset_ms.is_some(), &[K::ClockSkew, K::ClockJump]),
            ("ppm", self.ppm.is_some(), &[K::ClockDrift]),
            ("lasts", self.lasts.is_some(), LASTING),
        ];
        for (field, is_set, kinds) in used_by {
            if is_set && !kinds.contains(&kind) {
                return Err((field, "does nothing for this kind of fault: take it out".into()));
            }
        }
        let needs_point = !self.passes.is_empty() || self.within.is_some();
        if needs_point && self.point.is_none() {
            return Err(("point", "is missing: `passes` and `within` belong to a point".into()));
        }
        if self.process.is_some() && OF_CONSUMERS.contains(&kind) {
            return Err(("process", "does nothing for this kind of fault: name a `group`".into()));
        }
        if self.process.is_some() && OF_ALL.contains(&kind) {
            return Err(("process", "does nothing for this kind of fault: take it out".into()));
        }
        if self.records == Some(0) {
            return Err(("records", "= 0: must be at least 1".into()));
        }
        if self.repeat == 0 {
            return Err(("repeat", "= 0: must be at least 1".into()));
        }
        Ok(())
    }
}
