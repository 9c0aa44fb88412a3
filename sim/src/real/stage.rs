//! Real services as a stage: what runs and feeds drive.
//!
//! The thread of the driver asks the witnesses in rounds, puts what they saw in order and shows it
//! to the judge; everything else goes on backstage.
//!
//! # Invariants
//! - What the run has made is removed at its end, whichever way it ends.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use backdate_engine::adapters::postgres::Store;
use backdate_engine::domain::ids::PortfolioId;
use backdate_engine::ports::store::rows::Table;
use backdate_engine::ports::store::statements::Backlog;
use backdate_reports::recording::{EventKind, Phase, Row, SimTime};
use smol_str::SmolStr;
use tokio::runtime::Runtime;

use super::RealOptions;
use super::backstage::{Backstage, Order, Outgoing};
use super::clock::Clock;
use super::commits::Commits;
use super::look::Look;
use super::merge::{Merge, Round};
use super::operator::{is_of_network, kills};
use super::premises::Premises;
use super::setup::Setup;
use super::witness::Witness;
use crate::cluster::POSTGRES;
use crate::real::services::RealError;
use crate::runner::observers::{self, Observers};
use crate::runner::stage::{Finished, Input, Stage};
use crate::scenario::plan::PlannedFault;
use crate::world::faults::Fault;

/// A run on real services.
pub(super) struct RealStage {
    pub(super) clock: Clock,
    pub(super) backstage: Backstage,
    pub(super) store: Store,
    pub(super) commits: RefCell<Option<Commits>>,
    pub(super) witness: Witness,
    pub(super) merge: Merge,
    pub(super) round: Round,
    pub(super) observers: Option<Observers>,
    pub(super) look: Look,
    pub(super) is_settled: bool,
    /// When the witnesses last saw everything.
    pub(super) seen_all: SimTime,
    /// Inputs that are under way, by number.
    pub(super) inputs: HashMap<u64, Input>,
    pub(super) dead_letters: Vec<Vec<u8>>,
    pub(super) engine: Vec<SmolStr>,
    pub(super) premises: Premises,
    pub(super) is_left: Cell<bool>,
    /// Last: what is above lives in it.
    pub(super) runtime: Runtime,
}

/// What a stage needs once its topics and its schema are there.
struct Opened {
    commits: Commits,
    witness: Witness,
    backstage: Backstage,
    clock: Clock,
}

impl RealStage {
    /// Makes topics and schema, starts witnesses and instances.
    pub(super) fn start(options: RealOptions<'_>, observers: Observers) -> Result<Self, RealError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| RealError::Environment(error.to_string()))?;
        let mut premises = Premises::claim(&options, &runtime)?;
        match Self::open(&options, &premises, &runtime) {
            Ok(opened) => Ok(Self::assemble(options, observers, premises, runtime, opened)),
            Err(error) => {
                premises.leave(None, &runtime, true);
                Err(RealError::Environment(error))
            }
        }
    }

    /// Starts witnesses and instances.
    fn open(
        options: &RealOptions<'_>,
        premises: &Premises,
        runtime: &Runtime,
    ) -> Result<Opened, String> {
        let place = &premises.place;
        let survives = options.faults.iter().any(|fault| kills(fault, POSTGRES));
        let commits = Commits::start(&place.postgres, &place.name, !survives);
        let commits = runtime.block_on(commits)?;
        let begun = Self::begin(options, premises);
        match begun {
            Ok((witness, backstage, clock)) => Ok(Opened { commits, witness, backstage, clock }),
            Err(error) => {
                // The first error is the one to be told.
                let _ = runtime.block_on(commits.drop());
                Err(error)
            }
        }
    }

    fn begin(
        options: &RealOptions<'_>,
        premises: &Premises,
    ) -> Result<(Witness, Backstage, Clock), String> {
        let partitions = premises.partitions.iter().copied();
        let witness = Witness::start(&premises.place.kafka, partitions)?;
        let clock = Clock::start();
        let setup = Setup {
            place: premises.place.clone(),
            controls: options.services.controls.clone(),
            processes: options.cluster.engine_processes().collect(),
            knobs: options.cluster.knobs.clone(),
            connections: options.cluster.connections,
            has_links: options.faults.iter().any(is_of_network),
            private: premises.private.clone(),
            logs: premises.logs.clone(),
        };
        let backstage =
            Backstage::start(setup, clock).map_err(|error| format!("no thread: {error}"))?;
        Ok((witness, backstage, clock))
    }

    fn assemble(
        options: RealOptions<'_>,
        observers: Observers,
        premises: Premises,
        runtime: Runtime,
        opened: Opened,
    ) -> Self {
        let Opened { commits, witness, backstage, clock } = opened;
        Self {
            clock,
            backstage,
            store: Store::new(&premises.place.postgres, "backdate-harness"),
            commits: RefCell::new(Some(commits)),
            witness,
            merge: Merge::new(clock.start),
            round: Round::default(),
            observers: Some(observers),
            look: Look::default(),
            is_settled: false,
            seen_all: SimTime::default(),
            inputs: HashMap::new(),
            dead_letters: Vec::new(),
            engine: options.cluster.engine_processes().map(|(_, name)| name).collect(),
            premises,
            is_left: Cell::new(false),
            runtime,
        }
    }
}

impl Stage for RealStage {
    #[allow(clippy::disallowed_methods, reason = "real services run on the machine's time")]
    fn advance(&mut self, duration: Duration) {
        std::thread::sleep(duration);
        self.see();
    }

    fn now(&self) -> SimTime {
        self.clock.now()
    }

    fn phase(&mut self, phase: Phase) {
        self.own("harness", EventKind::Phase(phase));
    }

    fn send(&mut self, inputs: Vec<Input>) {
        if inputs.is_empty() {
            return;
        }
        self.backstage.counts.inputs_left.fetch_add(inputs.len(), Ordering::Release);
        self.look.inputs_left += inputs.len();
        self.is_settled = false;
        let outgoing = inputs.iter().map(|input| Outgoing {
            id: input.id,
            at: input.at,
            topic: input.topic,
            key: input.key.clone(),
            value: input.value.to_vec(),
            correlation_id: input.correlation_id.clone(),
        });
        let outgoing = outgoing.collect();
        self.inputs.extend(inputs.into_iter().map(|input| (input.id, input)));
        self.backstage.order(Order::Send(outgoing));
    }

    fn inputs_left(&self) -> usize {
        self.look.inputs_left
    }

    fn lag(&self) -> u64 {
        self.look.lag
    }

    fn raw_lag(&self) -> u64 {
        self.look.raw_lag
    }

    fn backlog(&self) -> Backlog {
        self.look.backlog.clone()
    }

    fn is_settled(&self) -> bool {
        self.is_settled
    }

    fn is_violated(&self) -> bool {
        self.observers.as_ref().is_some_and(Observers::is_violated)
    }

    fn failure(&self) -> Option<String> {
        self.backstage.counts.failure()
    }

    fn add_reader(&mut self, number: u32, portfolios: Rc<[PortfolioId]>, every: Duration) {
        self.backstage.order(Order::Read { number, portfolios: portfolios.to_vec(), every });
    }

    fn inject(&mut self, faults: &[PlannedFault]) {
        self.backstage.counts.faults_left.fetch_add(faults.len(), Ordering::Relaxed);
        self.backstage.order(Order::Inject(faults.to_vec()));
    }

    fn inject_in_turn(&mut self, faults: Vec<(u64, Fault)>) {
        self.backstage.counts.faults_left.fetch_add(faults.len(), Ordering::Relaxed);
        self.backstage.order(Order::InjectInTurn(faults));
    }

    fn faults_left(&self) -> usize {
        self.backstage.counts.faults_left.load(Ordering::Relaxed)
    }

    fn engine_processes(&self) -> Vec<SmolStr> {
        self.engine.clone()
    }

    fn servers(&self) -> Vec<SmolStr> {
        super::servers()
    }

    fn rows(&self, tables: &[Table]) -> Vec<Row> {
        let mut commits = self.commits.borrow_mut();
        let Some(commits) = commits.as_mut() else { return Vec::new() };
        let mut rows = Vec::new();
        for table in tables {
            match self.runtime.block_on(commits.rows(*table)) {
                Ok(found) => rows.extend(found),
                Err(error) => {
                    self.backstage.counts.fail(format!("tables cannot be read: {error}"));
                }
            }
        }
        rows
    }

    fn dead_letters(&self) -> Vec<Vec<u8>> {
        self.dead_letters.clone()
    }

    fn record(&mut self, process: &'static str, event: EventKind) {
        if let EventKind::Committed { client, keys_locked, changes } = event {
            // What the harness claims to have seen committed stands behind all that was.
            let round = std::mem::take(&mut self.round);
            let event = EventKind::Committed { client, keys_locked, changes };
            let mut events = self.merge.take(round);
            events.push(self.merge.append(process, event));
            let observers = self.observers.as_mut().expect("a run ends once");
            events.iter().for_each(|event| observers.observe(event));
            return;
        }
        self.own(process, event);
    }

    fn finish(mut self, is_settled: bool) -> Finished {
        self.backstage.end();
        // The last round, and one for what it held back.
        self.see();
        self.see();
        let ended = self.clock.now();
        let observers = self.observers.take().expect("a run ends once");
        let observers::Observed { verdict, meters, recorder_error } =
            observers.finish(is_settled, ended);
        let is_sound = verdict.passed() && is_settled && self.failure().is_none();
        let commits = self.commits.borrow_mut().take();
        self.is_left.set(true);
        let notes = self.premises.leave(commits, &self.runtime, is_sound);
        Finished {
            on: "real",
            verdict,
            meters,
            fingerprint: None,
            ended,
            utilisation: BTreeMap::new(),
            recorder_error,
            notes,
        }
    }
}

impl Drop for RealStage {
    /// After a panic; [`Stage::finish`] has left nothing to do.
    fn drop(&mut self) {
        self.backstage.end();
        if !self.is_left.get() {
            let commits = self.commits.borrow_mut().take();
            self.premises.leave(commits, &self.runtime, false);
        }
    }
}
