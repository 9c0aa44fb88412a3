//! Which member of a group reads which partitions: decided by the group's leader, on the client.
//!
//! Kafka's `RoundRobinAssignor`; it is not sticky, so a rebalance may move any partition.
//!
//! # Invariants
//! - Each partition of a topic that anybody reads goes to exactly one member that reads it.

use backdate_engine::ports::log::Topic;
use smol_str::SmolStr;

use super::wire::Assignment;

/// Deals the partitions out to the members that read their topics, one after the other, as Kafka's
/// `RoundRobinAssignor` does.
pub(super) fn assign(
    members: &[(SmolStr, Vec<Topic>)],
    partitions_of: impl Fn(Topic) -> u32,
) -> Vec<Assignment> {
    let empty = |(member, _): &(SmolStr, Vec<Topic>)| Assignment {
        member: member.clone(),
        places: Vec::new(),
    };
    let mut assignments: Vec<_> = members.iter().map(empty).collect();
    let mut turn = 0;
    for &topic in Topic::ALL {
        if !members.iter().any(|(_, topics)| topics.contains(&topic)) {
            continue;
        }
        for partition in 0..partitions_of(topic) {
            while !members[turn % members.len()].1.contains(&topic) {
                turn += 1;
            }
            assignments[turn % members.len()].places.push((topic, partition));
            turn += 1;
        }
    }
    assignments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_dealt_out_evenly_and_only_once() {
        let topics = |list: &[Topic]| list.to_vec();
        let members = [
            ("a".into(), topics(&[Topic::MarketPrices, Topic::FxRates])),
            ("b".into(), topics(&[Topic::MarketPrices])),
            ("c".into(), topics(&[Topic::MarketPrices, Topic::FxRates])),
        ];
        let assignments = assign(&members, |_| 4);
        let count = |member: usize| assignments[member].places.len();
        assert_eq!((count(0), count(1), count(2)), (4, 1, 3));
        let mut places: Vec<_> = assignments.into_iter().flat_map(|a| a.places).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 8);
        assert_eq!(assign(&[], |_| 4), []);
    }
}
