//! `query-api`: what is asked from outside, over HTTP.
//!
//! ```text
//! routes.rs      every route: path, parameters, who may ask
//! router.rs      from a request to an answer: rights, deadline, tag, access log
//! connection.rs  HTTP on one connection
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
//! reprocess.rs   transactions, to be looked at once more
//! ```
//!
//! A read is one statement, so it shows one complete version of every key, that of one instant. A
//! list that comes in pages is of one version too: a page that would be of another is refused.
//!
//! # Invariants
//! - No request, however malformed, is answered with a status of 500 or more, unless a service that
//!   the engine needs is away or the answer is overdue (503).
//! - A stop finishes the requests in hand and accepts no others.

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
pub mod support;
pub mod timeseries;

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{Either, select};

pub use answer::ReprocessingStatus;

use super::instance::Instance;
use crate::ports::Ports;
use crate::ports::host::Host as _;
use crate::ports::log::{Log, LogError, LogProducer as _, NewRecord};
use crate::ports::network::Network as _;
use crate::ports::store::{Statement, Store as _, StoreError};

/// Name of the process in crash points.
pub const PROCESS: &str = "query-api";
/// Its port calls that have crash points: what readers ask for all the time. Where an instance dies
/// at any other call, it was about to show something or to publish what its client will send again.
pub(super) const CALLS: &[&str] = &["ReadPortfolioPositions"];

/// How often it is looked whether somebody asks for a stop.
const STOP_POLL: Duration = Duration::from_millis(200);
/// Connections at the same time; further clients wait until one is closed.
const CONNECTIONS_MAX: usize = 256;

/// What all requests to an instance share.
pub(super) struct Api<P: Ports> {
    instance: Instance<P>,
    /// Idle since the last request that published something.
    producer: RefCell<Option<<P::Log as Log>::Producer>>,
}

impl<P: Ports> Api<P> {
    /// Runs a statement of a view that has no crash points.
    async fn look<S: Statement>(&self, statement: S) -> Result<S::Output, StoreError> {
        self.instance.ports.store().query(statement).await
    }

    /// Publishes records and waits until the broker has acknowledged all. A producer whose send was
    /// given up, or failed, is not used again.
    async fn publish(&self, records: Vec<NewRecord>) -> Result<(), LogError> {
        if records.is_empty() {
            return Ok(());
        }
        let idle = self.producer.borrow_mut().take();
        let mut producer = match idle {
            Some(producer) => producer,
            None => self.instance.ports.log().producer().await?,
        };
        producer.send(records).await?;
        *self.producer.borrow_mut() = Some(producer);
        Ok(())
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
    let router =
        router::router(Rc::new(Api { instance: instance.clone(), producer: RefCell::default() }));
    let open = Rc::new(Cell::new(0));
    while !instance.is_stopping() {
        if open.get() >= CONNECTIONS_MAX {
            instance.sleep(STOP_POLL).await;
            continue;
        }
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
        open.set(open.get() + 1);
        let clock = instance.clone();
        let tick = move || {
            let clock = clock.clone();
            async move { clock.sleep(connection::IDLE_MAX).await }.boxed_local()
        };
        let served = connection::serve(client, router.clone(), Box::new(tick), stopping.clone());
        let open = open.clone();
        instance.ports.host().spawn(async move {
            served.await;
            open.set(open.get() - 1);
        });
    }
    while open.get() > 0 {
        instance.sleep(STOP_POLL).await;
    }
}
