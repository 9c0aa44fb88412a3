//! Prices that are sent again with another value: what makes a herd.

use backdate_engine::domain::money::Amount;
use backdate_engine::ports::log::Topic;
use smol_str::format_smolstr;

use super::initial_state::{price_message, rate_message};
use super::market::latest;
use super::{Context, Drafts};
use crate::world::random::below;

pub(super) fn draft(context: &Context<'_>, drafts: &mut Drafts) {
    for (entry, correction) in context.workload.price_corrections.iter().enumerate() {
        let label = format!("price_corrections/{entry}");
        let first_ms = context.when_ms(correction.at, &label);
        let security =
            &context.universe.securities[context.universe.index_of(&correction.security)];
        let mut factor = correction.factor.0;
        for number in 0..correction.times {
            let mut rng = context.stream(&format!("{label}/{number}"));
            let nearest = correction.business_days_back;
            let farthest = correction.business_days_back_max.unwrap_or(nearest).max(nearest);
            let drawn = below(&mut rng, u64::from(farthest - nearest) + 1);
            let date = context.market.back(nearest + u32::try_from(drawn).expect("at most a u32"));
            let quoted = latest(&security.prices, date).map_or(Amount::ONE, |(_, price)| price);
            let price = product(quoted, factor);
            // A later correction of the same entry is a newer version, and another entry's too.
            let version = 1 + number * 64 + u32::try_from(entry).expect("entries are few");
            let (key, value, label) = price_message(security, date, price, version);
            let at_ms = first_ms + correction.every.0 * u64::from(number);
            let label = format_smolstr!("correction/{label}/{version}");
            drafts.storm(at_ms, Topic::MarketPrices, key, value, label);
            factor = product(factor, correction.factor.0);
        }
    }
    rate_corrections(context, drafts);
}

fn rate_corrections(context: &Context<'_>, drafts: &mut Drafts) {
    for (entry, correction) in context.workload.rate_corrections.iter().enumerate() {
        let first_ms = context.when_ms(correction.at, &format!("rate_corrections/{entry}"));
        let pair = super::late_rates::pair(&correction.pair);
        let date = context.market.back(correction.business_days_back);
        let series = &context.market.rates[&pair];
        let mut rate = latest(series, date).map_or(Amount::ONE, |(_, rate)| rate);
        for number in 0..correction.times {
            rate = product(rate, correction.factor.0);
            let version = 1 + number * 64 + u32::try_from(entry).expect("entries are few");
            let (key, value, label) = rate_message(&pair, date, rate, version);
            let label = format_smolstr!("correction/{label}/{version}");
            let at_ms = first_ms + correction.every.0 * u64::from(number);
            drafts.storm(at_ms, Topic::FxRates, key, value, label);
        }
    }
}

/// A product, cut off at six decimals so that prices stay readable; above zero if both are.
fn product(a: Amount, b: Amount) -> Amount {
    const MICRO: i128 = Amount::ONE.raw() / 1_000_000;
    let exact = a.raw() / MICRO * (b.raw() / MICRO) / 1_000_000;
    let floor = if a.is_zero() || b.is_zero() { 0 } else { 1 };
    Amount::from_raw(exact.max(floor) * MICRO)
}
