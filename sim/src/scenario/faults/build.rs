//! The concrete fault that an entry of a file stands for, once the seed has drawn whom it hits.

use super::draw::Draw;
use super::{FaultKind, FaultProblem, FaultSpec, OF_CONSUMERS};
use crate::scenario::duration::Millis;
use crate::world::faults::Fault;

impl FaultSpec {
    pub(super) fn build(&self, draw: &mut Draw<'_>) -> Result<Fault, FaultProblem> {
        use FaultKind as K;
        if OF_CONSUMERS.contains(&self.kind) {
            return self.of_consumers(draw);
        }
        if let Some(fault) = self.of_servers(draw) {
            return fault;
        }
        let process = self.whom()?;
        match self.kind {
            K::SlowFetch | K::LeaderChange => self.of_broker(process, draw),
            K::LinkDelay
            | K::LatencySpike
            | K::Partition
            | K::PartitionOneWay
            | K::Flapping
            | K::ConnectionReset => self.of_network(process, draw),
            _ => self.of_process(process, draw),
        }
    }

    /// Whom it hits.
    pub(super) fn whom(&self) -> Result<&str, FaultProblem> {
        let process = self.process.as_deref();
        process.ok_or_else(|| ("process", "is missing: whom does it hit?".to_owned()))
    }

    fn of_process(&self, process: &str, draw: &mut Draw<'_>) -> Result<Fault, FaultProblem> {
        let process = draw.one("process", process)?;
        let times = self.times.unwrap_or(3);
        let for_ms = || needed("lasts", self.lasts);
        let down_ms = self.down.unwrap_or(Millis(1_000)).0;
        let between = self.between.unwrap_or(Millis(1_000)).0;
        Ok(match self.kind {
            FaultKind::Crash => Fault::Crash { process, down_ms },
            FaultKind::Pause => Fault::Pause { process, for_ms: for_ms()? },
            FaultKind::RestartLoop => {
                Fault::RestartLoop { process, times, up_ms: between, down_ms }
            }
            FaultKind::ClockSkew => Fault::ClockSkew {
                process,
                offset_ms: self.offset_ms.unwrap_or(5_000),
                for_ms: for_ms()?,
            },
            FaultKind::ClockDrift => {
                Fault::ClockDrift { process, ppm: self.ppm.unwrap_or(10_000), for_ms: for_ms()? }
            }
            FaultKind::ClockJump => Fault::ClockJump {
                process,
                offset_ms: self.offset_ms.unwrap_or(-5_000),
                times,
                every_ms: between,
            },
            FaultKind::SessionKill => Fault::SessionKill { process },
            _ => unreachable!("only faults of processes come here"),
        })
    }

    fn of_network(&self, process: &str, draw: &mut Draw<'_>) -> Result<Fault, FaultProblem> {
        let one = |draw: &mut Draw<'_>| draw.one("process", process);
        let other = self.other.as_deref().ok_or(("other", "is missing: the other end".to_owned()));
        let times = self.times.unwrap_or(3);
        let for_ms = || needed("lasts", self.lasts);
        let between = self.between.unwrap_or(Millis(1_000)).0;
        Ok(match self.kind {
            FaultKind::LinkDelay => {
                let extra = needed("extra", self.extra)?;
                Fault::LinkDelay {
                    a: one(draw)?,
                    b: draw.one("other", other?)?,
                    min_ms: extra / 2,
                    max_ms: extra,
                    for_ms: for_ms()?,
                }
            }
            FaultKind::LatencySpike => Fault::LatencySpike {
                process: one(draw)?,
                extra_ms: needed("extra", self.extra)?,
                for_ms: for_ms()?,
            },
            FaultKind::Partition => {
                let a = draw.group("process", process, &[])?;
                Fault::Partition { b: draw.group("other", other?, &a)?, a, for_ms: for_ms()? }
            }
            FaultKind::PartitionOneWay => {
                let from = draw.group("process", process, &[])?;
                let to = draw.group("other", other?, &from)?;
                Fault::PartitionOneWay { from, to, for_ms: for_ms()? }
            }
            FaultKind::Flapping => Fault::Flapping {
                a: one(draw)?,
                b: draw.one("other", other?)?,
                times,
                cut_ms: for_ms()?,
                whole_ms: between,
            },
            FaultKind::ConnectionReset => {
                Fault::ConnectionReset { a: one(draw)?, b: draw.one("other", other?)? }
            }
            _ => unreachable!("only faults of the network come here"),
        })
    }

    fn of_broker(&self, broker: &str, draw: &mut Draw<'_>) -> Result<Fault, FaultProblem> {
        let broker = draw.broker("process", broker)?;
        if self.kind == FaultKind::SlowFetch {
            let extra_ms = needed("extra", self.extra)?;
            let for_ms = needed("lasts", self.lasts)?;
            return Ok(Fault::SlowFetch { broker, extra_ms, for_ms });
        }
        if self.needs_replicas() && draw.cluster.replication_factor < 2 {
            let why = "= \"leader_change\": nobody else can lead: set \
                       cluster.replication_factor to at least 2";
            return Err(("kind", why.into()));
        }
        Ok(Fault::LeaderChange { broker })
    }

    /// A fault that hits a group of consumers, not a process.
    fn of_consumers(&self, draw: &mut Draw<'_>) -> Result<Fault, FaultProblem> {
        let group = self.group.as_deref();
        let group = group.ok_or(("group", "is missing: whose records?".to_owned()))?;
        let group = draw.consumers("group", group)?;
        Ok(match self.kind {
            FaultKind::CoordinatorMove => Fault::CoordinatorMove { group },
            FaultKind::RebalanceStorm => Fault::RebalanceStorm {
                group,
                times: self.times.unwrap_or(3),
                every_ms: self.between.unwrap_or(Millis(1_000)).0,
            },
            _ => Fault::DuplicateDelivery { group, records: self.records.unwrap_or(10) },
        })
    }
}

/// A duration without which a kind of fault means nothing.
pub(super) fn needed(field: &'static str, value: Option<Millis>) -> Result<u64, FaultProblem> {
    value.map(|ms| ms.0).ok_or((field, "is missing: this kind of fault needs it".into()))
}
