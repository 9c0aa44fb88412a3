//! What looks on while a run goes on: the judge, the meters, the recorder, and who writes files
//! for others' tools.
//!
//! # Invariants
//! - Looking on has no influence on a run.

use std::path::Path;
use std::rc::Rc;

use backdate_reports::meters::Meters;
use backdate_reports::recording::{Event, SimTime};
use backdate_reports::store::RecordingWriter;

use super::doctor::Doctor;
use super::telemetry::Telemetry;
use crate::oracle::{Judge, JudgeConfig, RunEnd, Verdict};
use crate::scenario::edits::Edit;
use crate::world::{Course, Measured, Measurer, Probe, Work, probed};

/// Is shown every event, and the course of the run until then where there is one.
pub type EventObserver = Box<dyn FnMut(&Event, Option<&Course>)>;

/// What looks on.
pub struct Observers {
    judge: Judge,
    meters: Meters,
    recorder: Option<RecordingWriter>,
    telemetry: Option<Telemetry>,
    recorder_error: Option<std::io::Error>,
    lines: Option<EventObserver>,
    measurer: Option<Measurer>,
    probe: Option<Probe>,
    course: Option<Rc<Course>>,
    doctor: Option<Doctor>,
}

/// What observers have to say at the end.
pub struct Observed {
    /// What the rules say.
    pub verdict: Verdict,
    /// What was measured.
    pub meters: Meters,
    /// The recording, or a file beside it, could not be written.
    pub recorder_error: Option<std::io::Error>,
}

impl Observers {
    /// A judge and meters; if there is a folder to write to, a recorder too, and files for others'
    /// tools.
    pub fn new(
        judge: JudgeConfig,
        save: Option<&Path>,
        lines: Option<EventObserver>,
    ) -> std::io::Result<Self> {
        let recorder = save.map(RecordingWriter::create).transpose()?;
        let telemetry = save.map(Telemetry::create).transpose()?;
        let mut observers = Self { recorder, telemetry, lines, ..Self::unrecorded(judge) };
        if observers.telemetry.is_some() {
            observers.meters.keep_intervals();
        }
        Ok(observers)
    }

    /// A judge and meters alone.
    pub fn unrecorded(judge: JudgeConfig) -> Self {
        Self {
            judge: Judge::new(judge),
            meters: Meters::new(),
            recorder: None,
            telemetry: None,
            recorder_error: None,
            lines: None,
            measurer: None,
            probe: None,
            course: None,
            doctor: None,
        }
    }

    /// Lets a doctor change what is seen.
    pub(super) fn set_edits(&mut self, edits: &[Edit]) {
        self.doctor = Doctor::new(edits);
    }

    /// Shows the course of the run with every event from now on.
    pub(super) fn set_course(&mut self, course: Rc<Course>) {
        self.course = Some(course);
    }

    /// Tells somebody else too what processes measure, from the start on.
    pub(super) fn set_measurer(&mut self, measurer: Option<Measurer>) {
        self.measurer = measurer;
    }

    /// Tells a probe from now on what the machine is busy with.
    pub(super) fn set_probe(&mut self, probe: Probe) {
        self.probe = Some(probe);
    }

    /// Shows everybody an event, or what a doctor makes of it.
    pub fn observe(&mut self, event: &Event) {
        match &mut self.doctor {
            None => self.show(event),
            Some(doctor) => doctor.treat(event).iter().for_each(|event| self.show(event)),
        }
    }

    fn show(&mut self, event: &Event) {
        let probe = self.probe.as_ref();
        probed(probe, Work::Judge, || self.judge.observe(event));
        let (telemetry, meters) = (&mut self.telemetry, &mut self.meters);
        let written = probed(probe, Work::Recorder, || match telemetry {
            Some(telemetry) => telemetry.observe(event, meters),
            None => Ok(()),
        });
        if let Err(error) = written {
            self.recorder_error.get_or_insert(error);
            self.telemetry = None;
        }
        let probe = self.probe.as_ref();
        probed(probe, Work::Meters, || self.meters.observe(event));
        if let Some(recorder) = &mut self.recorder
            && let Err(error) = probed(probe, Work::Recorder, || recorder.write(event))
        {
            self.recorder_error.get_or_insert(error);
            self.recorder = None;
        }
        if let Some(lines) = &mut self.lines {
            lines(event, self.course.as_deref());
        }
    }

    /// Whether somebody wants to know what processes measure; if so, they tell it from now on.
    pub(super) fn take_measurements(&mut self) -> bool {
        let is_written = self.telemetry.as_mut().map(Telemetry::take_measurements).is_some();
        is_written || self.measurer.is_some()
    }

    /// Hears what a process measured.
    pub(super) fn measured(&mut self, at: SimTime, process: &str, measured: Measured) {
        if let Some(measurer) = &self.measurer {
            measurer(at, process, measured);
        }
        let Some(telemetry) = &mut self.telemetry else { return };
        if let Err(error) = telemetry.measured(at, process, measured, &mut self.meters) {
            self.recorder_error.get_or_insert(error);
            self.telemetry = None;
        }
    }

    /// Whether a rule is broken so far.
    pub fn is_violated(&self) -> bool {
        self.judge.violated()
    }

    /// Ends the recording and lets the judge speak.
    pub fn finish(mut self, settled: bool, last: SimTime) -> Observed {
        let mut recorder_error = self.recorder_error;
        let recorded = self.recorder.map(RecordingWriter::finish);
        let written = self.telemetry.map(|telemetry| telemetry.finish(last, &mut self.meters));
        for error in [recorded, written].into_iter().flatten().filter_map(Result::err) {
            recorder_error.get_or_insert(error);
        }
        let verdict = self.judge.finish(&RunEnd { settled, last });
        Observed { verdict, meters: self.meters, recorder_error }
    }
}
