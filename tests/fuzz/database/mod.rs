//! Schedules of interleaved statements from two to four sessions over a few keys and dates.
//!
//! A line of a course is a step with its outcome: done with this answer, waiting, or ended with
//! this error; below it, what other sessions came to by it; at the end, all tables.

mod drive;
mod dump;
mod real;
mod schedule;
mod sim;
mod statements;
mod universe;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;

use super::{Plan, Stopwatch, Verdict, say, side_by_side};
use crate::contract::real::{beside, run};
use real::Real;
use schedule::Schedule;

/// Schedules that run on the real server at the same time, each in a database of its own: half of
/// their time is waiting.
const AT_ONCE: usize = 3;
/// Simulated orders that are tried where several sessions may go on at once.
const ORDERS: u64 = 12;
/// Seeds that are kept.
const KEPT: &str = include_str!("../seeds/database.txt");
/// Of so many schedules at the least, only one may need another order than the first; those that
/// are kept, some of which do, come on top.
const REORDERED_ONE_IN: usize = 50;
/// Schedules that may lose a connection of themselves, as a machine under load does at times, and
/// agree when they are repeated.
const LOST_MAX: usize = 2;
/// So many schedules that differ are made short.
const SHRUNK_MAX: usize = 3;

/// Both courses of a schedule, and what is to be said of them.
struct Trial {
    simulated: Vec<String>,
    real: Vec<String>,
    verdict: Verdict,
    /// Whether they agree in another simulated order than the first.
    is_reordered: bool,
}

/// Runs a schedule on both. Where several sessions may go on at once, any simulated order will do,
/// if the courses then agree to the end.
async fn attempt(real: &Real, schedule: &Schedule) -> Trial {
    let simulate = async |seed| {
        let schedule = schedule.clone();
        beside(move || sim::run(&schedule, seed)).await
    };
    let (simulated, real) = futures_util::future::join(simulate(0), real.run(schedule)).await;
    let verdict = judge(&simulated, &real);
    if verdict != Verdict::Agrees && schedule.sessions > 2 {
        for seed in 1..=ORDERS {
            let simulated = simulate(seed).await;
            if judge(&simulated, &real) == Verdict::Agrees {
                let verdict = Verdict::Agrees;
                return Trial { simulated, real, verdict, is_reordered: true };
            }
        }
    }
    Trial { simulated, real, verdict, is_reordered: false }
}

/// Compares two courses line by line.
fn judge(simulated: &[String], real: &[String]) -> Verdict {
    let differs = |n: &usize| simulated.get(*n) != real.get(*n);
    let Some(at) = (0..simulated.len().max(real.len())).find(differs) else {
        return Verdict::Agrees;
    };
    // Where one course goes on in a step that the other has ended, they differ in that step.
    let goes_on_at = |course: &[String]| course.get(at).is_some_and(|line| line.starts_with(' '));
    let step = at - usize::from(goes_on_at(simulated) || goes_on_at(real));
    let (own, others) = (step_at(simulated, step), step_at(real, step));
    let deadlocks = |step: &[String]| step.iter().filter(|line| line.ends_with("Deadlock")).count();
    let goes_on = |step: &[String]| step.iter().any(|line| line.starts_with(' '));
    if deadlocks(own) > 0 && deadlocks(own) == deadlocks(others) {
        return Verdict::Ledger("victim");
    }
    // The act itself has come to the same.
    let is_same_act = own.first() == others.first();
    if is_same_act && (goes_on(own) || goes_on(others)) && waiting_before(simulated, step) >= 2 {
        return Verdict::Ledger("queue");
    }
    Verdict::Differs(at)
}

/// The lines of the step to which a line belongs.
fn step_at(course: &[String], at: usize) -> &[String] {
    let Some(last) = course.len().checked_sub(1) else { return &[] };
    let begin = begin_of(course, at.min(last));
    let rest = &course[begin..];
    let length = 1 + rest.iter().skip(1).take_while(|line| line.starts_with(' ')).count();
    &rest[..length]
}

fn begin_of(course: &[String], at: usize) -> usize {
    course[..=at].iter().rposition(|line| !line.starts_with(' ')).unwrap_or(0)
}

/// How many sessions waited before the step to which a line belongs.
fn waiting_before(course: &[String], at: usize) -> usize {
    let mut waiting = BTreeSet::new();
    let Some(last) = course.len().checked_sub(1) else { return 0 };
    for line in &course[..begin_of(course, at.min(last))] {
        let session = line.split_whitespace().next().unwrap_or_default();
        match line.ends_with("-> waits") {
            true => drop(waiting.insert(session)),
            false if line.starts_with(' ') => drop(waiting.remove(session)),
            false => {}
        }
    }
    waiting.len()
}

/// A shorter schedule that differs too: steps are taken out one by one.
async fn shrink(real: &Real, schedule: &Schedule) -> Option<Trial> {
    let mut best = schedule.clone();
    let mut found = None;
    for is_prologue in [false, true] {
        let length = if is_prologue { best.prologue.len() } else { best.steps.len() };
        for n in (0..length).rev() {
            let mut shorter = best.clone();
            match is_prologue {
                true => drop(shorter.prologue.remove(n)),
                false => drop(shorter.steps.remove(n)),
            }
            let trial = attempt(real, &shorter).await;
            if matches!(trial.verdict, Verdict::Differs(_)) {
                best = shorter;
                found = Some(trial);
            }
        }
    }
    found
}

/// Whether the first difference is that the real session was gone, though nobody had ended it.
fn has_lost_a_connection(trial: &Trial) -> bool {
    let Verdict::Differs(at) = trial.verdict else { return false };
    trial.real.get(at).is_some_and(|line| line.ends_with("error Disconnected"))
}

/// What a run has come to.
#[derive(Default)]
struct Tally {
    differing: Vec<u64>,
    lost: usize,
    excused: usize,
    reordered: usize,
    waits: usize,
}

/// Runs the schedule of a seed on both and counts what comes of it.
async fn check(real: &Real, seed: u64, is_single: bool, tally: &RefCell<Tally>) {
    let schedule = Schedule::generate(seed);
    let mut trial = attempt(real, &schedule).await;
    if has_lost_a_connection(&trial) && tally.borrow().lost < LOST_MAX {
        tally.borrow_mut().lost += 1;
        trial = attempt(real, &schedule).await;
    }
    let waits = trial.simulated.iter().filter(|line| line.ends_with("waits")).count();
    tally.borrow_mut().waits += waits;
    tally.borrow_mut().reordered += usize::from(trial.is_reordered);
    if is_single {
        say(&trial.simulated.join("\n"));
    }
    match trial.verdict {
        Verdict::Agrees => {}
        Verdict::Ledger(_) => tally.borrow_mut().excused += 1,
        Verdict::Differs(at) => {
            let text = side_by_side(&trial.simulated, &trial.real, at);
            say(&format!("database seed {seed}:\n{text}"));
            let differing = {
                let mut tally = tally.borrow_mut();
                tally.differing.push(seed);
                tally.differing.len()
            };
            if differing > SHRUNK_MAX {
                return;
            }
            if let Some(Trial { simulated, real, verdict: Verdict::Differs(at), .. }) =
                shrink(real, &schedule).await
            {
                let text = side_by_side(&simulated, &real, at);
                say(&format!("database seed {seed}, shrunk:\n{text}"));
            }
        }
    }
}

#[test]
fn database_schedules_agree() {
    let plan = Plan::of("BACKDATE_FUZZ_DATABASE", 300, KEPT);
    run(Duration::from_secs(86_400), async move || {
        let (watch, tally) = (Stopwatch::start(), RefCell::default());
        let seeds = RefCell::new(plan.seeds.iter());
        let worker = async || {
            let real = Real::new().await;
            loop {
                let Some(seed) = seeds.borrow_mut().next() else { break };
                check(&real, *seed, plan.is_single, &tally).await;
            }
        };
        let workers = AT_ONCE.min(plan.seeds.len());
        join_all((0..workers).map(|_| worker())).await;
        let (seconds, tally) = (watch.seconds(), tally.take());
        let Tally { mut differing, lost, excused, reordered, waits } = tally;
        differing.sort_unstable();
        say(&format!(
            "database: {} schedules ({plan}), {waits} waits, {excused} excused by the ledger, \
             {reordered} agree in another order, {lost} repeated, {} differ; {seconds:.0} s, \
             {:.1} schedules/s",
            plan.seeds.len(),
            differing.len(),
            plan.seeds.len() as f64 / seconds
        ));
        assert!(differing.is_empty(), "differing seeds: {differing:?}");
        assert!(excused * 10 <= plan.seeds.len(), "the ledger excuses too much: {excused}");
        let is_rare = reordered <= KEPT.lines().count() + plan.seeds.len() / REORDERED_ONE_IN;
        assert!(plan.is_single || is_rare, "too many agree in another order only: {reordered}");
        assert!(plan.is_single || waits * 2 > plan.seeds.len(), "hardly anybody waited: {waits}");
    });
}
