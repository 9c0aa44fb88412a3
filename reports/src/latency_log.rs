//! `latency.hlog`: the latencies of a run, interval by interval, as HdrHistogram's tools read them.
//!
//! An interval log of histograms in the compressed encoding V2, each tagged with its hop. Time 0 is
//! the start of the run; values are microseconds. All intervals of a hop, added up, are the
//! histogram that the summary's `latency_ms` is taken from.
//!
//! # Invariants
//! - Equal runs give equal bytes.
//! - Intervals in which a hop saw nothing are left out.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{
    IntervalLogWriterBuilder, IntervalLogWriterError, Tag,
};

use crate::recording::SimTime;
use crate::unfinished::Unfinished;

/// Name of the log in the folder of a run.
pub const LATENCY_FILE: &str = "latency.hlog";

/// Histograms by hop, in microseconds.
pub type Histograms = BTreeMap<&'static str, Histogram<u64>>;

/// Writes the log.
pub struct LatencyLog {
    file: Unfinished,
    serializer: V2DeflateSerializer,
}

impl LatencyLog {
    /// Begins a log in the folder of a run, which must exist.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let mut file = Unfinished::create(folder, LATENCY_FILE)?;
        let mut serializer = V2DeflateSerializer::new();
        IntervalLogWriterBuilder::new()
            .add_comment("[Histogram log format version 1.3]")
            .add_comment("Latencies by hop in microseconds; time 0 is the start of the run")
            .with_start_time(SystemTime::UNIX_EPOCH)
            .begin_log_with(&mut file, &mut serializer)?;
        Ok(Self { file, serializer })
    }

    /// Adds what was measured in an interval.
    pub fn write(&mut self, from: SimTime, to: SimTime, measured: &Histograms) -> io::Result<()> {
        let mut log =
            IntervalLogWriterBuilder::new().begin_log_with(&mut self.file, &mut self.serializer)?;
        for (hop, histogram) in measured.iter().filter(|(_, histogram)| !histogram.is_empty()) {
            let tag = Tag::new(hop).expect("a hop is a word");
            let written = log.write_histogram(
                histogram,
                Duration::from_nanos(from.0),
                to.since(from),
                Some(tag),
            );
            written.map_err(|error| match error {
                IntervalLogWriterError::IoError(error) => error,
                other => io::Error::other(other),
            })?;
        }
        Ok(())
    }

    /// Ends the log; only now it has its name.
    pub fn finish(self) -> io::Result<()> {
        self.file.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_a_line_with_its_tag_and_one_without_measurements_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LatencyLog::create(folder.path()).unwrap();
        let mut busy = Histogram::new(3).unwrap();
        busy.record(1_500).unwrap();
        let idle = Histogram::new(3).unwrap();
        let measured = Histograms::from([("outbox", busy), ("replay", idle)]);
        log.write(SimTime(1_000_000_000), SimTime(1_500_000_000), &measured).unwrap();
        log.finish().unwrap();
        let text = std::fs::read_to_string(folder.path().join(LATENCY_FILE)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "#[Histogram log format version 1.3]");
        assert_eq!(lines[2], "#[StartTime: 0.000 (seconds since epoch)]");
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[3].starts_with("Tag=outbox,1.000,0.500,1500.000,HIST"), "{text}");
    }
}
