//! HTTP/1.1 on one connection.
//!
//! It is compiled once, whatever the ports are: connection, router and clock are all it needs. Time
//! is that of the instance's clock; HTTP itself is given none.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::future::{Either, LocalBoxFuture, Shared, select};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::{Service as _, service_fn};
use hyper_util::service::TowerToHyperService;

use crate::ports::network::Connection;

/// A connection on which for so long nothing was asked and nothing answered is closed; so is one
/// whose client takes longer to say what it wants or to take an answer.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(30);
/// Bytes of a request's head.
const HEAD_MAX: usize = 32 * 1024;
/// Headers of a request.
const HEADERS_MAX: usize = 64;

/// Waits for [`IDLE_MAX`].
pub(super) type Tick = Box<dyn Fn() -> LocalBoxFuture<'static, ()>>;

/// What has happened on a connection.
#[derive(Default)]
struct Activity {
    requests: Cell<u64>,
    in_hand: Cell<u64>,
}

/// Answers until the client goes or is idle, or until a stop is asked for and what is in hand is
/// answered.
pub(super) async fn serve(
    client: Box<dyn Connection>,
    router: Router,
    tick: Tick,
    stopping: Shared<LocalBoxFuture<'static, ()>>,
) {
    let activity = Rc::new(Activity::default());
    let service = TowerToHyperService::new(router);
    let service = {
        let activity = activity.clone();
        service_fn(move |request: Request<Incoming>| {
            activity.requests.set(activity.requests.get() + 1);
            activity.in_hand.set(activity.in_hand.get() + 1);
            let answer = service.call(request.map(Body::new));
            let activity = activity.clone();
            async move {
                let answer = answer.await;
                activity.in_hand.set(activity.in_hand.get() - 1);
                answer
            }
        })
    };
    let mut http = Builder::new();
    http.auto_date_header(false).header_read_timeout(None);
    http.max_buf_size(HEAD_MAX).max_headers(HEADERS_MAX);
    let mut connection = pin!(http.serve_connection(client, service));
    let mut idle = pin!(idle(&activity, tick));
    let end = select(stopping, idle.as_mut());
    // Whatever ends a connection is its client's affair.
    match select(connection.as_mut(), end).await {
        Either::Left(_) | Either::Right((Either::Right(_), _)) => {}
        Either::Right((Either::Left(_), _)) => {
            connection.as_mut().graceful_shutdown();
            drop(select(connection, idle).await);
        }
    }
}

/// Waits until nothing has happened for a while.
async fn idle(activity: &Activity, tick: Tick) {
    loop {
        let before = activity.requests.get();
        tick().await;
        if activity.in_hand.get() == 0 && activity.requests.get() == before {
            return;
        }
    }
}
