//! Time series: what they are made of, which version of it counts, and the rows themselves.

use backdate_engine::domain::ids::{Epoch, Token};
use backdate_engine::domain::money::Amount;
use backdate_engine::domain::records::{BusinessDate, CostMethod, KeyStatus, Portfolio};
use backdate_engine::ports::store::rows::{CashflowRow, EpochRow, PortfolioRow, SnapshotRow};
use backdate_engine::ports::store::statements::{
    CopyPortfolioSeries, CopyPositionSeries, CopySnapshots, DeletePortfolioSeries,
    DeletePositionSeries, FindValued, InsertBusinessDates, InsertCashflows, PruneEpochs,
    ReadCashflows, ReadDaySums, ReadPortfolioCashflows, ReadPortfolioEdges, ReadPortfolioSeries,
    ReadSnapshots, ReadSwitched, UpsertEpochs, UpsertPortfolios, ValuedQuery,
};

use super::super::fixtures::{cashflow, place, portfolio_series, position_series, snapshot};
use super::*;

contract!(store(StoreSettings):
    snapshots as snapshots_come_with_their_neighbours_in_their_newest_version;
    flows as flows_are_those_of_the_version_between_two_days;
    valued as a_key_is_valued_where_its_watermark_or_its_token_says_so;
    switched as a_switch_begins_at_the_first_date_that_differs;
    served as a_portfolio_sums_up_the_served_version_of_each_key;
    edges as a_range_of_a_portfolio_has_a_row_on_either_side;
    replaced as rows_of_a_range_go_and_come;
    pruned as a_prune_takes_outlived_rows;
    pages_of_flows as flows_of_a_portfolio_come_in_pages_each_key_at_its_served_version;
    pages_of_series as a_series_comes_in_pages_with_what_is_said_of_the_portfolio;
);

async fn begin_epoch<S: StoreSite>(site: &S, epoch: u32, day: i32) {
    let row = EpochRow { key: one(), epoch: Epoch(epoch), from_date: date(day) };
    site.store().query(UpsertEpochs { rows: vec![row] }).await.expect("free");
}

/// Snapshots of the first key: day, epoch, revision.
async fn value<S: StoreSite>(site: &S, rows: &[(i32, u32, u64)]) {
    let row = |(day, epoch, revision): &(i32, u32, u64)| snapshot(&one(), *day, *epoch, *revision);
    let rows: Vec<SnapshotRow> = rows.iter().map(row).collect();
    site.store().query(CopySnapshots { rows }).await.expect("free");
}

async fn snapshots<S: StoreSite>(site: S) {
    value(&site, &[(1, 0, 1), (2, 0, 1), (3, 0, 1), (3, 1, 2), (4, 0, 1), (5, 0, 1)]).await;
    value(&site, &[(2, 1, 2)]).await;
    begin_epoch(&site, 1, 4).await;
    let read = async |epoch, from, to| {
        let ranges =
            vec![(two(), Epoch(0), date(0), date(9)), (one(), epoch, date(from), date(to))];
        let rows = site.store().query(ReadSnapshots { ranges }).await.expect("a read");
        let short = |row: &SnapshotRow| (row.date.days() - 20_000, row.epoch.0);
        rows.iter().map(short).collect::<Vec<_>>()
    };
    assert_eq!(read(Epoch(0), 3, 3).await, [(2, 0), (3, 0), (4, 0)]);
    assert_eq!(read(Epoch(1), 3, 3).await, [(2, 1), (3, 1)], "days 4 and 5 of epoch 0 are cut");
    assert_eq!(read(Epoch(1), 1, 1).await, [(1, 0), (2, 1)]);
    assert_eq!(read(Epoch(0), 6, 9).await, [(5, 0)]);
    assert_eq!(read(Epoch(0), -5, 0).await, [(1, 0)]);
    assert_eq!(read(Epoch(0), 2, 4).await, [(1, 0), (2, 0), (3, 0), (4, 0), (5, 0)]);
}

async fn flows<S: StoreSite>(site: S) {
    let flow = |id: &str, day, epoch| cashflow(&one(), &place(id, day), Epoch(epoch));
    let rows = vec![
        flow("T1", 1, 0),
        flow("T2", 2, 0),
        flow("T3", 3, 0),
        flow("T3", 3, 1),
        flow("T4", 4, 1),
    ];
    let rows = [rows, vec![cashflow(&two(), &place("U2", 2), Epoch(0))]].concat();
    site.store().query(InsertCashflows { rows: rows.clone() }).await.expect("free");
    begin_epoch(&site, 1, 3).await;
    let read = async |epoch, after: Option<i32>, to| {
        let ranges = vec![(one(), Epoch(epoch), after.map(date), date(to))];
        site.store().query(ReadCashflows { ranges }).await.expect("a read")
    };
    assert_eq!(read(0, None, 2).await, rows[..2]);
    assert_eq!(read(0, Some(1), 9).await, rows[1..3]);
    assert_eq!(read(1, Some(2), 4).await, rows[3..5]);
    assert_eq!(read(1, Some(3), 3).await, []);
    assert_eq!(read(1, None, 9).await.len(), 4);
}

async fn valued<S: StoreSite>(site: S) {
    value(&site, &[(1, 0, 1), (3, 0, 1), (4, 0, 2)]).await;
    let find = async |revision, watermark, from| {
        let token = Token { epoch: Epoch(0), revision: Revision(revision) };
        let query =
            |key| ValuedQuery { key, token, watermark_date: date(watermark), from: date(from) };
        let keys = vec![query(two()), query(one())];
        let found = site.store().query(FindValued { keys }).await.expect("a read");
        !found.is_empty()
    };
    assert!(find(9, 1, 1).await);
    assert!(!find(9, 1, 2).await, "day 3 is beyond the watermark and of an older token");
    assert!(find(9, 3, 2).await);
    assert!(find(2, 0, 2).await);
    assert!(find(2, 0, 4).await);
    assert!(!find(2, 9, 5).await);
}

async fn switched<S: StoreSite>(site: S) {
    begin_epoch(&site, 1, 5).await;
    begin_epoch(&site, 2, 4).await;
    value(&site, &[(1, 0, 1), (3, 1, 2), (9, 2, 3)]).await;
    let read = async |was, is| {
        let keys = vec![(two(), Epoch(0), Epoch(1)), (one(), Epoch(was), Epoch(is))];
        let rows = site.store().query(ReadSwitched { keys }).await.expect("a read");
        rows.into_iter().map(|(key, date)| (key, date.days() - 20_000)).collect::<Vec<_>>()
    };
    assert_eq!(read(0, 1).await, [(one(), 3)], "a price has valued a day before the rebuild");
    assert_eq!(read(1, 2).await, [(one(), 4)]);
    assert_eq!(read(0, 2).await, [(one(), 3)]);
    assert_eq!(read(2, 3).await, []);
}

/// Rows of a key: day and epoch.
async fn stage<S: StoreSite>(site: &S, key: &Key, rows: &[(i32, u32)]) {
    let row =
        |(day, epoch): &(i32, u32)| position_series(key, date(*day), Epoch(*epoch), Revision(0));
    let rows = rows.iter().map(row).collect();
    site.store().query(CopyPositionSeries { rows }).await.expect("free");
}

/// Sums of days of the first portfolio: day and value.
async fn sums<S: StoreSite>(site: &S, from: i32, to: i32) -> Vec<(i32, i64)> {
    let ranges = vec![("P1".into(), date(from), date(to)), ("P2".into(), date(0), date(9))];
    let rows = site.store().query(ReadDaySums { ranges }).await.expect("a read");
    let units = |amount: Amount| (amount.raw() / Amount::ONE.raw()) as i64;
    let short = |row: &backdate_engine::ports::store::statements::DatedSum| {
        assert_eq!(row.sum.currency.as_str(), "EUR");
        (row.date.days() - 20_000, units(row.sum.market_value))
    };
    rows.iter().map(short).collect()
}

async fn served<S: StoreSite>(site: S) {
    let store = site.store();
    add_keys(&store, &[&one(), &two()]).await;
    stage(&site, &one(), &[(1, 0), (2, 0), (2, 1), (3, 1)]).await;
    stage(&site, &two(), &[(2, 0)]).await;
    begin_epoch(&site, 1, 2).await;
    assert_eq!(sums(&site, 1, 3).await, [(1, 2), (2, 6)], "epoch 1 is not served");
    assert_eq!(sums(&site, 2, 2).await, [(2, 6)]);
    let mut transaction = store.begin().await.expect("up");
    let mut rows = transaction.execute(lock_keys(&[&one()])).await.expect("free");
    rows[0].epoch = Epoch(1);
    rows[0].served_epoch = Epoch(1);
    transaction.execute(UpdateKeys { rows }).await.expect("locked");
    transaction.commit().await.expect("a commit");
    assert_eq!(sums(&site, 1, 3).await, [(1, 2), (2, 6), (3, 4)], "each day once");
    let ranges = vec![("P1".into(), date(1), date(1))];
    let rows = store.query(ReadDaySums { ranges }).await.expect("a read");
    assert_eq!(rows[0].sum.bod_cashflow, Amount::ONE);
    assert_eq!(rows[0].sum.eod_cashflow, Amount::ZERO);
    assert_eq!(rows[0].sum.fees, Amount::from_raw(1));
}

async fn edges<S: StoreSite>(site: S) {
    let store = site.store();
    let row = |day: i32| portfolio_series("P1", date(day), i64::from(day) * 10);
    let rows = vec![row(1), row(3), row(5), portfolio_series("P2", date(2), 7)];
    store.query(CopyPortfolioSeries { rows }).await.expect("free");
    let read = async |id: &str, from, to| {
        let ranges = vec![(id.into(), date(from), date(to))];
        let edges = store.query(ReadPortfolioEdges { ranges }).await.expect("a read");
        let [edges] = edges.as_slice() else { panic!("one answer for each range") };
        (edges.end_before.map(|end| end.to_string()), edges.after.clone())
    };
    assert_eq!(read("P1", 2, 4).await, (Some("10".to_owned()), Some(row(5))));
    assert_eq!(read("P1", 3, 5).await, (Some("10".to_owned()), None));
    assert_eq!(read("P1", 0, 0).await, (None, Some(row(1))));
    assert_eq!(read("P9", 0, 9).await, (None, None));
}

async fn replaced<S: StoreSite>(site: S) {
    let store = site.store();
    stage(&site, &one(), &[(1, 0), (2, 0), (2, 1), (3, 0)]).await;
    let ranges = vec![(one(), Epoch(0), date(2), date(9)), (two(), Epoch(0), date(0), date(9))];
    store.query(DeletePositionSeries { ranges }).await.expect("free");
    stage(&site, &one(), &[(2, 0), (3, 0)]).await;
    for taken in [(1, 0), (2, 1)] {
        let row = position_series(&one(), date(taken.0), Epoch(taken.1), Revision(9));
        let again = store.query(CopyPositionSeries { rows: vec![row] }).await;
        assert!(matches!(again, Err(StoreError::UniqueViolation(_))), "{taken:?}: {again:?}");
    }
    let row = |day| portfolio_series("P1", date(day), 1);
    store.query(CopyPortfolioSeries { rows: vec![row(1), row(2)] }).await.expect("free");
    let ranges = vec![("P1".into(), date(2), date(9)), ("P9".into(), date(0), date(9))];
    store.query(DeletePortfolioSeries { ranges }).await.expect("free");
    store.query(CopyPortfolioSeries { rows: vec![row(2)] }).await.expect("it is gone");
    let again = store.query(CopyPortfolioSeries { rows: vec![row(1)] }).await;
    assert!(matches!(again, Err(StoreError::UniqueViolation(_))), "{again:?}");
}

async fn pruned<S: StoreSite>(site: S) {
    stage(&site, &one(), &[(1, 0), (2, 0), (3, 0), (3, 1), (3, 2)]).await;
    begin_epoch(&site, 1, 2).await;
    let store = site.store();
    store.query(PruneEpochs { keys: vec![(one(), Epoch(1))] }).await.expect("free");
    stage(&site, &one(), &[(2, 0), (3, 0)]).await;
    for kept in [(1, 0), (3, 1), (3, 2)] {
        let row = position_series(&one(), date(kept.0), Epoch(kept.1), Revision(9));
        let again = store.query(CopyPositionSeries { rows: vec![row] }).await;
        assert!(matches!(again, Err(StoreError::UniqueViolation(_))), "{kept:?}: {again:?}");
    }
}

async fn add_portfolio<S: StoreSite>(site: &S) {
    let portfolio = Portfolio {
        portfolio_id: "P1".into(),
        base_currency: "EUR".into(),
        open_date: "2020-01-01".into(),
        cost_basis_method: CostMethod::Fifo,
    };
    let rows = vec![PortfolioRow { portfolio, source_version: 0 }];
    site.store().query(UpsertPortfolios { rows }).await.expect("free");
}

async fn pages_of_flows<S: StoreSite>(site: S) {
    let store = site.store();
    let flow = |key: &Key, id: &str, day, epoch| cashflow(key, &place(id, day), Epoch(epoch));
    let rows = vec![
        flow(&one(), "T1", 1, 0),
        flow(&one(), "T2", 2, 0),
        flow(&one(), "T2", 2, 1),
        flow(&two(), "U1", 1, 0),
        flow(&two(), "U3", 3, 0),
    ];
    store.query(InsertCashflows { rows: rows.clone() }).await.expect("free");
    add_keys(&store, &[&one(), &two()]).await;
    begin_epoch(&site, 1, 2).await;
    let read = async |after: Option<&CashflowRow>, days: Option<(i32, i32)>, limit| {
        let after = after.map(|row| (row.key.security_id.clone(), row.place.clone()));
        let (from, to) = days.map(|(from, to)| (date(from), date(to))).unzip();
        let portfolio_id = "P1".into();
        let statement = ReadPortfolioCashflows { portfolio_id, after, from, to, limit };
        let read = store.query(statement).await.expect("a read")?;
        let rows: Vec<CashflowRow> = read.rows.into_iter().map(|read| read.row).collect();
        Some((read.after_epoch, rows))
    };
    let of = |numbers: &[usize]| numbers.iter().map(|n| rows[*n].clone()).collect::<Vec<_>>();
    assert_eq!(read(None, None, 9).await, None, "no such portfolio");
    add_portfolio(&site).await;
    assert_eq!(read(None, None, 9).await, Some((None, of(&[0, 1, 3, 4]))));
    assert_eq!(read(None, None, 2).await, Some((None, of(&[0, 1]))));
    assert_eq!(read(Some(&rows[1]), None, 1).await, Some((Some(Epoch(0)), of(&[3]))));
    assert_eq!(read(Some(&rows[4]), None, 1).await, Some((Some(Epoch(0)), Vec::new())));
    assert_eq!(read(None, Some((2, 3)), 9).await, Some((None, of(&[1, 4]))));
    assert_eq!(read(None, Some((3, 2)), 9).await, Some((None, Vec::new())));
    assert_eq!(read(Some(&rows[0]), Some((1, 1)), 9).await, Some((Some(Epoch(0)), of(&[3]))));
    let mut transaction = store.begin().await.expect("up");
    let mut states = transaction.execute(lock_keys(&[&one()])).await.expect("free");
    states[0].epoch = Epoch(1);
    states[0].served_epoch = Epoch(1);
    transaction.execute(UpdateKeys { rows: states }).await.expect("locked");
    transaction.commit().await.expect("a commit");
    assert_eq!(read(None, None, 2).await, Some((None, of(&[0, 2]))));
    assert_eq!(read(Some(&rows[0]), None, 1).await, Some((Some(Epoch(1)), of(&[2]))));
}

async fn pages_of_series<S: StoreSite>(site: S) {
    let store = site.store();
    let row = |day: i32| portfolio_series("P1", date(day), i64::from(day));
    let rows = vec![row(1), row(3), row(5), portfolio_series("P2", date(2), 7)];
    store.query(CopyPortfolioSeries { rows }).await.expect("free");
    let read = async |from: Option<i32>, to: Option<i32>, limit| {
        let (from, to) = (from.map(date), to.map(date));
        let statement = ReadPortfolioSeries { portfolio_id: "P1".into(), from, to, limit };
        store.query(statement).await.expect("a read")
    };
    assert_eq!(read(None, None, 9).await, None, "no such portfolio");
    add_portfolio(&site).await;
    let all = read(None, None, 9).await.expect("it is there");
    assert_eq!((all.base_currency.as_str(), all.status), ("EUR", KeyStatus::Current));
    assert_eq!(all.rows, [row(1), row(3), row(5)]);
    let rows = async |from, to, limit| read(from, to, limit).await.expect("it is there").rows;
    assert_eq!(rows(None, None, 2).await, [row(1), row(3)]);
    assert_eq!(rows(Some(2), Some(5), 9).await, [row(3), row(5)]);
    assert_eq!(rows(Some(4), Some(4), 9).await, []);
    assert_eq!(rows(Some(5), Some(1), 9).await, []);
    add_keys(&store, &[&one()]).await;
    let date = |day: i32| BusinessDate { business_date: date(day), calendar_code: "GLOBAL".into() };
    store.query(InsertBusinessDates { rows: vec![date(9)] }).await.expect("free");
    let status = async |status, watermark: i32| {
        let mut transaction = store.begin().await.expect("up");
        let mut states = transaction.execute(lock_keys(&[&one()])).await.expect("free");
        (states[0].status, states[0].watermark_date) = (status, date(watermark).business_date);
        transaction.execute(UpdateKeys { rows: states }).await.expect("locked");
        transaction.commit().await.expect("a commit");
        read(None, None, 0).await.map(|read| read.status)
    };
    assert_eq!(status(KeyStatus::Current, 9).await, Some(KeyStatus::Current));
    assert_eq!(status(KeyStatus::Current, 8).await, Some(KeyStatus::Reprocessing), "a new date");
    assert_eq!(status(KeyStatus::Reprocessing, 9).await, Some(KeyStatus::Reprocessing));
}
