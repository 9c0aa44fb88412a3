//! Drives sessions through a schedule and writes down what can be observed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use backdate_engine::for_each_statement;
use backdate_engine::ports::store::{AnyStatement, Store, StoreError, Transaction};
use serde_json::Value;
use tokio::sync::mpsc;

use super::schedule::{Act, Schedule};

/// A database with sessions on it.
pub(super) trait Stage {
    /// The store port.
    type Store: Store + 'static;

    /// The client of a session: one connection.
    fn store(&self, session: usize) -> Self::Store;

    /// Runs a task beside the caller.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);

    /// Waits until every session that has something to do has done it, or waits for another one
    /// and has looked for a deadlock. `is_loose`: a session was dropped and takes a moment to end.
    async fn settle(&self, sessions: &[Session], is_loose: bool);

    /// Rows of the tables that no statement of the port reads as they are.
    async fn rows(&self) -> Vec<String>;
}

/// What is known of a session.
pub(super) struct Session {
    state: Rc<State>,
    acts: mpsc::UnboundedSender<Act>,
}

#[derive(Default)]
struct State {
    is_busy: Cell<bool>,
    is_open: Cell<bool>,
    outcome: RefCell<Option<String>>,
}

impl Session {
    fn start<S: Stage>(stage: &S, number: usize) -> Self {
        let (acts, inbox) = mpsc::unbounded_channel();
        let state = Rc::new(State::default());
        stage.spawn(work(stage.store(number), inbox, Rc::clone(&state)));
        Self { state, acts }
    }

    /// Whether an act has not come to its end.
    pub(super) fn is_busy(&self) -> bool {
        self.state.is_busy.get()
    }

    /// Whether a transaction is open.
    pub(super) fn is_open(&self) -> bool {
        self.state.is_open.get()
    }

    fn give(&self, act: Act) {
        self.state.is_busy.set(true);
        self.acts.send(act).expect("a session ends after its last act");
    }

    fn take_outcome(&self) -> Option<String> {
        self.state.outcome.borrow_mut().take()
    }
}

/// Does what it is told, one act after the other.
async fn work<S: Store>(store: S, mut acts: mpsc::UnboundedReceiver<Act>, state: Rc<State>) {
    let mut open: Option<S::Transaction> = None;
    while let Some(act) = acts.recv().await {
        let outcome = match act {
            Act::Execute(statement) => {
                let mut transaction = match open.take() {
                    Some(transaction) => transaction,
                    None => store.begin().await.expect("the server is up"),
                };
                state.is_open.set(true);
                let outcome = execute(&mut transaction, statement).await;
                if outcome.is_ok() {
                    open = Some(transaction);
                }
                told(outcome)
            }
            Act::Query(statement) => told(query(&store, statement).await),
            Act::Commit => match open.take() {
                Some(transaction) => told(transaction.commit().await.map(|()| Value::Null)),
                None => String::from("nothing is open"),
            },
            Act::RollBack => {
                if let Some(transaction) = open.take() {
                    transaction.rollback().await;
                }
                String::from("done")
            }
            Act::Drop => {
                drop(open.take());
                String::from("done")
            }
        };
        state.is_open.set(open.is_some());
        *state.outcome.borrow_mut() = Some(outcome);
        state.is_busy.set(false);
    }
}

macro_rules! dispatch {
    ($($name:ident),+) => {
        async fn execute<T: Transaction>(
            transaction: &mut T,
            statement: AnyStatement,
        ) -> Result<Value, StoreError> {
            match statement {
                $(AnyStatement::$name(statement) => {
                    Box::pin(transaction.execute(statement)).await.map(|output| value(&output))
                })+
            }
        }

        async fn query<S: Store>(store: &S, statement: AnyStatement) -> Result<Value, StoreError> {
            match statement {
                $(AnyStatement::$name(statement) => {
                    Box::pin(store.query(statement)).await.map(|output| value(&output))
                })+
            }
        }
    };
}
for_each_statement!(dispatch);

fn value(output: &impl serde::Serialize) -> Value {
    let mut value = serde_json::to_value(output).expect("an answer is plain data");
    blank_times(&mut value);
    value
}

/// Times of the store differ from run to run.
fn blank_times(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(blank_times),
        Value::Object(fields) => {
            for (name, field) in fields {
                let is_time = ["updated_at", "lease_until", "not_before", "reprocessing_since"]
                    .contains(&name.as_str());
                match is_time && !field.is_null() {
                    true => *field = Value::from("(time)"),
                    false => blank_times(field),
                }
            }
        }
        _ => {}
    }
}

fn told(outcome: Result<Value, StoreError>) -> String {
    match outcome {
        Ok(Value::Null) => String::from("done"),
        Ok(value) => value.to_string(),
        Err(StoreError::Disconnected(_)) => String::from("error Disconnected"),
        Err(error) => format!("error {error:?}"),
    }
}

/// Runs a schedule on an empty database.
pub(super) async fn drive<S: Stage>(stage: &S, schedule: &Schedule) -> Vec<String> {
    let sessions: Vec<Session> =
        (0..schedule.sessions).map(|number| Session::start(stage, number)).collect();
    let mut course = Vec::new();
    for statement in &schedule.prologue {
        step(stage, &sessions, 0, Act::Query(statement.clone()), &mut course).await;
    }
    for (number, act) in &schedule.steps {
        if sessions[*number].is_busy() {
            course.push(format!("s{number} is waiting still"));
            continue;
        }
        // It has one connection, which its transaction has.
        if matches!(act, Act::Query(_)) && sessions[*number].is_open() {
            course.push(format!("s{number} is in a transaction still"));
            continue;
        }
        step(stage, &sessions, *number, act.clone(), &mut course).await;
    }
    // Whoever can end its transaction does so, until nobody waits any more.
    for round in 0.. {
        let ready = |session: &Session| session.is_open() && !session.is_busy();
        let Some(number) = sessions.iter().position(ready) else { break };
        assert!(round < 100, "sessions wait for nobody");
        step(stage, &sessions, number, Act::Commit, &mut course).await;
    }
    if sessions.iter().any(Session::is_busy) {
        course.push("sessions wait for nobody".to_owned());
    }
    for statement in super::dump::reads() {
        step(stage, &sessions, 0, Act::Query(statement), &mut course).await;
    }
    course.extend(stage.rows().await);
    course
}

async fn step<S: Stage>(
    stage: &S,
    sessions: &[Session],
    number: usize,
    act: Act,
    course: &mut Vec<String>,
) {
    let told = format!("s{number} {act}");
    let is_loose = matches!(act, Act::Drop);
    sessions[number].give(act);
    stage.settle(sessions, is_loose).await;
    let outcome = sessions[number].take_outcome();
    course.push(format!("{told} -> {}", outcome.unwrap_or_else(|| "waits".to_owned())));
    for (other, session) in sessions.iter().enumerate().filter(|(other, _)| *other != number) {
        if let Some(outcome) = session.take_outcome() {
            course.push(format!("    s{other} -> {outcome}"));
        }
    }
}
