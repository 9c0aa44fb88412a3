//! Valuation jobs: inserted, claimed under a lease, postponed, deleted.

use backdate_engine::domain::time::Timestamp;
use backdate_engine::ports::store::rows::{JobStatus, ValuationJobRow};
use backdate_engine::ports::store::statements::{
    ClaimValuationJobs, DeleteValuationJob, FindDueKeys, InsertValuationJobs, LockValuationJob,
    PostponeValuationJob,
};
use backdate_engine::ports::store::{Store as _, Transaction as _};

use super::rows::{date, held, job, key};
use super::{Bench, on};

async fn claim(bench: &Bench, limit: u32, in_flight_max: u32) -> Vec<ValuationJobRow> {
    bench.run(ClaimValuationJobs { limit, in_flight_max, lease_ms: 3_600_000 }).await
}

#[test]
fn a_job_keeps_its_keys_and_lives_through_its_states() {
    on(async |bench| {
        let (a, b) = (key("A", "S"), key("B", "S"));
        let keys = vec![held(&a, 1, 2), held(&b, 3, 4)];
        let jobs = vec![job(&keys, 1, 5), job(&keys[1..], 2, 3)];
        bench.run(InsertValuationJobs { jobs }).await;
        let claimed = claim(bench, 9, 9).await;
        assert_eq!(claimed.len(), 2);
        assert!(claimed[0].id < claimed[1].id);
        let first = &claimed[0];
        let expected = ValuationJobRow {
            id: first.id,
            keys: keys.clone(),
            date_from: date(1),
            date_to: date(5),
            status: JobStatus::Processing,
            attempts: 1,
            lease_until: first.lease_until,
            not_before: first.not_before,
        };
        assert_eq!(*first, expected);
        assert_eq!(claimed[1].keys, keys[1..]);
        let hour = first.lease_until.expect("leased").micros() - first.not_before.micros();
        assert!((3_600_000_000..3_660_000_000).contains(&hour), "{hour}");
        assert_eq!(bench.run(LockValuationJob { id: first.id }).await, Some(expected.clone()));
        assert_eq!(claim(bench, 9, 9).await, []);

        let waiting = vec![held(&b, 3, 4)];
        let postpone =
            PostponeValuationJob { id: first.id, keys: waiting.clone(), delay_ms: 60_000 };
        bench.run(postpone).await;
        let postponed = bench.run(LockValuationJob { id: first.id }).await.expect("there");
        assert!(postponed.not_before > first.not_before);
        let expected = ValuationJobRow {
            keys: waiting,
            status: JobStatus::Waiting,
            lease_until: None,
            not_before: postponed.not_before,
            ..expected
        };
        assert_eq!(postponed, expected);
        bench.run(DeleteValuationJob { id: first.id }).await;
        assert_eq!(bench.run(LockValuationJob { id: first.id }).await, None);
        bench.run(PostponeValuationJob { id: first.id, keys, delay_ms: 0 }).await;
        assert_eq!(bench.run(LockValuationJob { id: first.id }).await, None);
        assert_eq!(index(bench).await, [("B".to_owned(), 3, 4)]);
    });
}

/// The index of keys.
async fn index(bench: &Bench) -> Vec<(String, i32, i64)> {
    let mut connection = super::faults::connect(bench).await;
    sqlx::query_as(
        "SELECT portfolio_id, epoch, revision FROM portfolio_valuation_job_keys ORDER BY 1, job_id",
    )
    .fetch_all(&mut connection)
    .await
    .expect("read")
}

#[test]
fn the_index_of_keys_follows_the_jobs() {
    on(async |bench| {
        let (a, b) = (key("A", "S"), key("B", "S"));
        bench.add_keys(&[&a, &b]).await;
        bench.add_business_dates([9]).await;
        assert_eq!(bench.run(FindDueKeys { after: None, limit: 9 }).await.len(), 2);
        let keys = vec![held(&a, 0, 0), held(&b, 0, 0)];
        bench.run(InsertValuationJobs { jobs: vec![job(&keys, 1, 5)] }).await;
        assert_eq!(bench.run(FindDueKeys { after: None, limit: 9 }).await, []);
        let id = claim(bench, 1, 1).await[0].id;
        let only = vec![held(&b, 0, 0)];
        bench.run(PostponeValuationJob { id, keys: only, delay_ms: 0 }).await;
        assert_eq!(
            bench.run(FindDueKeys { after: None, limit: 9 }).await,
            std::slice::from_ref(&a)
        );
        let moved = vec![held(&a, 0, 0), held(&b, 0, 7)];
        bench.run(PostponeValuationJob { id, keys: moved, delay_ms: 0 }).await;
        assert_eq!(
            bench.run(FindDueKeys { after: None, limit: 9 }).await,
            std::slice::from_ref(&b)
        );
        bench.run(DeleteValuationJob { id }).await;
        assert_eq!(bench.run(FindDueKeys { after: None, limit: 9 }).await, [a, b]);
        assert_eq!(index(bench).await, []);
    });
}

#[test]
fn claims_respect_the_limits_leases_and_locks_of_others() {
    on(async |bench| {
        let k = key("A", "S");
        let jobs = (0..6).map(|_| job(&[held(&k, 0, 0)], 1, 5)).collect();
        bench.run(InsertValuationJobs { jobs }).await;
        assert_eq!(claim(bench, 2, 4).await.len(), 2);
        let second = claim(bench, 9, 4).await;
        assert_eq!(second.len(), 2);
        assert_eq!(claim(bench, 9, 4).await, []);
        assert_eq!(claim(bench, 9, 1).await, []);
        // A lease that has ended frees its job, the lowest id first.
        let mut connection = super::faults::connect(bench).await;
        let expire = "UPDATE portfolio_valuation_jobs SET lease_until = now() - interval '1 second'
            WHERE id = $1";
        sqlx::query(expire).bind(second[0].id as i64).execute(&mut connection).await.expect("done");
        let again = claim(bench, 1, 9).await;
        assert_eq!((again[0].id, again[0].attempts), (second[0].id, 2));
        // What another session holds is skipped.
        let mut holder = bench.store.begin().await.expect("begun");
        let free = second[1].id + 1;
        assert!(holder.execute(LockValuationJob { id: free }).await.expect("locked").is_some());
        let claimed = claim(bench, 9, 9).await;
        assert_eq!(claimed.iter().map(|job| job.id).collect::<Vec<_>>(), [free + 1]);
        holder.rollback().await;
        // What waits is not claimed before its time.
        let id = claim(bench, 9, 9).await[0].id;
        let keys = vec![held(&k, 0, 0)];
        bench.run(PostponeValuationJob { id, keys: keys.clone(), delay_ms: 3_600_000 }).await;
        assert_eq!(claim(bench, 9, 9).await, []);
        bench.run(PostponeValuationJob { id, keys, delay_ms: 0 }).await;
        let claimed = claim(bench, 9, 9).await;
        assert_eq!(claimed.len(), 1);
        assert!(claimed[0].lease_until > Some(Timestamp::from_micros(0)));
    });
}
