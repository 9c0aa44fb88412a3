//! A retry storm: what clients have sent, they send again and again.

use smol_str::format_smolstr;

use super::{Context, Drafts, happens};

/// Adds to whatever is drafted so far, so it comes last.
pub(super) fn draft(context: &Context<'_>, drafts: &mut Drafts) {
    let Some(retries) = &context.workload.retries else { return };
    for input in drafts.of_storm() {
        let mut rng = context.stream(&format!("retries/{}", input.correlation_id));
        if !happens(&mut rng, retries.share) {
            continue;
        }
        for number in 1..=retries.times {
            let at_ms = input.at_ms + retries.every.0 * u64::from(number);
            let label = format_smolstr!("retry/{number}/{}", input.correlation_id);
            let (topic, key, value) = (input.topic, input.key.clone(), input.value.to_string());
            drafts.storm(at_ms.min(context.storm.0), topic, key, value, label);
        }
    }
}
