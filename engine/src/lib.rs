//! A reprocessing engine.
//!
//! When a transaction or a price arrives late, dated in the past, the engine rebuilds the history
//! of every affected key under a new epoch, while consumers fence stale messages and readers keep a
//! consistent view. The engine knows nothing of any simulator: what differs between worlds sits
//! behind [`ports`].

pub mod adapters;
pub mod defects;
pub mod domain;
pub mod ports;
pub mod runtime;
pub mod services;
