//! `[workload]`: what clients send and read.

mod feeds;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::super::duration::{Decimal, Millis, When};
pub use feeds::{Backfill, LatePrices, Retries};

/// Weights by name; a share is weight / sum.
pub type Weights = BTreeMap<SmolStr, u32>;

/// `[workload]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Files of market data, and the window of dates that is taken from them.
    pub data: Data,
    /// Who holds.
    pub portfolios: Portfolios,
    /// What is held.
    pub holdings: Holdings,
    /// Readers that poll positions.
    #[serde(default)]
    pub readers: Readers,
    /// Transactions during the storm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
    /// Transactions that are sent again with another content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amendments: Option<Amendments>,
    /// Messages that no service can accept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poison: Option<Poison>,
    /// Prices that are sent again with another value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub price_corrections: Vec<PriceCorrection>,
    /// Rates that are sent again with another value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rate_corrections: Vec<RateCorrection>,
    /// Rates that arrive only during the storm.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late_rates: Vec<LateRate>,
    /// Prices that arrive only during the storm.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late_prices: Vec<LatePrices>,
    /// Business dates that arrive only during the storm.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late_dates: Vec<LateDate>,
    /// Business dates after the window: a new day begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next_dates: Vec<NextDate>,
    /// Back-dated transactions on one key, one after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chains: Vec<Chain>,
    /// Portfolios that are known only during the storm.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late_portfolios: Vec<LatePortfolio>,
    /// Instruments that are known only during the storm.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late_instruments: Vec<LateInstrument>,
    /// Instruments that change their currency.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub currency_changes: Vec<CurrencyChange>,
    /// Messages that no client of this system sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strangers: Option<Strangers>,
    /// What clients send again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// A history that comes late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfill: Option<Backfill>,
}

/// `[workload.data]`: paths are relative to the scenario file or to the root of the project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Columns `security_id, price_date, price, currency`.
    #[serde(default = "Data::default_prices")]
    pub prices: String,
    /// Columns `from_currency, to_currency, rate_date, rate`.
    #[serde(default = "Data::default_rates")]
    pub rates: String,
    /// Column `business_date`.
    #[serde(default = "Data::default_business_dates")]
    pub business_dates: String,
    /// First date of the window: the first business date on or after it.
    pub from: SmolStr,
    /// Business dates of the window; the last one is the day on which the run takes place.
    pub business_days: u32,
}

impl Data {
    fn default_prices() -> String {
        "scenarios/data/market_prices.csv".into()
    }

    fn default_rates() -> String {
        "scenarios/data/fx_rates.csv".into()
    }

    fn default_business_dates() -> String {
        "scenarios/data/business_dates.csv".into()
    }
}

/// `[workload.portfolios]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Portfolios {
    /// How many; they are called `P00001` and so on.
    pub count: u32,
    /// Weights of base currencies.
    #[serde(default = "Portfolios::usd")]
    pub base_currencies: Weights,
    /// Weights of `FIFO` and `AVCO`.
    #[serde(default = "Portfolios::fifo")]
    pub methods: Weights,
}

impl Portfolios {
    fn usd() -> Weights {
        Weights::from([("USD".into(), 1)])
    }

    fn fifo() -> Weights {
        Weights::from([("FIFO".into(), 1)])
    }
}

/// `[workload.holdings]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Holdings {
    /// Securities of the price file.
    #[serde(default)]
    pub securities: Vec<SmolStr>,
    /// Securities made up by the seed, `SYN0001` and so on, in US dollars.
    #[serde(default)]
    pub synthetic: u32,
    /// Securities that a portfolio holds, drawn; all of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_portfolio: Option<u32>,
    /// Transactions of a key that exist before the storm; the first is a BUY on the first date.
    #[serde(default = "Holdings::one")]
    pub transactions_per_key: u32,
    /// Units of that first purchase, at least, and at most twice as many; sales are of up to 20.
    #[serde(default = "Holdings::thousand")]
    pub first_units: u32,
}

impl Holdings {
    fn thousand() -> u32 {
        1_000
    }

    fn one() -> u32 {
        1
    }
}

/// `[workload.readers]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Readers {
    /// How many.
    pub count: u32,
    /// Pause between two reads of one reader.
    pub every: Millis,
}

impl Default for Readers {
    fn default() -> Self {
        Self { count: 1, every: Millis(500) }
    }
}

/// `[workload.live]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Live {
    /// Transactions per simulated second.
    pub rate_per_second: f64,
    /// Weights of transaction types.
    #[serde(default = "Live::trades")]
    pub mix: Weights,
    /// Share that is dated in the past.
    #[serde(default)]
    pub backdated_share: f64,
    /// How far at the most, in business days.
    #[serde(default = "Live::ten")]
    pub backdated_days_max: u32,
    /// Share of pairs in which a SELL arrives before the BUY that covers it.
    #[serde(default)]
    pub sells_before_buys_share: f64,
    /// Share of trades that hit one key, which the seed draws.
    #[serde(default)]
    pub hot_key_share: f64,
}

impl Live {
    fn trades() -> Weights {
        Weights::from([("BUY".into(), 7), ("SELL".into(), 3)])
    }

    fn ten() -> u32 {
        10
    }
}

/// `[workload.amendments]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Amendments {
    /// How many, at drawn times of the storm.
    pub count: u32,
}

/// `[workload.poison]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Poison {
    /// How many, at drawn times of the storm.
    pub count: u32,
    /// How many on the topics between the engine's own processes, where no client writes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub internal: u32,
}

/// `[[workload.price_corrections]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceCorrection {
    /// Whose price.
    pub security: SmolStr,
    /// Its date: so many business dates before the last one of the window.
    pub business_days_back: u32,
    /// If given, each correction draws its date from `business_days_back` up to here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub business_days_back_max: Option<u32>,
    /// When the first one arrives.
    pub at: When,
    /// What the price is multiplied by (once more for each further correction).
    pub factor: Decimal,
    /// How many.
    #[serde(default = "one")]
    pub times: u32,
    /// Pause between two.
    #[serde(default = "second")]
    pub every: Millis,
}

/// `[[workload.rate_corrections]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateCorrection {
    /// `EUR/USD`.
    pub pair: SmolStr,
    /// Its date: so many business dates before the last one of the window.
    pub business_days_back: u32,
    /// When it arrives.
    pub at: When,
    /// What the rate is multiplied by (once more for each further correction).
    pub factor: Decimal,
    /// How many.
    #[serde(default = "one")]
    pub times: u32,
    /// Pause between two.
    #[serde(default = "second")]
    pub every: Millis,
}

/// `[[workload.late_rates]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LateRate {
    /// `EUR/USD`.
    pub pair: SmolStr,
    /// Its date: so many business dates before the last one of the window.
    pub business_days_back: u32,
    /// When it arrives.
    pub at: When,
}

/// `[[workload.late_dates]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LateDate {
    /// So many business dates before the last one of the window.
    pub business_days_back: u32,
    /// When it arrives.
    pub at: When,
}

/// `[[workload.next_dates]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NextDate {
    /// When it arrives; its prices and rates follow a second later.
    pub at: When,
}

/// `[[workload.chains]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    /// Number of the portfolio, from 1.
    pub portfolio: u32,
    /// The security.
    pub security: SmolStr,
    /// When the first one arrives.
    pub at: When,
    /// Transactions.
    pub length: u32,
    /// Pause between two.
    pub every: Millis,
    /// Their dates: drawn, so many business dates back at the most.
    pub business_days_back: u32,
    /// Whether each is dated before the one sent before it (as far as the window goes).
    #[serde(default)]
    pub descending: bool,
    /// Whether all of a date have the same time of day, so that only the total order parts them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub same_instant: bool,
}

/// `[[workload.late_portfolios]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LatePortfolio {
    /// Its number, from 1.
    pub portfolio: u32,
    /// When it arrives.
    pub at: When,
}

/// `[[workload.late_instruments]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LateInstrument {
    /// The security.
    pub security: SmolStr,
    /// When it arrives.
    pub at: When,
}

/// `[[workload.currency_changes]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CurrencyChange {
    /// The security.
    pub security: SmolStr,
    /// The new currency of the instrument; prices and trades keep theirs.
    pub currency: SmolStr,
    /// When it arrives.
    pub at: When,
}

/// `[workload.strangers]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Strangers {
    /// Amendments that would move an initial transaction to another portfolio: to be rejected.
    pub moves: u32,
    /// Valuation jobs of tokens that no key has reached, as a restored backup or another
    /// environment sends them: to be reported, with no effect.
    pub foreign_jobs: u32,
}

impl Default for Strangers {
    fn default() -> Self {
        Self { moves: 2, foreign_jobs: 2 }
    }
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

fn second() -> Millis {
    Millis(1_000)
}
