//! Placeholder of `cluster`, to be filled.
