//! What an implementer must guarantee: log, store, clock, random, network, and the host of it all.

pub mod clock;
pub mod host;
pub mod log;
pub mod network;
pub mod random;
pub mod store;

use clock::Clock;
use host::Host;
use log::Log;
use network::Network;
use random::Random;
use store::Store;

/// All ports of one instance.
pub trait Ports: Clone + 'static {
    /// The store.
    type Store: Store;
    /// The log.
    type Log: Log;
    /// The clock.
    type Clock: Clock;
    /// Randomness.
    type Random: Random;
    /// The host.
    type Host: Host;
    /// The network.
    type Network: Network;

    /// The store.
    fn store(&self) -> &Self::Store;
    /// The log.
    fn log(&self) -> &Self::Log;
    /// The clock.
    fn clock(&self) -> &Self::Clock;
    /// Randomness.
    fn random(&self) -> &Self::Random;
    /// The host.
    fn host(&self) -> &Self::Host;
    /// The network.
    fn network(&self) -> &Self::Network;
}
