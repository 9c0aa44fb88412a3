//! The ports of an instance on real services, bundled.

use std::rc::Rc;

use super::{Doors, OsRandom, ProcessHost, SystemClock};
use crate::ports::Ports;
use crate::ports::log::Log;
use crate::ports::store::Store;

/// The ports of one instance: a store, a log, and the machine for all else.
pub struct RealPorts<S, L>(Rc<Inner<S, L>>);

struct Inner<S, L> {
    store: S,
    log: L,
    clock: SystemClock,
    random: OsRandom,
    host: ProcessHost,
    doors: Doors,
}

impl<S: Store + 'static, L: Log + 'static> RealPorts<S, L> {
    /// Bundles them; the stream of random numbers is the instance's own.
    pub fn new(store: S, log: L, host: ProcessHost, doors: Doors) -> Self {
        let (clock, random) = (SystemClock, OsRandom::new());
        Self(Rc::new(Inner { store, log, clock, random, host, doors }))
    }
}

impl<S, L> Clone for RealPorts<S, L> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Store + 'static, L: Log + 'static> Ports for RealPorts<S, L> {
    type Store = S;
    type Log = L;
    type Clock = SystemClock;
    type Random = OsRandom;
    type Host = ProcessHost;
    type Network = Doors;

    fn store(&self) -> &S {
        &self.0.store
    }

    fn log(&self) -> &L {
        &self.0.log
    }

    fn clock(&self) -> &SystemClock {
        &self.0.clock
    }

    fn random(&self) -> &OsRandom {
        &self.0.random
    }

    fn host(&self) -> &ProcessHost {
        &self.0.host
    }

    fn network(&self) -> &Doors {
        &self.0.doors
    }
}
