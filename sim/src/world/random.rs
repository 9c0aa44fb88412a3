//! Random streams, all derived from one root seed.
//!
//! A stream is named by a label such as `network`, `scheduler` or `process/replayer-1/0/ids`. Its
//! ChaCha seed is a hash of (root seed, label) and of nothing else: not of the order in which
//! streams are made and not of how much was drawn from others. So a new stream, a fault that is
//! taken out of a plan or a process that draws once more never shifts what the others see, and a
//! shrunk plan stays comparable with the plan that it came from.
//!
//! ```text
//! root seed --+-- "scheduler"                     which ready task runs next
//!             +-- "network"                       latency of each packet
//!             +-- "process/<name>/<incarnation>"  Process::next_u64
//!             +-- "process/<name>/<incarnation>/<label>"   Process::rng(label)
//! ```
//!
//! It refuses to seed anything from the operating system.
//!
//! # Invariants
//! - Equal (root, label) give equal streams on every platform.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Distinguishes the second half of a stream's key from the first.
const SECOND_HALF: u64 = 0x9e37_79b9_7f4a_7c15;

/// The stream of that label under that root seed.
pub fn stream(root: u64, label: &str) -> ChaCha8Rng {
    let mut key = [0; 32];
    let (low, high) = key.split_at_mut(16);
    low.copy_from_slice(&xxh3_128_with_seed(label.as_bytes(), root).to_le_bytes());
    high.copy_from_slice(&xxh3_128_with_seed(label.as_bytes(), root ^ SECOND_HALF).to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// A number below `bound` (which is not 0). The bias of one multiplication (at most bound / 2^64)
/// is of no consequence for a simulation.
pub fn below(rng: &mut ChaCha8Rng, bound: u64) -> u64 {
    scaled(rng.next_u64(), bound)
}

/// The number below `bound` that a drawn word stands for.
pub(super) fn scaled(word: u64, bound: u64) -> u64 {
    let wide = u128::from(word) * u128::from(bound);
    u64::try_from(wide >> 64).expect("the high half of a product of two u64 is a u64")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_depend_on_root_and_label_alone() {
        let first = stream(1, "network").next_u64();
        let mut other = stream(1, "faults");
        other.next_u64();
        assert_eq!(stream(1, "network").next_u64(), first);
        assert_ne!(stream(2, "network").next_u64(), first);
        assert_ne!(stream(1, "faults").next_u64(), first);
    }

    #[test]
    fn below_stays_below_and_reaches_every_value() {
        let mut rng = stream(7, "test");
        let mut seen = [false; 5];
        for _ in 0..200 {
            seen[usize::try_from(below(&mut rng, 5)).expect("small")] = true;
        }
        assert_eq!(seen, [true; 5]);
    }
}
