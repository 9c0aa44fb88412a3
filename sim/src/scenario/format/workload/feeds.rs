//! `[workload.retries]`, `[workload.backfill]`, `[[workload.late_prices]]`: feeds that misbehave.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::super::super::duration::{Millis, When};

/// `[workload.retries]`: a retry storm. Clients that do not wait for answers send again what they
/// have sent in the storm, all of it the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retries {
    /// Share of the storm's inputs that are sent again.
    pub share: f64,
    /// How often.
    #[serde(default = "Retries::three")]
    pub times: u32,
    /// Pause between two.
    #[serde(default = "Retries::fifth_of_a_second")]
    pub every: Millis,
}

impl Retries {
    fn three() -> u32 {
        3
    }

    fn fifth_of_a_second() -> Millis {
        Millis(200)
    }
}

/// `[[workload.late_prices]]`: a data feed that is late. The prices of a security are missing at
/// first and arrive during the storm, date by date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LatePrices {
    /// The security.
    pub security: SmolStr,
    /// Of so many business dates, up to the last one of the window.
    pub business_days: u32,
    /// When the first one arrives.
    pub at: When,
    /// Pause between two.
    #[serde(default = "super::second")]
    pub every: Millis,
}

/// `[workload.backfill]`: a history that comes late. Every key gets transactions of all dates of
/// the window, in an order that has nothing to do with their dates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Backfill {
    /// How many of each key.
    pub transactions_per_key: u32,
    /// When it begins.
    pub at: When,
    /// How long it takes; each transaction comes at a drawn moment of that time.
    pub lasts: Millis,
}
