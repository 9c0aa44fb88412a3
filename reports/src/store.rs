//! The recording on disk: a header, then compressed blocks of events.
//!
//! ```text
//! "backdate-recording" | version u32 | block* | end
//! block: events u32 | raw bytes u32 | packed bytes u32 | packed (lz4 of postcard events)
//! end:   0 u32 | total events u64
//! ```
//!
//! All numbers are little-endian. It is written under another name and renamed at the end, so a
//! recording that exists is whole; a file without its end is refused.
//!
//! # Invariants
//! - What is read equals what was written, event for event.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::recording::Event;
use crate::unfinished::Unfinished;

/// Name of the recording in the folder of a run.
pub const RECORDING_FILE: &str = "recording";

const MAGIC: &[u8; 18] = b"backdate-recording";
/// Raised whenever an event changes its shape.
const VERSION: u32 = 1;
/// A block is written once it holds so many bytes: large enough to compress well.
const BLOCK_BYTES: usize = 256 * 1024;

/// Why a recording cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// Another kind of file.
    #[error("{0}: is no recording")]
    NotARecording(PathBuf),
    /// Written by another version.
    #[error("{0}: recording version {1}; this build reads version {VERSION}: run the plan again")]
    Version(PathBuf, u32),
    /// Not whole.
    #[error("{0}: is damaged: {1}")]
    Damaged(PathBuf, String),
}

/// Writes a recording.
pub struct RecordingWriter {
    file: Unfinished,
    block: Vec<u8>,
    events: u32,
    total: u64,
}

impl RecordingWriter {
    /// Begins a recording in the folder of a run, which must exist.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let mut file = Unfinished::create(folder, RECORDING_FILE)?;
        file.write_all(MAGIC)?;
        file.write_all(&VERSION.to_le_bytes())?;
        let block = Vec::with_capacity(BLOCK_BYTES * 2);
        Ok(Self { file, block, events: 0, total: 0 })
    }

    /// Adds an event.
    pub fn write(&mut self, event: &Event) -> io::Result<()> {
        let block = std::mem::take(&mut self.block);
        self.block = postcard::to_extend(event, block)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.events += 1;
        self.total += 1;
        if self.block.len() >= BLOCK_BYTES { self.flush_block() } else { Ok(()) }
    }

    /// Ends the recording; only now it has its name.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush_block()?;
        self.file.write_all(&0_u32.to_le_bytes())?;
        self.file.write_all(&self.total.to_le_bytes())?;
        self.file.finish()
    }

    fn flush_block(&mut self) -> io::Result<()> {
        if self.events == 0 {
            return Ok(());
        }
        let packed = lz4_flex::block::compress(&self.block);
        for number in [self.events, length(self.block.len()), length(packed.len())] {
            self.file.write_all(&number.to_le_bytes())?;
        }
        self.file.write_all(&packed)?;
        self.block.clear();
        self.events = 0;
        Ok(())
    }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a block is far below 4 GiB")
}

/// Reads a recording from its beginning to its end.
pub struct RecordingReader {
    file: BufReader<File>,
    path: PathBuf,
    block: std::vec::IntoIter<Event>,
    read: u64,
    done: bool,
}

impl RecordingReader {
    /// Opens the recording in the folder of a run.
    pub fn open(folder: &Path) -> Result<Self, ReadError> {
        let path = folder.join(RECORDING_FILE);
        let file = File::open(&path).map_err(|error| ReadError::Io(path.clone(), error))?;
        let mut file = BufReader::new(file);
        let mut magic = [0; MAGIC.len()];
        let is_recording = file.read_exact(&mut magic).is_ok() && &magic == MAGIC;
        if !is_recording {
            return Err(ReadError::NotARecording(path));
        }
        let mut reader = Self { file, path, block: Vec::new().into_iter(), read: 0, done: false };
        let version = reader.number()?;
        if version != VERSION {
            return Err(ReadError::Version(reader.path, version));
        }
        Ok(reader)
    }

    fn damaged(&self, why: impl ToString) -> ReadError {
        ReadError::Damaged(self.path.clone(), why.to_string())
    }

    fn number(&mut self) -> Result<u32, ReadError> {
        let mut bytes = [0; 4];
        self.file.read_exact(&mut bytes).map_err(|_| self.damaged("its end is missing"))?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Reads the next block; false at the end.
    fn next_block(&mut self) -> Result<bool, ReadError> {
        let events = self.number()?;
        if events == 0 {
            let mut total = [0; 8];
            self.file.read_exact(&mut total).map_err(|_| self.damaged("its end is missing"))?;
            let total = u64::from_le_bytes(total);
            if total != self.read {
                return Err(self.damaged(format!("{} events of {total}", self.read)));
            }
            return Ok(false);
        }
        let (raw_bytes, packed_bytes) = (self.number()?, self.number()?);
        let mut packed = Vec::new();
        let wanted = u64::from(packed_bytes);
        let got = self.file.by_ref().take(wanted).read_to_end(&mut packed);
        if got.map_err(|error| ReadError::Io(self.path.clone(), error))? as u64 != wanted {
            return Err(self.damaged("a block is cut off"));
        }
        let raw = lz4_flex::block::decompress(&packed, raw_bytes as usize)
            .map_err(|error| self.damaged(error))?;
        let mut rest = raw.as_slice();
        let mut block = Vec::with_capacity(events as usize);
        for _ in 0..events {
            let (event, left) =
                postcard::take_from_bytes(rest).map_err(|error| self.damaged(error))?;
            block.push(event);
            rest = left;
        }
        self.read += u64::from(events);
        self.block = block.into_iter();
        Ok(true)
    }
}

impl Iterator for RecordingReader {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.block.next() {
                return Some(Ok(event));
            }
            if self.done {
                return None;
            }
            match self.next_block() {
                Ok(true) => {}
                Ok(false) => self.done = true,
                Err(error) => {
                    self.done = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

/// Writes a file of a run: under another name first, so that it is never half there.
pub fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let mut file = File::create(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)
}
