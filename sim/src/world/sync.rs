//! Waiting between tasks of one thread: [`Notify`], [`Workers`] and [`timeout`].
//!
//! Their queues are first-in-first-out, so that who is woken is decided here and the order in which
//! the woken run is decided by the scheduler alone. A waiter that is dropped after it was chosen
//! hands its turn on.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::process::Process;

#[derive(Default)]
struct Queue {
    /// Turns that nobody has taken.
    turns: usize,
    /// Whoever waits, by ticket.
    waiting: VecDeque<(u64, Waker)>,
    /// Tickets that were given a turn and have not noticed yet.
    chosen: Vec<u64>,
    next_ticket: u64,
}

impl Queue {
    fn wake_first(&mut self) -> bool {
        let Some((ticket, waker)) = self.waiting.pop_front() else {
            return false;
        };
        self.chosen.push(ticket);
        waker.wake();
        true
    }

    fn poll(&mut self, ticket: &mut Option<u64>, cx: &mut Context<'_>) -> Poll<()> {
        match *ticket {
            None if self.turns > 0 => {
                self.turns -= 1;
                return Poll::Ready(());
            }
            None => {
                *ticket = Some(self.next_ticket);
                self.waiting.push_back((self.next_ticket, cx.waker().clone()));
                self.next_ticket += 1;
            }
            Some(mine) => {
                if let Some(index) = self.chosen.iter().position(|chosen| *chosen == mine) {
                    self.chosen.swap_remove(index);
                    *ticket = None;
                    return Poll::Ready(());
                }
                let waiting = &mut self.waiting;
                if let Some((_, waker)) = waiting.iter_mut().find(|(other, _)| *other == mine) {
                    waker.clone_from(cx.waker());
                }
            }
        }
        Poll::Pending
    }

    /// Forgets a waiter; whether a turn of it goes begging.
    fn leave(&mut self, ticket: u64) -> bool {
        self.waiting.retain(|(other, _)| *other != ticket);
        let chosen = self.chosen.iter().position(|chosen| *chosen == ticket);
        chosen.map(|index| self.chosen.swap_remove(index)).is_some()
    }
}

/// Wakes tasks that wait for something to happen. Clones are the same.
#[derive(Clone, Default)]
pub struct Notify(Rc<RefCell<Queue>>);

impl Notify {
    /// Nobody waits yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes the first that waits; if nobody does, the next that comes does not wait.
    pub fn notify_one(&self) {
        let mut queue = self.0.borrow_mut();
        if !queue.wake_first() {
            queue.turns = 1;
        }
    }

    /// Wakes all that wait now.
    pub fn notify_all(&self) {
        let mut queue = self.0.borrow_mut();
        while queue.wake_first() {}
    }

    /// Waits for a notification. It counts as waiting from its first poll on.
    pub fn notified(&self) -> Notified {
        Notified { notify: self.clone(), ticket: None }
    }
}

/// Waits for a notification.
pub struct Notified {
    notify: Notify,
    ticket: Option<u64>,
}

impl Future for Notified {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let mut queue = this.notify.0.borrow_mut();
        queue.poll(&mut this.ticket, cx)
    }
}

impl Drop for Notified {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let left = self.notify.0.borrow_mut().leave(ticket);
            if left {
                self.notify.notify_one();
            }
        }
    }
}

/// A bounded number of workers, lent out first come, first served. Clones are the same.
#[derive(Clone)]
pub struct Workers(Rc<RefCell<Queue>>);

impl Workers {
    /// That many workers.
    pub fn new(workers: usize) -> Self {
        let queue = Queue { turns: workers, ..Queue::default() };
        Self(Rc::new(RefCell::new(queue)))
    }

    /// Waits for a worker; it is given back when the permit is dropped.
    pub async fn acquire(&self) -> Permit {
        let mut waiting = Acquire { workers: self.clone(), ticket: None };
        poll_fn(|cx| {
            let mut queue = waiting.workers.0.borrow_mut();
            queue.poll(&mut waiting.ticket, cx)
        })
        .await;
        Permit(self.clone())
    }

    /// Workers that are free.
    pub fn available(&self) -> usize {
        self.0.borrow().turns
    }

    /// Tasks that wait for one.
    pub fn waiting(&self) -> usize {
        self.0.borrow().waiting.len()
    }

    fn give_back(&self) {
        let mut queue = self.0.borrow_mut();
        if !queue.wake_first() {
            queue.turns += 1;
        }
    }
}

struct Acquire {
    workers: Workers,
    ticket: Option<u64>,
}

impl Drop for Acquire {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let left = self.workers.0.borrow_mut().leave(ticket);
            if left {
                self.workers.give_back();
            }
        }
    }
}

/// A worker at work.
pub struct Permit(Workers);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

/// What the future gives, or `None` if it takes longer than that.
pub async fn timeout<T>(
    process: &Process,
    duration: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = pin!(future);
    let mut sleep = pin!(process.sleep(duration));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
    })
    .await
}
