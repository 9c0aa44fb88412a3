//! A worker: a process that runs one item after the other, as it is told on stdin.
//!
//! Requests and answers are lines of JSON. The end of stdin ends the worker, in the middle of a run
//! too, so that none is left behind when the sweep is gone, whatever ended it.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use backdate_reports::store::write_whole;
use backdate_reports::summary::Summary;
use backdate_reports::sweep::RunResult;
use serde::{Deserialize, Serialize};

use crate::runner::{self, Canary, End, RunError, RunOptions};
use crate::scenario::{Plan, Source};

/// Name of the plan in the folder of a saved run.
pub const PLAN_FILE: &str = "plan.toml";
/// Name of the summary in the folder of a saved run.
pub const SUMMARY_FILE: &str = "summary.json";

/// What a worker is asked to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Scenario or plan.
    pub source: PathBuf,
    /// Root of all random streams.
    pub seed: u64,
    /// Folder of the sweep; within it a failing run is saved.
    pub save: Option<PathBuf>,
}

/// What it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The run came to this.
    Done(Box<RunResult>),
    /// A file has become unreadable since the sweep began.
    Usage(String),
    /// The run could not be saved.
    Environment(String),
}

/// What a worker is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Commit of the build.
    pub commit: &'static str,
    /// The defect that is planted.
    pub defect: Option<String>,
    /// An alarm that must ring.
    pub canary: Option<Canary>,
    /// Set by the worker when its stdin has ended.
    pub interrupted: &'static AtomicBool,
}

/// Serves requests until stdin ends.
pub fn serve(options: Options) -> std::io::Result<()> {
    let requests = requests(options.interrupted)?;
    let mut worker = Worker { options, loaded: None };
    for request in requests {
        let answer = worker.answer(&request);
        let mut line = serde_json::to_string(&answer).expect("an answer is plain data");
        line.push('\n');
        // Who does not listen any more has gone.
        if std::io::stdout().lock().write_all(line.as_bytes()).is_err() {
            break;
        }
    }
    Ok(())
}

/// Reads requests beside the runs, so that a run ends when nobody waits for it any more.
#[allow(clippy::disallowed_methods, reason = "stdin blocks, and must be seen to end during a run")]
fn requests(interrupted: &'static AtomicBool) -> std::io::Result<mpsc::Receiver<Request>> {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::Builder::new().name("requests".to_owned());
    thread.spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let Ok(request) = serde_json::from_str(&line) else { break };
            if sender.send(request).is_err() {
                break;
            }
        }
        interrupted.store(true, Ordering::Relaxed);
    })?;
    Ok(receiver)
}

struct Worker {
    options: Options,
    /// The file that was read last: market data are read once for many seeds.
    loaded: Option<(PathBuf, Source)>,
}

impl Worker {
    fn answer(&mut self, request: &Request) -> Answer {
        match self.perform(request) {
            Ok(result) => Answer::Done(Box::new(result)),
            Err(answer) => answer,
        }
    }

    fn perform(&mut self, request: &Request) -> Result<RunResult, Answer> {
        let Request { source: path, seed, save } = request;
        let source = self.source(path)?;
        let breaks = source.breaks().map(|rule| rule.to_string());
        let plan = source.plan(*seed);
        let name = path.display().to_string();
        let summary = self.run(&plan, None)?;
        let mut result = RunResult::of(&name, &summary, breaks.as_deref());
        if let Some(folder) = save.as_ref().filter(|_| !result.passed) {
            let within = place(path, *seed);
            let second = self.save(&plan, &folder.join(&within))?;
            result.saved = Some(within);
            if second.fingerprint != summary.fingerprint {
                result = result.not_repeatable(&second.fingerprint);
            }
        }
        Ok(result)
    }

    fn source(&mut self, path: &Path) -> Result<&Source, Answer> {
        if self.loaded.as_ref().is_none_or(|(loaded, _)| loaded != path) {
            let source = Source::load(path, &[]).map_err(|why| Answer::Usage(why.to_string()))?;
            self.loaded = Some((path.to_path_buf(), source));
        }
        let (_, source) = self.loaded.as_ref().expect("it has just been read");
        Ok(source)
    }

    /// Runs a plan once more, and saves it as `run --save` does, but for what differs each time.
    fn save(&self, plan: &Plan, folder: &Path) -> Result<Summary, Answer> {
        let failed =
            |error: std::io::Error| Answer::Environment(format!("{}: {error}", folder.display()));
        std::fs::create_dir_all(folder).map_err(failed)?;
        write_whole(&folder.join(PLAN_FILE), &plan.to_toml()).map_err(failed)?;
        let mut summary = self.run(plan, Some(folder))?;
        summary.plan = Some(PLAN_FILE.to_owned());
        write_whole(&folder.join(SUMMARY_FILE), &summary.to_json()).map_err(failed)?;
        Ok(summary)
    }

    fn run(&self, plan: &Plan, save: Option<&Path>) -> Result<Summary, Answer> {
        let options = RunOptions {
            plan,
            save,
            canary: self.options.canary,
            interrupted: self.options.interrupted,
            progress: &mut |_| {},
            events: None,
        };
        match runner::run(options) {
            // Half a run is no failure to be saved; nobody listens any more.
            Ok(outcome) if outcome.end == End::Interrupted => {
                Err(Answer::Environment("interrupted".into()))
            }
            Ok(outcome) => Ok(Summary {
                commit: self.options.commit.into(),
                defect: self.options.defect.clone(),
                ..outcome.summary
            }),
            Err(error @ RunError::Recording(..)) => Err(Answer::Environment(error.to_string())),
        }
    }
}

/// The folder of a saved run within that of the sweep: as its file, whatever it is called.
fn place(source: &Path, seed: u64) -> String {
    use std::path::Component;
    let mut within = String::from("failures");
    for component in source.with_extension("").components() {
        if let Component::Normal(name) = component {
            within.push('/');
            within.push_str(&name.to_string_lossy());
        }
    }
    format!("{within}/seed-{seed}")
}
