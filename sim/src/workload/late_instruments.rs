//! Instruments that are missing at first and arrive during the storm: keys wait for them.

use std::collections::BTreeSet;

use backdate_engine::ports::log::Topic;
use smol_str::SmolStr;

use super::initial_state::instrument_message;
use super::{Context, Drafts};

/// The securities whose instruments the initial state leaves out.
pub(super) fn securities<'a>(context: &Context<'a>) -> BTreeSet<&'a SmolStr> {
    context.workload.late_instruments.iter().map(|late| &late.security).collect()
}

pub(super) fn draft(context: &Context<'_>, drafts: &mut Drafts) {
    for (entry, late) in context.workload.late_instruments.iter().enumerate() {
        let at_ms = context.when_ms(late.at, &format!("late_instruments/{entry}"));
        let securities = &context.universe.securities;
        // One that no portfolio has drawn is nobody's to wait for.
        if let Some(security) = securities.iter().find(|security| security.id == late.security) {
            let (key, value, label) = instrument_message(security);
            drafts.storm(at_ms, Topic::Instruments, key, value, label);
        }
    }
}
