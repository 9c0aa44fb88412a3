//! Workers in parallel: each lane keeps one worker process busy with one item after the other.
//!
//! A worker that dies is replaced and its item is tried once more; an item whose worker dies twice
//! is lost, and the sweep goes on without it. The order in which items end is the machine's, which
//! is why nobody may rely on it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::Stdio;

use backdate_reports::sweep::RunResult;
use futures_util::future::{Either, join_all, select};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use super::worker::{Answer, Request};

/// The hidden command that makes a process a worker.
pub const WORKER_COMMAND: &str = "sweep-worker";
/// Lines of what a worker said that are kept.
const KEPT_LINES: usize = 20;
/// How often an item is tried.
const TRIES: u32 = 2;

/// What a pool tells.
#[derive(Debug)]
pub enum Told {
    /// A run has a result.
    Done(Box<RunResult>),
    /// A worker has died; its item is tried once more.
    Retried(Request, String),
    /// The worker has died again.
    Lost(Request, String),
    /// The sweep cannot go on: a file is gone, a disk is full.
    Stopped(Answer),
}

/// How a pool ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// No item was left.
    Complete,
    /// Who listens had heard enough.
    Enough,
    /// A signal: Ctrl-C, or a batch system that wants its machine back.
    Signal,
}

/// What is run, and who listens.
pub struct Pool<'a> {
    /// This very binary.
    pub binary: PathBuf,
    /// What a worker is told on its command line.
    pub arguments: Vec<String>,
    /// Workers.
    pub jobs: usize,
    /// The next item, if any is left.
    pub next: &'a mut dyn FnMut() -> Option<Request>,
    /// Hears of everything as it happens.
    pub told: &'a mut dyn FnMut(Told) -> ControlFlow<()>,
}

impl Pool<'_> {
    /// Runs until nothing is left, a signal arrives or who listens has heard enough. Workers that
    /// are busy then are killed.
    pub fn run(self) -> std::io::Result<Ended> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Shared {
            binary: self.binary,
            arguments: self.arguments,
            next: RefCell::new(self.next),
            told: RefCell::new(self.told),
            is_enough: Cell::new(false),
            enough: Notify::new(),
        };
        runtime.block_on(async {
            let lanes = join_all((0..self.jobs).map(|_| lane(&shared)));
            let mut stop = stop_signals()?;
            let stopped = async {
                let enough = std::pin::pin!(shared.enough.notified());
                match select(enough, std::pin::pin!(stop.recv())).await {
                    Either::Left(_) => Ended::Enough,
                    Either::Right(_) => Ended::Signal,
                }
            };
            let (lanes, stopped) = (std::pin::pin!(lanes), std::pin::pin!(stopped));
            Ok(match select(lanes, stopped).await {
                Either::Left((results, _)) => {
                    results.into_iter().collect::<std::io::Result<Vec<()>>>()?;
                    if shared.is_enough.get() { Ended::Enough } else { Ended::Complete }
                }
                Either::Right((ended, _)) => ended,
            })
        })
    }
}

/// What all lanes share; they take turns, on one thread.
struct Shared<'a> {
    binary: PathBuf,
    arguments: Vec<String>,
    next: RefCell<&'a mut dyn FnMut() -> Option<Request>>,
    told: RefCell<&'a mut dyn FnMut(Told) -> ControlFlow<()>>,
    is_enough: Cell<bool>,
    enough: Notify,
}

impl Shared<'_> {
    fn next(&self) -> Option<Request> {
        if self.is_enough.get() { None } else { (self.next.borrow_mut())() }
    }

    fn tell(&self, told: Told) {
        if (self.told.borrow_mut())(told).is_break() {
            self.is_enough.set(true);
            self.enough.notify_one();
        }
    }
}

/// Keeps a worker busy; fails only if none can be started.
async fn lane(shared: &Shared<'_>) -> std::io::Result<()> {
    let mut worker = None;
    while let Some(request) = shared.next() {
        for tries in 1..=TRIES {
            let busy = match worker.take() {
                Some(busy) => busy,
                None => Worker::start(shared)?,
            };
            match busy.ask(&request).await {
                Ok((idle, Answer::Done(result))) => {
                    worker = Some(idle);
                    shared.tell(Told::Done(result));
                    break;
                }
                Ok((_, answer)) => {
                    shared.tell(Told::Stopped(answer));
                    return Ok(());
                }
                Err(said) if tries < TRIES => shared.tell(Told::Retried(request.clone(), said)),
                Err(said) => shared.tell(Told::Lost(request.clone(), said)),
            }
        }
    }
    Ok(())
}

/// A worker process.
struct Worker {
    child: Child,
    stdin: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    says: Lines<BufReader<ChildStderr>>,
    said: VecDeque<String>,
}

impl Worker {
    fn start(shared: &Shared<'_>) -> std::io::Result<Self> {
        let mut command = Command::new(&shared.binary);
        command.arg(WORKER_COMMAND).args(&shared.arguments).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A terminal sends Ctrl-C to a whole group; the workers are ended by the sweep.
        command.process_group(0);
        let mut child = command.spawn()?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        Ok(Self {
            child,
            stdin: stdin.expect("it is piped"),
            answers: BufReader::new(stdout.expect("it is piped")).lines(),
            says: BufReader::new(stderr.expect("it is piped")).lines(),
            said: VecDeque::new(),
        })
    }

    /// Has an item run; if the worker dies, how it ended and what it said.
    async fn ask(mut self, request: &Request) -> Result<(Self, Answer), String> {
        let mut line = serde_json::to_string(request).expect("a request is plain data");
        line.push('\n');
        // A worker that does not take it is dead, which its output will tell.
        let _ = self.stdin.write_all(line.as_bytes()).await;
        let mut is_silent = false;
        loop {
            tokio::select! {
                answer = self.answers.next_line() => {
                    let Ok(Some(line)) = answer else { break };
                    match serde_json::from_str(&line) {
                        Ok(answer) => return Ok((self, answer)),
                        Err(_) => self.hear(line),
                    }
                }
                said = self.says.next_line(), if !is_silent => match said {
                    Ok(Some(line)) => self.hear(line),
                    _ => is_silent = true,
                },
            }
        }
        while let Ok(Some(line)) = self.says.next_line().await {
            self.hear(line);
        }
        let ended = match self.child.wait().await {
            Ok(status) => format!("the worker ended: {status}"),
            Err(error) => format!("the worker is gone: {error}"),
        };
        Err([vec![ended], self.said.into()].concat().join("\n"))
    }

    fn hear(&mut self, line: String) {
        if self.said.len() == KEPT_LINES {
            self.said.pop_front();
        }
        self.said.push_back(line);
    }
}

/// What ends a sweep in good order.
struct StopSignals(Vec<tokio::signal::unix::Signal>);

fn stop_signals() -> std::io::Result<StopSignals> {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    kinds.into_iter().map(signal).collect::<std::io::Result<_>>().map(StopSignals)
}

impl StopSignals {
    async fn recv(&mut self) {
        let signals = self.0.iter_mut().map(|signal| Box::pin(signal.recv()));
        futures_util::future::select_all(signals).await;
    }
}
