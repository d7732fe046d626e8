//! Several objectives at once: dominance, fronts, and the order that NSGA-II selects by.
//!
//! After Deb, Pratap, Agarwal and Meyarivan, "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE Transactions on
//! Evolutionary Computation 6(2), 2002: the sort in section III-A, the crowding distance in III-B. With one objective the order is
//! that of the losses, so that a strategy needs no second way for it.

use std::cmp::Ordering;

use crate::trial::Trial;

/// Whether the losses `a` are nowhere above `b`, and somewhere below.
pub fn dominates(a: &[f64], b: &[f64]) -> bool {
    let mut below = false;
    for (a, b) in a.iter().zip(b) {
        match a.total_cmp(b) {
            Ordering::Greater => return false,
            order => below |= order == Ordering::Less,
        }
    }
    below
}

/// The places of all losses, front by front: the first is dominated by none, the next by members of the first alone, and so on.
/// Within a front they keep their order. All must have the same number of objectives.
pub fn fronts(losses: &[&[f64]]) -> Vec<Vec<usize>> {
    // Of each, whom it dominates, and by how many it is dominated.
    let below: Vec<Vec<usize>> =
        losses.iter().map(|a| (0..losses.len()).filter(|&other| dominates(a, losses[other])).collect()).collect();
    let mut above = vec![0_usize; losses.len()];
    below.iter().flatten().for_each(|&other| above[other] += 1);
    let mut front: Vec<usize> = (0..losses.len()).filter(|&index| above[index] == 0).collect();
    let mut fronts = Vec::new();
    while !front.is_empty() {
        let mut next = Vec::new();
        for &other in front.iter().flat_map(|&index| &below[index]) {
            above[other] -= 1;
            if above[other] == 0 {
                next.push(other);
            }
        }
        next.sort_unstable();
        fronts.push(std::mem::replace(&mut front, next));
    }
    fronts
}

/// How far apart the neighbours of each member of a front are, summed over the objectives in shares of the front's range; infinite
/// at the ends. An objective that is the same for all says nothing.
pub fn crowding(losses: &[&[f64]], front: &[usize]) -> Vec<f64> {
    let mut distance = vec![0.0; front.len()];
    let objectives = front.first().map_or(0, |&index| losses[index].len());
    let of = |objective: usize| front.iter().map(|&member| losses[member][objective]).collect::<Vec<f64>>();
    for values in (0..objectives).map(of) {
        let mut order: Vec<usize> = (0..front.len()).collect();
        order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
        let (Some(&first), Some(&last)) = (order.first(), order.last()) else { continue };
        let range = values[last] - values[first];
        if range.is_nan() || range <= 0.0 {
            continue;
        }
        (distance[first], distance[last]) = (f64::INFINITY, f64::INFINITY);
        for three in order.windows(3) {
            distance[three[1]] += (values[three[2]] - values[three[0]]) / range;
        }
    }
    distance
}

/// The places of all losses, best first, by the crowded comparison of NSGA-II: the earlier front, in it the less crowded, of
/// equals the first.
pub fn order(losses: &[&[f64]]) -> Vec<usize> {
    if losses.iter().all(|losses| losses.len() <= 1) {
        // The same without a comparison of all pairs: each value is a front of its own.
        let mut order: Vec<usize> = (0..losses.len()).collect();
        let loss = |index: usize| losses[index].first().copied().unwrap_or_default();
        order.sort_by(|&a, &b| loss(a).total_cmp(&loss(b)));
        return order;
    }
    let mut order = Vec::with_capacity(losses.len());
    for front in fronts(losses) {
        let distance = crowding(losses, &front);
        let mut members: Vec<usize> = (0..front.len()).collect();
        members.sort_by(|&a, &b| distance[b].total_cmp(&distance[a]));
        order.extend(members.into_iter().map(|member| front[member]));
    }
    order
}

/// The trials that no other dominates, by their first loss: of those that `losses` knows the losses of. Of trials with equal
/// losses the earliest alone.
pub fn front<'a>(
    trials: impl IntoIterator<Item = &'a Trial>,
    losses: impl Fn(&Trial) -> Option<Vec<f64>>,
) -> Vec<(&'a Trial, Vec<f64>)> {
    // Best first loss first: who comes later can only be dominated by those that were taken before, so they are all to compare with.
    let mut known: Vec<(&Trial, Vec<f64>)> = trials.into_iter().filter_map(|trial| Some((trial, losses(trial)?))).collect();
    known.sort_by(|(x, a), (y, b)| {
        let by_losses = a.iter().zip(b).map(|(a, b)| a.total_cmp(b)).find(|order| order.is_ne());
        by_losses.unwrap_or(Ordering::Equal).then(x.id.cmp(&y.id))
    });
    let mut front: Vec<(&Trial, Vec<f64>)> = Vec::new();
    for (trial, losses) in known {
        if !front.iter().any(|(_, taken)| dominates(taken, &losses) || *taken == losses) {
            front.push((trial, losses));
        }
    }
    front
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn views(losses: &[Vec<f64>]) -> Vec<&[f64]> {
        losses.iter().map(Vec::as_slice).collect()
    }

    #[test]
    fn fronts_lie_behind_each_other() {
        let losses = [vec![2.0, 2.0], vec![1.0, 3.0], vec![3.0, 3.0], vec![2.0, 2.5], vec![3.0, 1.0], vec![2.0, 2.0]];
        assert_eq!(fronts(&views(&losses)), [vec![0, 1, 4, 5], vec![3], vec![2]]);
    }

    #[test]
    fn ends_and_lonely_members_come_first() {
        let losses = [vec![0.0, 8.0], vec![1.0, 7.0], vec![2.0, 6.0], vec![6.0, 2.0], vec![8.0, 0.0]];
        let distance = crowding(&views(&losses), &[0, 1, 2, 3, 4]);
        assert_eq!(distance, [f64::INFINITY, 0.5, 1.25, 1.5, f64::INFINITY]);
        assert_eq!(order(&views(&losses)), [0, 4, 3, 2, 1]);
    }

    proptest! {
        #[test]
        fn one_objective_is_ordered_by_its_loss_and_then_by_place(values in prop::collection::vec(0_u8..9, 0..40)) {
            let losses: Vec<Vec<f64>> = values.iter().map(|&value| vec![f64::from(value)]).collect();
            let mut expected: Vec<usize> = (0..values.len()).collect();
            expected.sort_by_key(|&index| values[index]);
            prop_assert_eq!(order(&views(&losses)), expected);
        }

        #[test]
        fn an_order_has_all_and_nobody_before_who_dominates_it(values in prop::collection::vec((0_u8..6, 0_u8..6, 0_u8..6), 0..40)) {
            let losses: Vec<Vec<f64>> =
                values.iter().map(|&(a, b, c)| vec![f64::from(a), f64::from(b), f64::from(c)]).collect();
            let order = order(&views(&losses));
            let mut all = order.clone();
            all.sort_unstable();
            prop_assert_eq!(all, (0..losses.len()).collect::<Vec<_>>());
            for (place, &early) in order.iter().enumerate() {
                prop_assert!(!order[place..].iter().any(|&late| dominates(&losses[late], &losses[early])));
            }
        }

        #[test]
        fn the_front_of_trials_is_the_first_front_without_its_repeats(values in prop::collection::vec((0_u8..5, 0_u8..5), 1..30)) {
            let trials: Vec<Trial> = values.iter().zip(0..).map(|(&(a, b), id)| {
                let text = format!(r#"{{"id":{id},"state":"complete","losses":[{a}.0,{b}.0],"genotype":{{"nodes":[]}},"by":"x"}}"#);
                serde_json::from_str(&text).unwrap()
            }).collect();
            let found: Vec<u64> = front(&trials, |trial| Some(trial.losses.clone())).iter().map(|(trial, _)| trial.id).collect();
            let losses: Vec<&[f64]> = trials.iter().map(|trial| trial.losses.as_slice()).collect();
            let mut expected = fronts(&losses).remove(0);
            expected.sort_by(|&a, &b| losses[a][0].total_cmp(&losses[b][0]).then(a.cmp(&b)));
            expected.dedup_by_key(|index| losses[*index]);
            prop_assert_eq!(found, expected.into_iter().map(|index| index as u64).collect::<Vec<_>>());
        }
    }
}
