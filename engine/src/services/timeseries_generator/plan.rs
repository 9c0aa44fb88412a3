//! Which dates a transaction goes over: ranges of news, merged, cut into batches of bounded size.
//!
//! # Invariants
//! - Ranges of one owner are in order and do not touch.
//! - Every date of the news is in one batch, and of one owner the earlier dates come first.

use crate::domain::time::Date;
use crate::runtime::Knobs;

/// Days between two ranges that are not worth a range of their own: a weekend and a holiday.
const NEAR_DAYS: i32 = 7;

/// Ranges of dates, both ends included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(Date, Date)>);

impl Ranges {
    /// Adds a range; near ones become one.
    pub(super) fn add(&mut self, from: Date, to: Date) {
        let near = |(a, b): &(Date, Date)| {
            a.days() <= to.days().saturating_add(NEAR_DAYS)
                && from.days() <= b.days().saturating_add(NEAR_DAYS)
        };
        let (mut from, mut to) = (from, to);
        for (a, b) in self.0.iter().filter(|range| near(range)) {
            (from, to) = (from.min(*a), to.max(*b));
        }
        self.0.retain(|range| !near(range));
        let at = self.0.partition_point(|(a, _)| *a < from);
        self.0.insert(at, (from, to));
    }
}

/// Days of keys that one transaction may go over, all keys together: as many as a job may have.
pub(super) fn days_of_keys(knobs: &Knobs) -> u64 {
    u64::from(knobs.job_keys) * u64::from(knobs.job_days)
}

/// Days of portfolios that one transaction may go over. Each is a sum over all keys of its
/// portfolio, so they are far fewer.
pub(super) fn days_of_portfolios(knobs: &Knobs) -> u64 {
    u64::from(knobs.job_days)
}

/// The ranges of one transaction by their owner.
pub(super) type Batch<K> = Vec<(K, Date, Date)>;

/// Cuts ranges into batches of at most so many days, each with one range of an owner; a range may
/// go over several.
pub(super) fn batches<K: Clone + PartialEq>(
    owners: impl IntoIterator<Item = (K, Ranges)>,
    budget: u64,
) -> Vec<Batch<K>> {
    let mut batches: Vec<Batch<K>> = Vec::new();
    let mut left = 0;
    for (owner, ranges) in owners {
        for (from, to) in ranges.0 {
            let mut next = Some(from);
            while let Some(from) = next.filter(|from| *from <= to) {
                let is_second =
                    batches.last().is_some_and(|b| b.last().is_some_and(|last| last.0 == owner));
                if left == 0 || is_second {
                    batches.push(Vec::new());
                    left = budget.max(1);
                }
                let days = u64::from(from.days().abs_diff(to.days())) + 1;
                let taken = days.min(left);
                left -= taken;
                let last = Date::from_days(from.days() + (taken - 1) as i32);
                let batch = batches.last_mut().expect("one was just made");
                batch.push((owner.clone(), from, last));
                next = (last < to).then(|| last.next());
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(of: &[(i32, i32)]) -> Ranges {
        let mut ranges = Ranges::default();
        of.iter().for_each(|(a, b)| ranges.add(Date::from_days(*a), Date::from_days(*b)));
        ranges
    }

    fn shown<K: Copy>(batches: &[Batch<K>]) -> Vec<Vec<(K, i32, i32)>> {
        let one = |(owner, a, b): &(K, Date, Date)| (*owner, a.days(), b.days());
        batches.iter().map(|batch| batch.iter().map(one).collect()).collect()
    }

    #[test]
    fn near_ranges_become_one_and_others_stay_apart() {
        assert_eq!(ranges(&[(1, 5), (8, 9), (30, 31), (2, 3)]), ranges(&[(1, 9), (30, 31)]));
        assert_eq!(ranges(&[(40, 50), (1, 2), (9, 33)]), ranges(&[(1, 50)]));
        assert_eq!(ranges(&[(40, 50), (1, 2)]).0.len(), 2);
        assert_eq!(ranges(&[(1, i32::MAX), (5, i32::MAX)]).0.len(), 1);
    }

    #[test]
    fn batches_hold_a_bounded_number_of_days_and_all_of_them_in_order() {
        let owners = [("a", ranges(&[(1, 3), (90, 90)])), ("b", ranges(&[(1, 7)]))];
        let cut = batches(owners, 5);
        let second = vec![("a", 90, 90), ("b", 1, 4)];
        assert_eq!(shown(&cut), [vec![("a", 1, 3)], second, vec![("b", 5, 7)]]);
        assert!(batches(Vec::<(&str, Ranges)>::new(), 5).is_empty());
    }
}
