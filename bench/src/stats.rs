//! Medians over rounds and ratios between targets.

/// The middle of the samples, or the mean of the two in the middle; nothing of nothing.
pub fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *sorted.get((sorted.len() / 2).checked_sub(1)?)?;
    Some((lower + upper) / 2.0)
}

/// How far the samples lie apart, as a part of their median: 0.1 where the fastest round beat the slowest by a tenth.
pub fn spread(samples: &[f64]) -> Option<f64> {
    let median = median(samples)?;
    let fastest = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let slowest = samples.iter().copied().fold(f64::INFINITY, f64::min);
    (median > 0.0).then(|| (fastest - slowest) / median)
}

/// `subject` over `peer`, where both are there and the peer did anything at all.
pub fn ratio(subject: Option<f64>, peer: Option<f64>) -> Option<f64> {
    match (subject, peer) {
        (Some(subject), Some(peer)) if peer > 0.0 => Some(subject / peer),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[4.0]), Some(4.0));
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[9.0, 1.0]), Some(5.0));
    }

    #[test]
    fn one_wild_round_moves_the_spread_and_not_the_median() {
        let samples = [100.0, 104.0, 20.0];
        assert_eq!(median(&samples), Some(100.0));
        assert_eq!(spread(&samples), Some(0.84));
        assert_eq!(spread(&[7.0]), Some(0.0));
        assert_eq!(spread(&[0.0]), None);
    }

    #[test]
    fn a_ratio_needs_both_sides() {
        assert_eq!(ratio(Some(30.0), Some(10.0)), Some(3.0));
        assert_eq!(ratio(None, Some(10.0)), None);
        assert_eq!(ratio(Some(30.0), None), None);
        assert_eq!(ratio(Some(30.0), Some(0.0)), None);
    }
}
