//! Randomness for jitter and ids.

/// A stream of random numbers of one instance.
///
/// # Implementers must
/// - give each instance its own stream; in a simulation it derives from the run's seed.
pub trait Random {
    /// The next 64 random bits.
    fn next_u64(&self) -> u64;
}
