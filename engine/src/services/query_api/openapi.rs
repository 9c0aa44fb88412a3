//! `GET /openapi.json`: every route with all that it may answer, made of the routes themselves.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::answer::{Answer, Reply};
use super::routes::{ALL, Route};
use super::schemas;

/// What a parameter is, by its name.
fn schema(parameter: &str) -> Value {
    match parameter {
        "as_of_date" | "from" | "to" => json!({"type": "string", "format": "date"}),
        "limit" => json!({"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
        "older_than" => json!({"type": "string", "pattern": "^[0-9]+[smhd]$", "example": "1h"}),
        "status" => json!({"type": "string", "enum": ["PENDING", "PROCESSING", "WAITING"]}),
        "after" => json!({"type": "string", "description": "As a `next` link gives it."}),
        _ => json!({"type": "string", "minLength": 1, "maxLength": 512}),
    }
}

/// The document.
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in ALL {
        let path = paths.entry(route.path()).or_insert_with(|| json!({}));
        path[route.method().to_ascii_lowercase()] = operation(route);
    }
    let mut schemas = schemas::all();
    schemas.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Backdate query-api",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Positions and their histories, each of one complete version; what \
                operators look at; inputs. Decimals are texts. Without tokens, whoever reaches \
                the address may ask for everything.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
        },
        "security": [{ "bearer": [] }, {}],
    })
}

fn operation(route: &Route) -> Value {
    let of_path = route
        .path_parameters()
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": schema(name)}));
    let of_query = route.parameters.iter().map(
        |name| json!({"name": name, "in": "query", "required": false, "schema": schema(name)}),
    );
    let parameters: Vec<Value> = of_path.chain(of_query).collect();
    let answers = route.statuses.iter();
    let answers = answers.map(|status| (status.to_string(), response(route, *status)));
    let answers: Map<String, Value> = answers.collect();
    let mut operation = json!({
        "summary": route.summary,
        "operationId": route.name.replace(|c: char| !c.is_ascii_alphanumeric(), "_"),
        "parameters": parameters,
        "responses": answers,
    });
    if !route.bodies.is_empty() {
        let kinds = route.bodies.iter().map(|kind| ((*kind).to_owned(), json!({})));
        let content: Map<String, Value> = kinds.collect();
        operation["requestBody"] = json!({"required": true, "content": content});
    }
    operation
}

fn response(route: &Route, status: u16) -> Value {
    let known = StatusCode::from_u16(status).ok();
    let description = known.and_then(|status| status.canonical_reason()).unwrap_or_default();
    let content = match status {
        304 => return json!({ "description": description }),
        200..300 => json!({"application/json": {"schema": schemas::of_answer(route)}}),
        _ => json!({
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}},
        }),
    };
    json!({"description": description, "content": content})
}

fn problem() -> Value {
    json!({
        "type": "object",
        "required": ["status", "code", "detail", "correlation_id"],
        "properties": {
            "status": {"type": "integer"},
            "code": {"type": "string", "description": "Fixed, for programs."},
            "detail": {"type": "string", "description": "For people."},
            "parameter": {"type": "string"},
            "rows": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"row": {"type": "integer"}, "code": {"type": "string"}},
                },
            },
            "transaction_ids": {"type": "array", "items": {"type": "string"}},
            "correlation_id": {"type": "string"},
        },
    })
}

/// Answers.
pub(super) async fn view() -> Reply {
    Ok(Answer::found(&document()))
}

#[test]
fn every_route_is_in_the_document_and_nothing_else_is() {
    let document = document();
    let paths = document["paths"].as_object().expect("an object");
    let documented = paths.iter().flat_map(|(path, operations)| {
        let methods = operations.as_object().expect("an object").keys();
        methods.map(move |method| format!("{} {path}", method.to_ascii_uppercase()))
    });
    let mut documented: Vec<String> = documented.collect();
    documented.sort_unstable();
    let mut routes: Vec<&str> = ALL.iter().map(|route| route.name).collect();
    routes.sort_unstable();
    assert_eq!(documented, routes);
}
