//! The oracle: the naive model, and one rule per guarantee, judged from the recording.

pub mod model;
