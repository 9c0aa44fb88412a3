//! In which order scenarios run: short ones under every seed, longer ones under every tenth.

use std::path::Path;

use crate::scenario::{Loaded, Problems, Source};

/// Folders whose scenarios take fractions of a second.
const SHORT: &[&str] = &["chaos"];
/// Folders whose scenarios take seconds.
const LONG: &[&str] = &["regression", "consistency", "smoke", "recovery"];
/// One seed in so many is also tried on long scenarios.
const LONG_EVERY: u64 = 10;
/// Scenarios of hours or minutes of simulated time, which are no longer than what they show needs.
const LEFT_OUT: &[&str] = &["every_crash_point.toml", "stuck_consumer.toml", "torture.toml"];

/// The scenarios that are shipped.
pub struct Scenarios {
    short: Vec<Loaded>,
    long: Vec<Loaded>,
}

impl Scenarios {
    /// Reads those in a folder.
    ///
    /// # Errors
    /// Of files that are no scenarios.
    pub fn read(folder: &Path) -> Result<Self, Problems> {
        Ok(Self { short: read_all(folder, SHORT)?, long: read_all(folder, LONG)? })
    }

    /// What runs, one after the other, without end: scenario and seed.
    pub fn runs(&self, first_seed: u64) -> impl Iterator<Item = (&Loaded, u64)> {
        (first_seed..).flat_map(move |seed| {
            let with_long = (seed - first_seed) % LONG_EVERY == LONG_EVERY - 1;
            let long = self.long.iter().filter(move |_| with_long);
            self.short.iter().chain(long).map(move |loaded| (loaded, seed))
        })
    }

    /// Whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.short.is_empty() && self.long.is_empty()
    }
}

fn read_all(folder: &Path, names: &[&str]) -> Result<Vec<Loaded>, Problems> {
    let mut found = Vec::new();
    for name in names {
        let Ok(entries) = std::fs::read_dir(folder.join(name)) else { continue };
        let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        for path in paths {
            let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !file.ends_with(".toml") || LEFT_OUT.contains(&file) {
                continue;
            }
            // A saved plan knows one seed only.
            if let Source::Scenario(loaded) = Source::load(&path, &[])? {
                found.push(*loaded);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_scenarios_run_under_every_seed_and_long_ones_under_every_tenth() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        let scenarios = Scenarios::read(&folder).expect("the scenarios that are shipped");
        let (short, long) = (scenarios.short.len(), scenarios.long.len());
        assert!(short > 0 && long > 0);
        let seeds: Vec<u64> =
            scenarios.runs(1).map(|(_, seed)| seed).take(short * 10 + long + 1).collect();
        let mut rounds = seeds[..short * 9].chunks(short).zip(1..);
        assert!(rounds.all(|(round, seed)| round == vec![seed; short]));
        assert_eq!(seeds[short * 9..short * 10 + long], vec![10; short + long]);
        assert_eq!(seeds.last(), Some(&11));
    }
}
