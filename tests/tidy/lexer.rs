//! Rust source with comments and literals blanked out, and the paths that stand in it.
//!
//! It knows as much of the language as is needed to count braces and to see what is named; it
//! refuses to be a parser.

/// The code alone: comments, texts and characters become blanks, line breaks stay.
pub(super) fn code_only(source: &str) -> String {
    let mut lexer = Lexer { rest: source, code: String::with_capacity(source.len()) };
    while !lexer.rest.is_empty() {
        lexer.step();
    }
    lexer.code
}

struct Lexer<'a> {
    rest: &'a str,
    code: String,
}

impl Lexer<'_> {
    fn step(&mut self) {
        if self.rest.starts_with("//") {
            let length = self.rest.find('\n').unwrap_or(self.rest.len());
            self.blank(length);
        } else if self.rest.starts_with("/*") {
            self.blank(block_comment(self.rest));
        } else if let Some(length) = raw_text(self.rest).filter(|_| !self.is_in_word()) {
            self.blank(length);
        } else if self.rest.starts_with('"') {
            self.blank(quoted(self.rest));
        } else if let Some(length) = character(self.rest) {
            self.blank(length);
        } else {
            let next = self.rest.chars().next().expect("the rest is not empty");
            self.code.push(next);
            self.rest = &self.rest[next.len_utf8()..];
        }
    }

    fn is_in_word(&self) -> bool {
        self.code.chars().next_back().is_some_and(is_word)
    }

    fn blank(&mut self, length: usize) {
        let (literal, rest) = self.rest.split_at(length);
        self.code.extend(literal.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        self.rest = rest;
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// Length of a raw text such as `r#"..."#`, with its prefix.
fn raw_text(text: &str) -> Option<usize> {
    let prefix = text.strip_prefix('b').or_else(|| text.strip_prefix('c')).unwrap_or(text);
    let fence = prefix.strip_prefix('r')?;
    let hashes = fence.len() - fence.trim_start_matches('#').len();
    let body = fence[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = text.len() - body.len();
    Some(body.find(&end).map_or(text.len(), |at| start + at + end.len()))
}

fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Length of a character literal; none for a lifetime.
fn character(text: &str) -> Option<usize> {
    let body = text.strip_prefix('\'')?;
    let first = body.chars().next()?;
    if first == '\\' {
        let escape = 1 + body[1..].chars().next()?.len_utf8();
        return body[escape..].find('\'').map(|at| 1 + escape + at + 1);
    }
    body[first.len_utf8()..].starts_with('\'').then_some(first.len_utf8() + 2)
}

/// The paths of at least two segments that stand in code, groups written out, with their lines.
pub(super) fn paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let rest = &code[at..];
        let next = rest.chars().next().expect("the rest is not empty");
        if !is_word(next) {
            at += next.len_utf8();
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let mut written_out = Vec::new();
        at += path(rest, "", &mut written_out);
        let long = written_out.into_iter().filter(|path| path.contains("::"));
        found.extend(long.map(|path| (line, path)));
    }
    found
}

/// Reads a path that begins here, and what its group holds; answers its length.
fn path(text: &str, prefix: &str, found: &mut Vec<String>) -> usize {
    let word = text.find(|c| !is_word(c)).unwrap_or(text.len());
    let name = format!("{prefix}{}", &text[..word]);
    let Some(rest) = text[word..].strip_prefix("::") else {
        found.push(name);
        return word;
    };
    let prefix = format!("{name}::");
    if rest.starts_with(is_word) {
        return word + 2 + path(rest, &prefix, found);
    }
    if rest.starts_with('{') {
        return word + 2 + group(rest, &prefix, found);
    }
    found.push(name);
    word + 2
}

fn group(text: &str, prefix: &str, found: &mut Vec<String>) -> usize {
    let mut at = 1;
    while let Some(next) = text[at..].chars().next() {
        if next == '}' {
            return at + 1;
        }
        at += if is_word(next) { path(&text[at..], prefix, found) } else { next.len_utf8() };
    }
    text.len()
}

#[test]
fn comments_and_literals_are_blanked_out_and_lines_stay() {
    let source = "a /* { /* } */\n*/ b // {\n\"{\\\"{\" c '{' '\\'' 'x: &'static r#\"{\"{\"# d";
    let code = code_only(source);
    assert_eq!(code.matches('\n').count(), 2);
    assert!(!code.contains('{') && code.contains("'static") && code.contains("'x"), "{code}");
    let words: Vec<&str> = code.split_whitespace().collect();
    assert_eq!(words, ["a", "b", "c", "'x:", "&'static", "d"]);
}

#[test]
fn groups_are_written_out() {
    let code = "use a::{b::{c, d}, e as f};\nlet x = g::h::<i>(j);";
    let expected = [(1, "a::b::c"), (1, "a::b::d"), (1, "a::e"), (1, "a::f"), (2, "g::h")];
    let found = paths(code);
    let found: Vec<(usize, &str)> = found.iter().map(|(n, path)| (*n, path.as_str())).collect();
    let known = found.iter().all(|path| expected.contains(path) || path.1 == "a::as");
    assert!(known && expected.iter().all(|path| found.contains(path)), "{found:?}");
}
