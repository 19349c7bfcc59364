//! The loss scale of fp16: gradients are computed of a multiple of the loss, so that small ones do not vanish, and divided
//! by it before they are used (Micikevicius et al. 2018, section 3.2). It is found by trying, as PyTorch's `GradScaler`
//! does: a step whose gradients overflow is skipped and halves it, many good steps in a row double it.

use crate::scenario::Precision;

/// Where it starts (PyTorch `GradScaler`, `init_scale`).
const FIRST: f64 = 65_536.0;

/// Good steps before it doubles (`growth_interval`).
const GROWTH_INTERVAL: u32 = 2000;

/// Beyond this it does not grow: the gradient of the loss itself must be a number in fp32.
const MOST: f64 = 16_777_216.0;

/// A loss scale, a power of two.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LossScale {
    value: f64,
    good_steps: u32,
    changes: bool,
}

impl LossScale {
    /// The scale with which training in a precision starts: 1, and no other, where it needs none.
    pub fn new(precision: Precision) -> Self {
        let changes = precision == Precision::Fp16;
        Self { value: if changes { FIRST } else { 1.0 }, good_steps: 0, changes }
    }

    /// Whether it is a scale that training could have come to.
    pub fn is_sound(self) -> bool {
        (1.0..=MOST).contains(&self.value) && (self.changes || self.value == 1.0)
    }

    /// The scale of the next step.
    pub fn value(self) -> f64 {
        self.value
    }

    /// The scale, where there is one.
    pub fn shown(self) -> Option<f64> {
        self.changes.then_some(self.value)
    }

    /// Takes note of a step whose gradients were finite or not.
    pub fn after(&mut self, finite: bool) {
        if !self.changes {
            return;
        }
        self.good_steps = if finite { self.good_steps + 1 } else { 0 };
        if !finite {
            self.value = (self.value / 2.0).max(1.0);
        } else if self.good_steps == GROWTH_INTERVAL {
            (self.value, self.good_steps) = ((self.value * 2.0).min(MOST), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overflow_halves_it_and_good_steps_double_it() {
        let mut scale = LossScale::new(Precision::Fp16);
        scale.after(false);
        assert_eq!(scale.shown(), Some(FIRST / 2.0));
        for _ in 0..GROWTH_INTERVAL - 1 {
            scale.after(true);
        }
        assert_eq!(scale.value(), FIRST / 2.0);
        scale.after(true);
        assert_eq!(scale.value(), FIRST);
    }

    #[test]
    fn other_precisions_have_none() {
        let mut scale = LossScale::new(Precision::Bf16);
        scale.after(false);
        assert_eq!((scale.value(), scale.shown()), (1.0, None));
    }
}
