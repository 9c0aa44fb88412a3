//! Where librdkafka's blocking calls run: on other threads than the instances', and on the
//! machine's time.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// Runs a call that blocks for a bounded time; a panic in it goes on here.
#[allow(
    clippy::disallowed_methods,
    reason = "a call of the C library that blocks has no other way"
)]
pub(super) async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(call).await {
        Ok(answer) => answer,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // Only a runtime that shuts down drops a call that has not begun; it polls nobody again.
        Err(_) => std::future::pending().await,
    }
}

/// Drops something whose destructor blocks, on a thread of its own that outlives a runtime which
/// shuts down; the answer arrives when it is gone.
#[allow(clippy::disallowed_methods, reason = "destructors of the C library block; see above")]
pub(super) fn drop_apart<T: Send + 'static>(value: T) -> oneshot::Receiver<()> {
    let (gone, answer) = oneshot::channel();
    std::thread::spawn(move || {
        drop(value);
        // Whoever has asked may have stopped waiting.
        let _ = gone.send(());
    });
    answer
}

/// Waits at most that long; none if that was not enough.
#[allow(clippy::disallowed_methods, reason = "adapters live on the machine's clock")]
pub(super) async fn within<T>(limit: Duration, what: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, what).await.ok()
}

/// Waits.
#[allow(clippy::disallowed_methods, reason = "adapters live on the machine's clock")]
pub(super) async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// The time of the machine, which librdkafka's limits run on.
#[allow(clippy::disallowed_methods, reason = "adapters live on the machine's clock")]
pub(super) fn now() -> Instant {
    Instant::now()
}
