//! Pauses after errors: doubled up to a limit, with jitter, reset by a success.

use super::instance::Instance;
use crate::ports::Ports;

/// The state of a row of failures.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Forgets the failures.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Waits after one more failure.
    pub(super) async fn wait<P: Ports>(&mut self, instance: &Instance<P>) {
        let pause_ms = self.fail(instance);
        instance.pause(pause_ms).await;
    }

    /// Counts one more failure; how long to wait after it.
    pub(super) fn fail<P: Ports>(&mut self, instance: &Instance<P>) -> u64 {
        let doubled = instance.knobs.retry_min_ms << self.failures.min(16);
        self.failures += 1;
        doubled.min(instance.knobs.retry_max_ms)
    }
}
