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
use backdate_engine::ports::log::Topic;
use backdate_engine::ports::store::rows::Table;
use backdate_reports::recording::{Phase, SimTime};
use thiserror::Error;

use self::export::Tables;
use self::inputs::{FeedError, FeedInputs, FeedRecord};
use self::order::Queue;
use self::swarm::Swarm;
use crate::cluster::ClusterConfig;
use crate::oracle::JudgeConfig;
use crate::runner::Canary;
use crate::runner::simulation::{Finished, Input, Simulation, SimulationConfig};
use crate::world::TaskChoice;
use crate::world::random::stream;

/// How long nothing may move before a feed is given up.
const PATIENCE: Duration = Duration::from_secs(300);
/// Simulated time between two looks at the engine.
const LOOK: Duration = Duration::from_millis(100);
/// Records that are sent between two looks.
const PER_LOOK: usize = 400;

/// Tables of the database that an export is made of.
const EXPORTED: [Table; 8] = [
    Table::PositionState,
    Table::PositionEpochs,
    Table::Transactions,
    Table::PositionTimeline,
    Table::PositionHistory,
    Table::DailyPositionSnapshots,
    Table::Instruments,
    Table::BusinessDates,
];

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
}

/// How a feed ended.
pub struct Fed {
    /// Verdict, meters and fingerprint.
    pub finished: Finished,
    /// Whether everything settled.
    pub is_settled: bool,
    /// Whether it was interrupted.
    pub is_interrupted: bool,
    /// Keys that wait for named missing data: the key and what is missing.
    pub waiting: Vec<(Key, String)>,
}

/// Feeds a folder that has been read.
pub fn feed(inputs: FeedInputs, options: FeedOptions<'_>) -> Result<Fed, FeedFailure> {
    forget_steps(options.out)
        .map_err(|error| FeedFailure::Output(options.out.to_path_buf(), error))?;
    let judge = JudgeConfig {
        keys_per_transaction_max: options.cluster.keys_per_transaction(),
        must_evaluate: false,
        ..JudgeConfig::default()
    };
    let config = SimulationConfig {
        seed: options.seed,
        task_choice: TaskChoice::Seeded,
        start: Timestamp::from_micros(1_767_225_600_000_000),
        cluster: options.cluster.clone(),
        judge,
    };
    let simulation = Simulation::start(config, None, None);
    simulation.phase(Phase::Storm);
    let swarm = match options.faults {
        Faults::None => Swarm::default(),
        Faults::Swarm => swarm::start(&simulation, options.seed),
    };
    let mut feeder = Feeder { simulation, options, swarm, next_id: 0, is_interrupted: false };
    let is_settled = match feeder.options.order {
        Order::Steps => feeder.in_steps(inputs.records)?,
        Order::Shuffled => feeder.shuffled(inputs.records),
    };
    let out = feeder.options.out.to_path_buf();
    let waiting = feeder.export(&out)?;
    let Feeder { simulation, options, is_interrupted, .. } = feeder;
    if let Some(canary) = options.canary {
        canary.ring(&simulation);
    }
    Ok(Fed { finished: simulation.finish(is_settled), is_settled, is_interrupted, waiting })
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

struct Feeder<'a> {
    simulation: Simulation,
    options: FeedOptions<'a>,
    swarm: Swarm,
    next_id: u64,
    is_interrupted: bool,
}

impl Feeder<'_> {
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
            self.export(&self.options.out.join(format!("step_{step}")))?;
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
        while idle < PATIENCE && !self.is_interrupted {
            if self.simulation.inputs_left() == 0 && self.simulation.raw_lag() == 0 {
                queue.persisted();
                if queue.is_empty() {
                    return true;
                }
                idle = Duration::ZERO;
            }
            if self.simulation.inputs_left() == 0 {
                let inputs: Vec<Input> =
                    queue.take(PER_LOOK).into_iter().map(|r| self.input(r)).collect();
                self.simulation.send(inputs);
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
            at: self.simulation.now(),
            topic: record.topic,
            key: record.key,
            value: Rc::from(record.value.into_bytes()),
            correlation_id: Some(format!("FEED:{id}").into()),
        }
    }

    /// Waits until nothing is left to do; whether that came. Faults end before the last settling.
    fn settle(&mut self, is_last: bool) -> bool {
        if is_last {
            while self.swarm.is_active() && !self.is_interrupted {
                self.look();
            }
            self.simulation.phase(Phase::Calm);
        }
        let mut idle = Duration::ZERO;
        let mut before = self.simulation.backlog();
        while idle < PATIENCE && !self.is_interrupted {
            if self.simulation.is_settled() {
                if is_last {
                    self.simulation.phase(Phase::Settled);
                }
                return true;
            }
            self.look();
            idle += LOOK;
            let now = self.simulation.backlog();
            if now != before {
                (before, idle) = (now, Duration::ZERO);
            }
        }
        false
    }

    fn look(&mut self) {
        self.simulation.advance(LOOK);
        (self.options.progress)(self.simulation.now(), self.simulation.inputs_left());
        self.is_interrupted |= self.options.interrupted.load(Ordering::Relaxed);
    }

    /// Writes the tables; returns the keys that wait.
    fn export(&self, folder: &Path) -> Result<Vec<(Key, String)>, FeedFailure> {
        let cluster = self.simulation.cluster();
        let letters: Vec<_> = cluster.kafka.disk().records(Topic::DeadLetters).collect();
        let letters = letters.iter().map(|record| record.value.as_slice());
        let rows = EXPORTED.iter().flat_map(|table| cluster.postgres.disk.rows(*table));
        let tables = Tables::new(rows, letters);
        tables.write(folder).map_err(|error| FeedFailure::Output(folder.to_path_buf(), error))?;
        Ok(tables.waiting())
    }
}
