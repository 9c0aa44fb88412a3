//! `price-watcher`: every price dated at or before the latest business date, and every rate,
//! becomes a trigger, whatever has been valued so far. The fan-out decides, under the locks.

use std::collections::BTreeMap;

use super::ServiceError;
use super::consume::{Handler, consume, part};
use super::instance::Instance;
use crate::defects::{Defect, is_planted};
use crate::domain::intake::Rejection;
use crate::domain::messages;
use crate::domain::time::Date;
use crate::ports::Ports;
use crate::ports::host::Signal;
use crate::ports::log::{Record, Topic};
use crate::ports::store::rows::{Subject, TriggerRow};
use crate::ports::store::statements::{ReadLatestBusinessDate, UpsertTriggers};

/// Name of the process in crash points.
pub const PROCESS: &str = "price-watcher";

/// Its port calls.
pub const CALLS: &[&str] =
    &["ReadLatestBusinessDate", "UpsertTriggers", "Commit", "Send", "CommitOffsets"];

/// Runs the process.
pub(crate) async fn run<P: Ports>(instance: Instance<P>) {
    consume(instance, Watcher).await;
}

struct Watcher;

impl<P: Ports> Handler<P> for Watcher {
    const GROUP: &'static str = "price-watcher";
    const TOPICS: &'static [Topic] = &[Topic::MarketPricePersisted, Topic::FxRatePersisted];

    async fn handle<'r>(
        &self,
        instance: &Instance<P>,
        records: &'r [Record],
    ) -> Result<Vec<(&'r Record, Rejection)>, ServiceError> {
        let (news, poison) = part(records, read);
        let mut changed: BTreeMap<Subject, Date> = BTreeMap::new();
        let mut session = instance.begin().await?;
        let latest = session.run(ReadLatestBusinessDate {}).await?;
        for (_, news) in news {
            match news {
                // A price after the latest business date has been used by nothing: whoever values
                // that date later reads it, since it was stored before this news of it was sent.
                (Subject::Security(_), date) if latest.is_none_or(|latest| date > latest) => {}
                (Subject::Security(_), date)
                    if is_planted(Defect::LatestDatePriceIgnored) && latest == Some(date) => {}
                (Subject::Pair(..), _) if is_planted(Defect::RatesIgnored) => {}
                (subject, date) => {
                    let earliest = changed.entry(subject).or_insert(date);
                    *earliest = (*earliest).min(date);
                }
            }
        }
        if changed.is_empty() {
            session.rollback().await;
            return Ok(poison);
        }
        let rows: Vec<TriggerRow> = changed
            .into_iter()
            .map(|(subject, earliest_date)| TriggerRow { subject, earliest_date })
            .collect();
        session.run(UpsertTriggers { rows: rows.clone() }).await?;
        session.commit().await?;
        for row in rows {
            let subject = row.subject.to_string().into();
            instance.emit(Signal::BackdatedPrice { subject, date: row.earliest_date });
        }
        Ok(poison)
    }
}

fn read(record: &Record) -> Result<(Subject, Date), Rejection> {
    match record.topic {
        Topic::MarketPricePersisted => {
            let news = messages::read_price_persisted(&record.value)?;
            Ok((Subject::Security(news.security_id), news.price_date))
        }
        _ => {
            let news = messages::read_rate_persisted(&record.value)?;
            Ok((Subject::Pair(news.pair.0, news.pair.1), news.rate_date))
        }
    }
}
