//! What inputs and faults are about, read from their own data: so that no kind is forgotten.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::scenario::plan::{PlannedFault, PlannedInput};

/// Fields of payloads by which inputs belong together.
pub(super) const DIMENSIONS: [&[&str]; 3] =
    [&["portfolio_id"], &["security_id"], &["business_date", "price_date", "rate_date"]];

/// What an input belongs to in a dimension, if it does.
pub(super) fn label(input: &PlannedInput, fields: &[&str]) -> Option<String> {
    let payload: Value = serde_json::from_str(&input.value).ok()?;
    let found = fields.iter().find_map(|field| payload.get(field)?.as_str());
    found.map(str::to_owned)
}

/// Whether a fault speaks of somebody who is not there any more. Processes of the engine go by
/// their kind and a number, or by their kind, which stands for any of them.
pub(super) fn is_orphan(planned: &PlannedFault, gone: &BTreeSet<String>) -> bool {
    let fault = serde_json::to_value(&planned.fault).expect("a fault is plain data");
    mentions(&fault, gone)
}

fn mentions(value: &Value, gone: &BTreeSet<String>) -> bool {
    match value {
        Value::String(text) => gone.contains(text),
        Value::Array(items) => items.iter().any(|item| mentions(item, gone)),
        Value::Object(fields) => fields.values().any(|field| mentions(field, gone)),
        _ => false,
    }
}

/// The fault with each of its durations and counts halved; none if nothing is left to halve.
pub(super) fn halved(planned: &PlannedFault) -> Option<PlannedFault> {
    let mut fault = serde_json::to_value(&planned.fault).expect("a fault is plain data");
    if !halve(&mut fault, "") {
        return None;
    }
    // A fault that its type refuses is left as it is.
    let fault = serde_json::from_value(fault).ok()?;
    Some(PlannedFault { fault, ..planned.clone() })
}

fn halve(value: &mut Value, name: &str) -> bool {
    match value {
        Value::Number(number) if is_length(name) => {
            let Some(old) = number.as_u64().filter(|old| *old > 1) else { return false };
            *value = Value::from(old / 2);
            true
        }
        Value::Object(fields) => {
            let mut is_less = false;
            for (name, field) in fields {
                is_less |= halve(field, name);
            }
            is_less
        }
        _ => false,
    }
}

/// Whether a field says how long or how often; a pass and an offset say which.
fn is_length(name: &str) -> bool {
    name == "times" || name.ends_with("_ms") && name != "offset_ms"
}
