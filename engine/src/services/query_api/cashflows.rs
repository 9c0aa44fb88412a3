//! `GET /portfolios/{portfolio_id}/cashflows`: the cash flow of each applied transaction of a
//! portfolio, page by page, each key at its served version.
//!
//! A page begins after a place of a key's timeline, which comes with the version of that key in the
//! page before: once another version of it is served, the rest of its flows would not fit those.

use std::rc::Rc;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use super::Api;
use super::answer::{Answer, Reply, ReprocessingStatus};
use super::asked::{Asked, NO_CURSOR, escaped};
use super::history::{cursor_text, read_cursor};
use super::problem::Problem;
use crate::domain::ids::{Currency, Epoch, PortfolioId, SecurityId, TransactionId};
use crate::domain::money::Amount;
use crate::domain::records::{Cashflow, Classification, Place, Timing};
use crate::domain::time::Date;
use crate::ports::Ports;
use crate::ports::store::statements::{CashflowRead, ReadPortfolioCashflows};

/// A page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CashflowPage {
    /// The portfolio.
    pub portfolio_id: PortfolioId,
    /// Cash flows, in order of securities and of their timelines.
    pub cashflows: Vec<CashflowEntry>,
    /// Address of the next page, if there may be one.
    pub next: Option<String>,
}

/// The cash flow of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CashflowEntry {
    /// The security.
    pub security_id: SecurityId,
    /// The transaction.
    pub transaction_id: TransactionId,
    /// Its date.
    pub cashflow_date: Date,
    /// What flows to the owner; negative: from the owner.
    pub amount: Amount,
    /// Its currency.
    pub currency: Currency,
    /// Its kind.
    pub classification: Classification,
    /// When in the day it counts.
    pub timing: Timing,
    /// Whether it is a flow of the position.
    pub is_position_flow: bool,
    /// Whether it is a flow of the portfolio.
    pub is_portfolio_flow: bool,
    /// Whether the key is about to be replaced.
    pub reprocessing_status: ReprocessingStatus,
    /// The version of the key that is shown.
    pub epoch: Epoch,
}

impl CashflowEntry {
    fn of(read: CashflowRead) -> Self {
        let CashflowRead { row, served_epoch, status } = read;
        let Cashflow { amount, currency, classification, timing, .. } = row.cashflow;
        Self {
            security_id: row.key.security_id,
            cashflow_date: row.place.date(),
            transaction_id: row.place.transaction_id,
            amount,
            currency,
            classification,
            timing,
            is_position_flow: row.cashflow.is_position_flow,
            is_portfolio_flow: row.cashflow.is_portfolio_flow,
            reprocessing_status: status.into(),
            epoch: served_epoch,
        }
    }
}

/// Answers.
pub(super) async fn page<P: Ports>(api: Rc<Api<P>>, asked: Asked) -> Reply {
    let portfolio_id = asked.portfolio_id()?;
    let (from, to) = asked.dates()?;
    let limit = asked.limit()?;
    let after = asked.text("after").map(|text| cursor(text).ok_or(NO_CURSOR)).transpose()?;
    let (version, after) = after.unzip();
    let statement =
        ReadPortfolioCashflows { portfolio_id: portfolio_id.clone(), after, from, to, limit };
    let Some(read) = api.look(statement).await? else {
        return Err(Problem::UnknownPortfolio(portfolio_id.to_string()));
    };
    match (version, read.after_epoch) {
        (Some(_), None) => return Err(NO_CURSOR),
        (version, served) if version != served => return Err(Problem::VersionChanged),
        _ => {}
    }
    let last = read.rows.last().filter(|_| read.rows.len() == limit as usize);
    let next = last.map(|last| {
        let portfolio = escaped(portfolio_id.as_str());
        let range = [("from", from), ("to", to)];
        let range = range.map(|(name, date)| date.map(|date| format!("&{name}={date}")));
        let range: String = range.into_iter().flatten().collect();
        let after = address(last.served_epoch, &last.row.key.security_id, &last.row.place);
        format!("/portfolios/{portfolio}/cashflows?limit={limit}{range}&after={}", escaped(&after))
    });
    Ok(Answer::found(&CashflowPage {
        portfolio_id,
        cashflows: read.rows.into_iter().map(CashflowEntry::of).collect(),
        next,
    }))
}

/// Security, version and place of a page's last row, as `next` gives them.
fn address(version: Epoch, security_id: &SecurityId, place: &Place) -> String {
    format!("{}/{}", escaped(security_id.as_str()), cursor_text(version, place))
}

/// The same, read.
fn cursor(text: &str) -> Option<(Epoch, (SecurityId, Place))> {
    let (security, rest) = text.split_once('/')?;
    let security = percent_decode_str(security).decode_utf8().ok()?;
    let (version, place) = read_cursor(rest)?;
    (!security.contains('\0')).then(|| (version, (SecurityId::new(&security), place)))
}

#[test]
fn a_cursor_survives_its_address() {
    let place = Place {
        at: crate::domain::time::Timestamp::from_micros(5),
        rank: 1,
        transaction_id: TransactionId::new("T.1/ä &"),
    };
    let security = SecurityId::new("S/1.ä");
    let text = address(Epoch(3), &security, &place);
    assert_eq!(cursor(&text), Some((Epoch(3), (security, place))));
    for wrong in ["", "S", "S/1.2.3", "1.2.0.x", "%00/1.2.0.x", "%ff/1.2.0.x"] {
        assert!(cursor(wrong).is_none(), "{wrong}");
    }
}
