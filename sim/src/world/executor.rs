//! Tasks: where they live, which of them are ready, and which ready one runs next.
//!
//! A task is a boxed future in a slab, named by slot and generation. Its waker does nothing but
//! put that name into the list of ready tasks, so the socket layer may wake from inside its own
//! borrow, and a waker that outlives its task is harmless. Wakers must be `Send`, hence the `Arc`
//! and the uncontended mutex (some 20 ns a wake); the futures themselves are not, and no other
//! thread is ever involved.
//!
//! With [`TaskChoice::Seeded`] the next task is drawn from all that are ready, which explores
//! interleavings that first-in-first-out never shows. It refuses to run anything itself: polling
//! needs the world around it (see `world.rs`).
//!
//! # Invariants
//! - A task is at most once in the list of ready tasks.
//! - Slots are reused in an order that depends on the run alone, never on addresses.

use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use super::course::{Course, Stream, StreamName};

/// Turns that other processes have between two of a starved one: so that a process of some
/// hundred turns a second has a few.
const OTHERS_FIRST: u32 = 20;

/// Which ready task runs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskChoice {
    /// Drawn from the scheduler's stream.
    Seeded,
    /// First in, first out.
    Fifo,
}

/// A task of a process.
pub(super) type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

/// Names a task for as long as the world lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskId {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

#[derive(Default)]
struct Ready(Mutex<VecDeque<TaskId>>);

impl Ready {
    fn with<T>(&self, apply: impl FnOnce(&mut VecDeque<TaskId>) -> T) -> T {
        // A panic of a task leaves the list whole: it is never held across a poll.
        apply(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct TaskWaker {
    id: TaskId,
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.with(|ready| ready.push_back(self.id));
        }
    }
}

/// A task, taken out of its slot while it is polled.
pub(super) struct Task {
    pub(super) process: u16,
    pub(super) future: LocalFuture,
    pub(super) waker: Waker,
    state: Arc<TaskWaker>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    task: Option<Task>,
}

/// All tasks of a world.
pub(super) struct Tasks {
    slots: Vec<Slot>,
    free: Vec<u32>,
    ready: Arc<Ready>,
    choice: TaskChoice,
    rng: Stream,
    starving: Starving,
}

/// Tasks of the process that has the lowest priority.
#[derive(Default)]
struct Starving {
    process: Option<u16>,
    /// Those that are ready, in the order in which they were found.
    held: VecDeque<TaskId>,
    /// Turns of others since the last of its own.
    turns: u32,
}

impl Starving {
    /// The task whose turn it is, after enough turns of others.
    fn turn(&mut self) -> Option<TaskId> {
        if self.turns < OTHERS_FIRST {
            return None;
        }
        let id = self.held.pop_front()?;
        self.turns = 0;
        Some(id)
    }

    /// Counts a turn; whether it is not that task's turn yet.
    fn holds(&mut self, id: TaskId, process: u16) -> bool {
        let Some(starved) = self.process else { return false };
        if starved == process {
            self.held.push_back(id);
            return true;
        }
        self.turns = self.turns.saturating_add(1);
        false
    }
}

impl Tasks {
    pub(super) fn new(choice: TaskChoice, seed: u64, course: &Rc<Course>) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            ready: Arc::default(),
            choice,
            rng: Stream::new(seed, "scheduler", StreamName::Scheduler, course),
            starving: Starving::default(),
        }
    }

    /// Gives a process the lowest priority from now on, or none.
    pub(super) fn starve(&mut self, process: Option<u16>) {
        self.starving.process = process;
        let held = std::mem::take(&mut self.starving.held);
        self.ready.with(|ready| ready.extend(held));
    }

    /// Adds a task that is ready to run.
    pub(super) fn spawn(&mut self, process: u16, future: LocalFuture) -> TaskId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 tasks")
        });
        let place = &mut self.slots[slot as usize];
        let id = TaskId { slot, generation: place.generation };
        let state = Arc::new(TaskWaker {
            id,
            queued: AtomicBool::new(true),
            ready: Arc::clone(&self.ready),
        });
        place.task = Some(Task { process, future, waker: Waker::from(Arc::clone(&state)), state });
        self.ready.with(|ready| ready.push_back(id));
        id
    }

    /// Takes the next ready task out of its slot; `None` when none is ready.
    pub(super) fn next(&mut self) -> Option<(TaskId, Task)> {
        loop {
            let turn = self.starving.turn();
            let id = match turn {
                Some(id) => id,
                None => self.choose()?,
            };
            let place = &mut self.slots[id.slot as usize];
            if place.generation != id.generation {
                continue;
            }
            let Some(task) = place.task.take() else { continue };
            if turn.is_none() && self.starving.holds(id, task.process) {
                place.task = Some(task);
                continue;
            }
            task.state.queued.store(false, Ordering::Relaxed);
            return Some((id, task));
        }
    }

    /// Takes one of the ready tasks out of their list.
    fn choose(&mut self) -> Option<TaskId> {
        let (choice, rng) = (self.choice, &mut self.rng);
        self.ready.with(|ready| match (choice, ready.len()) {
            (TaskChoice::Fifo, _) | (_, 0 | 1) => ready.pop_front(),
            (TaskChoice::Seeded, len) => {
                let drawn = rng.below(len as u64);
                ready.swap_remove_back(usize::try_from(drawn).expect("an index"))
            }
        })
    }

    /// Puts a task back that is not done.
    pub(super) fn put_back(&mut self, id: TaskId, task: Task) {
        self.slots[id.slot as usize].task = Some(task);
    }

    /// Forgets a task that was taken out and is done.
    pub(super) fn finish(&mut self, id: TaskId) {
        let place = &mut self.slots[id.slot as usize];
        place.generation += 1;
        self.free.push(id.slot);
    }

    /// Takes all tasks of a process out, for the caller to drop.
    pub(super) fn take_all(&mut self, process: u16) -> Vec<Task> {
        let mut taken = Vec::new();
        for slot in 0..self.slots.len() {
            let place = &mut self.slots[slot];
            if place.task.as_ref().is_some_and(|task| task.process == process) {
                taken.extend(place.task.take());
                place.generation += 1;
                self.free.push(u32::try_from(slot).expect("fewer than 2^32 tasks"));
            }
        }
        taken
    }
}
