//! Faults of the database and mistakes of operators, as a file says them.

use backdate_engine::runtime::ProcessKind;
use smol_str::SmolStr;

use super::build::needed;
use super::draw::Draw;
use super::{FaultKind, FaultProblem, FaultSpec};
use crate::world::faults::{DatabaseFault, Fault, OperatorFault};

impl FaultSpec {
    /// The fault, if it is one of the database or of operators.
    pub(super) fn of_servers(&self, draw: &mut Draw<'_>) -> Option<Result<Fault, FaultProblem>> {
        let fault = match self.kind {
            FaultKind::SlowDisk
            | FaultKind::LockPileUp
            | FaultKind::Failover
            | FaultKind::LostAnswer => self.of_database(draw).map(Fault::Database),
            FaultKind::SecondInstance | FaultKind::ZombieProducer | FaultKind::ReprocessTwice => {
                self.of_operators(draw).map(Fault::Operator)
            }
            _ => return None,
        };
        Some(fault)
    }

    fn of_database(&self, draw: &mut Draw<'_>) -> Result<DatabaseFault, FaultProblem> {
        let for_ms = needed("lasts", self.lasts)?;
        Ok(match self.kind {
            FaultKind::SlowDisk => {
                let factor = self.factor.unwrap_or(20);
                if factor == 0 {
                    return Err(("factor", "= 0: must be at least 1".into()));
                }
                DatabaseFault::SlowDisk { factor, for_ms }
            }
            FaultKind::LockPileUp => DatabaseFault::LockPileUp { for_ms },
            FaultKind::Failover => DatabaseFault::Failover { for_ms },
            _ => DatabaseFault::LostAnswer {
                process: draw.one("process", self.whom()?)?,
                times: self.times.unwrap_or(1),
                within_ms: for_ms,
            },
        })
    }

    fn of_operators(&self, draw: &mut Draw<'_>) -> Result<OperatorFault, FaultProblem> {
        Ok(match self.kind {
            FaultKind::SecondInstance => OperatorFault::SecondInstance {
                kind: self.kind_of_process(draw)?,
                for_ms: needed("lasts", self.lasts)?,
            },
            FaultKind::ZombieProducer => OperatorFault::ZombieProducer {
                process: draw.one("process", self.whom()?)?,
                after_ms: needed("lasts", self.lasts)?,
            },
            _ => OperatorFault::ReprocessTwice { times: self.times.unwrap_or(2) },
        })
    }

    /// A kind of process, or that of an instance.
    fn kind_of_process(&self, draw: &mut Draw<'_>) -> Result<SmolStr, FaultProblem> {
        let instance = draw.one("process", self.whom()?)?;
        let kind = instance.rsplit_once('-').and_then(|(kind, _)| ProcessKind::parse(kind));
        let kind = kind.ok_or_else(|| {
            ("process", format!("= {instance:?}: only the engine's processes have instances"))
        })?;
        Ok(kind.as_str().into())
    }
}
