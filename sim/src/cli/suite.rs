//! `suite`: scenarios over seeds, in parallel; and the hidden command of its workers.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backdate_reports::meters::SOMETIMES;
use backdate_reports::summary::worst_exit_code;
use backdate_reports::sweep::{Context, Known, KnownFile, LostRun, RunResult, SweepSummary};
use backdate_reports::sweep::{annotations, junit, text};
use indicatif::ProgressBar;

use super::arguments::{COMMIT, SuiteCommand, SweepOutputs, SweepWorkerCommand};
use super::machine::{self, Stopwatch};
use super::{Failure, defects, progress, write_file, write_json};
use crate::runner::exit;
use crate::scenario::load;
use crate::sweep::manifest::Wanted;
use crate::sweep::pool::{Ended, Pool, Told};
use crate::sweep::worker::{self, Answer, Request};
use crate::sweep::{Folder, FolderError, Item, Manifest};

/// Evidence of a failure on the terminal, while a sweep goes on.
const EVIDENCE_CHARS: usize = 160;

pub(super) fn suite(command: &SuiteCommand) -> Result<u8, Failure> {
    machine::canary()?;
    defects::plant(&command.defect)?;
    let known = known(command.outputs.known.as_deref())?;
    let wanted = Wanted {
        paths: &command.paths,
        first_seed: command.seed.unwrap_or(1),
        seeds: if command.minutes.is_some() { None } else { Some(command.seeds) },
        shard: command.shard,
        commit: COMMIT,
        defect: command.defect.defect.as_deref(),
    };
    let manifest = Manifest::of(&wanted).map_err(Failure::usage)?;
    let mut sweep = Sweep::open(command, manifest, known)?;
    let ended = sweep.run(command)?;
    sweep.close(command, ended)
}

pub(super) fn worker(command: &SweepWorkerCommand) -> Result<u8, Failure> {
    defects::plant(&command.defect)?;
    let options = worker::Options {
        commit: COMMIT,
        defect: command.defect.defect.clone(),
        canary: machine::canary()?,
        interrupted: &machine::INTERRUPTED,
    };
    worker::serve(options).map_err(Failure::environment)?;
    Ok(exit::PASS)
}

/// A sweep that is under way.
struct Sweep {
    manifest: Manifest,
    known: Vec<Known>,
    /// None if nothing is to be kept but runs that fail.
    folder: Option<Folder>,
    /// Where runs that fail are saved.
    save: PathBuf,
    done: BTreeMap<Item, RunResult>,
    /// Runs that an earlier attempt at this sweep had done already.
    resumed: usize,
    lost: Vec<LostRun>,
    /// Why it cannot go on.
    trouble: Option<Failure>,
    bar: ProgressBar,
    watch: Stopwatch,
}

impl Sweep {
    fn open(
        command: &SuiteCommand,
        manifest: Manifest,
        known: Vec<Known>,
    ) -> Result<Self, Failure> {
        let (folder, results) = match &command.save {
            Some(path) => {
                let (folder, results) = Folder::open(path, &manifest)?;
                (Some(folder), results)
            }
            None => (None, Vec::new()),
        };
        let item = |result: &RunResult| manifest.item(&result.source, result.seed);
        let done: BTreeMap<Item, RunResult> =
            results.into_iter().filter_map(|result| Some((item(&result)?, result))).collect();
        let bar = match manifest.count() {
            Some(count) => progress::bar(command.quiet, count),
            None => progress::bar_without_end(command.quiet),
        };
        bar.set_position(done.len() as u64);
        bar.enable_steady_tick(Duration::from_millis(250));
        Ok(Self {
            known,
            folder,
            save: command.save.clone().unwrap_or_else(temporary),
            resumed: done.len(),
            done,
            lost: Vec::new(),
            trouble: None,
            bar,
            watch: Stopwatch::start(),
            manifest,
        })
    }

    /// Runs what is not done yet.
    fn run(&mut self, command: &SuiteCommand) -> Result<Ended, Failure> {
        let manifest = self.manifest.clone();
        let done: BTreeSet<Item> = self.done.keys().copied().collect();
        let save = self.save.clone();
        let mut items = manifest.items().filter(|item| !done.contains(item));
        let limit = command.minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0));
        let watch = self.watch;
        let mut next = || {
            if limit.is_some_and(|limit| watch.elapsed() >= limit) {
                return None;
            }
            let item = items.next()?;
            let source = manifest.path(item).into();
            Some(Request { source, seed: item.seed, save: Some(save.clone()) })
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let pool = Pool {
            binary: std::env::current_exe().map_err(Failure::environment)?,
            arguments: defects::arguments(&command.defect),
            jobs: command.jobs.map_or(cores, usize::from),
            next: &mut next,
            told: &mut |told| self.hear(command, told),
        };
        pool.run().map_err(|error| Failure::environment(format!("a worker: {error}")))
    }

    fn hear(&mut self, command: &SuiteCommand, told: Told) -> ControlFlow<()> {
        match told {
            Told::Done(result) => {
                if let Some(Err(error)) = self.folder.as_mut().map(|folder| folder.append(&result))
                {
                    return self.give_up(error.into());
                }
                let is_new = !result.passed && !result.is_known(&self.known);
                self.show(command, &result);
                if let Some(item) = self.manifest.item(&result.source, result.seed) {
                    self.done.insert(item, *result);
                }
                if is_new && command.fail_fast {
                    return ControlFlow::Break(());
                }
            }
            Told::Retried(Request { source, seed, .. }, said) => {
                let what = format!("{} seed {seed}: {said}; once more", source.display());
                self.bar.suspend(|| eprintln!("{what}"));
            }
            Told::Lost(Request { source, seed, .. }, said) => {
                let source = source.display().to_string();
                self.bar.suspend(|| eprintln!("{source} seed {seed}: no result: {said}"));
                self.lost.push(LostRun { source, seed, said });
            }
            Told::Stopped(answer) => {
                return self.give_up(match answer {
                    Answer::Usage(why) => Failure::usage(why),
                    Answer::Environment(why) => Failure::environment(why),
                    Answer::Done(_) => unreachable!("a result stops nothing"),
                });
            }
        }
        ControlFlow::Continue(())
    }

    fn give_up(&mut self, failure: Failure) -> ControlFlow<()> {
        self.trouble = Some(failure);
        ControlFlow::Break(())
    }

    /// Tells of a failure at once, and how far the sweep is.
    fn show(&self, command: &SuiteCommand, result: &RunResult) {
        if let Some(complaint) = result.complaints.first().filter(|_| !command.quiet) {
            let evidence = complaint.evidence.lines().next().unwrap_or_default();
            let evidence: String = evidence.chars().take(EVIDENCE_CHARS).collect();
            let RunResult { scenario, seed, .. } = result;
            let claim = &complaint.claim;
            self.bar.suspend(|| eprintln!("FAIL  {scenario} seed {seed}: {claim}: {evidence}"));
        }
        let runs = self.done.len() + 1;
        let passed = self.done.values().filter(|run| run.passed).count();
        let passed = passed + usize::from(result.passed);
        let minutes = self.watch.elapsed().as_secs_f64() / 60.0;
        let rate = (runs - self.resumed) as f64 / minutes.max(1e-6);
        self.bar.set_position(runs as u64);
        self.bar.set_message(format!(
            "{passed} passed, {} failed, {rate:.0} runs a minute",
            runs - passed
        ));
    }

    /// Writes and prints what has come of it.
    fn close(self, command: &SuiteCommand, ended: Ended) -> Result<u8, Failure> {
        self.bar.finish_and_clear();
        let results: Vec<RunResult> = self.done.into_values().collect();
        let context = Context {
            known: self.known,
            // A part of a sweep, or one that was stopped, need not have reached everything.
            must_reach: self.manifest.must_reach
                && self.manifest.shard.is_none()
                && ended == Ended::Complete,
            lost: self.lost,
            defect: self.manifest.defect,
            ..context()
        };
        let summary = SweepSummary::of(&results, &context);
        let has_folder = self.folder.is_some();
        let stopped = stopped(ended, self.trouble.as_ref(), results.len(), has_folder);
        if self.trouble.is_none()
            && ended != Ended::Signal
            && let Some(folder) = self.folder
        {
            folder.finish(&results, &summary)?;
        }
        if !has_folder && summary.exit_code == exit::PASS {
            // Only runs that failed as known are in it; nobody asked for them.
            let _ = std::fs::remove_dir_all(&self.save);
        }
        let saved = self.save.exists().then_some(self.save.as_path());
        if ended == Ended::Signal {
            eprintln!("{}", stopped.as_deref().unwrap_or_default());
        }
        publish(&summary, stopped.as_deref(), &command.outputs, saved)?;
        Ok(match (ended, self.trouble) {
            (_, Some(failure)) => {
                eprintln!("{failure}");
                worst_exit_code([summary.exit_code, failure.code])
            }
            (Ended::Signal, None) => exit::INTERRUPTED,
            (Ended::Complete | Ended::Enough, None) => summary.exit_code,
        })
    }
}

/// Why there are runs without a result, if a sweep was stopped.
fn stopped(
    ended: Ended,
    trouble: Option<&Failure>,
    there: usize,
    has_folder: bool,
) -> Option<String> {
    let why = match (ended, trouble) {
        (_, Some(failure)) => failure.message.as_str(),
        (Ended::Signal, None) => "by a signal",
        (Ended::Enough, None) => "at the first failure",
        (Ended::Complete, None) => return None,
    };
    Some(match has_folder {
        true => format!("{why}; {there} results are kept, the same command goes on"),
        false => format!("{why}; {there} results; with --save they would be kept"),
    })
}

/// A place for runs that fail, where no folder is named: one that is not there yet, so that what is
/// removed is this sweep's own.
fn temporary() -> PathBuf {
    let (folder, process) = (std::env::temp_dir(), std::process::id());
    let place = |number: u32| match number {
        1 => folder.join(format!("backdate-suite-{process}")),
        _ => folder.join(format!("backdate-suite-{process}-{number}")),
    };
    (1..).map(place).find(|place| !place.exists()).expect("some name is free")
}

/// What every summary of a sweep of this build needs.
pub(super) fn context() -> Context {
    let states = SOMETIMES.iter().map(|state| (*state).to_owned()).collect();
    Context { commit: COMMIT.to_owned(), states, ..Context::default() }
}

/// Reads a file of known failures.
pub(super) fn known(path: Option<&Path>) -> Result<Vec<Known>, Failure> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    let (file, _) = load::settings::<KnownFile>(path, &text).map_err(Failure::usage)?;
    Ok(file.known)
}

/// Writes the files that are asked for, and prints the rest.
pub(super) fn publish(
    summary: &SweepSummary,
    stopped: Option<&str>,
    outputs: &SweepOutputs,
    saved: Option<&Path>,
) -> Result<(), Failure> {
    if let Some(path) = &outputs.junit {
        write_file(path, &junit::junit(summary))?;
    }
    let is_on_stdout = write_json(outputs.json.as_deref(), summary)?;
    if !is_on_stdout {
        let saved = saved.map(|path| path.display().to_string());
        super::say(&text::text(summary, stopped, saved.as_deref()));
    }
    if outputs.annotations {
        let text = annotations::annotations(summary);
        if is_on_stdout { eprint!("{text}") } else { super::say(&text) }
    }
    Ok(())
}

impl From<FolderError> for Failure {
    fn from(error: FolderError) -> Self {
        match error {
            FolderError::Other(..) | FolderError::Damaged(..) => Self::usage(error),
            FolderError::Busy(_) | FolderError::Io(..) => Self::environment(error),
        }
    }
}
