//! Placeholder of `kafka`, to be filled.
