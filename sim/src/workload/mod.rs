//! Traffic: what clients send, one file per shape, all of it fixed by the seed before the run.
//!
//! Each shape drafts messages; [`generate`] puts them in order and numbers them. Dates, prices and
//! rates are those of the real series in the scenario's data files.
//!
//! It refuses to look at anything but scenario, market data and seed.
//!
//! # Invariants
//! - Each item draws from a stream of its own, named by shape and number: without one shape (or
//!   with one item less) all others stay as they are, but for their ids.

mod amendments;
mod backdated_chain;
mod backfill;
mod initial_state;
mod late_dates;
mod late_prices;
mod late_rates;
mod late_reference;
mod live;
pub mod market;
mod messages;
mod poison;
mod price_correction;
mod retries;
mod strangers;
mod universe;

#[cfg(test)]
mod tests;

use backdate_engine::domain::ids::PortfolioId;
use backdate_engine::ports::log::Topic;
use backdate_reports::recording::Phase;
use rand_chacha::ChaCha8Rng;
use smol_str::{SmolStr, format_smolstr};

use crate::scenario::PlannedInput;
use crate::scenario::duration::{Millis, When};
use crate::scenario::format::workload::{Weights, Workload};
use crate::world::random::{below, stream};
use market::Market;
use universe::Universe;

/// The portfolio with that number, from 1.
pub fn portfolio_id(number: u32) -> PortfolioId {
    PortfolioId::new(format_smolstr!("P{number:05}"))
}

/// All inputs of a run, in the order in which they are sent.
pub fn generate(
    workload: &Workload,
    market: &Market,
    seed: u64,
    storm: Millis,
) -> Vec<PlannedInput> {
    let universe = Universe::new(workload, market, seed);
    let context = Context { workload, market, universe: &universe, seed, storm };
    let mut drafts = Drafts::default();
    initial_state::draft(&context, &mut drafts);
    live::draft(&context, &mut drafts);
    price_correction::draft(&context, &mut drafts);
    backdated_chain::draft(&context, &mut drafts);
    backfill::draft(&context, &mut drafts);
    amendments::draft(&context, &mut drafts);
    late_rates::draft(&context, &mut drafts);
    late_prices::draft(&context, &mut drafts);
    late_dates::draft(&context, &mut drafts);
    poison::draft(&context, &mut drafts);
    late_reference::draft(&context, &mut drafts);
    strangers::draft(&context, &mut drafts);
    retries::draft(&context, &mut drafts);
    drafts.finish()
}

/// What every shape sees.
struct Context<'a> {
    workload: &'a Workload,
    market: &'a Market,
    universe: &'a Universe,
    seed: u64,
    storm: Millis,
}

impl Context<'_> {
    /// The stream of an item of a shape.
    fn stream(&self, label: &str) -> ChaCha8Rng {
        stream(self.seed, &format!("workload/{label}"))
    }

    /// When something happens in the storm, in milliseconds; a drawn time leaves its last tenth.
    fn when_ms(&self, when: When, label: &str) -> u64 {
        match when {
            When::At(at) => at.0,
            When::Drawn => self.drawn_ms(&mut self.stream(&format!("{label}/at"))),
        }
    }

    fn drawn_ms(&self, rng: &mut ChaCha8Rng) -> u64 {
        below(rng, (self.storm.0 * 9 / 10).max(1))
    }
}

/// Drafts of inputs, not yet in order.
#[derive(Default)]
struct Drafts(Vec<PlannedInput>);

impl Drafts {
    fn warmup(&mut self, at_ms: u64, topic: Topic, key: SmolStr, value: String, label: SmolStr) {
        self.push(Phase::Warmup, at_ms, topic, key, value, label);
    }

    fn storm(&mut self, at_ms: u64, topic: Topic, key: SmolStr, value: String, label: SmolStr) {
        self.push(Phase::Storm, at_ms, topic, key, value, label);
    }

    /// What is drafted for the storm so far.
    fn of_storm(&self) -> Vec<PlannedInput> {
        self.0.iter().filter(|input| input.phase == Phase::Storm).cloned().collect()
    }

    fn push(
        &mut self,
        phase: Phase,
        at_ms: u64,
        topic: Topic,
        key: SmolStr,
        value: String,
        correlation_id: SmolStr,
    ) {
        self.0.push(PlannedInput {
            id: 0,
            at_ms,
            phase,
            topic,
            key,
            value: value.into(),
            correlation_id,
        });
    }

    /// In order, with numbers. The sort is stable: what is sent at one time keeps its order.
    fn finish(mut self) -> Vec<PlannedInput> {
        self.0.sort_by_key(|input| (input.phase == Phase::Storm, input.at_ms));
        for (id, input) in self.0.iter_mut().enumerate() {
            input.id = id as u64;
        }
        self.0
    }
}

/// Whether something with that share happens.
pub(crate) fn happens(rng: &mut ChaCha8Rng, share: f64) -> bool {
    const PARTS: f64 = 1_000_000.0;
    (below(rng, PARTS as u64) as f64) < share * PARTS
}

/// One of the names, by weight.
fn weighted<'a>(rng: &mut ChaCha8Rng, weights: &'a Weights) -> &'a str {
    let total: u64 = weights.values().map(|weight| u64::from(*weight)).sum();
    let mut left = below(rng, total);
    for (name, weight) in weights {
        match left.checked_sub(u64::from(*weight)) {
            Some(rest) => left = rest,
            None => return name,
        }
    }
    unreachable!("a number below the sum of the weights falls into one of them")
}
