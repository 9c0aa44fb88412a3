//! The arguments of commands that make many runs of something.

use std::path::PathBuf;

use clap::Args;

use super::{Common, DefectArgument, positive};
use crate::sweep::Shard;

#[derive(Debug, Args)]
pub(in crate::cli) struct MetaCommand {
    /// Scenarios, saved plans and folders of them.
    #[arg(value_name = "SCENARIO", required = true)]
    pub(in crate::cli) scenarios: Vec<PathBuf>,
    /// Seeds of each scenario, from `--seed` on. Without it from 1 on, or a drawn one if it is one
    /// run only. A plan has a seed of its own.
    #[arg(long, value_name = "N", default_value = "1",
          value_parser = clap::value_parser!(u64).range(1..1 << 48))]
    pub(in crate::cli) seeds: u64,
    /// Override one field of the scenarios.
    #[arg(long, value_name = "PATH=VALUE")]
    pub(in crate::cli) set: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) common: Common,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SuiteCommand {
    /// Scenarios, saved plans and folders of them; the scenarios that are shipped if none is named.
    #[arg(value_name = "DIR|FILE")]
    pub(in crate::cli) paths: Vec<PathBuf>,
    /// Seeds of each scenario, from `--seed` on (from 1 without it); a scenario may ask for fewer.
    #[arg(long, value_name = "N", default_value = "1", conflicts_with = "minutes",
          value_parser = clap::value_parser!(u64).range(1..1 << 48))]
    pub(in crate::cli) seeds: u64,
    /// Go on from seed to seed for so long.
    #[arg(long, value_name = "M", value_parser = positive)]
    pub(in crate::cli) minutes: Option<f64>,
    /// Run one part of the sweep, e.g. `3/16`; `merge` puts all parts together.
    #[arg(long, value_name = "I/N")]
    pub(in crate::cli) shard: Option<Shard>,
    /// Keep results in this folder; a sweep that was stopped goes on from there.
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) save: Option<PathBuf>,
    /// Stop at the first failure that is not known.
    #[arg(long)]
    pub(in crate::cli) fail_fast: bool,
    #[command(flatten)]
    pub(in crate::cli) outputs: SweepOutputs,
    #[command(flatten)]
    pub(in crate::cli) defect: DefectArgument,
    /// First seed.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..1 << 62))]
    pub(in crate::cli) seed: Option<u64>,
    /// Worker processes; one a core if absent.
    #[arg(long, value_name = "J", value_parser = clap::value_parser!(u16).range(1..))]
    pub(in crate::cli) jobs: Option<u16>,
    /// No progress.
    #[arg(long)]
    pub(in crate::cli) quiet: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SweepWorkerCommand {
    #[command(flatten)]
    pub(in crate::cli) defect: DefectArgument,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct MergeCommand {
    /// Folders of all shards.
    #[arg(value_name = "SHARD_DIR", required = true)]
    pub(in crate::cli) shards: Vec<PathBuf>,
    /// Folder of the whole.
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) save: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) outputs: SweepOutputs,
}

/// What a sweep writes besides its folder.
#[derive(Debug, Args)]
pub(in crate::cli) struct SweepOutputs {
    /// Write JUnit XML: one test case a scenario and rule, threshold or expectation.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) junit: Option<PathBuf>,
    /// Print annotations for a GitHub workflow.
    #[arg(long)]
    pub(in crate::cli) annotations: bool,
    /// Failures that are known (TOML) do not fail the sweep.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) known: Option<PathBuf>,
    /// Write the summary as JSON; `-` is stdout.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) json: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ShrinkCommand {
    /// Scenario file, or the plan of a saved run.
    pub(in crate::cli) scenario: PathBuf,
    /// Where the smaller plan is written.
    #[arg(short, long, value_name = "FILE")]
    pub(in crate::cli) output: PathBuf,
    /// The most runs.
    #[arg(long, value_name = "N", default_value = "1000",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(in crate::cli) max_runs: u64,
    /// Override one field of the scenario.
    #[arg(long, value_name = "PATH=VALUE")]
    pub(in crate::cli) set: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) defect: DefectArgument,
    #[command(flatten)]
    pub(in crate::cli) common: Common,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct HuntCommand {
    /// Defects of `list`.
    #[arg(value_name = "NAME", conflicts_with = "all")]
    pub(in crate::cli) names: Vec<String>,
    /// A defect of `list`; may be given several times.
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    pub(in crate::cli) defect: Vec<String>,
    /// All of them.
    #[arg(long)]
    pub(in crate::cli) all: bool,
    /// Give a defect up after so many runs.
    #[arg(long, value_name = "N", default_value = "2000",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(in crate::cli) max_runs: u64,
    /// Save the run that finds a defect, in a folder with its name.
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) save: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) common: Common,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct HuntWorkerCommand {
    /// The defect.
    pub(in crate::cli) defect: String,
    /// Most runs.
    #[arg(long)]
    pub(in crate::cli) max_runs: u64,
    /// The first seed.
    #[arg(long)]
    pub(in crate::cli) first_seed: u64,
    /// Where the run that finds it is saved.
    #[arg(long)]
    pub(in crate::cli) save: Option<PathBuf>,
}
