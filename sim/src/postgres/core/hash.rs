//! A small deterministic hasher for look-ups: no randomness of the operating system, and cheap for
//! the short texts and numbers that it is fed with.
//!
//! It refuses to resist an attacker, and nothing iterates over the maps that use it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map for look-ups.
pub type Lookup<K, V> = HashMap<K, V, BuildHasherDefault<WordHasher>>;

/// Multiplies in one word at a time.
#[derive(Default)]
pub struct WordHasher(u64);

/// 2^64 divided by the golden ratio, as in Fibonacci hashing (Knuth, TAOCP 3, 6.4).
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

impl WordHasher {
    fn word(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    }
}

impl Hasher for WordHasher {
    fn finish(&self) -> u64 {
        // The map takes the top bits for its tags and the low ones for the bucket.
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.word(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.word(u64::from_le_bytes(last) ^ (rest.len() as u64) << 56);
    }

    fn write_u8(&mut self, number: u8) {
        self.word(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.word(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.word(number);
    }
}
