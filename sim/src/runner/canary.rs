//! Alarms that must ring: `BACKDATE_CANARY` breaks a rule, or the determinism, of a sound run, so
//! that a pipeline can check that it would notice.

use std::rc::Rc;

use backdate_engine::ports::store::rows::Table;
use backdate_reports::recording::{Change, EventKind, Row};

use super::stage::Stage;

/// An alarm that must ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// A rule breaks.
    Rule,
    /// Two runs differ: the number is another one in every process.
    Nondeterminism(u32),
}

impl Canary {
    /// Rings it at the end of a run.
    pub fn ring(self, stage: &mut impl Stage) {
        let event = match self {
            Canary::Rule => broken_rule(stage),
            Canary::Nondeterminism(number) => {
                let detail = number.to_string().into();
                EventKind::Fault { fault: "canary".into(), begins: true, detail }
            }
        };
        stage.record("canary", event);
    }
}

/// A watermark that falls without a revision, as no engine may let it fall; where there is no key,
/// an acknowledgement of an input that no broker has.
fn broken_rule(stage: &impl Stage) -> EventKind {
    let rows = stage.rows(&[Table::PositionState]);
    let Some(Row::Key(state)) = rows.into_iter().next() else {
        return EventKind::InputAcknowledged { id: u64::MAX };
    };
    let mut broken = (*state).clone();
    broken.watermark_date = broken.watermark_date.previous();
    let changes = vec![Change { row: Row::Key(Rc::new(broken)), deleted: false }];
    EventKind::Committed { client: "canary".into(), keys_locked: 1, changes }
}
