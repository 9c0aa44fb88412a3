//! Messages that no service can accept: each must end as a dead letter and hold up nothing else.

use backdate_engine::ports::log::Topic;
use smol_str::{SmolStr, format_smolstr};

use super::{Context, Drafts, portfolio_id};
use crate::world::random::below;

pub(super) fn draft(context: &Context<'_>, drafts: &mut Drafts) {
    let Some(poison) = &context.workload.poison else { return };
    for number in 0..poison.count {
        let mut rng = context.stream(&format!("poison/{number}"));
        let at_ms = context.drawn_ms(&mut rng);
        let (portfolio, security) = context.universe.draw_key(&mut rng);
        let portfolio = portfolio_id(portfolio);
        let security = &context.universe.securities[security].id;
        let kind = below(&mut rng, KINDS);
        let (topic, key, value) = message(kind, number, portfolio.as_str(), security);
        drafts.storm(at_ms, topic, key, value, format_smolstr!("poison/{number}"));
    }
    for number in 0..poison.internal {
        let label = format_smolstr!("poison/internal/{number}");
        let mut rng = context.stream(&label);
        let at_ms = context.drawn_ms(&mut rng);
        let (portfolio, security) = context.universe.draw_key(&mut rng);
        let topic = INTERNAL[number as usize % INTERNAL.len()];
        let key = match topic {
            Topic::MarketPricePersisted => context.universe.securities[security].id.clone(),
            _ => portfolio_id(portfolio).as_str().into(),
        };
        drafts.storm(at_ms, topic, key, format!("{{\"poison\": {number}"), label);
    }
}

/// Topics that the engine's processes write for each other, in turn.
const INTERNAL: [Topic; 7] = [
    Topic::RawTransactionsCompleted,
    Topic::MarketPricePersisted,
    Topic::ValuationRequired,
    Topic::FxRatePersisted,
    Topic::ProcessedTransactionsCompleted,
    Topic::DailyPositionSnapshotPersisted,
    Topic::PortfolioAggregationRequired,
];

/// Kinds of poison.
const KINDS: u64 = 8;

fn message(kind: u64, number: u32, portfolio: &str, security: &str) -> (Topic, SmolStr, String) {
    let transaction = |kind: &str, quantity: &str, gross: &str, fee: &str| {
        let value =
            format!(r#"{{"transaction_id":"POISON-{number}","portfolio_id":"{portfolio}","#,)
                + &format!(r#""instrument_id":"I-{security}","security_id":"{security}","#)
                + &format!(
                    r#""transaction_date":"2011-01-03T15:00:00Z","transaction_type":"{kind}","#
                )
                + &format!(r#""quantity":"{quantity}","price":"1","#)
                + &format!(r#""gross_transaction_amount":"{gross}","trade_fee":"{fee}","#)
                + r#""trade_currency":"USD","currency":"USD"}"#;
        (Topic::RawTransactions, SmolStr::new(portfolio), value)
    };
    match kind {
        0 => transaction("MERGER", "1", "1", "0"),
        1 => transaction("BUY", "0", "1", "0"),
        2 => transaction("SELL", "1", "1", "2"),
        3 => transaction("BUY", "1", "1000000000000", "0"),
        4 => (Topic::RawTransactions, portfolio.into(), format!("{{\"transaction_id\": {number}")),
        5 => {
            let value = format!(r#"{{"security_id":"{security}","price_date":"2011-01-03"}}"#);
            (Topic::MarketPrices, security.into(), value)
        }
        6 => {
            let value = r#"{"from_currency":"EUR","to_currency":"USD","#.to_owned()
                + r#""rate_date":"2011-01-03","rate":"-1"}"#;
            (Topic::FxRates, "EUR/USD".into(), value)
        }
        _ => (Topic::RawBusinessDates, "GLOBAL".into(), r#"{"business_date":"someday"}"#.into()),
    }
}
