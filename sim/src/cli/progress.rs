//! The progress of a run on stderr: simulated time, ratio and lag.

use std::io::IsTerminal;
use std::time::Duration;

use backdate_reports::recording::Phase;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::machine::{self, Stopwatch};
use crate::runner::Progress;
use crate::scenario::Plan;

/// The bar of a run.
pub(super) struct Bar {
    bar: ProgressBar,
    watch: Stopwatch,
    time_scale: Option<f64>,
    storm_ms: u64,
    inputs: u64,
}

impl Bar {
    pub(super) fn new(plan: &Plan, quiet: bool, time_scale: Option<f64>) -> Self {
        let inputs = plan.inputs.len() as u64;
        let bar = bar(quiet, inputs.max(1));
        let storm_ms = plan.phases.storm_ms;
        Self { bar, watch: Stopwatch::start(), time_scale, storm_ms, inputs }
    }

    /// Shows where a run is, and holds it back if it is to be slow.
    pub(super) fn show(&mut self, progress: &Progress) {
        let sim = progress.sim.seconds();
        let wall = self.watch.elapsed().as_secs_f64();
        if let Some(scale) = self.time_scale {
            let ahead = sim / scale - wall;
            if ahead > 0.0 {
                machine::wait(Duration::from_secs_f64(ahead));
            }
        }
        let phase = match progress.phase {
            Phase::Warmup => "warm-up".to_owned(),
            Phase::Storm => format!("storm of {} s", self.storm_ms / 1_000),
            Phase::Calm => "calm".to_owned(),
            Phase::Settled => "settled".to_owned(),
        };
        self.bar.set_position(self.inputs.saturating_sub(progress.inputs_left));
        self.bar.set_message(format!(
            "{sim:.1} s simulated, {:.0}x, {phase}, {} keys behind, {} pending",
            sim / wall.max(1e-3),
            progress.keys_behind,
            progress.pending,
        ));
    }

    /// Takes the bar away.
    pub(super) fn finish(self) -> Duration {
        self.bar.finish_and_clear();
        self.watch.elapsed()
    }
}

/// A bar of work whose amount nobody knows.
pub(super) fn bar_without_end(quiet: bool) -> ProgressBar {
    let bar = bar(quiet, 0);
    bar.unset_length();
    bar
}

/// A bar on a terminal; nothing elsewhere, where it would only fill logs.
pub(super) fn bar(quiet: bool, length: u64) -> ProgressBar {
    let is_shown = !quiet && std::io::stderr().is_terminal();
    let target =
        if is_shown { ProgressDrawTarget::stderr_with_hz(5) } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(length), target);
    let style = ProgressStyle::with_template("[{elapsed}] {bar:24} {pos}/{len} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
