//! `meta`: is a run repeatable? Each seed runs in two processes that are compared line by line.
//!
//! Two processes, because within one process a dependence on addresses, hash seeds or the order of
//! set-up could hide. A line is an event, with the task that ran and the number that was drawn last
//! until then, and hashes over all of them: where two runs part, the first line that differs says
//! who did it. What comes once in many runs is so caught when it comes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::Ordering;

use backdate_reports::recording::{Event, EventKind};
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::arguments::MetaCommand;
use super::machine::Stopwatch;
use super::{Failure, machine, progress, write_json};
use crate::runner::exit;
use crate::scenario::Source;
use crate::sweep::manifest::expanded;
use crate::world::Course;

/// With more runs than this, those that are the same are told by scenario.
const LISTED_RUNS: usize = 100;
/// Lines are read so many bytes at a time.
const READ_BYTES: usize = 256 * 1024;

/// What became of a seed.
#[derive(Serialize)]
struct SeedReport {
    scenario: String,
    seed: u64,
    lines: u64,
    fingerprint: String,
    exit_code: i32,
    /// The first line in which the two processes differ.
    difference: Option<Difference>,
}

#[derive(Serialize)]
struct Difference {
    line: u64,
    first: Side,
    second: Side,
}

/// Where one of two processes was when they parted.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Side {
    /// The first event that differs, or that comes from another course.
    event: String,
    /// The task that ran then, or last.
    task: String,
    /// What was drawn last before.
    draw: String,
}

/// One run that is to be repeated.
#[derive(Clone, Copy)]
struct Item<'a> {
    path: &'a Path,
    seed: u64,
}

pub(super) fn meta(command: &MetaCommand) -> Result<u8, Failure> {
    machine::canary()?;
    let files = expanded(&command.scenarios).map_err(Failure::usage)?;
    let items = items(command, &files)?;
    machine::catch_interrupt();
    let watch = Stopwatch::start();
    let comparison = Comparison {
        command,
        items: RefCell::new(items.iter().copied().enumerate()),
        reports: RefCell::default(),
        bar: progress::bar(command.common.quiet, items.len() as u64),
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let lanes = command.common.jobs.map_or(cores, usize::from).div_ceil(2);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let lanes = (0..lanes).map(|_| comparison.lane());
    let ended = runtime
        .map_err(Failure::environment)?
        .block_on(async { futures_util::future::try_join_all(lanes).await });
    comparison.bar.finish_and_clear();
    let reports: Vec<SeedReport> = comparison.reports.into_inner().into_values().collect();
    // What was compared before something went wrong, or before Ctrl-C, is as good as ever.
    publish(command, &reports)?;
    ended?;
    let differs = reports.iter().any(|report| report.difference.is_some());
    let is_interrupted = machine::INTERRUPTED.load(Ordering::Relaxed);
    if is_interrupted {
        eprintln!("interrupted: {} of {} runs were compared", reports.len(), items.len());
    }
    if !command.common.quiet && !is_interrupted {
        let (runs, seconds) = (reports.len(), watch.elapsed().as_secs_f64());
        let rate = runs as f64 * 60.0 / seconds.max(1e-6);
        eprintln!("{runs} runs twice in {seconds:.0} s: {rate:.0} a minute");
    }
    Ok(match (differs, is_interrupted) {
        (true, _) => exit::NONDETERMINISM,
        (false, true) => exit::INTERRUPTED,
        (false, false) => exit::PASS,
    })
}

/// All runs, by scenario and seed. A bad file is told once, here, not by every child.
fn items<'a>(command: &MetaCommand, files: &'a [PathBuf]) -> Result<Vec<Item<'a>>, Failure> {
    let mut items = Vec::new();
    for path in files {
        let source = Source::load(path, &command.set).map_err(Failure::usage)?;
        let is_named = command.scenarios.contains(path);
        match (source.own_seed(), command.seeds, files.len()) {
            (Some(_), 2.., _) if is_named => {
                return Err(Failure::usage("a plan has one seed: leave --seeds out"));
            }
            (Some(seed), 2.., _) | (Some(seed), _, 2..) => items.push(Item { path, seed }),
            (_, 1, 1) => {
                let seed = super::run::seed(path, &source, command.common.seed)?;
                items.push(Item { path, seed });
            }
            (_, seeds, _) => {
                let first = command.common.seed.unwrap_or(1);
                items.extend((first..first + seeds).map(|seed| Item { path, seed }));
            }
        }
    }
    Ok(items)
}

/// A comparison that is under way: its lanes share what is left and what has come out.
struct Comparison<'a, I> {
    command: &'a MetaCommand,
    items: RefCell<I>,
    reports: RefCell<BTreeMap<usize, SeedReport>>,
    bar: ProgressBar,
}

impl<'a, I: Iterator<Item = (usize, Item<'a>)>> Comparison<'a, I> {
    /// Runs one pair of processes after the other.
    async fn lane(&self) -> Result<(), Failure> {
        while !machine::INTERRUPTED.load(Ordering::Relaxed) {
            let Some((number, item)) = self.items.borrow_mut().next() else { break };
            let report = compare(self.command, item).await?;
            // What Ctrl-C ends, ends somewhere.
            if machine::INTERRUPTED.load(Ordering::Relaxed) {
                break;
            }
            self.bar.inc(1);
            self.bar.set_message(format!(
                "{} seed {}: {} lines",
                report.scenario, report.seed, report.lines
            ));
            self.reports.borrow_mut().insert(number, report);
        }
        Ok(())
    }
}

fn start(command: &MetaCommand, item: Item<'_>) -> Result<Child, Failure> {
    let binary = std::env::current_exe().map_err(Failure::environment)?;
    let mut child = Command::new(binary);
    child.arg("run").arg(item.path).args(["--event-lines", "--quiet"]);
    child.args(["--seed", &item.seed.to_string()]);
    for change in &command.set {
        child.args(["--set", change]);
    }
    let child = child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    child.kill_on_drop(true).spawn().map_err(Failure::environment)
}

/// Reads both processes side by side, so that neither has to be kept in memory.
async fn compare(command: &MetaCommand, item: Item<'_>) -> Result<SeedReport, Failure> {
    let (mut a, mut b) = (start(command, item)?, start(command, item)?);
    let (mut first, mut second) = (Lines::of(&mut a)?, Lines::of(&mut b)?);
    let mut report = SeedReport {
        scenario: item.path.display().to_string(),
        seed: item.seed,
        lines: 0,
        fingerprint: String::new(),
        exit_code: 0,
        difference: None,
    };
    loop {
        tokio::try_join!(first.advance(), second.advance())?;
        if first.line == second.line && first.line.is_empty() {
            break;
        }
        report.lines += 1;
        if first.line != second.line {
            let (first, second) = (first.side(), second.side());
            report.difference = Some(Difference { line: report.lines, first, second });
            break;
        }
    }
    // One that was killed says nothing about determinism.
    for (child, lines) in [(&mut a, &first), (&mut b, &second)] {
        if lines.line.is_empty() && !machine::INTERRUPTED.load(Ordering::Relaxed) {
            let ended = child.wait().await.map_err(Failure::environment)?;
            if ended.code().is_none() {
                return Err(Failure::environment(format!(
                    "{} seed {}: a run was killed ({ended}): see that there is memory enough, and \
                     compare again",
                    report.scenario, report.seed
                )));
            }
        }
    }
    report.fingerprint = first.fingerprint();
    // Closed pipes end the children soon; they are not interesting any more.
    drop((first, second));
    if report.difference.is_some() {
        let _ = (a.start_kill(), b.start_kill());
    }
    let ended = a.wait().await.map_err(Failure::environment)?;
    b.wait().await.map_err(Failure::environment)?;
    report.exit_code = ended.code().unwrap_or(-1);
    if report.difference.is_none() && report.fingerprint.is_empty() {
        return Err(Failure::environment(format!(
            "{0} seed {1}: the runs ended without a fingerprint (exit code {2}); what they say is \
             seen with: backdate run {0} --seed {1}",
            report.scenario, report.seed, report.exit_code
        )));
    }
    Ok(report)
}

/// What a process writes.
struct Lines<R> {
    reader: R,
    /// Without its end; empty at the end of all.
    line: Vec<u8>,
    before: Vec<u8>,
}

impl Lines<BufReader<ChildStdout>> {
    fn of(child: &mut Child) -> Result<Self, Failure> {
        let stdout = child.stdout.take();
        let stdout = stdout.ok_or_else(|| Failure::environment("a child has no stdout"))?;
        let reader = BufReader::with_capacity(READ_BYTES, stdout);
        Ok(Self { reader, line: Vec::new(), before: Vec::new() })
    }
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    async fn advance(&mut self) -> Result<(), Failure> {
        std::mem::swap(&mut self.line, &mut self.before);
        self.line.clear();
        self.reader.read_until(b'\n', &mut self.line).await.map_err(Failure::environment)?;
        self.line.truncate(self.line.trim_ascii_end().len());
        Ok(())
    }

    /// The current line taken apart; where it is no event, with what the one before came from.
    fn side(&self) -> Side {
        let (line, before) = (text(&self.line), text(&self.before));
        let mut parts = line.splitn(3, '\t');
        let mut from = before.splitn(3, '\t').skip(1);
        let event = parts.next().filter(|event| !event.is_empty()).unwrap_or("(the end)");
        let mut part = || parts.next().or(from.next()).unwrap_or("(none)").to_owned();
        Side { event: event.to_owned(), task: part(), draw: part() }
    }

    /// What stands in the last line, if it is that of a run that came to its end.
    fn fingerprint(&self) -> String {
        text(&self.before).strip_prefix("fingerprint ").unwrap_or_default().to_owned()
    }
}

fn text(line: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(line)
}

fn publish(command: &MetaCommand, reports: &[SeedReport]) -> Result<(), Failure> {
    if write_json(command.common.json.as_deref(), reports)? {
        return Ok(());
    }
    for report in reports {
        let SeedReport { scenario, seed, lines, fingerprint, .. } = report;
        match &report.difference {
            None if reports.len() > LISTED_RUNS => {}
            None => {
                sayln!("{scenario} seed {seed}: same, {lines} lines, fingerprint {fingerprint}");
            }
            Some(Difference { line, first, second }) => {
                sayln!("{scenario} seed {seed}: NOT THE SAME from line {line} on");
                for (process, side) in [("first", first), ("second", second)] {
                    sayln!("  {process} process");
                    sayln!("    event  {}", side.event);
                    sayln!("    task   {}", side.task);
                    sayln!("    drawn  {}", side.draw);
                }
            }
        }
    }
    if reports.len() > 1 {
        reports.chunk_by(|a, b| a.scenario == b.scenario).for_each(total);
    }
    Ok(())
}

/// A scenario over all of its seeds, with a hash over their fingerprints.
fn total(reports: &[SeedReport]) {
    let lines: u64 = reports.iter().map(|report| report.lines).sum();
    let differ = reports.iter().filter(|report| report.difference.is_some()).count();
    let mut hash = Xxh3::new();
    reports.iter().for_each(|report| hash.update(report.fingerprint.as_bytes()));
    let (scenario, runs) = (&reports[0].scenario, reports.len());
    let hash = hash.digest128();
    sayln!("{scenario}: {runs} runs twice, {differ} differ, {lines} lines, all {hash:032x}");
}

/// An event as one line: number, time, process, kind, and a hash over all of it; then what it came
/// from.
pub(super) fn event_line(event: &Event, course: Option<&Course>) -> String {
    let bytes = postcard::to_stdvec(event).expect("every event can be recorded");
    let Event { seq, at, process, kind } = event;
    let detail = match kind {
        EventKind::Started => "started".to_owned(),
        EventKind::Crashed(cause) => format!("crashed {cause:?}"),
        EventKind::Fault { fault, begins, detail } => format!("fault {fault} {begins} {detail}"),
        EventKind::Phase(phase) => format!("phase {phase:?}"),
        EventKind::InputSent { id, topic, .. } => format!("input {id} {topic}"),
        EventKind::InputAcknowledged { id } => format!("acknowledged {id}"),
        EventKind::Appended(record) => {
            format!("appended {}/{}@{}", record.topic, record.partition, record.offset)
        }
        EventKind::OffsetsCommitted { group, positions } => {
            format!("offsets {group} {}", positions.len())
        }
        EventKind::CommitRefused { group, member } => format!("refused {group} {member}"),
        EventKind::Committed { client, changes, .. } => {
            format!("committed {client} {} rows", changes.len())
        }
        EventKind::Aborted { client, statement, .. } => format!("aborted {client} {statement}"),
        EventKind::Signal(_) => "signal".to_owned(),
        EventKind::Read { portfolio_id, positions } => {
            format!("read {portfolio_id} {}", positions.len())
        }
        EventKind::ReadRefused { portfolio_id, code } => format!("refused {portfolio_id} {code}"),
    };
    let line = format!("{seq} {at} {process} {detail} {:016x}", xxh3_64(&bytes));
    match course {
        Some(course) => format!("{line}\t{}\t{}", course.task(), course.drawn()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(before: &str, line: &str) -> [String; 3] {
        let (line, before) = (line.as_bytes().to_vec(), before.as_bytes().to_vec());
        let Side { event, task, draw } = Lines { reader: tokio::io::empty(), line, before }.side();
        [event, task, draw]
    }

    #[test]
    fn where_events_end_the_one_before_says_what_ran_last() {
        let before = "6 phase Calm 1\tbefore\tearlier";
        assert_eq!(side(before, "7 read P1 3 2\tnow\tword"), ["7 read P1 3 2", "now", "word"]);
        assert_eq!(side(before, "fingerprint 12"), ["fingerprint 12", "before", "earlier"]);
        assert_eq!(side(before, ""), ["(the end)", "before", "earlier"]);
        assert_eq!(side("", "fingerprint 12"), ["fingerprint 12", "(none)", "(none)"]);
    }
}
