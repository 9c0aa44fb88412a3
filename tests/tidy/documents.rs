//! What documents name must be there, and some words are no one's business.

use std::path::Path;

use super::{TextFile, Violation};

/// Words that a public project does not say, taken apart so that this file does not hold them:
/// places of one machine, hosts of registries.
const WORDS: &[&str] = &[
    concat!("shar", "ed/"),
    concat!("/wo", "rk/"),
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Use", "rs/"),
    concat!("/tm", "p/wt"),
    concat!("C:", "\\"),
    concat!("crates", ".io"),
    concat!("local", "host:"),
];

/// Checks that every path in Markdown exists: from the root, from the document's folder, or as a
/// file of that name within the document's folder.
pub(super) fn check_paths(file: &TextFile, root: &Path, violations: &mut Vec<Violation>) {
    let folder = root.join(&file.path);
    let folder = folder.parent().unwrap_or(root);
    for (line, path) in paths(&file.text) {
        if !root.join(&path).exists() && !folder.join(&path).exists() {
            let cure = "name the file where it is now";
            violations.push(file.violation(line, format!("`{path}` does not exist"), cure));
        }
    }
}

/// Words between backticks, targets of links, and words of code blocks, that look like paths.
fn paths(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut is_code = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
            continue;
        }
        let is_code = is_code || line.starts_with("    ");
        let spans: Vec<&str> = match is_code {
            true => line.split_whitespace().collect(),
            false => spans(line),
        };
        let words = spans.into_iter().flat_map(str::split_whitespace).map(trim);
        found.extend(words.filter(|w| is_path(w, is_code)).map(|w| (number, w.to_owned())));
    }
    found
}

fn spans(line: &str) -> Vec<&str> {
    let ticks = line.split('`').skip(1).step_by(2);
    let links = line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    ticks.chain(links).collect()
}

fn trim(word: &str) -> &str {
    word.trim_matches(['"', '\'', ',', ';', '(', ')', ':'])
        .trim_start_matches("./")
        .trim_end_matches('.')
}

/// A word of plain characters with a slash or the extension of a source file. What is built, and
/// what stands for something else (`DIR/step_1`, `/metrics`, `a|b`), is no path of the repository.
fn is_path(word: &str, is_code: bool) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let first = word.split('/').next().unwrap_or_default();
    let stands_for_another = first.is_empty() || first.chars().all(|c| c.is_ascii_uppercase());
    let is_source = [".rs", ".sh", ".md"].iter().any(|end| word.ends_with(end));
    let is_scenario = word.ends_with(".toml") && word.contains('/');
    word.chars().all(is_plain)
        && first != "target"
        && !stands_for_another
        && (is_source || is_scenario || (word.contains('/') && !is_code))
}

/// Checks that no forbidden word is there.
pub(super) fn check_words(file: &TextFile, violations: &mut Vec<Violation>) {
    for (number, line) in (1..).zip(file.text.lines()) {
        for word in WORDS.iter().filter(|word| line.contains(*word)) {
            let what = format!("`{word}` is no one's business");
            violations.push(file.violation(number, what, "say it without the place or the host"));
        }
    }
}

#[test]
fn paths_of_markdown_are_found() {
    let text = "See `sim/src/main.rs`, `./test.sh`, [a](engine/README.md#x) and `cargo test`.\n\
                Not `/metrics`, `DIR/step_1`, `a::b`, `1/2|x` nor `target/release/backdate`.\n\
                ```\nbackdate run scenarios/a.toml --save out/x\n```\n    cat tests/b.rs\n";
    let found = paths(text);
    let words: Vec<&str> = found.iter().map(|(_, word)| word.as_str()).collect();
    assert_eq!(
        words,
        ["sim/src/main.rs", "test.sh", "engine/README.md", "scenarios/a.toml", "tests/b.rs"]
    );
    assert_eq!(found[3].0, 4);
}

#[test]
fn a_path_that_is_gone_and_a_forbidden_word_are_seen() {
    let text = format!("`engine/src/lib.rs` and\n`engine/src/gone.rs` in {}x\n", WORDS[1]);
    let file = TextFile { path: "README.md".into(), text };
    let mut violations = Vec::new();
    check_paths(&file, &super::root(), &mut violations);
    check_words(&file, &mut violations);
    let lines: Vec<usize> = violations.iter().map(|violation| violation.line).collect();
    assert_eq!(lines, [2, 2]);
}
