//! `query-api`: what is asked from outside, over HTTP.
//!
//! ```text
//! routes.rs      every route: path, parameters, who may ask
//! router.rs      from a request to an answer: rights, deadline, tag, access log
//! connection.rs  HTTP on one connection, and how many there may be
//! asked.rs       what a request says, checked
//! answer.rs      what is said back, and the tag of it
//! problem.rs     what can be wrong with a request, or with the answer to it
//! positions.rs   positions of a portfolio
//! history.rs     history of a position
//! cashflows.rs   cash flows of a portfolio
//! timeseries.rs  series of a portfolio
//! support/       what an operator looks at
//! ingest.rs      inputs, to be put on their topics
//! openapi.rs     the routes, as a document
//! schemas.rs     what their answers look like, for that document
//! reprocess.rs   transactions, to be looked at once more
//! ```
//!
//! A read is one statement, so it shows one complete version of every key, that of one instant. A
//! list that comes in pages is of one version too: a page that would be of another is refused.
//!
//! # Invariants
//! - No request, however malformed, is answered with a status of 500 or more, unless a service that
//!   the engine needs is away or the answer is overdue (503), or that service refuses (500).
//! - A stop finishes the requests that are worked on, accepts no others, waits for no client, and
//!   is over within [`STOP_MAX`].
//! - Records are published in the order in which their requests began to be, also after one that
//!   was given up.

mod answer;
mod asked;
pub mod cashflows;
mod connection;
pub mod history;
mod ingest;
pub mod openapi;
pub mod positions;
mod problem;
mod reprocess;
mod router;
pub mod routes;
mod schemas;
pub mod support;
pub mod timeseries;

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{Either, LocalBoxFuture, Shared, select};
use futures_util::lock::Mutex;

pub use answer::ReprocessingStatus;
use problem::Problem;

use self::asked::Asked;
use self::connection::Connections;
use super::instance::Instance;
use crate::ports::Ports;
use crate::ports::host::Host as _;
use crate::ports::log::{Log, LogProducer as _, NewRecord};
use crate::ports::network::Network as _;
use crate::ports::store::{Statement, Store as _, StoreError};

/// Name of the process in crash points.
pub const PROCESS: &str = "query-api";
/// Its port calls that have crash points: what readers ask for all the time. Where an instance dies
/// at any other call, it was about to show something or to publish what its client will send again.
pub(super) const CALLS: &[&str] = &["ReadPortfolioPositions"];

/// How often it is looked whether somebody asks for a stop.
const STOP_POLL: Duration = Duration::from_millis(200);
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(6);
/// How long a stop takes at the most on a machine that is not short of time: until it is noticed,
/// until the last answer is there, until that is written, and until all of this is noticed.
pub const STOP_MAX: Duration =
    STOP_POLL.saturating_mul(2).saturating_add(ANSWER_MAX).saturating_add(connection::WRITE_MAX);

/// Says, once and for all, that a stop is asked for.
type Stopping = Shared<LocalBoxFuture<'static, ()>>;

/// What all requests to an instance share.
pub(super) struct Api<P: Ports> {
    instance: Instance<P>,
    /// One for all requests, opened by the first: what is published after a send that was given up
    /// stands after it, whether that arrives or not.
    producer: Mutex<Option<<P::Log as Log>::Producer>>,
    stopping: Stopping,
}

impl<P: Ports> Api<P> {
    /// Runs a statement of a view that has no crash points.
    async fn look<S: Statement>(&self, statement: S) -> Result<S::Output, StoreError> {
        self.instance.ports.store().query(statement).await
    }

    /// Publishes the records of a request and waits until the broker has acknowledged all.
    async fn publish(&self, asked: &Asked, records: Vec<NewRecord>) -> Result<(), Problem> {
        if records.is_empty() {
            return Ok(());
        }
        let mut producer = self.producer.lock().await;
        let producer = match &mut *producer {
            Some(producer) => producer,
            none => none.insert(self.instance.ports.log().producer().await?),
        };
        asked.note_sending();
        Ok(producer.send(records).await?)
    }
}

/// Answers until the instance is asked to stop.
pub(crate) async fn run<P: Ports>(instance: Instance<P>) {
    let stopping = {
        let instance = instance.clone();
        let asked = async move {
            while !instance.is_stopping() {
                instance.sleep(STOP_POLL).await;
            }
        };
        asked.boxed_local().shared()
    };
    let (producer, stop) = (Mutex::new(None), stopping.clone());
    let router =
        router::router(Rc::new(Api { instance: instance.clone(), producer, stopping: stop }));
    let connections = Rc::new(Connections::default());
    while !instance.is_stopping() {
        let accept = pin!(instance.ports.network().accept());
        let client = match select(accept, stopping.clone()).await {
            Either::Left((Ok(client), _)) => client,
            Either::Left((Err(error), _)) => {
                instance.trouble("accept", &error);
                instance.pause(instance.knobs.retry_min_ms).await;
                continue;
            }
            Either::Right(_) => break,
        };
        while !connections.make_room() && !instance.is_stopping() {
            instance.sleep(STOP_POLL).await;
        }
        let place = connections.enter();
        let clock = instance.clone();
        let tick: connection::Tick = Box::new(move |duration| {
            let clock = clock.clone();
            async move { clock.sleep(duration).await }.boxed_local()
        });
        let served = connection::serve(client, router.clone(), tick, place, stopping.clone());
        instance.ports.host().spawn(served);
    }
    while connections.open() > 0 {
        instance.sleep(STOP_POLL).await;
    }
}
