//! Two versions of an input: which one stays.

use std::collections::BTreeMap;

use crate::defects::{Defect, is_planted};
use crate::domain::intake::Versioned;

/// What an incoming version does to the stored one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// New, or other content of an equal or higher version: the row changes, and that is news.
    News,
    /// Equal content of a higher version: only the version is raised.
    Raised,
    /// Equal content and version, or a lower version.
    Nothing,
}

/// Decides between the stored and an incoming version.
pub(super) fn effect<T: PartialEq>(stored: Option<(&T, i64)>, incoming: &Versioned<T>) -> Effect {
    match stored {
        None => Effect::News,
        Some((_, version))
            if incoming.source_version < version && !is_planted(Defect::LowerVersionWins) =>
        {
            Effect::Nothing
        }
        Some((content, _)) if *content != incoming.content => Effect::News,
        Some((_, version)) if incoming.source_version > version => Effect::Raised,
        Some(_) => Effect::Nothing,
    }
}

/// The rows of one table while a batch goes over them, by identity.
pub(super) struct Working<I, R> {
    rows: BTreeMap<I, (R, bool, bool)>,
}

impl<I: Ord + Clone, R: Clone> Working<I, R> {
    /// Starts from the stored rows.
    pub(super) fn new(stored: impl IntoIterator<Item = (I, R)>) -> Self {
        let rows = stored.into_iter().map(|(id, row)| (id, (row, false, false))).collect();
        Self { rows }
    }

    /// The row as it is now.
    pub(super) fn get(&self, id: &I) -> Option<&R> {
        self.rows.get(id).map(|(row, _, _)| row)
    }

    /// Sets a row.
    pub(super) fn set(&mut self, id: I, row: R, effect: Effect) {
        let news = effect == Effect::News;
        let slot = self.rows.entry(id).or_insert_with(|| (row.clone(), false, false));
        *slot = (row, true, slot.2 || news);
    }

    /// Rows that changed at all, in identity order.
    pub(super) fn changed(&self) -> Vec<R> {
        self.rows.values().filter(|(_, changed, _)| *changed).map(|(row, ..)| row.clone()).collect()
    }

    /// Rows whose content is news, in identity order.
    pub(super) fn news(&self) -> impl Iterator<Item = &R> {
        self.rows.values().filter(|(_, _, news)| *news).map(|(row, ..)| row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_higher_version_stays_and_of_equal_ones_the_later() {
        let incoming = |content, source_version| Versioned { content, source_version };
        for (stored, next, expected) in [
            (None, incoming("a", 0), Effect::News),
            (Some((&"a", 0)), incoming("a", 0), Effect::Nothing),
            (Some((&"a", 0)), incoming("b", 0), Effect::News),
            (Some((&"a", 1)), incoming("b", 0), Effect::Nothing),
            (Some((&"a", 1)), incoming("b", 2), Effect::News),
            (Some((&"a", 1)), incoming("a", 2), Effect::Raised),
            (Some((&"a", -1)), incoming("b", -2), Effect::Nothing),
        ] {
            assert_eq!(effect(stored, &next), expected, "{stored:?} <- {next:?}");
        }
    }
}
