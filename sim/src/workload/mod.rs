//! Placeholder of `workload`, to be filled.
