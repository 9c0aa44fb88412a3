//! Reading a scenario file: syntax, overrides, structure, ranges; each complaint finds its line.
//!
//! `--set PATH=VALUE` replaces one field before anything is checked, so an override is held to the
//! same rules as the file, and a complaint about it names the override.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::format::Scenario;
use super::problem::{Problem, Problems, closest};
use super::{swarm, validate};
use crate::workload::market::Market;

/// A scenario that is fit to be planned.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The file.
    pub path: PathBuf,
    /// What it says.
    pub scenario: Scenario,
    /// The market data that it names.
    pub market: Market,
    /// The same as a table, in which a swarm draws.
    pub(super) table: Table,
    /// Paths of the fields that `--set` names.
    pub(super) fixed: Vec<String>,
}

impl Loaded {
    /// Whether `--set` names a field, one around it or one of its own.
    pub(super) fn is_fixed(&self, path: &str) -> bool {
        let is_within = |inner: &str, outer: &str| {
            inner
                .strip_prefix(outer)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.fixed.iter().any(|fixed| is_within(fixed, path) || is_within(path, fixed))
    }
}

/// Reads and checks a scenario file.
pub fn load(path: &Path, overrides: &[String]) -> Result<Loaded, Problems> {
    let text = std::fs::read_to_string(path).map_err(|error| Problem {
        place: path.display().to_string(),
        field: String::new(),
        message: format!("cannot be read: {error}"),
    })?;
    parse(path, &text, overrides)
}

/// Checks the text of a scenario file.
pub fn parse(path: &Path, text: &str, overrides: &[String]) -> Result<Loaded, Problems> {
    let mut places = Places::of(path, text)?;
    let mut table: Table = text.parse().map_err(|error| places.syntax(text, &error))?;
    for change in overrides {
        set(&mut table, change, &mut places)?;
    }
    let scenario: Scenario = serde_path_to_error::deserialize(Value::Table(table.clone()))
        .map_err(|error| places.structure(&error))?;
    let mut problems = Vec::new();
    let mut complain = |field: &str, message: String| {
        problems.push(places.problem(field, message));
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    let market = validate::validate(&scenario, folder, None, &mut complain);
    let Some(market) = market.filter(|_| problems.is_empty()) else {
        return Err(Problems(problems));
    };
    let fixed = places.overrides.keys().cloned().collect();
    let loaded = Loaded { path: path.to_path_buf(), scenario, market, table, fixed };
    swarm::check(&loaded, &mut |field: &str, message: String| {
        problems.push(places.problem(field, message));
    });
    if problems.is_empty() { Ok(loaded) } else { Err(Problems(problems)) }
}

/// A value with the fields that `PATH=VALUE` names replaced, held to the same rules as a scenario.
pub fn overridden<T: Serialize + DeserializeOwned>(
    value: &T,
    overrides: &[String],
) -> Result<T, Problems> {
    let mut places = Places::default();
    let mut table = Table::try_from(value).expect("settings can be written as TOML");
    for change in overrides {
        set(&mut table, change, &mut places)?;
    }
    serde_path_to_error::deserialize(Value::Table(table))
        .map_err(|error| places.structure(&error).into())
}

/// Reads the text of a settings file, held to the same rules as a scenario, with the place of each
/// field for complaints that follow.
pub fn settings<T: DeserializeOwned>(path: &Path, text: &str) -> Result<(T, Places), Problems> {
    let places = Places::of(path, text)?;
    let table: Table = text.parse().map_err(|error| places.syntax(text, &error))?;
    match serde_path_to_error::deserialize(Value::Table(table)) {
        Ok(settings) => Ok((settings, places)),
        Err(error) => Err(places.structure(&error).into()),
    }
}

/// Where each field stands.
#[derive(Debug, Default)]
pub struct Places {
    file: String,
    lines: BTreeMap<String, usize>,
    overrides: BTreeMap<String, String>,
}

impl Places {
    fn of(path: &Path, text: &str) -> Result<Self, Problems> {
        let file = path.display().to_string();
        let mut places = Self { file, lines: BTreeMap::new(), overrides: BTreeMap::new() };
        let document = DeTable::parse(text).map_err(|error| places.syntax(text, &error))?;
        places.index(text, "", document.get_ref());
        Ok(places)
    }

    fn index(&mut self, text: &str, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let path = match prefix {
                "" => key.get_ref().to_string(),
                _ => format!("{prefix}.{}", key.get_ref()),
            };
            self.lines.insert(path.clone(), line_of(text, key.span().start));
            self.index_value(text, &path, value);
        }
    }

    fn index_value(&mut self, text: &str, path: &str, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Table(table) => self.index(text, path, table),
            DeValue::Array(array) => {
                for (number, item) in array.iter().enumerate() {
                    let path = format!("{path}[{number}]");
                    self.lines.insert(path.clone(), line_of(text, item.span().start));
                    self.index_value(text, &path, item);
                }
            }
            _ => {}
        }
    }

    /// The line of a field, or of the nearest thing around it.
    fn place(&self, field: &str) -> String {
        let mut around = field;
        loop {
            if let Some(change) = self.overrides.get(around) {
                return format!("--set {change}");
            }
            if let Some(line) = self.lines.get(around) {
                return format!("{}:{line}", self.file);
            }
            match around.rfind(['.', '[']) {
                Some(end) => around = &around[..end],
                None => return format!("{}:1", self.file),
            }
        }
    }

    /// A complaint about a field.
    pub fn problem(&self, field: &str, message: String) -> Problem {
        Problem { place: self.place(field), field: field.to_owned(), message }
    }

    fn syntax(&self, text: &str, error: &toml::de::Error) -> Problem {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        Problem {
            place: format!("{}:{line}", self.file),
            field: String::new(),
            message: format!("is no TOML: {}", error.message()),
        }
    }

    fn structure(&self, error: &serde_path_to_error::Error<toml::de::Error>) -> Problem {
        let message = error.inner().message();
        let mut field = error.path().to_string();
        let named = |prefix: &str| {
            let rest = message.strip_prefix(prefix)?;
            rest.strip_prefix('`')?.split('`').next().map(str::to_owned)
        };
        if let Some(missing) = named("missing field ") {
            let path = if field == "." { missing.clone() } else { format!("{field}.{missing}") };
            return self.problem(&path, "is missing: the scenario needs it".into());
        }
        let unknown = named("unknown field ").or_else(|| named("unknown variant "));
        if field == "." {
            field = unknown.clone().unwrap_or_default();
        }
        let Some(unknown) = unknown else {
            return self.problem(&field, message.to_owned());
        };
        let candidates: Vec<&str> = message.split('`').skip(3).step_by(2).collect();
        let cure = match closest(&unknown, candidates.iter().copied()) {
            Some(candidate) => format!("did you mean {candidate}?"),
            None => format!("expected one of {}", candidates.join(", ")),
        };
        if message.starts_with("unknown variant") {
            return self.problem(&field, format!("= {unknown:?}: unknown: {cure}"));
        }
        if field != unknown && !field.ends_with(&format!(".{unknown}")) {
            field = format!("{field}.{unknown}");
        }
        self.problem(&field, format!("unknown key: {cure}"))
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count()
}

/// Applies `PATH=VALUE`.
fn set(table: &mut Table, change: &str, places: &mut Places) -> Result<(), Problem> {
    let problem = |field: &str, message: &str| Problem {
        place: format!("--set {change}"),
        field: field.to_owned(),
        message: message.to_owned(),
    };
    let (path, text) =
        change.split_once('=').ok_or_else(|| problem("", "has no `=`: write PATH=VALUE"))?;
    let path = path.trim();
    let value = parse_value(text.trim());
    if steps(path).is_none() {
        let cure = "is no path: write it like workload.live.rate_per_second or faults[0].at";
        return Err(problem(path, cure));
    }
    if !put(table, path, value) {
        return Err(problem(path, "leads nowhere in this scenario"));
    }
    places.overrides.insert(path.to_owned(), change.to_owned());
    Ok(())
}

/// Puts a value at a path; whether the path leads anywhere.
pub(super) fn put(table: &mut Table, path: &str, value: Value) -> bool {
    let mut root = Value::Table(std::mem::take(table));
    let is_put = put_into(&mut root, path, value).is_some();
    if let Value::Table(changed) = root {
        *table = changed;
    }
    is_put
}

fn put_into(root: &mut Value, path: &str, value: Value) -> Option<()> {
    let mut steps = steps(path)?;
    let last = steps.pop()?;
    let mut at = root;
    for step in steps {
        at = descend(at, step)?;
    }
    match last {
        Step::Key(key) => {
            at.as_table_mut()?.insert(key.to_owned(), value);
        }
        Step::Index(index) => *at.as_array_mut()?.get_mut(index)? = value,
    }
    Some(())
}

/// The table around a path and its last key, if the path goes through tables alone.
fn around<'a, 'b>(table: &'a mut Table, path: &'b str) -> Option<(&'a mut Table, &'b str)> {
    let (outer, last) = path.rsplit_once('.').unwrap_or(("", path));
    let mut at = table;
    for key in outer.split('.').filter(|key| !key.is_empty()) {
        at = at.get_mut(key)?.as_table_mut()?;
    }
    Some((at, last))
}

/// Whether there is anything at a path through tables.
pub(super) fn has(table: &Table, path: &str) -> bool {
    let mut keys = path.split('.');
    let first = keys.next().and_then(|key| table.get(key));
    let found = first.and_then(|first| keys.try_fold(first, |at, key| at.as_table()?.get(key)));
    found.is_some()
}

/// Takes out what is at a path through tables.
pub(super) fn take_out(table: &mut Table, path: &str) {
    if let Some((table, last)) = around(table, path) {
        table.remove(last);
    }
}

/// A step of a path.
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

fn steps(path: &str) -> Option<Vec<Step<'_>>> {
    let mut steps = Vec::new();
    for part in path.split('.') {
        let mut pieces = part.split('[');
        let key = pieces.next().filter(|key| !key.is_empty())?;
        steps.push(Step::Key(key));
        for piece in pieces {
            steps.push(Step::Index(piece.strip_suffix(']')?.parse().ok()?));
        }
    }
    Some(steps)
}

/// Goes one step down; a section that is not there is made.
fn descend<'a>(at: &'a mut Value, step: Step<'_>) -> Option<&'a mut Value> {
    match step {
        Step::Key(key) => Some(
            at.as_table_mut()?.entry(key.to_owned()).or_insert_with(|| Value::Table(Table::new())),
        ),
        Step::Index(index) => at.as_array_mut()?.get_mut(index),
    }
}

/// A value in TOML's syntax; anything else is a text.
fn parse_value(text: &str) -> Value {
    let document: Result<Table, _> = format!("value = {text}").parse();
    match document {
        Ok(mut table) if table.len() == 1 => {
            table.remove("value").unwrap_or_else(|| Value::String(text.to_owned()))
        }
        _ => Value::String(text.to_owned()),
    }
}
