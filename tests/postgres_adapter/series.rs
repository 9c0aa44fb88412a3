//! Cash flows and series: every column comes back as it was written, few rows or many.

use backdate_engine::domain::ids::{Epoch, Revision};
use backdate_engine::domain::money::Amount;
use backdate_engine::domain::records::TransactionType;
use backdate_engine::domain::records::{Cashflow, Classification, Timing};
use backdate_engine::domain::records::{PortfolioSeries, PositionSeries};
use backdate_engine::ports::store::rows::{CashflowRow, PortfolioSeriesRow, PositionSeriesRow};
use backdate_engine::ports::store::statements::{
    CopyPortfolioSeries, CopyPositionSeries, InsertCashflows, ReadCashflows, ReadPortfolioEdges,
};
use sqlx::Row as _;

use super::on;
use super::rows::{date, key};
use crate::contract::fixtures::place;

/// Flows of one day each, all different.
fn flows(count: i32) -> Vec<CashflowRow> {
    let flow = |number: i32| {
        let of = |list: usize| number as usize % list;
        CashflowRow {
            key: key("A", "S"),
            place: place(&format!("T{number:04}"), number),
            epoch: Epoch(0),
            kind: TransactionType::ALL[of(TransactionType::ALL.len())],
            cashflow: Cashflow {
                amount: Amount::from_raw(i128::from(number - 3) * 12_345_678_901),
                currency: ["USD", "EUR"][of(2)].into(),
                classification: Classification::ALL[of(Classification::ALL.len())],
                timing: Timing::ALL[of(2)],
                is_position_flow: number % 3 != 0,
                is_portfolio_flow: number % 5 == 0,
            },
        }
    };
    (0..count).map(flow).collect()
}

#[test]
fn cash_flows_come_back_as_they_were_written() {
    for count in [7, 150] {
        on(async move |bench| {
            let rows = flows(count);
            bench.run(InsertCashflows { rows: rows.clone() }).await;
            let ranges = vec![(key("A", "S"), Epoch(9), None, date(9_999))];
            assert_eq!(bench.run(ReadCashflows { ranges }).await, rows);
        });
    }
}

#[test]
fn rows_of_series_are_copied_with_every_column() {
    on(async |bench| {
        let amount = |raw: i128| Amount::from_raw(raw * 10_000_000_007);
        let row = PositionSeriesRow {
            key: key("A", "S"),
            date: date(4),
            epoch: Epoch(3),
            revision: Revision(7),
            currency: "CHF".into(),
            market_value: amount(1),
            series: PositionSeries {
                bod_market_value: amount(2),
                bod_cashflow_position: amount(-3),
                eod_cashflow_position: amount(4),
                bod_cashflow_portfolio: amount(-5),
                eod_cashflow_portfolio: amount(6),
                eod_market_value: amount(7),
                fees: amount(8),
                quantity: amount(9),
                cost: None,
            },
        };
        bench.run(CopyPositionSeries { rows: vec![row] }).await;
        bench.run(CopyPositionSeries { rows: Vec::new() }).await;
        let mut connection = super::faults::connect(bench).await;
        let text = "SELECT concat_ws('|', portfolio_id, security_id, date - '2024-10-04'::date,
            epoch, revision, currency, market_value, bod_market_value, bod_cashflow_position,
            eod_cashflow_position, bod_cashflow_portfolio, eod_cashflow_portfolio,
            eod_market_value, fees, quantity, coalesce(cost::text, '-'))
            FROM position_timeseries";
        let stored = sqlx::query(text).fetch_one(&mut connection).await.expect("one row");
        let number = |raw: i128| amount(raw).to_string();
        let numbers = [1, 2, -3, 4, -5, 6, 7, 8, 9].map(number).join("|");
        assert_eq!(stored.get::<String, _>(0), format!("A|S|4|3|7|CHF|{numbers}|-"));

        let series = PortfolioSeries {
            bod_market_value: amount(1),
            bod_cashflow: amount(-2),
            eod_cashflow: amount(3),
            eod_market_value: amount(-4),
            fees: amount(5),
        };
        let row = PortfolioSeriesRow { portfolio_id: "A".into(), date: date(4), series };
        bench.run(CopyPortfolioSeries { rows: vec![row.clone()] }).await;
        let ranges = vec![("A".into(), date(0), date(3))];
        let edges = bench.run(ReadPortfolioEdges { ranges }).await;
        assert_eq!(edges[0].after, Some(row));
    });
}
