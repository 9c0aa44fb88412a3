//! `list --schema`: the JSON schema takes every scenario that is shipped and no typo.
//!
//! The part of JSON Schema that it uses, and the document of `query-api` too, is read here, a few
//! dozen lines, and a keyword that is not read fails the test, so that nothing passes by being
//! overlooked.

use std::path::Path;

use serde_json::Value;

use crate::support::run;

/// Keywords that say nothing about what is valid.
const NOTES: &[&str] = &["$schema", "$defs", "title", "description", "default", "format"];

fn schema() -> Value {
    let ran = run(["list", "--schema"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).expect("JSON")
}

/// What is wrong with a value, if anything is; `at` is its path.
pub(crate) fn problem(root: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    let keywords = match schema {
        Value::Bool(true) => return None,
        Value::Bool(false) => return Some(format!("{at}: nothing may be here")),
        _ => schema.as_object().expect("a schema is an object"),
    };
    keywords.iter().find_map(|(keyword, of)| match keyword.as_str() {
        "$ref" => {
            let pointer = of.as_str().and_then(|of| of.strip_prefix('#')).expect("a reference");
            problem(root, root.pointer(pointer).expect("it is there"), value, at)
        }
        "type" => {
            let types = of.as_array().map_or(std::slice::from_ref(of), Vec::as_slice);
            let fits = types.iter().any(|of| has_type(value, of.as_str().expect("a type")));
            (!fits).then(|| format!("{at}: is no {of}"))
        }
        "properties" => {
            let known = value.as_object()?.iter();
            known.filter_map(|(key, value)| Some((key, of.get(key)?, value))).find_map(
                |(key, schema, value)| problem(root, schema, value, &format!("{at}.{key}")),
            )
        }
        "additionalProperties" => {
            let listed = |key: &String| schema["properties"].get(key).is_some();
            let mut others = value.as_object()?.iter().filter(|(key, _)| !listed(key));
            others.find_map(|(key, value)| problem(root, of, value, &format!("{at}.{key}")))
        }
        "required" => {
            let keys = of.as_array()?.iter().filter_map(Value::as_str);
            let missing = keys.into_iter().find(|key| value.get(key).is_none())?;
            Some(format!("{at}.{missing}: is missing"))
        }
        "items" => {
            let mut items = value.as_array()?.iter().enumerate();
            items.find_map(|(n, item)| problem(root, of, item, &format!("{at}[{n}]")))
        }
        "minimum" => (value.as_f64()? < of.as_f64()?).then(|| format!("{at}: is below {of}")),
        "maximum" => (value.as_f64()? > of.as_f64()?).then(|| format!("{at}: is above {of}")),
        "const" => (value != of).then(|| format!("{at}: is not {of}")),
        "enum" => {
            let is_one = of.as_array()?.contains(value);
            (!is_one).then(|| format!("{at}: is none of {of}"))
        }
        "anyOf" | "oneOf" => {
            let choices = of.as_array()?;
            let fits = choices.iter().any(|of| problem(root, of, value, at).is_none());
            (!fits).then(|| format!("{at}: fits none of {of}"))
        }
        "pattern" => {
            let pattern = regex::Regex::new(of.as_str().expect("a text")).expect("a pattern");
            (!pattern.is_match(value.as_str()?)).then(|| format!("{at}: does not match {of}"))
        }
        note if NOTES.contains(&note) => None,
        other => panic!("{at}: the keyword {other} is not read"),
    })
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("no type {other}"),
    }
}

fn value(text: &str) -> Value {
    let table: toml::Table = text.parse().expect("TOML");
    serde_json::to_value(table).expect("scenarios hold no dates")
}

fn shipped() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let files = backdate::scenario::source::files(&folder).expect("there are scenarios");
    let text = |path: &Path| std::fs::read_to_string(path).expect("it can be read");
    let all = files.into_iter().map(|path| (path.display().to_string(), text(&path)));
    all.filter(|(_, text)| !backdate::scenario::source::is_plan(text)).collect()
}

#[test]
fn the_schema_takes_every_scenario_that_is_shipped() {
    let schema = schema();
    let scenarios = shipped();
    assert!(scenarios.len() > 10);
    for (path, text) in scenarios {
        assert_eq!(problem(&schema, &schema, &value(&text), ""), None, "{path}");
    }
}

#[test]
fn the_schema_takes_no_typo() {
    let schema = schema();
    let (_, text) =
        shipped().into_iter().find(|(path, _)| path.ends_with("kills.toml")).expect("it");
    for (old, new, at) in [
        ("storm =", "strom =", ".phases"),
        ("kind = \"crash\"", "kind = \"crush\"", ".faults[0].kind"),
        ("[workload.data]", "[workload.date]", ".workload"),
        ("count = ", "count = -", ".workload.portfolios.count"),
        ("about = ", "abuot = ", ""),
        ("[cluster]", "[cluster]\nvaluation_scheduler = 2", ".cluster.valuation_scheduler"),
        ("[cluster]", "[cluster]\nknobs = { replay_chank = 1 }", ".cluster.knobs.replay_chank"),
        ("[phases]", "[phases]\ncalm_limit = 5", ".phases.calm_limit"),
        ("lasts = \"3s\"", "lasts = \"3 s\"", ".faults[2].lasts"),
    ] {
        assert!(text.contains(old), "{old} is not in the scenario");
        let changed = text.replacen(old, new, 1);
        let Ok(table) = changed.parse::<toml::Table>() else { panic!("{new}: no TOML") };
        let wrong = serde_json::to_value(table).expect("JSON");
        let told = problem(&schema, &schema, &wrong, "").unwrap_or_else(|| panic!("{new} passes"));
        assert!(told.starts_with(at), "{new}: {told}");
    }
}
