//! An address that leads nowhere until it is opened; then it leads to a server.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

/// A port of the loopback.
pub(super) struct Relay {
    port: u16,
}

impl Relay {
    /// A port that nobody listens on.
    pub(super) fn reserve() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        Self { port }
    }

    /// Its port.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Lets connections through to a server, as long as the test process lives.
    #[allow(clippy::disallowed_methods, reason = "bytes between real sockets, by real threads")]
    pub(super) fn open(&mut self, server: &str) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).expect("the port is still free");
        let server = server.to_owned();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(&server)) else {
                    return;
                };
                let back = (server.try_clone(), client.try_clone());
                std::thread::spawn(move || carry(client, server));
                if let (Ok(from), Ok(to)) = back {
                    std::thread::spawn(move || carry(from, to));
                }
            }
        });
    }
}

/// Carries bytes one way until either side is gone.
fn carry(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16_384];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
}
