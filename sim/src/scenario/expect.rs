//! `[expect]`: what must have happened, so that a scenario cannot pass without its subject.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// `[expect]`; an absent field expects nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// Stale messages that were fenced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fenced_min: Option<u64>,
    /// Messages of a producer that was taken over, fenced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fenced_zombies_min: Option<u64>,
    /// Messages of an older epoch, fenced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fenced_epochs_min: Option<u64>,
    /// Processes that died.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crashes_min: Option<u64>,
    /// Watermarks that fell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_reset_min: Option<u64>,
    /// Snapshots written since the storm began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dates_revalued_min: Option<u64>,
    /// Rebuilds of a history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs_min: Option<u64>,
    /// History rows written by replays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay_rows_min: Option<u64>,
    /// Dead letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letters_min: Option<u64>,
    /// Transactions parked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parked_min: Option<u64>,
    /// Reads that were answered; a tenth of those that were asked for in the storm, if it does not
    /// say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reads_min: Option<u64>,
    /// Producers whose stale messages were fenced, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fenced_producers: Vec<SmolStr>,
    /// Crash points at which a process died: names, or `all PROCESS`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<String>,
    /// How often at each of these points at the least; once, if it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deaths_per_point_min: Option<u64>,
}

impl Expect {
    /// The least number of each counter, by the counter's name in `summary.json`.
    pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("fenced", self.fenced_min),
            ("fenced_zombies", self.fenced_zombies_min),
            ("fenced_epochs", self.fenced_epochs_min),
            ("crashes", self.crashes_min),
            ("keys_reset", self.keys_reset_min),
            ("dates_revalued", self.dates_revalued_min),
            ("epochs", self.epochs_min),
            ("replay_rows", self.replay_rows_min),
            ("dead_letters", self.dead_letters_min),
            ("parked", self.parked_min),
        ]
        .into_iter()
        .filter_map(|(name, least)| Some((name, least?)))
    }
}
