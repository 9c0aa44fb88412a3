//! A real Kafka and a real PostgreSQL for tests: those that the environment names, else servers of
//! this test process.
//!
//! `BACKDATE_KAFKA` (`host:port`) and `BACKDATE_POSTGRES` (`postgres://..`) name servers that are
//! there already. What they do not name is started by the scripts beside this file, once per test
//! process and in a folder of its own under `target/services`, and is gone when the process has
//! ended, however it ends. A test never skips: without a server it fails and says what to install.
//!
//! # Invariants
//! - What a test makes has a name that no other test has, and goes away with its guard.
//! - Only servers that this process has started are stopped or killed.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use backdate_engine::adapters::kafka::config::KafkaConfig;
use backdate_engine::adapters::postgres::config::PostgresConfig;

use crate::support::variable;

mod fresh;

pub(crate) use fresh::{DatabaseSettings, FreshDatabase, FreshPrefix, FreshSchema};

/// Both services, for every test of this process.
pub(crate) struct Services {
    kafka: Service,
    postgres: Service,
}

/// One service.
pub(crate) struct Service {
    name: &'static str,
    address: String,
    /// Folder of a server that this process has started.
    folder: Option<PathBuf>,
}

/// A server of one test, which may do to it what it likes; it goes away with its guard, however the
/// test process ends.
pub(crate) struct Private {
    service: Service,
    folder: PathBuf,
    guard: Child,
}

/// What a test can do to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Starts it on its old data.
    Start,
    /// SIGKILL.
    Kill,
}

impl Services {
    /// The services; the first call of the process starts what is missing.
    pub(crate) fn get() -> &'static Services {
        static SERVICES: OnceLock<Services> = OnceLock::new();
        SERVICES.get_or_init(|| {
            let folder = own_folder();
            let kafka = variable("BACKDATE_KAFKA");
            let postgres = variable("BACKDATE_POSTGRES");
            if kafka.is_none() || postgres.is_none() {
                static GUARD: OnceLock<Child> = OnceLock::new();
                GUARD.set(guard(&folder)).expect("services start once");
            }
            // One process waits for the JVM while the other one works.
            let broker = kafka.is_none().then(|| spawn("kafka", &folder.join("kafka"), Act::Start));
            let postgres = Service::of("postgres", postgres, &folder, None);
            Services { kafka: Service::of("kafka", kafka, &folder, broker), postgres }
        })
    }

    /// The broker.
    pub(crate) fn kafka(&self) -> &Service {
        &self.kafka
    }

    /// The database server.
    pub(crate) fn postgres(&self) -> &Service {
        &self.postgres
    }

    /// How to reach the broker, without a prefix.
    pub(crate) fn kafka_config(&self) -> KafkaConfig {
        self.kafka.kafka_config()
    }

    /// How to reach the database server, as its superuser.
    pub(crate) fn postgres_config(&self) -> PostgresConfig {
        self.postgres.postgres_config()
    }

    /// A name for the schema of one test; the schema itself is made by the adapter's migration.
    pub(crate) fn fresh_schema(&self) -> FreshSchema {
        FreshSchema::new(PostgresConfig { schema: fresh_name("test"), ..self.postgres_config() })
    }

    /// A prefix for the topics and groups of one test.
    pub(crate) fn fresh_prefix(&self) -> FreshPrefix {
        self.kafka.fresh_prefix()
    }
}

impl Service {
    fn of(name: &'static str, given: Option<String>, folder: &Path, start: Option<Child>) -> Self {
        if let Some(address) = given {
            return Self { name, address, folder: None };
        }
        let folder = folder.join(name);
        finish(name, start.unwrap_or_else(|| spawn(name, &folder, Act::Start)));
        let address = fs::read_to_string(folder.join("address"));
        let address = address.expect("a server that has started has an address");
        Self { name, address: address.trim().to_owned(), folder: Some(folder) }
    }

    /// `host:port`, or the URL of the database.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// How to reach a database server, as its superuser.
    fn postgres_config(&self) -> PostgresConfig {
        PostgresConfig::parse_url(&self.address).unwrap_or_else(|error| panic!("{error}"))
    }

    /// How to reach a broker, without a prefix.
    fn kafka_config(&self) -> KafkaConfig {
        KafkaConfig { bootstrap_servers: self.address.clone(), ..KafkaConfig::default() }
    }

    /// A prefix for the topics and groups of one test.
    fn fresh_prefix(&self) -> FreshPrefix {
        let prefix = format!("{}.", fresh_name("test"));
        FreshPrefix::new(KafkaConfig { prefix, ..self.kafka_config() })
    }

    /// A database of one test, with a role of its own that is no superuser.
    pub(crate) fn fresh_database(&self, settings: &DatabaseSettings) -> FreshDatabase {
        FreshDatabase::new(&self.postgres_config(), &fresh_name("test"), settings)
    }

    /// Starts or kills a server that this process has started.
    pub(crate) fn act(&self, act: Act) {
        let folder = self.folder.as_ref();
        let folder = folder.unwrap_or_else(|| panic!("{} belongs to somebody else", self.name));
        finish(self.name, spawn(self.name, folder, act));
    }
}

impl Private {
    /// Starts a broker.
    pub(crate) fn kafka() -> Self {
        Self::start("kafka")
    }

    /// Starts a database server.
    pub(crate) fn postgres() -> Self {
        Self::start("postgres")
    }

    /// Starts a Slurm of one node; its address is the path of its configuration.
    pub(crate) fn slurm() -> Self {
        Self::start("slurm")
    }

    /// Three brokers that are one cluster, for one test at a time; all of them run.
    pub(crate) fn kafka_cluster() -> MutexGuard<'static, Self> {
        static CLUSTER: OnceLock<Mutex<Private>> = OnceLock::new();
        let cluster = CLUSTER.get_or_init(|| Mutex::new(Self::start("kafka_cluster")));
        // A test that has failed may have left a broker down, which is put right here.
        let cluster = cluster.lock().unwrap_or_else(PoisonError::into_inner);
        (1..=3).for_each(|broker| cluster.act_on(broker, Act::Start));
        cluster
    }

    /// Starts or kills one broker of a cluster.
    pub(crate) fn act_on(&self, broker: u32, act: Act) {
        let folder = self.service.folder.as_ref().expect("it is our cluster");
        finish("kafka", spawn("kafka", &folder.join(broker.to_string()), act));
    }

    fn start(name: &'static str) -> Self {
        let folder = own_folder().join(fresh_name("private"));
        let guard = guard(&folder);
        Self { service: Service::of(name, None, &folder, None), folder, guard }
    }

    /// `host:port`, or the URL of the database.
    pub(crate) fn address(&self) -> &str {
        self.service.address()
    }

    /// The command that takes `start` and `kill` as its last word.
    pub(crate) fn control(&self) -> String {
        let folder = self.service.folder.as_ref().expect("it is our server");
        format!("bash '{}' '{}'", script(self.service.name).display(), folder.display())
    }

    /// Starts or kills it.
    pub(crate) fn act(&self, act: Act) {
        self.service.act(act);
    }

    /// Where it keeps its data.
    pub(crate) fn data(&self) -> PathBuf {
        self.service.folder.as_ref().expect("it is our server").join("data")
    }

    /// A folder on a disk of its own with that many bytes, for the owner of the data; none where
    /// mounting is not allowed.
    pub(crate) fn disk(&self, bytes: u64) -> Option<PathBuf> {
        // The owner of the data may not reach the folder of the server.
        let place = std::env::temp_dir().join(fresh_name("backdate-disk"));
        fs::create_dir(&place).expect("there is room for a folder");
        symlink(&place, self.folder.join("disk")).expect("a link can be made");
        let data = self.service.folder.as_ref().map(|folder| fs::metadata(folder.join("data")));
        let owner = data.expect("it is our server").expect("it has data").uid();
        let mut mount = Command::new("mount");
        let options = format!("size={bytes},mode=0700,uid={owner}");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&place);
        let done = mount.stderr(Stdio::null()).status();
        done.is_ok_and(|status| status.success()).then_some(place)
    }

    /// How to reach it, if it is a broker, under a fresh prefix.
    pub(crate) fn fresh_prefix(&self) -> FreshPrefix {
        self.service.fresh_prefix()
    }

    /// A database of one test, with a role of its own, if it is a database server.
    pub(crate) fn fresh_database(&self, settings: &DatabaseSettings) -> FreshDatabase {
        self.service.fresh_database(settings)
    }

    /// How to reach it, if it is a database server, in a fresh schema of that database.
    pub(crate) fn fresh_schema(&self, database: &str) -> FreshSchema {
        let config = self.service.postgres_config();
        let (database, schema) = (database.to_owned(), fresh_name("test"));
        FreshSchema::new(PostgresConfig { database, schema, ..config })
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // Nobody needs what it would write at a stop; the guard removes the rest.
        if let Some(folder) = &self.service.folder {
            let _ = spawn(self.service.name, folder, Act::Kill).wait();
        }
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// The folder of the jars that are read by Java; fetched at first.
pub(crate) fn jars() -> PathBuf {
    let mut command = Command::new("bash");
    let output = command.arg(script("jars")).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("bash: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "jars: {}\n{said}", output.status);
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

/// Another name at each call, in no other process either.
fn fresh_name(label: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{label}_{}_{:x}_{count}", std::process::id(), moment())
}

/// Distinguishes processes of one id on servers that outlive them.
#[allow(clippy::disallowed_methods, reason = "names of what is thrown away; nothing depends on it")]
fn moment() -> u64 {
    static MOMENT: OnceLock<u64> = OnceLock::new();
    *MOMENT.get_or_init(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
    })
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("services").join(format!("{name}.sh"))
}

fn own_folder() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package has a parent");
    root.join("target/services").join(format!("test-{}-{:x}", std::process::id(), moment()))
}

/// Starts the process that stops the servers when this one has ended: then its input ends.
fn guard(folder: &Path) -> Child {
    let mut command = Command::new("bash");
    command.arg(script("guard")).arg(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| panic!("bash: {error}"))
}

fn spawn(name: &str, folder: &Path, act: Act) -> Child {
    let act = match act {
        Act::Start => "start",
        Act::Kill => "kill",
    };
    let mut command = Command::new("bash");
    command.arg(script(name)).arg(folder).arg(act);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap_or_else(|error| panic!("bash: {error}"))
}

fn finish(name: &str, child: Child) {
    let output = child.wait_with_output().expect("a child can be waited for");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {}\n{said}", output.status);
}

#[test]
fn servers_answer() {
    let services = Services::get();
    let postgres = services.postgres_config();
    let kafka = services.kafka_config();
    for address in [format!("{}:{}", postgres.host, postgres.port), kafka.bootstrap_servers] {
        std::net::TcpStream::connect(&address).unwrap_or_else(|e| panic!("{address}: {e}"));
    }
    let schemas = [services.fresh_schema(), services.fresh_schema()];
    assert_ne!(schemas[0].config().schema, schemas[1].config().schema);
}
