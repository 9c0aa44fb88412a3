//! `meta`: is a run repeatable? Each seed runs in two processes that are compared line by line.
//!
//! Two processes, because within one process a dependence on addresses, hash seeds or the order of
//! set-up could hide.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::Ordering;

use backdate_reports::recording::{Event, EventKind};
use xxhash_rust::xxh3::xxh3_64;

use super::arguments::MetaCommand;
use super::{Failure, machine, progress, write_json};
use crate::runner::exit;
use crate::scenario::Source;

/// What became of a seed.
#[derive(serde::Serialize)]
struct SeedReport {
    seed: u64,
    lines: u64,
    fingerprint: String,
    exit_code: i32,
    /// The first line in which the two processes differ.
    difference: Option<Difference>,
}

#[derive(serde::Serialize)]
struct Difference {
    line: u64,
    first: String,
    second: String,
}

pub(super) fn meta(command: &MetaCommand) -> Result<u8, Failure> {
    machine::canary()?;
    // A bad scenario is told once, here, not by every child.
    let source = Source::load(&command.scenario, &command.set).map_err(Failure::usage)?;
    let first = match (command.common.seed, command.seeds) {
        (_, 2..) if source.own_seed().is_some() => {
            return Err(Failure::usage("a plan has one seed: leave --seeds out"));
        }
        (None, 2..) => 1,
        (given, _) => super::run::seed(&command.scenario, &source, given)?,
    };
    machine::catch_interrupt();
    let bar = progress::bar(command.common.quiet, command.seeds);
    let mut reports = Vec::new();
    let jobs = usize::from(command.common.jobs.unwrap_or(2)).div_ceil(2);
    let seeds: Vec<u64> = (first..first + command.seeds).collect();
    for group in seeds.chunks(jobs) {
        let mut pairs = Vec::new();
        for seed in group {
            pairs.push((*seed, start(command, *seed)?, start(command, *seed)?));
        }
        for (seed, mut a, mut b) in pairs {
            let report = compare(seed, &mut a, &mut b)?;
            bar.inc(1);
            bar.set_message(format!("seed {seed}: {} lines", report.lines));
            reports.push(report);
        }
        if machine::INTERRUPTED.load(Ordering::Relaxed) {
            bar.finish_and_clear();
            return Ok(exit::INTERRUPTED);
        }
    }
    bar.finish_and_clear();
    publish(command, &reports)?;
    let differs = reports.iter().any(|report| report.difference.is_some());
    Ok(if differs { exit::NONDETERMINISM } else { exit::PASS })
}

fn start(command: &MetaCommand, seed: u64) -> Result<Child, Failure> {
    let binary = std::env::current_exe().map_err(Failure::environment)?;
    let mut child = Command::new(binary);
    child.arg("run").arg(&command.scenario).args(["--event-lines", "--quiet"]);
    child.args(["--seed", &seed.to_string()]);
    for change in &command.set {
        child.args(["--set", change]);
    }
    let child = child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    child.spawn().map_err(Failure::environment)
}

/// Reads both processes side by side, so that neither has to be kept in memory.
fn compare(seed: u64, a: &mut Child, b: &mut Child) -> Result<SeedReport, Failure> {
    let (mut first, mut second) = (output(a)?, output(b)?);
    let mut report =
        SeedReport { seed, lines: 0, fingerprint: String::new(), exit_code: 0, difference: None };
    loop {
        let (one, other) = (next_line(&mut first)?, next_line(&mut second)?);
        if one == other && one.is_empty() {
            break;
        }
        report.lines += 1;
        if one != other {
            let shown = |line: String| if line.is_empty() { "(the end)".into() } else { line };
            let (first, second) = (shown(one), shown(other));
            report.difference = Some(Difference { line: report.lines, first, second });
            break;
        }
        if let Some(fingerprint) = one.strip_prefix("fingerprint ") {
            report.fingerprint = fingerprint.to_owned();
        }
    }
    // Closed pipes end the children soon; they are not interesting any more.
    drop((first, second));
    if report.difference.is_some() {
        let _ = (a.kill(), b.kill());
    }
    let ended = a.wait().map_err(Failure::environment)?;
    b.wait().map_err(Failure::environment)?;
    report.exit_code = ended.code().unwrap_or(-1);
    if report.difference.is_none() && report.fingerprint.is_empty() {
        return Err(Failure::environment(format!(
            "seed {seed}: the runs ended without a fingerprint (exit code {})",
            report.exit_code
        )));
    }
    Ok(report)
}

fn output(child: &mut Child) -> Result<BufReader<ChildStdout>, Failure> {
    let stdout = child.stdout.take();
    stdout.map(BufReader::new).ok_or_else(|| Failure::environment("a child has no stdout"))
}

/// The next line without its end; empty at the end.
fn next_line(reader: &mut BufReader<ChildStdout>) -> Result<String, Failure> {
    let mut line = String::new();
    reader.read_line(&mut line).map_err(Failure::environment)?;
    line.truncate(line.trim_end().len());
    Ok(line)
}

fn publish(command: &MetaCommand, reports: &[SeedReport]) -> Result<(), Failure> {
    if write_json(command.common.json.as_deref(), reports)? {
        return Ok(());
    }
    for report in reports {
        let SeedReport { seed, lines, fingerprint, .. } = report;
        match &report.difference {
            None => sayln!("seed {seed}: same, {lines} lines, fingerprint {fingerprint}"),
            Some(Difference { line, first, second }) => {
                sayln!("seed {seed}: NOT THE SAME from line {line} on");
                sayln!("  first process:  {first}");
                sayln!("  second process: {second}");
            }
        }
    }
    Ok(())
}

/// An event as one line: number, time, process, kind, and a hash over all of it.
pub(super) fn event_line(event: &Event) -> String {
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
    };
    format!("{seq} {at} {process} {detail} {:016x}", xxh3_64(&bytes))
}
