//! Costs, lots, order and positions: `unit_cost_engine` and `unit_position`.

use std::collections::BTreeMap;

use backdate_engine::domain::cost::Fold;
use backdate_engine::domain::ids::TransactionId;
use backdate_engine::domain::intake::{self, Rejection};
use backdate_engine::domain::money::{Amount, FxRate};
use backdate_engine::domain::records::{
    CostMethod, Costs, Fate, Lot, Outcome, ParkReason, Place, Position, Terms, Transaction,
    TransactionType,
};
use backdate_engine::domain::time::{Date, Timestamp};
use serde_json::json;

use crate::{Row, number, number_or, optional, table};

fn rate(text: &str) -> FxRate {
    FxRate::direct(number_or(text, Amount::ONE))
}

fn kind(row: &Row, column: &str) -> TransactionType {
    TransactionType::parse(&row[column]).expect("a known type")
}

fn method(row: &Row) -> Option<CostMethod> {
    Some(CostMethod::parse(&row["method"]).expect("a known method"))
}

/// Reads a transaction as a message that has these fields, and zero or a constant for the others.
fn read(id: &str, kind: &str, at: &str, fields: &[(&str, &str)]) -> Result<Transaction, Rejection> {
    let mut message = json!({
        "transaction_id": id, "portfolio_id": "P", "instrument_id": "I", "security_id": "S",
        "transaction_date": at, "transaction_type": kind, "quantity": "1", "price": 1,
        "gross_transaction_amount": "0", "trade_fee": "0", "trade_currency": "USD",
        "currency": "USD",
    });
    for (name, text) in fields.iter().filter(|(_, text)| !text.is_empty()) {
        message[*name] = json!(text);
    }
    let bytes = message.to_string();
    intake::transaction(bytes.as_bytes()).map(|versioned| versioned.content)
}

fn lot(day: i32, quantity: Amount, cost: Amount, cost_local: Amount) -> Lot {
    Lot { opened: Place::start_of(Date::from_days(day)), quantity, cost, cost_local }
}

fn terms(row: &Row) -> Terms {
    let fields = [
        ("quantity", row["quantity"].as_str()),
        ("gross_transaction_amount", row["gross"].as_str()),
    ];
    // Quantities of zero belong to types that move none.
    read("T", &row["type"], "2025-01-01", &fields).expect("a good row").terms
}

fn apply(fold: &mut Fold, transaction: &Transaction, fx: FxRate) -> Outcome {
    let place = Place::of(&transaction.transaction_id, &transaction.terms);
    fold.apply(&place, &transaction.terms, Some(fx))
}

fn lot_units(fold: &Fold) -> Amount {
    fold.lots().map(|lot| lot.quantity).sum()
}

#[test]
fn costs_of_single_transactions() {
    for row in table("unit_cost_engine/buy_sell_costs.csv") {
        let case = &row["case"];
        let read = read(
            "T",
            &row["type"],
            "2025-01-01",
            &[
                ("quantity", &row["quantity"]),
                ("gross_transaction_amount", &row["gross"]),
                ("trade_fee", &row["fee"]),
                ("accrued_interest", &row["accrued_interest"]),
                ("calculation_policy_id", &row["policy"]),
            ],
        );
        let transaction = match (read, row["exp_outcome"].as_str()) {
            (Err(rejection), "rejected: quantity not positive") => {
                assert_eq!(rejection, Rejection::QuantityNotPositive, "{case}");
                continue;
            }
            (Err(rejection), "rejected: fee exceeds gross") => {
                assert_eq!(rejection, Rejection::FeeExceedsGross, "{case}");
                continue;
            }
            (read, _) => read.unwrap_or_else(|rejection| panic!("{case}: {rejection}")),
        };
        let mut fold = fold_before(&row);
        let before = fold.position().quantity;
        let outcome = apply(&mut fold, &transaction, rate(&row["fx_rate"]));
        if row["exp_outcome"] == "parked: NO_LOTS" {
            assert_eq!(outcome.fate, Fate::Parked(ParkReason::NoLots), "{case}");
            continue;
        }
        let Fate::Applied(costs) = outcome.fate else {
            panic!("{case}: {outcome:?}");
        };
        assert_eq!(costs.gross_cost, number(&row["exp_gross_cost"]), "{case}");
        assert_eq!(costs.net_cost, number(&row["exp_net_cost"]), "{case}");
        assert_eq!(costs.net_cost_local, number(&row["exp_net_cost_local"]), "{case}");
        if !row["exp_rgl"].is_empty() {
            assert_eq!(costs.realized_gain_loss, optional(&row["exp_rgl"]), "{case}");
            let local = optional(&row["exp_rgl_local"]);
            assert_eq!(costs.realized_gain_loss_local, local, "{case}");
        }
        check_lots(&row, before, &fold);
    }
}

/// The open lots that the columns `avail_qty, matched_cogs_*` describe: one that will be matched
/// as a whole, and one with the rest.
fn fold_before(row: &Row) -> Fold {
    if row["avail_qty"].is_empty() {
        return Fold::new(method(row), Position::default(), Vec::new());
    }
    let available = number(&row["avail_qty"]);
    let matched = number(&row["quantity"]).min(available);
    let cost = number_or(&row["matched_cogs_base"], Amount::ZERO);
    let cost_local = number_or(&row["matched_cogs_local"], Amount::ZERO);
    let mut lots = vec![lot(1, matched, cost, cost_local)];
    if available > matched {
        lots.push(lot(2, available - matched, Amount::ONE, Amount::ONE));
    }
    let position = Position { quantity: available, cost_basis: cost, cost_basis_local: cost_local };
    Fold::new(method(row), position, lots)
}

/// What the last column says about lots.
fn check_lots(row: &Row, before: Amount, fold: &Fold) {
    let case = &row["case"];
    let lots: Vec<Lot> = fold.lots().cloned().collect();
    let gross = number(&row["gross"]);
    let added = |units: Amount, cost: Amount| {
        assert_eq!(lots.len(), 1, "{case}");
        assert_eq!((lots[0].quantity, lots[0].cost), (units, cost), "{case}");
    };
    match row["exp_outcome"].as_str() {
        "" => {}
        "a lot of 10000 units (= gross) is added" => added(gross, gross),
        "a lot of 100 at 150 is added" => added(number("100"), number("15000")),
        text if text.starts_with("gross units taken from lots") => {
            assert_eq!(lot_units(fold) - fold.debt(), before - gross, "{case}");
        }
        other => panic!("{case}: {other:?} is not understood"),
    }
}

#[test]
fn sequences_of_lots() {
    let mut folds: BTreeMap<String, Fold> = BTreeMap::new();
    for row in table("unit_cost_engine/lot_sequences.csv") {
        let case = format!("{} {}", row["case"], row["seq"]);
        let fold = folds
            .entry(row["case"].clone())
            .or_insert_with(|| Fold::new(method(&row), Position::default(), Vec::new()));
        let local = number_or(&row["net_cost_local"], number("1"));
        let base = number_or(&row["net_cost_base"], local);
        let fx = FxRate::direct(base.per(local).expect("a rate"));
        let at = format!("2025-01-0{}", row["seq"]);
        let fields = [
            ("quantity", row["quantity"].as_str()),
            ("gross_transaction_amount", row["net_cost_local"].as_str()),
        ];
        let transaction = read(&row["seq"], &row["op"], &at, &fields).expect("a good row");
        let consumed_before = lot_units(fold);
        match apply(fold, &transaction, fx).fate {
            Fate::Applied(costs) if row["op"] == "SELL" => {
                assert_eq!(-costs.net_cost, number(&row["exp_cogs_base"]), "{case}");
                assert_eq!(-costs.net_cost_local, number(&row["exp_cogs_local"]), "{case}");
                let consumed = consumed_before - lot_units(fold);
                assert_eq!(consumed, number(&row["exp_consumed"]), "{case}");
            }
            Fate::Applied(costs) => assert_eq!(costs.net_cost, base, "{case}"),
            Fate::Parked(reason) => {
                assert_eq!(row["exp_outcome"], format!("parked: {reason}"), "{case}");
            }
        }
        if row["exp_outcome"] == "remaining lot is lot 2" {
            let opened: Vec<String> =
                fold.lots().map(|lot| lot.opened.date().to_string()).collect();
            assert_eq!(opened, ["2025-01-02"], "{case}");
        }
        assert_eq!(lot_units(fold), number(&row["exp_available_after"]), "{case}");
    }
}

#[test]
fn timelines_are_folded_in_their_order_whatever_the_order_of_arrival() {
    let mut cases: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for row in table("unit_cost_engine/timelines.csv") {
        cases.entry(row["case"].clone()).or_default().push(row);
    }
    for (case, rows) in cases {
        let mut timeline: Vec<(Transaction, &Row)> = rows
            .iter()
            .map(|row| {
                let fields = [
                    ("quantity", row["quantity"].as_str()),
                    ("gross_transaction_amount", row["gross"].as_str()),
                ];
                let id = &row["transaction_id"];
                (read(id, &row["type"], &row["ts"], &fields).expect("a good row"), row)
            })
            .collect();
        timeline.sort_by_key(|(t, _)| Place::of(&t.transaction_id, &t.terms));
        let mut fold = Fold::new(method(&rows[0]), Position::default(), Vec::new());
        for (transaction, row) in &timeline {
            let Fate::Applied(costs) = apply(&mut fold, transaction, rate(&row["fx"])).fate else {
                panic!("{case}: {} is parked", row["transaction_id"]);
            };
            assert_eq!(costs.net_cost, number(&row["exp_net_cost"]), "{case}");
            assert_eq!(costs.realized_gain_loss, optional(&row["exp_rgl"]), "{case}");
        }
        for row in rows.iter().filter(|row| !row["exp_available_end"].is_empty()) {
            assert_eq!(lot_units(&fold), number(&row["exp_available_end"]), "{case}");
        }
    }
}

#[test]
fn order_of_a_timeline() {
    for row in table("unit_cost_engine/sorter.csv") {
        let (entries, common) = match row["input_order"].split_once(" all ") {
            Some((entries, common)) => (entries.to_owned(), Some(common)),
            None => (row["input_order"].clone(), None),
        };
        let mut places: Vec<Place> = entries
            .split(") ")
            .map(|entry| {
                let entry = entry.trim_end_matches(')');
                let (id, inner) = entry.split_once('(').expect("id(type timestamp)");
                let (kind, at) = match common {
                    Some(at) => (inner, at),
                    None => inner.split_once(' ').expect("a type and a timestamp"),
                };
                let transaction = read(id, kind, at, &[]).expect("a good row");
                Place::of(&transaction.transaction_id, &transaction.terms)
            })
            .collect();
        places.sort();
        let order: Vec<&str> = places.iter().map(|p| p.transaction_id.as_str()).collect();
        assert_eq!(order.join(" "), row["exp_order"], "{}", row["case"]);
    }
}

#[test]
fn positions_after_a_transaction() {
    for row in table("unit_position/next_position.csv") {
        let case = &row["case"];
        let mut terms = terms_of_position(&row);
        terms.at = Timestamp::parse("2025-02-01").expect("valid");
        let quantity = number(&row["q0"]);
        let position = Position {
            quantity,
            cost_basis: number(&row["cost0"]),
            cost_basis_local: number(&row["cost_local0"]),
        };
        let lots = if quantity.is_zero() {
            Vec::new()
        } else {
            vec![lot(1, quantity, position.cost_basis, position.cost_basis_local)]
        };
        let mut fold = Fold::new(Some(CostMethod::Fifo), position, lots);
        let place = Place::of(&TransactionId::new("T"), &terms);
        if row["net_cost"].is_empty() {
            let outcome = fold.apply(&place, &terms, Some(FxRate::ONE));
            assert!(matches!(outcome.fate, Fate::Applied(_)), "{case}");
        } else {
            fold.reapply(&place, &terms, &stored_outcome(&row));
        }
        let expected = Position {
            quantity: number(&row["exp_q"]),
            cost_basis: number(&row["exp_cost"]),
            cost_basis_local: number(&row["exp_cost_local"]),
        };
        assert_eq!(fold.position(), expected, "{case}");
    }
}

fn terms_of_position(row: &Row) -> Terms {
    let terms = terms(row);
    assert_eq!(terms.kind, kind(row, "type"));
    terms
}

fn stored_outcome(row: &Row) -> Outcome {
    let net_cost = number(&row["net_cost"]);
    Outcome {
        fx: Some(FxRate::ONE),
        fate: Fate::Applied(Costs {
            gross_cost: net_cost,
            net_cost,
            net_cost_local: number(&row["net_cost_local"]),
            realized_gain_loss: None,
            realized_gain_loss_local: None,
            transaction_fx_rate: Amount::ONE,
        }),
    }
}
