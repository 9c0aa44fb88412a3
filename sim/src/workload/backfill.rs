//! A history that comes late: transactions of every key and of all dates, in no order of dates.

use backdate_engine::domain::records::TransactionType;
use backdate_engine::ports::log::Topic;
use smol_str::format_smolstr;

use super::messages::json;
use super::universe::Trade;
use super::{Context, Drafts};
use crate::world::random::below;

pub(super) fn draft(context: &Context<'_>, drafts: &mut Drafts) {
    let Some(backfill) = &context.workload.backfill else { return };
    let first_ms = context.when_ms(backfill.at, "backfill");
    for (index, held) in context.universe.holdings.iter().enumerate() {
        let portfolio = 1 + u32::try_from(index).expect("portfolios are counted by u32");
        for &security in held {
            let name = &context.universe.securities[security].id;
            for number in 0..backfill.transactions_per_key {
                let label = format_smolstr!("backfill/{portfolio}/{name}/{number}");
                let mut rng = context.stream(&label);
                let at_ms = first_ms + below(&mut rng, backfill.lasts.0.max(1));
                // Not today, which belongs to live transactions.
                let days = context.market.dates.len().saturating_sub(1).max(1);
                let day = below(&mut rng, days as u64);
                let is_sale = below(&mut rng, 4) == 0;
                let id = format_smolstr!("FILL-{portfolio}-{name}-{number}");
                let trade = Trade {
                    id: &id,
                    portfolio,
                    security,
                    kind: if is_sale { TransactionType::Sell } else { TransactionType::Buy },
                    date: context.market.dates[usize::try_from(day).expect("an index")],
                    time_ms: None,
                    units: 1 + below(&mut rng, 20),
                    source_version: 0,
                };
                let message = context.universe.trade(&mut rng, &trade);
                let key = message.portfolio_id.clone();
                drafts.storm(at_ms, Topic::RawTransactions, key, json(&message), label);
            }
        }
    }
}
