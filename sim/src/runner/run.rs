//! One run of a plan: warm-up, storm, calm, and what it comes to.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backdate_reports::recording::{Phase, SimTime};
use backdate_reports::store::RecordingWriter;
use thiserror::Error;

use super::canary::Canary;
use super::outcome::{End, Outcome};
use super::simulation::{EventObserver, Input, Simulation, SimulationConfig};
use crate::cluster::ClusterConfig;
use crate::kafka;
use crate::oracle::JudgeConfig;
use crate::scenario::plan::{Plan, PlannedInput};
use crate::world::faults::inject;
use crate::world::{Main, Probe, Process, TaskChoice};

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
    run_probed(options, None)
}

/// Runs a plan in sight of a probe; the run is the same without it.
pub fn run_probed(options: RunOptions<'_>, probe: Option<Probe>) -> Result<Outcome, RunError> {
    let place = || options.save.map_or_else(String::new, |folder| folder.display().to_string());
    let recorder = options
        .save
        .map(RecordingWriter::create)
        .transpose()
        .map_err(|error| RunError::Recording(place(), error))?;
    let place = place();
    let plan = options.plan;
    let config = SimulationConfig {
        seed: plan.seed,
        task_choice: TaskChoice::Seeded,
        start: plan.start,
        judge: JudgeConfig {
            keys_per_transaction_max: cluster_config(plan).keys_per_transaction(),
            ..JudgeConfig::default()
        },
        cluster: cluster_config(plan),
    };
    let simulation = Simulation::start(config, recorder, options.events);
    if let Some(probe) = probe {
        simulation.set_probe(probe);
    }
    let mut driver = Driver {
        simulation,
        plan,
        interrupted: options.interrupted,
        progress: options.progress,
        phase: Phase::Warmup,
    };
    let end = driver.drive(options.canary);
    let mut finished = driver.simulation.finish(end == End::Settled);
    if let Some(error) = finished.recorder_error.take() {
        return Err(RunError::Recording(place, error));
    }
    Ok(Outcome::new(plan, finished, end))
}

/// The cluster of a plan.
fn cluster_config(plan: &Plan) -> ClusterConfig {
    ClusterConfig {
        instances: plan.cluster.instances.clone(),
        knobs: plan.cluster.knobs.clone(),
        kafka: kafka::ClusterSpec {
            brokers: plan.cluster.brokers,
            partitions_default: plan.cluster.partitions,
            partitions: plan.cluster.topics.clone(),
            ..kafka::ClusterSpec::default()
        },
        ..ClusterConfig::default()
    }
}

struct Driver<'a> {
    simulation: Simulation,
    plan: &'a Plan,
    interrupted: &'a AtomicBool,
    progress: &'a mut dyn FnMut(&Progress),
    phase: Phase,
}

impl Driver<'_> {
    fn drive(&mut self, canary: Option<Canary>) -> End {
        let readers = &self.plan.readers;
        for number in 1..=readers.count {
            let every = Duration::from_millis(readers.every_ms);
            self.simulation.add_reader(number, readers.portfolio_ids(), every);
        }
        if let Err(end) = self.warm_up().and_then(|()| self.storm()).and_then(|()| self.calm()) {
            return end;
        }
        if let Some(canary) = canary {
            canary.ring(&self.simulation);
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
        let faults_left = self.start_faults();
        let until = self.simulation.now() + Duration::from_millis(self.plan.phases.storm_ms);
        while self.simulation.now() < until || faults_left.get() > 0 {
            self.look()?;
        }
        Ok(())
    }

    /// Faults have ended; everything must converge.
    fn calm(&mut self) -> Result<(), End> {
        self.begin(Phase::Calm);
        self.settle(Duration::from_millis(self.plan.phases.calm_limit_ms))?;
        self.begin(Phase::Settled);
        let until = self.simulation.now() + LAST_READS;
        while self.simulation.now() < until {
            self.look()?;
        }
        Ok(())
    }

    /// Begins a phase: its inputs are sent at their times.
    fn begin(&mut self, phase: Phase) {
        self.phase = phase;
        self.simulation.phase(phase);
        let start = self.simulation.now();
        let inputs = self.plan.inputs.iter().filter(|input| input.phase == phase);
        self.simulation.send(inputs.map(|input| to_input(input, start)));
    }

    /// Waits until nothing is left to do, as long as something moves and the limit allows.
    fn settle(&mut self, limit: Duration) -> Result<(), End> {
        let until = self.simulation.now() + limit;
        let mut moved = self.simulation.now();
        let mut before = (self.simulation.backlog(), self.simulation.lag());
        while !self.simulation.is_settled() {
            self.look()?;
            let now = self.simulation.now();
            let backlog = (self.simulation.backlog(), self.simulation.lag());
            if backlog != before || self.simulation.inputs_left() > 0 {
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
        self.simulation.advance(LOOK);
        let backlog = self.simulation.backlog();
        (self.progress)(&Progress {
            sim: self.simulation.now(),
            phase: self.phase,
            keys_behind: backlog.keys_behind,
            pending: backlog.outbox_events
                + backlog.triggers
                + backlog.reprocessing_jobs
                + backlog.valuation_jobs
                + self.simulation.lag(),
            inputs_left: self.simulation.inputs_left() as u64,
        });
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(End::Interrupted);
        }
        if self.simulation.is_violated() { Err(End::RuleBroken) } else { Ok(()) }
    }

    /// Starts the operator that injects the plan's faults; the count falls to zero as they end.
    fn start_faults(&self) -> Rc<Cell<usize>> {
        let left = Rc::new(Cell::new(self.plan.faults.len()));
        if self.plan.faults.is_empty() {
            return left;
        }
        let start = self.simulation.now();
        let faults = self.plan.faults.clone();
        let control = self.simulation.control().clone();
        let counter = left.clone();
        let main: Main = Rc::new(move |process: Process| {
            for planned in faults.clone() {
                let (process, control) = (process.clone(), control.clone());
                let counter = counter.clone();
                let at = start + Duration::from_millis(planned.at_ms);
                process.clone().spawn(async move {
                    process.sleep_until(at).await;
                    inject(planned.fault, control, process).await;
                    counter.set(counter.get() - 1);
                });
            }
            Box::pin(std::future::ready(()))
        });
        self.simulation.control().add_process("operator", main);
        left
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
