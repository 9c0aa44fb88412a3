//! What is done to a link: latency, holds and breaks, counted so that overlapping faults end each
//! for itself.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

/// One way of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the instance to the service.
    ToServer,
    /// From the service to the instance.
    ToClient,
}

/// The state of a link. Clones are the same link.
#[derive(Clone, Debug)]
pub struct Link {
    holds: Arc<[watch::Sender<u32>; 2]>,
    breaks: Arc<watch::Sender<u64>>,
    delays: Arc<Mutex<Vec<Duration>>>,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            holds: Arc::new([watch::Sender::new(0), watch::Sender::new(0)]),
            breaks: Arc::new(watch::Sender::new(0)),
            delays: Arc::default(),
        }
    }
}

impl Link {
    /// Holds what goes that way until [`Link::release`].
    pub fn hold(&self, direction: Direction) {
        self.holds(direction).send_modify(|holds| *holds += 1);
    }

    /// Ends one hold; bytes flow when the last one has ended.
    ///
    /// # Panics
    /// Nothing is held.
    pub fn release(&self, direction: Direction) {
        self.holds(direction).send_modify(|holds| {
            *holds = holds.checked_sub(1).expect("a release follows its hold");
        });
    }

    /// Ends all connections at once.
    pub fn reset(&self) {
        self.breaks.send_modify(|breaks| *breaks += 1);
    }

    /// Adds to the latency, both ways, until [`Link::hurry`] takes the same back.
    pub fn delay(&self, extra: Duration) {
        self.delays.lock().expect("nobody panics with it in hand").push(extra);
    }

    /// Takes one delay back.
    ///
    /// # Panics
    /// There is no such delay.
    pub fn hurry(&self, extra: Duration) {
        let mut delays = self.delays.lock().expect("nobody panics with it in hand");
        let index = delays.iter().position(|delay| *delay == extra);
        delays.swap_remove(index.expect("a delay ends after it began"));
    }

    /// The latency that is added now.
    pub(super) fn latency(&self, _direction: Direction) -> Duration {
        self.delays.lock().expect("nobody panics with it in hand").iter().sum()
    }

    /// Waits until nothing is held that way.
    pub(super) async fn open(&self, direction: Direction) {
        let mut holds = self.holds(direction).subscribe();
        // The sender lives as long as the link.
        let _ = holds.wait_for(|holds| *holds == 0).await;
    }

    /// Waits until connections are to end.
    pub(super) async fn broken(&self) {
        let mut breaks = self.breaks.subscribe();
        breaks.mark_unchanged();
        let _ = breaks.changed().await;
    }

    fn holds(&self, direction: Direction) -> &watch::Sender<u32> {
        match direction {
            Direction::ToServer => &self.holds[0],
            Direction::ToClient => &self.holds[1],
        }
    }
}
