//! Placeholder of `intake`, to be filled.
