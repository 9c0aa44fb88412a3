//! The host of an instance: its name, its tasks, where its signals go, when it stops and dies.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinHandle;

use super::crash::CrashPoints;
use crate::ports::host::{Answered, Host, Measure, Side, Signal};

/// A flag that asks instances to stop; all clones are one flag.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks to stop; that cannot be taken back.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether somebody has asked.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Where requests that were answered go.
pub type AccessLog = dyn Fn(Answered<'_>);

/// The host of one instance; clones are the same host. It lives in a `LocalSet` of tokio.
#[derive(Clone)]
pub struct ProcessHost(Rc<Inner>);

struct Inner {
    instance: String,
    sink: Rc<dyn Fn(Signal)>,
    meter: Rc<dyn Fn(Measure)>,
    access: Option<Rc<AccessLog>>,
    stop: Stop,
    points: CrashPoints,
    tasks: RefCell<Vec<JoinHandle<()>>>,
}

impl ProcessHost {
    /// The host of an instance such as `persistence-1`, which ignores what is counted.
    pub fn new(instance: &str, sink: Rc<dyn Fn(Signal)>, stop: Stop, points: CrashPoints) -> Self {
        Self::with_meter(instance, sink, Rc::new(|_| ()), stop, points)
    }

    /// The same, with a place for what is counted.
    pub fn with_meter(
        instance: &str,
        sink: Rc<dyn Fn(Signal)>,
        meter: Rc<dyn Fn(Measure)>,
        stop: Stop,
        points: CrashPoints,
    ) -> Self {
        let instance = instance.to_owned();
        let (access, tasks) = (None, RefCell::default());
        Self(Rc::new(Inner { instance, sink, meter, access, stop, points, tasks }))
    }

    /// The same, with a place for what was answered. Panics if there are clones already.
    pub fn with_access_log(mut self, access: Rc<AccessLog>) -> Self {
        let inner = Rc::get_mut(&mut self.0).expect("a host is finished before it is shared");
        inner.access = Some(access);
        self
    }

    /// Waits for all tasks that the instance has spawned; gives the panic of the first one that
    /// panicked on.
    pub async fn join_tasks(&self) {
        loop {
            let Some(task) = self.0.tasks.borrow_mut().pop() else { return };
            match task.await {
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Ok(()) | Err(_) => {}
            }
        }
    }

    /// Ends all tasks that the instance has spawned, wherever they are.
    pub fn abort_tasks(&self) {
        for task in self.0.tasks.borrow_mut().drain(..) {
            task.abort();
        }
    }
}

impl fmt::Debug for ProcessHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessHost").field("instance", &self.0.instance).finish_non_exhaustive()
    }
}

impl Host for ProcessHost {
    fn instance(&self) -> &str {
        &self.0.instance
    }

    async fn point(&self, process: &'static str, call: &'static str, side: Side) {
        self.0.points.pass(process, call, side);
    }

    fn emit(&self, signal: Signal) {
        (self.0.sink)(signal);
    }

    fn measure(&self, measure: Measure) {
        (self.0.meter)(measure);
    }

    fn answered(&self, request: Answered<'_>) {
        if let Some(access) = &self.0.access {
            access(request);
        }
    }

    fn is_stopping(&self) -> bool {
        self.0.stop.is_asked()
    }

    #[allow(clippy::disallowed_methods, reason = "this is the host port's own spawn")]
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let mut tasks = self.0.tasks.borrow_mut();
        tasks.retain(|task| !task.is_finished());
        tasks.push(tokio::task::spawn_local(task));
    }
}
