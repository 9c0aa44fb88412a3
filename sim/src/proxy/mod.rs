//! A TCP proxy between one instance of the engine and a real service: the link that a harness can
//! slow down, hold and break.
//!
//! What a bad network can do to a TCP connection is to delay it, to hold it, and to end it; this
//! does all three, each direction for itself. A client of Kafka learns the addresses of brokers
//! from brokers, so of that protocol two answers are rewritten (see [`kafka`]) to lead through
//! proxies of the same link.
//!
//! It refuses to lose, to duplicate and to reorder bytes, and it reads nothing of what it passes
//! but those two answers. TLS hides them, so a link to Kafka is plain text.
//!
//! # Invariants
//! - Bytes of one direction leave in the order in which they came, also while a delay changes.
//! - All connections of a link, to whichever server, feel what is done to it.

mod kafka;
mod link;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

pub use link::{Direction, Link};

/// Chunks that wait for their time before the sender is held up, as a window would.
const CHUNKS_MAX: usize = 64;
/// Bytes of a chunk.
const CHUNK: usize = 64 * 1024;

/// What is spoken over a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Anything; bytes pass as they are.
    Plain,
    /// Kafka's, whose answers name other addresses.
    Kafka,
}

/// Starts a proxy in front of a server (`host:port`) and tells where it listens: a free port of the
/// loopback interface. It runs as long as the runtime.
///
/// # Errors
/// No port can be listened on.
pub async fn start(target: &str, protocol: Protocol, link: Link) -> io::Result<SocketAddr> {
    let proxies = Proxies { protocol, link, started: Arc::default() };
    proxies.in_front_of(target.to_owned()).await
}

/// The proxies of one link, one for each server behind it.
#[derive(Clone)]
struct Proxies {
    protocol: Protocol,
    link: Link,
    started: Arc<Mutex<BTreeMap<String, SocketAddr>>>,
}

impl Proxies {
    /// The proxy of a server; it is started when it is first asked for.
    ///
    /// Boxed, else this future would hold itself: a proxy starts further ones.
    fn in_front_of(&self, target: String) -> BoxFuture<'_, io::Result<SocketAddr>> {
        Box::pin(async move {
            if let Some(address) = self.started().get(&target) {
                return Ok(*address);
            }
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let address = listener.local_addr()?;
            self.started().insert(target.clone(), address);
            spawn(self.clone().accept(listener, target));
            Ok(address)
        })
    }

    fn started(&self) -> MutexGuard<'_, BTreeMap<String, SocketAddr>> {
        self.started.lock().expect("nobody panics with the map in hand")
    }

    async fn accept(self, listener: TcpListener, target: String) {
        while let Ok((client, _)) = listener.accept().await {
            spawn(self.clone().connect(client, target.clone()));
        }
    }

    async fn connect(self, client: TcpStream, target: String) {
        // A server that refuses shows as a connection that ends.
        let Ok(server) = TcpStream::connect(&target).await else { return };
        for stream in [&client, &server] {
            // Without it small answers wait for each other; a stream without it still works.
            let _ = stream.set_nodelay(true);
        }
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let answers = kafka::Answers::default();
        let there = self.pass(Direction::ToServer, from_client, to_server, answers.clone());
        let back = self.pass(Direction::ToClient, from_server, to_client, answers);
        tokio::select! {
            () = self.link.broken() => {}
            () = async { tokio::join!(there, back); } => {}
        }
    }

    /// Passes bytes one way until either end is done.
    async fn pass(
        &self,
        direction: Direction,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        answers: kafka::Answers,
    ) {
        let (sender, mut receiver) = mpsc::channel::<(tokio::time::Instant, Vec<u8>)>(CHUNKS_MAX);
        let read = async move {
            while let Some(chunk) = self.next(direction, &mut from, &answers).await {
                let due = now() + self.link.latency(direction);
                if sender.send((due, chunk)).await.is_err() {
                    return;
                }
            }
        };
        let write = async move {
            while let Some((due, chunk)) = receiver.recv().await {
                sleep_until(due).await;
                self.link.open(direction).await;
                if to.write_all(&chunk).await.is_err() {
                    return;
                }
            }
            // The other end hears that there is nothing more; if it is gone, nobody needs to.
            let _ = to.shutdown().await;
        };
        tokio::join!(read, write);
    }

    /// The next bytes to pass; none at the end of the stream.
    async fn next(
        &self,
        direction: Direction,
        from: &mut OwnedReadHalf,
        answers: &kafka::Answers,
    ) -> Option<Vec<u8>> {
        if self.protocol == Protocol::Plain {
            let mut chunk = vec![0; CHUNK];
            let read = from.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
            chunk.truncate(read);
            return Some(chunk);
        }
        let frame = kafka::read_frame(from).await.ok()?;
        match direction {
            Direction::ToServer => {
                answers.expect(&frame);
                Some(frame)
            }
            Direction::ToClient => {
                let addresses = answers.addresses(&frame);
                let mut proxies = Vec::with_capacity(addresses.len());
                for address in addresses {
                    let target = format!("{}:{}", address.host, address.port);
                    proxies.push((address, self.in_front_of(target).await.ok()?));
                }
                Some(kafka::replace(&frame, &proxies))
            }
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a proxy serves the machine's network")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

#[allow(clippy::disallowed_methods, reason = "a proxy delays in the machine's time")]
fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

#[allow(clippy::disallowed_methods, reason = "a proxy delays in the machine's time")]
async fn sleep_until(due: tokio::time::Instant) {
    tokio::time::sleep_until(due).await;
}
