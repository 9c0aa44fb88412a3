//! The folders of all shards as the folder of the whole sweep, byte for byte.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use backdate_reports::sweep::RunResult;

use super::folder::{self, FAILURES_FOLDER, Folder, FolderError, io_at};
use super::manifest::{Item, Manifest, Shard};

/// A sweep of which all shards were found.
#[derive(Debug)]
pub struct Merged {
    /// What belongs to it.
    pub manifest: Manifest,
    /// All results, by scenario and seed.
    pub results: Vec<RunResult>,
}

/// Reads the folders of all shards; refuses them if one is missing, doubled or not complete.
pub fn read(shards: &[PathBuf]) -> Result<Merged, FolderError> {
    let mut all: Vec<(Item, RunResult)> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut whole: Option<Manifest> = None;
    for path in shards {
        let damaged = |why: String| FolderError::Damaged(path.display().to_string(), why);
        let (manifest, results) = folder::read(path)?;
        let Shard { number, of } = manifest
            .shard
            .ok_or_else(|| damaged("is no shard: it was run without --shard".into()))?;
        if !seen.insert((number, of)) {
            return Err(damaged(format!("is shard {number}/{of}, which was named before")));
        }
        let unsharded = manifest.unsharded();
        let first = whole.get_or_insert_with(|| unsharded.clone());
        if let Some(what) = first.difference(&unsharded) {
            return Err(damaged(format!("is a shard of another sweep than the first ({what})")));
        }
        let wanted = manifest.count().unwrap_or(results.len() as u64);
        if (results.len() as u64) < wanted {
            let there = results.len();
            let cure = "run its command again, it goes on where it stopped";
            return Err(damaged(format!("has {there} of {wanted} results: {cure}")));
        }
        all.extend(results.into_iter().map(|result| {
            let item = manifest.item(&result.source, result.seed);
            (item.expect("it was read with this manifest"), result)
        }));
    }
    let of = seen.iter().map(|(_, of)| *of).collect::<BTreeSet<u64>>();
    let missing = of.iter().flat_map(|of| (1..=*of).map(move |number| (number, *of)));
    let missing: Vec<String> = missing
        .filter(|shard| !seen.contains(shard))
        .map(|(number, of)| Shard { number, of }.to_string())
        .collect();
    let manifest = whole.filter(|_| missing.is_empty()).ok_or_else(|| {
        FolderError::Damaged("shards".into(), format!("not all are named: {}", missing.join(", ")))
    })?;
    all.sort_by_key(|(item, _)| *item);
    Ok(Merged { manifest, results: all.into_iter().map(|(_, result)| result).collect() })
}

/// Opens the folder of the whole and copies the runs that failed into it.
pub fn open(path: &Path, merged: &Merged, shards: &[PathBuf]) -> Result<Folder, FolderError> {
    let (folder, _) = Folder::open(path, &merged.manifest)?;
    for shard in shards {
        copy(&shard.join(FAILURES_FOLDER), &path.join(FAILURES_FOLDER))?;
    }
    Ok(folder)
}

/// Copies a folder into another one, if it is there.
fn copy(from: &Path, to: &Path) -> Result<(), FolderError> {
    if !from.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(to).map_err(|error| io_at(to, error))?;
    for entry in std::fs::read_dir(from).map_err(|error| io_at(from, error))? {
        let entry = entry.map_err(|error| io_at(from, error))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy(&source, &target)?;
        } else {
            std::fs::copy(&source, &target).map_err(|error| io_at(&target, error))?;
        }
    }
    Ok(())
}
