//! What is compared: sizes of square products, the products of a transformer of width 768, softmax, layer norm, attention.

/// One comparison.
#[derive(Clone, Copy, Debug)]
pub enum Case {
    /// `[m, k] x [k, n]`.
    Matmul {
        /// Rows of the result.
        m: u32,
        /// Columns of the result.
        n: u32,
        /// Length of the sums.
        k: u32,
    },
    /// Over the last of `[rows, cols]`.
    Softmax {
        /// Rows.
        rows: u32,
        /// Columns.
        cols: u32,
    },
    /// Over the last of `[rows, cols]`, with weight and bias.
    LayerNorm {
        /// Rows.
        rows: u32,
        /// Columns.
        cols: u32,
    },
    /// One sequence of causal self-attention.
    Attention {
        /// Tokens.
        seq: u32,
        /// Heads.
        heads: u32,
        /// Width of a head.
        head_dim: u32,
    },
}

/// All of them.
pub fn cases() -> Vec<Case> {
    let matmul = |(m, n, k)| Case::Matmul { m, n, k };
    let square = [256, 512, 1024, 2048].map(|n| (n, n, n));
    let transformer = [(512, 2304, 768), (512, 768, 768), (512, 3072, 768), (512, 768, 3072), (64, 768, 768)];
    let mut all: Vec<Case> = square.into_iter().chain(transformer).map(matmul).collect();
    all.extend([(1024, 1024), (4096, 256), (256, 8192)].map(|(rows, cols)| Case::Softmax { rows, cols }));
    all.extend([(1024, 768), (512, 4096)].map(|(rows, cols)| Case::LayerNorm { rows, cols }));
    all.extend([(128, 12, 64), (512, 12, 64)].map(|(seq, heads, head_dim)| Case::Attention { seq, heads, head_dim }));
    all
}

impl Case {
    /// How it stands in the table.
    pub fn name(&self) -> String {
        match self {
            Self::Matmul { m, n, k } => format!("matmul {m} x {n} x {k}"),
            Self::Softmax { rows, cols } => format!("softmax {rows} x {cols}"),
            Self::LayerNorm { rows, cols } => format!("layer norm {rows} x {cols}"),
            Self::Attention { seq, heads, head_dim } => format!("attention, {seq} tokens, {heads} x {head_dim}"),
        }
    }

    /// Numbers of each input: both factors; what is normalised, weight and bias; queries, keys and values.
    fn sizes(&self) -> Vec<usize> {
        let size = |a: u32, b: u32| a as usize * b as usize;
        match *self {
            Self::Matmul { m, n, k } => vec![size(m, k), size(k, n)],
            Self::Softmax { rows, cols } => vec![size(rows, cols)],
            Self::LayerNorm { rows, cols } => vec![size(rows, cols), cols as usize, cols as usize],
            Self::Attention { seq, heads, head_dim } => vec![size(seq, heads * head_dim); 3],
        }
    }

    /// Its inputs: numbers between -1 and 1, always the same.
    pub fn inputs(&self) -> Vec<Vec<f32>> {
        let mut state = 0x9e37_79b9_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        self.sizes().into_iter().map(|size| (0..size).map(|_| next()).collect()).collect()
    }

    /// How far results may be apart, relative to the largest: sums of thousands of terms in another order.
    pub fn tolerance(&self) -> f32 {
        1e-4
    }

    /// Operations of a product or of attention; bytes read and written of what is bound by memory.
    fn work(&self) -> (f64, &'static str) {
        let product = |sizes: &[u32]| sizes.iter().map(|&size| f64::from(size)).product::<f64>();
        match *self {
            Self::Matmul { m, n, k } => (2.0 * product(&[m, n, k]), "GFLOP/s"),
            Self::Softmax { rows, cols } | Self::LayerNorm { rows, cols } => (8.0 * product(&[rows, cols]), "GB/s"),
            Self::Attention { seq, heads, head_dim } => (2.0 * product(&[seq, seq + 1, heads, head_dim]), "GFLOP/s"),
        }
    }

    /// Work over time, and the time.
    pub fn rate(&self, seconds: f64) -> String {
        let (work, unit) = self.work();
        format!("{:.2} {unit}, {:.2} ms", work / seconds / 1e9, seconds * 1e3)
    }
}
