//! What a command is given to run: a scenario file or a saved plan, told apart by what is in it.
//!
//! # Invariants
//! - A scenario runs under any seed, a plan under its own alone.

use std::io;
use std::path::{Path, PathBuf};

use super::load::{self, Loaded};
use super::plan::Plan;
use super::problem::{Problem, Problems};
use crate::oracle::RuleId;

/// Every plan has this key, no scenario has it.
const PLAN_KEY: &str = "plan_version";

/// A scenario or a plan.
#[derive(Clone, Debug)]
pub enum Source {
    /// A scenario.
    Scenario(Box<Loaded>),
    /// A saved plan.
    Plan(Box<Plan>),
}

impl Source {
    /// Reads a file; `overrides` are for scenarios alone.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, Problems> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| problem(path, format!("cannot be read: {error}")))?;
        Self::parse(path, &text, overrides)
    }

    /// Reads the text of a file.
    pub fn parse(path: &Path, text: &str, overrides: &[String]) -> Result<Self, Problems> {
        if !is_plan(text) {
            return load::parse(path, text, overrides).map(|loaded| Self::Scenario(loaded.into()));
        }
        if let Some(change) = overrides.first() {
            let why = format!("is a saved plan, which `--set {change}` cannot change: edit it");
            return Err(problem(path, why).into());
        }
        Ok(Self::Plan(Plan::from_toml(path, text)?.into()))
    }

    /// Name of the scenario.
    pub fn name(&self) -> &str {
        match self {
            Self::Scenario(loaded) => &loaded.scenario.name,
            Self::Plan(plan) => &plan.name,
        }
    }

    /// The rule that must break.
    pub fn breaks(&self) -> Option<RuleId> {
        match self {
            Self::Scenario(loaded) => loaded.scenario.breaks,
            Self::Plan(plan) => plan.breaks,
        }
    }

    /// The only seed of a plan.
    pub fn own_seed(&self) -> Option<u64> {
        match self {
            Self::Scenario(_) => None,
            Self::Plan(plan) => Some(plan.seed),
        }
    }

    /// The market data that it reads; a plan has all of it in itself.
    pub fn data_files(&self) -> Option<&[PathBuf]> {
        match self {
            Self::Scenario(loaded) => Some(&loaded.market.files),
            Self::Plan(_) => None,
        }
    }

    /// The most seeds that a sweep runs it under.
    pub fn seeds_max(&self) -> Option<u64> {
        match self {
            Self::Scenario(loaded) => loaded.scenario.seeds_max,
            Self::Plan(_) => Some(1),
        }
    }

    /// What is run under a seed; of a plan, the seed must be its own.
    pub fn plan(&self, seed: u64) -> Plan {
        match self {
            Self::Scenario(loaded) => Plan::expand(loaded, seed),
            Self::Plan(plan) => {
                assert_eq!(plan.seed, seed, "a plan runs under its own seed");
                Plan::clone(plan)
            }
        }
    }
}

/// Whether a text is that of a plan.
pub fn is_plan(text: &str) -> bool {
    text.lines().any(|line| {
        let rest = line.trim_start().strip_prefix(PLAN_KEY);
        rest.is_some_and(|rest| rest.trim_start().starts_with('='))
    })
}

/// All scenario and plan files in a folder and below, by path.
pub fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    collect(folder, &mut found)?;
    found.sort();
    Ok(found)
}

/// The folder of the scenarios that are shipped: the one here, or the one of the sources.
pub fn shipped() -> PathBuf {
    let here = PathBuf::from("scenarios");
    if here.is_dir() { here } else { Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios") }
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            found.push(path);
        }
    }
    Ok(())
}

fn problem(path: &Path, message: String) -> Problem {
    Problem { place: path.display().to_string(), field: String::new(), message }
}
