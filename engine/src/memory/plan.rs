//! What a policy decides: which buffers there are, and what lies in which of them when.

use super::course::{Course, ValueId};
use crate::units::Bytes;

/// A buffer of a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// One of [`Plan::buffers`].
    Device(usize),
    /// One of [`Plan::away`].
    Away(usize),
}

/// A value is copied to another place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Which.
    pub value: ValueId,
    /// Where it lies.
    pub from: Spot,
    /// Where it shall lie.
    pub to: Spot,
}

/// What happens before an op.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// What moves, in this order.
    pub moves: Vec<Move>,
    /// What leaves the device without a copy: its copy outside is still right.
    pub dropped: Vec<ValueId>,
    /// The buffer of what begins to live.
    pub born: Vec<(ValueId, usize)>,
    /// Bytes of the buffers of the device that are there by now.
    pub reserved: Bytes,
}

/// A policy's decisions for all ranks of a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Sizes of the buffers on the device.
    pub buffers: Vec<Bytes>,
    /// Sizes of those that stand for the host's memory.
    pub away: Vec<Bytes>,
    /// Where what lives from step to step lies between steps: the first values of the course.
    pub homes: Vec<Spot>,
    /// One for every op.
    pub steps: Vec<Step>,
    /// Behind the last op: everything goes home.
    pub last: Step,
}

impl Plan {
    /// Bytes of all buffers on the device.
    pub fn reserved(&self) -> Bytes {
        self.buffers.iter().copied().sum()
    }

    /// Bytes that a step moves, out and in.
    pub fn moved(&self, course: &Course) -> Bytes {
        let moves = self.steps.iter().chain([&self.last]).flat_map(|step| &step.moves);
        moves.map(|movement| course.values[movement.value].bytes).sum()
    }

    /// A plan that puts every value into one buffer for good.
    pub fn of_assignment(course: &Course, buffers: Vec<Bytes>, of: &[usize]) -> Self {
        let reserved = buffers.iter().copied().sum();
        let homes = course.values.iter().take_while(|value| value.persistent);
        let born = |moment: &super::course::Moment| moment.born.iter().map(|&value| (value, of[value])).collect();
        let steps = course.moments.iter().map(|moment| Step { born: born(moment), reserved, ..Step::default() });
        Self {
            homes: homes.zip(of).map(|(_, &buffer)| Spot::Device(buffer)).collect(),
            steps: steps.collect(),
            buffers,
            ..Self::default()
        }
    }
}
