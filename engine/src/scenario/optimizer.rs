//! Optimizers: what each keeps of a parameter from step to step, and what it computes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How gradients become updates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    /// Stochastic gradient descent, which keeps nothing.
    Sgd,
    /// SGD with one moment (Polyak 1964; Sutskever et al. 2013).
    Momentum,
    /// Two moments in fp32 (Kingma & Ba 2015).
    Adam,
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019).
    #[default]
    #[serde(rename = "adamw")]
    AdamW,
    /// AdamW whose moments lie in 8 bits with a scale for every block (Dettmers et al. 2022).
    #[serde(rename = "adam_8bit")]
    Adam8Bit,
    /// The second moment of a matrix as the sums of its rows and columns; no first moment (Shazeer & Stern 2018).
    Adafactor,
    /// Momentum, made orthogonal by Newton–Schulz iterations, for the matrices of layers; AdamW for all else (Jordan et
    /// al. 2024; Liu et al. 2025, "Moonlight").
    Muon,
}

/// Elements of a block of 8-bit moments, which share a scale (Dettmers et al. 2022, section 2.1).
pub const BLOCK: u32 = 2048;

/// Newton–Schulz iterations of Muon (Jordan et al. 2024).
pub const NEWTON_SCHULZ_ITERATIONS: u32 = 5;

impl Optimizer {
    /// All optimizers.
    pub const ALL: [Self; 7] =
        [Self::AdamW, Self::Adam, Self::Adam8Bit, Self::Adafactor, Self::Muon, Self::Momentum, Self::Sgd];

    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sgd => "sgd",
            Self::Momentum => "momentum",
            Self::Adam => "adam",
            Self::AdamW => "adamw",
            Self::Adam8Bit => "adam_8bit",
            Self::Adafactor => "adafactor",
            Self::Muon => "muon",
        }
    }

    /// Whether matrices decay besides what the loss asks of them.
    pub fn decays(self) -> bool {
        !matches!(self, Self::Adam | Self::Sgd | Self::Momentum | Self::Adafactor)
    }

    /// Whether it needs whole matrices: what is cut into flat slices cannot be updated by it.
    pub fn needs_matrices(self) -> bool {
        matches!(self, Self::Adafactor | Self::Muon)
    }
}
