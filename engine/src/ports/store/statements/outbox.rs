//! The outbox, drained one lane at a time.

use super::super::rows::OutboxRow;

statements! {
    /// `SELECT lane FROM outbox_lanes l WHERE EXISTS (SELECT FROM outbox_events e WHERE e.lane =
    /// l.lane) ORDER BY served LIMIT 1 FOR UPDATE SKIP LOCKED`, with `served` set to a fresh number
    /// of a sequence: the lane that has waited longest. A lane exists from its first event.
    TakeOutboxLane {} -> Option<u32>;

    /// `SELECT * FROM outbox_events WHERE lane = $lane ORDER BY id LIMIT $limit`
    ReadOutbox {
        /// The locked lane.
        lane: u32,
        /// At most so many.
        limit: u32,
    } -> Vec<OutboxRow>;

    /// `DELETE FROM outbox_events WHERE lane = $lane AND id = ANY($ids)`
    DeleteOutbox {
        /// The locked lane.
        lane: u32,
        /// What was published.
        ids: Vec<u64>,
    } -> ();
}
