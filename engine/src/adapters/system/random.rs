//! Random numbers for jitter, seeded by the operating system. Not for secrets.

use std::cell::Cell;
use std::hash::{BuildHasher, Hasher, RandomState};

use crate::ports::random::Random;

/// A stream of random numbers: splitmix64 from a seed that the operating system has chosen.
#[derive(Clone, Debug)]
pub struct OsRandom(Cell<u64>);

impl OsRandom {
    /// A stream of its own.
    #[allow(clippy::disallowed_methods, reason = "its keys are the operating system's randomness")]
    pub fn new() -> Self {
        Self(Cell::new(RandomState::new().build_hasher().finish()))
    }
}

impl Default for OsRandom {
    fn default() -> Self {
        Self::new()
    }
}

impl Random for OsRandom {
    fn next_u64(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[test]
fn each_instance_has_its_own_stream() {
    let (one, other) = (OsRandom::new(), OsRandom::new());
    let numbers: std::collections::BTreeSet<u64> =
        (0..100).flat_map(|_| [one.next_u64(), other.next_u64()]).collect();
    assert_eq!(numbers.len(), 200);
}
