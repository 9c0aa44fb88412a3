//! Placeholder of `world`, to be filled.
