//! The machine's time, as a run on real services sees it.
//!
//! The wall clock, because servers stamp what they do with it and everything is put into one order.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use backdate_reports::recording::SimTime;

/// The time of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// Nanoseconds since 1970 at which it began.
    pub(super) start: i64,
}

impl Clock {
    /// A run begins now.
    pub(super) fn start() -> Self {
        Self { start: nanos() }
    }

    /// Time since it began.
    pub(super) fn now(self) -> SimTime {
        SimTime(u64::try_from(nanos() - self.start).unwrap_or(0))
    }

    /// How long it is until then.
    pub(super) fn until(self, at: SimTime) -> Duration {
        at.since(self.now())
    }
}

/// Nanoseconds since 1970.
#[allow(clippy::disallowed_methods, reason = "real services run on the machine's time")]
pub(super) fn nanos() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Waits in a task.
#[allow(clippy::disallowed_methods, reason = "real services run on the machine's time")]
pub(super) async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Waits for an answer, but not for ever.
#[allow(clippy::disallowed_methods, reason = "real services run on the machine's time")]
pub(super) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, future).await.ok()
}

/// Runs a task beside the others of its thread.
#[allow(clippy::disallowed_methods, reason = "no seed picks the next task on a real machine")]
pub(super) fn spawn(task: impl Future<Output = ()> + 'static) {
    tokio::task::spawn_local(task);
}
