//! Kernels that can be computed in several ways. All ways have the same bindings, parameters and CPU twin; which is the
//! fastest depends on the shape and on the device, so it is measured (`tune`).

use super::kernel::{Kernel, elementwise_grid, shader};

/// A way to compute a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// The name of the shader file.
    pub name: &'static str,
    /// The WGSL source.
    pub source: &'static str,
    /// Rows and columns of the result that a workgroup computes.
    pub tile: [u32; 2],
}

macro_rules! family {
    ($name:literal $(+ $part:literal)*, $rows:literal, $cols:literal) => {
        Family { name: $name, source: shader!($name $(+ $part)*), tile: [$rows, $cols] }
    };
}

/// Matrix products: in registers alone, and by way of workgroup memory; the first is the default.
const MATMUL: [Family; 5] = [
    family!("matmul" + "matmul", 64, 32),
    family!("matmul_wide" + "matmul", 64, 128),
    family!("matmul_tiled" + "matmul" + "matmul_tiles", 64, 64),
    family!("matmul_large" + "matmul" + "matmul_tiles", 128, 128),
    family!("matmul_split" + "matmul", 8, 4),
];

/// Attention by the queries that share what is read of the keys: more of them need fewer reads and more registers.
const ATTENTION: [Family; 2] = [
    family!("attention" + "attention" + "attention_blocks", 8, 1),
    family!("attention_narrow" + "attention" + "attention_blocks", 4, 1),
];

/// Arithmetic by the width of vectors.
const PEAK: [Family; 3] = [family!("peak", 1, 1), family!("peak_x2", 1, 1), family!("peak_x4", 1, 1)];

impl Kernel {
    /// The ways to compute it, the default first; none where there is only that one.
    pub fn families(self) -> &'static [Family] {
        match self {
            Self::Matmul => &MATMUL,
            Self::Attention => &ATTENTION,
            Self::Peak => &PEAK,
            _ => &[],
        }
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
        let way = self.families().get(usize::from(family));
        match (self, way, params) {
            (Self::Matmul, Some(Family { tile: [rows, cols], .. }), [m, n, ..]) => {
                [n.div_ceil(*cols), m.div_ceil(*rows), grid[2]]
            }
            (Self::Attention, Some(Family { tile: [rows, _], .. }), [batch, queries, _, groups, heads, ..]) => {
                elementwise_grid(batch * queries.div_ceil(*rows) * groups * heads)
            }
            _ => grid,
        }
    }
}
