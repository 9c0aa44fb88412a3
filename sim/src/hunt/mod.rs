//! `hunt`: how much does the harness find? One protection of the engine is taken out, and scenarios
//! run over seeds until a rule breaks.
//!
//! # Invariants
//! - Scenarios, their order and the rules are the same for all defects and know none of them.
//! - A defect counts as found only where the same plan passes without it.

pub mod order;
pub mod search;
pub mod table;

pub use order::Scenarios;
pub use search::{Finding, Search};
