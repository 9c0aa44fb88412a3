//! Tables that belong to the implementation and are not recorded.

use std::convert::Infallible;
use std::rc::Rc;

use backdate_reports::recording::Row;
use smol_str::SmolStr;

use super::super::core::table::Record;

/// `calendars`: a row to lock per calendar.
#[derive(Clone, Debug)]
pub struct CalendarRow {
    /// The calendar.
    pub code: SmolStr,
}

/// `outbox_lanes`
#[derive(Clone, Debug)]
pub struct LaneRow {
    /// The lane.
    pub lane: u32,
    /// Number of the turn in which it was last served.
    pub served: u64,
}

impl Record for CalendarRow {
    type Pk = SmolStr;
    type Index = Infallible;
    const NAME: &'static str = "calendars";

    fn pk(&self) -> SmolStr {
        self.code.clone()
    }

    fn recorded(_row: &Rc<Self>) -> Option<Row> {
        None
    }
}

impl Record for LaneRow {
    type Pk = u32;
    type Index = Infallible;
    const NAME: &'static str = "outbox_lanes";

    fn pk(&self) -> u32 {
        self.lane
    }

    fn recorded(_row: &Rc<Self>) -> Option<Row> {
        None
    }
}
