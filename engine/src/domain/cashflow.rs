//! The cash flow of an applied transaction, by a table of rules.
//!
//! A flow follows from what was booked and from nothing else: no rate, no lot, no accrued interest.
//! What the fee does to the amount and which way the money goes are facts of the type; so are the
//! time of day at which a flow counts, and whether it is one of the position, of the portfolio, or
//! of both.
//!
//! # Invariants
//! - The amount of a transaction that was accepted can be stored: it is a sum of two inputs.

use super::records::{Cashflow, Classification, Terms, Timing, TransactionType};

/// How amounts come about: `calculation_type` of every flow.
pub const CALCULATION_TYPE: &str = "NET";

/// The cash flow of a transaction that is applied.
pub fn cashflow(terms: &Terms) -> Cashflow {
    use Classification as C;
    use TransactionType as T;
    let (classification, timing, is_portfolio_flow) = match terms.kind {
        T::Buy => (C::InvestmentOutflow, Timing::Bod, false),
        T::Sell => (C::InvestmentInflow, Timing::Eod, false),
        T::Dividend | T::Interest => (C::Income, Timing::Eod, false),
        T::Deposit => (C::CashflowIn, Timing::Bod, true),
        T::Withdrawal => (C::CashflowOut, Timing::Eod, true),
        T::Fee => (C::Expense, Timing::Eod, true),
        T::Tax => (C::Expense, Timing::Eod, false),
        T::TransferIn => (C::Transfer, Timing::Bod, true),
        T::TransferOut => (C::Transfer, Timing::Eod, true),
    };
    let net = match terms.kind {
        T::Buy | T::Fee => terms.gross + terms.fee,
        _ => terms.gross - terms.fee,
    };
    let leaves = matches!(terms.kind, T::Buy | T::Withdrawal | T::Fee | T::Tax | T::TransferOut);
    Cashflow {
        amount: if leaves { -net } else { net },
        currency: terms.currency.clone(),
        classification,
        timing,
        is_position_flow: true,
        is_portfolio_flow,
    }
}
