//! The kernels by name: their WGSL source, their bindings and the size of their grids.
//!
//! Every kernel exists twice, as `shaders/NAME.wgsl` and as its CPU twin `exec/cpu/NAME.rs`.
//! Both take the same buffers in the same order, then the parameters: storage buffers are bindings `0..k` of group 0
//! and the parameters are the uniform buffer at binding `k`.

/// Threads in a workgroup of an elementwise kernel; the shaders declare the same number.
pub const WORKGROUP_SIZE: u32 = 64;

/// The most workgroups WebGPU promises in one dimension of a grid.
pub(super) const MAX_WORKGROUPS: u32 = 65_535;

/// What a kernel does with a storage buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The kernel only reads the buffer.
    Read,
    /// The kernel writes the buffer and may read it.
    ReadWrite,
}

/// The parameters of a kernel, laid out as the `Params` struct of its shader.
pub trait KernelParams: bytemuck::Pod {
    /// The kernel these are the parameters of.
    const KERNEL: Kernel;

    /// How many workgroups cover the output.
    fn grid(&self) -> [u32; 3];
}

/// The grid of an elementwise kernel over `n` elements, folded into `y` where one row of workgroups is too long.
pub fn elementwise_grid(n: u32) -> [u32; 3] {
    folded_grid(n.div_ceil(WORKGROUP_SIZE))
}

/// The same of as many workgroups.
pub fn folded_grid(groups: u32) -> [u32; 3] {
    let groups = groups.max(1);
    let x = groups.min(MAX_WORKGROUPS);
    [x, groups.div_ceil(x), 1]
}

/// Declares the kernels: one line each, `Variant "name" [access of each storage buffer] + "parts that stand before it"`.
macro_rules! kernels {
    ($($(#[$doc:meta])* $variant:ident $name:literal [$($access:ident)*] $(+ $part:literal)*,)*) => {
        /// A compute kernel.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum Kernel {
            $($(#[$doc])* $variant,)*
        }

        impl Kernel {
            /// All kernels, in order of declaration.
            pub const ALL: &'static [Kernel] = &[$(Kernel::$variant),*];

            /// The name of the shader file and of the CPU twin.
            pub fn name(self) -> &'static str {
                match self {
                    $(Kernel::$variant => $name,)*
                }
            }

            /// The WGSL source.
            pub fn source(self) -> &'static str {
                match self {
                    $(Kernel::$variant => shader!($name $(+ $part)*),)*
                }
            }

            /// The storage buffers in order of binding; the uniform parameters follow after the last.
            pub fn bindings(self) -> &'static [Access] {
                match self {
                    $(Kernel::$variant => &[$(access!($access)),*],)*
                }
            }
        }
    };
}

/// The source of a shader with the parts that stand before it: WGSL has no way to include them.
macro_rules! shader {
    ($name:literal $(+ $part:literal)*) => {
        concat!(
            $(include_str!(concat!("../../../shaders/parts/", $part, ".wgsl")), "\n",)*
            include_str!(concat!("../../../shaders/", $name, ".wgsl"))
        )
    };
}
pub(super) use shader;

/// Short words for [`Access`], so that the table of kernels fits its lines.
macro_rules! access {
    (read) => {
        Access::Read
    };
    (write) => {
        Access::ReadWrite
    };
}

kernels! {
    /// `c = a b + bias`.
    Matmul "matmul" [read read read write] + "matmul_buffers" + "matmul" + "matmul_result",
    /// Rows of a table by token id.
    Embedding "embedding" [read read write],
    /// Gradient of [`Kernel::Embedding`] for the table.
    EmbeddingGrad "embedding_grad" [read read write],
    /// Adds learned positions.
    Position "position" [read read write],
    /// Gradient of [`Kernel::Position`] for the table.
    PositionGrad "position_grad" [read write],
    /// Layer norm over each row.
    LayerNorm "layer_norm" [read read read write write],
    /// Gradient of [`Kernel::LayerNorm`] for its input.
    LayerNormGrad "layer_norm_grad" [read read read read write],
    /// Gradient of [`Kernel::LayerNorm`] for weight and bias.
    LayerNormGradParams "layer_norm_grad_params" [read read read write write],
    /// Root mean square norm over each row.
    RmsNorm "rms_norm" [read read write write],
    /// Gradient of [`Kernel::RmsNorm`] for its input.
    RmsNormGrad "rms_norm_grad" [read read read read write],
    /// Gradient of [`Kernel::RmsNorm`] for its weight.
    RmsNormGradParams "rms_norm_grad_params" [read read read write],
    /// Rotary positions on queries and keys; backwards it is its own gradient.
    Rope "rope" [read write],
    /// Queries, keys and values of latent attention, rotated and joined.
    LatentJoin "latent_join" [read read read write],
    /// Gradient of [`Kernel::LatentJoin`].
    LatentJoinGrad "latent_join_grad" [read write write write],
    /// Attention with an online softmax, of all keys or a part of them.
    Attention "attention" [read read write write] + "attention" + "attention_places" + "attention_blocks" + "attention_numbers",
    /// The row sums `out · dout` that both attention gradients need.
    AttentionDelta "attention_delta" [read read write] + "attention",
    /// Gradient of [`Kernel::Attention`] for the queries.
    AttentionGradQ "attention_grad_q" [read read read read read write] + "attention" + "attention_places" + "attention_blocks",
    /// Gradient of [`Kernel::Attention`] for keys and values.
    AttentionGradKv "attention_grad_kv" [read read read read read write] + "attention" + "attention_places" + "attention_blocks",
    /// The best experts of every token.
    Route "route" [read write write],
    /// The rows of experts that tokens take.
    Assign "assign" [read write],
    /// Gradient of [`Kernel::Route`] for the scores.
    RouteGrad "route_grad" [read read read write],
    /// Copies tokens to their experts' rows.
    Dispatch "dispatch" [read read read write],
    /// Sums what a token's experts gave.
    Combine "combine" [read read read write],
    /// Gradient of [`Kernel::Combine`] for the weights.
    CombineGradWeights "combine_grad_weights" [read read read write],
    /// Scores of attention that is not fused.
    AttentionScores "attention_scores" [read write] + "attention" + "attention_rows",
    /// Their softmax.
    AttentionSoftmax "attention_softmax" [read write] + "attention",
    /// The weighted values.
    AttentionValues "attention_values" [read read write] + "attention" + "attention_rows",
    /// Gradient of [`Kernel::AttentionValues`] for the weights.
    AttentionValuesGradP "attention_values_grad_p" [read read write] + "attention" + "attention_rows",
    /// Gradient of [`Kernel::AttentionValues`] for the values.
    AttentionValuesGradV "attention_values_grad_v" [read read write] + "attention",
    /// Gradient of [`Kernel::AttentionSoftmax`].
    AttentionSoftmaxGrad "attention_softmax_grad" [read read write] + "attention",
    /// Gradient of [`Kernel::AttentionScores`], with that of the values.
    AttentionScoresGrad "attention_scores_grad" [read read read write] + "attention" + "attention_rows",
    /// The gate of SwiGLU where nothing is fused.
    Silu "silu" [read write],
    /// Gradient of [`Kernel::Silu`], with that of the factors.
    SiluGrad "silu_grad" [read read read write],
    /// The product of SwiGLU where nothing is fused.
    Gate "gate" [read read write],
    /// Gradient of [`Kernel::Gate`].
    GateGrad "gate_grad" [read read read write write],
    /// GELU, in the tanh approximation of GPT-2.
    Gelu "gelu" [read write],
    /// Gradient of [`Kernel::Gelu`].
    GeluGrad "gelu_grad" [read read write],
    /// Rectified linear unit.
    Relu "relu" [read write],
    /// Gradient of [`Kernel::Relu`] from its result.
    ReluGrad "relu_grad" [read read write],
    /// Hyperbolic tangent.
    Tanh "tanh" [read write],
    /// Gradient of [`Kernel::Tanh`] from its result.
    TanhGrad "tanh_grad" [read read write],
    /// Some rows of every sequence.
    GatherRows "gather_rows" [read read write],
    /// Gradient of [`Kernel::GatherRows`].
    GatherRowsGrad "gather_rows_grad" [read read write],
    /// A row of its own before those of every sequence.
    ClassToken "class_token" [read read write],
    /// Gradient of [`Kernel::ClassToken`] for the other rows.
    ClassTokenGrad "class_token_grad" [read write],
    /// Sums of rows of a table.
    EmbeddingBag "embedding_bag" [read read write],
    /// Update of the rows of a table that were looked up.
    EmbeddingBagUpdate "embedding_bag_update" [read read write write],
    /// How the vectors of a sample meet.
    Interaction "interaction" [read read write],
    /// Gradient of [`Kernel::Interaction`].
    InteractionGrad "interaction_grad" [read read read write write],
    /// A layer of a cross network.
    Cross "cross" [read read read write],
    /// Gradient of [`Kernel::Cross`].
    CrossGrad "cross_grad" [read read read write write],
    /// Binary cross entropy of all rows.
    BinaryLoss "binary_loss" [read read write],
    /// Gradient of [`Kernel::BinaryLoss`].
    BinaryLossGrad "binary_loss_grad" [read read write],
    /// Convolution of images.
    Convolution "convolution" [read read write],
    /// Gradient of [`Kernel::Convolution`] for its input.
    ConvolutionInputGrad "convolution_input_grad" [read read write],
    /// Gradient of [`Kernel::Convolution`] for its weight.
    ConvolutionWeightGrad "convolution_weight_grad" [read read write],
    /// Norm of each channel over a micro-batch.
    BatchNorm "batch_norm" [read read read write write] + "lane_sum",
    /// Gradient of [`Kernel::BatchNorm`] for its input, and the sums for its parameters.
    BatchNormGrad "batch_norm_grad" [read read read read write write] + "lane_sum",
    /// Gradient of [`Kernel::BatchNorm`] for its parameters.
    BatchNormGradParams "batch_norm_grad_params" [read write write],
    /// Norm of groups of channels of each image.
    GroupNorm "group_norm" [read read read write write] + "group_norm" + "lane_sum",
    /// Gradient of [`Kernel::GroupNorm`] for its input.
    GroupNormGrad "group_norm_grad" [read read read read write] + "group_norm" + "lane_sum",
    /// Gradient of [`Kernel::GroupNorm`] for its parameters.
    GroupNormGradParams "group_norm_grad_params" [read read read write write] + "group_norm" + "lane_sum",
    /// The largest, or the mean, of windows.
    Pool "pool" [read write],
    /// Gradient of [`Kernel::Pool`].
    PoolGrad "pool_grad" [read read read write],
    /// What a cross entropy of few classes needs of each row.
    ClassSums "class_sums" [read read write],
    /// Gradient of a cross entropy of few classes.
    ClassSumsGrad "class_sums_grad" [read read read write],
    /// `silu(gate) * up` of interleaved columns.
    Swiglu "swiglu" [read write],
    /// Gradient of [`Kernel::Swiglu`].
    SwigluGrad "swiglu_grad" [read read write],
    /// `c = a + b`.
    Add "add" [read read write],
    /// `out = x + y + bias`.
    Residual "residual" [read read read write],
    /// Sets some elements to zero.
    Dropout "dropout" [read read write write] + "dropout",
    /// The residual with dropout of what is added.
    DropoutResidual "dropout_residual" [read read read read write write] + "dropout",
    /// Gradient of both.
    DropoutGrad "dropout_grad" [read read write],
    /// Adds the sum of each column.
    ColumnSum "column_sum" [read write],
    /// The largest logit of each row in this vocabulary shard.
    RowMax "row_max" [read write],
    /// Sum of exponentials and target logit of each row in this vocabulary shard.
    SumExp "sum_exp" [read read read write],
    /// The cross entropy of all rows from the reduced [`Kernel::SumExp`].
    CrossEntropy "cross_entropy" [read write],
    /// Gradient of [`Kernel::CrossEntropy`] for the logits.
    CrossEntropyGrad "cross_entropy_grad" [read read read read write],
    /// Writes one value everywhere.
    Fill "fill" [write],
    /// The step of a collective: `dst = dst + src` or `dst = max(dst, src)`.
    Reduce "reduce" [read write],
    /// Adds the scaled sum of squares.
    SumSquares "sum_squares" [read write],
    /// One AdamW update.
    Adamw "adamw" [read read read write write write] + "update",
    /// One update of stochastic gradient descent.
    Sgd "sgd" [read read read write] + "update",
    /// One update with momentum.
    Momentum "momentum" [read read read write write] + "update",
    /// One AdamW update with moments in eight bits.
    Adam8Bit "adam_8bit" [read read read write write write write] + "update",
    /// Squares of a gradient by rows and columns, or their moments.
    FactorSums "factor_sums" [read read read write] + "update",
    /// Moments from sums of squares.
    FactorMoments "factor_moments" [read read read write] + "update",
    /// One update from the moments of rows and columns.
    Adafactor "adafactor" [read read read read read write] + "update",
    /// Momentum that is to be made orthogonal.
    MuonMomentum "muon_momentum" [read read read write write] + "update",
    /// Matrices over their norms.
    UnitNorm "unit_norm" [write],
    /// A weighted sum.
    Blend "blend" [read write],
    /// Applies an orthogonal update.
    Muon "muon" [read read read write] + "update",
    /// Gradients in eight bits, with a scale for each block.
    NarrowBlocks "narrow_blocks" [read write],
    /// The sum of such.
    WidenBlocks "widen_blocks" [read write],
    /// The largest elements of what has not been sent.
    SelectLargest "select_largest" [read write write],
    /// Adds values to their places.
    ScatterAdd "scatter_add" [read write],
    /// Columns made orthogonal.
    OrthogonalColumns "orthogonal_columns" [write],
    /// The scale of a tensor in eight bits.
    Scale "scale" [read write],
    /// Numbers in eight bits.
    Quantize "quantize" [read write],
    /// Numbers in eight bits, with a scale for each block.
    QuantizeBlocks "quantize_blocks" [read write],
    /// Numbers in four bits.
    QuantizeShort "quantize_short" [read write] + "formats",
    /// Integers in eight bits, with a scale for each row.
    QuantizeRows "quantize_rows" [read write write],
    /// Product of integers in eight bits.
    MatmulInt8 "matmul_int8" [read read read write read read] + "matmul_result",
    /// `dst = src`.
    Copy "copy" [read write],
    /// Arithmetic without memory.
    Peak "peak" [write] + "peak_numbers" + "peak",
    /// The same in half precision.
    PeakHalf "peak_half" [write] + "half" + "peak_numbers" + "peak",
    /// The same of integers.
    PeakInt32 "peak_int32" [write] + "peak_integers" + "peak",
    /// Packed dot products without memory.
    PeakInt8 "peak_int8" [write],
    /// Matrix product in half-precision arithmetic.
    MatmulHalf "matmul_half" [read read read write] + "half" + "matmul" + "matmul_result" + "matmul_half",
    /// Reading without much else.
    Read "read" [read write],
}

impl Kernel {
    /// Whether it computes in half precision, which not every device does.
    pub fn needs_half(self) -> bool {
        matches!(self, Self::PeakHalf | Self::MatmulHalf)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a broken shader shall fail the test with its message")]
mod tests {
    use std::borrow::Cow;
    use std::collections::BTreeMap;

    use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};
    use naga::{AddressSpace, Module, StorageAccess};

    use super::super::Format;
    use super::*;

    fn parse(name: &str, source: &str) -> Module {
        naga::front::wgsl::parse_str(source).unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(source)))
    }

    /// All shaders with their kernel, each way of it, with marked loops written out.
    fn shaders() -> impl Iterator<Item = (Kernel, &'static str, Cow<'static, str>)> {
        Kernel::ALL.iter().flat_map(|&kernel| {
            let ways = u8::try_from(kernel.families().len().max(1)).unwrap();
            (0..ways).map(move |way| (kernel, kernel.name_of(way), kernel.source_in(way, &[], 0)))
        })
    }

    /// What a kernel may need beyond the core of WebGPU.
    fn validator(kernel: Kernel) -> Validator {
        let half = match kernel {
            // One of its ways is on matrix units, and some have subgroups read together.
            Kernel::Matmul => Capabilities::SHADER_FLOAT16 | Capabilities::COOPERATIVE_MATRIX | Capabilities::SUBGROUP,
            Kernel::Attention | Kernel::AttentionGradQ | Kernel::AttentionGradKv => Capabilities::SUBGROUP,
            _ if kernel.needs_half() => Capabilities::SHADER_FLOAT16,
            _ => Capabilities::empty(),
        };
        let mut validator = Validator::new(ValidationFlags::all(), half);
        validator.subgroup_stages(ShaderStages::COMPUTE).subgroup_operations(SubgroupOperationSet::all());
        validator
    }

    fn address_spaces(module: &Module) -> BTreeMap<u32, AddressSpace> {
        let bound = module.global_variables.iter().filter_map(|(_, variable)| {
            let binding = variable.binding.as_ref()?;
            assert_eq!(binding.group, 0);
            Some((binding.binding, variable.space))
        });
        bound.collect()
    }

    #[test]
    fn every_shader_is_valid_and_has_one_entry_point() {
        for (kernel, name, source) in shaders() {
            let module = parse(name, &source);
            let validated = validator(kernel).validate(&module);
            assert!(validated.is_ok(), "{}: {validated:?}", kernel.name());
            assert_eq!(module.entry_points.len(), 1, "{}", kernel.name());
            assert_eq!(module.entry_points[0].name, "main", "{}", kernel.name());
        }
    }

    #[test]
    fn every_shader_is_valid_on_buffers_of_every_format() {
        for (kernel, name, _) in shaders() {
            let family = kernel.families().iter().position(|family| family.name == name).unwrap_or(0);
            let family = u8::try_from(family).unwrap();
            for format in Format::ALL {
                // What is written is never TF32.
                let of = |access: &Access| match access {
                    Access::ReadWrite if !format.is_written() => Format::Word,
                    _ => format,
                };
                let formats: Vec<Format> = kernel.bindings().iter().map(of).collect();
                let source = kernel.source_in(family, &formats, 0);
                let module = parse(name, &source);
                let validated = validator(kernel).validate(&module);
                assert!(validated.is_ok(), "{name} in {}: {validated:?}\n{source}", format.name());
            }
        }
    }

    #[test]
    fn every_shader_has_the_declared_bindings() {
        for (kernel, name, source) in shaders() {
            let access = |access: &Access| match access {
                Access::Read => AddressSpace::Storage { access: StorageAccess::LOAD },
                Access::ReadWrite => AddressSpace::Storage { access: StorageAccess::LOAD | StorageAccess::STORE },
            };
            let storage = kernel.bindings().iter().map(access);
            let declared = (0..).zip(storage.chain([AddressSpace::Uniform])).collect::<BTreeMap<_, _>>();
            assert_eq!(address_spaces(&parse(name, &source)), declared, "{}", kernel.name());
        }
    }

    #[test]
    fn every_shader_uses_all_its_bindings() {
        for (kernel, name, source) in shaders() {
            let module = parse(name, &source);
            let info = validator(kernel).validate(&module).unwrap();
            // A binding that is never used drops out of an automatic layout.
            for (handle, variable) in module.global_variables.iter() {
                let used = !info.get_entry_point(0)[handle].is_empty();
                assert!(used, "{}: {:?} is unused", kernel.name(), variable.name);
            }
        }
    }

    #[test]
    fn elementwise_grid_covers_every_element() {
        for n in [0, 1, 64, 65, 64 * 65_535, 64 * 65_535 + 1, u32::MAX] {
            let [x, y, z] = elementwise_grid(n);
            assert!(x <= MAX_WORKGROUPS && y <= MAX_WORKGROUPS && z == 1);
            assert!(u64::from(x) * u64::from(y) * u64::from(WORKGROUP_SIZE) >= u64::from(n));
        }
    }
}
