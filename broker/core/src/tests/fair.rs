//! Fair turns: everybody gets an equal share of the work, in the order in which each brought it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::fair::Fair;

/// How much of each one's work was done when `total` was, of lines that never run empty.
fn shares(costs: &[u64], total: u64) -> Vec<u64> {
    let mut fair = Fair::default();
    let mut done = vec![0; costs.len()];
    for (who, cost) in costs.iter().enumerate() {
        for _ in 0..32 {
            fair.push(who, *cost, who);
        }
    }
    while done.iter().sum::<u64>() < total {
        let who = fair.pop().unwrap();
        done[who] += costs[who];
        fair.push(who, costs[who], who);
    }
    done
}

#[test]
fn one_that_brings_without_end_keeps_nobody_waiting_for_more_than_a_round() {
    let mut fair = Fair::default();
    for number in 0..10_000 {
        fair.push("flood", 1, ("flood", number));
    }
    fair.push("other", 1, ("other", 0));
    let before = std::iter::from_fn(|| fair.pop()).take_while(|(who, _)| *who != "other").count();
    assert!(before <= 16, "{before}");
    let rest: Vec<_> = std::iter::from_fn(|| fair.pop()).collect();
    assert_eq!(rest.len(), 10_000 - before, "nothing is lost");
    assert!(rest.is_sorted_by_key(|(_, number)| *number) && fair.is_empty());
}

#[test]
fn what_is_large_counts_for_what_it_is() {
    let done = shares(&[1, 300, 7], 90_000);
    let (least, most) = (done.iter().min().unwrap(), done.iter().max().unwrap());
    assert!(most - least <= 2 * 300 + 16, "{done:?}");
}

#[test]
fn who_brings_one_large_thing_at_a_time_gains_nothing_by_it() {
    let mut fair = Fair::default();
    let mut done = BTreeMap::from([("large", 0_u64), ("small", 0)]);
    fair.push("large", 300, ("large", 300));
    for _ in 0..20_000 {
        fair.push("small", 1, ("small", 1));
    }
    while done["small"] < 15_000 {
        let (who, cost) = fair.pop().unwrap();
        *done.get_mut(who).unwrap() += cost;
        if who == "large" {
            // Only now is the next one there.
            fair.push("large", 300, ("large", 300));
        }
    }
    assert!(done["large"] <= done["small"] + 600, "{done:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever each brings: of those whose lines never run empty none is ahead of another by more than the
    /// largest thing and a share.
    #[test]
    fn shares_of_work_are_equal(costs in prop::collection::vec(1_u64..400, 2..8)) {
        let done = shares(&costs, 40_000);
        let largest = *costs.iter().max().unwrap();
        let (least, most) = (done.iter().min().unwrap(), done.iter().max().unwrap());
        prop_assert!(most - least <= 2 * largest + 32, "{done:?}");
    }

    /// Nothing is lost, doubled or overtaken by what the same one brought later.
    #[test]
    fn everything_comes_out_once_and_in_order(
        things in prop::collection::vec((0_u8..4, 1_u64..50, any::<bool>()), 0..200),
    ) {
        let mut fair = Fair::default();
        let mut out: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
        for (number, (who, cost, pop)) in things.iter().enumerate() {
            fair.push(*who, *cost, (*who, number));
            if *pop && let Some((who, number)) = fair.pop() {
                out.entry(who).or_default().push(number);
            }
        }
        while let Some((who, number)) = fair.pop() {
            out.entry(who).or_default().push(number);
        }
        prop_assert_eq!(out.values().map(Vec::len).sum::<usize>(), things.len());
        prop_assert!(out.values().all(|numbers| numbers.is_sorted()));
    }
}
