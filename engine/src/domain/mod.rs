//! The rules, pure and synchronous: no port, no clock, no I/O.

pub mod cashflow;
pub mod cost;
pub mod fx;
pub mod ids;
pub mod intake;
mod json;
pub mod messages;
pub mod money;
pub mod records;
pub mod series;
pub mod time;
pub mod valuation;
