//! Slices of a thread beside each other.

/// Lanes of a thread, at most: deeper calls are left out.
pub(super) const MAX_LANES: usize = 48;

/// The lane of each interval of a thread, which come in the order of their starts, longer ones first: the first that is
/// free. What is nested lies below what it is in; what overlaps lies beside it. None where there are too many at once.
pub(super) fn lanes(intervals: impl Iterator<Item = (i64, i64)>) -> Vec<Option<usize>> {
    let mut ends: Vec<i64> = Vec::new();
    let mut lane = |(start, end): (i64, i64)| {
        let found = ends.iter().position(|&free| free <= start).unwrap_or(ends.len());
        if found >= MAX_LANES {
            return None;
        }
        if found == ends.len() {
            ends.push(end);
        } else {
            ends[found] = end;
        }
        Some(found)
    };
    intervals.map(&mut lane).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_and_overlapping_slices_never_share_a_lane_at_a_time() {
        let of = |intervals: &[(i64, i64)]| lanes(intervals.iter().copied());
        assert_eq!(of(&[(0, 10), (1, 4), (2, 3), (4, 9), (10, 12)]), [Some(0), Some(1), Some(2), Some(1), Some(0)]);
        assert_eq!(of(&[(0, 10), (5, 15), (12, 20)]), [Some(0), Some(1), Some(0)]);
        assert_eq!(of(&[(0, 100); 60]).iter().flatten().count(), MAX_LANES);
    }
}
