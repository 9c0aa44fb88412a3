//! Connections that carry bytes, for protocols of others such as HTTP.
//!
//! Reads go through the large buffer of the world, as those of frames do: the socket layer reopens
//! a full window only on reads of half of its buffer. What a reader has no room for waits here.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil_net::shim::tokio::net::TcpStream;

use super::connection::{Touch, connect};
use super::network;
use super::process::Process;
use super::world::Shared;

/// A connection to another process.
pub struct ByteStream {
    // Declared first, dropped first: the drop is told to the world afterwards.
    stream: TcpStream,
    read: BytesMut,
    touch: Touch,
}

impl ByteStream {
    pub(super) fn new(shared: &Rc<Shared>, stream: TcpStream, process: u16, peer: u16) -> Self {
        Self { stream, read: BytesMut::new(), touch: Touch::new(shared, process, peer) }
    }

    pub(super) async fn open(
        process: &Process,
        shared: &Rc<Shared>,
        ends: (u16, u16),
        port: u16,
    ) -> io::Result<Self> {
        let stream = connect(process, shared, ends, port).await?;
        Ok(Self::new(shared, stream, ends.0, ends.1))
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.read.is_empty() {
            let mut scratch = this.touch.shared.scratch.borrow_mut();
            let mut read = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut read))?;
            let filled = read.filled();
            let fits = filled.len().min(into.remaining());
            into.put_slice(&filled[..fits]);
            this.read.extend_from_slice(&filled[fits..]);
            if filled.len() >= network::RECEIVE_BUFFER / 2 {
                // Such a read reopens the window, which the peer must be told.
                this.touch.made_room();
            }
            return Poll::Ready(Ok(()));
        }
        let fits = this.read.len().min(into.remaining());
        into.put_slice(&this.read[..fits]);
        this.read.advance(fits);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.touch.wrote(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        // The end of the stream waits for the window like a byte.
        self.touch.wrote(1);
        Poll::Ready(Ok(()))
    }
}
