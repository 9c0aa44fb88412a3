//! What looks on while a run goes on: the judge, the meters, the recorder.
//!
//! # Invariants
//! - Looking on has no influence on a run.

use std::path::Path;

use backdate_reports::meters::Meters;
use backdate_reports::recording::{Event, SimTime};
use backdate_reports::store::RecordingWriter;

use super::doctor::Doctor;
use crate::oracle::{Judge, JudgeConfig, RunEnd, Verdict};
use crate::scenario::edits::Edit;
use crate::world::{Probe, Work, probed};

/// Is shown every event.
pub type EventObserver = Box<dyn FnMut(&Event)>;

/// What looks on.
pub struct Observers {
    judge: Judge,
    meters: Meters,
    recorder: Option<RecordingWriter>,
    recorder_error: Option<std::io::Error>,
    lines: Option<EventObserver>,
    probe: Option<Probe>,
    doctor: Option<Doctor>,
}

/// What observers have to say at the end.
pub struct Observed {
    /// What the rules say.
    pub verdict: Verdict,
    /// What was measured.
    pub meters: Meters,
    /// The recording could not be written.
    pub recorder_error: Option<std::io::Error>,
}

impl Observers {
    /// A judge and meters; a recorder too, if there is a folder to write to.
    pub fn new(
        judge: JudgeConfig,
        save: Option<&Path>,
        lines: Option<EventObserver>,
    ) -> std::io::Result<Self> {
        let recorder = save.map(RecordingWriter::create).transpose()?;
        Ok(Self { recorder, lines, ..Self::unrecorded(judge) })
    }

    /// A judge and meters alone.
    pub fn unrecorded(judge: JudgeConfig) -> Self {
        Self {
            judge: Judge::new(judge),
            meters: Meters::new(),
            recorder: None,
            recorder_error: None,
            lines: None,
            probe: None,
            doctor: None,
        }
    }

    /// Lets a doctor change what is seen.
    pub(super) fn set_edits(&mut self, edits: &[Edit]) {
        self.doctor = Doctor::new(edits);
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
        probed(probe, Work::Meters, || self.meters.observe(event));
        if let Some(recorder) = &mut self.recorder
            && let Err(error) = probed(probe, Work::Recorder, || recorder.write(event))
        {
            self.recorder_error = Some(error);
            self.recorder = None;
        }
        if let Some(lines) = &mut self.lines {
            lines(event);
        }
    }

    /// Whether a rule is broken so far.
    pub fn is_violated(&self) -> bool {
        self.judge.violated()
    }

    /// Ends the recording and lets the judge speak.
    pub fn finish(self, settled: bool, last: SimTime) -> Observed {
        let mut recorder_error = self.recorder_error;
        if let Some(recorder) = self.recorder
            && let Err(error) = recorder.finish()
        {
            recorder_error = Some(error);
        }
        let verdict = self.judge.finish(&RunEnd { settled, last });
        Observed { verdict, meters: self.meters, recorder_error }
    }
}
