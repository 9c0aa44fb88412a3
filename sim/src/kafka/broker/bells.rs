//! Whoever waits for news of a partition.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use super::super::Place;
use crate::world::sync::Notify;

/// Bells by partition; each rings at most once.
#[derive(Default)]
pub(super) struct Bells(RefCell<BTreeMap<Place, Vec<Weak<Notify>>>>);

impl Bells {
    /// A bell that rings at the next news of any of these partitions, as long as it is held.
    pub(super) fn hang(&self, places: impl Iterator<Item = Place>) -> Rc<Notify> {
        let bell = Rc::new(Notify::default());
        let mut bells = self.0.borrow_mut();
        for place in places {
            let waiting = bells.entry(place).or_default();
            waiting.retain(|bell| bell.strong_count() > 0);
            waiting.push(Rc::downgrade(&bell));
        }
        bell
    }

    /// There is news of a partition.
    pub(super) fn ring(&self, place: Place) {
        if let Some(waiting) = self.0.borrow_mut().get_mut(&place) {
            let bells = waiting.drain(..).filter_map(|bell| bell.upgrade());
            bells.for_each(|bell| bell.notify_one());
        }
    }
}
