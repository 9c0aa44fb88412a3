//! Clients that ask for the positions of one portfolio after the other: at a fixed rate, or as
//! fast as they are answered.
//!
//! At a rate the loop is open: each request has its time, whatever became of those before it, and
//! its latency counts from then. Timers of the machine wake a client up to 1 ms late, which counts
//! too, for whoever is asked.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::now;

/// Connections of the open loop: more than there are ever requests in hand, unless somebody stalls.
const OPEN: usize = 64;
/// Connections of the closed loop.
const CLOSED: usize = 8;

/// What clients have seen of one side.
pub(super) struct Answers {
    /// From the intended time of a request of the open loop to its whole answer, in microseconds.
    pub(super) latencies: Histogram<u64>,
    /// Answers of the closed loop.
    pub(super) closed: u64,
    /// Seconds of the closed loop.
    pub(super) seconds: f64,
    /// Bytes of the last body.
    pub(super) bytes: usize,
}

impl Default for Answers {
    fn default() -> Self {
        let latencies = Histogram::new_with_bounds(1, 600_000_000, 3);
        Self {
            latencies: latencies.expect("three digits are few"),
            closed: 0,
            seconds: 0.0,
            bytes: 0,
        }
    }
}

impl Answers {
    /// Answers a second of the closed loop.
    pub(super) fn rate(&self) -> f64 {
        self.closed as f64 / self.seconds
    }
}

/// Clients of one address.
pub(super) struct Clients {
    address: SocketAddr,
    portfolios: usize,
    /// Requests so far: each asks for the next portfolio.
    turn: Cell<usize>,
}

impl Clients {
    /// Clients that ask for so many portfolios in turn.
    pub(super) fn new(address: SocketAddr, portfolios: usize) -> Self {
        Self { address, portfolios, turn: Cell::new(0) }
    }

    /// Asks at a rate for some seconds.
    pub(super) async fn at_rate(&self, rate: f64, seconds: f64, answers: &mut Answers) {
        let count = (rate * seconds) as usize;
        let connections = self.connections(OPEN).await;
        let (next, answers, begun) = (Cell::new(0), RefCell::new(answers), now());
        let clients = connections.into_iter().map(async |mut connection| {
            while next.get() < count {
                let due =
                    begun + Duration::from_secs_f64(next.replace(next.get() + 1) as f64 / rate);
                wait_until(due).await;
                let bytes = self.ask(&mut connection).await;
                let micros = now().saturating_duration_since(due).as_micros();
                let answers = &mut answers.borrow_mut();
                answers.bytes = bytes;
                answers.latencies.saturating_record(u64::try_from(micros).unwrap_or(u64::MAX));
            }
        });
        join_all(clients).await;
    }

    /// Asks for some seconds as fast as there are answers.
    pub(super) async fn as_fast_as_answered(&self, seconds: f64, answers: &mut Answers) {
        let connections = self.connections(CLOSED).await;
        let (count, begun) = (Cell::new(0), now());
        let until = begun + Duration::from_secs_f64(seconds);
        let clients = connections.into_iter().map(async |mut connection| {
            while now() < until {
                self.ask(&mut connection).await;
                count.set(count.get() + 1);
            }
        });
        join_all(clients).await;
        answers.closed += count.get();
        answers.seconds += (now() - begun).as_secs_f64();
    }

    async fn connections(&self, count: usize) -> Vec<SendRequest<Empty<Bytes>>> {
        join_all((0..count).map(|_| self.connect())).await
    }

    #[expect(clippy::disallowed_methods, reason = "a connection is carried beside its requests")]
    async fn connect(&self) -> SendRequest<Empty<Bytes>> {
        let stream = TcpStream::connect(self.address).await.expect("somebody listens");
        stream.set_nodelay(true).expect("a socket can be set");
        let (connection, carrier) = handshake(TokioIo::new(stream)).await.expect("it is HTTP");
        tokio::task::spawn_local(async { drop(carrier.await) });
        connection
    }

    /// Asks for the next portfolio; the bytes of the answer's body.
    async fn ask(&self, connection: &mut SendRequest<Empty<Bytes>>) -> usize {
        let turn = self.turn.replace(self.turn.get() + 1);
        let address = format!("/portfolios/P{:05}/positions", turn % self.portfolios);
        let request = Request::get(address).header("host", "localhost").body(Empty::new());
        let request = request.expect("an address of digits and letters");
        connection.ready().await.expect("a connection stays");
        let answer = connection.send_request(request).await.expect("a connection stays");
        assert_eq!(answer.status(), StatusCode::OK);
        answer.into_body().collect().await.expect("an answer comes whole").to_bytes().len()
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark waits for the machine's time")]
async fn wait_until(due: Instant) {
    if now() < due {
        tokio::time::sleep_until(due.into()).await;
    }
}
