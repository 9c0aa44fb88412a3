//! Placeholder of `messages`, to be filled.
