//! Claims about cost.
