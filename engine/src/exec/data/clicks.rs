//! Clicks that are made up, as no log of real ones may be shipped: a hidden model says how likely each is, so there is
//! something to learn, and how well it can be learned at best is known.

use rand_chacha::rand_core::Rng;

use crate::model::Recommender;

/// What a sample is.
#[derive(Clone, Debug, PartialEq)]
pub struct Click {
    /// Numbers of the sample, about normal.
    pub dense: Vec<f32>,
    /// Rows that it looks up, table by table, counted within each table.
    pub ids: Vec<u32>,
    /// Whether it was clicked.
    pub clicked: bool,
}

/// A sample at random. Small row numbers are more frequent, as popular items are.
pub fn click(recommender: &Recommender, random: &mut impl Rng) -> Click {
    let dense: Vec<f32> = (0..recommender.dense_features).map(|_| normal(random)).collect();
    let mut ids = Vec::with_capacity(recommender.lookups_of_sample() as usize);
    let mut logit = 0.0;
    for (table, (&rows, &lookups)) in (0_u64..).zip(recommender.table_rows.iter().zip(&recommender.lookups)) {
        for _ in 0..lookups {
            let popular = uniform(random) * uniform(random);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below the rows, not negative")]
            let id = (popular * f64::from(rows)) as u32;
            let id = id.min(rows - 1);
            logit += taste(table, id) / f64::from(lookups);
            ids.push(id);
        }
    }
    logit += dense.iter().zip(0_u64..).map(|(&x, at)| f64::from(x) * taste(u64::MAX, at as u32)).sum::<f64>()
        / f64::from(recommender.dense_features).sqrt();
    let clicked = uniform(random) < 1.0 / (1.0 + (-2.0 * logit).exp());
    Click { dense, ids, clicked }
}

/// What a row adds to the odds of a click, from -1 to 1: the same in every sample.
fn taste(table: u64, row: u32) -> f64 {
    let mut bits = (table << 32 ^ u64::from(row)).wrapping_add(0x9E37_79B9_7F4A_7C15);
    // SplitMix64's finaliser (Steele et al. 2014).
    bits = (bits ^ bits >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((bits ^ bits >> 31) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

fn uniform(random: &mut impl Rng) -> f64 {
    (f64::from(random.next_u32()) + 0.5) / 4_294_967_296.0
}

/// The sum of twelve uniform numbers, less six: variance one.
fn normal(random: &mut impl Rng) -> f32 {
    ((0..12).map(|_| uniform(random)).sum::<f64>() - 6.0) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Interaction;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    #[test]
    fn ids_stay_in_their_tables_and_both_answers_come() {
        let recommender = Recommender {
            table_rows: vec![3, 100],
            lookups: vec![1, 4],
            dense_features: 5,
            bottom_mlp: vec![4],
            interaction: Interaction::Dot,
            top_mlp: vec![4],
        };
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let clicks: Vec<Click> = (0..2000).map(|_| click(&recommender, &mut random)).collect();
        assert!(clicks.iter().all(|c| c.ids.len() == 5 && c.ids[0] < 3 && c.ids[1..].iter().all(|&id| id < 100)));
        let clicked = clicks.iter().filter(|c| c.clicked).count();
        assert!((200..1800).contains(&clicked), "{clicked} of 2000");
        let mean = clicks.iter().flat_map(|c| &c.dense).sum::<f32>() / 10_000.0;
        assert!(mean.abs() < 0.05, "{mean}");
    }
}
