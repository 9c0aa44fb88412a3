//! The course of a run so far: which task ran last, and what was drawn last.
//!
//! Where two runs of one seed differ, this says where to look: a difference shows in an event, but
//! it came from the task that ran, or from what was drawn before. It is counted and hashed all the
//! time, which costs some nanoseconds a step, and put into words only when it is asked for.
//!
//! # Invariants
//! - Nothing here has an influence on a run, or on its fingerprint.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use smol_str::SmolStr;

use super::executor::TaskId;
use super::random;

/// An odd number without a pattern (2^64 over the golden ratio), to mix with.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream that the world draws from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamName {
    Scheduler,
    Network,
    Process { process: u16, incarnation: u32 },
}

/// The course of a run so far.
#[derive(Default)]
pub struct Course {
    /// Names of processes, by number.
    processes: RefCell<Vec<SmolStr>>,
    polls: Chain,
    task: Cell<Option<(u16, TaskId)>>,
    is_polling: Cell<bool>,
    draws: Chain,
    drawn: Cell<Option<(StreamName, u64)>>,
}

/// Counts, and hashes what is counted.
#[derive(Default)]
struct Chain {
    count: Cell<u64>,
    hash: Cell<u64>,
}

impl Chain {
    fn add(&self, word: u64) {
        self.count.set(self.count.get() + 1);
        self.hash.set((self.hash.get().rotate_left(5) ^ word).wrapping_mul(MIX));
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:016x})", self.count.get(), self.hash.get())
    }
}

impl Course {
    pub(super) fn add_process(&self, name: SmolStr) {
        self.processes.borrow_mut().push(name);
    }

    pub(super) fn begin_poll(&self, process: u16, task: TaskId) {
        self.polls.add(u64::from(task.slot) << 32 | u64::from(task.generation));
        self.task.set(Some((process, task)));
        self.is_polling.set(true);
    }

    pub(super) fn end_poll(&self) {
        self.is_polling.set(false);
    }

    fn draw(&self, name: StreamName, word: u64) {
        self.draws.add(word);
        self.drawn.set(Some((name, word)));
    }

    fn process(&self, number: u16) -> SmolStr {
        self.processes.borrow()[usize::from(number)].clone()
    }

    /// The task that runs now, or ran last; with the number of its turn and a hash over all turns.
    pub fn task(&self) -> impl fmt::Display + '_ {
        fmt::from_fn(|f| {
            let Some((process, TaskId { slot, generation })) = self.task.get() else {
                return f.write_str("none so far");
            };
            let name = self.process(process);
            let when = if self.is_polling.get() { "during" } else { "after" };
            write!(f, "{when} turn {} of {name}, task {slot}.{generation}", self.polls)
        })
    }

    /// What was drawn last, and from which stream; with its number and a hash over all draws.
    pub fn drawn(&self) -> impl fmt::Display + '_ {
        fmt::from_fn(|f| {
            let Some((name, word)) = self.drawn.get() else {
                return f.write_str("nothing so far");
            };
            write!(f, "{word:016x} from ")?;
            match name {
                StreamName::Scheduler => f.write_str("scheduler")?,
                StreamName::Network => f.write_str("network")?,
                StreamName::Process { process, incarnation } => {
                    write!(f, "process/{}/{incarnation}", self.process(process))?;
                }
            }
            write!(f, ", draw {}", self.draws)
        })
    }
}

/// A stream whose draws belong to the course of a run.
pub(super) struct Stream {
    rng: ChaCha8Rng,
    name: StreamName,
    course: Rc<Course>,
}

impl Stream {
    pub(super) fn new(root: u64, label: &str, name: StreamName, course: &Rc<Course>) -> Self {
        Self { rng: random::stream(root, label), name, course: Rc::clone(course) }
    }

    pub(super) fn next_u64(&mut self) -> u64 {
        let word = self.rng.next_u64();
        self.course.draw(self.name, word);
        word
    }

    /// A number below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        random::scaled(self.next_u64(), bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_last_is_told_and_what_came_before_shows_in_the_hashes() {
        let told = |words: &[u64], slots: &[u32]| {
            let course = Course::default();
            course.add_process("replayer-1".into());
            for slot in slots {
                course.begin_poll(0, TaskId { slot: *slot, generation: 2 });
                course.end_poll();
            }
            words.iter().for_each(|word| course.draw(StreamName::Network, *word));
            (course.task().to_string(), course.drawn().to_string())
        };
        let (task, drawn) = told(&[1, 2], &[3, 4]);
        assert!(task.starts_with("after turn 2 (") && task.ends_with("replayer-1, task 4.2"));
        assert!(drawn.starts_with("0000000000000002 from network, draw 2 ("), "{drawn}");
        assert_eq!(told(&[1, 2], &[3, 4]), (task.clone(), drawn.clone()));
        assert_ne!(told(&[5, 2], &[3, 4]).1, drawn);
        assert_ne!(told(&[1, 2], &[5, 4]).0, task);
        assert_eq!(told(&[], &[]), ("none so far".to_owned(), "nothing so far".to_owned()));
    }

    #[test]
    fn a_stream_draws_what_it_drew_without_a_course() {
        let course = Rc::default();
        let mut stream = Stream::new(7, "network", StreamName::Network, &course);
        let mut plain = random::stream(7, "network");
        assert_eq!(stream.next_u64(), plain.next_u64());
        assert_eq!(stream.below(1_000), random::below(&mut plain, 1_000));
        assert!(course.drawn().to_string().contains(", draw 2 ("));
    }
}
