//! Attention: fused, in parts of a sequence, and with stored scores.

use super::Call;
use crate::exec::cpu::attention::{APART, AttentionParams, CARRY, CAUSAL};
use crate::exec::cpu::attention_delta::AttentionDeltaParams;
use crate::exec::cpu::attention_grad_kv::AttentionGradKvParams;
use crate::exec::cpu::attention_grad_q::AttentionGradQParams;
use crate::exec::cpu::attention_scores::AttentionScoresParams;
use crate::exec::cpu::attention_scores_grad::AttentionScoresGradParams;
use crate::exec::cpu::attention_softmax::AttentionSoftmaxParams;
use crate::exec::cpu::attention_softmax_grad::AttentionSoftmaxGradParams;
use crate::exec::cpu::attention_values::AttentionValuesParams;
use crate::exec::cpu::attention_values_grad_p::AttentionValuesGradPParams;
use crate::exec::cpu::attention_values_grad_v::AttentionValuesGradVParams;
use crate::exec::cpu::copy::CopyParams;
use crate::exec::{Dispatch, Slice};
use crate::graph::{OpKind, Part};

impl Call<'_> {
    /// Attention of whole sequences, as far as this rank's heads go.
    pub(super) fn whole_attention(&self, flags: u32) -> AttentionParams {
        let dims = &self.context.step.dims;
        let window = dims.window.filter(|window| matches!(self.op.part, Part::Layer(layer) if window.is_in(layer)));
        let groups = self.groups(self.read_shape(0));
        let sizes = [dims.batch, dims.sequence, groups, dims.queries_per_group, dims.head_dim];
        AttentionParams {
            value_dim: dims.value_dim,
            window: window.map_or(0, |window| window.tokens),
            flags: flags | if dims.causal { CAUSAL } else { 0 },
            ..AttentionParams::causal(sizes, (1.0 / f64::from(dims.head_dim).sqrt()) as f32)
        }
    }

    /// Attention of this rank's tokens: to those of all ranks at once, or of one rank after the other.
    pub(super) fn context_attention(&self) -> AttentionParams {
        let (ranks, rank) = (self.context.step.dims.context, self.context.context_index);
        let (OpKind::ContextAttention { parts, part } | OpKind::ContextAttentionGrad { parts, part }) = self.op.kind
        else {
            return AttentionParams::default();
        };
        let whole = self.whole_attention(APART | if part > 0 { CARRY } else { 0 });
        let whole = AttentionParams {
            queries: whole.queries / ranks,
            query_stride: ranks,
            query_first: rank,
            gather: ranks,
            ..whole
        };
        if parts == 1 {
            return whole;
        }
        // What was handed on `part` times comes from as many ranks before.
        AttentionParams { keys: whole.keys / ranks, key_first: (rank + ranks - part) % ranks, gather: 1, ..whole }
    }

    pub(super) fn attention(&self, kv: Slice, params: AttentionParams, [out, lse]: [Slice; 2]) -> Dispatch {
        Dispatch::new(&params, [self.reads[0], kv, out, lse])
    }

    pub(super) fn attention_gradient(&self) -> Vec<Dispatch> {
        let [qkv, out, lse, dout] = self.reads[..] else { return Vec::new() };
        let [dqkv, delta] = self.writes[..] else { return Vec::new() };
        let params = self.whole_attention(0);
        vec![
            Dispatch::new(&AttentionDeltaParams(params), [out, dout, delta]),
            Dispatch::new(&AttentionGradQParams(params), [qkv, qkv, dout, lse, delta, dqkv]),
            Dispatch::new(&AttentionGradKvParams(params), [qkv, qkv, dout, lse, delta, dqkv]),
        ]
    }

    pub(super) fn context_attention_gradient(&self, part: u32) -> Vec<Dispatch> {
        let [qkv, kv, out, lse, dout] = self.reads[..] else { return Vec::new() };
        let [dqkv, dkv, delta] = self.writes[..] else { return Vec::new() };
        let params = self.context_attention();
        // The sums of rows are the same for all parts.
        let first = (part == 0).then(|| Dispatch::new(&AttentionDeltaParams(params), [out, dout, delta]));
        let rest = [
            Dispatch::new(&AttentionGradQParams(params), [qkv, kv, dout, lse, delta, dqkv]),
            Dispatch::new(&AttentionGradKvParams(params), [qkv, kv, dout, lse, delta, dkv]),
        ];
        first.into_iter().chain(rest).collect()
    }

    /// Takes keys and values out of fused rows, or puts them back.
    pub(super) fn keys_values(&self, back: bool) -> Dispatch {
        let dims = &self.context.step.dims;
        let fused = if back { self.write_shape(0) } else { self.read_shape(0) };
        let (queries, width) = (dims.queries_per_group * dims.head_dim, dims.head_dim + dims.value_dim);
        let (rows, cols) = (fused.rows * self.groups(fused), width);
        let apart = (0, width);
        let together = (queries, queries + width);
        let ((src_offset, src_stride), (dst_offset, dst_stride)) =
            if back { (apart, together) } else { (together, apart) };
        self.simple(&CopyParams { rows, cols, src_offset, src_stride, dst_offset, dst_stride, pad: [0; 2] })
    }

    /// Attention whose scores and weights are stored.
    pub(super) fn unfused_attention(&self) -> Vec<Dispatch> {
        let (reads, writes) = (self.reads, self.writes);
        let dims = &self.context.step.dims;
        let keys = dims.sequence;
        // Scores and weights have a column for each head and key.
        let groups = match self.op.kind {
            OpKind::AttentionScores => self.groups(self.read_shape(0)),
            _ => self.read_shape(0).cols / keys / dims.queries_per_group,
        };
        let params = AttentionParams { groups, ..self.whole_attention(0) };
        match self.op.kind {
            OpKind::AttentionScores => vec![self.simple(&AttentionScoresParams(params))],
            OpKind::AttentionSoftmax => vec![self.simple(&AttentionSoftmaxParams(params))],
            OpKind::AttentionValues => vec![self.simple(&AttentionValuesParams(params))],
            OpKind::AttentionValuesGrad => vec![
                Dispatch::new(&AttentionValuesGradPParams(params), [reads[1], reads[2], writes[0]]),
                Dispatch::new(&AttentionValuesGradVParams(params), [reads[0], reads[2], writes[1]]),
            ],
            OpKind::AttentionSoftmaxGrad => vec![self.simple(&AttentionSoftmaxGradParams(params))],
            _ => vec![self.simple(&AttentionScoresGradParams(params))],
        }
    }
}
