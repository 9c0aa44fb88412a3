//! What a run and a feed are played on: the simulated world, or real services.
//!
//! A stage has a clock, takes inputs, faults and readers, lets time pass, and shows what waits. Who
//! drives it cannot tell which one it is, so the same scenario means the same on both.
//!
//! # Implementers must
//! - answer what waits ([`Stage::lag`], [`Stage::backlog`], [`Stage::inputs_left`]) as of one look,
//!   taken at the end of [`Stage::advance`] at the latest: an input that is not left is in the log,
//!   and a record that is not behind has its effect in the database;
//! - say that all has settled only if it had at one instant;
//! - show the judge each event after whatever caused it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use backdate_engine::domain::ids::PortfolioId;
use backdate_engine::ports::log::Topic;
use backdate_engine::ports::store::rows::Table;
use backdate_engine::ports::store::statements::Backlog;
use backdate_reports::meters::Meters;
use backdate_reports::recording::{EventKind, Phase, Row, SimTime};
use smol_str::SmolStr;

pub use crate::cluster::GROUPS;
use crate::oracle::Verdict;
use crate::scenario::plan::PlannedFault;
use crate::world::faults::Fault;

/// Whether the database knows of nothing that is left to do.
pub fn is_done(backlog: &Backlog) -> bool {
    backlog.outbox_events == 0
        && backlog.triggers == 0
        && backlog.reprocessing_jobs == 0
        && backlog.replays == 0
        && backlog.valuation_jobs == 0
        && backlog.keys_behind == 0
}

/// An input with the time at which the client is to send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Number of the input.
    pub id: u64,
    /// When.
    pub at: SimTime,
    /// Topic.
    pub topic: Topic,
    /// Message key.
    pub key: SmolStr,
    /// Payload.
    pub value: Rc<[u8]>,
    /// Header.
    pub correlation_id: Option<SmolStr>,
}

/// A stage.
pub trait Stage {
    /// Lets that much time pass.
    fn advance(&mut self, duration: Duration);

    /// Time since the run began.
    fn now(&self) -> SimTime;

    /// Begins a phase.
    fn phase(&mut self, phase: Phase);

    /// Hands inputs to the client, in the order of their times.
    fn send(&mut self, inputs: Vec<Input>);

    /// Inputs that are not acknowledged.
    fn inputs_left(&self) -> usize;

    /// Records of a group's topics that are not committed.
    fn lag(&self) -> u64;

    /// Records of the raw topics that are not persisted.
    fn raw_lag(&self) -> u64;

    /// Work that the database knows of.
    fn backlog(&self) -> Backlog;

    /// Whether nothing is left to do, apart from keys that wait for named missing data.
    fn is_settled(&self) -> bool;

    /// Whether a rule is broken so far.
    fn is_violated(&self) -> bool;

    /// Why the stage cannot go on, if it cannot: a server that is gone, a disk that is full.
    fn failure(&self) -> Option<String>;

    /// Starts a reader that polls portfolios in turn.
    fn add_reader(&mut self, number: u32, portfolios: Rc<[PortfolioId]>, every: Duration);

    /// Injects each fault at its time from now on.
    fn inject(&mut self, faults: &[PlannedFault]);

    /// Injects one fault after the other, each after a pause in milliseconds.
    fn inject_in_turn(&mut self, faults: Vec<(u64, Fault)>);

    /// Faults that are under way or still to come.
    fn faults_left(&self) -> usize;

    /// Names of the engine's processes.
    fn engine_processes(&self) -> Vec<SmolStr>;

    /// Names of servers that faults may hit: the database and the brokers.
    fn servers(&self) -> Vec<SmolStr>;

    /// Committed rows of tables.
    fn rows(&self, tables: &[Table]) -> Vec<Row>;

    /// Messages of the dead-letter topic.
    fn dead_letters(&self) -> Vec<Vec<u8>>;

    /// Records an event that the harness itself brings about.
    fn record(&mut self, process: &'static str, event: EventKind);

    /// Ends the run and lets the judge speak.
    fn finish(self, is_settled: bool) -> Finished;
}

/// What is left of a stage.
pub struct Finished {
    /// `sim` or `real`.
    pub on: &'static str,
    /// What the rules say.
    pub verdict: Verdict,
    /// What was measured.
    pub meters: Meters,
    /// Hash over everything that happened; none where no two runs are equal.
    pub fingerprint: Option<u128>,
    /// Time at the end.
    pub ended: SimTime,
    /// Share of the time that each process was occupied.
    pub utilisation: BTreeMap<String, f64>,
    /// The recording, or a file beside it, could not be written.
    pub recorder_error: Option<std::io::Error>,
    /// What a person must know besides.
    pub notes: Vec<String>,
}

impl Finished {
    /// The fingerprint as it stands in a summary.
    pub fn fingerprint_text(&self) -> String {
        self.fingerprint.map_or_else(String::new, |hash| format!("{hash:032x}"))
    }
}
