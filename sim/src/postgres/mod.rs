//! Placeholder of `postgres`, to be filled.
