//! What follows from an applied transaction beside its costs. Data only.

use serde::{Deserialize, Serialize};

use crate::domain::ids::Currency;
use crate::domain::money::Amount;

named!(
    /// What kind of flow it is.
    Classification {
        /// Money becomes a position.
        InvestmentOutflow = "INVESTMENT_OUTFLOW",
        /// A position becomes money.
        InvestmentInflow = "INVESTMENT_INFLOW",
        /// Dividends and interest.
        Income = "INCOME",
        /// Cash comes in.
        CashflowIn = "CASHFLOW_IN",
        /// Cash goes out.
        CashflowOut = "CASHFLOW_OUT",
        /// Fees and taxes.
        Expense = "EXPENSE",
        /// Units come from another portfolio or go there.
        Transfer = "TRANSFER",
    }
);

named!(
    /// When on its day a flow counts.
    Timing {
        /// At the beginning.
        Bod = "BOD",
        /// At the end.
        Eod = "EOD",
    }
);

/// A cash flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cashflow {
    /// Negative where money leaves.
    pub amount: Amount,
    /// In which it is booked.
    pub currency: Currency,
    /// What kind of flow it is.
    pub classification: Classification,
    /// When on its day it counts.
    pub timing: Timing,
    /// Whether it is a flow of the position.
    pub is_position_flow: bool,
    /// Whether it is a flow of the portfolio.
    pub is_portfolio_flow: bool,
}
