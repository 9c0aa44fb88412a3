//! The cash flow of a transaction that counts.
//!
//! # Invariants
//! - Every type has one rule.

use std::collections::BTreeMap;

use backdate_engine::domain::ids::Key;
use backdate_engine::domain::money::Amount;
use backdate_engine::domain::records::{Cashflow, Classification, Timing};
use backdate_engine::domain::records::{Place, Terms, TransactionType};

use super::fold::FoldedKey;
use super::inputs::Inputs;

/// Signs that gross amount and fee are booked with, by type.
const SIGNS: [(TransactionType, i128, i128); 10] = [
    (TransactionType::Buy, -1, -1),
    (TransactionType::Sell, 1, -1),
    (TransactionType::TransferIn, 1, -1),
    (TransactionType::TransferOut, -1, 1),
    (TransactionType::Deposit, 1, -1),
    (TransactionType::Withdrawal, -1, 1),
    (TransactionType::Fee, -1, -1),
    (TransactionType::Tax, -1, 1),
    (TransactionType::Dividend, 1, -1),
    (TransactionType::Interest, 1, -1),
];

/// Types whose flows count at the beginning of their day.
const AT_ONCE: [TransactionType; 3] =
    [TransactionType::Buy, TransactionType::Deposit, TransactionType::TransferIn];

/// Types whose flows stay within the portfolio.
const INTERNAL: [TransactionType; 5] = [
    TransactionType::Buy,
    TransactionType::Sell,
    TransactionType::Dividend,
    TransactionType::Interest,
    TransactionType::Tax,
];

/// The flow of a transaction.
pub fn flow(terms: &Terms) -> Cashflow {
    use TransactionType as T;
    let rule = SIGNS.iter().find(|(kind, ..)| *kind == terms.kind);
    let (_, gross, fee) = rule.expect("every type has a rule");
    let classification = match terms.kind {
        T::Buy => Classification::InvestmentOutflow,
        T::Sell => Classification::InvestmentInflow,
        T::Deposit => Classification::CashflowIn,
        T::Withdrawal => Classification::CashflowOut,
        T::TransferIn | T::TransferOut => Classification::Transfer,
        T::Dividend | T::Interest => Classification::Income,
        T::Fee | T::Tax => Classification::Expense,
    };
    Cashflow {
        amount: Amount::from_raw(gross * terms.gross.raw() + fee * terms.fee.raw()),
        currency: terms.currency.clone(),
        classification,
        timing: match AT_ONCE.contains(&terms.kind) {
            true => Timing::Bod,
            false => Timing::Eod,
        },
        is_position_flow: true,
        is_portfolio_flow: !INTERNAL.contains(&terms.kind),
    }
}

impl Inputs {
    /// The flows of a folded key: one per transaction that counts.
    pub fn flows(&self, key: &Key, folded: &FoldedKey) -> BTreeMap<Place, Cashflow> {
        let Some(timeline) = self.timelines.get(key) else { return BTreeMap::new() };
        let applied = folded.rows.iter().filter(|row| row.outcome.is_ok());
        let of_row = |row: &super::fold::FoldedRow| {
            let terms = &timeline.get(&row.place)?.transaction.terms;
            Some((row.place.clone(), flow(terms)))
        };
        applied.filter_map(of_row).collect()
    }
}
