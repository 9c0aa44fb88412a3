//! Messages that no client of this system sends: amendments that would move a transaction to
//! another portfolio, and valuation jobs of another environment. They must have no effect.

use backdate_engine::ports::log::Topic;
use smol_str::format_smolstr;

use super::messages::json;
use super::{Context, Drafts, initial_state, portfolio_id};
use crate::world::random::below;

/// Epochs that no key reaches in a run.
const FOREIGN_EPOCH: u32 = 1_000_000;

pub(super) fn draft(context: &Context<'_>, drafts: &mut Drafts) {
    let Some(strangers) = &context.workload.strangers else { return };
    for number in 0..strangers.moves {
        let mut rng = context.stream(&format!("strangers/moves/{number}"));
        let at_ms = context.drawn_ms(&mut rng);
        let (portfolio, security) = context.universe.draw_key(&mut rng);
        let mut moved = initial_state::transaction(context, portfolio, security, 0);
        let others = context.workload.portfolios.count;
        moved.portfolio_id = portfolio_id(1 + portfolio % others).as_str().into();
        // Above the versions of amendments, so that it cannot be dropped as an older one.
        moved.source_version = FOREIGN_EPOCH + number;
        // News of one transaction stay in order: it goes where its transaction went.
        let key = portfolio_id(portfolio).as_str().into();
        let label = format_smolstr!("move/{number}");
        drafts.storm(at_ms, Topic::RawTransactions, key, json(&moved), label);
    }
    for number in 0..strangers.foreign_jobs {
        let mut rng = context.stream(&format!("strangers/jobs/{number}"));
        let at_ms = context.drawn_ms(&mut rng);
        let (portfolio, security) = context.universe.draw_key(&mut rng);
        let portfolio = portfolio_id(portfolio);
        let security = &context.universe.securities[security].id;
        let epoch = FOREIGN_EPOCH + u32::try_from(below(&mut rng, 1_000)).expect("small");
        let value = format!(r#"{{"portfolio_id":"{portfolio}","security_id":"{security}","#)
            + &format!(r#""valuation_date":"{}","epoch":{epoch},"#, context.market.today())
            + &format!(r#""revision":{epoch},"correlation_id":"FOREIGN_JOB_{number}"}}"#);
        let label = format_smolstr!("foreign_job/{number}");
        drafts.storm(at_ms, Topic::ValuationRequired, portfolio.as_str().into(), value, label);
    }
}
