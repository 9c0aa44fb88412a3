//! Cash flows: `unit_cashflow`.

use backdate_engine::domain::cashflow::cashflow;
use backdate_engine::domain::ids::Currency;
use backdate_engine::domain::money::Amount;
use backdate_engine::domain::records::{Classification, Timing};
use backdate_engine::domain::records::{Terms, TransactionType};
use backdate_engine::domain::time::Date;

use crate::{Row, number, table};

/// The trade currency differs, because flows are booked in the other one; accrued interest counts
/// for nothing.
fn terms(row: &Row) -> Terms {
    Terms {
        at: Date::from_days(20_000).start(),
        kind: TransactionType::parse(&row["type"]).expect("a type"),
        quantity: Amount::ONE,
        price: Amount::ONE,
        gross: number(&row["gross"]),
        fee: number(&row["fee"]),
        accrued_interest: Amount::from_units(7),
        policy: None,
        trade_currency: Currency::new("CHF"),
        currency: Currency::new("USD"),
    }
}

#[test]
fn flows_of_all_types() {
    let rows = table("unit_cashflow/cashflow.csv");
    let mut kinds: Vec<&str> = rows.iter().map(|row| row["type"].as_str()).collect();
    kinds.dedup();
    assert_eq!(kinds.len(), TransactionType::ALL.len(), "one row for each type");
    for row in &rows {
        let kind = &row["type"];
        let flow = cashflow(&terms(row));
        assert_eq!(flow.amount, number(&row["exp_amount"]), "{kind}");
        assert_eq!(flow.currency.as_str(), "USD", "{kind}");
        assert_eq!(Classification::parse(&row["classification"]), Some(flow.classification));
        assert_eq!(Timing::parse(&row["timing"]), Some(flow.timing), "{kind}");
        assert_eq!(flow.is_position_flow.to_string(), row["pos_flow"], "{kind}");
        assert_eq!(flow.is_portfolio_flow.to_string(), row["port_flow"], "{kind}");
    }
}
