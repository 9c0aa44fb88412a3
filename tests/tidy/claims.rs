//! What documents and scenarios claim of the binary, asked of the binary.

use super::{TextFile, Violation, root};
use crate::support::{self, Ran};

/// Checks that each command of a document exists, with each of its flags.
pub(super) fn check_commands(file: &TextFile, violations: &mut Vec<Violation>) {
    for (line, command) in commands(&file.text) {
        let Some(name) = command.first() else { continue };
        let help = support::run([name.as_str(), "--help"]);
        if help.code != 0 {
            let cure = "name a command of `backdate --help`";
            violations.push(file.violation(line, format!("no command `{name}`"), cure));
            continue;
        }
        for flag in command.iter().filter(|word| word.starts_with("--") && word.len() > 2) {
            let flag = flag.split(['=', ']']).next().unwrap_or(flag);
            if !has_flag(&help, flag) {
                let what = format!("`{name}` has no flag `{flag}`");
                violations.push(file.violation(line, what, "name a flag of its `--help`"));
            }
        }
    }
}

fn has_flag(help: &Ran, flag: &str) -> bool {
    let is_end = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
    help.stdout.split_whitespace().any(|word| word.split(is_end).next() == Some(flag))
}

/// The words after the binary's name, of each command in backticks or in a code block.
fn commands(text: &str) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let mut is_code = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
            continue;
        }
        let spans: Vec<&str> = match is_code || line.starts_with("    ") {
            true => vec![line],
            false => line.split('`').skip(1).step_by(2).collect(),
        };
        found.extend(spans.into_iter().filter_map(arguments).map(|words| (number, words)));
    }
    found
}

fn arguments(span: &str) -> Option<Vec<String>> {
    let command = span.trim_start().trim_start_matches("$ ").split(" #").next()?;
    let rest = match command.strip_prefix("cargo run ") {
        Some(cargo) => cargo.split_once("-- ")?.1,
        None => command
            .strip_prefix("backdate ")
            .or_else(|| command.strip_prefix("target/release/backdate "))?,
    };
    let words = rest.split_whitespace().map(|word| word.trim_matches(['[', ']']).to_owned());
    Some(words.take_while(|word| word != "|" && word != ">" && word != "&&").collect())
}

/// Checks that a scenario opens with the reason why it exists, and that the binary takes it.
pub(super) fn check_scenario(file: &TextFile, violations: &mut Vec<Violation>) {
    if !file.text.starts_with("# ") {
        let cure = "say in a first comment why the scenario exists";
        violations.push(file.violation(1, "the scenario does not open with a comment", cure));
    }
    let overrides: [String; 0] = [];
    if let Err(problems) = backdate::scenario::Source::load(&root().join(&file.path), &overrides) {
        violations.push(file.violation(1, problems.to_string(), "mend the field that it names"));
    }
}

#[test]
fn commands_are_found_with_their_flags() {
    let text = "Run `backdate meta X --seeds 3` or `cargo test`.\n```sh\n\
                $ cargo run --release -- run a.toml --seed 1 # herd\n```\n    backdate list\n";
    let found = commands(text);
    let found: Vec<String> =
        found.iter().map(|(line, words)| format!("{line}: {}", words.join(" "))).collect();
    assert_eq!(found, ["1: meta X --seeds 3", "3: run a.toml --seed 1", "5: list"]);
}
