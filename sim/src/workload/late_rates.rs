//! Rates that are missing at first and arrive during the storm.

use std::collections::BTreeSet;

use backdate_engine::domain::time::Date;
use backdate_engine::ports::log::Topic;
use smol_str::SmolStr;

use super::initial_state::rate_message;
use super::market::Pair;
use super::{Context, Drafts};

/// `EUR/USD` as a pair; validation has seen that it is one.
pub(super) fn pair(text: &str) -> Pair {
    let (from, to) = text.split_once('/').expect("validation knows every pair of the workload");
    (SmolStr::new(from), SmolStr::new(to))
}

/// The rates that the initial state leaves out.
pub(super) fn rates(context: &Context<'_>) -> BTreeSet<(Pair, Date)> {
    let entries = context.workload.late_rates.iter();
    entries.map(|late| (pair(&late.pair), context.market.back(late.business_days_back))).collect()
}

pub(super) fn draft(context: &Context<'_>, drafts: &mut Drafts) {
    for (entry, late) in context.workload.late_rates.iter().enumerate() {
        let at_ms = context.when_ms(late.at, &format!("late_rates/{entry}"));
        let pair = pair(&late.pair);
        let date = context.market.back(late.business_days_back);
        // On a day without a fixing there is nothing to come late.
        if let Some(rate) = context.market.rates[&pair].get(&date) {
            let (key, value, label) = rate_message(&pair, date, *rate, 0);
            drafts.storm(at_ms, Topic::FxRates, key, value, label);
        }
    }
}
