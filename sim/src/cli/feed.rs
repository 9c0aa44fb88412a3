//! `feed`: the engine on a folder of CSV inputs.

use std::collections::BTreeMap;

use backdate_reports::summary::{RuleSummary, SCHEMA_VERSION, Summary, Verdict};
use serde::{Deserialize, Serialize};

use super::arguments::{COMMIT, FeedCommand, FeedFaults, FeedOrder, On};
use super::machine::Stopwatch;
use super::{Failure, create_folder, defects, machine, progress, publish, quoted, write_file};
use crate::cluster::ClusterConfig;
use crate::feed::inputs::FeedInputs;
use crate::feed::{Faults, Fed, FeedFailure, FeedOptions, Order};
use crate::real;
use crate::runner::exit;
use crate::runner::outcome::{breaks_more_than_liveness, rule};
use crate::scenario::load::overridden;
use crate::sweep::worker::SUMMARY_FILE;

/// What `--set` can change.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    cluster: ClusterConfig,
}

pub(super) fn feed(command: &FeedCommand) -> Result<u8, Failure> {
    let settings: Settings =
        overridden(&Settings::default(), &command.set).map_err(Failure::usage)?;
    if let Some(problem) = settings.cluster.problem() {
        return Err(Failure::usage(problem));
    }
    let canary = machine::canary()?;
    defects::plant(&command.defect)?;
    if command.on == On::Real {
        defects::refuse_on_real(&command.defect)?;
    }
    let inputs = FeedInputs::read(&command.folder).map_err(Failure::usage)?;
    for bad in &inputs.bad_rows {
        eprintln!("{bad}");
    }
    if command.strict && !inputs.bad_rows.is_empty() {
        return Err(Failure::usage(format!("{} bad rows", inputs.bad_rows.len())));
    }
    for folder in std::iter::once(&command.out).chain(&command.save) {
        create_folder(folder)?;
    }
    let seed = machine::seed(command.common.seed);
    machine::catch_interrupt();
    let watch = Stopwatch::start();
    let total = inputs.records.len();
    let bar = progress::bar(command.common.quiet, total as u64);
    let options = FeedOptions {
        folder: &command.folder,
        out: &command.out,
        save: command.save.as_deref(),
        order: match command.order {
            FeedOrder::Steps => Order::Steps,
            FeedOrder::Shuffled => Order::Shuffled,
        },
        faults: match command.faults {
            FeedFaults::None => Faults::None,
            FeedFaults::Swarm => Faults::Swarm,
        },
        seed,
        cluster: settings.cluster,
        canary,
        interrupted: &machine::INTERRUPTED,
        progress: &mut |time, left| {
            bar.set_position(total.saturating_sub(left) as u64);
            bar.set_message(format!("{:.1} s of the run", time.seconds()));
        },
    };
    let fed = match command.on {
        On::Sim => crate::feed::feed(inputs, options),
        On::Real => real::feed(&machine::services(&command.services), inputs, options)?,
    };
    bar.finish_and_clear();
    let fed = fed.map_err(|failure| match failure {
        FeedFailure::Input(_) => Failure::usage(failure),
        FeedFailure::Output(..) | FeedFailure::Recording(..) => Failure::environment(failure),
    })?;
    let mut summary = summarise(&fed, command, seed);
    summary.wall_seconds = Some(watch.elapsed().as_secs_f64());
    summary.peak_rss_bytes = machine::peak_rss_bytes();
    write_file(&command.out.join(SUMMARY_FILE), &summary.to_json())?;
    publish(&summary, &command.common, &repeat(command, seed))?;
    Ok(summary.exit_code)
}

fn summarise(fed: &Fed, command: &FeedCommand, seed: u64) -> Summary {
    let rules: Vec<RuleSummary> = fed.finished.verdict.rules.iter().map(rule).collect();
    let mut summary = Summary {
        schema_version: SCHEMA_VERSION,
        verdict: Verdict::Pass,
        exit_code: exit::PASS,
        scenario: format!("feed {}", command.folder.display()),
        on: fed.finished.on.into(),
        seed,
        commit: COMMIT.to_owned(),
        defect: command.defect.defect.clone(),
        fingerprint: fed.finished.fingerprint_text(),
        plan: None,
        sim_seconds: fed.finished.ended.seconds(),
        wall_seconds: None,
        peak_rss_bytes: None,
        rules,
        counters: BTreeMap::new(),
        catch_up_seconds: None,
        faults: BTreeMap::new(),
        sometimes: BTreeMap::new(),
        utilisation: fed.finished.utilisation.clone(),
        queue_max: BTreeMap::new(),
        latency_ms: BTreeMap::new(),
        thresholds: Vec::new(),
        expectations: Vec::new(),
        fenced_producers: BTreeMap::new(),
        notes: notes(fed),
    };
    fed.finished.meters.fill(&mut summary);
    summary.exit_code = exit_code(fed, &summary);
    if summary.exit_code != exit::PASS {
        summary.verdict = Verdict::Fail;
    }
    summary
}

fn notes(fed: &Fed) -> Vec<String> {
    let waiting = fed.waiting.iter().map(|(key, what)| format!("{key} waits for {what}"));
    let failure = fed.failure.iter().map(|why| format!("could not go on: {why}"));
    failure.chain(waiting).chain(fed.finished.notes.iter().cloned()).collect()
}

fn exit_code(fed: &Fed, summary: &Summary) -> u8 {
    let is_broken = summary.rules.iter().any(|rule| rule.violations > 0);
    if fed.failure.is_some() {
        return exit::ENVIRONMENT;
    }
    match (fed.is_interrupted, fed.is_settled) {
        (true, _) => exit::INTERRUPTED,
        (_, true) if is_broken => exit::RULE,
        (_, true) => exit::PASS,
        // What does not settle breaks liveness as well; another rule that broke comes first.
        _ if breaks_more_than_liveness(summary) => exit::RULE,
        _ => exit::NOT_CONVERGED,
    }
}

fn repeat(command: &FeedCommand, seed: u64) -> String {
    let path = |path: &std::path::Path| quoted(&path.display().to_string());
    let mut text = format!(
        "backdate feed {} --out {} --seed {seed}",
        path(&command.folder),
        path(&command.out)
    );
    if command.order == FeedOrder::Shuffled {
        text += " --order shuffled";
    }
    if command.faults == FeedFaults::Swarm {
        text += " --faults swarm";
    }
    if command.on == On::Real {
        text += " --on real";
    }
    if let Some(name) = &command.defect.defect {
        text += &format!(" --defect {name}");
    }
    for change in &command.set {
        text += &format!(" --set {}", quoted(change));
    }
    text
}
