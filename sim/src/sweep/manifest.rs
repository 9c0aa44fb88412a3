//! What belongs to a sweep: scenarios, seeds, and the part of them that a shard runs.
//!
//! # Invariants
//! - Items come in one order, seed by seed: a sweep that is stopped has seen every scenario.
//! - Each item belongs to exactly one shard, and one scenario's items to all shards in turn.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::scenario::problem::Problem;
use crate::scenario::{Problems, Source, source};

/// Version of the file format.
const VERSION: u32 = 2;
/// Name of the file in a folder of scenarios that says what is claimed of all of them.
const SUITE_FILE: &str = "suite.json";

/// A sweep, as `sweep.json` in the folder of its results has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format.
    version: u32,
    /// Commit of the build.
    pub commit: String,
    /// The defect that is planted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defect: Option<String>,
    /// First seed.
    pub first_seed: u64,
    /// Seeds of each scenario; none if it goes on until the time is up.
    pub seeds: Option<u64>,
    /// Part of the sweep; none if it is all of it.
    pub shard: Option<Shard>,
    /// Whether every interesting state must be reached, by all shards together.
    pub must_reach: bool,
    /// Scenarios and plans.
    pub sources: Vec<SourceEntry>,
}

/// A scenario or a plan of a sweep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceEntry {
    /// File, as it was named.
    pub path: String,
    /// Hash of the file.
    digest: String,
    /// Hash of the market data that it names; a plan needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data_digest: Option<String>,
    /// The most seeds that it is run under.
    seeds_max: Option<u64>,
    /// The only seed of a plan.
    own_seed: Option<u64>,
}

/// A part of a sweep: `3/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Which one, from 1.
    pub number: u64,
    /// Of how many.
    pub of: u64,
}

/// One run of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// Number of the scenario in the manifest.
    pub source: usize,
    /// Root of all random streams.
    pub seed: u64,
}

/// `suite.json` of a folder of scenarios: what is claimed of all of them together.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Suite {
    /// Whether a sweep of the folder must reach every interesting state.
    must_reach_all_states: bool,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// Files and folders; the scenarios that are shipped, if there are none.
    pub paths: &'a [PathBuf],
    /// First seed.
    pub first_seed: u64,
    /// Seeds of each scenario.
    pub seeds: Option<u64>,
    /// Part of the sweep.
    pub shard: Option<Shard>,
    /// Commit of the build.
    pub commit: &'a str,
    /// The defect that is planted.
    pub defect: Option<&'a str>,
}

impl Manifest {
    /// Reads all files; says everything that is wrong with any of them.
    pub fn of(wanted: &Wanted<'_>) -> Result<Self, Problems> {
        let default = [source::shipped()];
        let paths = if wanted.paths.is_empty() { &default[..] } else { wanted.paths };
        let suites = paths.iter().map(|path| Suite::of(path)).collect::<Result<Vec<_>, _>>()?;
        let (mut sources, mut problems): (Vec<SourceEntry>, _) = (Vec::new(), Vec::new());
        let mut digests = Digests::default();
        for path in expanded(paths)? {
            match SourceEntry::of(&path, &mut digests) {
                Ok(entry) if sources.iter().any(|other| other.path == entry.path) => {}
                Ok(entry) => sources.push(entry),
                Err(wrong) => problems.extend(wrong.0),
            }
        }
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        Ok(Self {
            version: VERSION,
            commit: wanted.commit.to_owned(),
            defect: wanted.defect.map(str::to_owned),
            first_seed: wanted.first_seed,
            seeds: wanted.seeds,
            shard: wanted.shard,
            must_reach: suites.iter().any(|suite| suite.must_reach_all_states),
            sources,
        })
    }

    /// The items of this shard, in order.
    pub fn items(&self) -> impl Iterator<Item = Item> {
        // Once every scenario has had all of its seeds there is nothing left, however long it may
        // go on.
        let caps: Option<Vec<u64>> = self.sources.iter().map(|source| source.seeds_max).collect();
        let longest = caps.map_or(u64::MAX, |caps| caps.into_iter().max().unwrap_or(0));
        let rounds = self.seeds.unwrap_or(u64::MAX).min(longest);
        (0..rounds).flat_map(move |round| {
            let numbered = self.sources.iter().enumerate();
            numbered.filter_map(move |(number, source)| {
                let is_due = source.seeds_max.is_none_or(|most| round < most);
                // One step further in each round, so that no shard has all runs of what is slow.
                let place = round.wrapping_add(number as u64);
                let is_mine = self.shard.is_none_or(|s| place % s.of == s.number - 1);
                let seed = source.own_seed.unwrap_or(self.first_seed.wrapping_add(round));
                (is_due && is_mine).then_some(Item { source: number, seed })
            })
        })
    }

    /// How many items there are; none if it goes on until the time is up.
    pub fn count(&self) -> Option<u64> {
        self.seeds.map(|_| self.items().count() as u64)
    }

    /// The file of an item.
    pub fn path(&self, item: Item) -> &str {
        &self.sources[item.source].path
    }

    /// The item with that file and seed.
    pub fn item(&self, path: &str, seed: u64) -> Option<Item> {
        let source = self.sources.iter().position(|source| source.path == path)?;
        Some(Item { source, seed })
    }

    /// The whole that this is a part of.
    #[must_use]
    pub fn unsharded(&self) -> Self {
        Self { shard: None, ..self.clone() }
    }

    /// What tells it from another sweep, if anything does.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let told = |what: &str, a: &dyn fmt::Display, b: &dyn fmt::Display| {
            Some(format!("{what}: {a} there, {b} now"))
        };
        let seeds = |manifest: &Self| match manifest.seeds {
            Some(seeds) => format!("{seeds} from {} on", manifest.first_seed),
            None => format!("from {} on until the time is up", manifest.first_seed),
        };
        let shard = |shard: Option<Shard>| shard.map_or("none".into(), |shard| shard.to_string());
        let defect = |manifest: &Self| manifest.defect.clone().unwrap_or_else(|| "none".into());
        if self.version != other.version {
            return told("version of the format", &self.version, &other.version);
        }
        if self.commit != other.commit {
            return told("commit", &self.commit, &other.commit);
        }
        if self.defect != other.defect {
            return told("planted defect", &defect(self), &defect(other));
        }
        if seeds(self) != seeds(other) {
            return told("seeds", &seeds(self), &seeds(other));
        }
        if self.shard != other.shard {
            return told("shard", &shard(self.shard), &shard(other.shard));
        }
        let differs = |(a, b): &(&SourceEntry, &SourceEntry)| a != b;
        if let Some((a, b)) = self.sources.iter().zip(&other.sources).find(differs) {
            if a.path == b.path {
                let what = if a.digest == b.digest { "the market data of " } else { "" };
                return Some(format!("{what}{} has changed", a.path));
            }
            return told("scenario", &a.path, &b.path);
        }
        if self.sources.len() != other.sources.len() {
            return told("scenarios", &self.sources.len(), &other.sources.len());
        }
        (self != other).then(|| "what must be reached has changed".into())
    }

    /// The text of `sweep.json`.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a manifest is plain data");
        text.push('\n');
        text
    }
}

impl Suite {
    /// What a folder claims; nothing if it has no such file.
    fn of(folder: &Path) -> Result<Self, Problem> {
        let path = folder.join(SUITE_FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .map_err(|error| problem(&path, format!("is no claim about a suite: {error}"))),
            Err(_) if !path.exists() => Ok(Self::default()),
            Err(error) => Err(problem(&path, format!("cannot be read: {error}"))),
        }
    }
}

/// Hashes of files; many scenarios name the same data.
#[derive(Default)]
struct Digests(BTreeMap<PathBuf, u128>);

impl Digests {
    fn of(&mut self, files: &[PathBuf]) -> Result<String, Problem> {
        let mut all = Xxh3::new();
        for path in files {
            let digest = match self.0.get(path) {
                Some(digest) => *digest,
                None => {
                    let bytes = std::fs::read(path)
                        .map_err(|error| problem(path, format!("cannot be read: {error}")))?;
                    *self.0.entry(path.clone()).or_insert(xxh3_128(&bytes))
                }
            };
            all.update(&digest.to_le_bytes());
        }
        Ok(format!("{:032x}", all.digest128()))
    }
}

impl SourceEntry {
    fn of(path: &Path, digests: &mut Digests) -> Result<Self, Problems> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| problem(path, format!("cannot be read: {error}")))?;
        let source = Source::parse(path, &text, &[])?;
        Ok(Self {
            path: path.display().to_string(),
            digest: format!("{:032x}", xxh3_128(text.as_bytes())),
            data_digest: source.data_files().map(|files| digests.of(files)).transpose()?,
            seeds_max: source.seeds_max(),
            own_seed: source.own_seed(),
        })
    }
}

/// Files in the order in which they are named, those of a folder by path.
pub fn expanded(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Problem> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let found = source::files(path)
            .map_err(|error| problem(path, format!("cannot be read: {error}")))?;
        if found.is_empty() {
            return Err(problem(path, "holds no scenario: name a folder of .toml files".into()));
        }
        files.extend(found);
    }
    Ok(files)
}

fn problem(path: &Path, message: String) -> Problem {
    Problem { place: path.display().to_string(), field: String::new(), message }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no shard: write it like 3/16, from 1/16 to 16/16");
        let (number, of) = text.split_once('/').ok_or_else(wrong)?;
        let shard = Self {
            number: number.parse().map_err(|_| wrong())?,
            of: of.parse().map_err(|_| wrong())?,
        };
        if (1..=shard.of).contains(&shard.number) { Ok(shard) } else { Err(wrong()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(caps: &[Option<u64>], seeds: Option<u64>, shard: Option<Shard>) -> Manifest {
        let entry = |(number, seeds_max): (usize, &Option<u64>)| SourceEntry {
            path: format!("{number}.toml"),
            digest: String::new(),
            data_digest: None,
            seeds_max: *seeds_max,
            own_seed: None,
        };
        Manifest {
            version: VERSION,
            commit: "c".into(),
            defect: None,
            first_seed: 1,
            seeds,
            shard,
            must_reach: false,
            sources: caps.iter().enumerate().map(entry).collect(),
        }
    }

    #[test]
    fn every_item_belongs_to_exactly_one_shard() {
        let caps = [None, Some(3), None, None];
        let all: Vec<Item> = manifest(&caps, Some(10), None).items().collect();
        assert_eq!(all.len(), 33);
        let mut parts = Vec::new();
        for number in 1..=4 {
            let part = manifest(&caps, Some(10), Some(Shard { number, of: 4 }));
            let items: Vec<Item> = part.items().collect();
            assert!((7..=9).contains(&items.len()), "shard {number}: {}", items.len());
            let has_all = (0..4).all(|source| items.iter().any(|item| item.source == source));
            assert!(has_all || number == 1, "shard {number} lacks a scenario");
            parts.extend(items);
        }
        parts.sort_unstable();
        let mut sorted = all.clone();
        sorted.sort_unstable();
        assert_eq!(parts, sorted);
    }

    #[test]
    fn a_sweep_without_an_end_ends_where_all_scenarios_are_capped() {
        assert_eq!(manifest(&[Some(2), Some(3)], None, None).items().count(), 5);
        assert_eq!(manifest(&[Some(2), None], None, None).items().take(100).count(), 100);
    }

    #[test]
    fn shards_are_written_like_three_of_sixteen() {
        assert_eq!("3/16".parse(), Ok(Shard { number: 3, of: 16 }));
        for wrong in ["0/4", "5/4", "4", "a/b", "1/0", ""] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
