//! Values and statuses of snapshots: `unit_valuation`.

use backdate_engine::domain::fx::FxTable;
use backdate_engine::domain::ids::{Currency, SecurityId};
use backdate_engine::domain::records::{ExchangeRate, MarketPrice, Position, ValuationStatus};
use backdate_engine::domain::time::Date;
use backdate_engine::domain::valuation::{Valuation, value};

use crate::{number, table};

const TODAY: &str = "2025-06-30";

fn date(text: &str) -> Date {
    Date::parse(text).expect("a date")
}

fn quote(from: &str, to: &str, at: &str, rate: &str) -> ExchangeRate {
    ExchangeRate {
        from_currency: from.into(),
        to_currency: to.into(),
        rate_date: date(at),
        rate: number(rate),
    }
}

fn price(at: &str, price: &str, currency: &str) -> MarketPrice {
    MarketPrice {
        security_id: SecurityId::new("S"),
        price_date: date(at),
        price: number(price),
        currency: currency.into(),
    }
}

fn value_today(
    position: Position,
    price: Option<&MarketPrice>,
    instrument: &str,
    base: &str,
    quotes: Vec<ExchangeRate>,
) -> Valuation {
    let (instrument, base) = (Currency::new(instrument), Currency::new(base));
    let fx = FxTable::new(quotes);
    value(date(TODAY), &position, price, &instrument, &base, &fx)
}

#[test]
fn values_of_positions() {
    for row in table("unit_valuation/valuation.csv") {
        let case = &row["case"];
        let position = Position {
            quantity: number(&row["quantity"]),
            cost_basis: number(&row["cost_base"]),
            cost_basis_local: number(&row["cost_local"]),
        };
        let (instrument, base) = (&row["instr_ccy"], &row["port_ccy"]);
        let quotes = [
            (&row["price_ccy"], instrument, &row["fx_price_instr"]),
            (instrument, base, &row["fx_instr_port"]),
        ]
        .into_iter()
        .filter(|(_, _, rate)| !rate.is_empty())
        .map(|(from, to, rate)| quote(from, to, TODAY, rate))
        .collect();
        let price = price(TODAY, &row["price"], &row["price_ccy"]);
        let valued = value_today(position, Some(&price), instrument, base, quotes);
        match (row["exp_result"].as_str(), valued.values) {
            ("ok", Some(values)) => {
                assert_eq!(values.market_value, number(&row["exp_mv_base"]), "{case}");
                assert_eq!(values.market_value_local, number(&row["exp_mv_local"]), "{case}");
                assert_eq!(values.unrealized_gain_loss, number(&row["exp_pnl_base"]), "{case}");
                let local = number(&row["exp_pnl_local"]);
                assert_eq!(values.unrealized_gain_loss_local, local, "{case}");
                assert_eq!(valued.status, ValuationStatus::ValuedCurrent, "{case}");
            }
            ("none (status FAILED)", None) => {
                assert_eq!(valued.status, ValuationStatus::Failed, "{case}");
            }
            (expected, got) => panic!("{case}: {expected:?}, got {got:?}"),
        }
    }
}

#[test]
fn statuses_of_snapshots() {
    let held = Position { quantity: number("10"), ..Position::default() };
    let none = Position::default();
    let usd = |at| price(at, "5", "USD");
    let old = "2015-06-30";
    for row in table("unit_valuation/status_rules.csv") {
        let condition = row["condition"].as_str();
        let rates = vec![quote("USD", "CHF", TODAY, "2")];
        let ancient = vec![quote("USD", "CHF", old, "2")];
        let valued = match condition {
            "price of that very date and all rates" => {
                value_today(held, Some(&usd(TODAY)), "USD", "CHF", rates)
            }
            "latest price older than the date and all rates" => {
                value_today(held, Some(&usd(old)), "USD", "CHF", rates)
            }
            "no price on or before the date" => value_today(held, None, "USD", "CHF", rates),
            "no price and no rate" => value_today(held, None, "USD", "CHF", vec![]),
            "instrument currency differs from base and no rate on or before the date" => {
                let later = vec![quote("USD", "CHF", "2025-07-01", "2")];
                value_today(held, Some(&usd(TODAY)), "USD", "CHF", later)
            }
            "price currency differs from instrument currency and no rate between them" => {
                value_today(held, Some(&price(TODAY, "5", "GBP")), "USD", "CHF", rates)
            }
            "rate ten years old" => value_today(held, Some(&usd(TODAY)), "USD", "CHF", ancient),
            "quantity 0 with price and rates" => {
                value_today(none, Some(&usd(TODAY)), "USD", "CHF", rates)
            }
            "quantity 0 without a price" => value_today(none, None, "USD", "CHF", rates),
            // A snapshot without an instrument cannot even be asked for: its currency is needed.
            "instrument missing" => continue,
            other => panic!("{other:?} is not understood"),
        };
        assert_eq!(valued.status.as_str(), row["snapshot_status"], "{condition}");
        let quoted = valued.market_price.map_or("null", |_| "quoted");
        assert_eq!(quoted, row["market_price"], "{condition}");
        let values = match valued.values {
            None => "null",
            Some(values) if values.market_value.is_zero() => "zeros",
            Some(_) => "all",
        };
        assert_eq!(values, row["values"], "{condition}");
    }
}
