//! Cash flows and series of positions, from tables that the model and the engine agree on.

use backdate_engine::domain::cashflow::cashflow;
use backdate_engine::domain::ids::Key;
use backdate_engine::domain::money::Amount;
use backdate_engine::domain::series::position_series;
use backdate_engine::domain::time::Date;

use crate::oracle::g01_convergence::same_row;
use crate::oracle::model::{Inputs, KeyTables, flow};

/// Flows and rows of the series, each from the one before.
pub(super) fn check(inputs: &Inputs, tables: &KeyTables, seed: u64) {
    let key = Key::new("P", "S");
    let must = inputs.position_series(&key, tables);
    let applied = tables.folded.rows.iter().filter(|row| row.outcome.is_ok());
    let flows: Vec<_> = applied
        .map(|row| {
            let id = &row.place.transaction_id;
            let terms = &inputs.transaction(id).expect("stored").transaction.terms;
            assert_eq!(cashflow(terms), flow(terms), "seed {seed} {id}");
            (row.place.date(), terms.kind, cashflow(terms))
        })
        .collect();
    assert_eq!(must.len(), tables.snapshots.len(), "seed {seed}");
    let mut before: Option<(Date, Option<Amount>)> = None;
    for (date, snapshot) in &tables.snapshots {
        let after = before.map_or(Date::FIRST, |(date, _)| date);
        let between = flows.iter().filter(|(day, ..)| after < *day && day <= date);
        let value = snapshot.values.map(|values| values.market_value_local);
        let row = position_series(
            before.and_then(|(_, value)| value),
            &snapshot.position,
            value,
            between.map(|(_, kind, flow)| (*kind, flow)),
        );
        assert!(same_row(&must[date], &row), "seed {seed} {date}: {must:?}\nengine {row:?}");
        before = Some((*date, value));
    }
}
