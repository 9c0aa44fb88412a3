//! Claims about folding that hold for any timeline.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::ids::{Currency, TransactionId};
use crate::domain::time::Timestamp;

fn amount(text: &str) -> Amount {
    Amount::parse(text).expect("a number")
}

/// A transaction that happens at that microsecond.
fn terms(at: i64, kind: TransactionType, quantity: Amount, gross: Amount) -> Terms {
    Terms {
        at: Timestamp::from_micros(at),
        kind,
        quantity,
        price: Amount::ONE,
        gross,
        fee: Amount::ZERO,
        accrued_interest: Amount::ZERO,
        policy: None,
        trade_currency: Currency::new("USD"),
        currency: Currency::new("USD"),
    }
}

fn place(terms: &Terms) -> Place {
    Place::of(&TransactionId::new(terms.at.micros().to_string()), terms)
}

fn empty(method: CostMethod) -> Fold {
    Fold::new(Some(method), Position::default(), Vec::new())
}

fn apply(fold: &mut Fold, terms: &Terms, fx: Option<FxRate>) -> Outcome {
    fold.apply(&place(terms), terms, fx)
}

fn applied(fold: &mut Fold, terms: &Terms) -> Costs {
    match apply(fold, terms, Some(FxRate::ONE)).fate {
        Fate::Applied(costs) => costs,
        Fate::Parked(reason) => panic!("parked: {reason}"),
    }
}

fn lots(fold: &Fold) -> Vec<(String, String)> {
    fold.lots().map(|lot| (lot.quantity.to_string(), lot.cost.to_string())).collect()
}

#[test]
fn reasons_to_park_are_tested_in_order() {
    let sell = terms(1, TransactionType::Sell, amount("5"), amount("1e11"));
    let rate = FxRate::direct(amount("1e11"));
    for (method, fx, reason, kept) in [
        (None, Some(rate), ParkReason::NoPortfolio, None),
        (None, None, ParkReason::NoPortfolio, None),
        (Some(CostMethod::Fifo), None, ParkReason::NoFx, None),
        (Some(CostMethod::Avco), Some(rate), ParkReason::NoLots, Some(rate)),
    ] {
        let mut fold = Fold::new(method, Position::default(), Vec::new());
        let outcome = apply(&mut fold, &sell, fx);
        let expected = Outcome { fx: kept, fate: Fate::Parked(reason) };
        assert_eq!(outcome, expected);
    }
    let dividend = terms(1, TransactionType::Dividend, Amount::ZERO, amount("5"));
    let outcome = apply(&mut empty(CostMethod::Fifo), &dividend, None);
    assert_eq!(outcome.fate, Fate::Parked(ParkReason::NoFx), "whatever the type");
}

#[test]
fn what_does_not_fit_parks_and_touches_nothing() {
    let large = amount("999999999999");
    let rate = FxRate::direct(large);
    for method in [CostMethod::Fifo, CostMethod::Avco] {
        let mut fold = empty(method);
        applied(&mut fold, &terms(1, TransactionType::Buy, Amount::ONE, Amount::ONE));
        fold.take_lot_changes();
        let (position, open) = (fold.position(), lots(&fold));
        for kind in [TransactionType::Buy, TransactionType::Sell, TransactionType::Tax] {
            let outcome = apply(&mut fold, &terms(2, kind, Amount::ONE, large), Some(rate));
            assert_eq!(outcome.fate, Fate::Parked(ParkReason::Overflow), "{kind}");
            assert_eq!(outcome.fx, Some(rate));
            assert_eq!((fold.position(), lots(&fold)), (position, open.clone()));
            assert_eq!(fold.take_lot_changes(), LotChanges::default());
        }
    }
}

#[test]
fn a_sum_that_does_not_fit_parks_what_would_fit_alone() {
    let large = amount("600000000000");
    let rate = FxRate::direct(amount("1000000"));
    for method in [CostMethod::Fifo, CostMethod::Avco] {
        let mut fold = empty(method);
        let buy = |at| terms(at, TransactionType::Buy, Amount::ONE, large);
        assert!(matches!(apply(&mut fold, &buy(1), Some(rate)).fate, Fate::Applied(_)));
        let second = apply(&mut fold, &buy(2), Some(rate));
        assert_eq!(second.fate, Fate::Parked(ParkReason::Overflow), "the position's cost");
    }
}

#[test]
fn a_pool_whose_cost_does_not_fit_parks_although_the_position_does() {
    let rate = FxRate::direct(amount("1000000"));
    let costly = FxRate::direct(amount("500000000000"));
    let units = amount("900000000000");
    let buy = |at| terms(at, TransactionType::Buy, units, amount("600000000000"));
    // A millionth of the lot's units, but five sixths of the position's cost.
    let fee = terms(2, TransactionType::Fee, Amount::ZERO, amount("1000000"));
    for (method, parked) in [(CostMethod::Fifo, false), (CostMethod::Avco, true)] {
        let mut fold = empty(method);
        apply(&mut fold, &buy(1), Some(rate));
        apply(&mut fold, &fee, Some(costly));
        assert_eq!(fold.position().cost_basis, amount("100000000000000000"));
        let outcome = apply(&mut fold, &buy(3), Some(rate));
        let overflow = outcome.fate == Fate::Parked(ParkReason::Overflow);
        assert_eq!(overflow, parked, "{method}");
    }
}

#[test]
fn a_debt_is_repaid_by_the_next_lot_with_a_part_of_its_cost() {
    for method in [CostMethod::Fifo, CostMethod::Avco] {
        let mut fold = empty(method);
        let withdrawal = |at, gross| terms(at, TransactionType::Withdrawal, Amount::ZERO, gross);
        let buy = |at, units, gross| terms(at, TransactionType::Buy, units, gross);
        applied(&mut fold, &withdrawal(1, amount("30")));
        assert_eq!(fold.position().quantity, amount("-30"));
        assert_eq!(fold.position().cost_basis, amount("-30"));
        applied(&mut fold, &buy(2, amount("20"), amount("100")));
        assert_eq!((fold.debt(), lots(&fold).len()), (amount("10"), 0));
        applied(&mut fold, &buy(3, amount("30"), amount("100")));
        assert_eq!(
            lots(&fold),
            [("20".to_owned(), "66.6666666667".to_owned())],
            "the part that repays costs 33.3333333333"
        );
        assert_eq!(fold.position().cost_basis, amount("170"));
        // Cost of what is sold comes from the lot, and at quantity zero the position forgets.
        let sold = applied(&mut fold, &terms(4, TransactionType::Sell, amount("20"), amount("80")));
        assert_eq!(sold.net_cost, amount("-66.6666666667"));
        assert_eq!(fold.position(), Position::default());
    }
}

#[test]
fn a_sale_in_debt_finds_no_lots() {
    let mut fold = empty(CostMethod::Fifo);
    applied(&mut fold, &terms(1, TransactionType::Fee, Amount::ZERO, amount("3")));
    let sell = terms(2, TransactionType::TransferOut, amount("0.0000000001"), Amount::ONE);
    let outcome = apply(&mut fold, &sell, Some(FxRate::ONE));
    assert_eq!(outcome.fate, Fate::Parked(ParkReason::NoLots));
}

#[test]
fn the_last_part_of_a_lot_costs_the_whole_remainder() {
    let mut fold = empty(CostMethod::Fifo);
    applied(&mut fold, &terms(1, TransactionType::Buy, amount("3"), amount("1")));
    let parts: Vec<String> = (2..5)
        .map(|at| terms(at, TransactionType::Sell, Amount::ONE, Amount::ONE))
        .map(|sell| applied(&mut fold, &sell).net_cost.to_string())
        .collect();
    assert_eq!(parts, ["-0.3333333333", "-0.3333333334", "-0.3333333333"]);
}

#[test]
fn a_lot_that_comes_and_goes_between_two_takings_is_no_change() {
    let buy = |at| terms(at, TransactionType::Buy, amount("2"), amount("8"));
    let sell = |at, units| terms(at, TransactionType::Sell, amount(units), amount("8"));
    for method in [CostMethod::Fifo, CostMethod::Avco] {
        let mut fold = empty(method);
        applied(&mut fold, &buy(1));
        applied(&mut fold, &sell(2, "2"));
        assert_eq!(fold.take_lot_changes(), LotChanges::default());
        applied(&mut fold, &buy(3));
        assert_eq!(fold.take_lot_changes().added.len(), 1);
        assert_eq!(fold.take_lot_changes(), LotChanges::default());
        applied(&mut fold, &sell(4, "2"));
        applied(&mut fold, &buy(5));
        let changes = fold.take_lot_changes();
        let deleted = usize::from(method == CostMethod::Fifo);
        let written = changes.added.len() + changes.changed.len();
        assert_eq!((written, changes.deleted.len()), (1, deleted));
    }
}

fn any_amount() -> impl Strategy<Value = Amount> {
    prop_oneof![
        8 => (0_i128..1_000).prop_map(|units| Amount::from_raw(units * 10_000_000_000)),
        4 => (0_i128..10_000_000_000_000).prop_map(Amount::from_raw),
        1 => (0_i128..3).prop_map(Amount::from_raw),
        1 => Just(amount("999999999999.9999999999")),
    ]
}

fn any_rate() -> impl Strategy<Value = Option<FxRate>> {
    let quote = (1_i128..30_000_000_000).prop_map(Amount::from_raw);
    prop_oneof![
        6 => Just(Some(FxRate::ONE)),
        3 => quote.clone().prop_map(|rate| Some(FxRate::direct(rate))),
        3 => (quote.clone(), quote).prop_map(|(first, second)| {
            Some(FxRate::cross(FxRate::direct(first), FxRate::inverse(second)))
        }),
        1 => Just(None),
        1 => Just(Some(FxRate::direct(amount("999999999999")))),
    ]
}

fn any_step() -> impl Strategy<Value = (Terms, Option<FxRate>)> {
    let amounts = (any_amount(), any_amount(), any_amount(), any_amount());
    let kind = prop::sample::select(TransactionType::ALL);
    (kind, amounts, any::<bool>(), any_rate()).prop_map(
        |(kind, (quantity, gross, fee, interest), excluded, fx)| {
            let mut terms = terms(0, kind, quantity.max(Amount::from_raw(1)), gross);
            terms.fee = fee.min(gross);
            terms.accrued_interest = interest;
            terms.policy = excluded.then(|| EXCLUDE_ACCRUED_INTEREST.into());
            (terms, fx)
        },
    )
}

fn any_timeline() -> impl Strategy<Value = Vec<(Terms, Option<FxRate>)>> {
    prop::collection::vec(any_step(), 1..40).prop_map(|mut steps| {
        for (at, (terms, _)) in steps.iter_mut().enumerate() {
            terms.at = Timestamp::from_micros(at as i64);
        }
        steps
    })
}

/// Applies changes to lots as a store does.
fn store(rows: &mut BTreeMap<Place, Lot>, changes: LotChanges) {
    for opened in changes.deleted {
        assert!(rows.remove(&opened).is_some(), "only stored lots are deleted");
    }
    for lot in changes.added {
        assert!(rows.insert(lot.opened.clone(), lot).is_none(), "an added lot has no row");
    }
    for lot in changes.changed {
        assert!(rows.insert(lot.opened.clone(), lot).is_some(), "a changed lot has a row");
    }
}

fn rows(fold: &Fold) -> Vec<Lot> {
    fold.lots().cloned().collect()
}

proptest! {
    #[test]
    fn the_lots_that_are_needed_are_enough(
        steps in any_timeline(),
        method in prop::sample::select(CostMethod::ALL),
        cut in any::<prop::sample::Index>(),
        length in any::<prop::sample::Index>(),
    ) {
        let (before, after) = steps.split_at(cut.index(steps.len()));
        let after = &after[..=length.index(after.len())];
        let mut whole = empty(method);
        for (terms, fx) in before {
            whole.apply(&place(terms), terms, *fx);
        }
        whole.take_lot_changes();
        let terms = after.iter().map(|(terms, _)| terms);
        let needed = Fold::lots_needed(Some(method), &whole.position(), terms);
        let (mut held, mut oldest) = (Amount::ZERO, Vec::new());
        for lot in whole.lots() {
            if needed.is_none_or(|units| held >= units && !oldest.is_empty()) {
                break;
            }
            held += lot.quantity;
            oldest.push(lot.clone());
        }
        let mut part = Fold::resumed(Some(method), whole.position(), needed, oldest);
        for (terms, fx) in after {
            let outcome = whole.apply(&place(terms), terms, *fx);
            prop_assert_eq!(part.apply(&place(terms), terms, *fx), outcome);
            prop_assert_eq!(part.position(), whole.position());
        }
        prop_assert_eq!(part.take_lot_changes(), whole.take_lot_changes());
    }

    #[test]
    fn a_fold_resumes_from_any_prefix(
        steps in any_timeline(),
        method in prop::sample::select(CostMethod::ALL),
        cut in any::<prop::sample::Index>(),
        taking in prop::collection::vec(any::<bool>(), 40),
    ) {
        let cut = cut.index(steps.len());
        let mut fold = empty(method);
        let mut again = empty(method);
        let mut stored = BTreeMap::new();
        let (mut before, mut outcomes) = (None, Vec::new());
        for (at, (terms, fx)) in steps.iter().enumerate() {
            if at == cut {
                before = Some((fold.position(), rows(&fold)));
            }
            let outcome = apply(&mut fold, terms, *fx);
            again.reapply(&place(terms), terms, &outcome);
            prop_assert_eq!(fold.position(), again.position());
            prop_assert_eq!(rows(&fold), rows(&again));
            let open: Amount = fold.lots().map(|lot| lot.quantity).sum();
            prop_assert_eq!(open - fold.debt(), fold.position().quantity);
            prop_assert!(fold.debt().is_zero() || open.is_zero());
            prop_assert!(fold.lots().all(|lot| lot.quantity > Amount::ZERO));
            if taking[at] {
                store(&mut stored, fold.take_lot_changes());
                prop_assert_eq!(stored.values().cloned().collect::<Vec<_>>(), rows(&fold));
            }
            outcomes.push(outcome);
        }
        let (position, open) = before.expect("the cut is within the timeline");
        let mut resumed = Fold::new(Some(method), position, open);
        for ((terms, fx), outcome) in steps[cut..].iter().zip(&outcomes[cut..]) {
            prop_assert_eq!(&apply(&mut resumed, terms, *fx), outcome);
        }
        prop_assert_eq!(resumed.position(), fold.position());
        prop_assert_eq!(rows(&resumed), rows(&fold));
    }

    #[test]
    fn costs_are_conserved(
        steps in any_timeline(),
        method in prop::sample::select(CostMethod::ALL),
    ) {
        // Only what opens lots and consumes them at their cost: then lots and position agree.
        let kinds = [
            TransactionType::Buy, TransactionType::TransferIn, TransactionType::Deposit,
            TransactionType::Sell, TransactionType::TransferOut,
        ];
        let mut fold = empty(method);
        for (terms, fx) in steps.iter().filter(|(terms, _)| kinds.contains(&terms.kind)) {
            apply(&mut fold, terms, *fx);
            let cost: Amount = fold.lots().map(|lot| lot.cost).sum();
            let cost_local: Amount = fold.lots().map(|lot| lot.cost_local).sum();
            let position = fold.position();
            prop_assert_eq!((cost, cost_local), (position.cost_basis, position.cost_basis_local));
        }
    }
}
