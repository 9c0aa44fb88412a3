//! A place on real services for one test, and a `serve` process that runs in it.
//!
//! # Invariants
//! - No process outlives its guard; what it made goes with the guard of the place.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use backdate::runner::stage::GROUPS;
use backdate_engine::adapters::kafka::{self, admin};
use backdate_engine::adapters::postgres;
use backdate_engine::ports::log::{Headers, Log, LogProducer, NewRecord};
use backdate_engine::ports::store::Store;
use backdate_engine::ports::store::statements::{Backlog, ReadBacklog};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tempfile::TempDir;

use super::inputs::Input;
use crate::services::{FreshPrefix, FreshSchema, Services};
use crate::support::{Ran, binary, run_with};

/// No single thing that a test waits for takes so long on two busy cores.
const PATIENCE: Duration = Duration::from_secs(180);

/// Schema, topics and configuration file of one test.
pub(super) struct Place {
    pub(super) schema: FreshSchema,
    pub(super) prefix: FreshPrefix,
    folder: TempDir,
}

impl Place {
    /// Names without anything under them yet.
    pub(super) fn new() -> Self {
        let services = Services::get();
        Self::of(services.fresh_schema(), services.fresh_prefix())
    }

    /// The same under these names.
    pub(super) fn of(schema: FreshSchema, prefix: FreshPrefix) -> Self {
        let folder = TempDir::new().expect("there is room for a file");
        let place = Self { schema, prefix, folder };
        place.configure(place.schema.config().port);
        place
    }

    /// The same with schema and topics.
    pub(super) fn migrated() -> Self {
        let place = Self::new();
        place.prepare();
        place
    }

    /// Makes schema and topics.
    pub(super) fn prepare(&self) {
        let ran = self.migrate();
        assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    }

    /// Writes the configuration, with that port of the database.
    pub(super) fn configure(&self, port: u16) {
        self.configure_for(&self.schema.config().user, port);
    }

    /// Writes the configuration, with that role and port of the database.
    pub(super) fn configure_for(&self, user: &str, port: u16) {
        let (kafka, database) = (self.prefix.config(), self.schema.config());
        let text = format!(
            "[kafka]\nbootstrap_servers = {:?}\nprefix = {:?}\n\
             [postgres]\nhost = {:?}\nport = {port}\nuser = {:?}\ndatabase = {:?}\nschema = {:?}\n\
             connections = 2\nconnect_timeout_ms = 2000\n\
             [knobs]\nconsumer_poll_ms = 20\nscheduler_poll_ms = 50\n",
            kafka.bootstrap_servers,
            kafka.prefix,
            database.host,
            user,
            database.database,
            database.schema,
        );
        fs::write(self.file(), text).expect("there is room for a file");
    }

    /// Adds to what the configuration says of Kafka and of the knobs.
    pub(super) fn tune(&self, kafka: &str, knobs: &str) {
        let text = fs::read_to_string(self.file()).expect("it was written");
        let text = text.replace("[kafka]\n", &format!("[kafka]\n{kafka}"));
        fs::write(self.file(), text + knobs).expect("there is room for a file");
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("serve.toml")
    }

    /// Runs `migrate`.
    pub(super) fn migrate(&self) -> Ran {
        self.ran("migrate", &[], self.schema.config().password.reveal())
    }

    /// Runs `migrate` with more variables in its environment.
    pub(super) fn migrate_under(&self, variables: &[(&str, &str)]) -> Ran {
        let file = self.file();
        let own = own_address(self.schema.config().password.reveal());
        let file = file.to_str().expect("a plain path");
        run_with(&[&own, variables].concat(), ["migrate", "--config", file])
    }

    /// Runs a command to its end, with that password.
    pub(super) fn ran(&self, command: &str, more: &[&str], password: &str) -> Ran {
        let file = self.file();
        let mut arguments = vec![command, "--config", file.to_str().expect("a plain path")];
        arguments.extend(more);
        run_with(&own_address(password), arguments)
    }

    /// Starts `serve`.
    pub(super) fn serve(&self, more: &[&str]) -> Serving {
        self.serve_with(more, self.schema.config().password.reveal())
    }

    /// Starts `serve` with more variables in its environment.
    pub(super) fn serve_under(&self, variables: &[(&str, &str)], more: &[&str]) -> Serving {
        self.start(variables, more, self.schema.config().password.reveal())
    }

    /// Starts `serve` with another password.
    pub(super) fn serve_with(&self, more: &[&str], password: &str) -> Serving {
        self.start(&[], more, password)
    }

    fn start(&self, variables: &[(&str, &str)], more: &[&str], password: &str) -> Serving {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let log = self.folder.path().join(format!("serve-{number}.log"));
        let mut command = Command::new(binary());
        command.arg("serve").arg("--config").arg(self.file());
        command.args(["--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0", "--harness"]);
        command.args(more).envs(own_address(password)).envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(fs::File::create(&log).expect("there is room for a log"));
        let mut child = command.spawn().expect("the binary has been built");
        let stdout = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        let mut serving = Serving { child, stdout, address: String::new(), log };
        serving.address = serving.next_address();
        serving
    }

    /// Sends messages to the raw topics.
    pub(super) fn send(&self, inputs: &[Input]) {
        let records = inputs.iter().map(|input| NewRecord {
            topic: input.topic,
            key: input.key.as_str().into(),
            value: input.value.clone().into_bytes(),
            headers: Headers::default(),
        });
        let client = kafka::Client::new(self.prefix.config(), "test");
        wait(async {
            let mut producer = client.producer().await.expect("a producer");
            producer.send(records.collect()).await.expect("the broker takes it");
        });
    }

    /// Waits until nothing is left to do.
    pub(super) fn settle(&self) {
        let config = self.prefix.config();
        let mut quiet = 0;
        until("everything is done", || {
            // A connection belongs to the runtime that opened it, and each wait has its own.
            let store = self.store();
            let (lag, backlog) = wait(async {
                (admin::lag(config, &GROUPS).await, store.query(ReadBacklog {}).await)
            });
            let done = lag == Ok(0)
                && backlog.as_ref().is_ok_and(|backlog| *backlog == Backlog::default());
            quiet = if done { quiet + 1 } else { 0 };
            (quiet >= 3).then_some(()).ok_or_else(|| format!("{lag:?} {backlog:?}"))
        });
    }

    /// The store of the place.
    pub(super) fn store(&self) -> postgres::Store {
        postgres::Store::new(self.schema.config(), "test")
    }

    /// The lines that a query answers, each one text.
    pub(super) fn lines(&self, sql: &str) -> Vec<String> {
        let options = self.schema.options();
        wait(async {
            let mut connection = PgConnection::connect_with(&options).await.expect("a connection");
            let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await;
            let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
            rows.iter().map(|row| row.get(0)).collect()
        })
    }
}

/// The file says where the servers are, whatever the environment of the tests names.
fn own_address(password: &str) -> [(&str, &str); 3] {
    [("BACKDATE_KAFKA", ""), ("BACKDATE_POSTGRES", ""), ("BACKDATE_POSTGRES_PASSWORD", password)]
}

/// A process that serves.
pub(super) struct Serving {
    child: Child,
    stdout: BufReader<ChildStdout>,
    address: String,
    log: PathBuf,
}

impl Serving {
    /// The next address that it has printed: of metrics and health, then of the API.
    pub(super) fn next_address(&mut self) -> String {
        let mut address = String::new();
        self.stdout.read_line(&mut address).expect("a line or the end");
        assert!(!address.is_empty(), "{}", self.log());
        address.trim().trim_start_matches("http://").to_owned()
    }

    /// Status and body of an answer.
    pub(super) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            .expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers in UTF-8");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.expect("a status"), body.to_owned())
    }

    /// Waits until it is ready.
    pub(super) fn until_ready(&self) {
        until("it is ready", || match self.get("/readyz") {
            (200, _) => Ok(()),
            (_, body) => Err(format!("{body}\n{}", self.log())),
        });
    }

    /// Waits until it is not ready for a reason that has these words in it.
    pub(super) fn until_reason(&self, words: &[&str]) {
        until(&format!("a reason says {words:?}"), || {
            let (status, body) = self.get("/readyz");
            let said = status == 503 && words.iter().all(|word| body.contains(word));
            said.then_some(()).ok_or(body)
        });
    }

    /// The value of a metric, labels included in the name; none if it is not there.
    pub(super) fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics");
        let mut values = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        values.next().and_then(|value| value.parse().ok())
    }

    /// All that it has logged.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("its log is a file")
    }

    /// Its log, line by line; panics at one that is not an object with time, level and message.
    pub(super) fn log_lines(&self) -> Vec<Value> {
        let parse = |line: &str| {
            let parsed: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
            for field in ["time", "level", "message"] {
                assert!(parsed[field].is_string(), "no {field}: {line}");
            }
            parsed
        };
        self.log().lines().map(parse).collect()
    }

    /// Its id.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub(super) fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.expect("there is a kill").success());
    }

    /// Says something on its stdin.
    pub(super) fn tell(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("its input is a pipe");
        writeln!(stdin, "{line}").expect("it reads");
    }

    /// Ends its stdin.
    pub(super) fn hang_up(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Whether it runs.
    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end; its exit code, none if a signal ended it, and how long that took.
    #[allow(clippy::disallowed_methods, reason = "a real process ends in real time")]
    pub(super) fn ended(&mut self) -> (Option<i32>, Duration) {
        let begun = Instant::now();
        let code = until("it ends", || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status.code()),
            _ => Err(fs::read_to_string(&self.log).unwrap_or_default()),
        });
        (code, begun.elapsed())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tries until it succeeds; panics with what it said last.
#[allow(clippy::disallowed_methods, reason = "real servers take real time")]
pub(super) fn until<T>(what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match attempt() {
            Ok(found) => return found,
            Err(said) => assert!(begun.elapsed() < PATIENCE, "in vain until {what}: {said}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Runs a future on a runtime of its own.
pub(super) fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    tokio::task::LocalSet::new().block_on(&runtime.expect("a runtime can be built"), future)
}
