//! Reference data that arrives late or changes: portfolios, instruments, and their currencies.

use std::collections::BTreeSet;

use backdate_engine::ports::log::Topic;
use smol_str::{SmolStr, format_smolstr};

use super::initial_state::{instrument_message, portfolio_message};
use super::{Context, Drafts};

/// Numbers of the portfolios that the initial state leaves out.
pub(super) fn portfolios(context: &Context<'_>) -> BTreeSet<u32> {
    context.workload.late_portfolios.iter().map(|late| late.portfolio).collect()
}

/// Securities whose instruments the initial state leaves out.
pub(super) fn instruments<'a>(context: &Context<'a>) -> BTreeSet<&'a SmolStr> {
    context.workload.late_instruments.iter().map(|late| &late.security).collect()
}

pub(super) fn draft(context: &Context<'_>, drafts: &mut Drafts) {
    for (entry, late) in context.workload.late_portfolios.iter().enumerate() {
        let at_ms = context.when_ms(late.at, &format!("late_portfolios/{entry}"));
        let (key, value, label) = portfolio_message(context, late.portfolio);
        drafts.storm(at_ms, Topic::RawPortfolios, key, value, label);
    }
    for (entry, late) in context.workload.late_instruments.iter().enumerate() {
        let at_ms = context.when_ms(late.at, &format!("late_instruments/{entry}"));
        let index = context.universe.index_of(&late.security);
        let currency = &context.universe.securities[index].currency;
        let (key, value, label) = instrument_message(&late.security, currency);
        drafts.storm(at_ms, Topic::Instruments, key, value, label);
    }
    for (entry, change) in context.workload.currency_changes.iter().enumerate() {
        let at_ms = context.when_ms(change.at, &format!("currency_changes/{entry}"));
        let (key, value, label) = instrument_message(&change.security, &change.currency);
        let label = format_smolstr!("change/{label}");
        drafts.storm(at_ms, Topic::Instruments, key, value, label);
    }
}
