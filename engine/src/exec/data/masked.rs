//! Masked characters and pairs of texts, as BERT learns them (Devlin et al. 2019, section 3.1).

use rand_chacha::rand_core::Rng;

use super::{Sample, Text};
use crate::model::Model;

/// Two halves of a sequence, of which the second follows the first in every other sample. Of the characters that shall be
/// predicted, eight of ten are masked (the last id of the vocabulary), one is another, and one stays.
pub fn sample(text: &Text, vocab: u32, length: u32, random: &mut impl Rng) -> Sample {
    let first = length.div_ceil(2) as usize;
    let follows = random.next_u32().is_multiple_of(2);
    let start = text.start(length as usize, random);
    let mut tokens = text.tokens(start, first).to_vec();
    let second = if follows { start + first } else { text.start(length as usize, random) };
    tokens.extend(text.tokens(second, length as usize - first));
    let positions = places(length, Model::masked_tokens(length), random);
    let targets = positions.iter().map(|&at| tokens[at as usize]).collect();
    for &at in &positions {
        let token = &mut tokens[at as usize];
        *token = match random.next_u32() % 10 {
            0 => random.next_u32() % text.vocabulary(),
            1 => *token,
            _ => vocab - 1,
        };
    }
    Sample::from([
        ("embedding tokens", tokens),
        ("head masked tokens positions", positions),
        ("head targets", targets),
        ("head first tokens positions", vec![0]),
        ("head pair targets", vec![u32::from(!follows)]),
    ])
}

/// `count` of `length` places, in order (Knuth's selection sampling: TAOCP 2, algorithm 3.4.2 S).
fn places(length: u32, count: u32, random: &mut impl Rng) -> Vec<u32> {
    let mut chosen = Vec::with_capacity(count as usize);
    for at in 0..length {
        let wanted = u64::from(count) - chosen.len() as u64;
        if u64::from(random.next_u32()) * u64::from(length - at) < wanted << 32 {
            chosen.push(at);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::super::dataset;
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    #[test]
    fn as_many_places_are_chosen_as_asked_for_each_once() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        for (length, count) in [(1, 1), (20, 3), (64, 10), (7, 7)] {
            let places = places(length, count, &mut random);
            assert_eq!(places.len() as u32, count);
            assert!(places.windows(2).all(|pair| pair[0] < pair[1]) && places.iter().all(|&at| at < length));
        }
    }

    #[test]
    fn targets_are_what_stood_there_and_most_of_it_is_masked() {
        let (text, mut random) = (dataset("persuasion"), ChaCha8Rng::seed_from_u64(2));
        let (mut masked, mut all, mut followed) = (0, 0, 0);
        for _ in 0..200 {
            let sample = sample(&text, 80, 33, &mut random);
            let (tokens, positions) = (&sample["embedding tokens"], &sample["head masked tokens positions"]);
            assert_eq!((tokens.len(), positions.len()), (33, 5));
            assert!(sample["head targets"].iter().all(|&token| token < text.vocabulary()));
            masked += positions.iter().filter(|&&at| tokens[at as usize] == 79).count();
            assert_eq!(tokens.iter().filter(|&&token| token == 79).count(), {
                positions.iter().filter(|&&at| tokens[at as usize] == 79).count()
            });
            all += positions.len();
            followed += 1 - sample["head pair targets"][0];
        }
        assert!((700..900).contains(&(masked * 1000 / all)), "{masked} of {all}");
        assert!((70..130).contains(&followed), "{followed} of 200");
    }
}
