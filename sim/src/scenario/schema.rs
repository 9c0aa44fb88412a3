//! The JSON schema of scenario files, for editors that complete and check them while one types.
//!
//! It is derived from the types that read a file, so it cannot drift from them. Ranges and
//! references (is there such a security?) are for `run` and `suite` to check, which name the line.

use backdate_engine::ports::log::Topic;
use backdate_engine::runtime::Knobs;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::format::Scenario;

/// The schema.
pub fn schema() -> Schema {
    schemars::schema_for!(Scenario)
}

/// Partitions by topic.
pub(super) fn topics(_: &mut SchemaGenerator) -> Schema {
    let partitions = json!({ "type": "integer", "minimum": 1, "maximum": 256 });
    let topics = Topic::ALL.iter().map(|topic| (topic.as_str().to_owned(), partitions.clone()));
    object(topics.collect())
}

/// The knobs of the engine, which knows nothing of schemas: numbers by name.
pub(super) fn knobs(_: &mut SchemaGenerator) -> Schema {
    let knobs = serde_json::to_value(Knobs::default()).expect("knobs are numbers by name");
    let knobs = knobs.as_object().into_iter().flatten();
    let knob = |(name, default): (&String, &Value)| {
        (name.clone(), json!({ "type": "integer", "minimum": 1, "default": default }))
    };
    object(knobs.map(knob).collect())
}

/// A table of these keys and no others.
fn object(properties: Map<String, Value>) -> Schema {
    json_schema!({ "type": "object", "properties": properties, "additionalProperties": false })
}
