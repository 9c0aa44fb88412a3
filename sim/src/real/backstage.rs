//! The other thread of a run on real services: the client, the readers, the instances, the links
//! and the operator, all as tasks; and what they tell the one that judges.
//!
//! # Invariants
//! - An input is told as acknowledged before it is counted as such.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use backdate_engine::adapters::kafka::Client;
use backdate_engine::adapters::kafka::config::KafkaConfig;
use backdate_engine::domain::ids::PortfolioId;
use backdate_engine::ports::host::Signal;
use backdate_engine::ports::log::{Headers, Log as _, LogProducer, NewRecord, Topic};
use backdate_engine::ports::store::StoreError;
use backdate_engine::ports::store::statements::PositionRead;
use backdate_reports::recording::{CrashCause, SimTime};
use smol_str::SmolStr;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::LocalSet;

use super::clock::{self, Clock};
use super::operator::Operator;
use super::reader::Reader;
use super::setup::{self, Setup};
use crate::scenario::plan::PlannedFault;
use crate::world::faults::Fault;

/// Records that the client sends at once at the most.
const CLIENT_BATCH: usize = 500;
/// How long the client and readers wait before they try again.
const RETRY: Duration = Duration::from_millis(200);

/// What was seen backstage.
#[derive(Debug)]
pub(super) enum Observation {
    Started,
    Crashed(CrashCause),
    Fault {
        fault: SmolStr,
        begins: bool,
        detail: SmolStr,
    },
    Sent(u64),
    Acknowledged(u64),
    Aborted {
        statement: SmolStr,
        error: StoreError,
    },
    Signal(Signal),
    /// With how much of the write-ahead log was on disk before.
    Read {
        portfolio_id: PortfolioId,
        positions: Vec<PositionRead>,
        flushed: u64,
    },
    ReadRefused {
        portfolio_id: PortfolioId,
        code: SmolStr,
    },
}

/// An observation, when it was made, and of which process.
pub(super) type Observed = (i64, SmolStr, Observation);

/// Takes observations; clones are the same.
#[derive(Clone)]
pub(super) struct Observe {
    sender: Sender<Observed>,
    counts: Arc<Counts>,
}

/// What both threads look at.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Inputs that are not acknowledged.
    pub(super) inputs_left: AtomicUsize,
    /// Faults that are under way or still to come.
    pub(super) faults_left: AtomicUsize,
    failure: Mutex<Option<String>>,
}

impl Counts {
    /// Why the run cannot go on.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says why the run cannot go on; the first reason stays.
    pub(super) fn fail(&self, why: String) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(why);
    }
}

impl Observe {
    /// Tells what was seen.
    pub(super) fn see(&self, process: impl AsRef<str>, observation: Observation) {
        // Whoever does not listen any more has ended the run.
        let _ = self.sender.send((clock::nanos(), SmolStr::new(process), observation));
    }

    /// Tells why the run cannot go on.
    pub(super) fn fail(&self, why: String) {
        self.counts.fail(why);
    }
}

/// An input that can travel to the other thread.
pub(super) struct Outgoing {
    pub(super) id: u64,
    pub(super) at: SimTime,
    pub(super) topic: Topic,
    pub(super) key: SmolStr,
    pub(super) value: Vec<u8>,
    pub(super) correlation_id: Option<SmolStr>,
}

/// What backstage is told to do.
pub(super) enum Order {
    Send(Vec<Outgoing>),
    Read { number: u32, portfolios: Vec<PortfolioId>, every: Duration },
    Inject(Vec<PlannedFault>),
    InjectInTurn(Vec<(u64, Fault)>),
    End,
}

/// The thread, as the stage holds it.
pub(super) struct Backstage {
    orders: UnboundedSender<Order>,
    seen: Receiver<Observed>,
    pub(super) counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

impl Backstage {
    /// Starts the thread and on it the instances.
    #[allow(clippy::disallowed_methods, reason = "waits of real services must not hold each other")]
    pub(super) fn start(setup: Setup, clock: Clock) -> std::io::Result<Self> {
        let (orders, received) = tokio::sync::mpsc::unbounded_channel();
        let (sender, seen) = std::sync::mpsc::channel();
        let counts = Arc::new(Counts::default());
        let observe = Observe { sender, counts: counts.clone() };
        let thread = std::thread::Builder::new().name("backstage".into());
        let thread = thread.spawn(move || run(setup, clock, received, observe))?;
        Ok(Self { orders, seen, counts, thread: Some(thread) })
    }

    /// Gives an order.
    pub(super) fn order(&self, order: Order) {
        // A thread that has ended has said why.
        let _ = self.orders.send(order);
    }

    /// What was seen until now.
    pub(super) fn seen(&self) -> impl Iterator<Item = Observed> + '_ {
        self.seen.try_iter()
    }

    /// Ends all instances and the thread.
    pub(super) fn end(&mut self) {
        self.order(Order::End);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            self.counts.fail("the thread of the instances has panicked".to_owned());
        }
    }
}

impl Drop for Backstage {
    fn drop(&mut self) {
        self.end();
    }
}

fn run(setup: Setup, clock: Clock, orders: UnboundedReceiver<Order>, observe: Observe) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => {
            LocalSet::new().block_on(&runtime, play(setup, clock, orders, observe));
            // What a task still waits for is of no interest any more.
            runtime.shutdown_background();
        }
        Err(error) => observe.fail(format!("no runtime: {error}")),
    }
}

async fn play(setup: Setup, clock: Clock, mut orders: UnboundedReceiver<Order>, observe: Observe) {
    let (kafka, postgres) = (setup.place.kafka.clone(), setup.place.postgres.clone());
    let (operator, apis) = match setup::raise(setup, &observe).await {
        Ok(raised) => raised,
        Err(why) => return observe.fail(why),
    };
    let (send, outgoing) = tokio::sync::mpsc::unbounded_channel();
    clock::spawn(client(kafka, clock, outgoing, observe.clone()));
    while let Some(order) = orders.recv().await {
        match order {
            Order::Send(inputs) => {
                // The client lives as long as this loop.
                let _ = send.send(inputs);
            }
            Order::Read { number, portfolios, every } => {
                let reader = Reader::new(number, apis.clone(), postgres.clone());
                clock::spawn(reader.poll(portfolios, every, observe.clone()));
            }
            Order::Inject(faults) => inject(&operator, &observe, faults, clock.now(), clock),
            Order::InjectInTurn(faults) => {
                let (operator, observe) = (operator.clone(), observe.clone());
                clock::spawn(async move {
                    for (pause_ms, fault) in faults {
                        clock::sleep(Duration::from_millis(pause_ms)).await;
                        operator.inject(fault).await;
                        observe.counts.faults_left.fetch_sub(1, Ordering::Relaxed);
                    }
                });
            }
            Order::End => break,
        }
    }
    operator.troupe.end_all().await;
}

fn inject(
    operator: &Operator,
    observe: &Observe,
    faults: Vec<PlannedFault>,
    start: SimTime,
    clock: Clock,
) {
    for planned in faults {
        let (operator, observe) = (operator.clone(), observe.clone());
        let at = start + Duration::from_millis(planned.at_ms);
        clock::spawn(async move {
            clock::sleep(clock.until(at)).await;
            operator.inject(planned.fault).await;
            observe.counts.faults_left.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// The client: sends each input at its time, and again until it is acknowledged.
async fn client(
    config: KafkaConfig,
    clock: Clock,
    mut orders: UnboundedReceiver<Vec<Outgoing>>,
    observe: Observe,
) {
    let log = Client::new(&config, "client-1");
    let mut producer = loop {
        match log.producer().await {
            Ok(producer) => break producer,
            Err(_) => clock::sleep(RETRY).await,
        }
    };
    let mut queue: VecDeque<Outgoing> = VecDeque::new();
    loop {
        let next = queue.front().map(|input| clock.until(input.at));
        let received = match next {
            None => orders.recv().await,
            Some(left) if left.is_zero() => orders.try_recv().ok(),
            Some(left) => clock::within(left, orders.recv()).await.flatten(),
        };
        match received {
            Some(inputs) => queue.extend(inputs),
            None if orders.is_closed() => return,
            None => {}
        }
        let now = clock.now();
        let due = queue.iter().take(CLIENT_BATCH).take_while(|input| input.at <= now).count();
        if due > 0 {
            let batch: Vec<Outgoing> = queue.drain(..due).collect();
            send(&mut producer, &batch, &observe).await;
        }
    }
}

async fn send(producer: &mut impl LogProducer, batch: &[Outgoing], observe: &Observe) {
    for input in batch {
        observe.see("client-1", Observation::Sent(input.id));
    }
    let record = |input: &Outgoing| NewRecord {
        topic: input.topic,
        key: input.key.clone(),
        value: input.value.clone(),
        headers: Headers {
            correlation_id: input.correlation_id.clone(),
            producer: Some("client-1".into()),
        },
    };
    while producer.send(batch.iter().map(record).collect()).await.is_err() {
        clock::sleep(RETRY).await;
    }
    for input in batch {
        observe.see("client-1", Observation::Acknowledged(input.id));
    }
    observe.counts.inputs_left.fetch_sub(batch.len(), Ordering::Release);
}
