//! What is done to gradients before they are summed over replicas.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How gradients are made smaller on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all: they are summed in fp32.
    #[default]
    None,
    /// Cast to fp16 (PyTorch's `fp16_compress_hook`).
    Fp16,
    /// Cast to bf16 (PyTorch's `bf16_compress_hook`).
    Bf16,
    /// Codes of eight bits with a scale for every block, exchanged by all-to-all, summed in fp32, and gathered (Wang et al.
    /// 2023, "ZeRO++", section 3.3; Tang et al. 2021, "1-bit Adam", figure 3).
    Int8,
    /// The largest elements of each bucket; the others are added to the next step's (Lin et al. 2018, "Deep gradient
    /// compression"; error feedback: Karimireddy et al. 2019).
    TopK,
    /// Two thin matrices for each matrix, with error feedback (Vogels et al. 2019, "PowerSGD").
    LowRank,
}

/// Elements that share a scale in eight bits.
pub const BLOCK: u32 = 256;

impl Compression {
    /// All ways.
    pub const ALL: [Self; 6] = [Self::None, Self::Bf16, Self::Fp16, Self::Int8, Self::TopK, Self::LowRank];

    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::TopK => "top_k",
            Self::LowRank => "low_rank",
        }
    }

    /// Whether a rank keeps what it did not send, for which it needs all of its gradients.
    pub fn has_error_feedback(self) -> bool {
        matches!(self, Self::TopK | Self::LowRank)
    }
}
