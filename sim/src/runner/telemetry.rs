//! Files for others' tools beside the recording: `metrics.csv` and `latency.hlog`.
//!
//! The metrics are the engine's own: what `serve` tells Prometheus on a machine is told a table
//! here, once every simulated second and at the end. Gauges show what is committed; counters follow
//! what all instances report, over all their lives.
//!
//! Real instances keep what they only count to themselves. There, records are counted as consumed
//! when their group commits them, and as published when they leave the outbox; the histograms
//! `scheduler_gap_days` and `db_operation_latency_seconds` stay empty.
//!
//! # Invariants
//! - Equal runs write equal files.
//! - A row shows what happened until its instant, inclusive, and nothing later.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use backdate_engine::adapters::telemetry::metrics::{InstanceMetrics, Metrics, Readings};
use backdate_engine::domain::ids::Key;
use backdate_engine::domain::records::{Fate, ParkReason, Place};
use backdate_engine::ports::host::Measure;
use backdate_engine::ports::log::{Position, Topic};
use backdate_engine::ports::store::rows::TimelineRow;
use backdate_engine::runtime::ProcessKind;
use backdate_reports::latency_log::LatencyLog;
use backdate_reports::meters::Meters;
use backdate_reports::metrics::MetricsTable;
use backdate_reports::recording::{Change, Event, EventKind, Row, SimTime};
use smol_str::SmolStr;

use super::stage::GROUPS;
use crate::world::Measured;

/// Simulated time between two rows.
const INTERVAL: Duration = Duration::from_secs(1);
/// What a process says of itself, not of the engine.
const OF_A_PROCESS: [&str; 2] = ["db_readings_timestamp_seconds ", "ready "];

/// Writes the files.
pub(super) struct Telemetry {
    table: MetricsTable,
    log: LatencyLog,
    metrics: Metrics,
    instances: BTreeMap<SmolStr, InstanceMetrics>,
    parked: BTreeMap<(Key, Place), ParkReason>,
    /// First offset that is not consumed, by group, topic and partition.
    consumed: BTreeMap<(SmolStr, Topic, u32), u64>,
    /// Whether hosts tell what their instances count.
    is_told: bool,
    /// When the last row was written.
    written: SimTime,
    /// When the last event happened.
    seen: SimTime,
}

impl Telemetry {
    /// Begins the files in a folder that exists.
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        Ok(Self {
            table: MetricsTable::create(folder)?,
            log: LatencyLog::create(folder)?,
            metrics: Metrics::default(),
            instances: BTreeMap::new(),
            parked: BTreeMap::new(),
            consumed: BTreeMap::new(),
            is_told: false,
            written: SimTime::default(),
            seen: SimTime::default(),
        })
    }

    /// Hosts tell from now on what their instances count.
    pub(super) fn take_measurements(&mut self) {
        self.is_told = true;
    }

    /// Hears what a process measured.
    pub(super) fn measured(
        &mut self,
        at: SimTime,
        process: &str,
        measured: Measured,
        meters: &mut Meters,
    ) -> io::Result<()> {
        self.write_until(at, meters)?;
        match measured {
            Measured::Counted(measure) => {
                if let Some(instance) = self.instance(process) {
                    instance.measure(measure);
                }
            }
            Measured::Statement { operation, took } => self.metrics.statement(operation, took),
            // What a database counts is not the engine's to tell.
            Measured::Served { .. } => {}
        }
        Ok(())
    }

    /// Sees an event; the meters have not seen it yet.
    pub(super) fn observe(&mut self, event: &Event, meters: &mut Meters) -> io::Result<()> {
        self.write_until(event.at, meters)?;
        self.seen = event.at;
        match &event.kind {
            // What it knew has died with it.
            EventKind::Started => drop(self.instances.remove(&event.process)),
            EventKind::Signal(signal) => {
                if let Some(instance) = self.instance(&event.process) {
                    instance.signal(signal);
                }
            }
            EventKind::Committed { changes, .. } => self.committed(changes),
            EventKind::OffsetsCommitted { group, positions } if !self.is_told => {
                self.consumed(group, positions);
            }
            _ => {}
        }
        Ok(())
    }

    /// Ends the files with the last instant.
    pub(super) fn finish(mut self, last: SimTime, meters: &mut Meters) -> io::Result<()> {
        let last = last.max(self.seen);
        self.write_until(last, meters)?;
        self.write(last, meters)?;
        self.table.finish()?;
        self.log.finish()
    }

    /// The metrics of an instance of the engine; none for others.
    fn instance(&mut self, process: &str) -> Option<&InstanceMetrics> {
        if !self.instances.contains_key(process) {
            let (kind, _) = process.rsplit_once('-')?;
            let metrics = self.metrics.instance(ProcessKind::parse(kind)?.as_str());
            self.instances.insert(process.into(), metrics);
        }
        self.instances.get(process)
    }

    fn committed(&mut self, changes: &[Change]) {
        for Change { row, deleted } in changes {
            match row {
                Row::Timeline(row) => self.parked(row, *deleted),
                Row::Outbox(row) if *deleted && !self.is_told => {
                    let dispatcher = self.metrics.instance(ProcessKind::OutboxDispatcher.as_str());
                    dispatcher.measure(Measure::Published { topic: row.topic, records: 1 });
                }
                _ => {}
            }
        }
    }

    fn parked(&mut self, row: &TimelineRow, deleted: bool) {
        let place = (row.key.clone(), row.place.clone());
        match row.outcome.as_ref().map(|outcome| &outcome.fate) {
            Some(Fate::Parked(reason)) if !deleted => drop(self.parked.insert(place, *reason)),
            _ => drop(self.parked.remove(&place)),
        }
    }

    fn consumed(&mut self, group: &SmolStr, positions: &[Position]) {
        let Some((group_id, _)) = GROUPS.iter().find(|(name, _)| name == group) else { return };
        for Position { topic, partition, next_offset } in positions {
            let done = self.consumed.entry((group.clone(), *topic, *partition)).or_default();
            let records = next_offset.saturating_sub(*done);
            *done = (*done).max(*next_offset);
            let consumer = self.metrics.instance(group_id);
            consumer.measure(Measure::Consumed { topic: *topic, group: group_id, records });
        }
    }

    /// Writes the rows of all instants before that one.
    fn write_until(&mut self, at: SimTime, meters: &mut Meters) -> io::Result<()> {
        while self.written + INTERVAL < at {
            self.write(self.written + INTERVAL, meters)?;
        }
        Ok(())
    }

    fn write(&mut self, at: SimTime, meters: &mut Meters) -> io::Result<()> {
        let readings = self.readings(at, meters);
        self.metrics.read(&readings, SystemTime::UNIX_EPOCH);
        let exposed = self.metrics.expose();
        let is_of_engine = |line: &&str| !OF_A_PROCESS.iter().any(|name| line.starts_with(name));
        let of_engine: Vec<&str> = exposed.lines().filter(is_of_engine).collect();
        self.table.write(at, &of_engine.join("\n"))?;
        self.log.write(self.written, at, &meters.end_interval())?;
        self.written = at;
        Ok(())
    }

    fn readings(&self, at: SimTime, meters: &Meters) -> Readings {
        let mut parked: BTreeMap<ParkReason, u64> = BTreeMap::new();
        for reason in self.parked.values() {
            *parked.entry(*reason).or_default() += 1;
        }
        Readings {
            reprocessing_keys: meters.keys_behind(),
            triggers: meters.queue("triggers"),
            valuation_jobs: meters.queue("valuation_jobs"),
            outbox_events: meters.queue("outbox"),
            parked: parked.into_iter().collect(),
            snapshot_lag: meters.reprocessing_since().map_or(Duration::ZERO, |s| at.since(s)),
        }
    }
}
