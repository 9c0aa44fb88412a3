//! The server process with clients over the network: connections, crashes, faults, the recording.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use backdate_engine::ports::store::rows::Table;
use backdate_engine::ports::store::statements::{
    InsertTransactions, LockKeys, LockTransactions, ReadTransactions, UpdateKeys,
};
use backdate_engine::ports::store::{Store, StoreError, Transaction};
use backdate_reports::recording::{CrashCause, Event, EventKind, SimTime};

use super::super::client::Client;
use super::super::control::ServerControl;
use super::super::disk::Disk;
use super::super::profile::Profile;
use super::super::server;
use super::config;
use super::fixtures::{date, key, transaction};
use crate::world::{Control, Process, World};

/// A server with clients.
#[derive(Clone)]
struct Stage {
    process: Process,
    world: Control,
    disk: Disk,
    server: ServerControl,
}

impl Stage {
    fn client(&self) -> Client {
        Client::new(self.process.clone(), "postgres")
    }

    async fn sleep_ms(&self, ms: u64) {
        self.process.sleep(Duration::from_millis(ms)).await;
    }

    async fn restart(&self) {
        self.world.crash("postgres", CrashCause::Scheduled);
        self.sleep_ms(5).await;
        self.world.restart("postgres");
        self.sleep_ms(5).await;
    }
}

/// Runs a test as a client of a server; the recording of the run.
fn play<F: Future<Output = ()> + 'static>(profile: Profile, test: fn(Stage) -> F) -> Vec<Event> {
    let events = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&events);
    let mut world = World::new(config(11), Box::new(move |event| sink.borrow_mut().push(event)));
    let (disk, faults) = (Disk::new(), ServerControl::new());
    let control = world.control();
    control.add_process("postgres", server::main(profile, disk.clone(), faults.clone()));
    let ended = Rc::new(RefCell::new(false));
    let end = Rc::clone(&ended);
    let inner = control.clone();
    control.add_process(
        "client",
        Rc::new(move |process| {
            let (disk, server) = (disk.clone(), faults.clone());
            let stage = Stage { process, world: inner.clone(), disk, server };
            let end = Rc::clone(&end);
            Box::pin(async move {
                stage.sleep_ms(1).await;
                test(stage).await;
                *end.borrow_mut() = true;
            })
        }),
    );
    world.run_until(SimTime(300_000_000_000));
    assert!(*ended.borrow(), "the test has stopped half way");
    events.take()
}

fn insert(id: &str) -> InsertTransactions {
    InsertTransactions { rows: vec![transaction(id, &key("P", "S"), 1, "EUR")] }
}

async fn stored(client: &Client) -> Vec<String> {
    let ids = ["A", "B", "C"].map(Into::into).to_vec();
    let rows = client.query(ReadTransactions { ids }).await.expect("the server is up");
    rows.iter().map(|row| row.transaction.transaction_id.to_string()).collect()
}

#[test]
fn commits_survive_a_crash_and_open_transactions_do_not() {
    play(Profile::default(), |stage| async move {
        let client = stage.client();
        let mut committed = client.begin().await.expect("lazy");
        committed.execute(insert("A")).await.expect("free");
        committed.commit().await.expect("acknowledged");
        let mut open = client.begin().await.expect("lazy");
        open.execute(insert("B")).await.expect("free");
        stage.restart().await;
        let lost = open.execute(insert("C")).await;
        assert!(matches!(lost, Err(StoreError::Disconnected(_))), "{lost:?}");
        assert_eq!(stored(&client).await, ["A"]);
        assert_eq!(stage.disk.open_transactions(), 0);
        client.query(insert("B")).await.expect("no lock is left");
        assert_eq!(stage.disk.rows(Table::Transactions).len(), 2);
    });
}

#[test]
fn a_dropped_transaction_is_rolled_back_and_its_locks_are_free() {
    play(Profile::default(), |stage| async move {
        let client = stage.client();
        client.query(insert("A")).await.expect("free");
        let mut open = client.begin().await.expect("lazy");
        let lock = LockTransactions { ids: vec!["A".into()] };
        open.execute(lock.clone()).await.expect("free");
        open.execute(insert("B")).await.expect("free");
        drop(open);
        let mut next = client.begin().await.expect("lazy");
        assert_eq!(next.execute(lock).await.expect("free").len(), 1);
        next.rollback().await;
        assert_eq!(stored(&client).await, ["A"]);
    });
}

#[test]
fn a_commit_whose_answer_is_lost_has_happened() {
    let events = play(Profile::default(), |stage| async move {
        let client = stage.client();
        stage.server.lose_commit_answer(1);
        let mut open = client.begin().await.expect("lazy");
        open.execute(insert("A")).await.expect("free");
        assert_eq!(open.commit().await, Err(StoreError::UnknownOutcome));
        assert_eq!(stored(&client).await, ["A"]);
        stage.server.lose_commit_answer(1);
        assert_eq!(client.query(insert("B")).await, Err(StoreError::UnknownOutcome));
        assert_eq!(stored(&client).await, ["A", "B"]);
    });
    let commits = events.iter().filter(|event| matches!(event.kind, EventKind::Committed { .. }));
    assert_eq!(commits.count(), 2);
}

#[test]
fn answers_that_one_fault_loses_are_not_given_back_by_another() {
    play(Profile::default(), |stage| async move {
        let client = stage.client();
        let name = stage.process.name();
        let (first, second) =
            (stage.server.lose_answers(name, 1), stage.server.lose_answers(name, 1));
        stage.server.keep_answers(first);
        assert_eq!(client.query(insert("A")).await, Err(StoreError::UnknownOutcome));
        assert_eq!(stage.server.answers_to_lose(second), 0);
        assert!(client.query(insert("B")).await.is_ok());
    });
}

#[test]
fn a_commit_cut_off_by_a_crash_has_an_unknown_outcome() {
    let slow = Profile { commit_us: 20_000.0, ..Profile::default() };
    play(slow, |stage| async move {
        let client = stage.client();
        let mut open = client.begin().await.expect("lazy");
        open.execute(insert("A")).await.expect("free");
        let crash = async {
            stage.sleep_ms(10).await;
            stage.world.crash("postgres", CrashCause::Scheduled);
        };
        let (outcome, ()) = futures_util::future::join(open.commit(), crash).await;
        assert_eq!(outcome, Err(StoreError::UnknownOutcome));
        stage.world.restart("postgres");
        stage.sleep_ms(5).await;
        assert!(stored(&client).await.is_empty(), "it died before its disk had answered");
    });
}

#[test]
fn a_killed_session_frees_its_locks_even_while_it_waits() {
    play(Profile::default(), |stage| async move {
        let (holder, waiting) = (stage.client(), stage.client());
        let mut open = holder.begin().await.expect("lazy");
        open.execute(insert("A")).await.expect("free");
        let kill = async {
            stage.sleep_ms(50).await;
            assert_eq!(stage.disk.waiting_transactions(), 1);
            assert_eq!(stage.server.kill_session("client"), 2);
        };
        let (outcome, ()) = futures_util::future::join(waiting.query(insert("A")), kill).await;
        assert_eq!(outcome, Err(StoreError::UnknownOutcome));
        assert!(matches!(open.execute(insert("B")).await, Err(StoreError::Disconnected(_))));
        assert_eq!(stage.disk.open_transactions(), 0);
        assert!(stored(&holder).await.is_empty());
        assert_eq!(stage.server.sessions(), 1);
    });
}

#[test]
fn refused_writes_and_a_full_server_are_told() {
    let small = Profile { max_connections: 2, ..Profile::default() };
    let events = play(small, |stage| async move {
        let client = stage.client();
        stage.server.refuse_writes(true);
        assert_eq!(client.query(insert("A")).await, Err(StoreError::ReadOnly));
        assert!(stored(&client).await.is_empty(), "reading goes on");
        stage.server.refuse_writes(false);
        let mut first = client.begin().await.expect("lazy");
        let mut second = client.begin().await.expect("lazy");
        first.execute(insert("A")).await.expect("free");
        second.execute(insert("B")).await.expect("free");
        assert_eq!(client.query(insert("C")).await, Err(StoreError::TooManyConnections));
        first.commit().await.expect("acknowledged");
        client.query(insert("C")).await.expect("there is room again");
    });
    let aborted = |event: &&Event| match &event.kind {
        EventKind::Aborted { client, statement, error } => {
            client == "client"
                && statement == "InsertTransactions"
                && *error == StoreError::ReadOnly
        }
        _ => false,
    };
    assert_eq!(events.iter().filter(aborted).count(), 1);
}

#[test]
fn a_statement_costs_its_rows_and_waits_for_a_worker() {
    let profile = Profile {
        statement_base_us: 1_000.0,
        row_us: 100.0,
        commit_us: 5_000.0,
        workers: 1,
        ..Profile::default()
    };
    play(profile, |stage| async move {
        let (a, b) = (stage.client(), stage.client());
        a.query(ReadTransactions { ids: Vec::new() }).await.expect("connects");
        b.query(ReadTransactions { ids: Vec::new() }).await.expect("connects");
        let took = |since: SimTime| stage.process.now().since(since).as_micros();
        let begin = stage.process.now();
        a.query(insert("A")).await.expect("free");
        // A written and a returned row, a commit, and a round trip of 0.2 to 0.4 ms.
        assert!((6_400..6_700).contains(&took(begin)), "{}", took(begin));
        let begin = stage.process.now();
        let both = futures_util::future::join(a.query(insert("B")), b.query(insert("C"))).await;
        assert!(both.0.is_ok() && both.1.is_ok());
        assert!((12_600..12_900).contains(&took(begin)), "{}", took(begin));
        stage.server.slow_disk(3.0);
        let begin = stage.process.now();
        a.query(insert("D")).await.expect("free");
        assert!((16_400..16_700).contains(&took(begin)), "{}", took(begin));
    });
}

#[test]
fn commits_are_recorded_with_the_rows_that_they_changed() {
    let events = play(Profile::default(), |stage| async move {
        let client = stage.client();
        let k = key("P", "S");
        let keys = vec![(k.clone(), date(1))];
        let insert_keys = backdate_engine::ports::store::statements::InsertKeys { keys };
        client.query(insert_keys).await.expect("free");
        let mut open = client.begin().await.expect("lazy");
        let lock = LockKeys { keys: vec![k], skip_locked: false };
        let mut rows = open.execute(lock.clone()).await.expect("free");
        open.execute(insert("A")).await.expect("free");
        rows[0].input_version += 1;
        open.execute(UpdateKeys { rows }).await.expect("held");
        open.commit().await.expect("acknowledged");
        client.query(lock).await.expect("a lock alone changes nothing");
    });
    let commits = events.iter().filter_map(|event| match &event.kind {
        EventKind::Committed { client, keys_locked, changes } => {
            assert_eq!((event.process.as_str(), client.as_str()), ("postgres", "client"));
            Some((*keys_locked, changes.len()))
        }
        _ => None,
    });
    assert_eq!(commits.collect::<Vec<_>>(), [(0, 1), (1, 2)]);
}
