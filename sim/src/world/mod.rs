//! The simulated world: one thread, virtual time, processes, a network, randomness and faults.
//!
//! ```text
//! world.rs       the loop: run what is ready, sweep the sockets, jump to the next instant
//! executor.rs    tasks, and which ready one runs next
//! timers.rs      what will happen, ordered by (time, sequence)
//! network.rs     carries packets between sockets; death of connections
//! link.rs        one direction between two processes
//! packet.rs      what is to be known about a packet
//! connection.rs  listeners and connections that carry frames
//! bytes.rs       connections that carry bytes
//! process.rs     a process as its own code sees it
//! processes.rs   the register of processes: lives, pauses, clocks, crash points
//! control.rs     the handle that acts on all of it
//! faults.rs      what can be done to machines and network
//! sync.rs        waiting between tasks
//! random.rs      how streams derive from the root seed
//! trace.rs       events and fingerprint
//! course.rs      which task ran last, and what was drawn last
//! probe.rs       a hook that tells benchmarks whose work is done
//! measures.rs    a hook for what processes measure
//! ```
//!
//! # Invariants
//! - A run is a function of its seed and of the code that it runs.
//! - No wall clock, no thread, no randomness of the operating system.

mod bytes;
mod connection;
mod control;
mod course;
mod executor;
pub mod faults;
mod link;
mod measures;
mod network;
mod packet;
mod probe;
mod process;
mod processes;
pub mod random;
pub mod sync;
#[cfg(test)]
mod tests;
mod timers;
mod trace;
#[expect(clippy::module_inception, reason = "the loop is the world")]
mod world;

pub use bytes::ByteStream;
pub use connection::{Connection, FrameReader, FrameWriter, Listener};
pub use control::Control;
pub use course::Course;
pub use executor::TaskChoice;
pub use measures::{Measured, Measurer};
pub(crate) use probe::probed;
pub use probe::{Probe, Work};
pub use process::{Process, Sleep};
pub use processes::{CrashPointPlan, Main, PointName};
pub use trace::{Sink, WorldStats};
pub use world::{RunEnd, World, WorldConfig};
