//! Sharing out an exact total by sampled weights.

/// Splits `total` in proportion to `weights` so that the parts sum to `total` exactly (largest remainders win; earlier
/// ones at a tie). All parts are 0 when there are no weights.
#[must_use]
pub fn apportion(total: u64, weights: &[u64]) -> Vec<u64> {
    let sum: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
    if sum == 0 {
        return vec![0; weights.len()];
    }
    let exact: Vec<u128> = weights
        .iter()
        .map(|&weight| u128::from(total) * u128::from(weight))
        .collect();
    // A part is at most `total`, so it fits.
    let mut parts: Vec<u64> = exact
        .iter()
        .map(|&part| u64::try_from(part / sum).unwrap_or(u64::MAX))
        .collect();
    let missing = total - parts.iter().sum::<u64>();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(exact.get(index).map(|part| part % sum)));
    for index in order
        .into_iter()
        .take(usize::try_from(missing).unwrap_or(0))
    {
        if let Some(part) = parts.get_mut(index) {
            *part += 1;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::apportion;

    #[test]
    fn remainders_go_to_the_largest() {
        assert_eq!(apportion(10, &[1, 1, 1]), [4, 3, 3]);
        assert_eq!(apportion(10, &[0, 2, 1]), [0, 7, 3]);
        assert_eq!(apportion(5, &[0, 0]), [0, 0]);
        assert_eq!(apportion(5, &[]), [0; 0]);
    }

    proptest! {
        #[test]
        fn parts_sum_to_the_total(
            total: u64,
            weights in proptest::collection::vec(any::<u64>(), 1..20),
        ) {
            prop_assume!(weights.iter().any(|&weight| weight > 0));
            let parts = apportion(total, &weights);
            let sum: u128 = parts.iter().map(|&part| u128::from(part)).sum();
            prop_assert_eq!(sum, u128::from(total));
            for (part, weight) in parts.iter().zip(&weights) {
                prop_assert!(*weight > 0 || *part == 0, "no weight, no share");
            }
        }
    }
}
