//! What each answer looks like, for the document: names and kinds of all fields.
//!
//! A kind is a word: that of a plain value, or the name of another schema. `[]` before it stands
//! for a list, `?` after it for null. Every field is always there, and there are no others.

use serde_json::{Map, Value, json};

use super::answer::ReprocessingStatus;
use super::routes::{self, Route};
use crate::domain::records::{Classification, KeyStatus, ParkReason, Timing, ValuationStatus};
use crate::ports::store::rows::JobStatus;

type Fields = &'static [(&'static str, &'static str)];

/// The schema of a route's answer; none of the document itself.
const ANSWERS: &[(&Route, &str)] = &[
    (&routes::POSITIONS, "PositionList"),
    (&routes::HISTORY, "HistoryPage"),
    (&routes::CASHFLOWS, "CashflowPage"),
    (&routes::TIMESERIES, "SeriesPage"),
    (&routes::OVERVIEW, "Overview"),
    (&routes::STUCK, "StuckPage"),
    (&routes::VALUATION_JOBS, "JobPage"),
    (&routes::LINEAGE, "Lineage"),
];

/// What is said of everything that was posted.
const TAKEN: &str = "Taken";

const SCHEMAS: &[(&str, Fields)] = &[
    (TAKEN, &[("accepted", "count"), ("correlation_id", "text")]),
    ("Token", &[("epoch", "count"), ("revision", "count")]),
    (
        "PositionList",
        &[("portfolio_id", "text"), ("as_of_date", "date?"), ("positions", "[]Position")],
    ),
    (
        "Position",
        &[
            ("security_id", "text"),
            ("position_date", "date"),
            ("quantity", "decimal"),
            ("cost_basis", "decimal"),
            ("cost_basis_local", "decimal"),
            ("valuation", "Valuation?"),
            ("reprocessing_status", "reprocessing"),
            ("epoch", "count"),
            ("newest", "Token"),
            ("watermark_date", "date"),
        ],
    ),
    (
        "Valuation",
        &[
            ("date", "date"),
            ("quantity", "decimal"),
            ("cost_basis", "decimal"),
            ("cost_basis_local", "decimal"),
            ("market_price", "decimal?"),
            ("market_value", "decimal?"),
            ("market_value_local", "decimal?"),
            ("unrealized_gain_loss", "decimal?"),
            ("unrealized_gain_loss_local", "decimal?"),
            ("valuation_status", "valued"),
            ("epoch", "count"),
            ("revision", "count"),
        ],
    ),
    (
        "HistoryPage",
        &[
            ("portfolio_id", "text"),
            ("security_id", "text"),
            ("reprocessing_status", "reprocessing"),
            ("epoch", "count"),
            ("newest", "Token"),
            ("history", "[]HistoryEntry"),
            ("next", "text?"),
        ],
    ),
    (
        "HistoryEntry",
        &[
            ("transaction_id", "text"),
            ("transaction_date", "instant"),
            ("position_date", "date"),
            ("quantity", "decimal"),
            ("cost_basis", "decimal"),
            ("cost_basis_local", "decimal"),
            ("epoch", "count"),
        ],
    ),
    ("CashflowPage", &[("portfolio_id", "text"), ("cashflows", "[]Cashflow"), ("next", "text?")]),
    (
        "Cashflow",
        &[
            ("security_id", "text"),
            ("transaction_id", "text"),
            ("cashflow_date", "date"),
            ("amount", "decimal"),
            ("currency", "text"),
            ("classification", "classification"),
            ("timing", "timing"),
            ("is_position_flow", "flag"),
            ("is_portfolio_flow", "flag"),
            ("reprocessing_status", "reprocessing"),
            ("epoch", "count"),
        ],
    ),
    (
        "SeriesPage",
        &[
            ("portfolio_id", "text"),
            ("base_currency", "text"),
            ("reprocessing_status", "reprocessing"),
            ("timeseries", "[]SeriesEntry"),
            ("next", "text?"),
        ],
    ),
    (
        "SeriesEntry",
        &[
            ("date", "date"),
            ("bod_market_value", "decimal"),
            ("bod_cashflow", "decimal"),
            ("eod_cashflow", "decimal"),
            ("eod_market_value", "decimal"),
            ("fees", "decimal"),
        ],
    ),
    (
        "Overview",
        &[
            ("portfolio_id", "text"),
            ("base_currency", "text?"),
            ("keys", "count"),
            ("reprocessing_keys", "count"),
            ("reprocessing_since", "instant?"),
            ("open_replays", "count"),
            ("valuation_jobs", "count"),
            ("waiting_valuation_jobs", "count"),
            ("parked", "[]ParkedCount"),
            ("watermark_date", "date?"),
            ("latest_business_date", "date?"),
        ],
    ),
    ("ParkedCount", &[("reason", "parked"), ("transactions", "count")]),
    (
        "Key",
        &[
            ("portfolio_id", "text"),
            ("security_id", "text"),
            ("epoch", "count"),
            ("revision", "count"),
            ("served_epoch", "count"),
            ("status", "status"),
            ("watermark_date", "date"),
            ("valued_through", "date?"),
            ("quantity", "decimal"),
            ("updated_at", "instant"),
        ],
    ),
    ("Place", &[("transaction_date", "instant"), ("transaction_id", "text")]),
    ("Replay", &[("epoch", "count"), ("from_date", "date"), ("cursor", "Place?")]),
    (
        "Job",
        &[
            ("id", "count"),
            ("status", "job"),
            ("date_from", "date"),
            ("date_to", "date"),
            ("attempts", "count"),
            ("lease_until", "instant?"),
            ("not_before", "instant"),
            ("keys", "[]JobKey"),
        ],
    ),
    (
        "JobKey",
        &[
            ("portfolio_id", "text"),
            ("security_id", "text"),
            ("epoch", "count"),
            ("revision", "count"),
        ],
    ),
    ("JobPage", &[("jobs", "[]Job"), ("next", "text?")]),
    ("StuckPage", &[("keys", "[]StuckKey"), ("next", "text?")]),
    (
        "StuckKey",
        &[
            ("state", "Key"),
            ("replay", "Replay?"),
            ("valuation_jobs", "count"),
            ("parked", "count"),
        ],
    ),
    (
        "Lineage",
        &[
            ("state", "Key"),
            ("epochs", "[]Version"),
            ("replay", "Replay?"),
            ("valuation_jobs", "[]Job"),
            ("triggers", "[]Trigger"),
            ("fan_outs", "[]FanOut"),
            ("transactions", "count"),
            ("parked", "[]Parked"),
        ],
    ),
    ("Version", &[("epoch", "count"), ("from_date", "date")]),
    ("Trigger", &[("subject", "text"), ("earliest_date", "date")]),
    ("FanOut", &[("id", "count"), ("subject", "text"), ("date", "date"), ("has_passed", "flag")]),
    (
        "Parked",
        &[("transaction_date", "instant"), ("transaction_id", "text"), ("reason", "parked")],
    ),
];

/// All schemas of answers, by name.
pub(super) fn all() -> Map<String, Value> {
    SCHEMAS.iter().map(|(name, fields)| ((*name).to_owned(), object(fields))).collect()
}

/// The schema of what a route answers when all is well.
pub(super) fn of_answer(route: &Route) -> Value {
    let of_route = ANSWERS.iter().find(|(answered, _)| answered.name == route.name);
    match (route.method(), of_route) {
        ("POST", _) => kind(TAKEN),
        (_, Some((_, name))) => kind(name),
        (_, None) => json!({"type": "object"}),
    }
}

fn object(fields: Fields) -> Value {
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    let properties: Map<String, Value> =
        fields.iter().map(|(name, word)| ((*name).to_owned(), kind(word))).collect();
    json!({
        "type": "object",
        "required": names,
        "additionalProperties": false,
        "properties": properties,
    })
}

fn kind(word: &str) -> Value {
    if let Some(word) = word.strip_suffix('?') {
        return json!({"anyOf": [kind(word), {"type": "null"}]});
    }
    if let Some(word) = word.strip_prefix("[]") {
        return json!({"type": "array", "items": kind(word)});
    }
    match word {
        "text" => json!({"type": "string"}),
        "flag" => json!({"type": "boolean"}),
        "count" => json!({"type": "integer", "minimum": 0}),
        "date" => {
            let pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$";
            json!({"type": "string", "format": "date", "pattern": pattern})
        }
        "instant" => json!({"type": "string", "format": "date-time"}),
        "decimal" => json!({"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?$"}),
        "reprocessing" => {
            json!({"enum": [ReprocessingStatus::Current, ReprocessingStatus::InProgress]})
        }
        "status" => json!({"enum": KeyStatus::ALL}),
        "valued" => json!({"enum": ValuationStatus::ALL}),
        "parked" => json!({"enum": ParkReason::ALL}),
        "classification" => json!({"enum": Classification::ALL}),
        "timing" => json!({"enum": Timing::ALL}),
        "job" => json!({"enum": JobStatus::ALL}),
        name => json!({"$ref": format!("#/components/schemas/{name}")}),
    }
}

#[test]
fn every_name_in_a_schema_is_that_of_a_schema() {
    let names = SCHEMAS.iter().flat_map(|(_, fields)| fields.iter().map(|(_, word)| *word));
    let names = names.chain(ANSWERS.iter().map(|(_, name)| *name));
    for word in names {
        let name = word.trim_start_matches("[]").trim_end_matches('?');
        if name.starts_with(char::is_uppercase) {
            assert!(SCHEMAS.iter().any(|(known, _)| *known == name), "{name}");
        } else {
            assert!(kind(name).get("$ref").is_none(), "{name} is no kind");
        }
    }
    let has_none = |route: &&Route| ANSWERS.iter().all(|(answered, _)| answered.name != route.name);
    let without: Vec<&str> = routes::ALL
        .iter()
        .copied()
        .filter(|route| route.method() == "GET" && has_none(route))
        .map(|route| route.name)
        .collect();
    assert_eq!(without, [routes::OPENAPI.name]);
}
