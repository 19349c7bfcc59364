//! The CPU twins of the shaders.
//!
//! `exec/cpu/NAME.rs` computes what `shaders/NAME.wgsl` computes, with the same bindings, the same nouns and the same
//! order of loops, so that the two can be read side by side.
//! The twins are generic over [`Real`]: training runs them in f32, the tests check gradients in f64.

use std::borrow::Cow;
use std::fmt::Debug;
use std::ops::{AddAssign, Deref, DerefMut, DivAssign, MulAssign, SubAssign};

use thiserror::Error;

use super::kernel::{Kernel, KernelParams};

pub mod adafactor;
pub mod adam_8bit;
pub mod adamw;
pub mod add;
pub mod assign;
pub mod attention;
pub mod attention_delta;
pub mod attention_grad_kv;
pub mod attention_grad_q;
pub mod attention_scores;
pub mod attention_scores_grad;
pub mod attention_softmax;
pub mod attention_softmax_grad;
pub mod attention_values;
pub mod attention_values_grad_p;
pub mod attention_values_grad_v;
pub mod backend;
pub mod batch_norm;
pub mod batch_norm_grad;
pub mod batch_norm_grad_params;
pub mod binary_loss;
pub mod binary_loss_grad;
pub mod blend;
pub mod class_sums;
pub mod class_sums_grad;
pub mod class_token;
pub mod class_token_grad;
pub mod column_sum;
pub mod combine;
pub mod combine_grad_weights;
pub mod convolution;
pub mod convolution_input_grad;
pub mod convolution_weight_grad;
pub mod copy;
pub mod cross;
pub mod cross_entropy;
pub mod cross_entropy_grad;
pub mod cross_grad;
pub mod dispatch;
pub mod dropout;
pub mod dropout_grad;
pub mod dropout_residual;
pub mod embedding;
pub mod embedding_bag;
pub mod embedding_bag_update;
pub mod embedding_grad;
pub mod factor_moments;
pub mod factor_sums;
pub mod fill;
pub mod gate;
pub mod gate_grad;
pub mod gather_rows;
pub mod gather_rows_grad;
pub mod gelu;
pub mod gelu_grad;
pub mod group_norm;
pub mod group_norm_grad;
pub mod group_norm_grad_params;
pub mod interaction;
pub mod interaction_grad;
pub mod latent_join;
pub mod latent_join_grad;
pub mod layer_norm;
pub mod layer_norm_grad;
pub mod layer_norm_grad_params;
pub mod matmul;
pub mod matmul_half;
pub mod matmul_int8;
pub mod momentum;
pub mod muon;
pub mod muon_momentum;
pub mod narrow_blocks;
pub mod orthogonal_columns;
pub mod peak;
pub mod peak_half;
pub mod peak_int32;
pub mod peak_int8;
pub mod pool;
pub mod pool_grad;
pub mod position;
pub mod position_grad;
pub mod quantize;
pub mod quantize_blocks;
pub mod quantize_rows;
pub mod quantize_short;
pub mod read;
pub mod reduce;
pub mod relu;
pub mod relu_grad;
pub mod residual;
pub mod rms_norm;
pub mod rms_norm_grad;
pub mod rms_norm_grad_params;
pub mod rope;
pub mod route;
pub mod route_grad;
pub mod row_max;
pub mod scale;
pub mod scatter_add;
pub mod select_largest;
pub mod sgd;
pub mod silu;
pub mod silu_grad;
pub mod sum_exp;
pub mod sum_squares;
pub mod swiglu;
pub mod swiglu_grad;
pub mod tanh;
pub mod tanh_grad;
pub mod unit_norm;
pub mod widen_blocks;

#[cfg(test)]
mod gradient_checks;

/// A float the twins compute in.
pub trait Real: num_traits::Float + AddAssign + SubAssign + MulAssign + DivAssign + Debug + 'static {
    /// The nearest number to `value`.
    fn of(value: f64) -> Self;

    /// A buffer of which the kernel reads ids or codes: bits of fp32.
    fn words(buffer: &[Self]) -> Cow<'_, [u32]>;

    /// The same where it writes them.
    fn words_to_write(buffer: &mut [Self]) -> Words<'_, Self>;
}

impl Real for f32 {
    fn of(value: f64) -> f32 {
        value as f32
    }

    fn words(buffer: &[f32]) -> Cow<'_, [u32]> {
        Cow::Borrowed(bytemuck::cast_slice(buffer))
    }

    fn words_to_write(buffer: &mut [f32]) -> Words<'_, f32> {
        Words::Same(bytemuck::cast_slice_mut(buffer))
    }
}

impl Real for f64 {
    fn of(value: f64) -> f64 {
        value
    }

    fn words(buffer: &[f64]) -> Cow<'_, [u32]> {
        buffer.iter().map(|&number| (number as f32).to_bits()).collect()
    }

    fn words_to_write(buffer: &mut [f64]) -> Words<'_, f64> {
        let words = Self::words(buffer).into_owned();
        Words::Copied(buffer, words)
    }
}

/// Ids or codes that a kernel writes into a buffer of numbers.
#[derive(Debug)]
pub enum Words<'a, T: Real> {
    /// The buffer itself.
    Same(&'a mut [u32]),
    /// What is put into the buffer at the end.
    Copied(&'a mut [T], Vec<u32>),
}

impl<T: Real> Deref for Words<'_, T> {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        match self {
            Self::Same(words) => words,
            Self::Copied(_, words) => words,
        }
    }
}

impl<T: Real> DerefMut for Words<'_, T> {
    fn deref_mut(&mut self) -> &mut [u32] {
        match self {
            Self::Same(words) => words,
            Self::Copied(_, words) => words,
        }
    }
}

impl<T: Real> Drop for Words<'_, T> {
    fn drop(&mut self) {
        if let Self::Copied(buffer, words) = self {
            let written = words.iter().map(|&word| T::of(f32::from_bits(word).into()));
            buffer.iter_mut().zip(written).for_each(|(number, word)| *number = word);
        }
    }
}

/// A constant or a parameter as a float of the kernel.
fn real<T: Real>(value: impl Into<f64>) -> T {
    T::of(value.into())
}

/// Lanes of the kernels that reduce a whole buffer in one workgroup.
const LANES: usize = 256;

/// Sums `term(0..n)` as a workgroup does: lane by lane, then as a tree, always in the same order.
fn lane_sum<T: Real>(n: usize, term: impl Fn(usize) -> T) -> T {
    tree_sum::<LANES, T>(n, term)
}

/// The same for a workgroup of another size.
fn tree_sum<const LANES: usize, T: Real>(n: usize, term: impl Fn(usize) -> T) -> T {
    let mut lanes = [T::zero(); LANES];
    for i in 0..n {
        lanes[i % LANES] += term(i);
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// A storage buffer bound to a kernel.
///
/// Token ids lie in the same buffers as floats, bit for bit.
#[derive(Debug)]
pub enum Binding<'a, T = f32> {
    /// A buffer that is only read.
    Read(&'a [T]),
    /// A buffer that is written.
    Write(&'a mut [T]),
}

/// What is bound does not fit the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BindingMismatch {
    /// The number of buffers or what may be done with them differs from [`Kernel::bindings`].
    #[error("kernel {} takes {} storage buffers, which are not the {bound} that are bound", .kernel.name(), .kernel.bindings().len())]
    Buffers {
        /// The kernel.
        kernel: Kernel,
        /// How many buffers are bound.
        bound: usize,
    },
    /// The parameters have another size than the parameters of the kernel.
    #[error("kernel {} takes {expected} words of parameters, not {words}", .kernel.name())]
    Params {
        /// The kernel.
        kernel: Kernel,
        /// Words of the kernel's parameters.
        expected: usize,
        /// Words that were given.
        words: usize,
    },
}

/// The binding a twin's buffer is taken from.
macro_rules! pattern {
    (read $buffer:ident) => {
        Binding::Read($buffer)
    };
    (tokens $buffer:ident) => {
        Binding::Read($buffer)
    };
    (write $buffer:ident) => {
        Binding::Write($buffer)
    };
    (numbers $buffer:ident) => {
        Binding::Write($buffer)
    };
}

/// The buffer as the twin wants it.
macro_rules! buffer {
    (tokens $buffer:ident) => {
        &T::words($buffer)
    };
    (numbers $buffer:ident) => {
        &mut T::words_to_write($buffer)
    };
    ($access:ident $buffer:ident) => {
        $buffer
    };
}

/// Runs the twin of `kernel`: in f32 as the shader computes, or in f64.
///
/// # Errors
/// When the buffers or the parameters are not those of the kernel.
pub fn execute<T: Real>(
    kernel: Kernel,
    params: &[u32],
    bindings: &mut [Binding<'_, T>],
) -> Result<(), BindingMismatch> {
    /// Calls `$name::$name` with the buffers taken out of `bindings` in order.
    macro_rules! twin {
        ($name:ident: $($access:ident $buffer:ident),+) => {
            match bindings {
                [$(pattern!($access $buffer)),+] => {
                    $name::$name($(buffer!($access $buffer)),+, &read_params(params)?);
                    Ok(())
                }
                _ => Err(BindingMismatch::Buffers { kernel, bound: bindings.len() }),
            }
        };
    }
    match kernel {
        Kernel::Matmul => twin!(matmul: read a, read b, read bias, write c),
        Kernel::Embedding => twin!(embedding: tokens ids, read table, write out),
        Kernel::EmbeddingGrad => twin!(embedding_grad: tokens ids, read dout, write dtable),
        Kernel::Position => twin!(position: read x, read table, write out),
        Kernel::PositionGrad => twin!(position_grad: read dout, write dtable),
        Kernel::LayerNorm => twin!(layer_norm: read x, read w, read b, write y, write stats),
        Kernel::LayerNormGrad => twin!(layer_norm_grad: read x, read w, read stats, read dy, write dx),
        Kernel::LayerNormGradParams => twin!(layer_norm_grad_params: read x, read stats, read dy, write dw, write db),
        Kernel::RmsNorm => twin!(rms_norm: read x, read w, write y, write stats),
        Kernel::RmsNormGrad => twin!(rms_norm_grad: read x, read w, read stats, read dy, write dx),
        Kernel::RmsNormGradParams => twin!(rms_norm_grad_params: read x, read stats, read dy, write dw),
        Kernel::Rope => twin!(rope: read x, write y),
        Kernel::LatentJoin => twin!(latent_join: read queries, read pairs, read key, write qkv),
        Kernel::LatentJoinGrad => twin!(latent_join_grad: read dqkv, write dqueries, write dpairs, write dkey),
        Kernel::Attention => twin!(attention: read qkv, read kv, write out, write lse),
        Kernel::AttentionDelta => twin!(attention_delta: read out, read dout, write delta),
        Kernel::AttentionGradQ => {
            twin!(attention_grad_q: read qkv, read kv, read dout, read lse, read delta, write dqkv)
        }
        Kernel::AttentionGradKv => {
            twin!(attention_grad_kv: read qkv, read kv, read dout, read lse, read delta, write dkv)
        }
        Kernel::Route => twin!(route: read scores, write weights, numbers choices),
        Kernel::Assign => twin!(assign: tokens choices, numbers assignment),
        Kernel::RouteGrad => twin!(route_grad: read scores, tokens assignment, read dweights, write dscores),
        Kernel::Dispatch => twin!(dispatch: read x, read weights, tokens assignment, write rows),
        Kernel::Combine => twin!(combine: read rows, read weights, tokens assignment, write y),
        Kernel::CombineGradWeights => {
            twin!(combine_grad_weights: read rows, tokens assignment, read dy, write dweights)
        }
        Kernel::AttentionScores => twin!(attention_scores: read qkv, write s),
        Kernel::AttentionSoftmax => twin!(attention_softmax: read s, write p),
        Kernel::AttentionValues => twin!(attention_values: read p, read qkv, write out),
        Kernel::AttentionValuesGradP => twin!(attention_values_grad_p: read qkv, read dout, write dp),
        Kernel::AttentionValuesGradV => twin!(attention_values_grad_v: read p, read dout, write dv),
        Kernel::AttentionSoftmaxGrad => twin!(attention_softmax_grad: read p, read dp, write ds),
        Kernel::AttentionScoresGrad => twin!(attention_scores_grad: read ds, read qkv, read dv, write dqkv),
        Kernel::Silu => twin!(silu: read x, write y),
        Kernel::SiluGrad => twin!(silu_grad: read x, read dgate, read dup, write dx),
        Kernel::Gate => twin!(gate: read x, read gates, write y),
        Kernel::GateGrad => twin!(gate_grad: read x, read gates, read dy, write dgate, write dup),
        Kernel::Gelu => twin!(gelu: read x, write y),
        Kernel::GeluGrad => twin!(gelu_grad: read x, read dy, write dx),
        Kernel::Relu => twin!(relu: read x, write y),
        Kernel::ReluGrad => twin!(relu_grad: read y, read dy, write dx),
        Kernel::Tanh => twin!(tanh: read x, write y),
        Kernel::TanhGrad => twin!(tanh_grad: read y, read dy, write dx),
        Kernel::GatherRows => twin!(gather_rows: read x, tokens positions, write y),
        Kernel::GatherRowsGrad => twin!(gather_rows_grad: read dy, tokens positions, write dx),
        Kernel::ClassToken => twin!(class_token: read x, read token, write y),
        Kernel::ClassTokenGrad => twin!(class_token_grad: read dy, write dx),
        Kernel::EmbeddingBag => twin!(embedding_bag: tokens ids, read weight, write out),
        Kernel::EmbeddingBagUpdate => {
            twin!(embedding_bag_update: tokens ids, read dout, write weight, write state)
        }
        Kernel::Interaction => twin!(interaction: read dense, read vectors, write out),
        Kernel::InteractionGrad => {
            twin!(interaction_grad: read dense, read vectors, read dout, write ddense, write dvectors)
        }
        Kernel::Cross => twin!(cross: read x0, read x, read u, write y),
        Kernel::CrossGrad => twin!(cross_grad: read x0, read u, read dy, write dx0, write du),
        Kernel::BinaryLoss => twin!(binary_loss: read logits, tokens targets, write loss),
        Kernel::BinaryLossGrad => twin!(binary_loss_grad: read logits, tokens targets, write dlogits),
        Kernel::Convolution => twin!(convolution: read x, read weight, write y),
        Kernel::ConvolutionInputGrad => twin!(convolution_input_grad: read dy, read weight, write dx),
        Kernel::ConvolutionWeightGrad => twin!(convolution_weight_grad: read x, read dy, write dweight),
        Kernel::BatchNorm => twin!(batch_norm: read x, read weight, read shift, write y, write stats),
        Kernel::BatchNormGrad => {
            twin!(batch_norm_grad: read x, read weight, read stats, read dy, write dx, write sums)
        }
        Kernel::BatchNormGradParams => twin!(batch_norm_grad_params: read sums, write dweight, write dshift),
        Kernel::GroupNorm => twin!(group_norm: read x, read weight, read shift, write y, write stats),
        Kernel::GroupNormGrad => twin!(group_norm_grad: read x, read weight, read stats, read dy, write dx),
        Kernel::GroupNormGradParams => {
            twin!(group_norm_grad_params: read x, read stats, read dy, write dweight, write dshift)
        }
        Kernel::Pool => twin!(pool: read x, write y),
        Kernel::PoolGrad => twin!(pool_grad: read x, read y, read dy, write dx),
        Kernel::ClassSums => twin!(class_sums: read logits, tokens targets, write out),
        Kernel::ClassSumsGrad => twin!(class_sums_grad: read logits, read stats, tokens targets, write dlogits),
        Kernel::Swiglu => twin!(swiglu: read x, write y),
        Kernel::SwigluGrad => twin!(swiglu_grad: read x, read dy, write dx),
        Kernel::Add => twin!(add: read a, read b, write c),
        Kernel::Residual => twin!(residual: read x, read y, read bias, write out),
        Kernel::ColumnSum => twin!(column_sum: read x, write out),
        Kernel::RowMax => twin!(row_max: read logits, write out),
        Kernel::SumExp => twin!(sum_exp: read logits, read m, tokens targets, write out),
        Kernel::CrossEntropy => twin!(cross_entropy: read stats, write loss),
        Kernel::CrossEntropyGrad => {
            twin!(cross_entropy_grad: read logits, read m, read stats, tokens targets, write dlogits)
        }
        Kernel::Fill => twin!(fill: write out),
        Kernel::Reduce => twin!(reduce: read src, write dst),
        Kernel::SumSquares => twin!(sum_squares: read x, write out),
        Kernel::Adamw => twin!(adamw: read grad, read norm_sq, read hyper, write param, write m, write v),
        Kernel::Sgd => twin!(sgd: read grad, read norm_sq, read hyper, write param),
        Kernel::Momentum => twin!(momentum: read grad, read norm_sq, read hyper, write param, write m),
        Kernel::Adam8Bit => {
            twin!(adam_8bit: read grad, read norm_sq, read hyper, write param, numbers m, numbers v, write scales)
        }
        Kernel::FactorSums => twin!(factor_sums: read grad, read norm_sq, read hyper, write out),
        Kernel::FactorMoments => twin!(factor_moments: read norm_sq, read hyper, read sums, write moments),
        Kernel::Adafactor => {
            twin!(adafactor: read grad, read norm_sq, read hyper, read rows, read columns, write param)
        }
        Kernel::MuonMomentum => {
            twin!(muon_momentum: read grad, read norm_sq, read hyper, write direction, write m)
        }
        Kernel::UnitNorm => twin!(unit_norm: write x),
        Kernel::Blend => twin!(blend: read src, write dst),
        Kernel::Muon => twin!(muon: read direction, read norm_sq, read hyper, write param),
        Kernel::NarrowBlocks => twin!(narrow_blocks: read x, numbers codes),
        Kernel::WidenBlocks => twin!(widen_blocks: tokens codes, write x),
        Kernel::SelectLargest => twin!(select_largest: read grad, numbers largest, write error),
        Kernel::ScatterAdd => twin!(scatter_add: tokens pairs, write x),
        Kernel::OrthogonalColumns => twin!(orthogonal_columns: write x),
        Kernel::Dropout => twin!(dropout: read x, tokens step, write y, numbers mask),
        Kernel::DropoutResidual => {
            twin!(dropout_residual: read x, read y, read bias, tokens step, write out, numbers mask)
        }
        Kernel::DropoutGrad => twin!(dropout_grad: read dy, tokens mask, write dx),
        Kernel::Peak => twin!(peak: write out),
        Kernel::PeakHalf => twin!(peak_half: write out),
        Kernel::PeakInt8 => twin!(peak_int8: numbers out),
        Kernel::PeakInt32 => twin!(peak_int32: numbers out),
        Kernel::MatmulHalf => twin!(matmul_half: tokens a, tokens b, read bias, write c),
        Kernel::Read => twin!(read: read x, write out),
        Kernel::Scale => twin!(scale: read x, numbers out),
        Kernel::Quantize => twin!(quantize: read x, numbers out),
        Kernel::QuantizeBlocks => twin!(quantize_blocks: read x, numbers out),
        Kernel::QuantizeShort => twin!(quantize_short: read x, numbers out),
        Kernel::QuantizeRows => twin!(quantize_rows: read x, numbers out, write scales),
        Kernel::MatmulInt8 => {
            twin!(matmul_int8: tokens a, tokens b, read bias, write c, read a_scales, read b_scales)
        }
        Kernel::Copy => twin!(copy: read src, write dst),
    }
}

fn read_params<P: KernelParams>(params: &[u32]) -> Result<P, BindingMismatch> {
    let expected = size_of::<P>() / size_of::<u32>();
    let mismatch = BindingMismatch::Params { kernel: P::KERNEL, expected, words: params.len() };
    bytemuck::try_pod_read_unaligned(bytemuck::cast_slice(params)).map_err(|_| mismatch)
}

#[cfg(test)]
mod tests {
    use super::super::kernel::Access;
    use super::*;

    #[test]
    fn execute_runs_the_twin() {
        let mut sum = [0.0_f32; 2];
        let mut bindings = [Binding::Read(&[1.0, 2.0]), Binding::Read(&[10.0, 20.0]), Binding::Write(&mut sum)];
        assert_eq!(execute(Kernel::Add, &[2, 0, 0, 0], &mut bindings), Ok(()));
        assert_eq!(sum, [11.0, 22.0]);
    }

    #[test]
    fn execute_refuses_what_does_not_fit() {
        let kernel = Kernel::Fill;
        let refused = execute(kernel, &[1, 0, 0, 0], &mut [Binding::Read(&[0.0_f32])]);
        assert_eq!(refused, Err(BindingMismatch::Buffers { kernel, bound: 1 }));
        let refused = execute(kernel, &[1], &mut [Binding::Write(&mut [0.0_f32])]);
        assert_eq!(refused, Err(BindingMismatch::Params { kernel, expected: 4, words: 1 }));
    }

    #[test]
    fn every_kernel_is_called_with_its_declared_bindings() {
        for &kernel in Kernel::ALL {
            let mut buffers = vec![Vec::<f32>::new(); kernel.bindings().len()];
            let mut bindings = Vec::new();
            for (access, buffer) in kernel.bindings().iter().zip(&mut buffers) {
                bindings.push(match access {
                    Access::Read => Binding::Read(buffer),
                    Access::ReadWrite => Binding::Write(buffer),
                });
            }
            // No parameters at all: what is refused then is the parameters, not the buffers.
            let refused = execute(kernel, &[], &mut bindings);
            assert!(matches!(refused, Err(BindingMismatch::Params { .. })), "{}: {refused:?}", kernel.name());
        }
    }
}
