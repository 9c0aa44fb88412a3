//! The ports of an engine instance that runs in a simulated process.

use std::cell::OnceCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use backdate_engine::domain::time::Timestamp;
use backdate_engine::ports::Ports;
use backdate_engine::ports::clock::Clock;
use backdate_engine::ports::host::{Host, Measure, Side, Signal};
use backdate_engine::ports::network::{Connection, Network, Right, Verdict};
use backdate_engine::ports::random::Random;
use backdate_reports::recording::EventKind;
use hyper_util::rt::TokioIo;

use super::contain::contained;
use crate::kafka;
use crate::postgres::client;
use crate::world::{Listener, Measured, Process};

/// The ports of one instance.
#[derive(Clone)]
pub struct SimPorts(Rc<Inner>);

struct Inner {
    process: SimProcess,
    network: SimNetwork,
    store: client::Client,
    log: kafka::Client,
}

/// Port on which a simulated process is asked over HTTP.
pub const API_PORT: u16 = 8080;

/// The network of a simulated process: everybody in there may ask for everything.
pub struct SimNetwork {
    process: Process,
    listener: OnceCell<Listener>,
}

/// A simulated process as clock, random numbers and host.
pub struct SimProcess {
    process: Process,
    call: Duration,
}

impl SimPorts {
    /// Bundles a process with its clients; each port call costs the process that much of its CPU.
    pub fn new(
        process: Process,
        store: client::Client,
        log: kafka::Client,
        call: Duration,
    ) -> Self {
        let network = SimNetwork { process: process.clone(), listener: OnceCell::new() };
        Self(Rc::new(Inner { process: SimProcess { process, call }, network, store, log }))
    }
}

impl Ports for SimPorts {
    type Store = client::Client;
    type Log = kafka::Client;
    type Clock = SimProcess;
    type Random = SimProcess;
    type Host = SimProcess;
    type Network = SimNetwork;

    fn store(&self) -> &Self::Store {
        &self.0.store
    }

    fn log(&self) -> &Self::Log {
        &self.0.log
    }

    fn clock(&self) -> &Self::Clock {
        &self.0.process
    }

    fn random(&self) -> &Self::Random {
        &self.0.process
    }

    fn host(&self) -> &Self::Host {
        &self.0.process
    }

    fn network(&self) -> &Self::Network {
        &self.0.network
    }
}

impl Network for SimNetwork {
    async fn accept(&self) -> io::Result<Box<dyn Connection>> {
        let listener = match self.listener.get() {
            Some(listener) => listener,
            None => {
                let listener = self.process.listen(API_PORT).await?;
                self.listener.get_or_init(|| listener)
            }
        };
        Ok(Box::new(TokioIo::new(listener.accept_bytes().await?)))
    }

    fn goes_by(&self, _name: &str) -> bool {
        true
    }

    fn judge(&self, _token: Option<&str>, _right: Right) -> Verdict {
        Verdict::Allowed
    }
}

impl Clock for SimProcess {
    fn now(&self) -> Timestamp {
        self.process.wall()
    }

    async fn sleep(&self, duration: Duration) {
        self.process.sleep(duration).await;
    }
}

impl Random for SimProcess {
    fn next_u64(&self) -> u64 {
        self.process.next_u64()
    }
}

impl Host for SimProcess {
    fn instance(&self) -> &str {
        self.process.name()
    }

    async fn point(&self, process: &'static str, call: &'static str, side: Side) {
        self.process.point(process, call, side).await;
        if side == Side::After {
            self.process.occupy(self.call).await;
        }
    }

    fn emit(&self, signal: Signal) {
        self.process.record(EventKind::Signal(signal));
    }

    fn measure(&self, measure: Measure) {
        self.process.measured(Measured::Counted(measure));
    }

    fn is_stopping(&self) -> bool {
        // A simulated process runs until it is killed.
        false
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.process.spawn(contained(self.process.clone(), task));
    }
}
