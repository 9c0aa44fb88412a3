//! `feed`: the engine on a folder of CSV inputs, and its tables as CSV files.
//!
//! It refuses to judge the inputs: a bad row travels as a poison message would. What comes out does
//! not depend on seed, order or faults, but for epoch, revision, ids and times.

pub mod export;
pub mod inputs;
pub mod order;
mod swarm;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backdate_engine::domain::ids::Key;
use backdate_engine::domain::time::Timestamp;
use backdate_reports::recording::{Phase, SimTime};
use smol_str::SmolStr;
use thiserror::Error;

use self::export::Tables;
use self::inputs::{FeedError, FeedInputs, FeedRecord};
use self::order::Queue;
use crate::cluster::ClusterConfig;
use crate::oracle::JudgeConfig;
use crate::runner::simulation::{SPARE_PROCESSES, Simulation, SimulationConfig};
use crate::runner::stage::{Finished, Input, Stage};
use crate::runner::{Canary, Observers};
use crate::world::TaskChoice;
use crate::world::faults::Fault;
use crate::world::random::stream;

/// How long nothing may move before a feed is given up.
const PATIENCE: Duration = Duration::from_secs(300);
/// Simulated time between two looks at the engine.
const LOOK: Duration = Duration::from_millis(100);
/// Records that are sent between two looks.
const PER_LOOK: usize = 400;

/// In which order records are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Step by step, file by file, the next when the one before is persisted or settled.
    Steps,
    /// All of them permuted by the seed.
    Shuffled,
}

/// Whether faults are injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faults {
    /// None.
    None,
    /// Drawn by the seed.
    Swarm,
}

/// What to feed and how.
pub struct FeedOptions<'a> {
    /// Folder of inputs.
    pub folder: &'a Path,
    /// Folder of results.
    pub out: &'a Path,
    /// Folder in which the recording is written; it must exist.
    pub save: Option<&'a Path>,
    /// Order of sending.
    pub order: Order,
    /// Faults.
    pub faults: Faults,
    /// Root of all random streams.
    pub seed: u64,
    /// The cluster.
    pub cluster: ClusterConfig,
    /// An alarm that must ring.
    pub canary: Option<Canary>,
    /// Set by Ctrl-C.
    pub interrupted: &'a AtomicBool,
    /// Called between two looks with simulated time and records that are left.
    pub progress: &'a mut dyn FnMut(SimTime, usize),
}

/// Why a feed has no result.
#[derive(Debug, Error)]
pub enum FeedFailure {
    /// The folder cannot be fed.
    #[error(transparent)]
    Input(#[from] FeedError),
    /// The results cannot be written.
    #[error("{0}: {1}; free some space or choose another --out")]
    Output(PathBuf, std::io::Error),
    /// The recording cannot be written.
    #[error("{0}: {1}; free some space or choose another --save")]
    Recording(PathBuf, std::io::Error),
}

impl FeedFailure {
    fn recording(save: Option<&Path>, error: std::io::Error) -> Self {
        Self::Recording(save.map_or_else(PathBuf::new, Path::to_path_buf), error)
    }
}

/// How a feed ended.
pub struct Fed {
    /// Verdict, meters and fingerprint.
    pub finished: Finished,
    /// Whether everything settled.
    pub is_settled: bool,
    /// Whether it was interrupted.
    pub is_interrupted: bool,
    /// Why the stage could not go on, if it could not.
    pub failure: Option<String>,
    /// Keys that wait for named missing data: the key and what is missing.
    pub waiting: Vec<(Key, String)>,
}

/// Feeds a folder that has been read to the simulated engine.
pub fn feed(inputs: FeedInputs, options: FeedOptions<'_>) -> Result<Fed, FeedFailure> {
    let config = SimulationConfig {
        seed: options.seed,
        task_choice: TaskChoice::Seeded,
        starved: None,
        start: Timestamp::from_micros(1_767_225_600_000_000),
        cluster: options.cluster.clone(),
        spare_processes: SPARE_PROCESSES,
    };
    let observers = observers(&options)?;
    feed_on(Simulation::start(config, observers), inputs, options)
}

/// What looks on at a feed.
pub fn observers(options: &FeedOptions<'_>) -> Result<Observers, FeedFailure> {
    Observers::new(judge(&options.cluster), options.save, None)
        .map_err(|error| FeedFailure::recording(options.save, error))
}

/// What a feed is judged by: whatever somebody feeds need not give each rule something to judge.
fn judge(cluster: &ClusterConfig) -> JudgeConfig {
    JudgeConfig {
        keys_per_transaction_max: cluster.keys_per_transaction(),
        lease: Duration::from_millis(cluster.knobs.lease_ms),
        must_evaluate: Vec::new(),
        ..JudgeConfig::default()
    }
}

/// Faults that are to come.
pub fn planned_faults(
    options: &FeedOptions<'_>,
    engine: &[SmolStr],
    servers: &[SmolStr],
) -> Vec<Fault> {
    match options.faults {
        Faults::None => Vec::new(),
        Faults::Swarm => {
            let drawn = swarm::draw(engine, servers, options.seed);
            drawn.into_iter().map(|(_, fault)| fault).collect()
        }
    }
}

/// Feeds a folder that has been read to a stage.
pub fn feed_on(
    mut stage: impl Stage,
    inputs: FeedInputs,
    options: FeedOptions<'_>,
) -> Result<Fed, FeedFailure> {
    forget_steps(options.out)
        .map_err(|error| FeedFailure::Output(options.out.to_path_buf(), error))?;
    stage.phase(Phase::Storm);
    if options.faults == Faults::Swarm {
        let faults = swarm::draw(&stage.engine_processes(), &stage.servers(), options.seed);
        stage.inject_in_turn(faults);
    }
    let mut feeder = Feeder { stage, options, next_id: 0, is_interrupted: false };
    let is_settled = match feeder.options.order {
        Order::Steps => feeder.in_steps(inputs.records)?,
        Order::Shuffled => feeder.shuffled(inputs.records),
    };
    let failure = feeder.stage.failure();
    let out = feeder.options.out.to_path_buf();
    let waiting = if failure.is_none() { feeder.export(&out)? } else { Vec::new() };
    let Feeder { mut stage, options, is_interrupted, .. } = feeder;
    if let Some(canary) = options.canary {
        canary.ring(&mut stage);
    }
    let mut finished = stage.finish(is_settled);
    if let Some(error) = finished.recorder_error.take() {
        return Err(FeedFailure::recording(options.save, error));
    }
    Ok(Fed { finished, is_settled, is_interrupted, failure, waiting })
}

/// Removes the `step_N` folders of an earlier feed: its steps are not those of this one.
fn forget_steps(out: &Path) -> std::io::Result<()> {
    if !out.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(out)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_prefix("step_").unwrap_or_default();
        if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) && path.is_dir() {
            std::fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

struct Feeder<'a, S> {
    stage: S,
    options: FeedOptions<'a>,
    next_id: u64,
    is_interrupted: bool,
}

impl<S: Stage> Feeder<'_, S> {
    /// Sends the next step when everything is settled; whether it all did.
    fn in_steps(&mut self, records: Vec<FeedRecord>) -> Result<bool, FeedFailure> {
        let steps: BTreeSet<u32> = records.iter().map(|record| record.step).collect();
        let last = steps.last().copied();
        for step in steps {
            let of_step = || records.iter().filter(|record| record.step == step);
            let files: BTreeSet<usize> = of_step().map(|record| record.file).collect();
            for file in files {
                let mut queue = Queue::new(of_step().filter(|r| r.file == file).cloned());
                if !self.drain(&mut queue) {
                    return Ok(false);
                }
            }
            if !self.settle(Some(step) == last) {
                return Ok(false);
            }
            let folder = self.options.out.join(format!("step_{step}"));
            self.export(&folder)?;
        }
        Ok(true)
    }

    /// Sends all records permuted; whether it all settled.
    fn shuffled(&mut self, records: Vec<FeedRecord>) -> bool {
        let mut rng = stream(self.options.seed, "feed/order");
        let mut queue = Queue::new(order::shuffle(records, &mut rng));
        self.drain(&mut queue) && self.settle(true)
    }

    /// Sends a queue until all of it is persisted; whether it was.
    fn drain(&mut self, queue: &mut Queue) -> bool {
        let mut idle = Duration::ZERO;
        while idle < PATIENCE && !self.is_over() {
            if self.stage.inputs_left() == 0 && self.stage.raw_lag() == 0 {
                queue.persisted();
                if queue.is_empty() {
                    return true;
                }
                idle = Duration::ZERO;
            }
            if self.stage.inputs_left() == 0 {
                let inputs: Vec<Input> =
                    queue.take(PER_LOOK).into_iter().map(|r| self.input(r)).collect();
                self.stage.send(inputs);
            }
            self.look();
            idle += LOOK;
        }
        false
    }

    fn input(&mut self, record: FeedRecord) -> Input {
        let id = self.next_id;
        self.next_id += 1;
        Input {
            id,
            at: self.stage.now(),
            topic: record.topic,
            key: record.key,
            value: Rc::from(record.value.into_bytes()),
            correlation_id: Some(format!("FEED:{id}").into()),
        }
    }

    /// Waits until nothing is left to do; whether that came. Faults end before the last settling.
    fn settle(&mut self, is_last: bool) -> bool {
        if is_last {
            while self.stage.faults_left() > 0 && !self.is_over() {
                self.look();
            }
            self.stage.phase(Phase::Calm);
        }
        let mut idle = Duration::ZERO;
        let mut before = self.stage.backlog();
        while idle < PATIENCE && !self.is_over() {
            if self.stage.is_settled() {
                if is_last {
                    self.stage.phase(Phase::Settled);
                }
                return true;
            }
            self.look();
            idle += LOOK;
            let now = self.stage.backlog();
            if now != before {
                (before, idle) = (now, Duration::ZERO);
            }
        }
        false
    }

    fn look(&mut self) {
        self.stage.advance(LOOK);
        (self.options.progress)(self.stage.now(), self.stage.inputs_left());
        self.is_interrupted |= self.options.interrupted.load(Ordering::Relaxed);
    }

    /// Whether it makes no sense to wait any longer.
    fn is_over(&self) -> bool {
        self.is_interrupted || self.stage.failure().is_some()
    }

    /// Writes the tables; returns the keys that wait.
    fn export(&mut self, folder: &Path) -> Result<Vec<(Key, String)>, FeedFailure> {
        let tables = Tables::of(&mut self.stage);
        tables.write(folder).map_err(|error| FeedFailure::Output(folder.to_path_buf(), error))?;
        Ok(tables.waiting())
    }
}
