//! Claims about messages.
