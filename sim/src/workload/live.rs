//! Live transactions during the storm, some dated in the past, some sales before their purchases.

use backdate_engine::domain::records::TransactionType;
use backdate_engine::domain::time::Date;
use backdate_engine::ports::log::Topic;
use rand_chacha::ChaCha8Rng;
use smol_str::{SmolStr, format_smolstr};

use super::messages::json;
use super::universe::Trade;
use super::{Context, Drafts, happens, weighted};
use crate::scenario::format::workload::Live;
use crate::world::random::below;

/// Units of a sale that no lot covers until its purchase arrives.
const UNCOVERED_UNITS: u64 = 1_000_000;

pub(super) fn draft(context: &Context<'_>, drafts: &mut Drafts) {
    let Some(live) = &context.workload.live else { return };
    let storm_ms = context.storm.0;
    let count = (live.rate_per_second * storm_ms as f64 / 1_000.0) as u64;
    for number in 0..count {
        let mut rng = context.stream(&format!("live/{number}"));
        // One in each equal part of the storm, at a drawn moment of it.
        let (from_ms, to_ms) = (storm_ms * number / count, storm_ms * (number + 1) / count);
        let at_ms = from_ms + below(&mut rng, (to_ms - from_ms).max(1));
        if happens(&mut rng, live.sells_before_buys_share) {
            sell_before_buy(context, drafts, &mut rng, number, at_ms);
        } else {
            one(context, drafts, &mut rng, live, number, at_ms);
        }
    }
}

fn one(
    context: &Context<'_>,
    drafts: &mut Drafts,
    rng: &mut ChaCha8Rng,
    live: &Live,
    number: u64,
    at_ms: u64,
) {
    let drawn = context.universe.draw_key(rng);
    let (portfolio, security) = hot_key(context, live, number).unwrap_or(drawn);
    let kind =
        TransactionType::parse(weighted(rng, &live.mix)).expect("validation knows the types");
    let (date, time_ms) = if happens(rng, live.backdated_share) {
        let back = 1 + below(rng, u64::from(live.backdated_days_max.max(1)));
        (context.market.back(u32::try_from(back).expect("at most a u32")), None)
    } else {
        // Booked as it happens: each after all that were booked before it.
        (context.market.today(), Some(at_ms))
    };
    let units = 1 + below(rng, 20);
    let id = format_smolstr!("LIVE-{number}");
    let trade =
        Trade { id: &id, portfolio, security, kind, date, time_ms, units, source_version: 0 };
    send(context, drafts, rng, &trade, at_ms);
}

/// The key that everybody trades, if this trade is one of those.
fn hot_key(context: &Context<'_>, live: &Live, number: u64) -> Option<(u32, usize)> {
    let mut rng = context.stream(&format!("live/{number}/hot"));
    let is_hot = live.hot_key_share > 0.0 && happens(&mut rng, live.hot_key_share);
    is_hot.then(|| context.universe.draw_key(&mut context.stream("live/hot_key")))
}

/// A sale that has to wait for the purchase that covers it.
fn sell_before_buy(
    context: &Context<'_>,
    drafts: &mut Drafts,
    rng: &mut ChaCha8Rng,
    number: u64,
    at_ms: u64,
) {
    let (portfolio, security) = context.universe.draw_key(rng);
    let sold = u32::try_from(below(rng, 3)).expect("small");
    let bought = sold + 1 + u32::try_from(below(rng, 3)).expect("small");
    let later_ms = (at_ms + 500 + below(rng, 2_500)).min(context.storm.0);
    let units = UNCOVERED_UNITS;
    let dates: [(&str, TransactionType, Date, u64); 2] = [
        ("SELL", TransactionType::Sell, context.market.back(sold), at_ms),
        ("BUY", TransactionType::Buy, context.market.back(bought), later_ms),
    ];
    for (name, kind, date, at_ms) in dates {
        let id: SmolStr = format_smolstr!("LIVE-{number}-{name}");
        let trade = Trade {
            id: &id,
            portfolio,
            security,
            kind,
            date,
            time_ms: None,
            units,
            source_version: 0,
        };
        send(context, drafts, rng, &trade, at_ms);
    }
}

fn send(
    context: &Context<'_>,
    drafts: &mut Drafts,
    rng: &mut ChaCha8Rng,
    trade: &Trade<'_>,
    at_ms: u64,
) {
    let message = context.universe.trade(rng, trade);
    let label = format_smolstr!("live/{}", trade.id);
    let key = message.portfolio_id.clone();
    drafts.storm(at_ms, Topic::RawTransactions, key, json(&message), label);
}
