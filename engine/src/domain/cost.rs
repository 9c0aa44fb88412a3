//! Placeholder of `cost`, to be filled.
