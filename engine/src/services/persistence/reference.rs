//! Reference data: portfolios, instruments and business dates, with the triggers of their changes.
//!
//! A trigger is written whatever has been applied or parked at that moment: the fan-out decides,
//! under the locks of the keys.

use super::super::ServiceError;
use super::super::instance::Session;
use super::super::upserts::{Effect, Working, effect};
use super::{Incoming, News, sorted};
use crate::defects::{Defect, is_planted};
use crate::domain::records::{BusinessDate, GLOBAL_CALENDAR, Instrument, Portfolio};
use crate::domain::time::Date;
use crate::ports::Ports;
use crate::ports::store::rows::{InstrumentRow, PortfolioRow, Subject};
use crate::ports::store::statements::{
    InsertBusinessDates, LockCalendar, LockInstruments, LockPortfolios, ReadLatestBusinessDate,
    UpsertInstruments, UpsertPortfolios,
};

pub(super) async fn portfolios<P: Ports>(
    session: &mut Session<'_, P>,
    incoming: &[Incoming<'_, Portfolio>],
    news: &mut News,
) -> Result<(), ServiceError> {
    if incoming.is_empty() {
        return Ok(());
    }
    let ids = sorted(incoming.iter().map(|i| i.versioned.content.portfolio_id.clone()));
    let stored = session.run(LockPortfolios { ids }).await?;
    let mut rows =
        Working::new(stored.into_iter().map(|row| (row.portfolio.portfolio_id.clone(), row)));
    for Incoming { versioned, .. } in incoming {
        let id = versioned.content.portfolio_id.clone();
        let effect = effect(rows.get(&id).map(|r| (&r.portfolio, r.source_version)), versioned);
        if effect != Effect::Nothing {
            let portfolio = versioned.content.clone();
            let source_version = versioned.source_version;
            rows.set(id, PortfolioRow { portfolio, source_version }, effect);
        }
    }
    for row in rows.news().filter(|_| !is_planted(Defect::PortfolioTriggerForgotten)) {
        news.trigger(Subject::Portfolio(row.portfolio.portfolio_id.clone()), Date::FIRST);
    }
    let rows = rows.changed();
    if !rows.is_empty() {
        session.run(UpsertPortfolios { rows }).await?;
    }
    Ok(())
}

pub(super) async fn instruments<P: Ports>(
    session: &mut Session<'_, P>,
    incoming: &[Incoming<'_, Instrument>],
    news: &mut News,
) -> Result<(), ServiceError> {
    if incoming.is_empty() {
        return Ok(());
    }
    let ids = sorted(incoming.iter().map(|i| i.versioned.content.security_id.clone()));
    let stored = session.run(LockInstruments { ids }).await?;
    let mut rows =
        Working::new(stored.into_iter().map(|row| (row.instrument.security_id.clone(), row)));
    for Incoming { versioned, .. } in incoming {
        let id = versioned.content.security_id.clone();
        let before = rows.get(&id);
        let effect = effect(before.map(|r| (&r.instrument, r.source_version)), versioned);
        if effect == Effect::Nothing {
            continue;
        }
        // A new instrument needs no trigger: jobs that wait for it are retried.
        let changes = before.is_some_and(|r| r.instrument.currency != versioned.content.currency);
        if changes && !is_planted(Defect::CurrencyTriggerForgotten) {
            news.trigger(Subject::Security(id.clone()), Date::FIRST);
        }
        let instrument = versioned.content.clone();
        let source_version = versioned.source_version;
        rows.set(id, InstrumentRow { instrument, source_version }, effect);
    }
    let rows = rows.changed();
    if !rows.is_empty() {
        session.run(UpsertInstruments { rows }).await?;
    }
    Ok(())
}

pub(super) async fn business_dates<P: Ports>(
    session: &mut Session<'_, P>,
    incoming: &[Incoming<'_, BusinessDate>],
    news: &mut News,
) -> Result<(), ServiceError> {
    if incoming.is_empty() {
        return Ok(());
    }
    let rows = sorted(incoming.iter().map(|i| i.versioned.content.clone()));
    let calendars = sorted(rows.iter().map(|row| row.calendar_code.clone()));
    for code in calendars {
        session.run(LockCalendar { code }).await?;
    }
    // Read under the calendar's lock: else two writers would each miss that the other is later.
    let latest = session.run(ReadLatestBusinessDate {}).await?;
    let inserted = session.run(InsertBusinessDates { rows }).await?;
    for row in inserted.iter().filter(|row| row.calendar_code == GLOBAL_CALENDAR) {
        let is_late = latest.is_some_and(|latest| row.business_date < latest);
        if is_late && !is_planted(Defect::CalendarTriggerForgotten) {
            news.trigger(Subject::Calendar, row.business_date);
        }
    }
    Ok(())
}
