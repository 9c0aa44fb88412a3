//! Work that several workers take from one table, leases, sequences and the clock of the store.

use backdate_engine::domain::records::KeyStatus;
use backdate_engine::domain::time::Timestamp;
use backdate_engine::ports::store::rows::{JobStatus, Subject, TriggerRow, ValuationJobRow};
use backdate_engine::ports::store::statements::{
    AppendOutbox, ClaimValuationJobs, DeleteOutbox, DeleteReprocessingJob, DeleteTriggers,
    DeleteValuationJob, DropSupersededJobs, FindDueKeys, InsertReprocessingJobs,
    InsertValuationJobs, LockValuationJob, MoveReprocessingJob, PostponeValuationJob, ReadOutbox,
    TakeOutboxLane, TakeReprocessingJob, TakeTriggers, UpsertTriggers,
};

use super::super::fixtures::{event, job};
use super::*;

contract!(store(StoreSettings):
    leases as a_job_is_claimed_once_under_a_lease;
    expired as a_job_is_claimed_again_after_its_lease;
    in_flight as jobs_in_flight_are_bounded;
    postponed as a_job_that_waits_is_left_alone_for_a_while;
    superseded as superseded_jobs_are_dropped_up_to_the_last_that_is_to_be_claimed;
    superseded_free as a_superseded_job_that_somebody_holds_is_left_alone;
    limits as a_claim_never_takes_more_than_its_limit;
    triggers as a_trigger_is_taken_by_one_at_a_time;
    fan_outs as the_fan_out_with_the_fewest_batches_comes_first;
    lanes as a_lane_of_the_outbox_is_drained_by_one_at_a_time;
    served as the_lane_that_has_waited_longest_comes_first;
    sequences as sequences_do_not_roll_back;
    commit_order as numbers_do_not_follow_the_order_of_commits;
    time as the_time_of_a_transaction_stands_still;
);

fn claim(limit: u32, lease_ms: u64) -> ClaimValuationJobs {
    ClaimValuationJobs { limit, in_flight_max: 1_000, lease_ms }
}

fn ids(jobs: &[ValuationJobRow]) -> Vec<u64> {
    jobs.iter().map(|job| job.id).collect()
}

async fn add_jobs<S: Store>(store: &S, count: usize) {
    let jobs = (0..count).map(|_| job(&[(&one(), 0, 0)], 1, 2)).collect();
    store.query(InsertValuationJobs { jobs }).await.expect("free");
}

async fn leases<S: StoreSite>(site: S) {
    let store = site.store();
    add_jobs(&store, 4).await;
    let mut first = store.begin().await.expect("up");
    let claimed = first.execute(claim(2, 60_000)).await.expect("free");
    assert_eq!(ids(&claimed), [1, 2]);
    let job = &claimed[0];
    assert_eq!((job.status, job.attempts), (JobStatus::Processing, 1));
    assert!(job.lease_until.is_some());
    let second = site.soon(store.query(claim(9, 60_000))).await.expect("no wait");
    assert_eq!(ids(&second), [3, 4], "what another one is claiming is left out");
    first.commit().await.expect("a commit");
    assert_eq!(store.query(claim(9, 60_000)).await, Ok(vec![]));
}

async fn expired<S: StoreSite>(site: S) {
    let store = site.store();
    add_jobs(&store, 1).await;
    // So long that a machine with much else to do asks again within it.
    store.query(claim(1, 4_000)).await.expect("free");
    assert_eq!(store.query(claim(1, 4_000)).await, Ok(vec![]));
    site.sleep(4_200).await;
    let again = store.query(claim(1, 60_000)).await.expect("free");
    assert_eq!(again.iter().map(|job| job.attempts).collect::<Vec<_>>(), [2]);
}

async fn in_flight<S: StoreSite>(site: S) {
    let store = site.store();
    add_jobs(&store, 5).await;
    let claim = |in_flight_max| ClaimValuationJobs { limit: 9, in_flight_max, lease_ms: 60_000 };
    assert_eq!(store.query(claim(2)).await.map(|jobs| ids(&jobs)), Ok(vec![1, 2]));
    assert_eq!(store.query(claim(2)).await, Ok(vec![]));
    store.query(DeleteValuationJob { id: 1 }).await.expect("free");
    assert_eq!(store.query(claim(2)).await.map(|jobs| ids(&jobs)), Ok(vec![3]));
}

async fn postponed<S: StoreSite>(site: S) {
    let store = site.store();
    add_jobs(&store, 1).await;
    let claimed = store.query(claim(1, 60_000)).await.expect("free");
    let keys = claimed[0].keys.clone();
    let postpone = PostponeValuationJob { id: 1, keys: keys.clone(), delay_ms: 4_000 };
    store.query(postpone).await.expect("free");
    let waiting = store.query(LockValuationJob { id: 1 }).await.expect("free").expect("there");
    assert_eq!((waiting.status, waiting.lease_until), (JobStatus::Waiting, None));
    assert_eq!((waiting.attempts, &waiting.keys), (1, &keys));
    assert_eq!(store.query(claim(1, 60_000)).await, Ok(vec![]));
    site.sleep(4_200).await;
    assert_eq!(store.query(claim(1, 60_000)).await.map(|jobs| ids(&jobs)), Ok(vec![1]));
}

fn drop_superseded(fresh: u32, limit: u32) -> DropSupersededJobs {
    DropSupersededJobs { fresh, limit }
}

/// Two keys of revision 1, and a job for each of these revisions of both.
async fn add_jobs_of<S: Store>(store: &S, revisions: &[(u64, u64)]) {
    add_keys(store, &[&one(), &two()]).await;
    for key in [one(), two()] {
        let raised = bumped(store, &key).await;
        raised.commit().await.expect("a commit");
    }
    let both =
        |(first, second): &(u64, u64)| job(&[(&one(), 0, *first), (&two(), 0, *second)], 1, 2);
    let jobs = revisions.iter().map(both).collect();
    store.query(InsertValuationJobs { jobs }).await.expect("free");
}

async fn superseded<S: StoreSite>(site: S) {
    let store = site.store();
    // A newer token than the key's is not superseded, whatever else is wrong with it.
    add_jobs_of(&store, &[(0, 0), (0, 1), (0, 0), (0, 0), (1, 1), (0, 0), (2, 0), (0, 0)]).await;
    assert_eq!(store.query(drop_superseded(1, 9)).await, Ok(vec![1]));
    assert_eq!(store.query(drop_superseded(2, 1)).await, Ok(vec![3]), "one of two");
    assert_eq!(store.query(drop_superseded(2, 9)).await, Ok(vec![4]));
    assert_eq!(store.query(drop_superseded(9, 9)).await, Ok(vec![6, 8]));
    assert_eq!(store.query(drop_superseded(9, 9)).await, Ok(vec![]));
    assert_eq!(store.query(claim(9, 60_000)).await.map(|jobs| ids(&jobs)), Ok(vec![2, 5, 7]));
    assert_eq!(store.query(LockValuationJob { id: 1 }).await, Ok(None));
}

async fn superseded_free<S: StoreSite>(site: S) {
    let store = site.store();
    add_jobs_of(&store, &[(0, 0), (0, 0), (0, 0)]).await;
    store.query(claim(1, 60_000)).await.expect("free");
    let mut holder = store.begin().await.expect("up");
    holder.execute(LockValuationJob { id: 2 }).await.expect("free");
    let dropped = site.soon(store.query(drop_superseded(9, 9))).await;
    assert_eq!(dropped, Ok(vec![3]), "the first is in flight, somebody holds the second");
    holder.rollback().await;
    assert_eq!(store.query(drop_superseded(9, 9)).await, Ok(vec![2]));
    // What is dropped does not hold its keys any more.
    let mut raised = bumped(&store, &one()).await;
    let mut rows = raised.execute(lock_keys(&[&one()])).await.expect("held");
    rows[0].status = KeyStatus::Reprocessing;
    rows[0].revision = Revision(0);
    raised.execute(UpdateKeys { rows }).await.expect("held");
    raised.commit().await.expect("a commit");
    store.query(DeleteValuationJob { id: 1 }).await.expect("free");
    let due = FindDueKeys { after: None, limit: 9 };
    assert_eq!(store.query(due).await, Ok(vec![one()]));
}

/// A sub-select with a limit that is run again for each row takes far more (a generic plan that
/// was made while the table was empty).
async fn limits<S: StoreSite>(site: S) {
    let store = site.store();
    for _ in 0..8 {
        assert_eq!(store.query(claim(5, 60_000)).await, Ok(vec![]));
    }
    add_jobs(&store, 300).await;
    let mut all = Vec::new();
    for _ in 0..8 {
        let claimed = store.query(claim(20, 60_000)).await.expect("free");
        assert_eq!(claimed.len(), 20);
        all.extend(ids(&claimed));
    }
    assert_eq!(all, (1..=160).collect::<Vec<_>>());
}

async fn triggers<S: StoreSite>(site: S) {
    let store = site.store();
    let trigger = |subject: &str| TriggerRow {
        subject: Subject::Security(subject.into()),
        earliest_date: date(1),
    };
    let rows = vec![trigger("S1"), trigger("S2"), trigger("S3")];
    store.query(UpsertTriggers { rows }).await.expect("free");
    let mut first = store.begin().await.expect("up");
    let taken = first.execute(TakeTriggers { limit: 2 }).await;
    assert_eq!(taken, Ok(vec![trigger("S1"), trigger("S2")]));
    let others = site.soon(store.query(TakeTriggers { limit: 9 })).await;
    assert_eq!(others, Ok(vec![trigger("S3")]));
    let subjects = vec![trigger("S1").subject];
    first.execute(DeleteTriggers { subjects }).await.expect("held");
    first.commit().await.expect("a commit");
    let left = store.query(TakeTriggers { limit: 9 }).await;
    assert_eq!(left, Ok(vec![trigger("S2"), trigger("S3")]));
}

async fn fan_outs<S: StoreSite>(site: S) {
    let store = site.store();
    let jobs = vec![(Subject::Calendar, date(1)), (Subject::Security("S".into()), date(2))];
    store.query(InsertReprocessingJobs { jobs }).await.expect("free");
    let take = || TakeReprocessingJob {};
    let id = |taken: Result<Option<_>, _>| {
        taken.map(|job: Option<backdate_engine::ports::store::rows::ReprocessingJobRow>| {
            job.map(|job| job.id)
        })
    };
    let mut first = store.begin().await.expect("up");
    assert_eq!(id(first.execute(take()).await), Ok(Some(1)));
    assert_eq!(id(site.soon(store.query(take())).await), Ok(Some(2)));
    let moved = MoveReprocessingJob { id: 1, cursor: one() };
    first.execute(moved).await.expect("held");
    first.commit().await.expect("a commit");
    assert_eq!(id(store.query(take()).await), Ok(Some(2)), "it has had no batch yet");
    store.query(DeleteReprocessingJob { id: 2 }).await.expect("free");
    let left = store.query(take()).await.expect("free").expect("there");
    assert_eq!((left.id, left.cursor), (1, Some(one())));
}

async fn lanes<S: StoreSite>(site: S) {
    let store = site.store();
    let rows = vec![event(0, "a"), event(1, "b"), event(0, "c")];
    store.query(AppendOutbox { rows }).await.expect("free");
    let mut first = store.begin().await.expect("up");
    let lane = first.execute(TakeOutboxLane {}).await.expect("free").expect("there");
    let mut second = store.begin().await.expect("up");
    let other = site.soon(second.execute(TakeOutboxLane {})).await.expect("free").expect("there");
    assert_eq!([lane.min(other), lane.max(other)], [0, 1]);
    assert_eq!(site.soon(store.query(TakeOutboxLane {})).await, Ok(None));
    let events = first.execute(ReadOutbox { lane, limit: 9 }).await.expect("a read");
    let payloads: Vec<&str> = events.iter().map(|event| event.payload.as_str()).collect();
    assert_eq!(payloads, if lane == 0 { vec!["a", "c"] } else { vec!["b"] });
    // Whoever appends never waits for whoever drains.
    site.soon(store.query(AppendOutbox { rows: vec![event(lane, "d")] })).await.expect("free");
    // Numbers of another lane are nobody's here.
    first.execute(DeleteOutbox { lane, ids: (1..=3).collect() }).await.expect("held");
    first.commit().await.expect("a commit");
    let left = store.query(ReadOutbox { lane, limit: 9 }).await.expect("a read");
    assert_eq!(left.iter().map(|event| event.payload.as_str()).collect::<Vec<_>>(), ["d"]);
    let others = store.query(ReadOutbox { lane: 1 - lane, limit: 9 }).await.expect("a read");
    assert_eq!(others.len(), 3 - events.len());
}

async fn served<S: StoreSite>(site: S) {
    let store = site.store();
    let rows = (0..3).map(|lane| event(lane, "x")).collect();
    store.query(AppendOutbox { rows }).await.expect("free");
    let mut turns = Vec::new();
    for _ in 0..6 {
        turns.push(store.query(TakeOutboxLane {}).await.expect("free").expect("there"));
    }
    let mut first = turns[..3].to_vec();
    first.sort_unstable();
    assert_eq!(first, [0, 1, 2]);
    assert_eq!(turns[..3], turns[3..]);
}

async fn append<T: Transaction>(transaction: &mut T, payload: &str) {
    let rows = vec![event(0, payload)];
    transaction.execute(AppendOutbox { rows }).await.expect("free");
}

async fn numbers<S: Store>(store: &S) -> Vec<(u64, String)> {
    let events = store.query(ReadOutbox { lane: 0, limit: 9 }).await.expect("a read");
    events.into_iter().map(|event| (event.id, event.payload)).collect()
}

async fn sequences<S: StoreSite>(site: S) {
    let store = site.store();
    let mut first = store.begin().await.expect("up");
    append(&mut first, "gone").await;
    first.rollback().await;
    let mut second = store.begin().await.expect("up");
    append(&mut second, "kept").await;
    second.commit().await.expect("a commit");
    let numbers = numbers(&store).await;
    assert_eq!(numbers.len(), 1);
    assert!(numbers[0].0 >= 2, "{numbers:?}");
}

async fn commit_order<S: StoreSite>(site: S) {
    let store = site.store();
    let (mut a, mut b) = (store.begin().await.expect("up"), store.begin().await.expect("up"));
    append(&mut a, "a").await;
    append(&mut b, "b").await;
    b.commit().await.expect("a commit");
    let seen = numbers(&store).await;
    assert_eq!(seen.len(), 1);
    a.commit().await.expect("a commit");
    let all = numbers(&store).await;
    assert!(all[0].0 < seen[0].0 && all[0].1 == "a", "{all:?}: an older number came later");
}

async fn time<S: StoreSite>(site: S) {
    let store = site.store();
    add_keys(&store, &[&one(), &two()]).await;
    let mut transaction = store.begin().await.expect("up");
    bump(&mut transaction, &one()).await.expect("free");
    site.sleep(100).await;
    bump(&mut transaction, &two()).await.expect("free");
    add_jobs_in(&mut transaction).await;
    transaction.commit().await.expect("a commit");
    let at = async |key| -> Timestamp { state(&store, &key).await.expect("there").updated_at };
    let first = at(one()).await;
    assert_eq!(first, at(two()).await);
    let job = store.query(LockValuationJob { id: 1 }).await.expect("free").expect("there");
    assert_eq!(job.not_before, first);
    let claimed = store.query(claim(1, 1_000)).await.expect("free");
    let lease = claimed[0].lease_until.expect("a lease").micros() - first.micros();
    assert!((1_100_000..60_000_000).contains(&lease), "{lease} us after a time 100 ms ago");
}

async fn add_jobs_in<T: Transaction>(transaction: &mut T) {
    let jobs = vec![job(&[(&one(), 0, 0)], 1, 2)];
    transaction.execute(InsertValuationJobs { jobs }).await.expect("free");
}
