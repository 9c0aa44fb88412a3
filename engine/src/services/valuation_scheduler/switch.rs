//! What a switch of the served epoch means for whoever sums up what readers see.
//!
//! Rows of a key's new version have been there for a while, and some of the old one's dates may
//! have no row any more. Readers see both from the switch on, so its transaction sends the news.

use std::collections::BTreeMap;

use super::super::ServiceError;
use super::super::instance::Session;
use super::super::timeseries_generator::aggregation_event;
use crate::defects::{Defect, is_planted};
use crate::domain::ids::{Epoch, PortfolioId};
use crate::domain::messages::AggregationRequired;
use crate::ports::Ports;
use crate::ports::store::rows::{KeyState, OutboxRow};
use crate::ports::store::statements::{AppendOutbox, ReadSwitched};

/// Sends news of the rows of portfolios that the switches change; each key with the epoch that was
/// served before.
pub(super) async fn announce<P: Ports>(
    session: &mut Session<'_, P>,
    switched: &[(Epoch, &KeyState)],
    lanes: u32,
) -> Result<(), ServiceError> {
    let keys = switched.iter().map(|(was, new)| (new.key.clone(), *was, new.served_epoch));
    let firsts = session.run(ReadSwitched { keys: keys.collect() }).await?;
    let firsts: BTreeMap<_, _> = firsts.into_iter().collect();
    let mut news: BTreeMap<&PortfolioId, AggregationRequired> = BTreeMap::new();
    for (_, new) in switched {
        let (Some(from), Some(last)) = (firsts.get(&new.key), new.valued_through) else {
            continue;
        };
        if *from > last {
            continue;
        }
        let portfolio_id = &new.key.portfolio_id;
        let required = news.entry(portfolio_id).or_insert_with(|| AggregationRequired {
            portfolio_id: portfolio_id.clone(),
            date_from: *from,
            date_to: last,
            keys: Vec::new(),
        });
        required.date_from = required.date_from.min(*from);
        required.date_to = required.date_to.max(last);
        required.keys.push((new.key.security_id.clone(), new.token()));
    }
    let rows: Vec<OutboxRow> =
        news.values().map(|required| aggregation_event(required, lanes)).collect();
    if !rows.is_empty() && !is_planted(Defect::SwitchNotAnnounced) {
        session.run(AppendOutbox { rows }).await?;
    }
    Ok(())
}
