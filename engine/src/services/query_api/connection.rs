//! HTTP/1.1 on one connection, and how many there may be.
//!
//! It is compiled once, whatever the ports are: connection, router and clock are all it needs. Time
//! is that of the instance's clock; HTTP itself is given none.
//!
//! # Invariants
//! - A client that says nothing shuts nobody out: it has to go when another one needs its place.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::future::{
    AbortHandle, AbortRegistration, Abortable, Either, LocalBoxFuture, select,
};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::{Service as _, service_fn};
use hyper_util::service::TowerToHyperService;

use super::Stopping;
use crate::ports::network::Connection;

/// A connection on which nothing was ever asked is closed after so long.
const SILENT_MAX: Duration = Duration::from_secs(5);
/// A connection on which for so long nothing was asked and nothing answered is closed; so is one
/// whose client takes longer to say what it wants next or to take an answer.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// How long a client may take, when the instance stops, to take an answer.
pub(super) const WRITE_MAX: Duration = Duration::from_millis(500);
/// How often it is looked meanwhile whether the answer is there.
const WRITE_POLL: Duration = Duration::from_millis(50);
/// Bytes of a request's head.
const HEAD_MAX: usize = 32 * 1024;
/// Headers of a request.
const HEADERS_MAX: usize = 64;
/// Connections at the same time.
const CONNECTIONS_MAX: usize = 256;

/// Waits.
pub(super) type Tick = Box<dyn Fn(Duration) -> LocalBoxFuture<'static, ()>>;

/// All connections of an instance.
#[derive(Default)]
pub(super) struct Connections(RefCell<Open>);

#[derive(Default)]
struct Open {
    /// Counts what happens, so that it is known who has been silent for the longest time.
    moment: u64,
    /// By the moment in which something last happened.
    places: BTreeMap<u64, Client>,
}

struct Client {
    requests_in_hand: u32,
    /// Gone once it was asked to leave.
    leave: Option<AbortHandle>,
}

/// A connection's place among all; given back when it is dropped.
pub(super) struct Place {
    all: Rc<Connections>,
    moment: Cell<u64>,
    requests: Cell<u64>,
    leave: Cell<Option<AbortRegistration>>,
}

impl Connections {
    /// How many there are.
    pub(super) fn open(&self) -> usize {
        self.0.borrow().places.len()
    }

    /// Whether there is room for one more, if need be after the client that has been silent for the
    /// longest time was asked to leave.
    pub(super) fn make_room(&self) -> bool {
        let mut open = self.0.borrow_mut();
        let staying = open.places.values().filter(|client| client.leave.is_some()).count();
        if staying < CONNECTIONS_MAX {
            return true;
        }
        let mut silent = open.places.values_mut().filter(|client| client.requests_in_hand == 0);
        let silent = silent.find_map(|client| client.leave.take());
        silent.map(|leave| leave.abort()).is_some()
    }

    /// A place for one more.
    pub(super) fn enter(self: &Rc<Self>) -> Place {
        let (leave, registration) = AbortHandle::new_pair();
        let mut open = self.0.borrow_mut();
        open.moment += 1;
        let moment = open.moment;
        open.places.insert(moment, Client { requests_in_hand: 0, leave: Some(leave) });
        Place {
            all: self.clone(),
            moment: Cell::new(moment),
            requests: Cell::new(0),
            leave: Cell::new(Some(registration)),
        }
    }
}

impl Place {
    /// Something has happened: it is the last that is to be asked to leave.
    fn touch(&self, change: impl FnOnce(&mut Client)) {
        let mut open = self.all.0.borrow_mut();
        open.moment += 1;
        let moment = open.moment;
        if let Some(mut client) = open.places.remove(&self.moment.replace(moment)) {
            change(&mut client);
            open.places.insert(moment, client);
        }
    }

    fn begin(&self) {
        self.requests.set(self.requests.get() + 1);
        self.touch(|client| client.requests_in_hand += 1);
    }

    fn end(&self) {
        self.touch(|client| client.requests_in_hand -= 1);
    }

    fn is_answering(&self) -> bool {
        let open = self.all.0.borrow();
        open.places.get(&self.moment.get()).is_some_and(|client| client.requests_in_hand > 0)
    }

    /// Waits until nothing has happened for a while, or another one needs the place.
    async fn is_useless(&self, tick: &Tick) {
        let idle = async {
            tick(SILENT_MAX).await;
            if self.requests.get() == 0 {
                return;
            }
            loop {
                let before = self.requests.get();
                tick(IDLE_MAX).await;
                if !self.is_answering() && self.requests.get() == before {
                    return;
                }
            }
        };
        match self.leave.take() {
            Some(leave) => drop(Abortable::new(idle, leave).await),
            None => idle.await,
        }
    }

    /// Waits until what is in hand is answered and the client has had time to take the answer.
    async fn is_answered(&self, tick: &Tick) {
        while self.is_answering() {
            tick(WRITE_POLL).await;
        }
        tick(WRITE_MAX - WRITE_POLL).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.0.borrow_mut().places.remove(&self.moment.get());
    }
}

/// Answers until the client goes or is useless, or until a stop is asked for and what is in hand is
/// answered.
pub(super) async fn serve(
    client: Box<dyn Connection>,
    router: Router,
    tick: Tick,
    place: Place,
    stopping: Stopping,
) {
    let place = Rc::new(place);
    let service = TowerToHyperService::new(router);
    let service = {
        let place = place.clone();
        service_fn(move |request: Request<Incoming>| {
            place.begin();
            let answer = service.call(request.map(Body::new));
            let place = place.clone();
            async move {
                let answer = answer.await;
                place.end();
                answer
            }
        })
    };
    let mut http = Builder::new();
    http.auto_date_header(false).header_read_timeout(None);
    http.max_buf_size(HEAD_MAX).max_headers(HEADERS_MAX);
    let mut connection = pin!(http.serve_connection(client, service));
    let useless = pin!(place.is_useless(&tick));
    // Whatever ends a connection is its client's affair.
    match select(connection.as_mut(), select(stopping, useless)).await {
        Either::Left(_) | Either::Right((Either::Right(_), _)) => {}
        Either::Right((Either::Left(_), _)) => {
            connection.as_mut().graceful_shutdown();
            drop(select(connection, pin!(place.is_answered(&tick))).await);
        }
    }
}

#[test]
fn whoever_was_silent_the_longest_makes_room() {
    let all = Rc::new(Connections::default());
    let mut places: Vec<Place> = (0..CONNECTIONS_MAX).map(|_| all.enter()).collect();
    // The first asks something, the second has asked something.
    places[0].begin();
    places[1].begin();
    places[1].end();
    let is_unwanted = |place: &Place| {
        let leave = place.leave.take().expect("nobody serves it");
        let is_unwanted = leave.handle().is_aborted();
        place.leave.set(Some(leave));
        is_unwanted
    };
    for next in 2..CONNECTIONS_MAX {
        assert!(all.make_room());
        assert!(is_unwanted(&places[next]), "{next}");
        assert!(all.make_room(), "the one who was asked to leave does not count");
        places.push(all.enter());
    }
    assert!(!is_unwanted(&places[0]) && !is_unwanted(&places[1]));
    assert!(all.make_room() && is_unwanted(&places[1]), "the next but those who are new");
    places.iter().skip(CONNECTIONS_MAX).for_each(Place::begin);
    places.push(all.enter());
    places.last().expect("one").begin();
    assert!(!all.make_room(), "all are being answered");
    drop(places.remove(0));
    assert!(all.make_room());
    drop(places);
    assert_eq!(all.open(), 0);
}
