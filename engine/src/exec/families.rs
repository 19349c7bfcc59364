//! Kernels that can be computed in several ways. All ways have the same bindings, parameters and CPU twin; which is the
//! fastest depends on the shape and on the device, so it is measured (`tune`).

use serde::{Deserialize, Serialize};

use super::kernel::{Kernel, MAX_WORKGROUPS, elementwise_grid, folded_grid, shader};
use super::{Dispatch, Format};

/// A way to compute a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// The name of the shader file.
    pub name: &'static str,
    /// The WGSL source.
    pub source: &'static str,
    /// Rows and columns of the result that a workgroup computes.
    pub tile: [u32; 2],
    /// Whether a workgroup works together on few rows or columns, so that many workgroups have something to do: what
    /// devices need that run many at once, and what costs barriers on those that do not.
    pub shared: bool,
}

macro_rules! family {
    ($name:literal $(+ $part:literal)*, $rows:literal, $cols:literal) => {
        Family { name: $name, source: shader!($name $(+ $part)*), tile: [$rows, $cols], shared: false }
    };
    (shared $name:literal $(+ $part:literal)*, $rows:literal, $cols:literal) => {
        Family { name: $name, source: shader!($name $(+ $part)*), tile: [$rows, $cols], shared: true }
    };
}

/// A kernel with an invocation for each row or column, and the same with a workgroup for some.
macro_rules! by_workgroup {
    ($name:literal, $rows:literal, $cols:literal, $shared:literal $(+ $part:literal)*) => {
        [family!($name, $rows, $cols), family!(shared $shared $(+ $part)*, $rows, $cols)]
    };
}

/// The same and, behind them, one with an invocation for each row that reads four neighbours at once.
macro_rules! by_rows {
    ($name:literal, $shared:literal, $vectors:literal) => {
        [
            family!($name, 1, 1),
            family!(shared $shared + "lane_sum", 1, 1),
            family!($vectors, 1, 1),
        ]
    };
}

/// Matrix products: in registers alone, by way of workgroup memory, on matrix units, and for devices whose vectors are eight
/// invocations, which may be able to show each other what they have.
const MATMUL: [Family; 11] = [
    family!("matmul" + "matmul_buffers" + "matmul" + "matmul_result", 64, 32),
    family!("matmul_wide" + "matmul_buffers" + "matmul" + "matmul_result" + "matmul_outer", 64, 128),
    family!("matmul_tiled" + "matmul_buffers" + "matmul" + "matmul_result" + "matmul_tiles", 64, 64),
    family!("matmul_large" + "matmul_buffers" + "matmul" + "matmul_result" + "matmul_tiles", 128, 128),
    family!("matmul_split" + "matmul_buffers" + "matmul" + "matmul_result", 8, 4),
    family!("matmul_vectors" + "matmul" + "matmul_result", 64, 128),
    family!("matmul_cooperative" + "cooperative" + "matmul" + "matmul_result", 128, 128),
    family!("matmul_rows" + "matmul_buffers" + "matmul" + "matmul_result" + "matmul_outer", 16, 128),
    family!("matmul_row_vectors" + "matmul_fours" + "matmul" + "matmul_result", 8, 128),
    family!(
        "matmul_broadcast" + "matmul_fours" + "matmul" + "matmul_result_fours" + "matmul_broadcast_vectors",
        16,
        64
    ),
    Family {
        name: "matmul_broadcast_numbers",
        source: shader!(
            "matmul_broadcast" + "matmul_buffers" + "matmul" + "matmul_result" + "matmul_broadcast_numbers"
        ),
        tile: [16, 64],
        shared: false,
    },
];

/// Attention by the queries that share what is read of the keys: more of them need fewer reads and more registers.
const ATTENTION: [Family; 6] = [
    family!("attention" + "attention" + "attention_places" + "attention_blocks" + "attention_numbers", 8, 1),
    family!("attention_narrow" + "attention" + "attention_places" + "attention_blocks", 4, 1),
    family!(shared "attention_shared" + "attention" + "attention_places" + "attention_shared", 4, 1),
    Family {
        name: "attention_vectors",
        source: shader!("attention" + "attention" + "attention_places" + "attention_blocks" + "attention_vectors"),
        tile: [8, 1],
        shared: false,
    },
    family!(
        "attention_broadcast"
            + "attention"
            + "attention_places"
            + "attention_blocks"
            + "attention_broadcast"
            + "attention_broadcast_vectors",
        16,
        1
    ),
    Family {
        name: "attention_broadcast_numbers",
        source: shader!(
            "attention_broadcast"
                + "attention"
                + "attention_places"
                + "attention_blocks"
                + "attention_broadcast"
                + "attention_fours"
                + "attention_broadcast_numbers"
        ),
        tile: [16, 1],
        shared: false,
    },
];

/// A gradient of attention by subgroups: in which way it reads and writes.
macro_rules! by_subgroup {
    ($name:literal, $shader:literal $(+ $part:literal)*) => {
        Family {
            name: $name,
            source: shader!(
                $shader + "attention" + "attention_places" + "attention_blocks" + "attention_broadcast" $(+ $part)*
            ),
            tile: [16, 1],
            shared: false,
        }
    };
}

const ATTENTION_GRAD_Q: [Family; 4] = [
    family!("attention_grad_q" + "attention" + "attention_places" + "attention_blocks", 4, 1),
    family!(shared "attention_grad_q_shared" + "attention" + "attention_places" + "attention_shared", 4, 1),
    by_subgroup!("attention_grad_q_broadcast", "attention_grad_q_broadcast" + "attention_grad_broadcast_vectors"),
    by_subgroup!(
        "attention_grad_q_broadcast_numbers",
        "attention_grad_q_broadcast" + "attention_fours" + "attention_grad_broadcast_numbers"
    ),
];
const ATTENTION_GRAD_KV: [Family; 4] = [
    family!("attention_grad_kv" + "attention" + "attention_places" + "attention_blocks", 4, 1),
    family!(shared "attention_grad_kv_shared" + "attention" + "attention_places" + "attention_shared", 4, 1),
    by_subgroup!("attention_grad_kv_broadcast", "attention_grad_kv_broadcast" + "attention_grad_broadcast_vectors"),
    by_subgroup!(
        "attention_grad_kv_broadcast_numbers",
        "attention_grad_kv_broadcast" + "attention_fours" + "attention_grad_broadcast_numbers"
    ),
];

/// Rows, of which a workgroup has one.
const RMS_NORM: [Family; 3] = by_rows!("rms_norm", "rms_norm_shared", "rms_norm_vectors");
const RMS_NORM_GRAD: [Family; 3] = by_rows!("rms_norm_grad", "rms_norm_grad_shared", "rms_norm_grad_vectors");
const LAYER_NORM: [Family; 3] = by_rows!("layer_norm", "layer_norm_shared", "layer_norm_vectors");
const LAYER_NORM_GRAD: [Family; 3] = by_rows!("layer_norm_grad", "layer_norm_grad_shared", "layer_norm_grad_vectors");
const ROW_MAX: [Family; 2] = by_workgroup!("row_max", 1, 1, "row_max_shared");
const SUM_EXP: [Family; 2] = by_workgroup!("sum_exp", 1, 1, "sum_exp_shared" + "lane_sum");

/// Columns, of which a workgroup has eight.
const COLUMN_SUM: [Family; 2] = by_workgroup!("column_sum", 1, 8, "column_sum_shared" + "column_sums");
const RMS_NORM_GRAD_PARAMS: [Family; 2] =
    by_workgroup!("rms_norm_grad_params", 1, 8, "rms_norm_grad_params_shared" + "column_sums");
const LAYER_NORM_GRAD_PARAMS: [Family; 2] =
    by_workgroup!("layer_norm_grad_params", 1, 8, "layer_norm_grad_params_shared" + "column_sums");

/// Products in half-precision arithmetic, by how many halves are read at once.
const MATMUL_HALF: [Family; 2] = [
    family!("matmul_half" + "half" + "matmul" + "matmul_result" + "matmul_half", 32, 32),
    family!("matmul_half_vectors" + "half" + "matmul" + "matmul_result" + "matmul_half", 32, 32),
];

/// Arithmetic by the width of vectors.
const PEAK: [Family; 3] = [
    family!("peak" + "peak_numbers" + "peak", 1, 1),
    family!("peak_x2" + "peak_numbers" + "peak", 1, 1),
    family!("peak_x4" + "peak_numbers" + "peak", 1, 1),
];
const PEAK_HALF: [Family; 3] = [
    family!("peak_half" + "half" + "peak_numbers" + "peak", 1, 1),
    family!("peak_half_x2" + "half" + "peak_numbers" + "peak", 1, 1),
    family!("peak_half_x4" + "half" + "peak_numbers" + "peak", 1, 1),
];
const PEAK_INT32: [Family; 3] = [
    family!("peak_int32" + "peak_integers" + "peak", 1, 1),
    family!("peak_int32_x2" + "peak_integers" + "peak", 1, 1),
    family!("peak_int32_x4" + "peak_integers" + "peak", 1, 1),
];

/// The places of those that read four numbers at once: by way of workgroup memory, on matrix units, and in registers; and of
/// the one that does the same number by number.
const VECTORS: u8 = 5;
const COOPERATIVE: u8 = 6;
const ROWS: u8 = 7;
const ROW_VECTORS: u8 = 8;

/// Those of which a subgroup reads `a` once for all its invocations: four numbers at once, and number by number.
const BROADCAST: u8 = 9;
const BROADCAST_NUMBERS: u8 = 10;

/// Bytes that the workgroups of two ways share, which is more than every device has: the larger of both, rounded up.
const MORE_MEMORY: u32 = 25 << 10;

/// Rows and columns of a result that an invocation of the first way to make a product computes.
const OF_INVOCATION: [u32; 2] = [8, 4];

/// Queries that a workgroup of the first way of attention has: eight for each invocation.
const QUERIES_OF_WORKGROUP: u32 = 512;

/// Invocations of a subgroup that they are written for.
const LANES: u32 = 8;

/// The places of attention that reads four numbers at once, and of that of which a subgroup reads queries once for all its
/// invocations: four numbers at once, and number by number.
const ATTENTION_VECTORS: u8 = 3;
const ATTENTION_BROADCAST: u8 = 4;
const ATTENTION_BROADCAST_NUMBERS: u8 = 5;

/// The places of its gradients by subgroups, likewise.
const GRADIENT_BROADCAST: u8 = 2;
const GRADIENT_BROADCAST_NUMBERS: u8 = 3;

/// The place of products in half precision that read four numbers at once.
const HALVES_OF_VECTORS: u8 = 1;

/// The place of norms that read four numbers at once.
const ROWS_OF_VECTORS: u8 = 2;

/// The way of elementwise kernels that gives an invocation four elements, for devices that start workgroups more slowly than
/// these move what they have.
pub const WIDE: u8 = u8::MAX;

/// Workgroups in place of which there is one, and from how many on.
const WIDENED: u32 = 16;
const WIDE_FROM: u32 = 4096;

/// What kernels may make use of on a device; nothing on a processor that computes the twins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abilities {
    /// It runs many workgroups at once: all do but processors that stand in for a device.
    pub many: bool,
    /// It has matrix units for halves that are added up in fp32, 16 by 16 for 32 invocations.
    pub cooperates: bool,
    /// Invocations of each of its subgroups, which can read each other's numbers; 0 where they cannot, or it varies.
    pub subgroup: u32,
    /// Bytes that the invocations of a workgroup share, at most.
    pub workgroup_memory: u32,
}

impl Abilities {
    /// What all of some devices have.
    pub fn common(all: impl IntoIterator<Item = Self>) -> Self {
        let both = |a: Self, b: Self| Self {
            many: a.many && b.many,
            cooperates: a.cooperates && b.cooperates,
            subgroup: if a.subgroup == b.subgroup { a.subgroup } else { 0 },
            workgroup_memory: a.workgroup_memory.min(b.workgroup_memory),
        };
        all.into_iter().reduce(both).unwrap_or_default()
    }

    /// Rows and columns of a result that a workgroup of the default product in fp32 computes.
    pub fn tile(self) -> [u32; 2] {
        MATMUL[usize::from(if self.broadcasts() { BROADCAST } else { 0 })].tile
    }

    /// Queries that a workgroup of attention has by default.
    pub fn queries(self) -> u32 {
        if self.broadcasts() { ATTENTION[usize::from(ATTENTION_BROADCAST)].tile[0] } else { QUERIES_OF_WORKGROUP }
    }

    /// Rows and columns of it for which a number of a factor is read, and widened, once.
    pub fn shares(self) -> [u32; 2] {
        if self.broadcasts() { self.tile() } else { OF_INVOCATION }
    }

    /// Whether what an invocation has read is read by all that share a vector with it, on a device on which they are few.
    fn broadcasts(self) -> bool {
        !self.many && self.subgroup == LANES
    }
}

impl Dispatch {
    /// The way to make it on a device where nothing was measured.
    pub fn default_family(&self, device: Abilities) -> u8 {
        let large = self.grid.iter().product::<u32>() >= WIDE_FROM;
        match self.kernel {
            Kernel::Matmul if self.allows(BROADCAST, device) => BROADCAST,
            Kernel::Matmul if self.allows(BROADCAST_NUMBERS, device) => BROADCAST_NUMBERS,
            Kernel::Attention if self.allows(ATTENTION_BROADCAST, device) => ATTENTION_BROADCAST,
            Kernel::Attention if self.allows(ATTENTION_BROADCAST_NUMBERS, device) => ATTENTION_BROADCAST_NUMBERS,
            kernel if kernel.is_attention_gradient() && self.allows(GRADIENT_BROADCAST, device) => GRADIENT_BROADCAST,
            kernel if kernel.is_attention_gradient() && self.allows(GRADIENT_BROADCAST_NUMBERS, device) => {
                GRADIENT_BROADCAST_NUMBERS
            }
            Kernel::MatmulHalf if self.allows(HALVES_OF_VECTORS, device) => HALVES_OF_VECTORS,
            kernel if kernel.is_norm() && !device.many && self.allows(ROWS_OF_VECTORS, device) => ROWS_OF_VECTORS,
            kernel if device.many && large && kernel.is_elementwise() => WIDE,
            kernel => kernel.default_family(device.many),
        }
    }

    /// The same in that way.
    pub fn by_default(self, device: Abilities) -> Self {
        let family = self.default_family(device);
        if family == self.family { self } else { self.by(family) }
    }

    /// Whether it can be made in a way. Products that are read four numbers at a time have rows that begin at multiples of
    /// four; on matrix units they are of halves.
    pub fn allows(&self, family: u8, device: Abilities) -> bool {
        let factors_in = |format: Format| self.bindings.iter().take(2).all(|slice| slice.format == format);
        match (self.kernel, family) {
            (Kernel::Matmul, VECTORS | COOPERATIVE) if device.workgroup_memory < MORE_MEMORY => false,
            (Kernel::Matmul, VECTORS | ROW_VECTORS) => factors_in(Format::Word) && quads(&self.params),
            (Kernel::Matmul, BROADCAST) => {
                device.broadcasts()
                    && self.is_whole()
                    && self.fits(family)
                    && quads(&self.params)
                    && quads_of_result(&self.params)
            }
            (Kernel::Matmul, BROADCAST_NUMBERS) => device.broadcasts() && self.fits(family),
            (Kernel::Matmul, COOPERATIVE) => device.cooperates && factors_in(Format::F16) && quads(&self.params),
            (Kernel::Attention, ATTENTION_VECTORS) => factors_in(Format::Word) && heads_of_fours(&self.params),
            (Kernel::Attention, ATTENTION_BROADCAST) => {
                device.broadcasts() && self.is_whole() && heads_of_fours(&self.params)
            }
            (Kernel::Attention, ATTENTION_BROADCAST_NUMBERS) => device.broadcasts(),
            (Kernel::AttentionGradQ | Kernel::AttentionGradKv, GRADIENT_BROADCAST) => {
                device.broadcasts() && self.is_whole() && heads_of_fours(&self.params)
            }
            (Kernel::AttentionGradQ | Kernel::AttentionGradKv, GRADIENT_BROADCAST_NUMBERS) => device.broadcasts(),
            (Kernel::MatmulHalf, HALVES_OF_VECTORS) => {
                quads(&self.params) && matches!(self.params[..], [_, _, k, _, 1, 1, ..] if k.is_multiple_of(4))
            }
            (kernel, ROWS_OF_VECTORS) if kernel.is_norm() => self.is_whole() && self.params[1].is_multiple_of(4),
            (_, WIDE) => self.kernel.is_elementwise(),
            _ => usize::from(family) < self.kernel.families().len().max(1),
        }
    }

    /// Whether all that it reads and writes lies as words.
    fn is_whole(&self) -> bool {
        self.bindings.iter().all(|slice| slice.format == Format::Word)
    }

    /// All ways that a device has to make it.
    pub fn ways(&self, device: Abilities) -> impl Iterator<Item = u8> {
        let count = u8::try_from(self.kernel.families().len()).unwrap_or(u8::MAX);
        (0..count).filter(move |&family| self.allows(family, device))
    }

    /// Whether its workgroups in a way are no more than a device counts.
    fn fits(&self, family: u8) -> bool {
        self.kernel.grid_of(family, &self.params, self.grid).iter().all(|&side| side <= MAX_WORKGROUPS)
    }

    /// Whose neighbours in memory are those along the sums of a product that is read four numbers at a time: 1 of `a`, 2 of
    /// `b`.
    pub fn along(&self) -> u32 {
        match self.params[..] {
            [_, _, _, _, a_col, b_row, ..]
                if self.kernel == Kernel::Matmul
                    && matches!(self.family, VECTORS | COOPERATIVE | ROW_VECTORS | BROADCAST) =>
            {
                u32::from(a_col == 1) + 2 * u32::from(b_row == 1)
            }
            _ => 0,
        }
    }
}

/// Whether a product's factors can be read four neighbours at a time.
fn quads(params: &[u32]) -> bool {
    let &[m, n, k, a_row, a_col, b_row, b_col, _, _, a_offset, b_offset, _, a_batch, b_batch, ..] = params else {
        return false;
    };
    let factor = |across: [u32; 2], along: [u32; 2], all: [u32; 2]| {
        let ((side, stride), other) =
            if along[0] == 1 { ((along[1], along[0]), across[0]) } else { ((across[1], across[0]), along[0]) };
        stride == 1 && side.is_multiple_of(4) && other.is_multiple_of(4) && all.iter().all(|at| at.is_multiple_of(4))
    };
    factor([a_row, m], [a_col, k], [a_offset, a_batch]) && factor([b_col, n], [b_row, k], [b_offset, b_batch])
}

/// Whether the rows of a product can be written four neighbours at a time.
fn quads_of_result(params: &[u32]) -> bool {
    let &[_, n, _, _, _, _, _, _, _, _, _, c_offset, _, _, c_batch, ..] = params else { return false };
    [n, c_offset, c_batch].iter().all(|at| at.is_multiple_of(4))
}

/// Whether heads of attention begin at multiples of four.
fn heads_of_fours(params: &[u32]) -> bool {
    let &[_, _, _, _, _, head_dim, value_dim, ..] = params else { return false };
    head_dim.is_multiple_of(4) && value_dim.is_multiple_of(4)
}

impl Kernel {
    /// The ways to compute it, the default first; none where there is only that one.
    pub fn families(self) -> &'static [Family] {
        match self {
            Self::Matmul => &MATMUL,
            Self::Attention => &ATTENTION,
            Self::AttentionGradQ => &ATTENTION_GRAD_Q,
            Self::AttentionGradKv => &ATTENTION_GRAD_KV,
            Self::RmsNorm => &RMS_NORM,
            Self::RmsNormGrad => &RMS_NORM_GRAD,
            Self::RmsNormGradParams => &RMS_NORM_GRAD_PARAMS,
            Self::LayerNorm => &LAYER_NORM,
            Self::LayerNormGrad => &LAYER_NORM_GRAD,
            Self::LayerNormGradParams => &LAYER_NORM_GRAD_PARAMS,
            Self::ColumnSum => &COLUMN_SUM,
            Self::RowMax => &ROW_MAX,
            Self::SumExp => &SUM_EXP,
            Self::Peak => &PEAK,
            Self::PeakHalf => &PEAK_HALF,
            Self::MatmulHalf => &MATMUL_HALF,
            Self::PeakInt32 => &PEAK_INT32,
            _ => &[],
        }
    }

    /// Whether it is a gradient of attention that is fused.
    fn is_attention_gradient(self) -> bool {
        matches!(self, Self::AttentionGradQ | Self::AttentionGradKv)
    }

    /// Whether a way to compute it is by subgroups that show each other what they have read.
    pub(super) fn is_by_subgroup(self, family: u8) -> bool {
        match self {
            Self::Matmul => matches!(family, BROADCAST | BROADCAST_NUMBERS),
            Self::Attention => matches!(family, ATTENTION_BROADCAST | ATTENTION_BROADCAST_NUMBERS),
            Self::AttentionGradQ | Self::AttentionGradKv => {
                matches!(family, GRADIENT_BROADCAST | GRADIENT_BROADCAST_NUMBERS)
            }
            _ => false,
        }
    }

    /// Whether it normalises rows, or is the gradient of that for what was normalised.
    fn is_norm(self) -> bool {
        matches!(self, Self::RmsNorm | Self::RmsNormGrad | Self::LayerNorm | Self::LayerNormGrad)
    }

    /// Whether an invocation does no more than to move one element, or two.
    pub fn is_elementwise(self) -> bool {
        matches!(
            self,
            Self::Copy
                | Self::Fill
                | Self::Add
                | Self::Reduce
                | Self::Residual
                | Self::Gelu
                | Self::GeluGrad
                | Self::Relu
                | Self::ReluGrad
                | Self::Swiglu
                | Self::SwigluGrad
                | Self::Adamw
                | Self::Sgd
                | Self::Momentum
                | Self::Blend
        )
    }

    /// The way to compute it where neither was measured nor is known how large it is.
    fn default_family(self, many: bool) -> u8 {
        let shared = self.families().iter().position(|family| family.shared).filter(|_| many);
        u8::try_from(shared.unwrap_or(0)).unwrap_or(0)
    }

    /// Whether a way has been held against its twin on a device that has it; until then it is measured, and not taken.
    pub fn is_tested(self, family: u8) -> bool {
        self != Self::Matmul || family != COOPERATIVE
    }

    /// Whether a way clamps all places by itself, so that nothing else must.
    pub fn stays_inside(self, family: u8) -> bool {
        self.is_by_subgroup(family) || self == Self::Matmul && matches!(family, VECTORS | ROWS | ROW_VECTORS)
    }

    /// The source of a way to compute it.
    pub fn source_of(self, family: u8) -> &'static str {
        self.families().get(usize::from(family)).map_or_else(|| self.source(), |family| family.source)
    }

    /// The name of a way to compute it.
    pub fn name_of(self, family: u8) -> &'static str {
        self.families().get(usize::from(family)).map_or_else(|| self.name(), |family| family.name)
    }

    /// The grid of a way to compute it, for a call with `params` whose default grid is `grid`.
    pub fn grid_of(self, family: u8, params: &[u32], grid: [u32; 3]) -> [u32; 3] {
        if family == WIDE {
            return folded_grid(grid.iter().product::<u32>().div_ceil(WIDENED));
        }
        let Some(&Family { tile: [rows, cols], shared, .. }) = self.families().get(usize::from(family)) else {
            return grid;
        };
        match (self, shared, params) {
            (Self::Matmul, _, [m, n, ..]) => [n.div_ceil(cols), m.div_ceil(rows), grid[2]],
            (Self::Attention | Self::AttentionGradQ, _, [batch, queries, _, groups, heads, ..]) => {
                // A workgroup for each block, or an invocation.
                let blocks = batch * queries.div_ceil(rows) * groups * heads;
                let is_group = shared || self.is_by_subgroup(family);
                if is_group { folded_grid(blocks) } else { elementwise_grid(blocks) }
            }
            (Self::AttentionGradKv, _, [batch, _, keys, groups, ..]) if shared || self.is_by_subgroup(family) => {
                folded_grid(batch * keys.div_ceil(rows) * groups)
            }
            (Self::ColumnSum | Self::RmsNormGradParams | Self::LayerNormGradParams, true, [_, columns, ..]) => {
                folded_grid(columns.div_ceil(cols))
            }
            (_, true, [all, ..]) => folded_grid(all.div_ceil(rows)),
            _ => grid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::ShaderRates;

    #[test]
    fn what_the_cost_model_takes_for_granted_is_the_first_way() {
        let (device, rates) = (Abilities::default(), ShaderRates::UNMEASURED);
        let of_device = (device.tile(), device.shares(), device.queries());
        assert_eq!(of_device, (rates.tile, rates.shares, rates.queries));
    }

    #[test]
    fn some_devices_can_do_what_all_of_them_can() {
        let eight = Abilities { subgroup: 8, many: false, cooperates: true, workgroup_memory: 32 << 10 };
        let other = Abilities { subgroup: 32, many: true, cooperates: true, workgroup_memory: 16 << 10 };
        assert_eq!(Abilities::common([eight, eight]), eight);
        assert_eq!(
            Abilities::common([eight, other]),
            Abilities { cooperates: true, workgroup_memory: 16 << 10, ..Abilities::default() }
        );
        assert_eq!(Abilities::common([]), Abilities::default());
    }
}
