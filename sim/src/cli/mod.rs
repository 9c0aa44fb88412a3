//! Placeholder of `cli`, to be filled.
