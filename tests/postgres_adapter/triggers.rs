//! Triggers, the jobs of the fan-out, and the keys that use a subject.

use backdate_engine::domain::ids::{Currency, Key};
use backdate_engine::domain::records::FoldTerms;
use backdate_engine::domain::time::Date;
use backdate_engine::ports::store::rows::{KeyState, ReprocessingJobRow, Subject, TriggerRow};
use backdate_engine::ports::store::statements::{
    DeleteReprocessingJob, DeleteTriggers, InsertReprocessingJobs, InsertTransactions,
    MoveReprocessingJob, ReadLineage, ScanKeys, TakeReprocessingJob, TakeTriggers, UpdateKeys,
    UpsertInstruments, UpsertPortfolios, UpsertPrices, UpsertTriggers,
};
use backdate_engine::ports::store::{Store as _, Transaction as _};

use super::rows::{date, instrument, key, portfolio, price, state, transaction};
use super::{Bench, on};

fn pair(a: &str, b: &str) -> Subject {
    Subject::Pair(Currency::new(a), Currency::new(b))
}

fn trigger(subject: Subject, earliest_date: Date) -> TriggerRow {
    TriggerRow { subject, earliest_date }
}

#[test]
fn the_earliest_date_of_a_trigger_wins_and_kinds_are_in_order() {
    on(async |bench| {
        let rows = vec![
            trigger(Subject::Security("Z".into()), Date::FIRST),
            trigger(pair("A", "B"), date(2)),
            trigger(Subject::Calendar, date(3)),
            trigger(Subject::Portfolio("A".into()), date(4)),
        ];
        bench.run(UpsertTriggers { rows: rows.clone() }).await;
        let more = vec![trigger(pair("A", "B"), date(9)), trigger(Subject::Calendar, date(1))];
        bench.run(UpsertTriggers { rows: more }).await;
        let mut holder = bench.store.begin().await.expect("begun");
        let taken = holder.execute(TakeTriggers { limit: 2 }).await.expect("taken");
        assert_eq!(taken, rows[..2]);
        let rest = bench.run(TakeTriggers { limit: 9 }).await;
        assert_eq!(rest, [trigger(Subject::Calendar, date(1)), rows[3].clone()]);
        let subjects = taken.into_iter().map(|row| row.subject).collect();
        holder.execute(DeleteTriggers { subjects }).await.expect("deleted");
        holder.commit().await.expect("committed");
        assert_eq!(bench.run(TakeTriggers { limit: 9 }).await.len(), 2);
    });
}

#[test]
fn the_job_with_the_fewest_batches_is_taken_first() {
    on(async |bench| {
        let jobs = vec![(pair("A", "B"), date(1)), (Subject::Calendar, date(2))];
        bench.run(InsertReprocessingJobs { jobs }).await;
        let first = bench.run(TakeReprocessingJob {}).await.expect("a job");
        let expected = ReprocessingJobRow {
            id: first.id,
            subject: pair("A", "B"),
            date: date(1),
            cursor: None,
        };
        assert_eq!(first, expected);
        bench.run(MoveReprocessingJob { id: first.id, cursor: key("P", "S") }).await;
        let second = bench.run(TakeReprocessingJob {}).await.expect("a job");
        assert_eq!(second.subject, Subject::Calendar);
        bench.run(DeleteReprocessingJob { id: second.id }).await;
        let moved = bench.run(TakeReprocessingJob {}).await.expect("a job");
        assert_eq!(moved, ReprocessingJobRow { cursor: Some(key("P", "S")), ..expected });
    });
}

async fn scan(bench: &Bench, subject: Subject, after: Option<&Key>, limit: u32) -> Vec<Key> {
    bench.run(ScanKeys { subject, after: after.cloned(), limit }).await
}

#[test]
fn securities_portfolios_and_the_calendar_are_scanned_in_key_order() {
    on(async |bench| {
        let keys = [key("", ""), key("A", "S"), key("A", "T"), key("B", "S"), key("a", "S")];
        bench.add_keys(&keys.iter().collect::<Vec<_>>()).await;
        assert_eq!(scan(bench, Subject::Calendar, None, 9).await, keys);
        assert_eq!(scan(bench, Subject::Calendar, Some(&keys[0]), 2).await, keys[1..3]);
        let s = || Subject::Security("S".into());
        let of_s = [keys[1].clone(), keys[3].clone(), keys[4].clone()];
        assert_eq!(scan(bench, s(), None, 9).await, of_s);
        assert_eq!(scan(bench, s(), Some(&key("A", "R")), 9).await, of_s);
        assert_eq!(scan(bench, s(), Some(&keys[1]), 1).await, of_s[1..2]);
        let of_a = || Subject::Portfolio("A".into());
        assert_eq!(scan(bench, of_a(), None, 9).await, keys[1..3]);
        assert_eq!(scan(bench, of_a(), Some(&keys[1]), 9).await, keys[2..3]);
        assert_eq!(scan(bench, of_a(), Some(&keys[3]), 9).await, []);
        assert_eq!(scan(bench, Subject::Portfolio("".into()), None, 9).await, keys[..1]);
        assert_eq!(scan(bench, Subject::Security("".into()), None, 9).await, keys[..1]);
    });
}

/// A key whose transactions, prices, instrument and portfolio are in these currencies.
async fn use_currencies(
    bench: &Bench,
    name: &str,
    trades: &[&str],
    prices: &[&str],
    own: Option<&str>,
    base: Option<&str>,
) {
    let k = key(name, name);
    bench.add_keys(&[&k]).await;
    for (day, trade) in (1..).zip(trades) {
        let mut row = transaction(&format!("{name}{trade}"), &k, day);
        row.transaction.terms.trade_currency = Currency::new(trade);
        bench.run(InsertTransactions { rows: vec![row] }).await;
    }
    for (day, quote) in (1..).zip(prices) {
        let mut row = price(name, day, 1);
        row.price.currency = Currency::new(quote);
        bench.run(UpsertPrices { rows: vec![row] }).await;
    }
    if let Some(own) = own {
        bench.run(UpsertInstruments { rows: vec![instrument(name, own)] }).await;
    }
    if let Some(base) = base {
        bench.run(UpsertPortfolios { rows: vec![portfolio(name, base)] }).await;
    }
}

/// The keys whose lineage shows a trigger, and the fan-out of it, while there are both.
async fn lineages_with(bench: &Bench, subject: Subject) -> Vec<Key> {
    bench.run(UpsertTriggers { rows: vec![trigger(subject.clone(), date(1))] }).await;
    bench.run(InsertReprocessingJobs { jobs: vec![(subject.clone(), date(1))] }).await;
    let job = bench.run(TakeReprocessingJob {}).await.expect("the only one");
    let mut found = Vec::new();
    for key in scan(bench, Subject::Calendar, None, 9).await {
        let lineage = bench.run(ReadLineage { key: key.clone(), limit: 1 }).await;
        let lineage = lineage.expect("the key exists");
        assert_eq!(lineage.triggers.len(), lineage.fan_outs.len(), "{key}");
        if !lineage.triggers.is_empty() {
            assert_eq!(lineage.triggers, [trigger(subject.clone(), date(1))]);
            assert_eq!(lineage.fan_outs, std::slice::from_ref(&job));
            found.push(key);
        }
    }
    bench.run(DeleteTriggers { subjects: vec![subject] }).await;
    bench.run(DeleteReprocessingJob { id: job.id }).await;
    found
}

#[test]
fn a_pair_is_used_by_the_keys_whose_look_ups_consult_it() {
    on(async |bench| {
        // Trade to base, price to instrument, instrument to base; each through EUR too.
        use_currencies(bench, "A", &["USD", "CHF"], &[], None, Some("CHF")).await;
        use_currencies(bench, "B", &[], &["GBP", "SEK"], Some("SEK"), None).await;
        use_currencies(bench, "C", &[], &[], Some("NOK"), Some("DKK")).await;
        use_currencies(bench, "D", &["EUR"], &["EUR"], Some("EUR"), Some("EUR")).await;
        use_currencies(bench, "E", &["USD"], &["GBP"], None, None).await;
        use_currencies(bench, "F", &["EUR"], &[], Some("EUR"), Some("USD")).await;
        // Without a portfolio, the base of the fold terms stands in.
        use_currencies(bench, "G", &["JPY"], &[], None, None).await;
        let terms = FoldTerms {
            base_currency: "USD".into(),
            ..state(&key("G", "G")).fold_terms.expect("given")
        };
        let folded = KeyState { fold_terms: Some(terms), ..state(&key("G", "G")) };
        bench.run(UpdateKeys { rows: vec![folded] }).await;
        for (a, b, users) in [
            ("USD", "CHF", "A"),
            ("CHF", "USD", "A"),
            ("USD", "EUR", "AFG"),
            ("EUR", "USD", "AFG"),
            ("CHF", "EUR", "A"),
            ("GBP", "SEK", "B"),
            ("EUR", "GBP", "B"),
            ("SEK", "EUR", "B"),
            ("NOK", "DKK", "C"),
            ("DKK", "EUR", "C"),
            ("EUR", "NOK", "C"),
            ("JPY", "USD", "G"),
            ("EUR", "JPY", "G"),
            ("EUR", "EUR", ""),
            ("USD", "GBP", ""),
            ("CHF", "CHF", ""),
            ("USD", "USD", ""),
        ] {
            let found = scan(bench, pair(a, b), None, 9).await;
            let expected: Vec<Key> =
                users.chars().map(|name| key(&name.to_string(), &name.to_string())).collect();
            assert_eq!(found, expected, "{a}/{b}");
            assert_eq!(lineages_with(bench, pair(a, b)).await, expected, "{a}/{b}");
        }
        assert_eq!(scan(bench, pair("USD", "EUR"), None, 2).await.len(), 2);
        let rest = scan(bench, pair("USD", "EUR"), Some(&key("A", "A")), 9).await;
        assert_eq!(rest, [key("F", "F"), key("G", "G")]);
    });
}
