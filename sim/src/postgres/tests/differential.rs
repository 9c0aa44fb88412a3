//! The derived views against their plain definitions, over random histories of commits and aborts.

use backdate_engine::domain::ids::{Epoch, Key};
use backdate_engine::domain::records::{CostMethod, FoldTerms, KeyStatus};
use backdate_engine::ports::store::rows::{KeyState, ReplayRow};
use backdate_engine::ports::store::statements::{
    DeleteReplays, DeleteValuationJob, InsertBusinessDates, InsertKeys, InsertTransactions,
    InsertValuationJobs, LockKeys, UpdateKeys, UpsertInstruments, UpsertPortfolios, UpsertPrices,
    UpsertReplays,
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::super::core::session::Session;
use super::super::core::storage::Storage;
use super::super::core::table::TxId;
use super::super::derived::{consulted, is_behind, is_due, latest_business_date};
use super::fixtures::{
    business_date, currency, date, instrument, job, key, portfolio, price, transaction,
};
use super::{run, simulate};

const CURRENCIES: [&str; 4] = ["EUR", "USD", "CHF", "GBP"];

fn any_key(rng: &mut ChaCha8Rng) -> Key {
    let portfolio = ["A", "B"][rng.random_range(0..2)];
    key(portfolio, ["S1", "S2", "S3"][rng.random_range(0..3)])
}

fn any_currency(rng: &mut ChaCha8Rng) -> &'static str {
    CURRENCIES[rng.random_range(0..CURRENCIES.len())]
}

/// One random write that never waits, as there is only one session.
async fn write(session: &mut Session, rng: &mut ChaCha8Rng, step: u64) {
    let k = any_key(rng);
    let outcome = match rng.random_range(0..10) {
        0 => run(session, InsertKeys { keys: vec![(k, date(rng.random_range(1..9)))] }).await,
        1 => {
            let row = transaction(&format!("T{step}"), &k, 1, any_currency(rng));
            run(session, InsertTransactions { rows: vec![row] }).await.map(drop)
        }
        2 => {
            let row = price(k.security_id.as_str(), rng.random_range(1..4), any_currency(rng), 1);
            run(session, UpsertPrices { rows: vec![row] }).await
        }
        3 => {
            let row = portfolio(k.portfolio_id.as_str(), any_currency(rng));
            run(session, UpsertPortfolios { rows: vec![row] }).await
        }
        4 => {
            let row = instrument(k.security_id.as_str(), any_currency(rng));
            run(session, UpsertInstruments { rows: vec![row] }).await
        }
        5 => {
            let rows = vec![business_date(rng.random_range(1..9))];
            run(session, InsertBusinessDates { rows }).await.map(drop)
        }
        6 => {
            let row = ReplayRow { key: k, epoch: Epoch(1), from_date: date(1), cursor: None };
            run(session, UpsertReplays { rows: vec![row] }).await
        }
        7 => run(session, DeleteReplays { keys: vec![k] }).await,
        8 => {
            let held = [(&k, 0, rng.random_range(0..3))];
            let made = run(session, InsertValuationJobs { jobs: vec![job(&held, 1, 1)] }).await;
            let old = rng.random_range(1..step.max(2));
            run(session, DeleteValuationJob { id: old }).await.and(made)
        }
        _ => change_key(session, rng, k).await,
    };
    outcome.expect("nothing is in its way");
}

async fn change_key(
    session: &mut Session,
    rng: &mut ChaCha8Rng,
    key: Key,
) -> Result<(), backdate_engine::ports::store::StoreError> {
    let mut rows = run(session, LockKeys { keys: vec![key], skip_locked: false }).await?;
    for row in &mut rows {
        row.watermark_date = date(rng.random_range(1..9));
        row.status = KeyStatus::ALL[rng.random_range(0..2)];
        row.revision = row.revision.next();
        let base_currency = currency(any_currency(rng));
        row.fold_terms = Some(FoldTerms { base_currency, method: CostMethod::Fifo });
    }
    run(session, UpdateKeys { rows }).await
}

fn check(storage: &Storage) {
    let nobody = TxId(0);
    let view = storage.view(nobody);
    let derived = storage.derived(nobody).expect("nobody has written nothing");
    let latest = latest_business_date(view);
    let plain = |of: &dyn Fn(&KeyState) -> bool| {
        let keys = view.range::<KeyState>(..).filter(|state| of(state));
        keys.map(|state| state.key.clone()).collect::<Vec<_>>()
    };
    let due: Vec<Key> = derived.due.iter().cloned().collect();
    assert_eq!(due, plain(&|state| is_due(view, state, latest)));
    let behind: Vec<Key> = derived.behind.iter().cloned().collect();
    assert_eq!(behind, plain(&|state| is_behind(state, latest)));
    for a in CURRENCIES.map(currency) {
        for b in CURRENCIES.map(currency).into_iter().filter(|b| a < *b) {
            let pair = (a.clone(), b);
            let keys = derived.pairs.get(&pair).into_iter().flatten();
            let keys: Vec<Key> = keys.cloned().collect();
            assert_eq!(keys, plain(&|state| consulted(view, state).contains(&pair)), "{pair:?}");
        }
    }
}

#[test]
fn derived_views_agree_with_their_plain_definitions() {
    simulate(|bench| async move {
        let mut rng = bench.backend.process.rng("differential");
        let mut session = bench.session("a");
        let mut most_due = 0;
        for step in 0..3_000 {
            write(&mut session, &mut rng, step).await;
            match rng.random_range(0..4) {
                0 => session.abort(),
                1 | 2 => drop(session.commit()),
                _ => {}
            }
            let storage = bench.backend.storage.borrow();
            check(&storage);
            most_due = storage.derived(TxId(0)).map_or(0, |d| d.due.len()).max(most_due);
        }
        assert!(most_due >= 3, "the history was not one in which anything is due");
    });
}
