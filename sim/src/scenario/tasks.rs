//! `tasks`: which of the tasks that are ready runs next, where a machine would leave it open.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::faults::{FaultProblem, one_process};
use super::format::ClusterSpec;
use crate::world::TaskChoice;

/// How it is decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tasks {
    /// Drawn by the seed.
    #[default]
    Seeded,
    /// First in, first out.
    Fifo,
    /// Drawn, but during the storm this process has the lowest priority: it is given a turn when
    /// others have had many. An instance, a kind of process (the seed draws one) or `any`.
    Starve(SmolStr),
}

impl Tasks {
    /// Whether it is the usual way.
    pub fn is_seeded(&self) -> bool {
        *self == Self::Seeded
    }

    /// How the world chooses.
    pub fn choice(&self) -> TaskChoice {
        match self {
            Self::Seeded | Self::Starve(_) => TaskChoice::Seeded,
            Self::Fifo => TaskChoice::Fifo,
        }
    }

    /// The process that is starved.
    pub fn starved(&self) -> Option<&SmolStr> {
        match self {
            Self::Starve(process) => Some(process),
            Self::Seeded | Self::Fifo => None,
        }
    }

    /// With the process that the seed draws.
    pub(super) fn expand(&self, seed: u64, cluster: &ClusterSpec) -> Result<Self, FaultProblem> {
        Ok(match self {
            Self::Starve(name) => {
                Self::Starve(one_process("tasks.starve", name, seed, "tasks", cluster)?)
            }
            other => other.clone(),
        })
    }
}
