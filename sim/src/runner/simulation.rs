//! A world with a cluster, its clients, its judge and its meters: what a run and a feed both drive.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use backdate_engine::domain::ids::PortfolioId;
use backdate_engine::domain::time::Timestamp;
use backdate_engine::ports::log::{Headers, Log, LogProducer, NewRecord, Topic};
use backdate_engine::ports::store::statements::Backlog;
use backdate_engine::services::query_api;
use backdate_reports::meters::Meters;
use backdate_reports::recording::{Event, EventKind, Phase, SimTime};

use backdate_reports::store::RecordingWriter;
use smol_str::SmolStr;

use crate::cluster::{Cluster, ClusterConfig};
use crate::oracle::{Judge, JudgeConfig, RunEnd as JudgeEnd, Verdict};
use crate::world::{
    Control, Main, Probe, Process, RunEnd, TaskChoice, Work, World, WorldConfig, probed,
};

/// The consumer groups of the engine with their topics.
pub const GROUPS: [(&str, &[Topic]); 4] = [
    (
        "persistence",
        &[
            Topic::RawPortfolios,
            Topic::Instruments,
            Topic::RawBusinessDates,
            Topic::FxRates,
            Topic::MarketPrices,
            Topic::RawTransactions,
        ],
    ),
    ("position-calculator", &[Topic::RawTransactionsCompleted]),
    ("price-watcher", &[Topic::MarketPricePersisted, Topic::FxRatePersisted]),
    ("position-valuation-calculator", &[Topic::ValuationRequired]),
];

/// Records that the client sends at once at the most.
const CLIENT_BATCH: usize = 500;

/// Is shown every event.
pub type EventObserver = Box<dyn FnMut(&Event)>;

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

/// What a simulation is made of.
pub struct SimulationConfig {
    /// Root of all random streams.
    pub seed: u64,
    /// How ready tasks are picked.
    pub task_choice: TaskChoice,
    /// Wall clock at the start.
    pub start: Timestamp,
    /// The cluster.
    pub cluster: ClusterConfig,
    /// The judge.
    pub judge: JudgeConfig,
}

/// What looks on.
struct Observers {
    judge: Judge,
    meters: Meters,
    recorder: Option<RecordingWriter>,
    recorder_error: Option<std::io::Error>,
    lines: Option<EventObserver>,
    probe: Option<Probe>,
}

impl Observers {
    fn observe(&mut self, event: &Event) {
        let probe = self.probe.as_ref();
        probed(probe, Work::Judge, || self.judge.observe(event));
        probed(probe, Work::Meters, || self.meters.observe(event));
        if let Some(recorder) = &mut self.recorder
            && let Err(error) = probed(probe, Work::Recorder, || recorder.write(event))
        {
            self.recorder_error = Some(error);
            self.recorder = None;
        }
        if let Some(lines) = &mut self.lines {
            lines(event);
        }
    }
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
}

/// What is left of a simulation.
pub struct Finished {
    /// What the rules say.
    pub verdict: Verdict,
    /// What was measured.
    pub meters: Meters,
    /// Hash over everything that happened.
    pub fingerprint: u128,
    /// Simulated time at the end.
    pub ended: SimTime,
    /// Share of the time that each process was occupied.
    pub utilisation: BTreeMap<String, f64>,
    /// The recording could not be written.
    pub recorder_error: Option<std::io::Error>,
}

impl Simulation {
    /// Starts a cluster in a new world.
    pub fn start(
        config: SimulationConfig,
        recorder: Option<RecordingWriter>,
        lines: Option<EventObserver>,
    ) -> Self {
        let observers = Rc::new(RefCell::new(Some(Observers {
            judge: Judge::new(config.judge),
            meters: Meters::new(),
            recorder,
            recorder_error: None,
            lines,
            probe: None,
        })));
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
        let world = World::new(world_config, Box::new(observe));
        let control = world.control();
        let cluster = Cluster::start(&control, config.cluster);
        let outbound = Rc::new(RefCell::new(Outbound::default()));
        control.add_process("client-1", client_main(cluster.clone(), outbound.clone()));
        Self { world, control, cluster, outbound, observers }
    }

    /// Tells a probe from now on what the machine is busy with.
    pub fn set_probe(&self, probe: Probe) {
        if let Some(observers) = self.observers.borrow_mut().as_mut() {
            observers.probe = Some(probe.clone());
        }
        self.world.set_probe(probe);
    }

    /// Runs for that long.
    pub fn advance(&mut self, duration: Duration) -> RunEnd {
        let until = self.world.now() + duration;
        self.world.run_until(until)
    }

    /// Simulated time.
    pub fn now(&self) -> SimTime {
        self.world.now()
    }

    /// Faults and processes.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Hands inputs to the client, in the order of their times.
    pub fn send(&self, inputs: impl IntoIterator<Item = Input>) {
        self.outbound.borrow_mut().queue.extend(inputs);
    }

    /// Inputs that are not acknowledged.
    pub fn inputs_left(&self) -> usize {
        let outbound = self.outbound.borrow();
        outbound.queue.len() + outbound.unacknowledged
    }

    /// Starts a reader that polls portfolios in turn.
    pub fn add_reader(&self, number: u32, portfolios: Rc<[PortfolioId]>, every: Duration) {
        let name = format!("reader-{number}");
        self.control.add_process(name, reader_main(self.cluster.clone(), portfolios, every));
    }

    /// Begins a phase.
    pub fn phase(&self, phase: Phase) {
        self.control.record("harness", EventKind::Phase(phase));
    }

    /// Records of a group's topics that are not committed.
    pub fn lag(&self) -> u64 {
        GROUPS.iter().map(|(group, topics)| self.cluster.kafka.disk().lag(group, topics)).sum()
    }

    /// Records of the raw topics that are not persisted.
    pub fn raw_lag(&self) -> u64 {
        let (group, topics) = GROUPS[0];
        self.cluster.kafka.disk().lag(group, topics)
    }

    /// Work that the database knows of.
    pub fn backlog(&self) -> Backlog {
        self.cluster.postgres.disk.backlog()
    }

    /// Whether nothing is left to do, apart from keys that wait for named missing data.
    pub fn is_settled(&self) -> bool {
        let backlog = self.backlog();
        self.inputs_left() == 0
            && backlog.outbox_events == 0
            && backlog.triggers == 0
            && backlog.reprocessing_jobs == 0
            && backlog.replays == 0
            && backlog.valuation_jobs == 0
            && backlog.keys_behind == 0
            && self.lag() == 0
    }

    /// Whether a rule is broken so far.
    pub fn is_violated(&self) -> bool {
        self.observers.borrow().as_ref().is_some_and(|observers| observers.judge.violated())
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

    /// Ends the simulation and lets the judge speak.
    pub fn finish(self, is_settled: bool) -> Finished {
        let fingerprint = self.world.fingerprint();
        let ended = self.world.now();
        let utilisation = self.utilisation();
        let observers = self.observers.borrow_mut().take();
        let observers = observers.expect("a simulation ends once");
        let mut recorder_error = observers.recorder_error;
        if let Some(recorder) = observers.recorder
            && let Err(error) = recorder.finish()
        {
            recorder_error = Some(error);
        }
        let end = JudgeEnd { settled: is_settled, last: ended };
        let verdict = observers.judge.finish(&end);
        Finished {
            verdict,
            meters: observers.meters,
            fingerprint,
            ended,
            utilisation,
            recorder_error,
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

/// A reader: polls the positions of one portfolio after the other.
fn reader_main(cluster: Cluster, portfolios: Rc<[PortfolioId]>, every: Duration) -> Main {
    Rc::new(move |process| {
        let (cluster, portfolios) = (cluster.clone(), portfolios.clone());
        Box::pin(async move {
            let store = cluster.store(process.clone());
            let offset = process.next_u64() as usize;
            for turn in 0_usize.. {
                process.sleep(every).await;
                let portfolio = &portfolios[(offset.wrapping_add(turn)) % portfolios.len()];
                // A failed read shows nothing, and nothing can be wrong with it.
                if let Ok(views) = query_api::positions(&store, portfolio, None).await {
                    process.record(EventKind::Read {
                        portfolio_id: portfolio.clone(),
                        positions: views.into_iter().map(|view| view.read).collect(),
                    });
                }
            }
        })
    })
}
