//! What a run writes and how it is shown.

pub mod recording;
