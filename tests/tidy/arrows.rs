//! Dependencies point one way: domain <- services -> ports <- adapters; engine <- sim -> reports.
//! And the naive model shares with the engine only what two independent readers must share.

use toml::Table;

use super::lexer::{code_only, paths};
use super::{TextFile, Violation};

/// Files under `folder` do not name anything under `forbidden`.
struct Arrow {
    folder: &'static str,
    forbidden: &'static [&'static str],
    cure: &'static str,
}

const ARROWS: &[Arrow] = &[
    Arrow {
        folder: "engine/src/domain/",
        forbidden: &[
            "engine::ports",
            "engine::services",
            "engine::adapters",
            "engine::runtime",
            "tokio",
        ],
        cure: "the domain is pure; move the vocabulary into it, or the code out of it",
    },
    Arrow {
        folder: "engine/src/ports/",
        forbidden: &["engine::services", "engine::adapters", "engine::runtime"],
        cure: "a port says what an implementer must do; it knows neither callers nor implementers",
    },
    Arrow {
        folder: "engine/src/services/",
        forbidden: &["engine::adapters", "tokio", "async_task"],
        cure: "a service reaches the world through a port",
    },
    Arrow {
        folder: "engine/",
        forbidden: &["sim", "reports", "turmoil", "turmoil_net", "rand", "rand_chacha"],
        cure: "the engine knows nothing of the simulator",
    },
    Arrow {
        folder: "reports/",
        forbidden: &["sim", "turmoil", "turmoil_net"],
        cure: "reports read a recording, not the simulator",
    },
];

/// All that the naive model may name of other modules.
const MODEL_MAY_NAME: &[&str] = &[
    "engine::domain::ids",
    "engine::domain::time",
    "engine::domain::money",
    "engine::domain::records",
    "engine::ports::store::rows",
    "engine::ports::log",
    "sim::oracle::model",
];
const MODEL: &str = "sim/src/oracle/model";

/// Packages that a manifest may not depend on: manifest, packages.
const MANIFESTS: &[(&str, &[&str])] = &[
    (
        "engine/Cargo.toml",
        &["backdate", "backdate-reports", "turmoil", "turmoil-net", "tokio", "rand", "async-task"],
    ),
    ("reports/Cargo.toml", &["backdate", "turmoil", "turmoil-net", "tokio"]),
    ("sim/Cargo.toml", &["backdate-tests", "backdate-benches", "turmoil"]),
];

/// Checks what a Rust file names.
pub(super) fn check(file: &TextFile, violations: &mut Vec<Violation>) {
    let is_model = file.path.starts_with(MODEL);
    let arrows: Vec<&Arrow> =
        ARROWS.iter().filter(|arrow| file.path.starts_with(arrow.folder)).collect();
    if arrows.is_empty() && !is_model {
        return;
    }
    for (line, path) in paths(&code_only(&file.text)) {
        let path = resolve(&file.path, &path);
        for arrow in &arrows {
            if let Some(forbidden) = arrow.forbidden.iter().find(|f| is_within(&path, f)) {
                let what =
                    format!("`{path}` is in `{forbidden}`, which `{}` may not name", arrow.folder);
                violations.push(file.violation(line, what, arrow.cure));
            }
        }
        let is_ours = ["engine", "sim", "reports"].iter().any(|own| is_within(&path, own));
        let is_allowed = MODEL_MAY_NAME.iter().any(|allowed| is_within(&path, allowed));
        if is_model && is_ours && !is_allowed {
            let what = format!("the naive model names `{path}`");
            let cure = "write it a second time, from the contract's sentences";
            violations.push(file.violation(line, what, cure));
        }
    }
}

/// Checks the dependencies of a manifest, optional ones left aside.
pub(super) fn check_manifest(file: &TextFile, violations: &mut Vec<Violation>) {
    let manifest: Table = file.text.parse().expect("cargo has read the manifest");
    let Some(dependencies) = manifest.get("dependencies").and_then(|d| d.as_table()) else {
        return;
    };
    let forbidden = MANIFESTS.iter().filter(|(path, _)| *path == file.path);
    for name in forbidden.flat_map(|(_, names)| *names) {
        let dependency = dependencies.get(*name);
        let is_optional =
            dependency.and_then(|d| d.get("optional")).and_then(|o| o.as_bool()) == Some(true);
        if dependency.is_some() && !is_optional {
            let line = file.text.lines().position(|line| line.starts_with(name)).unwrap_or(0) + 1;
            let cure = "dependencies point one way: engine <- sim -> reports";
            violations.push(file.violation(line, format!("it depends on `{name}`"), cure));
        }
    }
}

fn is_within(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// A path from the crate that it is in, as `engine::...`, `sim::...` or `reports::...`; paths into
/// other crates stay as they are.
fn resolve(file: &str, path: &str) -> String {
    let (package, inner) = match file.split_once("/src/") {
        Some((package, inner)) => (package, inner),
        None => return external(path),
    };
    let mut module: Vec<&str> = inner.trim_end_matches(".rs").split('/').collect();
    if matches!(module.last(), Some(&"mod" | &"lib" | &"main")) {
        module.pop();
    }
    let mut rest = path;
    if let Some(inside) = rest.strip_prefix("crate::") {
        module.clear();
        rest = inside;
    } else if rest.starts_with("self::") || rest.starts_with("super::") {
        rest = rest.strip_prefix("self::").unwrap_or(rest);
        while let Some(outside) = rest.strip_prefix("super::") {
            module.pop();
            rest = outside;
        }
    } else {
        return external(path);
    }
    let mut segments = vec![package];
    segments.extend(module);
    segments.push(rest);
    segments.join("::")
}

fn external(path: &str) -> String {
    let (first, rest) = path.split_once("::").unwrap_or((path, ""));
    let first = match first {
        "backdate_engine" => "engine",
        "backdate_reports" => "reports",
        "backdate" => "sim",
        // A module of that name in scope is not the crate.
        "engine" | "reports" | "sim" => "local",
        other => other,
    };
    format!("{first}::{rest}")
}

#[cfg(test)]
fn lines_of(path: &str, text: &str) -> Vec<usize> {
    let mut violations = Vec::new();
    check(&TextFile { path: path.into(), text: text.into() }, &mut violations);
    violations.into_iter().map(|violation| violation.line).collect()
}

#[test]
fn arrows_against_the_direction_are_seen() {
    let text = "use super::ids::Key;\nuse super::super::ports::log::Topic;\n\
                use crate::{services::x, domain::y};\nfn f() { tokio::spawn(g) }\n\
                // use crate::ports;\nuse backdate_reports::a;";
    assert_eq!(lines_of("engine/src/domain/cost/mod.rs", text), [2, 3, 4, 6]);
    assert_eq!(lines_of("engine/src/domain/cost/lots.rs", text), [3, 4, 6]);
    assert_eq!(lines_of("reports/src/a.rs", "use backdate::world;\nuse std::rc;"), [1]);
}

#[test]
fn the_model_may_name_data_only() {
    let text = "use backdate_engine::domain::{ids::Key, cost::fold};\nuse super::fold;\n\
                use backdate_engine::ports::store::{rows::KeyState, Store};\nuse crate::world;\n\
                use crate::oracle::model::read;\nuse std::rc::Rc;";
    assert_eq!(lines_of("sim/src/oracle/model/value.rs", text), [1, 3, 4]);
}

#[test]
fn a_manifest_that_depends_the_wrong_way_is_seen() {
    let text =
        "[dependencies]\nserde = \"1\"\ntokio = \"1\"\nrand = { version = \"1\", optional = true }";
    let file = TextFile { path: "engine/Cargo.toml".into(), text: text.into() };
    let mut violations = Vec::new();
    check_manifest(&file, &mut violations);
    assert_eq!(violations.len(), 1);
    assert_eq!((violations[0].line, violations[0].what.as_str()), (3, "it depends on `tokio`"));
}
