//! The folder of a sweep's results.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `sweep.json` | what belongs to the sweep |
//! | `results.jsonl` | a line a run: as they come, at the end by scenario and seed |
//! | `suite.json` | what all came to |
//! | `failures/` | the runs that failed, each as `run --save` writes it |
//!
//! # Invariants
//! - A result that was told is on disk; a half-written one is dropped when the sweep goes on.
//! - One process writes at a time, and only results of this sweep.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use backdate_reports::store::write_whole;
use backdate_reports::sweep::{RunResult, SweepSummary};
use thiserror::Error;

use super::manifest::Manifest;

/// Name of the manifest.
pub const MANIFEST_FILE: &str = "sweep.json";
/// Name of the results.
pub const RESULTS_FILE: &str = "results.jsonl";
/// Name of the summary.
pub const SUITE_FILE: &str = "suite.json";
/// Name of the folder of runs that failed.
pub const FAILURES_FOLDER: &str = "failures";

/// Why a folder cannot be used.
#[derive(Debug, Error)]
pub enum FolderError {
    /// It holds something else.
    #[error("{0}: holds another sweep ({1}): remove it or choose another --save")]
    Other(String, String),
    /// It holds no results, or what is in them cannot be.
    #[error("{0}: {1}")]
    Damaged(String, String),
    /// Somebody else writes to it.
    #[error("{0}: another process is running this sweep: wait for it, or choose another --save")]
    Busy(String),
    /// The machine is in the way.
    #[error("{0}: {1}")]
    Io(String, io::Error),
}

/// A folder that is written to.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    journal: File,
    length: u64,
}

impl Folder {
    /// Opens the folder of a sweep, and reads the results that are there already.
    pub fn open(path: &Path, manifest: &Manifest) -> Result<(Self, Vec<RunResult>), FolderError> {
        std::fs::create_dir_all(path).map_err(|error| io_at(path, error))?;
        let place = path.join(MANIFEST_FILE);
        match read_manifest(path)? {
            Some(there) => {
                if let Some(what) = there.difference(manifest) {
                    return Err(FolderError::Other(path.display().to_string(), what));
                }
            }
            None => write_whole(&place, &manifest.to_json()).map_err(|e| io_at(&place, e))?,
        }
        let place = path.join(RESULTS_FILE);
        let mut journal = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&place)
            .map_err(|error| io_at(&place, error))?;
        // Some shared file systems know no locks; there the batch system keeps the order.
        if let Err(TryLockError::WouldBlock) = journal.try_lock() {
            return Err(FolderError::Busy(path.display().to_string()));
        }
        let mut text = Vec::new();
        journal.read_to_end(&mut text).map_err(|error| io_at(&place, error))?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let length = whole as u64;
        journal.set_len(length).map_err(|error| io_at(&place, error))?;
        let results = parse(&place, &text[..whole], manifest)?;
        Ok((Self { path: path.to_path_buf(), journal, length }, results))
    }

    /// Keeps a result; only then it may be told.
    pub fn append(&mut self, result: &RunResult) -> Result<(), FolderError> {
        let line = line(result);
        let written = self.journal.write_all(line.as_bytes());
        if let Err(error) = written.and_then(|()| self.journal.sync_data()) {
            // Half a line is dropped at once if that is possible, else when it is read.
            let _ = self.journal.set_len(self.length);
            return Err(io_at(&self.path.join(RESULTS_FILE), error));
        }
        self.length += line.len() as u64;
        Ok(())
    }

    /// Puts the results in order, and writes what they come to.
    pub fn finish(
        mut self,
        results: &[RunResult],
        summary: &SweepSummary,
    ) -> Result<(), FolderError> {
        let place = self.path.join(RESULTS_FILE);
        let mut there = String::new();
        let read = self.journal.seek(SeekFrom::Start(0));
        read.and_then(|_| self.journal.read_to_string(&mut there))
            .map_err(|error| io_at(&place, error))?;
        let text: String = results.iter().map(line).collect();
        if there != text {
            write_whole(&place, &text).map_err(|error| io_at(&place, error))?;
        }
        let place = self.path.join(SUITE_FILE);
        write_whole(&place, &summary.to_json()).map_err(|error| io_at(&place, error))
    }
}

/// Reads the manifest and the results of a folder, which stays as it is.
pub fn read(path: &Path) -> Result<(Manifest, Vec<RunResult>), FolderError> {
    let damaged = |why: &str| FolderError::Damaged(path.display().to_string(), why.to_owned());
    let manifest = read_manifest(path)?
        .ok_or_else(|| damaged("is no folder of a sweep: it has no sweep.json"))?;
    let place = path.join(RESULTS_FILE);
    let text = std::fs::read(&place).map_err(|error| io_at(&place, error))?;
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let results = parse(&place, &text[..whole], &manifest)?;
    Ok((manifest, results))
}

/// A result as its line.
fn line(result: &RunResult) -> String {
    let mut line = serde_json::to_string(result).expect("a result has finite numbers");
    line.push('\n');
    line
}

fn read_manifest(path: &Path) -> Result<Option<Manifest>, FolderError> {
    let place = path.join(MANIFEST_FILE);
    let text = match std::fs::read_to_string(&place) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_at(&place, error)),
    };
    let damaged = |error| {
        let why = format!("is no manifest of a sweep: {error}");
        FolderError::Damaged(place.display().to_string(), why)
    };
    serde_json::from_str(&text).map(Some).map_err(damaged)
}

/// The results in a text of whole lines, by scenario and seed.
fn parse(place: &Path, text: &[u8], manifest: &Manifest) -> Result<Vec<RunResult>, FolderError> {
    let damaged = |number: usize, why: &str| {
        let place = format!("{}:{}", place.display(), number + 1);
        FolderError::Damaged(place, format!("is no result of this sweep: {why}"))
    };
    let mut results = Vec::new();
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    for (number, line) in lines.filter(|(_, line)| !line.is_empty()) {
        let result: RunResult =
            serde_json::from_slice(line).map_err(|error| damaged(number, &error.to_string()))?;
        let item = manifest.item(&result.source, result.seed);
        let item = item.ok_or_else(|| damaged(number, "another scenario"))?;
        results.push((item, result));
    }
    results.sort_by_key(|(item, _)| *item);
    results.dedup_by_key(|(item, _)| *item);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

pub(super) fn io_at(path: &Path, error: io::Error) -> FolderError {
    FolderError::Io(path.display().to_string(), error)
}
