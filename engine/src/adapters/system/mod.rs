//! Clock, random numbers, network and host of an instance that runs in a process of the machine.
//!
//! Where the simulator decides everything from a seed, here the machine does: this is the one place
//! of the engine that reads its clock and its randomness, and starts tasks of its runtime.

mod clock;
mod crash;
mod doors;
mod host;
mod ports;
mod random;

pub use clock::SystemClock;
pub use crash::CrashPoints;
pub use doors::{Doors, Tokens};
pub use host::{AccessLog, ProcessHost, Stop};
pub use ports::RealPorts;
pub use random::OsRandom;
