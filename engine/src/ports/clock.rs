//! The clock of the machine that an instance runs on.

use std::time::Duration;

use crate::domain::time::Timestamp;

/// Tells and waits for time.
///
/// # Implementers must
/// - keep `sleep` monotonic: a jump of the wall clock neither shortens nor lengthens it;
/// - expect `now` to be wrong (skew, drift, jumps): the engine uses it for reports and ages only,
///   never to order anything; leases and back-off are compared by the store's own clock.
#[allow(async_fn_in_trait, reason = "instances are single-threaded; no future is sent")]
pub trait Clock {
    /// The wall clock.
    fn now(&self) -> Timestamp;

    /// Waits at least that long.
    async fn sleep(&self, duration: Duration);
}
