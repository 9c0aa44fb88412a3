//! The arguments of all commands.

mod many;

use std::path::PathBuf;

use backdate_engine::runtime::ProcessKind;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::scenario::problem::hint;
pub(super) use many::{
    HuntCommand, HuntWorkerCommand, MergeCommand, MetaCommand, ShrinkCommand, SuiteCommand,
    SweepOutputs, SweepWorkerCommand,
};

/// The part of the features that a build may have or not.
#[cfg(feature = "kafka-tls")]
macro_rules! tls {
    () => {
        " kafka-tls"
    };
}
#[cfg(not(feature = "kafka-tls"))]
macro_rules! tls {
    () => {
        ""
    };
}

#[cfg(feature = "defects")]
macro_rules! defects {
    () => {
        " defects"
    };
}
#[cfg(not(feature = "defects"))]
macro_rules! defects {
    () => {
        ""
    };
}

/// Version, commit, features and compiler.
const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit ",
    env!("BACKDATE_COMMIT"),
    "\nfeatures kafka postgres system telemetry",
    tls!(),
    defects!(),
    "\n",
    env!("BACKDATE_RUSTC"),
);

/// The commit that the binary was built from.
pub(super) const COMMIT: &str = env!("BACKDATE_COMMIT");

/// Deterministic simulation and load testing of a reprocessing engine.
///
/// Exit codes: 0 pass, 1 a rule broke, 2 usage or bad input file, 3 did not converge,
/// 4 nondeterminism, 5 a threshold missed, 6 environment, 130 Ctrl-C.
#[derive(Debug, Parser)]
#[command(name = "backdate", version = LONG_VERSION)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a scenario once.
    Run(RunCommand),
    /// Run the engine on a folder of CSV inputs and write its tables.
    Feed(FeedCommand),
    /// Run each seed in two processes and compare them line by line.
    Meta(MetaCommand),
    /// Run scenarios over seeds in parallel, and judge all runs together.
    Suite(SuiteCommand),
    /// Make one result of the results of all shards of a sweep.
    Merge(MergeCommand),
    /// Run what is told on stdin, for `suite`.
    #[command(hide = true)]
    SweepWorker(SweepWorkerCommand),
    /// Take out of a failing run what its failure does not need.
    Shrink(ShrinkCommand),
    /// Plant defects in the engine and see whether the rules find them.
    Hunt(HuntCommand),
    /// Search for one planted defect.
    #[command(hide = true)]
    HuntWorker(HuntWorkerCommand),
    /// Show scenarios, rules, faults, crash points, metrics and exit codes.
    List(ListCommand),
    /// Show everything that happened to one key in a saved run.
    Trace(TraceCommand),
    /// Make the schema and the topics that are missing in real services.
    Migrate(MigrateCommand),
    /// Run processes of the engine on real services.
    Serve(ServeCommand),
}

/// What every command that runs something takes.
#[derive(Clone, Debug, Args)]
pub(super) struct Common {
    /// Root of all random streams; drawn and printed if absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..1 << 63))]
    pub(super) seed: Option<u64>,
    /// Processes that run at the same time (a single run needs one).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) jobs: Option<u16>,
    /// Write the summary as JSON; `-` is stdout.
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// No progress.
    #[arg(long)]
    pub(super) quiet: bool,
}

/// What every command that can run an engine with a defect takes.
#[derive(Clone, Debug, Args)]
pub(super) struct DefectArgument {
    /// Plant a defect of `list`, to see whether a rule finds it; only in builds with the feature
    /// `defects`.
    #[arg(long, value_name = "NAME")]
    pub(super) defect: Option<String>,
}

/// Where real services are, for `--on real`.
#[derive(Clone, Debug, Args)]
pub(super) struct ServiceArguments {
    /// The broker; otherwise `BACKDATE_KAFKA`.
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) kafka: Option<String>,
    /// The database; otherwise `BACKDATE_POSTGRES`.
    #[arg(long, value_name = "URL")]
    pub(super) postgres: Option<String>,
    /// Keep topics and schema of the run.
    #[arg(long)]
    pub(super) keep: bool,
    /// Name of the run's topics and schema; drawn if absent.
    #[arg(long, value_name = "NAME")]
    pub(super) run_id: Option<String>,
}

/// Where to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum On {
    /// The simulator.
    Sim,
    /// Real services.
    Real,
}

#[derive(Debug, Args)]
pub(super) struct RunCommand {
    /// Scenario file.
    #[arg(required_unless_present = "plan", conflicts_with = "plan")]
    pub(super) scenario: Option<PathBuf>,
    /// Where to run.
    #[arg(long, value_enum, default_value = "sim")]
    pub(super) on: On,
    /// Run a saved plan instead of expanding a seed.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["set", "seed"])]
    pub(super) plan: Option<PathBuf>,
    /// Override one field of the scenario, e.g. `workload.live.rate_per_second=10`.
    #[arg(long, value_name = "PATH=VALUE")]
    pub(super) set: Vec<String>,
    /// Save plan, recording, metrics, latencies, tables and summary in this folder.
    #[arg(long, value_name = "DIR")]
    pub(super) save: Option<PathBuf>,
    /// At most so many simulated seconds a second; unlimited if absent. On real services: waits and
    /// times of the scenario are divided by it.
    #[arg(long, value_name = "X", value_parser = positive)]
    pub(super) time_scale: Option<f64>,
    #[command(flatten)]
    pub(super) services: ServiceArguments,
    #[command(flatten)]
    pub(super) defect: DefectArgument,
    #[command(flatten)]
    pub(super) common: Common,
    /// One line an event on stdout, for `meta`.
    #[arg(long, hide = true)]
    pub(super) event_lines: bool,
}

#[derive(Debug, Args)]
pub(super) struct FeedCommand {
    /// Folder of CSV files.
    pub(super) folder: PathBuf,
    /// Folder of results.
    #[arg(long, value_name = "OUT")]
    pub(super) out: PathBuf,
    /// Save recording, metrics and latencies in this folder.
    #[arg(long, value_name = "DIR")]
    pub(super) save: Option<PathBuf>,
    /// Where to run.
    #[arg(long, value_enum, default_value = "sim")]
    pub(super) on: On,
    /// Order in which records are sent.
    #[arg(long, value_enum, default_value = "steps")]
    pub(super) order: FeedOrder,
    /// Faults that are injected.
    #[arg(long, value_enum, default_value = "none")]
    pub(super) faults: FeedFaults,
    /// Override one field of the cluster, e.g. `cluster.knobs.replay_chunk=1`.
    #[arg(long, value_name = "PATH=VALUE")]
    pub(super) set: Vec<String>,
    /// A bad row ends the run.
    #[arg(long)]
    pub(super) strict: bool,
    #[command(flatten)]
    pub(super) services: ServiceArguments,
    #[command(flatten)]
    pub(super) defect: DefectArgument,
    #[command(flatten)]
    pub(super) common: Common,
}

/// Order of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum FeedOrder {
    /// Step by step.
    Steps,
    /// Permuted by the seed.
    Shuffled,
}

/// Faults of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum FeedFaults {
    /// None.
    None,
    /// Drawn by the seed.
    Swarm,
}

#[derive(Debug, Args)]
pub(super) struct ListCommand {
    /// The JSON schema of scenario files instead, for editors.
    #[arg(long, conflicts_with = "json")]
    pub(super) schema: bool,
    /// As JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct TraceCommand {
    /// Folder of a saved run.
    pub(super) run_dir: PathBuf,
    /// Portfolio and security, e.g. `P00001/SP500`.
    #[arg(long, value_name = "P/S")]
    pub(super) key: String,
}

/// Where the real services are.
#[derive(Debug, Args)]
pub(super) struct ServicesArguments {
    /// Configuration file (TOML); `serve --check` shows all keys.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Brokers, `HOST:PORT,...`; decides over BACKDATE_KAFKA and the file.
    #[arg(long, value_name = "ADDRESSES")]
    pub(super) kafka: Option<String>,
    /// Database, `postgres://USER@HOST:PORT/DATABASE`; decides over BACKDATE_POSTGRES and the file.
    /// The password is better given in BACKDATE_POSTGRES_PASSWORD: others see arguments.
    #[arg(long, value_name = "URL")]
    pub(super) postgres: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct MigrateCommand {
    #[command(flatten)]
    pub(super) services: ServicesArguments,
}

#[derive(Debug, Args)]
pub(super) struct ServeCommand {
    /// Processes to run, e.g. `position-calculator`; all if none is named.
    #[arg(value_name = "PROCESS", value_parser = process)]
    pub(super) processes: Vec<ProcessKind>,
    #[command(flatten)]
    pub(super) services: ServicesArguments,
    /// Instances of each process; decides over `[instances]` of the file.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) instances: Option<u16>,
    /// Where to serve metrics and health; decides over the file. Port 0 is a free one.
    #[arg(long, value_name = "IP:PORT")]
    pub(super) listen: Option<std::net::SocketAddr>,
    /// Where `query-api` listens; decides over BACKDATE_API_LISTEN and the file. Port 0 is a free
    /// one.
    #[arg(long, value_name = "IP:PORT")]
    pub(super) api_listen: Option<std::net::SocketAddr>,
    /// Print the effective configuration without secrets, and run nothing.
    #[arg(long)]
    pub(super) check: bool,
    /// Name of the only instance.
    #[arg(long, hide = true)]
    pub(super) name: Option<String>,
    /// Take crash points from stdin, and end with it.
    #[arg(long, hide = true)]
    pub(super) harness: bool,
}

fn process(text: &str) -> Result<ProcessKind, String> {
    ProcessKind::parse(text)
        .ok_or_else(|| hint(text, ProcessKind::ALL.iter().map(|kind| kind.as_str())))
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("must be a number above 0".into()),
    }
}
