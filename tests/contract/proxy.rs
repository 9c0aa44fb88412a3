//! Stands between clients and a PostgreSQL, to lose the answer of a commit.
//!
//! It passes everything on until it is told to lose an answer: then the next COMMIT still reaches
//! the server, and when the server has answered, both connections end.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// A proxy; it lives as long as the runtime.
pub(super) struct Proxy {
    port: u16,
    plan: Rc<Cell<bool>>,
}

impl Proxy {
    /// Listens on a port of its own.
    pub(super) async fn to(host: &str, port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let own = listener.local_addr().expect("it is bound").port();
        let plan = Rc::new(Cell::new(false));
        spawn(accept(listener, format!("{host}:{port}"), Rc::clone(&plan)));
        Self { port: own, plan }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn lose_commit_answer(&self) {
        self.plan.set(true);
    }
}

#[allow(clippy::disallowed_methods, reason = "it serves real connections")]
fn spawn(task: impl Future<Output = ()> + 'static) {
    tokio::task::spawn_local(task);
}

async fn accept(listener: TcpListener, server: String, plan: Rc<Cell<bool>>) {
    while let Ok((client, _)) = listener.accept().await {
        let (server, plan) = (server.clone(), Rc::clone(&plan));
        spawn(async move {
            // A server that is down refuses, and so does the proxy.
            let Ok(server) = TcpStream::connect(&server).await else { return };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            let loses = Rc::new(Cell::new(false));
            let requests = pass_requests(from_client, to_server, plan, Rc::clone(&loses));
            let answers = pass_answers(from_server, to_client, loses);
            // When one way ends, both connections do.
            futures_util::future::select(Box::pin(requests), Box::pin(answers)).await;
        });
    }
}

async fn pass_requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    plan: Rc<Cell<bool>>,
    loses: Rc<Cell<bool>>,
) -> io::Result<()> {
    let mut buffer = vec![0; 65_536];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        let bytes = &buffer[..length];
        if plan.get() && bytes.windows(6).any(|word| word == b"COMMIT") {
            plan.set(false);
            loses.set(true);
        }
        to.write_all(bytes).await?;
    }
}

async fn pass_answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    loses: Rc<Cell<bool>>,
) -> io::Result<()> {
    let mut buffer = vec![0; 65_536];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 || loses.get() {
            return Ok(());
        }
        to.write_all(&buffer[..length]).await?;
    }
}
