//! Time series: `unit_timeseries`.

use backdate_engine::domain::fx::FxTable;
use backdate_engine::domain::ids::Currency;
use backdate_engine::domain::money::Amount;
use backdate_engine::domain::records::{Cashflow, Classification, Timing};
use backdate_engine::domain::records::{Position, TransactionType};
use backdate_engine::domain::series::{DaySum, portfolio_series, position_series};
use backdate_engine::domain::time::Date;

use crate::{number, table};

/// `BOD 1000 pos; EOD -50 pos+port`
fn flows(text: &str) -> Vec<Cashflow> {
    let flow = |text: &str| {
        let parts: Vec<&str> = text.split_whitespace().collect();
        let [timing, amount, whose] = parts.as_slice() else { panic!("a flow: {text:?}") };
        let whose: Vec<&str> = whose.split('+').collect();
        assert!(whose.iter().all(|whose| ["pos", "port"].contains(whose)), "{text:?}");
        Cashflow {
            amount: number(amount),
            currency: Currency::new("USD"),
            classification: Classification::Income,
            timing: Timing::parse(timing).expect("a timing"),
            is_position_flow: whose.contains(&"pos"),
            is_portfolio_flow: whose.contains(&"port"),
        }
    };
    text.split(';').map(flow).collect()
}

#[test]
fn rows_of_positions() {
    for row in table("unit_timeseries/position.csv") {
        let case = &row["case"];
        let cost_basis_local = number(&row["cur_cost_local"]);
        let quantity = number(&row["cur_qty"]);
        let position = Position { quantity, cost_basis_local, ..Position::default() };
        let flows = flows(&row["flows"]);
        let flows = flows.iter().map(|flow| (TransactionType::Dividend, flow));
        let previous = Some(number(&row["prev_mv_local"]));
        let value = Some(number(&row["cur_mv_local"]));
        let series = position_series(previous, &position, value, flows);
        assert_eq!(series.bod_market_value, number(&row["exp_bod_mv"]), "{case}");
        assert_eq!(series.eod_market_value, number(&row["exp_eod_mv"]), "{case}");
        assert_eq!(series.bod_cashflow_position, number(&row["exp_bod_cf_pos"]), "{case}");
        assert_eq!(series.eod_cashflow_position, number(&row["exp_eod_cf_pos"]), "{case}");
        assert_eq!(series.bod_cashflow_portfolio, number(&row["exp_bod_cf_port"]), "{case}");
        assert_eq!(series.eod_cashflow_portfolio, number(&row["exp_eod_cf_port"]), "{case}");
        assert_eq!(series.cost, Some(number(&row["exp_avg_cost"])), "{case}");
    }
}

/// Each key counts at its own epoch; which epoch that is, is for whoever reads the rows to say.
#[test]
fn rows_of_portfolios() {
    for row in table("unit_timeseries/portfolio.csv") {
        let snapshots = row["snapshots(sec:mv:epoch)"].split_whitespace();
        let sum = |text: &str| {
            let parts: Vec<&str> = text.split(':').collect();
            DaySum {
                currency: Currency::new("USD"),
                market_value: number(parts[1]),
                bod_cashflow: Amount::ZERO,
                eod_cashflow: Amount::ZERO,
                fees: Amount::ZERO,
            }
        };
        let sums: Vec<DaySum> = snapshots.map(sum).collect();
        let base = Currency::new("USD");
        let (date, fx) = (Date::from_days(20_000), FxTable::default());
        let series = portfolio_series(date, Amount::ZERO, sums.iter(), &base, &fx);
        assert_eq!(series.eod_market_value, number(&row["exp_eod_mv"]), "{}", row["case"]);
    }
}
