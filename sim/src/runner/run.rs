//! One run of a plan: warm-up, storm, calm, and what it comes to.

use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backdate_reports::recording::{Phase, SimTime};
use thiserror::Error;

use super::canary::Canary;
use super::observers::{EventObserver, Observers};
use super::outcome::{End, Outcome};
use super::simulation::{SPARE_PROCESSES, Simulation, SimulationConfig};
use super::stage::{Input, Stage};
use crate::cluster::ClusterConfig;
use crate::feed::export::Tables;
use crate::kafka;
use crate::oracle::JudgeConfig;
use crate::scenario::plan::{Plan, PlannedInput};
use crate::world::faults::{Fault, OperatorFault};
use crate::world::{Measurer, Probe};

/// Folder of the tables in the folder of a saved run.
pub const TABLES_FOLDER: &str = "tables";
/// Simulated time between two looks at the run.
const LOOK: Duration = Duration::from_millis(100);
/// How long nothing may move in the calm before a run is given up.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long readers still look at what has settled.
const LAST_READS: Duration = Duration::from_secs(1);

/// What to run and how to look on.
pub struct RunOptions<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Folder in which the recording is written; it must exist.
    pub save: Option<&'a Path>,
    /// An alarm that must ring.
    pub canary: Option<Canary>,
    /// Set by Ctrl-C.
    pub interrupted: &'a AtomicBool,
    /// Called at every look.
    pub progress: &'a mut dyn FnMut(&Progress),
    /// Called with every event.
    pub events: Option<EventObserver>,
}

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Simulated time.
    pub sim: SimTime,
    /// Phase.
    pub phase: Phase,
    /// Keys that are being reprocessed, or whose dates are not all valued.
    pub keys_behind: u64,
    /// Records, outbox rows, triggers and jobs that wait.
    pub pending: u64,
    /// Inputs that are still to be sent.
    pub inputs_left: u64,
}

/// Why a run has no outcome.
#[derive(Debug, Error)]
pub enum RunError {
    /// The recording cannot be written.
    #[error("{0}: {1}; free some space or choose another --save")]
    Recording(String, std::io::Error),
}

/// Runs a plan.
pub fn run(options: RunOptions<'_>) -> Result<Outcome, RunError> {
    run_watched(options, Watchers::default())
}

/// Who watches a run from outside, at what is in no recording.
#[derive(Default)]
pub struct Watchers {
    /// Is told what the machine is busy with.
    pub probe: Option<Probe>,
    /// Is told what processes measure.
    pub measurer: Option<Measurer>,
}

/// Runs a plan in sight of watchers; the run is the same without them.
pub fn run_watched(options: RunOptions<'_>, watchers: Watchers) -> Result<Outcome, RunError> {
    let plan = options.plan;
    let mut options = options;
    let mut observers = observers(&mut options)?;
    observers.set_measurer(watchers.measurer);
    let config = SimulationConfig {
        seed: plan.seed,
        task_choice: plan.tasks.choice(),
        starved: plan.tasks.starved().cloned(),
        start: plan.start,
        cluster: cluster_config(plan),
        spare_processes: SPARE_PROCESSES + unplanned_instances(plan),
    };
    let simulation = Simulation::start(config, observers);
    if let Some(probe) = watchers.probe {
        simulation.set_probe(probe);
    }
    perform(simulation, options)
}

/// Instances that faults start.
fn unplanned_instances(plan: &Plan) -> usize {
    let faults = plan.faults.iter().map(|planned| match &planned.fault {
        Fault::AtPoint { fault, .. } => fault,
        fault => fault,
    });
    let starts =
        |fault: &&Fault| matches!(fault, Fault::Operator(OperatorFault::SecondInstance { .. }));
    faults.filter(starts).count()
}

/// What looks on at a run.
pub fn observers(options: &mut RunOptions<'_>) -> Result<Observers, RunError> {
    let mut judge = JudgeConfig {
        keys_per_transaction_max: cluster_config(options.plan).keys_per_transaction(),
        lease: Duration::from_millis(options.plan.cluster.knobs.lease_ms),
        ..JudgeConfig::default()
    };
    if let Some(rules) = &options.plan.must_evaluate {
        judge.must_evaluate.clone_from(rules);
    }
    let mut observers = Observers::new(judge, options.save, options.events.take())
        .map_err(|error| RunError::Recording(place(options.save), error))?;
    observers.set_edits(&options.plan.edits);
    Ok(observers)
}

/// Drives a stage through the phases of a plan.
pub fn perform(stage: impl Stage, options: RunOptions<'_>) -> Result<Outcome, RunError> {
    let RunOptions { plan, save, canary, interrupted, progress, .. } = options;
    let mut driver = Driver { stage, plan, interrupted, progress, phase: Phase::Warmup };
    let end = driver.drive(canary);
    let mut stage = driver.stage;
    if let Some(folder) = save
        && !matches!(end, End::Failed(_))
    {
        let tables = Tables::of(&mut stage);
        tables
            .write(&folder.join(TABLES_FOLDER))
            .map_err(|error| RunError::Recording(place(save), error))?;
    }
    let mut finished = stage.finish(end == End::Settled);
    if let Some(error) = finished.recorder_error.take() {
        return Err(RunError::Recording(place(save), error));
    }
    Ok(Outcome::new(plan, finished, end))
}

fn place(save: Option<&Path>) -> String {
    save.map_or_else(String::new, |folder| folder.display().to_string())
}

/// The cluster of a plan.
pub fn cluster_config(plan: &Plan) -> ClusterConfig {
    ClusterConfig {
        instances: plan.cluster.instances.clone(),
        knobs: plan.cluster.knobs.clone(),
        kafka: kafka::ClusterSpec {
            brokers: plan.cluster.brokers,
            replication: plan.cluster.replication_factor,
            min_insync: plan.cluster.min_insync,
            retention_ms: plan.cluster.retention_ms,
            partitions_default: plan.cluster.partitions,
            partitions: plan.cluster.topics.clone(),
            ..kafka::ClusterSpec::default()
        },
        ..ClusterConfig::default()
    }
}

struct Driver<'a, S> {
    stage: S,
    plan: &'a Plan,
    interrupted: &'a AtomicBool,
    progress: &'a mut dyn FnMut(&Progress),
    phase: Phase,
}

impl<S: Stage> Driver<'_, S> {
    fn drive(&mut self, canary: Option<Canary>) -> End {
        let readers = &self.plan.readers;
        for number in 1..=readers.count {
            let every = Duration::from_millis(readers.every_ms);
            self.stage.add_reader(number, readers.portfolio_ids(), every);
        }
        if let Err(end) = self.warm_up().and_then(|()| self.storm()).and_then(|()| self.calm()) {
            return end;
        }
        if let Some(canary) = canary {
            canary.ring(&mut self.stage);
        }
        End::Settled
    }

    /// Loads the initial state until everything has settled.
    fn warm_up(&mut self) -> Result<(), End> {
        self.begin(Phase::Warmup);
        self.settle(Duration::from_millis(self.plan.phases.warmup_limit_ms))
    }

    /// Load and faults.
    fn storm(&mut self) -> Result<(), End> {
        self.begin(Phase::Storm);
        self.stage.inject(&self.plan.faults);
        let until = self.stage.now() + Duration::from_millis(self.plan.phases.storm_ms);
        while self.stage.now() < until || self.stage.faults_left() > 0 {
            self.look()?;
        }
        Ok(())
    }

    /// Faults have ended; everything must converge.
    fn calm(&mut self) -> Result<(), End> {
        self.begin(Phase::Calm);
        self.settle(Duration::from_millis(self.plan.phases.calm_limit_ms))?;
        self.begin(Phase::Settled);
        let until = self.stage.now() + LAST_READS;
        while self.stage.now() < until {
            self.look()?;
        }
        Ok(())
    }

    /// Begins a phase: its inputs are sent at their times.
    fn begin(&mut self, phase: Phase) {
        self.phase = phase;
        self.stage.phase(phase);
        let start = self.stage.now();
        let inputs = self.plan.inputs.iter().filter(|input| input.phase == phase);
        self.stage.send(inputs.map(|input| to_input(input, start)).collect());
    }

    /// Waits until nothing is left to do, as long as something moves and the limit allows.
    fn settle(&mut self, limit: Duration) -> Result<(), End> {
        let until = self.stage.now() + limit;
        let mut moved = self.stage.now();
        let mut before = (self.stage.backlog(), self.stage.lag());
        while !self.stage.is_settled() {
            self.look()?;
            let now = self.stage.now();
            let backlog = (self.stage.backlog(), self.stage.lag());
            if backlog != before || self.stage.inputs_left() > 0 {
                (before, moved) = (backlog, now);
            }
            if now > until || now.since(moved) > PATIENCE {
                return Err(End::NotConverged {
                    phase: self.phase,
                    backlog: before.0,
                    lag: before.1,
                });
            }
        }
        Ok(())
    }

    /// Runs on until the next look; ends where a rule broke or Ctrl-C was pressed.
    fn look(&mut self) -> Result<(), End> {
        self.stage.advance(LOOK);
        let backlog = self.stage.backlog();
        (self.progress)(&Progress {
            sim: self.stage.now(),
            phase: self.phase,
            keys_behind: backlog.keys_behind,
            pending: backlog.outbox_events
                + backlog.triggers
                + backlog.reprocessing_jobs
                + backlog.valuation_jobs
                + self.stage.lag(),
            inputs_left: self.stage.inputs_left() as u64,
        });
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(End::Interrupted);
        }
        if let Some(why) = self.stage.failure() {
            return Err(End::Failed(why));
        }
        if self.stage.is_violated() { Err(End::RuleBroken) } else { Ok(()) }
    }
}

fn to_input(planned: &PlannedInput, start: SimTime) -> Input {
    Input {
        id: planned.id,
        at: start + Duration::from_millis(planned.at_ms),
        topic: planned.topic,
        key: planned.key.clone(),
        value: Rc::from(planned.value.as_bytes()),
        correlation_id: Some(planned.correlation_id.clone()),
    }
}
