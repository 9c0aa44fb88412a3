//! Back-dated trades on one key, faster than it can be replayed.

use backdate_engine::domain::records::TransactionType;
use backdate_engine::ports::log::Topic;
use smol_str::format_smolstr;

use super::messages::json;
use super::universe::Trade;
use super::{Context, Drafts};
use crate::world::random::below;

pub(super) fn draft(context: &Context<'_>, drafts: &mut Drafts) {
    for (entry, chain) in context.workload.chains.iter().enumerate() {
        let label = format!("chains/{entry}");
        let first_ms = context.when_ms(chain.at, &label);
        let security = context.universe.index_of(&chain.security);
        for number in 0..chain.length {
            let mut rng = context.stream(&format!("{label}/{number}"));
            let farthest = u64::from(chain.business_days_back);
            let back = if chain.descending {
                1 + u64::from(number) * farthest.saturating_sub(1) / u64::from(chain.length.max(1))
            } else {
                1 + below(&mut rng, farthest.max(1))
            };
            let is_sale = below(&mut rng, 4) == 0;
            let id = format_smolstr!("CHAIN-{entry}-{number}");
            let trade = Trade {
                id: &id,
                portfolio: chain.portfolio,
                security,
                kind: if is_sale { TransactionType::Sell } else { TransactionType::Buy },
                date: context.market.back(u32::try_from(back).expect("at most a u32")),
                time_ms: chain.same_instant.then_some(0),
                units: 1 + below(&mut rng, 20),
                source_version: 0,
            };
            let message = context.universe.trade(&mut rng, &trade);
            let at_ms = first_ms + chain.every.0 * u64::from(number);
            let label = format_smolstr!("chain/{entry}/{number}");
            let key = message.portfolio_id.clone();
            drafts.storm(at_ms, Topic::RawTransactions, key, json(&message), label);
        }
    }
}
