//! A data feed that is late: prices that are missing at first and arrive during the storm.

use std::collections::BTreeSet;

use backdate_engine::domain::time::Date;
use backdate_engine::ports::log::Topic;
use smol_str::{SmolStr, format_smolstr};

use super::initial_state::price_message;
use super::{Context, Drafts};

/// The prices that the initial state leaves out.
pub(super) fn prices<'a>(context: &Context<'a>) -> BTreeSet<(&'a SmolStr, Date)> {
    let entries = context.workload.late_prices.iter();
    let of_entry = entries.flat_map(|late| {
        let days = 0..late.business_days;
        days.map(|back| (&late.security, context.market.back(back)))
    });
    of_entry.collect()
}

pub(super) fn draft(context: &Context<'_>, drafts: &mut Drafts) {
    for (entry, late) in context.workload.late_prices.iter().enumerate() {
        let first_ms = context.when_ms(late.at, &format!("late_prices/{entry}"));
        let security = &context.universe.securities[context.universe.index_of(&late.security)];
        let dates = (0..late.business_days).rev().map(|back| context.market.back(back));
        // On a day without a price there is nothing to come late.
        let quoted = dates.filter_map(|date| Some((date, *security.prices.get(&date)?)));
        for (number, (date, price)) in quoted.enumerate() {
            let (key, value, label) = price_message(security, date, price, 0);
            let at_ms = first_ms + late.every.0 * number as u64;
            let label = format_smolstr!("late/{label}");
            drafts.storm(at_ms, Topic::MarketPrices, key, value, label);
        }
    }
}
