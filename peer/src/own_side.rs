//! The kernels of this project, called as a recorded training step calls them.

use anyhow::{Context, bail};
use pollster::block_on;
use shardlab_engine::exec::cpu::attention::AttentionParams;
use shardlab_engine::exec::cpu::attention_softmax::AttentionSoftmaxParams;
use shardlab_engine::exec::cpu::layer_norm::LayerNormParams;
use shardlab_engine::exec::cpu::matmul::MatmulParams;
use shardlab_engine::exec::{Backend, BackendKind, Dispatch, Recording, Scope, Slice, Tuning, open};
use shardlab_engine::trace::{LabelId, Span, Stream};

use crate::cases::Case;

/// The device and what was found to be fast on it.
pub struct OwnSide {
    backend: Backend,
    tuning: Tuning,
}

/// A call, and where its result lies.
pub struct Prepared {
    dispatch: Dispatch,
    result: Slice,
}

impl OwnSide {
    /// Opens the adapter that wgpu prefers.
    pub fn open() -> anyhow::Result<Self> {
        let backend = block_on(open(BackendKind::Wgpu)).context("the comparison needs an adapter")?;
        Ok(Self { backend, tuning: Tuning::default() })
    }

    /// The adapter's name.
    pub fn device(&self) -> String {
        format!("{} ({})", self.backend.info().name, self.backend.info().detail)
    }

    /// Writes the inputs and tunes the kernel to the shape.
    pub fn prepare(&mut self, case: &Case, inputs: &[Vec<f32>]) -> anyhow::Result<Prepared> {
        let (dispatch, result) = self.dispatch(case, inputs)?;
        let mut recording = recording(&dispatch, 1);
        block_on(self.tuning.measure(&mut self.backend, &recording, &mut |_, _| true))?;
        self.tuning.apply(&self.backend, &mut recording);
        let dispatch = recording.dispatches.pop().context("the recording has one call")?;
        Ok(Prepared { dispatch, result })
    }

    /// Records some calls, as a training step is recorded before its first run.
    pub fn record(&mut self, prepared: &Prepared, calls: u32) -> anyhow::Result<Recording> {
        let recording = recording(&prepared.dispatch, calls);
        block_on(self.backend.prepare(&recording))?;
        Ok(recording)
    }

    /// Runs what was recorded last and waits.
    pub fn run(&mut self, recording: &Recording) -> anyhow::Result<()> {
        block_on(self.backend.replay(recording))?;
        Ok(())
    }

    /// What a call writes.
    pub fn result(&mut self, prepared: &Prepared) -> anyhow::Result<Vec<f32>> {
        let once = self.record(prepared, 1)?;
        self.run(&once)?;
        let slice = prepared.result;
        Ok(block_on(self.backend.read(slice.buffer, slice.offset, slice.elements() as usize))?)
    }

    fn dispatch(&mut self, case: &Case, inputs: &[Vec<f32>]) -> anyhow::Result<(Dispatch, Slice)> {
        Ok(match (*case, inputs) {
            (Case::Matmul { m, n, k }, [a, b]) => {
                let params = MatmulParams { m, n, k, a_row_stride: k, b_row_stride: n, ..MatmulParams::square(1) };
                let [a, b, bias, c] = [self.filled(a), self.filled(b), self.empty(1), self.empty(m * n)];
                (Dispatch::new(&params, [a, b, bias, c]), c)
            }
            (Case::Softmax { rows, cols }, [x]) => {
                let seen_whole = AttentionParams { flags: 0, ..AttentionParams::causal([1, 1, 1, 1, 1], 1.0) };
                let params = AttentionParams { batch: rows, queries: 1, keys: cols, ..seen_whole };
                let [x, y] = [self.filled(x), self.empty(rows * cols)];
                (Dispatch::new(&AttentionSoftmaxParams(params), [x, y]), y)
            }
            (Case::LayerNorm { rows, cols }, [x, weight, bias]) => {
                let params = LayerNormParams { rows, cols, eps: 1e-5, pad: [0; 1] };
                let [x, weight, bias] = [x, weight, bias].map(|input| self.filled(input));
                let [y, stats] = [rows * cols, rows * 2].map(|size| self.empty(size));
                (Dispatch::new(&params, [x, weight, bias, y, stats]), y)
            }
            (Case::Attention { seq, heads, head_dim }, [q, k, v]) => {
                let scale = 1.0 / f64::from(head_dim).sqrt();
                let params = AttentionParams::causal([1, seq, heads, 1, head_dim], scale as f32);
                let qkv = interleave([q, k, v], head_dim as usize);
                let [qkv, out, lse] =
                    [self.filled(&qkv), self.empty(seq * heads * head_dim), self.empty(seq * heads)];
                (Dispatch::new(&params, [qkv, qkv, out, lse]), out)
            }
            (_, inputs) => bail!("{} has no {} inputs", case.name(), inputs.len()),
        })
    }

    fn empty(&mut self, words: u32) -> Slice {
        let size = u64::from(words) * 4;
        Slice::of_words(self.backend.create(size), 0, size)
    }

    fn filled(&mut self, values: &[f32]) -> Slice {
        let slice = self.empty(values.len() as u32);
        self.backend.write(slice.buffer, 0, bytemuck::cast_slice(values));
        slice
    }
}

/// Of every token, a query, key and value for each head: what this project's attention reads.
fn interleave(parts: [&Vec<f32>; 3], head_dim: usize) -> Vec<f32> {
    let heads = parts[0].len() / head_dim;
    let of_head = |head: usize| parts.map(|part| &part[head * head_dim..][..head_dim]).concat();
    (0..heads).flat_map(of_head).collect()
}

/// Some calls as one op.
fn recording(dispatch: &Dispatch, calls: u32) -> Recording {
    let scope = Scope {
        rank: 0,
        group: None,
        stream: Stream::Compute,
        label: LabelId(0),
        micro_batch: Span::NO_MICRO_BATCH,
        first: 0,
        last: calls,
    };
    Recording { dispatches: vec![dispatch.clone(); calls as usize], scopes: vec![scope] }
}
