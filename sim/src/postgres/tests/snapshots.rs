//! What a statement sees: its snapshot, the newest version of what it locks, and nothing between.

use std::rc::Rc;

use backdate_engine::domain::ids::{Key, Revision};
use backdate_engine::domain::money::Amount;
use backdate_engine::domain::records::KeyStatus;
use backdate_engine::ports::store::StoreError;
use backdate_engine::ports::store::rows::{KeyState, PriceRow};
use backdate_engine::ports::store::statements::{
    AppendOutbox, LockKeys, ReadOutbox, UpdateKeys, UpsertPrices,
};

use super::super::core::locks::LockMode;
use super::super::core::session::Session;
use super::super::core::table::Version;
use super::fixtures::{date, event, key, price};
use super::{run, simulate, waits};

/// `SELECT ps.*, p.price FROM position_state ps JOIN market_prices p .. WHERE ps.key = .. FOR NO
/// KEY UPDATE OF ps`: the claim that the contract warns of.
async fn claim_with_price(
    session: &mut Session,
    key: &Key,
) -> Result<(Rc<KeyState>, Amount), StoreError> {
    let (state, price) = session.read(|view| {
        let state = view.version::<KeyState>(key).cloned().expect("the key is there");
        let id = (key.security_id.clone(), date(1));
        (state, view.get::<PriceRow>(&id).expect("the price is there").price.price)
    });
    let locked = session.lock(vec![state], LockMode::NoKeyUpdate, false, |_| true).await?;
    Ok((Rc::clone(&locked[0]), price))
}

/// `SELECT .. FROM position_state WHERE status = 'REPROCESSING' ORDER BY key FOR NO KEY UPDATE`
async fn lock_reprocessing(session: &mut Session) -> Result<Vec<Key>, StoreError> {
    let matches = |state: &KeyState| state.status == KeyStatus::Reprocessing;
    let rows: Vec<Version<KeyState>> = session.read(|view| {
        view.versions::<KeyState>(..).filter(|version| matches(&version.row)).cloned().collect()
    });
    let locked = session.lock(rows, LockMode::NoKeyUpdate, false, matches).await?;
    Ok(locked.iter().map(|state| state.key.clone()).collect())
}

async fn set_status(session: &mut Session, key: &Key, status: KeyStatus) {
    let lock = LockKeys { keys: vec![key.clone()], skip_locked: false };
    let states = run(session, lock).await.expect("free");
    let set =
        |state: &KeyState| KeyState { status, revision: state.revision.next(), ..state.clone() };
    let rows = states.iter().map(set).collect();
    run(session, UpdateKeys { rows }).await.expect("held");
}

#[test]
fn a_claim_that_waits_returns_the_new_revision_with_the_old_price() {
    simulate(|bench| async move {
        let k = key("P", "S");
        bench.add_keys(&[&k]).await;
        bench.run(UpsertPrices { rows: vec![price("S", 1, "EUR", 10)] }).await;
        let (mut fanout, mut worker) = (bench.session("fanout"), bench.session("worker"));
        set_status(&mut fanout, &k, KeyStatus::Reprocessing).await;
        let upsert = UpsertPrices { rows: vec![price("S", 1, "EUR", 20)] };
        run(&mut fanout, upsert).await.expect("free");
        let mut claim = Box::pin(claim_with_price(&mut worker, &k));
        assert!(waits(&mut claim).await);
        fanout.commit();
        let (state, price) = claim.await.expect("its turn");
        assert_eq!((state.revision, price), (Revision(1), Amount::from_units(10)));
        let id = ("S".into(), date(1));
        let later = worker.read(|view| view.get::<PriceRow>(&id).map(|row| row.price.price));
        assert_eq!(later, Some(Amount::from_units(20)), "a later statement sees it");
    });
}

#[test]
fn after_a_wait_only_what_matched_before_is_visited_and_only_what_still_matches_is_kept() {
    simulate(|bench| async move {
        let [a, b, c] = ["S1", "S2", "S3"].map(|security| key("P", security));
        bench.add_keys(&[&a, &b, &c]).await;
        let mut setup = bench.session("setup");
        set_status(&mut setup, &a, KeyStatus::Reprocessing).await;
        set_status(&mut setup, &b, KeyStatus::Reprocessing).await;
        setup.commit();
        let (mut writer, mut reader) = (bench.session("writer"), bench.session("reader"));
        set_status(&mut writer, &a, KeyStatus::Reprocessing).await;
        set_status(&mut writer, &b, KeyStatus::Current).await;
        set_status(&mut writer, &c, KeyStatus::Reprocessing).await;
        let mut locked = Box::pin(lock_reprocessing(&mut reader));
        assert!(waits(&mut locked).await);
        writer.commit();
        // b stopped to match, c began to.
        assert_eq!(locked.await.expect("its turn"), std::slice::from_ref(&a));
        assert_eq!(lock_reprocessing(&mut reader).await.expect("free"), [a, c]);
    });
}

#[test]
fn a_row_that_is_deleted_during_the_wait_is_dropped_even_if_it_is_inserted_again() {
    simulate(|bench| async move {
        let k = key("P", "S");
        bench.add_keys(&[&k]).await;
        let (mut writer, mut reader) = (bench.session("writer"), bench.session("reader"));
        let row: Version<KeyState> =
            writer.read(|view| view.version::<KeyState>(&k).cloned().expect("there"));
        let copy = (*row.row).clone();
        writer.delete(vec![row], |_| true).await.expect("free");
        let lock = LockKeys { keys: vec![k.clone()], skip_locked: false };
        let mut locked = Box::pin(run(&mut reader, lock.clone()));
        assert!(waits(&mut locked).await);
        writer.insert(copy).await.expect("deleted by itself");
        writer.commit();
        assert_eq!(locked.await.expect("its turn").len(), 0);
        assert_eq!(run(&mut reader, lock).await.expect("free").len(), 1);
    });
}

#[test]
fn uncommitted_writes_are_seen_by_their_own_transaction_only() {
    simulate(|bench| async move {
        let k = key("P", "S");
        bench.add_keys(&[&k]).await;
        let (mut writer, mut reader) = (bench.session("writer"), bench.session("reader"));
        set_status(&mut writer, &k, KeyStatus::Reprocessing).await;
        let revision = |session: &mut Session| {
            session.read(|view| view.get::<KeyState>(&k).map(|state| state.revision))
        };
        assert_eq!(revision(&mut writer), Some(Revision(1)));
        assert_eq!(revision(&mut reader), Some(Revision(0)));
        writer.abort();
        assert_eq!(revision(&mut writer), Some(Revision(0)));
    });
}

#[test]
fn ids_do_not_commit_in_order_and_are_never_given_twice() {
    simulate(|bench| async move {
        let append = |payload| AppendOutbox { rows: vec![event(1, payload)] };
        let read = ReadOutbox { lane: 1, limit: 10 };
        let [mut a, mut b, mut c] = ["a", "b", "c"].map(|client| bench.session(client));
        run(&mut a, append("first")).await.expect("no conflict");
        run(&mut b, append("second")).await.expect("no conflict");
        run(&mut c, append("third")).await.expect("no conflict");
        b.commit();
        let seen = |rows: Vec<backdate_engine::ports::store::rows::OutboxRow>| {
            rows.into_iter().map(|row| (row.id, row.payload)).collect::<Vec<_>>()
        };
        assert_eq!(seen(bench.run(read.clone()).await), [(2, "second".to_owned())]);
        a.commit();
        c.abort();
        let expected = [(1, "first".to_owned()), (2, "second".to_owned())];
        assert_eq!(seen(bench.run(read.clone()).await), expected);
        bench.run(append("fourth")).await;
        assert_eq!(seen(bench.run(read).await)[2].0, 4, "an aborted id stays a hole");
    });
}

#[test]
fn now_is_the_begin_of_the_transaction() {
    simulate(|bench| async move {
        let k = key("P", "S");
        bench.add_keys(&[&k]).await;
        let mut a = bench.session("a");
        a.begin();
        let begun = bench.backend.process.wall();
        bench.backend.process.sleep(std::time::Duration::from_secs(3)).await;
        set_status(&mut a, &k, KeyStatus::Reprocessing).await;
        a.commit();
        let lock = LockKeys { keys: vec![k], skip_locked: false };
        assert_eq!(bench.run(lock).await[0].updated_at, begun);
    });
}
