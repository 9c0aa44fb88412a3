//! `run`: one run of a scenario or of a saved plan.

use std::path::Path;

use backdate_reports::recording::Event;
use backdate_reports::summary::Verdict;

use super::arguments::{COMMIT, On, RunCommand};
use super::progress::Bar;
use super::{Failure, create_folder, defects, machine, meta, publish, quoted, write_file};
use crate::real;
use crate::runner::{self, EventObserver, RunError, RunOptions};
use crate::scenario::{self, Plan, Source};
use crate::sweep::worker::{PLAN_FILE, SUMMARY_FILE};
use crate::world::Course;

pub(super) fn run(command: &RunCommand) -> Result<u8, Failure> {
    let canary = machine::canary()?;
    defects::plant(&command.defect)?;
    let mut plan = plan(command)?;
    if command.on == On::Real {
        defects::refuse_on_real(&command.defect)?;
        refuse_elsewhere(&plan)?;
        plan = command.time_scale.map_or(plan.clone(), |by| plan.hurried(by));
    }
    if let Some(folder) = &command.save {
        create_folder(folder)?;
        write_file(&folder.join(PLAN_FILE), &plan.to_toml())?;
    }
    machine::catch_interrupt();
    let hold_back = command.time_scale.filter(|_| command.on == On::Sim);
    let mut bar = Bar::new(&plan, command.common.quiet, hold_back);
    let options = RunOptions {
        plan: &plan,
        save: command.save.as_deref(),
        canary,
        interrupted: &machine::INTERRUPTED,
        progress: &mut |progress| bar.show(progress),
        events: command.event_lines.then(|| Box::new(print_event) as EventObserver),
    };
    let outcome = match command.on {
        On::Sim => runner::run(options),
        On::Real => real::run(&machine::services(&command.services), options)?,
    };
    let wall = bar.finish();
    let mut summary = match outcome {
        Ok(outcome) => outcome.summary,
        Err(error @ RunError::Recording(..)) => return Err(Failure::environment(error)),
    };
    summary.commit = COMMIT.to_owned();
    summary.defect = command.defect.defect.clone();
    summary.wall_seconds = Some(wall.as_secs_f64());
    summary.peak_rss_bytes = machine::peak_rss_bytes();
    if command.event_lines {
        sayln!("fingerprint {}", summary.fingerprint);
        return Ok(summary.exit_code);
    }
    if let Some(folder) = &command.save {
        summary.plan = Some(PLAN_FILE.to_owned());
        write_file(&folder.join(SUMMARY_FILE), &summary.to_json())?;
    }
    publish(&summary, &command.common, &repeat(command, plan.seed))?;
    if summary.verdict == Verdict::Fail
        && let Some(folder) = &command.save
    {
        eprintln!("saved in {}", folder.display());
    }
    Ok(summary.exit_code)
}

/// The concrete plan: a saved one, or what the seed makes of the scenario.
fn plan(command: &RunCommand) -> Result<Plan, Failure> {
    match (&command.plan, &command.scenario) {
        (Some(path), _) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
            Plan::from_toml(path, &text).map_err(Failure::usage)
        }
        (None, Some(path)) => {
            let source = Source::load(path, &command.set).map_err(Failure::usage)?;
            let seed = seed(path, &source, command.common.seed)?;
            Ok(source.plan(seed))
        }
        (None, None) => Err(Failure::usage("name a scenario file, or a plan with --plan FILE")),
    }
}

/// The seed to run under: the one that is given, the plan's own, or a drawn one.
pub(super) fn seed(path: &Path, source: &Source, given: Option<u64>) -> Result<u64, Failure> {
    match (source.own_seed(), given) {
        (Some(own), Some(given)) if own != given => Err(Failure::usage(format!(
            "{}: is a plan of seed {own}, it cannot run under {given}: leave --seed out",
            path.display()
        ))),
        (Some(own), _) => Ok(own),
        (None, given) => Ok(machine::seed(given)),
    }
}

/// A scenario says where it can run.
fn refuse_elsewhere(plan: &Plan) -> Result<(), Failure> {
    if plan.on.contains(&scenario::format::On::Real) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{} does not say that it can run on real services: run it with --on sim, or name `real` in \
         its field `on`",
        plan.name
    )))
}

/// The command that repeats the run.
fn repeat(command: &RunCommand, seed: u64) -> String {
    let mut words = vec!["backdate run".to_owned()];
    match (&command.plan, &command.scenario) {
        (Some(path), _) => words.push(format!("--plan {}", quoted(&path.display().to_string()))),
        (None, Some(path)) => {
            words.push(quoted(&path.display().to_string()));
            words.push(format!("--seed {seed}"));
            words.extend(command.set.iter().map(|change| format!("--set {}", quoted(change))));
        }
        (None, None) => {}
    }
    if command.on == On::Real {
        words.push("--on real".to_owned());
        words.extend(command.time_scale.map(|by| format!("--time-scale {by}")));
    }
    words.extend(command.defect.defect.iter().map(|name| format!("--defect {name}")));
    words.join(" ")
}

/// One line an event: what is compared by `meta`.
fn print_event(event: &Event, course: Option<&Course>) {
    sayln!("{}", meta::event_line(event, course));
}
