//! Claims about intake.
