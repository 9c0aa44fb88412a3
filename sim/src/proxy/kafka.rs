//! The two answers of Kafka that name addresses: `Metadata` and `FindCoordinator`.
//!
//! Layouts are those of the protocol guide, <https://kafka.apache.org/protocol>: a frame is a
//! length and a header with a correlation id; from some version on ("flexible") lengths are
//! variable-width and structures end with tagged fields. Brokers that move leaders also name
//! addresses in answers to `Fetch` and `Produce` (tagged fields of errors); clients that follow
//! those leave the link, so what stands behind a proxy is one broker.
//!
//! # Invariants
//! - A frame that is not understood passes as it is.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt};

const METADATA: i16 = 3;
const FIND_COORDINATOR: i16 = 10;
/// Longest frame that is taken for one.
const FRAME_MAX: usize = 256 * 1024 * 1024;

/// An address in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: i32,
    /// Bytes of the frame that hold host and port.
    place: Range<usize>,
    is_flexible: bool,
}

/// Which answers of a connection are to be looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers(Arc<Mutex<BTreeMap<i32, (i16, i16)>>>);

impl Answers {
    /// Notes a request whose answer names addresses.
    pub(super) fn expect(&self, request: &[u8]) {
        let mut reader = Reader { bytes: request, at: 4 };
        let header = (reader.int16(), reader.int16(), reader.int32());
        if let (Some(key @ (METADATA | FIND_COORDINATOR)), Some(version), Some(id)) = header {
            self.expected().insert(id, (key, version));
        }
    }

    /// The addresses that an answer names, in the order of their places.
    pub(super) fn addresses(&self, answer: &[u8]) -> Vec<Address> {
        let mut reader = Reader { bytes: answer, at: 4 };
        let Some(id) = reader.int32() else { return Vec::new() };
        let found = match self.expected().remove(&id) {
            Some((METADATA, version)) => brokers(&mut reader, version),
            Some((_, version)) => coordinators(&mut reader, version),
            None => return Vec::new(),
        };
        let mut found = found.unwrap_or_default();
        // What is not there yet has an empty name.
        found.retain(|address| !address.host.is_empty());
        found
    }

    fn expected(&self) -> std::sync::MutexGuard<'_, BTreeMap<i32, (i16, i16)>> {
        self.0.lock().expect("nobody panics with the map in hand")
    }
}

/// A frame with its length.
pub(super) async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await?;
    let size = usize::try_from(i32::from_be_bytes(length)).map_err(io::Error::other)?;
    if size > FRAME_MAX {
        return Err(io::Error::other("not a frame of Kafka"));
    }
    let mut frame = vec![0; 4 + size];
    frame[..4].copy_from_slice(&length);
    from.read_exact(&mut frame[4..]).await?;
    Ok(frame)
}

/// The frame with other addresses.
pub(super) fn replace(frame: &[u8], proxies: &[(Address, SocketAddr)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(frame.len() + 16);
    let mut copied = 0;
    for (address, proxy) in proxies {
        out.extend_from_slice(&frame[copied..address.place.start]);
        let host = proxy.ip().to_string();
        let length = u16::try_from(host.len()).expect("an IP address is short");
        if address.is_flexible {
            // Lengths of compact strings are one too high; below 127 they fit one byte.
            out.push(u8::try_from(length + 1).expect("an IP address is short"));
        } else {
            out.extend_from_slice(&length.to_be_bytes());
        }
        out.extend_from_slice(host.as_bytes());
        out.extend_from_slice(&i32::from(proxy.port()).to_be_bytes());
        copied = address.place.end;
    }
    out.extend_from_slice(&frame[copied..]);
    let size = i32::try_from(out.len() - 4).expect("a frame has a size of 31 bits");
    out[..4].copy_from_slice(&size.to_be_bytes());
    out
}

fn brokers(reader: &mut Reader<'_>, version: i16) -> Option<Vec<Address>> {
    let is_flexible = version >= 9;
    if is_flexible {
        reader.tagged_fields()?;
    }
    if version >= 3 {
        reader.int32()?;
    }
    let count = reader.array(is_flexible)?;
    let mut found = Vec::new();
    for _ in 0..count {
        reader.int32()?;
        found.push(reader.address(is_flexible)?);
        if version >= 1 {
            reader.string(is_flexible)?;
        }
        if is_flexible {
            reader.tagged_fields()?;
        }
    }
    Some(found)
}

fn coordinators(reader: &mut Reader<'_>, version: i16) -> Option<Vec<Address>> {
    let is_flexible = version >= 3;
    if is_flexible {
        reader.tagged_fields()?;
    }
    if version >= 1 {
        reader.int32()?;
    }
    if version >= 4 {
        let count = reader.array(true)?;
        let mut found = Vec::new();
        for _ in 0..count {
            reader.string(true)?;
            reader.int32()?;
            found.push(reader.address(true)?);
            reader.int16()?;
            reader.string(true)?;
            reader.tagged_fields()?;
        }
        return Some(found);
    }
    reader.int16()?;
    if version >= 1 {
        reader.string(is_flexible)?;
    }
    reader.int32()?;
    Some(vec![reader.address(is_flexible)?])
}

/// Reads a frame; none where it ends too early.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn int16(&mut self) -> Option<i16> {
        Some(i16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn int32(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn varint(&mut self) -> Option<usize> {
        let mut value = 0_usize;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// Length of an array; of one that is null, 0.
    fn array(&mut self, is_flexible: bool) -> Option<usize> {
        if is_flexible {
            return Some(self.varint()?.saturating_sub(1));
        }
        Some(usize::try_from(self.int32()?).unwrap_or(0))
    }

    /// A text; of one that is null, the empty one.
    fn string(&mut self, is_flexible: bool) -> Option<&'a str> {
        let length = if is_flexible {
            self.varint()?.saturating_sub(1)
        } else {
            usize::try_from(self.int16()?).unwrap_or(0)
        };
        std::str::from_utf8(self.take(length)?).ok()
    }

    fn tagged_fields(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let length = self.varint()?;
            self.take(length)?;
        }
        Some(())
    }

    fn address(&mut self, is_flexible: bool) -> Option<Address> {
        let start = self.at;
        let host = self.string(is_flexible)?.to_owned();
        let port = self.int32()?;
        Some(Address { host, port, place: start..self.at, is_flexible })
    }
}
