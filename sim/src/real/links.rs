//! The links between instances and servers, each a proxy, through which faults of the network are
//! injected for real.
//!
//! Each instance reaches each server through a proxy of its own, so that one link can be slow, held
//! one way or both, or broken, and no other is touched.

use std::collections::BTreeMap;
use std::rc::Rc;

use smol_str::SmolStr;

use crate::proxy::{Direction, Link};

/// All links, by instance and server.
#[derive(Clone, Default)]
pub(super) struct Links(Rc<BTreeMap<(SmolStr, SmolStr), Link>>);

impl Links {
    pub(super) fn new(links: BTreeMap<(SmolStr, SmolStr), Link>) -> Self {
        Self(Rc::new(links))
    }

    /// The link between two, in whichever order, and the direction from the first to the second;
    /// none between processes that do not talk to each other.
    pub(super) fn between(&self, from: &SmolStr, to: &SmolStr) -> Option<(Link, Direction)> {
        let link = |a: &SmolStr, b: &SmolStr| self.0.get(&(a.clone(), b.clone())).cloned();
        let there = link(from, to).map(|link| (link, Direction::ToServer));
        there.or_else(|| link(to, from).map(|link| (link, Direction::ToClient)))
    }

    /// All links of a process.
    pub(super) fn of(&self, process: &SmolStr) -> Vec<Link> {
        let own = self.0.iter().filter(|((a, b), _)| a == process || b == process);
        own.map(|(_, link)| link.clone()).collect()
    }
}
