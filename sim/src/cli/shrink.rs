//! `shrink`: the smallest plan that still breaks the rule.

use std::path::Path;

use serde::Serialize;

use super::arguments::ShrinkCommand;
use super::{Failure, defects, machine, progress, quoted, write_file, write_json};
use crate::runner::exit;
use crate::scenario::{Plan, Source};
use crate::shrink::{self, Options, Refusal, Shrunk, Size};

/// What `--json` writes.
#[derive(Serialize)]
struct Report<'a> {
    scenario: &'a str,
    seed: u64,
    rule: String,
    before: Size,
    after: Size,
    runs: u64,
    is_minimal: bool,
    seconds: f64,
}

pub(super) fn shrink(command: &ShrinkCommand) -> Result<u8, Failure> {
    let canary = machine::canary()?;
    defects::plant(&command.defect)?;
    let source = Source::load(&command.scenario, &command.set).map_err(Failure::usage)?;
    let seed = match (source.own_seed(), command.common.seed) {
        (Some(own), Some(given)) if own != given => {
            return Err(Failure::usage(format!(
                "{} is a plan of seed {own}: leave out --seed, or name its scenario",
                command.scenario.display()
            )));
        }
        (Some(own), _) => own,
        (None, Some(given)) => given,
        (None, None) => {
            return Err(Failure::usage(
                "a scenario fails under some seeds only: say which with --seed N",
            ));
        }
    };
    let plan = source.plan(seed);
    machine::catch_interrupt();
    let watch = machine::Stopwatch::start();
    let bar = progress::bar(command.common.quiet, command.max_runs);
    let shrunk = shrink::shrink(
        plan,
        Options {
            runs_max: command.max_runs,
            canary,
            interrupted: &machine::INTERRUPTED,
            progress: &mut |progress| {
                let Size { faults, inputs, instances, .. } = progress.size;
                bar.set_position(progress.runs);
                bar.set_message(format!(
                    "runs, {faults} faults, {inputs} inputs, {instances} instances; taking out {}",
                    progress.pass
                ));
            },
        },
    );
    bar.finish_and_clear();
    let shrunk = match shrunk {
        Ok(shrunk) => shrunk,
        Err(Refusal::Interrupted) => return Ok(exit::INTERRUPTED),
        Err(refusal) => {
            let file = command.scenario.display();
            return Err(Failure::usage(format!("{file}, seed {seed}: {refusal}")));
        }
    };
    write_file(&command.output, &text(&shrunk, &command.scenario, seed))?;
    publish(command, &shrunk, seed, watch.elapsed().as_secs_f64())?;
    let was_interrupted = machine::INTERRUPTED.load(std::sync::atomic::Ordering::Relaxed);
    Ok(if was_interrupted { exit::INTERRUPTED } else { exit::PASS })
}

/// The plan with a head that says what it is.
fn text(shrunk: &Shrunk, scenario: &Path, seed: u64) -> String {
    let Shrunk { plan, broken, .. } = shrunk;
    let first_line = broken.evidence.lines().next().unwrap_or_default();
    let plan = Plan { scenario: scenario.display().to_string(), ..plan.clone() };
    format!(
        "# Broke {rule} ({title}) when it was made: {first_line}\n\
         # Made from {scenario}, seed {seed}, by `backdate shrink`; run it with `backdate run`.\n\
         {plan}",
        rule = broken.rule,
        title = broken.rule.title(),
        scenario = scenario.display(),
        plan = plan.to_toml(),
    )
}

fn publish(
    command: &ShrinkCommand,
    shrunk: &Shrunk,
    seed: u64,
    seconds: f64,
) -> Result<(), Failure> {
    let Shrunk { broken, before, after, runs, is_minimal, .. } = shrunk;
    let report = Report {
        scenario: &command.scenario.display().to_string(),
        seed,
        rule: broken.rule.to_string(),
        before: *before,
        after: *after,
        runs: *runs,
        is_minimal: *is_minimal,
        seconds,
    };
    if write_json(command.common.json.as_deref(), &report)? {
        return Ok(());
    }
    sayln!("{} still breaks: {}", broken.rule, broken.evidence.lines().next().unwrap_or_default());
    sayln!("            before  after");
    for (what, was, is) in [
        ("faults", before.faults, after.faults),
        ("inputs", before.inputs, after.inputs),
        ("instances", before.instances, after.instances),
        ("knobs", before.knobs, after.knobs),
    ] {
        sayln!("{what:<10}{was:>8}{is:>7}");
    }
    let why = if *is_minimal { "nothing more can go" } else { "stopped early" };
    sayln!("{runs} runs in {seconds:.1} s, {why}");
    sayln!("run it with backdate run {}", quoted(&command.output.display().to_string()));
    Ok(())
}
