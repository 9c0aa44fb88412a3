//! What a migration computes of what is there already equals what the engine would have.

use backdate_engine::adapters::postgres::migrate;
use backdate_engine::domain::cashflow::cashflow;
use backdate_engine::domain::ids::{Epoch, Key, Revision, Token};
use backdate_engine::domain::messages;
use backdate_engine::domain::records::{ParkReason, Terms, TransactionType};
use backdate_engine::ports::log::Topic;
use backdate_engine::ports::store::rows::{CashflowRow, HistoryRow, TimelineRow};
use backdate_engine::ports::store::statements::{
    CopySnapshots, InsertCashflows, InsertHistory, LockKeys, ReadOutbox, UpdateKeys, UpsertEpochs,
    UpsertTimeline,
};
use sqlx::{PgConnection, Row as _};

use super::rows::{amount, applied, date, epoch, history, key, parked, snapshot, timeline};
use super::{Bench, on};

/// A transaction of some kind on that day, with amounts of its own.
fn booked(key: &Key, id: &str, day: i32, kind: TransactionType) -> TimelineRow {
    let row = timeline(key, id, day, applied());
    let (gross, fee) = (amount(&format!("{day}00.0000000001")), amount("0.75"));
    let terms = Terms { kind, gross, fee, accrued_interest: amount("9"), ..row.terms };
    TimelineRow { terms, ..row }
}

fn flow(row: &TimelineRow, epoch: u32) -> CashflowRow {
    CashflowRow {
        key: row.key.clone(),
        place: row.place.clone(),
        epoch: Epoch(epoch),
        kind: row.terms.kind,
        cashflow: cashflow(&row.terms),
    }
}

async fn flows(connection: &mut PgConnection) -> Vec<String> {
    let text = "SELECT concat_ws('|', portfolio_id, security_id, transaction_date, place_rank,
            transaction_id, epoch, transaction_type, trim_scale(amount), currency, classification,
            timing, is_position_flow, is_portfolio_flow)
        FROM cashflows ORDER BY portfolio_id, security_id, transaction_id, epoch";
    let rows = sqlx::query(text).fetch_all(connection).await.expect("read");
    rows.iter().map(|row| row.get(0)).collect()
}

fn token(epoch: u32, revision: u64) -> Token {
    Token { epoch: Epoch(epoch), revision: Revision(revision) }
}

async fn set_epoch(bench: &Bench, key: &Key, epoch: u32) {
    let lock = LockKeys { keys: vec![key.clone()], skip_locked: false };
    let mut rows = bench.run(lock).await;
    rows[0].epoch = Epoch(epoch);
    bench.run(UpdateKeys { rows }).await;
}

/// As a schema is before the fourth version.
async fn forget_the_migration(connection: &mut PgConnection) {
    for text in ["DELETE FROM _sqlx_migrations WHERE version >= 4", "DELETE FROM cashflows"] {
        sqlx::query(text).execute(&mut *connection).await.expect("deleted");
    }
}

#[test]
fn what_was_applied_before_there_were_cash_flows_has_them_after_the_migration() {
    on(async |bench| {
        let mut connection = super::faults::connect(bench).await;
        let (plain, rebuilt, other) = (key("A", "S"), key("B", "S"), key("C", "S"));
        bench.add_keys(&[&plain, &rebuilt, &other]).await;
        let kinds = (1..).zip(TransactionType::ALL);
        let all: Vec<TimelineRow> =
            kinds.map(|(day, kind)| booked(&plain, &format!("A{day:02}"), day, *kind)).collect();
        let of_rebuilt = [
            booked(&rebuilt, "B1", 1, TransactionType::Buy),
            booked(&rebuilt, "B2", 5, TransactionType::Sell),
            TimelineRow {
                outcome: parked(ParkReason::NoLots),
                ..booked(&rebuilt, "B3", 6, TransactionType::Sell)
            },
        ];
        let has_one = booked(&other, "C1", 1, TransactionType::Fee);
        let rows = all.iter().chain(&of_rebuilt).chain([&has_one]).cloned().collect();
        bench.run(UpsertTimeline { new: vec![], rows }).await;
        let of = |row: &TimelineRow, day: i32, epoch: u32| -> HistoryRow {
            let id = row.place.transaction_id.as_str();
            HistoryRow { place: row.place.clone(), ..history(&row.key, id, day, epoch, 1) }
        };
        let mut rows: Vec<HistoryRow> = (1..).zip(&all).map(|(day, row)| of(row, day, 0)).collect();
        rows.extend([of(&of_rebuilt[0], 1, 0), of(&of_rebuilt[1], 5, 0)]);
        rows.extend([of(&of_rebuilt[1], 5, 1), of(&has_one, 1, 0)]);
        bench.run(InsertHistory { rows }).await;
        let rows = [2, 4].map(|day| snapshot(&plain, day, 0, 0)).to_vec();
        bench.run(CopySnapshots { rows }).await;
        bench.run(UpsertEpochs { rows: vec![epoch(&rebuilt, 1, 5)] }).await;
        set_epoch(bench, &rebuilt, 1).await;

        forget_the_migration(&mut connection).await;
        // What is there already stays as it is.
        let mut kept = flow(&has_one, 0);
        kept.cashflow.amount = amount("-42");
        bench.run(InsertCashflows { rows: vec![kept.clone()] }).await;
        let migrated = migrate(bench.schema.config()).await.expect("migrated");
        assert_eq!(migrated.applied.first().map(String::as_str), Some("0004_backfill"));
        let found = flows(&mut connection).await;
        let news = bench.run(ReadOutbox { lane: 0, limit: 9 }).await;
        assert_eq!(news.len(), 1, "{news:?}");
        assert_eq!(news[0].topic, Topic::DailyPositionSnapshotPersisted);
        let told = messages::snapshots_persisted(&plain, token(0, 0), date(2), date(4));
        let parsed = |text: &str| messages::read_snapshots_persisted(text.as_bytes());
        assert_eq!(parsed(&news[0].payload), parsed(&told));

        sqlx::query("DELETE FROM cashflows").execute(&mut connection).await.expect("deleted");
        let mut rows: Vec<CashflowRow> = all.iter().map(|row| flow(row, 0)).collect();
        rows.extend([flow(&of_rebuilt[0], 0), flow(&of_rebuilt[1], 1), kept]);
        bench.run(InsertCashflows { rows }).await;
        assert_eq!(found, flows(&mut connection).await);
        assert_eq!(found.len(), TransactionType::ALL.len() + 3);
    });
}
