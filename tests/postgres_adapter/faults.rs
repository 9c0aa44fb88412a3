//! What goes wrong, and what the store says about it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use backdate_engine::adapters::postgres::Store;
use backdate_engine::adapters::postgres::config::{PostgresConfig, SslMode};
use backdate_engine::adapters::secret::Secret;
use backdate_engine::ports::store::rows::KeyState;
use backdate_engine::ports::store::statements::{
    AppendOutbox, InsertKeys, LockKeys, ReadBacklog, UpdateKeys,
};
use backdate_engine::ports::store::{Store as _, StoreError, Transaction as _};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};

use super::rows::{date, event, key, state};
use super::{Bench, on};

/// A plain connection to the test's schema.
pub(super) async fn connect(bench: &Bench) -> PgConnection {
    let options = bench.schema.options();
    PgConnection::connect_with(&options).await.expect("the database can be reached")
}

fn store(bench: &Bench, change: impl FnOnce(&mut PostgresConfig)) -> Store {
    let mut config = bench.schema.config().clone();
    change(&mut config);
    Store::new(&config, "postgres-adapter-test")
}

/// The text of a refusal or of a failure to connect; it never has the password.
fn text(answer: Result<impl std::fmt::Debug, StoreError>, password: &str) -> String {
    let text = match answer {
        Err(StoreError::Refused(text) | StoreError::Disconnected(text)) => text,
        other => panic!("neither refused nor disconnected: {other:?}"),
    };
    assert!(!text.contains(password), "{text}");
    text
}

#[test]
fn what_keeps_a_store_from_connecting_is_named_with_its_cure() {
    on(async |bench| {
        let config = bench.schema.config();
        let place = format!("{}:{}", config.host, config.port);
        let wrong = store(bench, |config| config.password = Secret::new("wr0ng-passw0rd"));
        let said = text(wrong.ping().await, "wr0ng-passw0rd");
        assert!(said.contains(&place) && said.contains("password"), "{said}");
        let said = text(wrong.query(ReadBacklog {}).await, "wr0ng-passw0rd");
        assert!(said.contains("28P01"), "{said}");
        let role = store(bench, |config| config.user = "nobody-here".to_owned());
        let said = text(role.ping().await, config.password.reveal());
        assert!(said.contains("nobody-here"), "{said}");
        let database = store(bench, |config| config.database = "no-such-database".to_owned());
        let said = text(database.ping().await, config.password.reveal());
        assert!(said.contains("no-such-database") && said.contains("create"), "{said}");
        let port = store(bench, |config| config.port = 1);
        let said = text(port.ping().await, config.password.reveal());
        assert!(said.contains("cannot connect to") && said.contains(":1/"), "{said}");
        let mut session = port.begin().await.expect("nothing is asked yet");
        let answer = session.execute(ReadBacklog {}).await;
        assert!(matches!(answer, Err(StoreError::Disconnected(_))), "{answer:?}");
    });
}

#[test]
fn a_silent_server_is_given_up() {
    on(async |bench| {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = silent.local_addr().expect("bound").port();
        let mute = store(bench, |config| {
            config.port = port;
            config.connect_timeout_ms = 200;
        });
        let said = text(mute.ping().await, "\0");
        assert!(said.contains("no answer"), "{said}");
    });
}

#[test]
fn a_role_that_may_not_is_told_so() {
    on(async |bench| {
        let mut connection = connect(bench).await;
        let role = format!("{}_reader", bench.schema.config().schema);
        let make = format!("CREATE ROLE \"{role}\" LOGIN PASSWORD 'reader-secret'");
        sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut connection).await.expect("made");
        let reader = store(bench, |config| {
            config.user.clone_from(&role);
            config.password = Secret::new("reader-secret");
        });
        let said = text(reader.query(ReadBacklog {}).await, "reader-secret");
        let drop = format!("DROP ROLE \"{role}\"");
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut connection).await.expect("dropped");
        assert!(said.contains(&format!("role {role} may not use it")), "{said}");
        assert!(said.contains("grant"), "{said}");
    });
}

/// The sessions of the test's store.
async fn backends(connection: &mut PgConnection, name: &str) -> Vec<i32> {
    sqlx::query_scalar("SELECT pid FROM pg_stat_activity WHERE application_name = $1")
        .bind(name)
        .fetch_all(connection)
        .await
        .expect("read")
}

async fn kill(connection: &mut PgConnection, pids: &[i32]) {
    for pid in pids {
        let killed: bool = sqlx::query_scalar("SELECT pg_terminate_backend($1, 5000)")
            .bind(pid)
            .fetch_one(&mut *connection)
            .await
            .expect("asked");
        assert!(killed);
    }
}

/// A store whose sessions nobody else has.
fn named(bench: &Bench) -> (Store, String) {
    let name = format!("{}-named", bench.schema.config().schema);
    (Store::new(bench.schema.config(), &name), name)
}

#[test]
fn a_read_only_database_says_so_until_it_is_writable_again() {
    on(async |bench| {
        let (store, name) = named(bench);
        let mut connection = connect(bench).await;
        let schema = &bench.schema.config().schema;
        let role = format!("{schema}_rw");
        let make = format!(
            "CREATE ROLE \"{role}\" SUPERUSER LOGIN PASSWORD 'rw';
            ALTER ROLE \"{role}\" SET default_transaction_read_only = on"
        );
        sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut connection).await.expect("made");
        let mut config = bench.schema.config().clone();
        config.user.clone_from(&role);
        config.password = Secret::new("rw");
        let standby = Store::new(&config, &name);
        let append = || AppendOutbox { rows: vec![event(0, "{}")] };
        assert_eq!(standby.query(append()).await, Err(StoreError::ReadOnly));
        let mut session = standby.begin().await.expect("begun");
        assert_eq!(session.execute(append()).await, Err(StoreError::ReadOnly));
        assert!(standby.query(ReadBacklog {}).await.is_ok());
        assert_eq!(standby.ping().await, Err(StoreError::ReadOnly));
        let writable = format!("ALTER ROLE \"{role}\" RESET default_transaction_read_only");
        sqlx::raw_sql(AssertSqlSafe(writable)).execute(&mut connection).await.expect("altered");
        let pids = backends(&mut connection, &name).await;
        kill(&mut connection, &pids).await;
        let _ = standby.query(append()).await;
        assert_eq!(standby.query(append()).await, Ok(()));
        assert_eq!(standby.ping().await, Ok(()));
        drop((standby, store));
        let drop = format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\"");
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut connection).await.expect("dropped");
    });
}

#[test]
fn a_killed_session_loses_its_transaction_and_the_next_one_reconnects() {
    on(async |bench| {
        let (store, name) = named(bench);
        let mut connection = connect(bench).await;
        let k = key("A", "S");
        let insert = || InsertKeys { keys: vec![(k.clone(), date(1))] };
        let mut session = store.begin().await.expect("begun");
        session.execute(insert()).await.expect("inserted");
        let pids = backends(&mut connection, &name).await;
        kill(&mut connection, &pids).await;
        let answer = session.execute(ReadBacklog {}).await;
        assert!(matches!(answer, Err(StoreError::Disconnected(_))), "{answer:?}");
        assert!(session.commit().await.is_err());
        let lock = || LockKeys { keys: vec![k.clone()], skip_locked: false };
        assert_eq!(store.query(lock()).await, Ok(Vec::new()));

        // Killed between its last statement and the commit: nobody can know.
        let mut session = store.begin().await.expect("begun");
        session.execute(insert()).await.expect("inserted");
        let pids = backends(&mut connection, &name).await;
        kill(&mut connection, &pids).await;
        assert_eq!(session.commit().await, Err(StoreError::UnknownOutcome));

        // Killed while idle: a transaction notices before it has done anything, and reconnects.
        assert_eq!(store.query(lock()).await, Ok(Vec::new()));
        let pids = backends(&mut connection, &name).await;
        kill(&mut connection, &pids).await;
        let mut session = store.begin().await.expect("begun");
        session.execute(insert()).await.expect("inserted");
        session.commit().await.expect("committed");

        // A statement of its own that is not answered may have happened.
        let pids = backends(&mut connection, &name).await;
        kill(&mut connection, &pids).await;
        assert_eq!(store.query(lock()).await, Err(StoreError::UnknownOutcome));
        assert_eq!(store.query(lock()).await.map(|rows| rows.len()), Ok(1));
    });
}

#[test]
fn waits_end_with_a_timeout_or_a_deadlock() {
    on(async |bench| {
        let (a, b) = (key("A", "S"), key("B", "S"));
        bench.add_keys(&[&a, &b]).await;
        let hasty = store(bench, |config| config.lock_timeout_ms = 100);
        let lock = |key: &backdate_engine::domain::ids::Key| LockKeys {
            keys: vec![key.clone()],
            skip_locked: false,
        };
        let mut one = bench.store.begin().await.expect("begun");
        let mut other = bench.store.begin().await.expect("begun");
        one.execute(lock(&a)).await.expect("locked");
        other.execute(lock(&b)).await.expect("locked");
        assert_eq!(hasty.query(lock(&a)).await, Err(StoreError::Timeout));
        let cycle =
            futures_util::future::join(one.execute(lock(&b)), other.execute(lock(&a))).await;
        let answers = [cycle.0.map(|_| ()), cycle.1.map(|_| ())];
        assert!(answers.contains(&Err(StoreError::Deadlock)), "{answers:?}");
        assert!(answers.contains(&Ok(())), "{answers:?}");
        drop((one, other));
        assert_eq!(hasty.query(lock(&a)).await.map(|rows| rows.len()), Ok(1));
    });
}

#[test]
fn a_value_that_no_column_holds_is_refused_and_harms_nothing() {
    on(async |bench| {
        let k = key("A", "S");
        bench.add_keys(&[&k]).await;
        let row = KeyState { input_version: u64::MAX, ..state(&k) };
        let said = text(bench.store.query(UpdateKeys { rows: vec![row] }).await, "\0");
        assert!(said.contains("cannot be written"), "{said}");
        let row = KeyState {
            watermark_date: backdate_engine::domain::time::Date::from_days(i32::MAX),
            ..state(&k)
        };
        text(bench.store.query(UpdateKeys { rows: vec![row] }).await, "\0");
        let lane = bench.store.query(AppendOutbox { rows: vec![event(1024, "{}")] }).await;
        text(lane, "\0");
        bench.run(UpdateKeys { rows: vec![state(&k)] }).await;
    });
}

#[test]
fn a_pool_gives_no_more_connections_than_it_has() {
    on(async |bench| {
        let small = store(bench, |config| {
            config.connections = 1;
            config.connect_timeout_ms = 300;
        });
        let mut holder = small.begin().await.expect("begun");
        holder.execute(ReadBacklog {}).await.expect("read");
        let answer = small.query(ReadBacklog {}).await;
        assert!(matches!(answer, Err(StoreError::Disconnected(_))), "{answer:?}");
        holder.rollback().await;
        assert!(small.query(ReadBacklog {}).await.is_ok());
    });
}

#[test]
fn an_observer_is_told_about_each_statement_and_commit() {
    on(async |bench| {
        let seen: Rc<RefCell<Vec<&'static str>>> = Rc::default();
        let told = Rc::clone(&seen);
        let store = bench.store.clone().observed(Rc::new(move |name, took: Duration| {
            assert!(took > Duration::ZERO);
            told.borrow_mut().push(name);
        }));
        store.query(ReadBacklog {}).await.expect("read");
        let mut session = store.begin().await.expect("begun");
        session.execute(AppendOutbox { rows: vec![event(0, "{}")] }).await.expect("appended");
        session.commit().await.expect("committed");
        assert_eq!(*seen.borrow(), ["ReadBacklog", "AppendOutbox", "Commit"]);
    });
}

async fn has_tls(bench: &Bench) -> bool {
    let answer = sqlx::query_scalar("SHOW ssl").fetch_one(&mut connect(bench).await).await;
    answer.is_ok_and(|ssl: String| ssl == "on")
}

#[test]
fn encryption_that_is_demanded_is_not_done_without() {
    on(async |bench| {
        for mode in [SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull] {
            let store = store(bench, |config| config.ssl_mode = mode);
            match (store.ping().await, has_tls(bench).await) {
                (Ok(()), true) => {}
                (Err(StoreError::Refused(text)), _) => {
                    assert!(text.contains("ssl_mode") && text.contains("certificate"), "{text}");
                }
                other => panic!("{mode:?}: {other:?}"),
            }
        }
        let store = store(bench, |config| config.ssl_mode = SslMode::Disable);
        assert_eq!(store.ping().await, Ok(()));
    });
}
