//! `trace`: everything that happened to one key in a saved run.

use std::io::Write;

use backdate_engine::domain::ids::Key;
use backdate_reports::store::RecordingReader;
use backdate_reports::trace::lines;

use super::Failure;
use super::arguments::TraceCommand;
use crate::runner::exit;

pub(super) fn trace(command: &TraceCommand) -> Result<u8, Failure> {
    let (portfolio, security) = command.key.split_once('/').ok_or_else(|| {
        let key = &command.key;
        Failure::usage(format!("--key {key}: must be PORTFOLIO/SECURITY, like P00001/SP500"))
    })?;
    let key = Key::new(portfolio, security);
    let reader = RecordingReader::open(&command.run_dir).map_err(Failure::usage)?;
    let mut out = std::io::stdout().lock();
    let mut is_known = false;
    for event in reader {
        let event = event.map_err(Failure::usage)?;
        for line in lines(&event, &key) {
            is_known |= line.contains("state ");
            // The reader may have seen enough and closed the pipe.
            if writeln!(out, "{line}").is_err() {
                return Ok(exit::PASS);
            }
        }
    }
    if is_known {
        Ok(exit::PASS)
    } else {
        Err(Failure::usage(format!("--key {key}: the run has no such key")))
    }
}
