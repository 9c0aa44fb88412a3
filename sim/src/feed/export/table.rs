//! One CSV file: its rows in order of their key columns.

use std::fs;
use std::io;
use std::path::Path;

/// A table that is about to become a file.
pub(super) struct CsvTable {
    name: &'static str,
    header: &'static str,
    key_columns: usize,
    rows: Vec<Vec<String>>,
}

impl CsvTable {
    pub(super) fn new(name: &'static str, header: &'static str, key_columns: usize) -> Self {
        Self { name, header, key_columns, rows: Vec::new() }
    }

    pub(super) fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// Written beside its place and renamed, so that a reader never sees half a file.
    pub(super) fn write(mut self, folder: &Path) -> io::Result<()> {
        let columns = self.key_columns;
        self.rows.sort_by(|a, b| a[..columns].cmp(&b[..columns]));
        self.rows.dedup();
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(self.header.split(','))?;
        for row in &self.rows {
            writer.write_record(row)?;
        }
        let bytes = writer.into_inner().map_err(|error| error.into_error())?;
        let half = folder.join(format!(".{}.csv.half", self.name));
        fs::write(&half, bytes)?;
        fs::rename(half, folder.join(format!("{}.csv", self.name)))
    }
}
