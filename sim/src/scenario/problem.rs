//! Complaints about a scenario: one line each, with the place, what is wrong and the cure.

use std::fmt;

/// One complaint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `scenarios/x.toml:12`, or `--set PATH=VALUE`.
    pub place: String,
    /// Path of the field, e.g. `workload.live.rate_per_second`; empty if there is none.
    pub field: String,
    /// What is wrong and the cure.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.field.is_empty() {
            let separator = if self.message.starts_with("= ") { " " } else { ": " };
            write!(f, "{}{separator}", self.field)?;
        }
        // A complaint is one line, whatever a parser put into it.
        f.write_str(&self.message.replace('\n', " "))
    }
}

/// All complaints about one file; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

/// The name among the candidates that somebody most likely meant.
pub fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(name.len()) / 3 + 1)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `: did you mean x?`, or a list of what there is.
pub fn hint<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match closest(name, candidates.clone()) {
        Some(candidate) => format!("did you mean {candidate}?"),
        None => {
            let all: Vec<&str> = candidates.into_iter().collect();
            format!("expected one of {}", all.join(", "))
        }
    }
}
