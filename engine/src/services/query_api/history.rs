//! `GET /portfolios/{portfolio_id}/positions/{security_id}/history`: the position after each
//! transaction that was applied, page by page.
//!
//! A page begins after a place of the timeline, not after a number of rows, so that nothing is
//! skipped or shown twice whatever is appended meanwhile. The place comes with the version of the
//! page before: once another version is served, its pages would not fit those.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::Api;
use super::answer::{Answer, Reply, ReprocessingStatus};
use super::asked::{Asked, NO_CURSOR, escaped};
use super::positions::must_exist;
use super::problem::Problem;
use crate::domain::ids::{Epoch, Key, PortfolioId, SecurityId, Token, TransactionId};
use crate::domain::money::Amount;
use crate::domain::records::Place;
use crate::domain::time::{Date, Timestamp};
use crate::ports::Ports;
use crate::ports::store::rows::HistoryRow;
use crate::ports::store::statements::ReadPositionHistory;

/// A page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryPage {
    /// The portfolio.
    pub portfolio_id: PortfolioId,
    /// The security.
    pub security_id: SecurityId,
    /// Whether it is about to be replaced.
    pub reprocessing_status: ReprocessingStatus,
    /// The version that is shown.
    pub epoch: Epoch,
    /// The newest token, complete or not.
    pub newest: Token,
    /// One entry per applied transaction, in the order of the timeline.
    pub history: Vec<HistoryEntry>,
    /// Address of the next page, if there may be one.
    pub next: Option<String>,
}

/// The position after a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// The transaction.
    pub transaction_id: TransactionId,
    /// When it was made.
    pub transaction_date: Timestamp,
    /// Its date.
    pub position_date: Date,
    /// Units after it.
    pub quantity: Amount,
    /// Cost in base currency.
    pub cost_basis: Amount,
    /// Cost in trade currency.
    pub cost_basis_local: Amount,
    /// The version that computed it.
    pub epoch: Epoch,
}

impl HistoryEntry {
    fn of(row: HistoryRow) -> Self {
        Self {
            transaction_id: row.place.transaction_id.clone(),
            transaction_date: row.place.at,
            position_date: row.place.date(),
            quantity: row.position.quantity,
            cost_basis: row.position.cost_basis,
            cost_basis_local: row.position.cost_basis_local,
            epoch: row.epoch,
        }
    }
}

/// Answers.
pub(super) async fn page<P: Ports>(api: Rc<Api<P>>, asked: Asked) -> Reply {
    let (portfolio_id, security_id) = (asked.portfolio_id()?, asked.security_id()?);
    let limit = asked.limit()?;
    let after = asked.text("after").map(cursor).transpose()?;
    let key = Key { portfolio_id: portfolio_id.clone(), security_id: security_id.clone() };
    let (version, after) = after.unzip();
    let read = api.look(ReadPositionHistory { key, after, limit }).await?;
    let Some(read) = read else {
        must_exist(&api, &portfolio_id).await?;
        let (portfolio, security) = (portfolio_id.to_string(), security_id.to_string());
        return Err(Problem::UnknownPosition(portfolio, security));
    };
    if version.is_some_and(|version| version != read.served_epoch) {
        return Err(Problem::VersionChanged);
    }
    let is_full = read.rows.len() == limit as usize;
    let last = read.rows.last().filter(|_| is_full);
    let next = last.map(|row| {
        let after = cursor_text(read.served_epoch, &row.place);
        let (portfolio, security) = (escaped(portfolio_id.as_str()), escaped(security_id.as_str()));
        let after = escaped(&after);
        format!("/portfolios/{portfolio}/positions/{security}/history?limit={limit}&after={after}")
    });
    Ok(Answer::found(&HistoryPage {
        portfolio_id,
        security_id,
        reprocessing_status: read.status.into(),
        epoch: read.served_epoch,
        newest: Token { epoch: read.epoch, revision: read.revision },
        history: read.rows.into_iter().map(HistoryEntry::of).collect(),
        next,
    }))
}

/// Version and place of a page's last row, as `next` gives them.
pub(super) fn cursor_text(version: Epoch, place: &Place) -> String {
    format!("{}.{}.{}.{}", version.0, place.at.micros(), place.rank, place.transaction_id)
}

/// The same, read.
fn cursor(text: &str) -> Result<(Epoch, Place), Problem> {
    read_cursor(text).ok_or(NO_CURSOR)
}

/// A cursor, if it may be one.
pub(super) fn read_cursor(text: &str) -> Option<(Epoch, Place)> {
    let mut parts = text.splitn(4, '.');
    let epoch = Epoch(parts.next()?.parse().ok()?);
    let at = Timestamp::from_micros(parts.next()?.parse().ok()?);
    let rank = parts.next()?.parse().ok()?;
    let transaction_id = TransactionId::new(parts.next()?);
    // No timestamp of a record lies outside of the years that the database can write.
    let years = Date::FIRST.start()..=Date::parse("9999-12-31")?.start();
    years.contains(&at).then_some((epoch, Place { at, rank, transaction_id }))
}

#[test]
fn a_cursor_survives_its_address() {
    let place = Place {
        at: Timestamp::from_micros(-5),
        rank: 1,
        transaction_id: TransactionId::new("T.1/ä &"),
    };
    let text = cursor_text(Epoch(3), &place);
    assert_eq!(cursor(&text), Ok((Epoch(3), place)));
    for wrong in ["", "1", "1.2.3", "-1.2.3.x", "1.2.300.x", "1.99999999999999999999.0.x"] {
        assert!(cursor(wrong).is_err(), "{wrong}");
    }
    assert!(cursor(&format!("1.{}.0.x", i64::MAX)).is_err(), "no year that a database has");
}
