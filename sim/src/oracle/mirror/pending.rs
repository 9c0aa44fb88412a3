//! What is pending in the database: outbox rows, triggers, fan-outs; and unread news of the log.
//!
//! A record covers the dates of a key from its own date on. A fan-out covers the keys after its
//! cursor. News of a transaction covers all dates of its key, because an amendment's old date is
//! not in it.
//!
//! # Invariants
//! - Whatever stops covering a key is reported once, when it is gone.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use backdate_engine::domain::ids::{Currency, Key, PortfolioId, SecurityId};
use backdate_engine::domain::time::Date;
use backdate_engine::ports::log::Topic;
use backdate_engine::ports::store::rows::{OutboxRow, ReprocessingJobRow, Subject, TriggerRow};
use serde::Deserialize;
use smol_str::SmolStr;

use crate::oracle::model::Inputs;

/// What a pending record is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum About {
    /// One key.
    Key(Key),
    /// All keys that use a subject.
    Subject(Subject),
    /// Cash flows of one key, and nothing else of it.
    Flows(Key),
    /// The series of one key, and nothing else of it.
    Series(Key),
    /// The series of one portfolio.
    Sums(PortfolioId),
}

/// A record that is gone.
#[derive(Clone, Debug)]
pub(crate) struct Freed {
    pub(crate) about: About,
    /// First key that it covered; none: from the first on.
    pub(crate) after: Option<Key>,
    /// Last key that is not covered any more; none: to the last.
    pub(crate) upto: Option<Key>,
}

/// Pending records.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// News by what it is about, and of each how many records of each date.
    news: BTreeMap<About, BTreeMap<Date, u32>>,
    outbox: HashMap<u64, Option<(About, Date)>>,
    triggers: BTreeMap<Subject, Date>,
    jobs: BTreeMap<u64, Rc<ReprocessingJobRow>>,
}

/// The fields of news that say what it is about.
#[derive(Deserialize)]
struct News {
    portfolio_id: Option<SmolStr>,
    security_id: Option<SmolStr>,
    price_date: Option<SmolStr>,
    from_currency: Option<SmolStr>,
    to_currency: Option<SmolStr>,
    rate_date: Option<SmolStr>,
}

/// What a record of a topic of news is about; none for other topics and for what cannot be read.
pub(super) fn about(topic: Topic, payload: &[u8]) -> Option<(About, Date)> {
    let is_news = matches!(
        topic,
        Topic::RawTransactionsCompleted
            | Topic::MarketPricePersisted
            | Topic::FxRatePersisted
            | Topic::ProcessedTransactionsCompleted
            | Topic::DailyPositionSnapshotPersisted
            | Topic::PortfolioAggregationRequired
    );
    if !is_news {
        return None;
    }
    let news: News = serde_json::from_slice(payload).ok()?;
    match topic {
        Topic::PortfolioAggregationRequired => {
            Some((About::Sums(PortfolioId::new(news.portfolio_id?)), Date::FIRST))
        }
        Topic::RawTransactionsCompleted
        | Topic::ProcessedTransactionsCompleted
        | Topic::DailyPositionSnapshotPersisted => {
            let key = Key {
                portfolio_id: PortfolioId::new(news.portfolio_id?),
                security_id: SecurityId::new(news.security_id?),
            };
            let about = match topic {
                Topic::RawTransactionsCompleted => About::Key(key),
                Topic::ProcessedTransactionsCompleted => About::Flows(key),
                _ => About::Series(key),
            };
            Some((about, Date::FIRST))
        }
        Topic::MarketPricePersisted => {
            let subject = Subject::Security(SecurityId::new(news.security_id?));
            let date = Date::parse(&news.price_date?)?;
            Some((About::Subject(subject), date))
        }
        _ => {
            let from = Currency::new(news.from_currency?);
            let to = Currency::new(news.to_currency?);
            let date = Date::parse(&news.rate_date?)?;
            Some((About::Subject(Subject::Pair(from, to)), date))
        }
    }
}

impl Pending {
    /// Whether anything is pending here.
    pub(crate) fn any(&self) -> bool {
        !(self.news.is_empty()
            && self.outbox.is_empty()
            && self.triggers.is_empty()
            && self.jobs.is_empty())
    }

    /// From which date on something covers the key; none: nothing does.
    pub(crate) fn covered_from(&self, key: &Key, inputs: &Inputs) -> Option<Date> {
        let mut from: Option<Date> = None;
        let mut cover = |date: Option<Date>| {
            from = match (from, date) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        };
        let security = Subject::Security(key.security_id.clone());
        if !self.news.is_empty() {
            cover(self.news_from(&About::Key(key.clone())));
            cover(self.news_from(&About::Subject(security.clone())));
            // Pairs stand together in the order of subjects.
            let nothing = Currency::new("");
            let first = About::Subject(Subject::Pair(nothing.clone(), nothing));
            for (about, dates) in self.news.range(first..) {
                let About::Subject(Subject::Pair(a, b)) = about else {
                    break;
                };
                if inputs.may_use(key, (a, b)) {
                    cover(dates.keys().next().copied());
                }
            }
        }
        for (subject, date) in &self.triggers {
            if concerns(subject, key, inputs) {
                cover(Some(*date));
            }
        }
        for job in self.jobs.values() {
            let ahead = job.cursor.as_ref().is_none_or(|cursor| cursor < key);
            if ahead && concerns(&job.subject, key, inputs) {
                cover(Some(job.date));
            }
        }
        from
    }

    /// From which date on a business date that came late is still to be handed to the key.
    pub(crate) fn calendar_from(&self, key: &Key) -> Option<Date> {
        let trigger = self.triggers.get(&Subject::Calendar).copied();
        let jobs = self.jobs.values().filter(|job| {
            job.subject == Subject::Calendar && job.cursor.as_ref().is_none_or(|c| c < key)
        });
        jobs.map(|job| job.date).chain(trigger).min()
    }

    /// Whether any such news is on its way.
    pub(crate) fn has_news(&self, about: &About) -> bool {
        self.news.contains_key(about)
    }

    fn news_from(&self, about: &About) -> Option<Date> {
        self.news.get(about)?.keys().next().copied()
    }

    pub(super) fn add_news(&mut self, about: &About, date: Date) {
        let dates = self.news.entry(about.clone()).or_default();
        *dates.entry(date).or_default() += 1;
    }

    pub(super) fn remove_news(&mut self, about: About, date: Date, freed: &mut Vec<Freed>) {
        if let Some(dates) = self.news.get_mut(&about) {
            if let Some(count) = dates.get_mut(&date) {
                *count -= 1;
                if *count == 0 {
                    dates.remove(&date);
                }
            }
            if dates.is_empty() {
                self.news.remove(&about);
            }
        }
        freed.push(Freed::all(about));
    }

    /// Answers whether the row carries news.
    pub(super) fn outbox(&mut self, row: &OutboxRow, gone: bool, freed: &mut Vec<Freed>) -> bool {
        if gone {
            let entry = self.outbox.remove(&row.id).flatten();
            let news = entry.is_some();
            if let Some((about, date)) = entry {
                self.remove_news(about, date, freed);
            }
            return news;
        }
        let entry = about(row.topic, row.payload.as_bytes());
        let news = entry.is_some();
        if let Some((about, date)) = &entry {
            self.add_news(about, *date);
        }
        self.outbox.insert(row.id, entry);
        news
    }

    pub(super) fn trigger(&mut self, row: &TriggerRow, gone: bool, freed: &mut Vec<Freed>) {
        if gone {
            self.triggers.remove(&row.subject);
            freed.push(Freed::all(About::Subject(row.subject.clone())));
            return;
        }
        let old = self.triggers.insert(row.subject.clone(), row.earliest_date);
        if old.is_some_and(|old| old < row.earliest_date) {
            freed.push(Freed::all(About::Subject(row.subject.clone())));
        }
    }

    pub(super) fn job(&mut self, row: &Rc<ReprocessingJobRow>, gone: bool, freed: &mut Vec<Freed>) {
        let old = match gone {
            true => self.jobs.remove(&row.id),
            false => self.jobs.insert(row.id, Rc::clone(row)),
        };
        if let Some(old) = old {
            freed.push(Freed {
                about: About::Subject(old.subject.clone()),
                after: old.cursor.clone(),
                upto: row.cursor.clone().filter(|_| !gone),
            });
        }
    }
}

impl Freed {
    fn all(about: About) -> Self {
        Self { about, after: None, upto: None }
    }

    /// Whether a key may have been covered by it.
    pub(crate) fn concerns(&self, key: &Key, inputs: &Inputs) -> bool {
        match &self.about {
            About::Key(own) => own == key,
            About::Subject(subject) => concerns(subject, key, inputs),
            About::Flows(_) | About::Series(_) | About::Sums(_) => false,
        }
    }

    /// What it was about, where that is not what a key is valued with.
    pub(crate) fn beside_values(&self) -> Option<&About> {
        match &self.about {
            About::Key(_) | About::Subject(_) => None,
            beside => Some(beside),
        }
    }
}

fn concerns(subject: &Subject, key: &Key, inputs: &Inputs) -> bool {
    match subject {
        Subject::Security(id) => *id == key.security_id,
        Subject::Pair(from, to) => inputs.may_use(key, (from, to)),
        Subject::Calendar => true,
        Subject::Portfolio(id) => *id == key.portfolio_id,
    }
}
