//! The laws of the search, on rules that are made up; whole plans are shrunk by the integration
//! tests.

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;

use super::names;
use super::passes::forget;
use super::reduce::{lower, minimise};
use crate::scenario::load;
use crate::scenario::plan::{Plan, PlannedFault};
use crate::scenario::tasks::Tasks;
use crate::world::faults::Fault;

proptest! {
    #[test]
    fn what_is_needed_stays_and_all_else_goes(
        length in 1usize..80,
        needed in proptest::collection::btree_set(0usize..80, 0..6),
    ) {
        let needed: BTreeSet<usize> = needed.into_iter().filter(|item| *item < length).collect();
        let holds = |left: &[usize]| needed.iter().all(|item| left.contains(item));
        let (left, is_less) = minimise((0..length).collect(), holds);
        prop_assert_eq!(&left, &needed.iter().copied().collect::<Vec<_>>());
        prop_assert_eq!(is_less, left.len() < length);
    }

    #[test]
    fn one_at_a_time_nothing_more_can_go(
        length in 1usize..40,
        weights in proptest::collection::vec(0u32..5, 40),
        least in 1u32..20,
    ) {
        let weight = |left: &[usize]| left.iter().map(|item| weights[*item]).sum::<u32>();
        let all: Vec<usize> = (0..length).collect();
        prop_assume!(weight(&all) >= least);
        let (left, _) = minimise(all, |left| weight(left) >= least);
        prop_assert!(weight(&left) >= least);
        for at in 0..left.len() {
            let rest = [&left[..at], &left[at + 1..]].concat();
            prop_assert!(weight(&rest) < least, "{:?} without its item {} still does", left, at);
        }
    }

    #[test]
    fn the_least_number_is_found(least in 0u64..50, limit in 0u64..50, most in 0u64..50) {
        prop_assume!(least <= most && limit <= most);
        prop_assert_eq!(lower(least, most, |number| number >= limit), limit.max(least));
    }
}

#[test]
fn a_fault_of_an_instance_that_is_gone_is_an_orphan() {
    let crash = |process: &str| PlannedFault {
        at_ms: 5,
        fault: Fault::Crash { process: process.into(), down_ms: 9 },
    };
    let gone = BTreeSet::from(["persistence-2".to_owned()]);
    assert!(names::is_orphan(&crash("persistence-2"), &gone));
    assert!(!names::is_orphan(&crash("persistence-1"), &gone));
    assert!(!names::is_orphan(&crash("persistence"), &gone));
}

#[test]
fn nobody_is_starved_who_is_gone() {
    let gone = BTreeSet::from(["persistence-2".to_owned()]);
    let steady = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/smoke/steady.toml");
    let mut plan = Plan::expand(&load(&steady, &[]).expect("a shipped scenario"), 1);
    for (starved, left) in
        [("persistence-1", Tasks::Starve("persistence-1".into())), ("persistence-2", Tasks::Seeded)]
    {
        plan.tasks = Tasks::Starve(starved.into());
        forget(&mut plan, &gone);
        assert_eq!(plan.tasks, left);
    }
}

#[test]
fn lengths_are_halved_and_offsets_are_not() {
    let skew = Fault::ClockSkew { process: "price-watcher-1".into(), offset_ms: 400, for_ms: 3 };
    let planned = PlannedFault { at_ms: 7, fault: skew };
    let half = names::halved(&planned).expect("it lasts longer than a millisecond");
    let expected =
        Fault::ClockSkew { process: "price-watcher-1".into(), offset_ms: 400, for_ms: 1 };
    assert_eq!(half, PlannedFault { at_ms: 7, fault: expected });
    assert_eq!(names::halved(&half), None);
}
