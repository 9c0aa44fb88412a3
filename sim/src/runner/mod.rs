//! Placeholder of `runner`, to be filled.
