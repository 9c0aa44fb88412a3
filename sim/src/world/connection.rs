//! Listeners, and connections that carry frames (those that carry bytes are in `bytes.rs`).
//!
//! A frame is a length (u32, little-endian) and that many bytes. Reads go through one large buffer
//! of the world (the socket layer reopens a full window only on reads of half of its buffer) and
//! writes hand over head and body at one instant, so a small frame is one packet.
//!
//! It refuses to hide errors: a peer that closes gives `UnexpectedEof`, one that died or was reset
//! gives `ConnectionReset`, and no operation has a timeout of its own but connecting. A call to
//! [`FrameWriter::write_frame`] that is dropped half way leaves half a frame behind; drop the
//! connection then. A dropped [`FrameReader::read_frame`] loses nothing.

use std::future::{Future, poll_fn};
use std::io::{Error, ErrorKind, Result};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use smol_str::SmolStr;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil_net::shim::tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use turmoil_net::shim::tokio::net::{TcpListener, TcpStream};

use super::bytes::ByteStream;
use super::network;
use super::packet;
use super::process::Process;
use super::world::Shared;

/// How long a connect waits for an answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Larger frames are mistakes.
const FRAME_MAX: usize = 64 * 1024 * 1024;
/// Frames up to this size are copied out, so that the buffer stays in place; larger are split off.
const COPY_MAX: usize = 4096;
const HEAD: usize = 4;

/// Accepts connections.
pub struct Listener {
    // Declared first, dropped first: the drop is told to the world afterwards.
    listener: TcpListener,
    touch: Touch,
}

/// A connection to another process.
pub struct Connection {
    reader: FrameReader,
    writer: FrameWriter,
    peer: SmolStr,
}

/// The reading half of a connection.
pub struct FrameReader {
    half: OwnedReadHalf,
    buffer: BytesMut,
    touch: Touch,
}

/// The writing half of a connection. Its drop ends the stream.
pub struct FrameWriter {
    half: OwnedWriteHalf,
    touch: Touch,
}

/// Tells the world that a socket was touched; also when it is dropped.
pub(super) struct Touch {
    pub(super) shared: Rc<Shared>,
    process: u16,
    /// The process at the other end; for a listener its own.
    peer: u16,
}

impl Touch {
    pub(super) fn new(shared: &Rc<Shared>, process: u16, peer: u16) -> Self {
        Self { shared: Rc::clone(shared), process, peer }
    }

    pub(super) fn made_room(&self) {
        self.shared.network.borrow_mut().made_room((self.process, self.peer));
        self.shared.touch();
    }

    pub(super) fn wrote(&self, bytes: usize) {
        let now = self.shared.now.get();
        let link = (self.process, self.peer);
        self.shared.network.borrow_mut().wrote(now, link, bytes);
        self.shared.touch();
    }
}

impl Drop for Touch {
    fn drop(&mut self) {
        // The end of a stream, if it was one, waits for the window like a byte.
        self.wrote(1);
    }
}

impl Listener {
    pub(super) async fn bind(shared: &Rc<Shared>, process: u16, port: u16) -> Result<Self> {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        Ok(Self {
            listener: TcpListener::bind(any).await?,
            touch: Touch::new(shared, process, process),
        })
    }

    /// The next connection.
    pub async fn accept(&mut self) -> Result<Connection> {
        let (stream, peer) = self.listener.accept().await?;
        let peer = packet::process_at(peer.ip());
        Ok(Connection::new(&self.touch.shared, stream, self.touch.process, peer))
    }

    /// The next connection, for a protocol of others.
    pub async fn accept_bytes(&self) -> Result<ByteStream> {
        let (stream, peer) = self.listener.accept().await?;
        let peer = packet::process_at(peer.ip());
        Ok(ByteStream::new(&self.touch.shared, stream, self.touch.process, peer))
    }
}

/// Connects to a port of a process.
pub(super) async fn connect(
    process: &Process,
    shared: &Rc<Shared>,
    (index, peer): (u16, u16),
    port: u16,
) -> Result<TcpStream> {
    // Marks once more when it is dropped with an abandoned connect.
    let touch = Touch::new(shared, index, peer);
    touch.wrote(0);
    let address = SocketAddr::new(packet::address(peer), port);
    let mut connect = pin!(TcpStream::connect(address));
    let mut timeout = pin!(process.sleep(CONNECT_TIMEOUT));
    poll_fn(|cx| match connect.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(result),
        Poll::Pending => timeout.as_mut().poll(cx).map(|()| Err(Error::from(ErrorKind::TimedOut))),
    })
    .await
}

impl Connection {
    pub(super) async fn open(
        process: &Process,
        shared: &Rc<Shared>,
        ends: (u16, u16),
        port: u16,
    ) -> Result<Self> {
        let stream = connect(process, shared, ends, port).await?;
        Ok(Self::new(shared, stream, ends.0, ends.1))
    }

    fn new(shared: &Rc<Shared>, stream: TcpStream, process: u16, peer: u16) -> Self {
        let (read, write) = stream.into_split();
        Self {
            reader: FrameReader {
                half: read,
                buffer: BytesMut::new(),
                touch: Touch::new(shared, process, peer),
            },
            writer: FrameWriter { half: write, touch: Touch::new(shared, process, peer) },
            peer: shared.processes.borrow().name(peer),
        }
    }

    /// The process at the other end.
    pub fn peer(&self) -> SmolStr {
        self.peer.clone()
    }

    /// See [`FrameReader::read_frame`].
    pub async fn read_frame(&mut self) -> Result<Bytes> {
        self.reader.read_frame().await
    }

    /// See [`FrameWriter::write_frame`].
    pub async fn write_frame(&mut self, frame: &[u8]) -> Result<()> {
        self.writer.write_frame(frame).await
    }

    /// Halves for two tasks.
    pub fn split(self) -> (FrameReader, FrameWriter) {
        (self.reader, self.writer)
    }
}

impl FrameReader {
    /// The next frame.
    ///
    /// # Errors
    /// `UnexpectedEof`: the peer closed. `ConnectionReset`: it died, or the connection did.
    pub async fn read_frame(&mut self) -> Result<Bytes> {
        poll_fn(|cx| self.poll_frame(cx)).await
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes>> {
        loop {
            if let Some(frame) = self.take_frame()? {
                return Poll::Ready(Ok(frame));
            }
            let mut scratch = self.touch.shared.scratch.borrow_mut();
            let mut read = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.half).poll_read(cx, &mut read))?;
            let filled = read.filled();
            if filled.is_empty() {
                return Poll::Ready(Err(Error::from(ErrorKind::UnexpectedEof)));
            }
            self.buffer.extend_from_slice(filled);
            if filled.len() >= network::RECEIVE_BUFFER / 2 {
                // Such a read reopens the window, which the peer must be told.
                self.touch.made_room();
            }
        }
    }

    fn take_frame(&mut self) -> Result<Option<Bytes>> {
        let Some(head) = self.buffer.first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*head) as usize;
        if length > FRAME_MAX {
            return Err(Error::new(ErrorKind::InvalidData, format!("a frame of {length} bytes")));
        }
        let end = HEAD + length;
        if self.buffer.len() < end {
            self.buffer.reserve(end - self.buffer.len());
            return Ok(None);
        }
        let frame = if length <= COPY_MAX {
            let frame = Bytes::copy_from_slice(&self.buffer[HEAD..end]);
            self.buffer.advance(end);
            frame
        } else {
            self.buffer.advance(HEAD);
            self.buffer.split_to(length).freeze()
        };
        if self.buffer.is_empty() {
            self.buffer.clear();
        }
        Ok(Some(frame))
    }
}

impl FrameWriter {
    /// Writes a frame. It returns when the last byte is handed to the socket, which may be long
    /// before the peer reads it, if it ever does.
    ///
    /// # Errors
    /// `ConnectionReset`: the peer died, or the connection did. `InvalidInput`: larger than 64 MiB.
    pub async fn write_frame(&mut self, frame: &[u8]) -> Result<()> {
        if frame.len() > FRAME_MAX {
            return Err(Error::from(ErrorKind::InvalidInput));
        }
        let length = u32::try_from(frame.len()).expect("at most 64 MiB");
        let head = length.to_le_bytes();
        let mut done = 0;
        poll_fn(|cx| {
            while done < HEAD + frame.len() {
                done += ready!(self.poll_write(cx, &head, frame, done))?;
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Writes what follows after `done` bytes; a small frame goes with its head in one call.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        head: &[u8; HEAD],
        frame: &[u8],
        done: usize,
    ) -> Poll<Result<usize>> {
        let half = Pin::new(&mut self.half);
        let written = if done >= HEAD {
            ready!(half.poll_write(cx, &frame[done - HEAD..]))?
        } else if done == 0 && frame.len() <= COPY_MAX {
            let mut scratch = self.touch.shared.scratch.borrow_mut();
            let whole = &mut scratch[..HEAD + frame.len()];
            whole[..HEAD].copy_from_slice(head);
            whole[HEAD..].copy_from_slice(frame);
            ready!(half.poll_write(cx, whole))?
        } else {
            ready!(half.poll_write(cx, &head[done..]))?
        };
        self.touch.wrote(written);
        Poll::Ready(Ok(written))
    }
}
