//! A file that is written piece by piece, and has its name only once it is whole.
//!
//! # Invariants
//! - A file of that name is whole and of this run; what is given up leaves nothing behind.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file that is being written.
pub(crate) struct Unfinished {
    file: BufWriter<File>,
    /// Where it is written.
    place: PathBuf,
    /// Where it will be.
    path: PathBuf,
    is_whole: bool,
}

impl Unfinished {
    /// Begins a file in a folder that exists. One of an earlier run goes: it would stand beside
    /// files of this one.
    pub(crate) fn create(folder: &Path, name: &str) -> io::Result<Self> {
        let path = folder.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let place = folder.join(format!("{name}.unfinished"));
        let file = BufWriter::new(File::create(&place)?);
        Ok(Self { file, place, path, is_whole: false })
    }

    /// Gives it its name.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        std::fs::rename(&self.place, &self.path)?;
        self.is_whole = true;
        Ok(())
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_whole {
            // Whoever gave it up has an error to tell already.
            let _ = std::fs::remove_file(&self.place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let name = |entry: io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
        entries.map(|entry| name(entry).into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_has_its_name_once_it_is_whole_and_an_old_one_goes_before() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.csv"), "old").unwrap();
        let mut file = Unfinished::create(folder.path(), "a.csv").unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(names(folder.path()), ["a.csv.unfinished"]);
        file.finish().unwrap();
        assert_eq!(names(folder.path()), ["a.csv"]);
        assert_eq!(std::fs::read(folder.path().join("a.csv")).unwrap(), b"new");
    }

    #[test]
    fn what_is_given_up_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = Unfinished::create(folder.path(), "a.csv").unwrap();
        file.write_all(b"new").unwrap();
        drop(file);
        assert!(names(folder.path()).is_empty());
    }
}
