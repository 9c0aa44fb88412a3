//! A schedule of a group: a function of its seed alone.

use std::fmt;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Members that are there at the same time, at most.
pub(super) const MEMBERS_MAX: usize = 3;

/// What happens. Which member has a partition is not the schedule's to know: an act upon a
/// partition is done by the member that has it.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// A producer sends so many records to each of these partitions, in turns.
    Produce {
        /// The producer.
        producer: usize,
        /// Partitions.
        to: Vec<u32>,
        /// Records for each.
        count: u32,
    },
    /// The member of a partition commits, so many records before its end.
    Commit {
        /// The partition.
        partition: u32,
        /// How many stay uncommitted.
        back: u64,
    },
    /// The member of a partition reads again, so many records before its end.
    Seek {
        /// The partition.
        partition: u32,
        /// How many are read again.
        back: u64,
    },
    /// A member joins.
    Join,
    /// The member of a partition leaves.
    Leave(u32),
    /// The member of a partition dies without leaving.
    Die(u32),
    /// The member of a partition stops polling until it is replaced, then commits the partition and
    /// polls again.
    Hang(u32),
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Produce { producer, to, count } => {
                write!(f, "producer {producer} sends {count} records to each of {to:?}")
            }
            Act::Commit { partition, back } => {
                write!(f, "partition {partition} is committed but for {back} records")
            }
            Act::Seek { partition, back } => write!(f, "partition {partition} goes {back} back"),
            Act::Join => f.write_str("a member joins"),
            Act::Leave(partition) => write!(f, "the member of partition {partition} leaves"),
            Act::Die(partition) => write!(f, "the member of partition {partition} dies"),
            Act::Hang(partition) => write!(f, "the member of partition {partition} hangs"),
        }
    }
}

/// A schedule.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    /// Partitions of the topic.
    pub(super) partitions: u32,
    /// Records of a poll.
    pub(super) poll_max: usize,
    /// What happens, in this order.
    pub(super) acts: Vec<Act>,
}

impl Schedule {
    /// The schedule of a seed.
    pub(super) fn generate(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let partitions = rng.random_range(2..=4);
        let poll_max = rng.random_range(1..=20);
        let mut members = 1;
        let mut acts = vec![produce(&mut rng, partitions), Act::Join];
        for _ in 0..rng.random_range(8..=14) {
            let partition = rng.random_range(0..partitions);
            let back = rng.random_range(0..4);
            let act = match rng.random_range(0..100) {
                0..30 => produce(&mut rng, partitions),
                30..55 => Act::Commit { partition, back },
                55..70 => Act::Seek { partition, back },
                70..82 if members < MEMBERS_MAX => Act::Join,
                82..88 if members > 1 => Act::Leave(partition),
                88..94 if members > 1 => Act::Die(partition),
                94..100 => Act::Hang(partition),
                _ => Act::Commit { partition, back: 0 },
            };
            match &act {
                Act::Join => members += 1,
                Act::Leave(_) | Act::Die(_) => members -= 1,
                _ => {}
            }
            acts.push(act);
        }
        Self { partitions, poll_max, acts }
    }
}

fn produce(rng: &mut ChaCha8Rng, partitions: u32) -> Act {
    let first = rng.random_range(0..partitions);
    let to = (0..partitions).filter(|p| *p == first || rng.random_bool(0.5)).collect();
    Act::Produce { producer: rng.random_range(0..2), to, count: rng.random_range(1..=6) }
}
