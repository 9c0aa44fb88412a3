//! Placeholder of `feed`, to be filled.
