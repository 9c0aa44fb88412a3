//! The rules of the house that no compiler checks, as tests.
//!
//! One test reads every file of the repository and reports all violations at once, each with its
//! place and its cure. A second one asks the binary about what documents and scenarios claim.
//! There are no lists of exemptions, and each check is itself tested on text that breaks it.

mod arrows;
mod claims;
mod documents;
mod lexer;
mod rust;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// A rule that a place breaks.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    file: String,
    line: usize,
    what: String,
    cure: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}; {}", self.file, self.line, self.what, self.cure)
    }
}

/// A text file of the repository.
#[derive(Debug)]
struct TextFile {
    /// From the root, with `/`.
    path: String,
    text: String,
}

impl TextFile {
    fn extension(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(_, extension)| extension)
    }

    /// Whether the file is Rust and holds nothing but tests.
    fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.path.ends_with("/tests.rs")
    }

    fn violation(&self, line: usize, what: impl Into<String>, cure: &'static str) -> Violation {
        Violation { file: self.path.clone(), line, what: what.into(), cure }
    }
}

/// Root of the repository.
fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("the package lies in the repository").to_path_buf()
}

/// Every text file of the repository, in order of its path.
fn text_files() -> Vec<TextFile> {
    let mut files = Vec::new();
    collect(&root(), "", &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(files.len() > 50, "only {} files found under {}", files.len(), root().display());
    files
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<TextFile>) {
    let entries = fs::read_dir(folder).expect("a folder of the repository can be read");
    for entry in entries {
        let entry = entry.expect("an entry of the repository can be read");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let is_folder = entry.file_type().expect("an entry has a type").is_dir();
        if is_folder && name != ".git" && name != "target" {
            collect(&entry.path(), &format!("{path}/"), files);
        } else if !is_folder && is_written_by_hand(&name) {
            let text = fs::read_to_string(entry.path());
            files.push(TextFile { text: text.expect("text files are UTF-8"), path });
        }
    }
}

fn is_written_by_hand(name: &str) -> bool {
    let extensions = [".rs", ".md", ".toml", ".sh", ".csv", ".sql", ".html", ".txt", ".json"];
    extensions.iter().any(|extension| name.ends_with(extension))
        || ["run", "LICENSE-MIT", "LICENSE-APACHE", ".gitignore"].contains(&name)
}

fn fail_if_any(mut violations: Vec<Violation>) {
    violations.sort();
    let lines: Vec<String> = violations.iter().map(Violation::to_string).collect();
    assert!(lines.is_empty(), "{} violations:\n{}", lines.len(), lines.join("\n"));
}

#[test]
fn every_file_is_tidy() {
    let files = text_files();
    let mut violations = Vec::new();
    for file in &files {
        if file.extension() == "rs" {
            rust::check(file, &mut violations);
            arrows::check(file, &mut violations);
        }
        if file.path.ends_with("Cargo.toml") {
            arrows::check_manifest(file, &mut violations);
        }
        if file.extension() == "md" {
            documents::check_paths(file, &root(), &mut violations);
        }
        documents::check_words(file, &mut violations);
    }
    fail_if_any(violations);
}

#[test]
fn documents_and_scenarios_claim_what_the_binary_does() {
    let mut violations = Vec::new();
    for file in &text_files() {
        if file.extension() == "md" {
            claims::check_commands(file, &mut violations);
        }
        if file.path.starts_with("scenarios/") && file.extension() == "toml" {
            claims::check_scenario(file, &mut violations);
        }
    }
    fail_if_any(violations);
}
