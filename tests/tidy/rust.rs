//! What a Rust file looks like: how it opens, how long it and its functions are, what is left over.

use super::lexer::code_only;
use super::{TextFile, Violation};

const LINES_MAX: usize = 400;
const TEST_LINES_MAX: usize = 600;
const COLUMNS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;

/// Marks of unfinished work, taken apart so that this file does not hold them.
const LEFTOVERS: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("to", "do!"),
    concat!("unim", "plemented!"),
    concat!("db", "g!("),
];

/// Checks one file.
pub(super) fn check(file: &TextFile, violations: &mut Vec<Violation>) {
    let text = &file.text;
    if !text.starts_with("//!") {
        let cure = "say in `//!` what it is, why it exists and what it refuses to do";
        violations.push(file.violation(1, "the file does not open with `//!`", cure));
    }
    if text.to_lowercase().starts_with("//! placeholder") {
        violations.push(file.violation(1, "a placeholder", "fill the module or take it out"));
    }
    let lines = text.lines().count();
    let lines_max = if file.is_test() { TEST_LINES_MAX } else { LINES_MAX };
    if lines > lines_max {
        let what = format!("{lines} lines, more than {lines_max}");
        violations.push(file.violation(lines, what, "split the file by concept"));
    }
    for (number, line) in (1..).zip(text.lines()) {
        let columns = line.chars().count();
        if columns > COLUMNS_MAX {
            let what = format!("{columns} columns, more than {COLUMNS_MAX}");
            violations.push(file.violation(number, what, "break the line"));
        }
        for leftover in LEFTOVERS.iter().filter(|leftover| line.contains(*leftover)) {
            let what = format!("`{leftover}` is left over");
            violations.push(file.violation(number, what, "finish it or state the limit"));
        }
        let squeezed = line.replace(' ', "");
        let is_engine = file.path.starts_with("engine/");
        if is_engine && (squeezed.contains("cfg(sim") || squeezed.contains("feature=\"sim\"")) {
            let cure = "put what differs behind a port";
            violations.push(file.violation(number, "the engine knows of the simulator", cure));
        }
    }
    for (name, line, length) in long_functions(&code_only(text)) {
        let what = format!("`{name}` has {length} lines, more than {FUNCTION_LINES_MAX}");
        violations.push(file.violation(line, what, "name its parts and take them out"));
    }
}

/// Functions that are too long: name, line, number of lines.
fn long_functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let begins_word = at > 0 && !code[..at].ends_with([' ', '\n', '(']);
        let name: String =
            code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let Some(length) = body_length(&code[at..]).filter(|_| !begins_word && !name.is_empty())
        else {
            continue;
        };
        let line = code[..at].matches('\n').count() + 1;
        let lines = code[at..at + length].matches('\n').count() + 1;
        if lines > FUNCTION_LINES_MAX {
            found.push((name, line, lines));
        }
    }
    found
}

/// Length from the signature to the closing brace; none for a declaration without body.
fn body_length(code: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            ';' if depth == 0 && !is_in_brackets(&code[..at]) => return None,
            '{' => depth += 1,
            '}' if depth == 1 => return Some(at + 1),
            '}' if depth == 0 => return None,
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Whether a bracket is open, as in `[u8; 4]`.
fn is_in_brackets(signature: &str) -> bool {
    signature.matches('[').count() > signature.matches(']').count()
}

#[cfg(test)]
fn violations_of(path: &str, text: &str) -> Vec<String> {
    let mut violations = Vec::new();
    check(&TextFile { path: path.into(), text: text.into() }, &mut violations);
    violations.into_iter().map(|v| format!("{}: {}", v.line, v.what)).collect()
}

#[test]
fn a_tidy_file_is_left_alone() {
    let text = format!("//! A file.\nfn f(a: [u8; 4]) {{\n{}}}\n", "    g();\n".repeat(68));
    assert_eq!(violations_of("sim/src/a.rs", &text), Vec::<String>::new());
}

#[test]
fn each_fault_of_a_file_is_seen() {
    let long = format!("fn f(a: [u8; 4]) {{\n{}}}\n", "    g();\n".repeat(69));
    let wide = format!("// {}\n", "w".repeat(98));
    let text = format!("{long}{wide}// {}\n{}\n", LEFTOVERS[0], "#[cfg( sim )]");
    let expected = [
        "1: the file does not open with `//!`",
        "72: 101 columns, more than 100",
        &format!("73: `{}` is left over", LEFTOVERS[0]),
        "74: the engine knows of the simulator",
        "1: `f` has 71 lines, more than 70",
    ];
    assert_eq!(violations_of("engine/src/a.rs", &text), expected);
    let many = format!("//! A file.\n{}", "\n".repeat(400));
    assert_eq!(violations_of("sim/src/a.rs", &many), ["401: 401 lines, more than 400"]);
    assert_eq!(violations_of("sim/src/a/tests.rs", &many), Vec::<String>::new());
}
