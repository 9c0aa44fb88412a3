//! A link between the engine and the database that counts what goes over it.
//!
//! A round trip is a wait of the client for the server: the server ends it by saying that it is
//! ready, or that it takes the rows of a COPY. It refuses encrypted sessions, in which it could
//! not see anything.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, spawn_local};

/// Bytes that are passed on at once.
const BUFFER: usize = 1 << 16;
/// What a client sends before anything else to ask for encryption, behind its length.
const SSL_REQUEST: i32 = 80_877_103;

/// A link; it takes no sessions any more when it is dropped.
pub(super) struct Proxy {
    address: SocketAddr,
    round_trips: Rc<Cell<u64>>,
    listening: JoinHandle<()>,
}

impl Proxy {
    /// Listens in place of a database.
    #[expect(clippy::disallowed_methods, reason = "a benchmark talks to real servers")]
    pub(super) async fn start(host: String, port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("the machine has a free port");
        let address = listener.local_addr().expect("it is bound");
        let round_trips = Rc::new(Cell::new(0));
        let counted = round_trips.clone();
        let listening = spawn_local(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect((host.as_str(), port)).await;
                let server = server.expect("the database is there");
                // A session that ends abruptly is the end of what is passed on.
                spawn_local(pass(client, server, counted.clone()));
            }
        });
        Self { address, round_trips, listening }
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Round trips so far.
    pub(super) fn round_trips(&self) -> f64 {
        self.round_trips.get() as f64
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn pass(client: TcpStream, server: TcpStream, counted: Rc<Cell<u64>>) {
    let is_set = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
    is_set.expect("a socket takes its options");
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let begun = begin(&mut from_client, &mut to_client, &mut to_server).await;
    if begun.is_err() {
        return;
    }
    let up = async {
        let _ = copy(&mut from_client, &mut to_server).await;
        let _ = to_server.shutdown().await;
    };
    let down = async {
        let _ = answers(&mut from_server, &mut to_client, &counted).await;
        let _ = to_client.shutdown().await;
    };
    futures_util::future::join(up, down).await;
}

/// Answers a request for encryption with No, as a server without it does, and passes all else on.
async fn begin(
    from_client: &mut OwnedReadHalf,
    to_client: &mut OwnedWriteHalf,
    to_server: &mut OwnedWriteHalf,
) -> std::io::Result<()> {
    let length = from_client.read_i32().await?;
    let code = from_client.read_i32().await?;
    if code == SSL_REQUEST {
        return to_client.write_all(b"N").await;
    }
    to_server.write_i32(length).await?;
    to_server.write_i32(code).await
}

/// Passes messages of the server on and counts those that end a round trip.
async fn answers(
    from_server: &mut OwnedReadHalf,
    to_client: &mut OwnedWriteHalf,
    counted: &Cell<u64>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    // A message has its kind, its length (with the length's own four bytes), and its body.
    let (mut head, mut body) = (Vec::with_capacity(5), 0_usize);
    loop {
        let read = from_server.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            let (skipped, behind) = rest.split_at(body.min(rest.len()));
            body -= skipped.len();
            let (taken, behind) = behind.split_at((5 - head.len()).min(behind.len()));
            rest = behind;
            head.extend_from_slice(taken);
            if let [kind, length @ ..] = head.as_slice()
                && let Ok(length) = length.try_into()
            {
                counted.set(counted.get() + u64::from(matches!(kind, b'Z' | b'G')));
                body = u32::from_be_bytes(length) as usize - 4;
                head.clear();
            }
        }
        to_client.write_all(&buffer[..read]).await?;
    }
}
