//! Business dates that arrive late, and new ones: the day goes on while the storm does.

use std::collections::BTreeSet;

use backdate_engine::domain::time::Date;
use backdate_engine::ports::log::Topic;

use super::initial_state::{business_date, price_message, rate_message};
use super::{Context, Drafts};

/// Pause between a new business date and its quotes.
const QUOTES_AFTER_MS: u64 = 1_000;

/// The dates that the initial state leaves out.
pub(super) fn dates(context: &Context<'_>) -> BTreeSet<Date> {
    let entries = context.workload.late_dates.iter();
    entries.map(|late| context.market.back(late.business_days_back)).collect()
}

pub(super) fn draft(context: &Context<'_>, drafts: &mut Drafts) {
    for (entry, late) in context.workload.late_dates.iter().enumerate() {
        let at_ms = context.when_ms(late.at, &format!("late_dates/{entry}"));
        let (key, value, label) = business_date(context.market.back(late.business_days_back));
        drafts.storm(at_ms, Topic::RawBusinessDates, key, value, label);
    }
    let next_dates = context.workload.next_dates.iter().zip(&context.market.following);
    for (entry, (next, date)) in next_dates.enumerate() {
        let at_ms = context.when_ms(next.at, &format!("next_dates/{entry}"));
        let (key, value, label) = business_date(*date);
        drafts.storm(at_ms, Topic::RawBusinessDates, key, value, label);
        for (pair, series) in &context.market.rates {
            if let Some(rate) = series.get(date) {
                let (key, value, label) = rate_message(pair, *date, *rate, 0);
                drafts.storm(at_ms + QUOTES_AFTER_MS, Topic::FxRates, key, value, label);
            }
        }
        for security in &context.universe.securities {
            if let Some(price) = security.prices.get(date) {
                let (key, value, label) = price_message(security, *date, *price, 0);
                drafts.storm(at_ms + QUOTES_AFTER_MS, Topic::MarketPrices, key, value, label);
            }
        }
    }
}
