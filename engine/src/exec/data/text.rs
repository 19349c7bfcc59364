//! The shipped text as a character-level dataset.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A text as token ids: the distinct characters in the order of their code points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Its name in scenarios.
    pub name: String,
    tokens: Vec<u32>,
    characters: Vec<char>,
}

/// One sequence: inputs, and the same shifted by one.
pub type Sequence<'a> = (&'a [u32], &'a [u32]);

/// The text that ships under `name`; names are checked with the scenario.
pub fn dataset(name: &str) -> Text {
    Text::new(name, include_str!("../../../../assets/datasets/persuasion.txt"))
}

impl Text {
    /// Numbers the characters of `text`.
    pub fn new(name: &str, text: &str) -> Self {
        let mut characters: Vec<char> = text.chars().collect();
        characters.sort_unstable();
        characters.dedup();
        let ids: BTreeMap<char, u32> = characters.iter().copied().zip(0..).collect();
        let tokens = text.chars().filter_map(|c| ids.get(&c).copied()).collect();
        Self { name: name.to_owned(), tokens, characters }
    }

    /// Number of distinct characters.
    pub fn vocabulary(&self) -> u32 {
        u32::try_from(self.characters.len()).unwrap_or(u32::MAX)
    }

    /// Number of characters.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Entropy of single characters in nats: the loss of a model that only knows how frequent each is.
    pub fn unigram_entropy(&self) -> f64 {
        let mut counts = vec![0_u64; self.characters.len()];
        for &token in &self.tokens {
            counts[token as usize] += 1;
        }
        let total = self.tokens.len() as f64;
        counts.iter().map(|&n| n as f64 / total).map(|p| -p * p.ln()).sum()
    }

    /// A place at random from which `length` characters, and as many again, can be read.
    pub(super) fn start(&self, length: usize, random: &mut impl Rng) -> usize {
        let starts = self.tokens.len().saturating_sub(2 * length).max(1) as u64;
        usize::try_from(random.next_u64() % starts).unwrap_or(0)
    }

    /// Some characters from a place on.
    pub(super) fn tokens(&self, start: usize, length: usize) -> &[u32] {
        self.tokens.get(start..start + length).unwrap_or_default()
    }

    /// The `sequences` sequences of `length` tokens of step `step`, at random places that depend on the seed and
    /// the step alone: every way of sharding sees the same batch.
    pub fn batch(&self, seed: u64, step: u32, sequences: u32, length: u32) -> Vec<Sequence<'_>> {
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ (u64::from(step) << 32) ^ 0x5eed);
        let length = length as usize;
        let starts = self.tokens.len().saturating_sub(length).max(1) as u64;
        let sequence =
            |start: usize| (&self.tokens[start..start + length], &self.tokens[start + 1..start + length + 1]);
        #[expect(clippy::cast_possible_truncation, reason = "below the text's length")]
        (0..sequences).map(|_| sequence((random.next_u64() % starts) as usize)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unigram_entropy_of_a_fair_coin_is_ln_2() {
        assert!((Text::new("coin", "abab").unigram_entropy() - 2.0_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn targets_are_inputs_shifted_by_one_and_batches_repeat() {
        let text = dataset("persuasion");
        let batch = text.batch(7, 3, 4, 32);
        for (x, y) in &batch {
            assert_eq!(x[1..], y[..31]);
        }
        assert_eq!(batch, text.batch(7, 3, 4, 32));
        assert_ne!(batch, text.batch(7, 4, 4, 32));
    }
}
