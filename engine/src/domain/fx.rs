//! Placeholder of `fx`, to be filled.
