//! What persistence stores.

use backdate_engine::domain::ids::{Epoch, Revision};
use backdate_engine::domain::money::Amount;
use backdate_engine::domain::records::{BusinessDate, KeyStatus, Position};
use backdate_engine::domain::time::{Date, Timestamp};
use backdate_engine::ports::store::rows::{KeyState, OutboxRow, PriceRow, TransactionRow};
use backdate_engine::ports::store::statements::{
    AppendOutbox, DeleteOutbox, InsertBusinessDates, InsertKeys, InsertTransactions, LockCalendar,
    LockInstruments, LockKeys, LockPortfolios, LockPrices, LockRates, LockTransactions,
    ReadInstruments, ReadLatestBusinessDate, ReadOutbox, ReadPortfolios, ReadTransactions,
    TakeOutboxLane, UpdateKeys, UpdateTransactions, UpsertInstruments, UpsertPortfolios,
    UpsertPrices, UpsertRates,
};
use backdate_engine::ports::store::{Store as _, Transaction as _};

use super::on;
use super::rows::{
    amount, date, event, instrument, key, portfolio, position, price, rate, state, transaction,
};

#[test]
fn transactions_are_inserted_once_and_updated_whole() {
    on(async |bench| {
        let k = key("P", "S");
        let mut odd = transaction("é'\"\\", &key("", ""), 0);
        odd.transaction.terms.at = Date::FIRST.start();
        odd.transaction.terms.policy = None;
        odd.transaction.settlement_date = None;
        odd.correlation_id = None;
        odd.source_version = i64::MIN;
        let rows = vec![transaction("a", &k, 1), transaction("b", &k, 2), odd];
        let ids: Vec<_> = rows.iter().map(|row| row.transaction.transaction_id.clone()).collect();
        let inserted = bench.run(InsertTransactions { rows: rows.clone() }).await;
        assert_eq!(inserted, ids);
        assert_eq!(bench.run(InsertTransactions { rows: rows[..1].to_vec() }).await, []);
        let reversed: Vec<_> = ids.iter().rev().cloned().collect();
        assert_eq!(bench.run(ReadTransactions { ids: reversed.clone() }).await, rows);
        assert_eq!(bench.run(LockTransactions { ids: reversed }).await, rows);

        let mut changed = rows[0].clone();
        changed.transaction.key = key("Q", "T");
        changed.transaction.terms.quantity = amount("-7.0000000001");
        changed.transaction.instrument_id = "other".into();
        changed.correlation_id = None;
        bench.run(UpdateTransactions { rows: vec![changed.clone()] }).await;
        assert_eq!(bench.run(ReadTransactions { ids: ids[..1].to_vec() }).await, [changed]);
        assert_eq!(bench.run(ReadTransactions { ids: Vec::new() }).await, []);
    });
}

#[test]
fn many_transactions_are_stored_as_few_are() {
    on(async |bench| {
        let k = key("P", "é");
        let mut rows: Vec<_> =
            (0..300).map(|n| transaction(&format!("{n:03}"), &k, n % 9)).collect();
        for row in rows.iter_mut().step_by(7) {
            row.transaction.terms.policy = None;
            row.transaction.settlement_date = None;
            row.correlation_id = None;
            row.transaction.terms.quantity = amount("-7.0000000001");
            row.source_version = i64::MIN;
        }
        let id = |row: &TransactionRow| row.transaction.transaction_id.clone();
        let ids: Vec<_> = rows.iter().map(id).collect();
        let first = rows[..150].to_vec();
        assert_eq!(bench.run(InsertTransactions { rows: first }).await, ids[..150]);
        // Some are there and keep what they have; the others are stored, and their transaction
        // goes on.
        let mut second = rows[140..].to_vec();
        second[0].correlation_id = Some("again".into());
        let mut session = bench.store.begin().await.expect("a session");
        let inserted = session.execute(InsertTransactions { rows: second }).await;
        assert_eq!(inserted.expect("no error"), ids[150..]);
        session.execute(LockTransactions { ids: ids.clone() }).await.expect("it goes on");
        session.commit().await.expect("it ends well");
        assert_eq!(bench.run(ReadTransactions { ids }).await, rows);
    });
}

#[test]
fn the_higher_version_of_an_input_stays() {
    on(async |bench| {
        let rows = vec![price("S", 1, 10), price("S", 2, 20), price("T", 1, 30)];
        let ids: Vec<_> =
            rows.iter().map(|row| (row.price.security_id.clone(), row.price.price_date)).collect();
        bench.run(UpsertPrices { rows: rows.clone() }).await;
        let mut twice = ids.clone();
        twice.extend(ids.clone());
        twice.reverse();
        assert_eq!(bench.run(LockPrices { ids: twice }).await, rows);
        let (mut older, mut equal) = (price("S", 1, 99), price("S", 2, 77));
        older.source_version = -1;
        equal.price.currency = "JPY".into();
        bench.run(UpsertPrices { rows: vec![older, equal.clone()] }).await;
        let stored = bench.run(LockPrices { ids: ids[..2].to_vec() }).await;
        assert_eq!(stored, [rows[0].clone(), equal]);

        let rows = vec![rate("EUR", "USD", 1, 1), rate("USD", "EUR", 1, 2)];
        bench.run(UpsertRates { rows: rows.clone() }).await;
        let id = |row: &backdate_engine::ports::store::rows::RateRow| {
            let rate = &row.rate;
            (rate.from_currency.clone(), rate.to_currency.clone(), rate.rate_date)
        };
        let ids: Vec<_> = rows.iter().rev().map(id).collect();
        assert_eq!(bench.run(LockRates { ids }).await, rows);

        let rows = vec![portfolio("P", "EUR"), portfolio("Q", "USD")];
        bench.run(UpsertPortfolios { rows: rows.clone() }).await;
        let mut older = portfolio("P", "CHF");
        older.source_version = 2;
        bench.run(UpsertPortfolios { rows: vec![older] }).await;
        let ids = || vec!["Q".into(), "P".into(), "R".into()];
        assert_eq!(bench.run(LockPortfolios { ids: ids() }).await, rows);
        assert_eq!(bench.run(ReadPortfolios { ids: ids() }).await, rows);

        let rows = vec![instrument("P", "EUR"), instrument("Q", "USD")];
        bench.run(UpsertInstruments { rows: rows.clone() }).await;
        assert_eq!(bench.run(LockInstruments { ids: ids_of(&["Q", "P"]) }).await, rows);
        assert_eq!(bench.run(ReadInstruments { ids: ids_of(&["Q", "P"]) }).await, rows);
    });
}

fn ids_of(ids: &[&str]) -> Vec<backdate_engine::domain::ids::SecurityId> {
    ids.iter().map(|id| (*id).into()).collect()
}

#[test]
fn a_new_key_starts_before_its_first_transaction_or_at_the_latest_date() {
    on(async |bench| {
        let (a, b) = (key("A", "S"), key("B", "S"));
        bench.run(InsertKeys { keys: vec![(a.clone(), date(5))] }).await;
        bench.add_business_dates([1, 2]).await;
        bench.run(InsertKeys { keys: vec![(a.clone(), date(1)), (b.clone(), date(9))] }).await;
        let keys = vec![b.clone(), key("C", "S"), a.clone()];
        let locked = bench.run(LockKeys { keys, skip_locked: false }).await;
        let fresh = |key, watermark_date| KeyState {
            key,
            epoch: Epoch(0),
            revision: Revision(0),
            watermark_date,
            valued_through: None,
            status: KeyStatus::Current,
            served_epoch: Epoch(0),
            input_version: 0,
            fold_terms: None,
            position: Position::default(),
            updated_at: locked[0].updated_at,
        };
        assert_eq!(locked[0], fresh(a.clone(), date(4)));
        let of_b = KeyState { updated_at: locked[1].updated_at, ..fresh(b.clone(), date(2)) };
        assert_eq!(locked[1..], [of_b]);
        assert!(locked[0].updated_at > Timestamp::from_micros(date(0).start().micros()));
    });
}

#[test]
fn a_state_is_written_whole_and_with_the_time_of_the_transaction() {
    on(async |bench| {
        let (a, b) = (key("A", "S"), key("B", "S"));
        bench.add_keys(&[&a, &b]).await;
        let mut other = state(&b);
        other.valued_through = None;
        other.fold_terms = None;
        other.status = KeyStatus::Current;
        other.revision = Revision(i64::MAX as u64);
        other.position = position(-3);
        bench.run(UpdateKeys { rows: vec![state(&a), other.clone()] }).await;
        let keys = vec![a.clone(), b.clone()];
        let locked = bench.run(LockKeys { keys, skip_locked: true }).await;
        assert!(locked[0].updated_at.date() > date(0));
        let at = locked[0].updated_at;
        assert_eq!(
            locked,
            [KeyState { updated_at: at, ..state(&a) }, KeyState { updated_at: at, ..other }]
        );
    });
}

#[test]
fn a_locked_key_is_skipped_by_who_does_not_want_to_wait() {
    on(async |bench| {
        let (a, b) = (key("A", "S"), key("B", "S"));
        bench.add_keys(&[&a, &b]).await;
        let mut holder = bench.store.begin().await.expect("begun");
        let lock = LockKeys { keys: vec![a.clone()], skip_locked: false };
        holder.execute(lock).await.expect("locked");
        let keys = vec![a.clone(), b.clone()];
        let free = bench.run(LockKeys { keys: keys.clone(), skip_locked: true }).await;
        assert_eq!(free.iter().map(|state| &state.key).collect::<Vec<_>>(), [&b]);
        // Dropped without a commit, the transaction is rolled back.
        drop(holder);
        assert_eq!(bench.run(LockKeys { keys, skip_locked: false }).await.len(), 2);
    });
}

#[test]
fn a_calendar_is_locked_whether_it_is_there_or_not() {
    on(async |bench| {
        assert_eq!(bench.run(ReadLatestBusinessDate {}).await, None);
        let mut session = bench.store.begin().await.expect("begun");
        for _ in 0..2 {
            session.execute(LockCalendar { code: "GLOBAL".into() }).await.expect("locked");
        }
        session.commit().await.expect("committed");
        bench.run(LockCalendar { code: "GLOBAL".into() }).await;
        let rows: Vec<BusinessDate> = [("GLOBAL", 1), ("GLOBAL", 3), ("TARGET", 9)]
            .map(|(code, day)| BusinessDate {
                calendar_code: code.into(),
                business_date: date(day),
            })
            .into();
        let inserted = bench.run(InsertBusinessDates { rows: rows.clone() }).await;
        assert_eq!(inserted, rows);
        assert_eq!(bench.run(InsertBusinessDates { rows }).await, []);
        assert_eq!(bench.run(ReadLatestBusinessDate {}).await, Some(date(3)));
    });
}

#[test]
fn the_outbox_is_read_lane_by_lane_in_the_order_of_appending() {
    on(async |bench| {
        let mut rows: Vec<OutboxRow> =
            (0..200).map(|i| event(5 + i % 2, &format!("{{\"é\":{i}}}"))).collect();
        rows[0].correlation_id = Some("c".into());
        bench.run(AppendOutbox { rows: rows.clone() }).await;
        let mut first = bench.store.begin().await.expect("begun");
        let mut second = bench.store.begin().await.expect("begun");
        assert_eq!(first.execute(TakeOutboxLane {}).await, Ok(Some(5)));
        assert_eq!(second.execute(TakeOutboxLane {}).await, Ok(Some(6)));
        assert_eq!(bench.run(TakeOutboxLane {}).await, None);
        let read = first.execute(ReadOutbox { lane: 5, limit: 3 }).await.expect("read");
        assert!(read.is_sorted_by_key(|row| row.id), "{read:?}");
        let plain = |row: &OutboxRow| OutboxRow { id: 0, ..row.clone() };
        assert_eq!(
            read.iter().map(plain).collect::<Vec<_>>(),
            [rows[0].clone(), rows[2].clone(), rows[4].clone()]
        );
        let ids = read.iter().map(|row| row.id).collect();
        first.execute(DeleteOutbox { lane: 5, ids }).await.expect("deleted");
        first.commit().await.expect("committed");
        second.rollback().await;
        // The lane that was served longest ago comes first.
        assert_eq!(bench.run(TakeOutboxLane {}).await, Some(6));
        assert_eq!(bench.run(TakeOutboxLane {}).await, Some(5));
        assert_eq!(bench.run(ReadOutbox { lane: 5, limit: 1000 }).await.len(), 97);
    });
}

/// Numbers of all sizes, and dates over the whole calendar of the server.
#[test]
fn numbers_and_dates_are_on_the_server_what_they_are_here() {
    on(async |bench| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let limit = 10_i128.pow(28);
        let mut rows: Vec<_> = (0..3_000_i64)
            .map(|at| {
                let mut row = price("S", 0, 0);
                // From 4713 BC to 5874897 AD.
                let day = -2_440_587 + (next() % 2_147_483_000) as i64;
                row.price.price_date = Date::from_days(day as i32);
                let wide = i128::from(next() >> 1) * i128::from(next() >> 1);
                let scaled = wide % 10_i128.pow((next() % 29) as u32) % limit;
                let sign = if at % 2 == 0 { 1 } else { -1 };
                row.price.price = Amount::from_raw(sign * scaled);
                row.source_version = next() as i64;
                row
            })
            .collect();
        rows.sort_by_key(|row| row.price.price_date);
        rows.dedup_by_key(|row| row.price.price_date);
        bench.run(UpsertPrices { rows: rows.clone() }).await;
        let id = |row: &PriceRow| (row.price.security_id.clone(), row.price.price_date);
        let ids = rows.iter().map(id).collect();
        assert_eq!(bench.run(LockPrices { ids }).await, rows);
        // What both directions might get wrong in the same way, the server's own text shows.
        let mut connection = super::faults::connect(bench).await;
        let texts: Vec<(String, i64)> = sqlx::query_as(
            "SELECT price::text, (price_date - date '1970-01-01')::bigint FROM market_prices
            ORDER BY price_date",
        )
        .fetch_all(&mut connection)
        .await
        .expect("read");
        for (row, (text, days)) in rows.iter().zip(texts) {
            assert_eq!(row.price.price.to_string(), text);
            assert_eq!(i64::from(row.price.price_date.days()), days);
        }
    });
}
