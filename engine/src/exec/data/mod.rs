//! What a step reads: samples of a batch, and where they lie in the feeds of replicas.
//!
//! The samples of a step depend on the seed, the step and their number in the batch alone, so every way of sharding trains
//! on the same.

mod clicks;
mod digits;
mod feed;
mod masked;
pub(in crate::exec) mod pixels;
mod text;

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

pub use digits::Digits;
pub use feed::FeedLayout;
use pixels::image_sample;
pub use text::{Text, dataset};

use super::ExecError;
use crate::model::{Architecture, Image, Model, Recommender};
use crate::scenario::Scenario;

/// The words that a sample brings to each input of the model, by the input's name.
pub type Sample = BTreeMap<&'static str, Vec<u32>>;

/// Where samples come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// The next character of a text.
    Text(Text),
    /// Masked characters of a text, and whether its second half follows the first.
    Masked(Text, u32),
    /// Digits and their classes.
    Digits(Digits, Image),
    /// Clicks.
    Clicks(Recommender),
}

impl Source {
    /// What a scenario reads.
    pub fn of(scenario: &Scenario) -> Self {
        let (model, name) = (scenario.model(), &scenario.data().dataset);
        match (model.architecture, model.image, &model.recommender) {
            (Architecture::Bert, ..) => Self::Masked(dataset(name), model.vocab),
            (_, Some(image), _) => Self::Digits(Digits::default(), image),
            (_, _, Some(recommender)) => Self::Clicks(recommender.clone()),
            _ => Self::Text(dataset(name)),
        }
    }

    /// The samples of a step: sequences of `length` tokens, images or clicks.
    pub fn batch(&self, seed: u64, step: u32, samples: u32, length: u32) -> Vec<Sample> {
        match self {
            Self::Text(text) => {
                let sequences = text.batch(seed, step, samples, length).into_iter();
                let sample = |(x, y): (&[u32], &[u32])| {
                    Sample::from([("embedding tokens", x.to_vec()), ("head targets", y.to_vec())])
                };
                sequences.map(sample).collect()
            }
            Self::Masked(text, vocab) => {
                self.each(seed, step, samples, |random| masked::sample(text, *vocab, length, random))
            }
            Self::Digits(digits, image) => self.each(seed, step, samples, |random| {
                let (pixels, class) = digits.sample(*image, random);
                image_sample(pixels, class)
            }),
            Self::Clicks(recommender) => self.each(seed, step, samples, |random| {
                let click = clicks::click(recommender, random);
                Sample::from([
                    ("embedding dense features", click.dense.into_iter().map(f32::to_bits).collect()),
                    ("embedding ids", click.ids),
                    ("head targets", vec![click.clicked.into()]),
                ])
            }),
        }
    }

    /// Samples by a generator of their own each.
    fn each(
        &self,
        seed: u64,
        step: u32,
        samples: u32,
        mut sample: impl FnMut(&mut ChaCha8Rng) -> Sample,
    ) -> Vec<Sample> {
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ (u64::from(step) << 32) ^ 0x5eed);
        (0..samples).map(|_| sample(&mut random)).collect()
    }
}

/// Whether the model has room for what its dataset has.
///
/// # Errors
/// When a vocabulary or the classes are too few, or the text is too short.
pub fn fits(scenario: &Scenario) -> Result<(), ExecError> {
    let (model, length) = (scenario.model(), scenario.data().sequence_length as usize);
    match Source::of(scenario) {
        Source::Text(text) => of_text(model, &text, length),
        Source::Masked(text, vocab) if text.vocabulary() >= vocab => {
            let (name, characters) = (text.name.clone(), text.vocabulary());
            Err(ExecError::Mask { name, characters, vocab })
        }
        Source::Masked(text, _) => of_text(model, &text, length),
        Source::Digits(_, image) if image.classes < Digits::CLASSES => {
            let (name, classes) = (scenario.data().dataset.clone(), Digits::CLASSES);
            Err(ExecError::Classes { name, classes, found: image.classes })
        }
        Source::Digits(..) | Source::Clicks(_) => Ok(()),
    }
}

fn of_text(model: &Model, text: &Text, length: usize) -> Result<(), ExecError> {
    if text.vocabulary() > model.vocab || text.len() <= length + 1 {
        let (name, characters) = (text.name.clone(), text.vocabulary());
        return Err(ExecError::Text { name, characters, length: text.len(), vocab: model.vocab });
    }
    Ok(())
}
