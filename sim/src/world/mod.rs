//! The simulated world: one thread, virtual time, processes, a network, randomness and faults.
//!
//! ```text
//! world.rs       the loop: run what is ready, sweep the sockets, jump to the next instant
//! executor.rs    tasks, and which ready one runs next
//! timers.rs      what will happen, ordered by (time, sequence)
//! network.rs     links between processes; death of connections
//! connection.rs  listeners and connections that carry frames
//! process.rs     processes, crash points, clocks
//! control.rs     the handle that acts on all of it
//! sync.rs        waiting between tasks
//! random.rs      how streams derive from the root seed
//! trace.rs       events and fingerprint
//! ```
//!
//! # Invariants
//! - A run is a function of its seed and of the code that it runs.
//! - No wall clock, no thread, no randomness of the operating system.

mod connection;
mod control;
mod executor;
mod network;
mod process;
pub mod random;
pub mod sync;
#[cfg(test)]
mod tests;
mod timers;
mod trace;
#[expect(clippy::module_inception, reason = "the loop is the world")]
mod world;

pub use connection::{Connection, FrameReader, FrameWriter, Listener};
pub use control::Control;
pub use executor::TaskChoice;
pub use process::{CrashPointPlan, Main, PointName, Process, Sleep};
pub use trace::{Sink, WorldStats};
pub use world::{RunEnd, World, WorldConfig};
