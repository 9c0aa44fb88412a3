//! The engine's instances as processes of the operating system, so that a kill is a kill.
//!
//! Each is this very binary with `serve`, in a process group of its own (Ctrl-C is for the
//! harness), and ends by itself when its standard input ends, whatever becomes of the harness.
//! What it reports comes as JSON lines on its standard error; all lines are kept in a file.
//!
//! # Invariants
//! - A death that nobody asked for is a failure of the run, with the last lines of the instance.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::time::Duration;

use backdate_engine::ports::host::{Side, Signal};
use backdate_engine::ports::store::StoreError;
use backdate_engine::runtime::ProcessKind;
use backdate_reports::recording::CrashCause;
use nix::sys::signal::{Signal as Kill, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use smol_str::SmolStr;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::Notify;

use super::backstage::{Observation, Observe};
use super::clock;
use crate::serve::config;

/// Lines that are shown of an instance that died.
const LAST_LINES: usize = 5;
/// How long a killed process may take to be gone.
const GONE: Duration = Duration::from_secs(10);

/// How to start an instance.
pub(super) struct Role {
    pub(super) kind: ProcessKind,
    pub(super) name: SmolStr,
    /// Its configuration.
    pub(super) config: PathBuf,
    /// Where its lines are kept.
    pub(super) log: PathBuf,
}

/// All instances; clones share them.
#[derive(Clone)]
pub(super) struct Troupe(Rc<Inner>);

struct Inner {
    binary: PathBuf,
    observe: Observe,
    instances: BTreeMap<SmolStr, Rc<Instance>>,
}

struct Instance {
    role: Role,
    life: RefCell<Option<Life>>,
    /// Pauses that are under way.
    pauses: RefCell<u32>,
    /// Where it is to die.
    point: RefCell<Option<CrashCause>>,
    /// Whether its last death was the one at its point.
    died_there: Cell<bool>,
    /// Whether the operator has given up waiting for that.
    is_late: Cell<bool>,
    /// Told at each death.
    died: Notify,
}

struct Life {
    process: Pid,
    input: Option<ChildStdin>,
    /// Whether the harness has killed it.
    is_killed: bool,
}

/// What the harness reads of a line.
#[derive(Deserialize)]
struct Line {
    signal: Option<Signal>,
}

impl Troupe {
    pub(super) fn new(binary: PathBuf, roles: Vec<Role>, observe: Observe) -> Self {
        let instance = |role: Role| {
            let name = role.name.clone();
            let instance = Instance {
                role,
                life: RefCell::default(),
                pauses: RefCell::default(),
                point: RefCell::default(),
                died_there: Cell::default(),
                is_late: Cell::default(),
                died: Notify::new(),
            };
            (name, Rc::new(instance))
        };
        let instances = roles.into_iter().map(instance).collect();
        Self(Rc::new(Inner { binary, observe, instances }))
    }

    /// Starts everybody.
    pub(super) fn start_all(&self) {
        for name in self.0.instances.keys() {
            self.start(name);
        }
    }

    fn find(&self, name: &str) -> Option<Rc<Instance>> {
        self.0.instances.get(name).cloned()
    }

    /// Starts an instance that is down; of one that is up, nothing happens.
    pub(super) fn start(&self, name: &str) {
        let Some(instance) = self.find(name) else { return };
        if instance.life.borrow().is_some() {
            return;
        }
        let started = self.spawn(&instance.role);
        let (child, log) = match started {
            Ok(started) => started,
            Err(error) => {
                let text = format!("{name} cannot be started: {error}");
                return self.0.observe.fail(text);
            }
        };
        self.0.observe.see(name, Observation::Started);
        let troupe = self.clone();
        clock::spawn(async move { troupe.attend(instance, child, log).await });
    }

    fn spawn(&self, role: &Role) -> std::io::Result<(Child, BufWriter<File>)> {
        let log = File::options().create(true).append(true).open(&role.log)?;
        let mut command = Command::new(&self.0.binary);
        command.args(["serve", role.kind.as_str(), "--name", &role.name, "--harness", "--config"]);
        command.arg(&role.config);
        // Its file says all; the environment would decide over it.
        for variable in [
            config::KAFKA,
            config::POSTGRES,
            config::PASSWORD,
            config::api::LISTEN,
            config::api::READ_TOKEN,
            config::api::OPERATE_TOKEN,
        ] {
            command.env_remove(variable);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        let child = command.spawn()?;
        let process = child.id().map_or(0, u32::cast_signed);
        let life = Life { process: Pid::from_raw(process), input: None, is_killed: false };
        let instance = self.find(&role.name).expect("a role is that of an instance");
        *instance.life.borrow_mut() = Some(life);
        Ok((child, BufWriter::new(log)))
    }

    /// Reads what an instance writes until it is gone.
    async fn attend(&self, instance: Rc<Instance>, mut child: Child, mut log: BufWriter<File>) {
        if let Some(life) = instance.life.borrow_mut().as_mut() {
            life.input = child.stdin.take();
        }
        let output = child.stderr.take().expect("its standard error is a pipe");
        let mut lines = BufReader::new(output).lines();
        let mut last = VecDeque::new();
        while let Ok(Some(line)) = lines.next_line().await {
            // A disk that is full takes the lines away, not the run.
            let _ = writeln!(log, "{line}");
            if let Ok(Line { signal: Some(signal) }) = serde_json::from_str(&line) {
                self.report(&instance.role.name, signal);
            } else {
                last.push_back(line);
                if last.len() > LAST_LINES {
                    last.pop_front();
                }
            }
        }
        let _ = log.flush();
        let status = child.wait().await;
        let life = instance.life.borrow_mut().take();
        let is_killed = life.is_none_or(|life| life.is_killed);
        let point = instance.point.borrow_mut().take();
        let aborted = |status: &ExitStatus| status.signal() == Some(Kill::SIGABRT as i32);
        let is_late = instance.is_late.take();
        instance.died_there.set(false);
        match (is_killed, point, status) {
            (true, ..) => {}
            (false, Some(point), Ok(status)) if aborted(&status) => {
                self.0.observe.see(&instance.role.name, Observation::Crashed(point));
                instance.died_there.set(true);
                if is_late {
                    // Nobody waits for it any more; it starts again at once.
                    self.start(&instance.role.name);
                }
            }
            (false, _, status) => {
                let how = status.map_or_else(|error| error.to_string(), |s| s.to_string());
                let name = &instance.role.name;
                let said: Vec<String> = last.into();
                let said = said.join("\n  ");
                self.0.observe.fail(format!("{name} ended by itself ({how}):\n  {said}"));
            }
        }
        instance.died.notify_waiters();
    }

    fn report(&self, name: &SmolStr, signal: Signal) {
        // What the oracle knows of deadlocks on a real database is what an instance owns up to.
        if let Signal::Trouble { during, error } = &signal
            && error.contains("40P01")
        {
            let (statement, error) = (during.clone(), StoreError::Deadlock);
            self.0.observe.see(name, Observation::Aborted { statement, error });
        }
        self.0.observe.see(name, Observation::Signal(signal));
    }

    /// Kills an instance and waits until it is gone.
    pub(super) async fn kill(&self, name: &str) {
        let Some(instance) = self.find(name) else { return };
        let died = instance.died.notified();
        let process = match instance.life.borrow_mut().as_mut() {
            Some(life) => {
                life.is_killed = true;
                life.process
            }
            None => return,
        };
        self.0.observe.see(name, Observation::Crashed(CrashCause::Scheduled));
        // A process that is gone already needs no signal.
        let _ = kill(process, Kill::SIGKILL);
        if clock::within(GONE, died).await.is_none() {
            self.0.observe.fail(format!("{name} was killed and is still there"));
        }
        *instance.pauses.borrow_mut() = 0;
    }

    /// Freezes an instance; pauses are counted.
    pub(super) fn pause(&self, name: &str) {
        let Some(instance) = self.find(name) else { return };
        *instance.pauses.borrow_mut() += 1;
        instance.signal(Kill::SIGSTOP);
    }

    /// Takes a pause back; after the last the instance goes on.
    pub(super) fn resume(&self, name: &str) {
        let Some(instance) = self.find(name) else { return };
        let left = {
            let mut pauses = instance.pauses.borrow_mut();
            *pauses = pauses.saturating_sub(1);
            *pauses
        };
        if left == 0 {
            instance.signal(Kill::SIGCONT);
        }
    }

    /// Lets an instance die at a named point; whether it did within that time. Another death on the
    /// way is not that one, and who caused it also starts the instance again.
    pub(super) async fn die_at(&self, name: &str, cause: CrashCause, limit: Duration) -> bool {
        let CrashCause::Point { process, call, side, pass } = &cause else { return false };
        let side = match side {
            Side::Before => "before",
            Side::After => "after",
        };
        let line = format!("crash {process} {call} {side} {pass}\n");
        let Some(instance) = self.find(name) else { return false };
        let died = instance.died.notified();
        *instance.point.borrow_mut() = Some(cause);
        if !instance.tell(&line).await {
            return false;
        }
        let has_died = clock::within(limit, died).await.is_some();
        // An instance does not forget a point: if its pass comes later, it dies all the same.
        instance.is_late.set(!has_died);
        has_died && instance.died_there.get()
    }

    /// Ends everybody.
    pub(super) async fn end_all(&self) {
        for instance in self.0.instances.values() {
            if let Some(life) = instance.life.borrow_mut().as_mut() {
                life.is_killed = true;
                life.input = None;
                let _ = kill(life.process, Kill::SIGKILL);
            }
        }
        let any = || self.0.instances.values().any(|i| i.life.borrow().is_some());
        for _ in 0..500 {
            if !any() {
                return;
            }
            clock::sleep(Duration::from_millis(10)).await;
        }
        self.0.observe.fail("instances were killed and are still there".to_owned());
    }
}

impl Instance {
    fn signal(&self, signal: Kill) {
        if let Some(life) = &*self.life.borrow() {
            // A process that is gone already needs no signal.
            let _ = kill(life.process, signal);
        }
    }

    /// Writes a line to its standard input; whether there was one.
    async fn tell(&self, line: &str) -> bool {
        let input = self.life.borrow_mut().as_mut().and_then(|life| life.input.take());
        let Some(mut input) = input else { return false };
        let is_told = input.write_all(line.as_bytes()).await.is_ok();
        if let Some(life) = self.life.borrow_mut().as_mut() {
            life.input = Some(input);
        }
        is_told
    }
}
