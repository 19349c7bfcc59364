//! Times in which something happens.

use crate::units::Nanos;

/// Sorted, disjoint intervals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Intervals(Vec<(Nanos, Nanos)>);

impl Intervals {
    /// The times that any of some intervals cover.
    pub(super) fn of(mut all: Vec<(Nanos, Nanos)>) -> Self {
        all.sort_unstable();
        let mut joined: Vec<(Nanos, Nanos)> = Vec::new();
        for (from, until) in all.into_iter().filter(|(from, until)| from < until) {
            match joined.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(until),
                _ => joined.push((from, until)),
            }
        }
        Self(joined)
    }

    /// How long that is.
    pub(super) fn length(&self) -> Nanos {
        self.0.iter().map(|&(from, until)| until - from).sum()
    }

    /// How long both are.
    pub(super) fn common(&self, other: &Self) -> Nanos {
        let (mut a, mut b, mut sum) = (0, 0, Nanos::ZERO);
        while let (Some(&(from_a, until_a)), Some(&(from_b, until_b))) = (self.0.get(a), other.0.get(b)) {
            sum += (until_a.min(until_b) - from_a.max(from_b)).max(Nanos::ZERO);
            if until_a <= until_b {
                a += 1;
            } else {
                b += 1;
            }
        }
        sum
    }

    /// The first beginning and the last end.
    pub(super) fn ends(&self) -> Option<(Nanos, Nanos)> {
        Some((self.0.first()?.0, self.0.last()?.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(i64, i64)]) -> Intervals {
        Intervals::of(pairs.iter().map(|&(from, until)| (Nanos(from), Nanos(until))).collect())
    }

    #[test]
    fn what_is_covered_twice_counts_once() {
        let one = of(&[(5, 9), (0, 3), (2, 6), (20, 20)]);
        assert_eq!((one.length(), one.ends()), (Nanos(9), Some((Nanos(0), Nanos(9)))));
        assert_eq!(one.common(&of(&[(1, 2), (8, 30)])), Nanos(2));
        assert_eq!(of(&[]).common(&one), Nanos::ZERO);
    }
}
