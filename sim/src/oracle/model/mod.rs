//! The naive model: what the engine's tables must hold, computed from the inputs alone.
//!
//! It is single-threaded, keeps every input in ordered maps and computes a key by one plain fold
//! over its timeline, written from the sentences of the contract and not from the engine's code.
//! With the engine it shares the vocabulary only: identities, dates, decimals and data types. It
//! has its own reading of messages, its own order, look-up, lots and valuation, so that a mistake
//! must be made twice, independently, to go unseen.
//!
//! It refuses to know anything about epochs, jobs, messages of the engine or the order in which
//! keys are processed: those are the engine's business, and must not show in a result.
//!
//! # Invariants
//! - The same inputs give the same tables, in whatever order identities are interleaved.
//! - Nothing that is computed is kept: a question is always answered from the inputs.

mod flow;
mod fold;
mod inputs;
mod rates;
mod read;
mod series;
mod tables;
mod value;

#[cfg(test)]
mod tests;

pub use flow::flow;
pub use fold::{FoldedKey, FoldedRow};
pub use inputs::{Inputs, Taken};
pub use read::{Code, Input, read};
pub use series::position_row;
pub use tables::{DeadLetter, KeyTables, Model, Tables};
pub use value::Valued;
