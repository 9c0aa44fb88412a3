//! The network that an instance answers on: connections of clients, and what a client may do.

use std::io;

use hyper::rt::{Read, Write};

/// A connection that carries bytes both ways.
pub trait Connection: Read + Write + Unpin {}

impl<T: Read + Write + Unpin> Connection for T {}

/// What a request asks to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To see.
    Read,
    /// To change something.
    Operate,
}

/// Whether a client may do what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Allowed,
    /// It has not shown who it is, or not rightly.
    Unknown,
    /// It is known, and may not.
    Forbidden,
}

/// The network.
///
/// # Implementers must
/// - compare a token in a time that does not tell how much of it is right.
#[allow(async_fn_in_trait, reason = "instances are single-threaded; no future is sent")]
pub trait Network {
    /// The next client. An instance that is to listen on nothing waits for ever.
    ///
    /// # Errors
    /// Those of the socket; the next call may succeed.
    async fn accept(&self) -> io::Result<Box<dyn Connection>>;

    /// Whether this machine goes by that name, which may be followed by a port. Where no token is
    /// asked for, a page of a stranger must not be able to reach the machine by a name of its own
    /// that leads here (DNS rebinding).
    fn goes_by(&self, name: &str) -> bool;

    /// Judges a client by its bearer token.
    fn judge(&self, token: Option<&str>, right: Right) -> Verdict;
}
