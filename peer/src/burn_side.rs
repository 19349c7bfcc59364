//! The same by burn's tensors, tuned by burn's own tuner in the first call.

use anyhow::anyhow;
use burn::tensor::activation::softmax;
use burn::tensor::module::{attention, layer_norm};
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, DeviceKind, Tensor, TensorData};

use crate::cases::Case;

/// burn's device.
pub struct BurnSide {
    device: Device,
}

/// A case with its inputs on the device.
pub enum Prepared {
    Matmul(Tensor<2>, Tensor<2>),
    Softmax(Tensor<2>),
    LayerNorm(Tensor<2>, Tensor<1>, Tensor<1>),
    /// As `[batch, heads, tokens, width]`.
    Attention(Tensor<4>, Tensor<4>, Tensor<4>),
}

impl BurnSide {
    /// The adapter that wgpu prefers.
    pub fn open() -> Self {
        Self { device: Device::wgpu(DeviceKind::DefaultDevice) }
    }

    /// Writes the inputs.
    pub fn prepare(&self, case: &Case, inputs: &[Vec<f32>]) -> Prepared {
        let vector = |values: &Vec<f32>| Tensor::<1>::from_data(TensorData::from(values.as_slice()), &self.device);
        let matrix = |values: &Vec<f32>, rows: u32| vector(values).reshape([rows as i32, -1]);
        match *case {
            Case::Matmul { m, k, .. } => Prepared::Matmul(matrix(&inputs[0], m), matrix(&inputs[1], k)),
            Case::Softmax { rows, .. } => Prepared::Softmax(matrix(&inputs[0], rows)),
            Case::LayerNorm { rows, .. } => {
                Prepared::LayerNorm(matrix(&inputs[0], rows), vector(&inputs[1]), vector(&inputs[2]))
            }
            Case::Attention { seq, heads, head_dim } => {
                let [seq, heads, head_dim] = [seq, heads, head_dim].map(|size| size as usize);
                let part = |values| vector(values).reshape([1, seq, heads, head_dim]);
                // Copied once here, so that heads lie as burn's kernels want them and nothing is copied in the runs.
                let [q, k, v] = [0, 1, 2].map(|i| part(&inputs[i]).swap_dims(1, 2).add_scalar(0.0));
                Prepared::Attention(q, k, v)
            }
        }
    }

    /// Calls it and waits.
    pub fn run(&self, prepared: &Prepared, calls: u32) -> anyhow::Result<()> {
        for _ in 0..calls {
            drop(call(prepared));
        }
        self.device.sync().map_err(|error| anyhow!("{error:?}"))
    }

    /// What a call writes.
    pub fn result(&self, prepared: &Prepared) -> anyhow::Result<Vec<f32>> {
        call(prepared).numbers().into_data().try_to_vec().map_err(|error| anyhow!("{error:?}"))
    }
}

/// A result as burn gives it.
enum Output {
    Rows(Tensor<2>),
    Heads(Tensor<4>),
}

impl Output {
    /// Its numbers in the order of this project: tokens, then heads.
    fn numbers(self) -> Tensor<1> {
        match self {
            Self::Rows(rows) => rows.flatten(0, 1),
            Self::Heads(heads) => heads.swap_dims(1, 2).flatten(0, 3),
        }
    }
}

fn call(prepared: &Prepared) -> Output {
    match prepared {
        Prepared::Matmul(a, b) => Output::Rows(a.clone().matmul(b.clone())),
        Prepared::Softmax(x) => Output::Rows(softmax(x.clone(), 1)),
        Prepared::LayerNorm(x, weight, bias) => {
            Output::Rows(layer_norm(x.clone(), weight.clone(), Some(bias.clone()), 1e-5))
        }
        Prepared::Attention(q, k, v) => {
            let options = AttentionModuleOptions { is_causal: true, ..AttentionModuleOptions::default() };
            Output::Heads(attention(q.clone(), k.clone(), v.clone(), None, None, options))
        }
    }
}
