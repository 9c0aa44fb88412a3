//! A world with a cluster and its clients: the stage on which everything is deterministic.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use backdate_engine::domain::ids::PortfolioId;
use backdate_engine::domain::time::Timestamp;
use backdate_engine::ports::log::{Headers, Log, LogProducer, NewRecord, Topic};
use backdate_engine::ports::store::rows::Table;
use backdate_engine::ports::store::statements::Backlog;
use backdate_reports::recording::{EventKind, Phase, Row, SimTime};
use smol_str::SmolStr;

use super::observers::{Observed, Observers};
use super::reader::polling;
use super::stage::{Finished, GROUPS, Input, Stage, is_done};
use crate::cluster::{Cluster, ClusterConfig, POSTGRES};
use crate::scenario::plan::PlannedFault;
use crate::world::faults::{Fault, Servers, inject};
use crate::world::{Control, Main, Probe, Process, TaskChoice, World, WorldConfig};

/// Processes that join any simulation while it runs, and one more: the operator.
pub const SPARE_PROCESSES: usize = 2;
/// Records that the client sends at once at the most.
const CLIENT_BATCH: usize = 500;

/// What a simulation is made of.
pub struct SimulationConfig {
    /// Root of all random streams.
    pub seed: u64,
    /// How ready tasks are picked.
    pub task_choice: TaskChoice,
    /// The process that has the lowest priority during the storm.
    pub starved: Option<SmolStr>,
    /// Wall clock at the start.
    pub start: Timestamp,
    /// The cluster.
    pub cluster: ClusterConfig,
    /// Processes that may be added while it runs.
    pub spare_processes: usize,
}

/// The inputs that the client still has to send.
#[derive(Default)]
struct Outbound {
    queue: VecDeque<Input>,
    unacknowledged: usize,
}

/// A running simulation.
pub struct Simulation {
    world: World,
    control: Control,
    cluster: Cluster,
    outbound: Rc<RefCell<Outbound>>,
    /// None once the simulation has ended.
    observers: Rc<RefCell<Option<Observers>>>,
    /// Faults that are under way or still to come.
    faults: Rc<Cell<usize>>,
    starved: Option<SmolStr>,
}

impl Simulation {
    /// Starts a cluster in a new world.
    pub fn start(config: SimulationConfig, observers: Observers) -> Self {
        let observers = Rc::new(RefCell::new(Some(observers)));
        let sink = observers.clone();
        let world_config = WorldConfig {
            seed: config.seed,
            task_choice: config.task_choice,
            latency: config.cluster.latency(),
            start: config.start,
        };
        let observe = move |event| {
            if let Some(observers) = sink.borrow_mut().as_mut() {
                observers.observe(&event);
            }
        };
        let mut world = World::new(world_config, Box::new(observe));
        world.reserve_processes(config.spare_processes);
        if let Some(observers) = observers.borrow_mut().as_mut() {
            observers.set_course(world.course());
        }
        if observers.borrow_mut().as_mut().is_some_and(Observers::take_measurements) {
            let observers = observers.clone();
            world.set_measurer(Rc::new(move |at, process, measured| {
                if let Some(observers) = observers.borrow_mut().as_mut() {
                    observers.measured(at, process, measured);
                }
            }));
        }
        let control = world.control();
        let cluster = Cluster::start(&control, config.cluster);
        let outbound = Rc::new(RefCell::new(Outbound::default()));
        control.add_process("client-1", client_main(cluster.clone(), outbound.clone()));
        let faults = Rc::default();
        let starved = config.starved;
        Self { world, control, cluster, outbound, observers, faults, starved }
    }

    /// Tells a probe from now on what the machine is busy with.
    pub fn set_probe(&self, probe: Probe) {
        if let Some(observers) = self.observers.borrow_mut().as_mut() {
            observers.set_probe(probe.clone());
        }
        self.world.set_probe(probe);
    }

    /// Share of the time so far that each process was occupied, over its workers.
    fn utilisation(&self) -> BTreeMap<String, f64> {
        let elapsed = self.world.now().seconds().max(f64::MIN_POSITIVE);
        let config = self.cluster.config();
        let share = |(name, busy): (SmolStr, Duration)| {
            let workers = f64::from(config.workers(&name));
            (name.to_string(), busy.as_secs_f64() / elapsed / workers)
        };
        self.control.busy().into_iter().map(share).filter(|(_, share)| *share > 0.0).collect()
    }

    fn lag_of(&self, (group, topics): (&str, &[Topic])) -> u64 {
        self.cluster.kafka.disk().lag(group, topics)
    }
}

impl Stage for Simulation {
    fn advance(&mut self, duration: Duration) {
        let until = self.world.now() + duration;
        self.world.run_until(until);
    }

    fn now(&self) -> SimTime {
        self.world.now()
    }

    fn phase(&mut self, phase: Phase) {
        let starved = self.starved.as_deref().filter(|_| phase == Phase::Storm);
        self.control.starve(starved);
        self.control.record("harness", EventKind::Phase(phase));
    }

    fn send(&mut self, inputs: Vec<Input>) {
        self.outbound.borrow_mut().queue.extend(inputs);
    }

    fn inputs_left(&self) -> usize {
        let outbound = self.outbound.borrow();
        outbound.queue.len() + outbound.unacknowledged
    }

    fn lag(&self) -> u64 {
        GROUPS.into_iter().map(|group| self.lag_of(group)).sum()
    }

    fn raw_lag(&self) -> u64 {
        self.lag_of(GROUPS[0])
    }

    fn backlog(&self) -> Backlog {
        self.cluster.postgres.disk.backlog()
    }

    fn is_settled(&self) -> bool {
        self.inputs_left() == 0 && is_done(&self.backlog()) && self.lag() == 0
    }

    fn is_violated(&self) -> bool {
        self.observers.borrow().as_ref().is_some_and(Observers::is_violated)
    }

    fn failure(&self) -> Option<String> {
        None
    }

    fn add_reader(&mut self, number: u32, portfolios: Rc<[PortfolioId]>, every: Duration) {
        let name = format!("reader-{number}");
        self.control.add_process(name, polling(self.cluster.clone(), portfolios, every));
    }

    fn inject(&mut self, faults: &[PlannedFault]) {
        if faults.is_empty() {
            return;
        }
        self.faults.set(self.faults.get() + faults.len());
        let (start, control, left) = (self.now(), self.control.clone(), self.faults.clone());
        let servers: Rc<dyn Servers> = Rc::new(self.cluster.clone());
        let faults = faults.to_vec();
        let main: Main = Rc::new(move |process: Process| {
            for planned in faults.clone() {
                let (process, control) = (process.clone(), control.clone());
                let (left, servers) = (left.clone(), servers.clone());
                let at = start + Duration::from_millis(planned.at_ms);
                process.clone().spawn(async move {
                    process.sleep_until(at).await;
                    inject(planned.fault, control, process, servers).await;
                    left.set(left.get() - 1);
                });
            }
            Box::pin(std::future::ready(()))
        });
        self.control.add_process("operator", main);
    }

    fn inject_in_turn(&mut self, faults: Vec<(u64, Fault)>) {
        self.faults.set(self.faults.get() + faults.len());
        let (control, left) = (self.control.clone(), self.faults.clone());
        let servers: Rc<dyn Servers> = Rc::new(self.cluster.clone());
        let main: Main = Rc::new(move |process: Process| {
            let (faults, control, left) = (faults.clone(), control.clone(), left.clone());
            let servers = servers.clone();
            Box::pin(async move {
                for (pause_ms, fault) in faults {
                    process.sleep(Duration::from_millis(pause_ms)).await;
                    let (control, process) = (control.clone(), process.clone());
                    inject(fault, control, process, servers.clone()).await;
                    left.set(left.get() - 1);
                }
            })
        });
        self.control.add_process("operator", main);
    }

    fn faults_left(&self) -> usize {
        self.faults.get()
    }

    fn engine_processes(&self) -> Vec<SmolStr> {
        self.cluster.config().engine_processes().map(|(_, name)| name).collect()
    }

    fn servers(&self) -> Vec<SmolStr> {
        let brokers = self.cluster.kafka.brokers().map(|(name, _)| name);
        std::iter::once(SmolStr::new(POSTGRES)).chain(brokers).collect()
    }

    fn rows(&self, tables: &[Table]) -> Vec<Row> {
        tables.iter().flat_map(|table| self.cluster.postgres.disk.rows(*table)).collect()
    }

    fn dead_letters(&self) -> Vec<Vec<u8>> {
        let disk = self.cluster.kafka.disk();
        disk.records(Topic::DeadLetters).map(|record| record.value.clone()).collect()
    }

    fn record(&mut self, process: &'static str, event: EventKind) {
        self.control.record(process, event);
    }

    fn finish(self, is_settled: bool) -> Finished {
        let ended = self.world.now();
        let observers = self.observers.borrow_mut().take();
        let observers = observers.expect("a simulation ends once");
        let fingerprint = Some(self.world.fingerprint());
        let utilisation = self.utilisation();
        let Observed { verdict, meters, recorder_error } = observers.finish(is_settled, ended);
        Finished {
            on: "sim",
            verdict,
            meters,
            fingerprint,
            ended,
            utilisation,
            recorder_error,
            notes: Vec::new(),
        }
    }
}

/// The client: sends each input at its time, and again until it is acknowledged.
fn client_main(cluster: Cluster, outbound: Rc<RefCell<Outbound>>) -> Main {
    Rc::new(move |process| Box::pin(client(process, cluster.clone(), outbound.clone())))
}

async fn client(process: Process, cluster: Cluster, outbound: Rc<RefCell<Outbound>>) {
    const IDLE: Duration = Duration::from_millis(20);
    let log = cluster.kafka.client(process.clone());
    let mut producer = loop {
        match log.producer().await {
            Ok(producer) => break producer,
            Err(_) => process.sleep(IDLE).await,
        }
    };
    loop {
        let next = outbound.borrow().queue.front().map(|input| input.at);
        match next {
            None => process.sleep(IDLE).await,
            Some(at) if at > process.now() => {
                process.sleep_until(at.min(process.now() + IDLE)).await
            }
            Some(_) => {
                let batch = take_due(&outbound, process.now());
                send(&process, &mut producer, &batch).await;
                outbound.borrow_mut().unacknowledged -= batch.len();
            }
        }
    }
}

fn take_due(outbound: &RefCell<Outbound>, now: SimTime) -> Vec<Input> {
    let mut outbound = outbound.borrow_mut();
    let due = outbound.queue.iter().take(CLIENT_BATCH).take_while(|input| input.at <= now).count();
    outbound.unacknowledged += due;
    outbound.queue.drain(..due).collect()
}

async fn send(process: &Process, producer: &mut impl LogProducer, batch: &[Input]) {
    for input in batch {
        process.record(EventKind::InputSent {
            id: input.id,
            topic: input.topic,
            key: input.key.clone(),
            value: input.value.clone(),
        });
    }
    let records = || {
        let record = |input: &Input| NewRecord {
            topic: input.topic,
            key: input.key.clone(),
            value: input.value.to_vec(),
            headers: Headers {
                correlation_id: input.correlation_id.clone(),
                producer: Some(process.name().into()),
            },
        };
        batch.iter().map(record).collect::<Vec<_>>()
    };
    while producer.send(records()).await.is_err() {
        process.sleep(Duration::from_millis(200)).await;
    }
    for input in batch {
        process.record(EventKind::InputAcknowledged { id: input.id });
    }
}
