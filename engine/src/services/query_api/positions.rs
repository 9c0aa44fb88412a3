//! `GET /portfolios/{portfolio_id}/positions`: what a portfolio holds, each key at its served
//! version.
//!
//! The whole list is one statement's answer. Quantities of zero are left out, negative ones are
//! not, and a position without a snapshot has no valuation. What counts is the history: the latest
//! snapshot may be of a day between, on which nothing was held.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::Api;
use super::answer::{Answer, Reply, ReprocessingStatus};
use super::asked::{Asked, escaped};
use super::problem::Problem;
use crate::domain::ids::{Epoch, Key, PortfolioId, Revision, SecurityId, Token};
use crate::domain::money::Amount;
use crate::domain::records::{Position, ValuationStatus, Values};
use crate::domain::time::Date;
use crate::ports::Ports;
use crate::ports::store::rows::SnapshotRow;
use crate::ports::store::statements::{PositionRead, ReadPortfolioPositions, ReadPortfolios};

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionList {
    /// The portfolio.
    pub portfolio_id: PortfolioId,
    /// The date of the request.
    pub as_of_date: Option<Date>,
    /// Its positions, in order of the securities.
    pub positions: Vec<PositionView>,
}

/// A position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionView {
    /// The security.
    pub security_id: SecurityId,
    /// Date of the last transaction that counts.
    pub position_date: Date,
    /// Units after it.
    pub quantity: Amount,
    /// Cost in base currency.
    pub cost_basis: Amount,
    /// Cost in trade currency.
    pub cost_basis_local: Amount,
    /// The latest day's values.
    pub valuation: Option<ValuationView>,
    /// Whether it is about to be replaced.
    pub reprocessing_status: ReprocessingStatus,
    /// The version that is shown.
    pub epoch: Epoch,
    /// The newest token, complete or not.
    pub newest: Token,
    /// Up to here every business date is valued.
    pub watermark_date: Date,
}

/// A day's values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValuationView {
    /// The business date.
    pub date: Date,
    /// Units at its end.
    pub quantity: Amount,
    /// Cost in base currency.
    pub cost_basis: Amount,
    /// Cost in trade currency.
    pub cost_basis_local: Amount,
    /// The price as quoted.
    pub market_price: Option<Amount>,
    /// Value in base currency.
    pub market_value: Option<Amount>,
    /// Value in the instrument's currency.
    pub market_value_local: Option<Amount>,
    /// Value less cost.
    pub unrealized_gain_loss: Option<Amount>,
    /// Value less cost, local.
    pub unrealized_gain_loss_local: Option<Amount>,
    /// How it came to its values.
    pub valuation_status: ValuationStatus,
    /// Token under which it was computed.
    pub epoch: Epoch,
    /// Token under which it was computed.
    pub revision: Revision,
}

impl PositionList {
    /// What is asked of a server, as an address.
    pub fn address(portfolio_id: &PortfolioId) -> String {
        format!("/portfolios/{}/positions", escaped(portfolio_id.as_str()))
    }

    /// The rows that it shows.
    pub fn reads(self) -> Vec<PositionRead> {
        let portfolio = self.portfolio_id;
        self.positions.into_iter().map(|view| view.read(portfolio.clone())).collect()
    }
}

impl PositionView {
    fn of(read: PositionRead) -> Self {
        Self {
            security_id: read.key.security_id,
            position_date: read.position_date,
            quantity: read.position.quantity,
            cost_basis: read.position.cost_basis,
            cost_basis_local: read.position.cost_basis_local,
            valuation: read.snapshot.map(ValuationView::of),
            reprocessing_status: read.status.into(),
            epoch: read.served_epoch,
            newest: Token { epoch: read.epoch, revision: read.revision },
            watermark_date: read.watermark_date,
        }
    }

    fn read(self, portfolio_id: PortfolioId) -> PositionRead {
        let key = Key { portfolio_id, security_id: self.security_id };
        let snapshot = self.valuation.map(|valuation| valuation.row(key.clone()));
        PositionRead {
            key,
            served_epoch: self.epoch,
            epoch: self.newest.epoch,
            revision: self.newest.revision,
            status: self.reprocessing_status.into(),
            watermark_date: self.watermark_date,
            snapshot,
            position: Position {
                quantity: self.quantity,
                cost_basis: self.cost_basis,
                cost_basis_local: self.cost_basis_local,
            },
            position_date: self.position_date,
        }
    }
}

impl ValuationView {
    fn of(row: SnapshotRow) -> Self {
        Self {
            date: row.date,
            quantity: row.position.quantity,
            cost_basis: row.position.cost_basis,
            cost_basis_local: row.position.cost_basis_local,
            market_price: row.market_price,
            market_value: row.values.map(|values| values.market_value),
            market_value_local: row.values.map(|values| values.market_value_local),
            unrealized_gain_loss: row.values.map(|values| values.unrealized_gain_loss),
            unrealized_gain_loss_local: row.values.map(|values| values.unrealized_gain_loss_local),
            valuation_status: row.valuation_status,
            epoch: row.epoch,
            revision: row.revision,
        }
    }

    fn row(self, key: Key) -> SnapshotRow {
        SnapshotRow {
            key,
            date: self.date,
            epoch: self.epoch,
            revision: self.revision,
            position: Position {
                quantity: self.quantity,
                cost_basis: self.cost_basis,
                cost_basis_local: self.cost_basis_local,
            },
            market_price: self.market_price,
            values: self.values(),
            valuation_status: self.valuation_status,
        }
    }

    /// All of them or none.
    fn values(&self) -> Option<Values> {
        Some(Values {
            market_value: self.market_value?,
            market_value_local: self.market_value_local?,
            unrealized_gain_loss: self.unrealized_gain_loss?,
            unrealized_gain_loss_local: self.unrealized_gain_loss_local?,
        })
    }
}

/// Answers.
pub(super) async fn list<P: Ports>(api: Rc<Api<P>>, asked: Asked) -> Reply {
    let portfolio_id = asked.portfolio_id()?;
    let as_of = asked.date("as_of_date")?;
    let statement = ReadPortfolioPositions { portfolio_id: portfolio_id.clone(), as_of };
    let reads = api.instance.query(statement).await?;
    if reads.is_empty() {
        // Nobody can hold anything in a portfolio that is not there yet.
        must_exist(&api, &portfolio_id).await?;
    }
    let is_held = |read: &PositionRead| !read.position.quantity.is_zero();
    let positions = reads.into_iter().filter(is_held).map(PositionView::of).collect();
    Ok(Answer::found(&PositionList { portfolio_id, as_of_date: as_of, positions }))
}

/// Asks for a portfolio.
pub(super) async fn must_exist<P: Ports>(
    api: &Api<P>,
    portfolio_id: &PortfolioId,
) -> Result<(), Problem> {
    let ids = vec![portfolio_id.clone()];
    match api.look(ReadPortfolios { ids }).await?.is_empty() {
        true => Err(Problem::UnknownPortfolio(portfolio_id.to_string())),
        false => Ok(()),
    }
}
