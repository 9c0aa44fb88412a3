//! Amendments: an initial transaction again, with another content and a higher version.

use backdate_engine::domain::records::TransactionType;
use backdate_engine::ports::log::Topic;
use smol_str::format_smolstr;

use super::messages::json;
use super::universe::Trade;
use super::{Context, Drafts, initial_state};
use crate::world::random::below;

pub(super) fn draft(context: &Context<'_>, drafts: &mut Drafts) {
    let Some(amendments) = &context.workload.amendments else { return };
    for number in 0..amendments.count {
        let mut rng = context.stream(&format!("amendments/{number}"));
        let at_ms = context.drawn_ms(&mut rng);
        let (portfolio, security) = context.universe.draw_key(&mut rng);
        let count = context.workload.holdings.transactions_per_key;
        let which = u32::try_from(below(&mut rng, u64::from(count))).expect("below a u32");
        let amended = initial_state::transaction(context, portfolio, security, which);
        // Half of them move to another date as well.
        let date = if below(&mut rng, 2) == 0 {
            amended.transaction_date.date()
        } else {
            let day = below(&mut rng, context.market.dates.len() as u64);
            context.market.dates[usize::try_from(day).expect("an index")]
        };
        let trade = Trade {
            id: &amended.transaction_id,
            portfolio,
            security,
            kind: TransactionType::parse(amended.transaction_type).expect("it was made from one"),
            date,
            time_ms: None,
            units: 500 * u64::from(which == 0) + 1 + below(&mut rng, 40),
            source_version: 1 + number,
        };
        let message = context.universe.trade(&mut rng, &trade);
        let label = format_smolstr!("amendment/{number}");
        let key = message.portfolio_id.clone();
        drafts.storm(at_ms, Topic::RawTransactions, key, json(&message), label);
    }
}
