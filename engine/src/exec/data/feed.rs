//! Where what a batch brings lies in the feed of a replica: input by input, micro-batch by micro-batch.

use std::collections::BTreeMap;

use super::Sample;
use crate::graph::{ALLOCATION_ALIGNMENT, Role, StepGraph};
use crate::trace::Name;
use crate::units::Bytes;

/// The place of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Region {
    offset: u64,
    stride: u64,
}

/// The places of all inputs in a feed, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedLayout {
    regions: BTreeMap<Name, Region>,
    bytes: u64,
    micro_batches: u32,
}

impl FeedLayout {
    /// Room for every input of a step.
    pub fn of(step: &StepGraph) -> Self {
        let mut layout = Self { micro_batches: step.micro_batches, ..Self::default() };
        // A second copy of the model reads the same.
        for tensor in step.tensors.iter().filter(|tensor| tensor.role == Role::Input) {
            if layout.regions.contains_key(&tensor.name) {
                continue;
            }
            let stride = Bytes(tensor.local.elements() * 4).align_up(ALLOCATION_ALIGNMENT).0;
            layout.regions.insert(tensor.name.clone(), Region { offset: layout.bytes, stride });
            layout.bytes += stride * u64::from(step.micro_batches);
        }
        layout
    }

    /// Bytes of a feed.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The first byte of an input of a micro-batch.
    pub fn offset(&self, input: &str, micro_batch: u32) -> u64 {
        self.regions.get(input).map_or(0, |region| region.offset + u64::from(micro_batch) * region.stride)
    }

    /// The words of a feed. `samples` gives those of a micro-batch, `arrange` how their words of an input lie.
    pub fn words<'a>(
        &self,
        samples: impl Fn(u32) -> &'a [Sample],
        arrange: impl Fn(&str, &[&'a [u32]]) -> Vec<u32>,
    ) -> Vec<u32> {
        let mut words = vec![0; usize::try_from(self.bytes / 4).unwrap_or(0)];
        for input in self.regions.keys() {
            for micro_batch in 0..self.micro_batches {
                let parts: Vec<&[u32]> =
                    samples(micro_batch).iter().filter_map(|sample| sample.get(&**input)).map(Vec::as_slice).collect();
                let first = usize::try_from(self.offset(input, micro_batch) / 4).unwrap_or(usize::MAX);
                let room = words.get_mut(first..).unwrap_or_default();
                room.iter_mut().zip(arrange(input, &parts)).for_each(|(word, value)| *word = value);
            }
        }
        words
    }
}
