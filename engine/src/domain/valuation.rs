//! Placeholder of `valuation`, to be filled.
