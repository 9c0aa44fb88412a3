//! Faults of a feed, drawn by the seed. They redeliver inputs; they never append one again.

use rand_chacha::ChaCha8Rng;
use smol_str::SmolStr;

use crate::world::faults::Fault;
use crate::world::random::{below, stream};

/// Draws faults, each with the pause in milliseconds before it.
pub(super) fn draw(engine: &[SmolStr], servers: &[SmolStr], seed: u64) -> Vec<(u64, Fault)> {
    let mut rng = stream(seed, "feed/faults");
    let count = 4 + below(&mut rng, 12);
    (0..count).map(|_| (200 + below(&mut rng, 4_000), one(&mut rng, engine, servers))).collect()
}

fn one(rng: &mut ChaCha8Rng, engine: &[SmolStr], servers: &[SmolStr]) -> Fault {
    let mut pick = |list: &[SmolStr]| list[below(rng, list.len() as u64) as usize].clone();
    let (process, server) = (pick(engine), pick(servers));
    let long = 500 + below(rng, 15_000);
    match below(rng, 8) {
        0 | 1 => Fault::Crash { process, down_ms: long },
        2 => Fault::Crash { process: server, down_ms: 200 + long / 5 },
        3 => Fault::Pause { process, for_ms: long },
        4 => Fault::Partition { a: vec![process], b: vec![server], for_ms: long },
        5 => Fault::PartitionOneWay { from: vec![server], to: vec![process], for_ms: long },
        6 => Fault::ConnectionReset { a: process, b: server },
        _ => Fault::LinkDelay { a: process, b: server, min_ms: 5, max_ms: 200, for_ms: long },
    }
}
