//! Placeholder of `oracle`, to be filled.
