//! Placeholder of `scenario`, to be filled.
