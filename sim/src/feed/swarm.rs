//! Faults of a feed, drawn by the seed. They redeliver inputs; they never append one again.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use smol_str::SmolStr;

use crate::cluster::POSTGRES;
use crate::runner::simulation::Simulation;
use crate::world::faults::{Fault, inject};
use crate::world::random::{below, stream};
use crate::world::{Main, Process};

/// Faults that are under way or still to come.
#[derive(Clone, Default)]
pub(super) struct Swarm(Rc<Cell<u32>>);

impl Swarm {
    /// Whether there are any.
    pub(super) fn is_active(&self) -> bool {
        self.0.get() > 0
    }
}

/// Draws faults and starts an operator that injects them one after the other.
pub(super) fn start(simulation: &Simulation, seed: u64) -> Swarm {
    let engine: Vec<SmolStr> =
        simulation.cluster().config().engine_processes().map(|(_, name)| name).collect();
    let mut servers = vec![SmolStr::new(POSTGRES)];
    servers.extend(simulation.cluster().kafka.brokers().map(|(name, _)| name));
    let mut rng = stream(seed, "feed/faults");
    let count = 4 + below(&mut rng, 12);
    let faults: Vec<(u64, Fault)> = (0..count)
        .map(|_| (200 + below(&mut rng, 4_000), draw(&mut rng, &engine, &servers)))
        .collect();
    let swarm = Swarm(Rc::new(Cell::new(faults.len() as u32)));
    let control = simulation.control().clone();
    let left = swarm.clone();
    let main: Main = Rc::new(move |process: Process| {
        let (faults, control, left) = (faults.clone(), control.clone(), left.clone());
        Box::pin(async move {
            for (pause_ms, fault) in faults {
                process.sleep(Duration::from_millis(pause_ms)).await;
                inject(fault, control.clone(), process.clone()).await;
                left.0.set(left.0.get() - 1);
            }
        })
    });
    simulation.control().add_process("operator", main);
    swarm
}

fn draw(rng: &mut ChaCha8Rng, engine: &[SmolStr], servers: &[SmolStr]) -> Fault {
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
