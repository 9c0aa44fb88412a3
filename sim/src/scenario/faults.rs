//! `[[faults]]`: what goes wrong, as a file says it, and the concrete faults a seed makes of it.
//!
//! A file names processes by instance (`outbox-dispatcher-1`), by kind (`outbox-dispatcher`: the
//! seed draws one) or as `any` (any instance of the engine). Between groups a kind means all of its
//! instances, and `all` everybody else. Groups of consumers go by their names.
//!
//! # Invariants
//! - A field that its kind of fault does not use is an error, not a silent no-op.
//! - A fault that the cluster has no room for is an error, but for one of a `family`: a swarm draws
//!   the cluster too, and where that has no replicas nobody can take a lead.

mod build;
mod draw;
mod fields;
mod servers;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use draw::Draw;

use super::duration::{Millis, When};
use super::format::ClusterSpec;
use super::plan::PlannedFault;
use super::points;
use crate::world::faults::Fault;
use crate::world::random::{below, stream};

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Dies at any instruction; with `point`, at a named one.
    Crash,
    /// Freezes.
    Pause,
    /// Dies again and again.
    RestartLoop,
    /// Clock off by a constant.
    ClockSkew,
    /// Clock too fast or too slow.
    ClockDrift,
    /// Clock jumps.
    ClockJump,
    /// Slow link.
    LinkDelay,
    /// All links of a process are slow.
    LatencySpike,
    /// Two groups do not reach each other.
    Partition,
    /// One group does not reach another.
    PartitionOneWay,
    /// A link is cut and healed again and again.
    Flapping,
    /// Connections break.
    ConnectionReset,
    /// The database ends sessions.
    SessionKill,
    /// A group has another coordinator.
    CoordinatorMove,
    /// A broker leads nothing any more.
    LeaderChange,
    /// Members join again and again.
    RebalanceStorm,
    /// A broker is slow to answer fetches.
    SlowFetch,
    /// Records come once more, late.
    DuplicateDelivery,
    /// Commits are slow.
    SlowDisk,
    /// All keys are locked.
    LockPileUp,
    /// Writes are refused.
    Failover,
    /// Commits are not answered.
    LostAnswer,
    /// One instance too many.
    SecondInstance,
    /// Old messages under old tokens.
    ZombieProducer,
    /// All news again, several times at once.
    ReprocessTwice,
}

/// The kinds by name, with what each does.
pub const KINDS: &[(&str, &str)] = &[
    ("crash", "a process dies and loses its memory; with `point`, at a named point of its code"),
    ("pause", "a process freezes and goes on later"),
    ("restart_loop", "a process dies again and again soon after it has started"),
    ("clock_skew", "a clock is wrong by a constant"),
    ("clock_drift", "a clock runs too fast or too slowly"),
    ("clock_jump", "a clock jumps away and back again"),
    ("link_delay", "the link between two processes is slow"),
    ("latency_spike", "all links of a process are slow for a moment"),
    ("partition", "two groups of processes do not reach each other"),
    ("partition_one_way", "one group does not reach another, but hears it"),
    ("flapping", "a link is cut and healed again and again"),
    ("connection_reset", "all connections between two processes break"),
    ("session_kill", "the database ends all sessions of a process"),
    ("coordinator_move", "another broker coordinates a group, and its members must join again"),
    ("leader_change", "other replicas lead what a broker leads"),
    ("rebalance_storm", "the members of a group are made to join again and again"),
    ("slow_fetch", "a broker answers fetches slowly for a while"),
    ("duplicate_delivery", "records that a group is done with come once more, behind newer ones"),
    ("slow_disk", "commits of the database take `factor` times as long"),
    ("lock_pile_up", "a transaction that is left open holds the locks of all keys"),
    ("failover", "the database ends all sessions and refuses writes for a while"),
    ("lost_answer", "`times` commits of a process happen, and their answers are lost"),
    ("second_instance", "one more instance of a process, e.g. a second scheduler, by mistake"),
    ("zombie_producer", "what a process published before `lasts` is published once more"),
    ("reprocess_twice", "the news of all transactions are published again, `times` at once"),
];

/// The kinds that hit a group of consumers.
const OF_CONSUMERS: [FaultKind; 3] =
    [FaultKind::CoordinatorMove, FaultKind::RebalanceStorm, FaultKind::DuplicateDelivery];

/// `[[faults]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    /// What.
    pub kind: FaultKind,
    /// When, since the storm began.
    pub at: When,
    /// What a swarm turns on and off together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<SmolStr>,
    /// Whether a swarm has turned it off.
    #[serde(skip)]
    pub(super) is_off: bool,
    /// Whom it hits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<SmolStr>,
    /// Whom a fault of the consumers hits: a group by its name, or `any`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<SmolStr>,
    /// How many records of each partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// The other end, or the other group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<SmolStr>,
    /// Named point at which it begins, instead of a time: a name, or `all PROCESS` for one at each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<String>,
    /// On which passes of the point, one fault each; drawn from 1 to 4 if absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passes: Vec<u64>,
    /// How long the point is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Millis>,
    /// How long the process stays down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down: Option<Millis>,
    /// How long the fault lasts, or how long each cut lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Millis>,
    /// How long a process lives, or a link is whole, between two blows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub between: Option<Millis>,
    /// How often, in one fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// Added latency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Millis>,
    /// How many times as slow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<u32>,
    /// Error of a clock in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset_ms: Option<i64>,
    /// Error of a clock's speed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ppm: Option<i64>,
    /// How many faults of this kind, each drawn anew.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub repeat: u32,
    /// Pause between the beginnings of two (of `repeat`, `passes` and `all PROCESS`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Millis>,
}

/// A field of a fault and what is wrong with it.
pub type FaultProblem = (&'static str, String);

/// A point and the pass (none: drawn) of a crash at a point; none of any other fault.
type Blow = Option<(points::Point, Option<u64>)>;

impl FaultSpec {
    /// The concrete faults of the entry with that number.
    pub fn expand(
        &self,
        seed: u64,
        number: usize,
        cluster: &ClusterSpec,
        storm: Millis,
    ) -> Result<Vec<PlannedFault>, FaultProblem> {
        self.refuse_unused_fields()?;
        if self.family.is_some() && self.needs_replicas() && cluster.replication_factor < 2 {
            return Ok(Vec::new());
        }
        let mut rng = stream(seed, &format!("faults/{number}/at"));
        // A fault that begins with the end of the storm would not be seen.
        let first_ms = match self.at {
            When::At(at) if at > storm => {
                return Err(("at", format!("= {at}: must be at most the storm, {storm}")));
            }
            When::At(at) => at.0,
            When::Drawn => below(&mut rng, (storm.0 * 9 / 10).max(1)),
        };
        let blows = self.blows()?;
        let mut planned = Vec::new();
        for (index, blow) in blows.iter().enumerate() {
            let mut rng = stream(seed, &format!("faults/{number}/{index}"));
            let at_ms = match (self.at, self.every) {
                (When::Drawn, None) if index > 0 => below(&mut rng, (storm.0 * 9 / 10).max(1)),
                (_, every) => first_ms + every.unwrap_or_default().0 * index as u64,
            };
            let mut draw = Draw { rng: &mut rng, cluster };
            let fault = match blow {
                Some((point, pass)) => self.at_point(point, *pass, &mut draw, storm)?,
                None => self.build(&mut draw)?,
            };
            planned.push(PlannedFault { at_ms, fault });
        }
        Ok(planned)
    }

    /// Whether it means nothing where each partition has one replica.
    fn needs_replicas(&self) -> bool {
        self.kind == FaultKind::LeaderChange
    }

    /// One entry for each fault; with the point and the pass, if it is at a point.
    fn blows(&self) -> Result<Vec<Blow>, FaultProblem> {
        let Some(point) = &self.point else {
            return Ok(vec![None; self.repeat as usize]);
        };
        let passes: Vec<Option<u64>> = if self.passes.is_empty() {
            vec![None; self.repeat as usize]
        } else {
            self.passes.iter().copied().map(Some).collect()
        };
        if self.passes.contains(&0) {
            return Err(("passes", "holds 0: passes count from 1".into()));
        }
        let points = points::select(point).map_err(|why| ("point", why))?;
        let at_pass = |pass: Option<u64>| points.iter().map(move |p| Some((p.clone(), pass)));
        Ok(passes.into_iter().flat_map(at_pass).collect())
    }

    fn at_point(
        &self,
        point: &points::Point,
        pass: Option<u64>,
        draw: &mut Draw<'_>,
        storm: Millis,
    ) -> Result<Fault, FaultProblem> {
        let is_death = self.kind == FaultKind::Crash;
        let process = match &self.process {
            Some(name) if is_death => draw.one("process", name)?,
            _ => draw.instance_of(point.host()),
        };
        let (kind, call, side) = (point.process.into(), point.call.into(), point.side);
        let pass = pass.unwrap_or_else(|| 1 + below(draw.rng, 4));
        let within_ms = self.within.unwrap_or(storm).0;
        if is_death {
            let down_ms = self.down.unwrap_or(Millis(500)).0;
            return Ok(Fault::CrashAtPoint { process, kind, call, side, pass, within_ms, down_ms });
        }
        // Whoever is hit need not be who passes; if it can be, it is.
        let fault = match &self.process {
            Some(name) if draw.group("process", name, &[])?.contains(&process) => {
                FaultSpec { process: Some(process.clone()), ..self.clone() }.build(draw)?
            }
            _ => self.build(draw)?,
        };
        let fault = Box::new(fault);
        Ok(Fault::AtPoint { process, kind, call, side, pass, within_ms, fault })
    }
}

/// A process that the seed draws, by its name in a file.
pub(super) fn one_process(
    field: &'static str,
    name: &str,
    seed: u64,
    label: &str,
    cluster: &ClusterSpec,
) -> Result<SmolStr, FaultProblem> {
    Draw { rng: &mut stream(seed, label), cluster }.one(field, name)
}

fn once() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_once(repeat: &u32) -> bool {
    *repeat == 1
}
