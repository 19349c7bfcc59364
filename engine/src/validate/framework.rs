//! What frameworks do unless they are told otherwise: kernels, layers of stages, overlap. None of it is in a row's
//! configuration; it is public with their code.

use super::Measurement;
use crate::scenario::{AttentionKernel, ExpertDispatch, GradientFormat, Kernels};

/// Vocabularies that are public with the families' tokenizers, by what a model's name contains.
const VOCABULARIES: [(&str, u32); 9] = [
    ("nemotron", 256_000),
    ("llama3", 128_256),
    ("llama2", 32_000),
    ("mixtral", 32_000),
    ("mistral", 32_000),
    ("deepseek", 129_280),
    ("qwen", 151_936),
    ("gptoss", 201_088),
    ("grok", 131_072),
];

/// The vocabulary of runs that state none: their family's, or Megatron-LM's of GPT-2, padded for tensor parallelism.
/// vTrain's model is not padded: each of its ranks holds `50257 / tp` words, rounded down.
pub(super) fn vocabulary(m: &Measurement) -> u32 {
    let name: String = m.model_name.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    let family = VOCABULARIES.into_iter().find(|(family, _)| name.contains(family));
    let tp = m.tp.unwrap_or(1).max(1);
    match family {
        Some((_, words)) => words,
        None if m.framework.contains("DeepSpeed") => 50_257 / tp * tp,
        None => 51_200,
    }
}

/// Chunks of Transformer Engine's pipelined overlap.
pub(super) const TENSOR_CHUNKS: u32 = 4;

/// Recipes of NeMo overlap tensor communication unless they say otherwise; Megatron-Core does where it is told to.
pub(super) fn overlaps_tensor(m: &Measurement) -> bool {
    let flags = m.overlap_flags.to_lowercase();
    match flags.split_once("ub_tp_comm_overlap=") {
        Some((_, said)) => said.starts_with("true"),
        None => m.framework.contains("NeMo"),
    }
}

/// DeepEP and its successors send a token once to every node.
pub(super) fn dispatch(m: &Measurement) -> ExpertDispatch {
    let said = format!("{} {}", m.overlap_flags, m.framework).to_lowercase();
    let once = ["hybridep", "deepep"].iter().any(|backend| said.contains(backend));
    if once { ExpertDispatch::OncePerNode } else { ExpertDispatch::AllToAll }
}

/// Megatron-Core can count the embedding and the head as layers when it deals layers out; it must where only then
/// all stages are alike.
fn stages_of_embedding_and_head(m: &Measurement, depth: u32) -> Vec<u32> {
    let Some(layers) = m.layers.filter(|layers| depth > 1 && !layers.is_multiple_of(depth)) else { return Vec::new() };
    if !(layers + 2).is_multiple_of(depth) {
        return Vec::new();
    }
    let each = (layers + 2) / depth;
    let at = |stage: u32| if stage == 0 || stage == depth - 1 { each - 1 } else { each };
    (0..depth).map(at).collect()
}

/// The attention kernel: NVIDIA's own frameworks call cuDNN, as JAX and llm.c do; others FlashAttention-2.
pub(super) fn attention(m: &Measurement) -> AttentionKernel {
    let newest = ["NeMo", "Megatron-Core", "Megatron-Bridge", "Megatron-LM", "MaxText", "llm.c"];
    match () {
        () if unfused(m) => AttentionKernel::Unfused,
        () if newest.iter().any(|name| m.framework.contains(name)) => AttentionKernel::Flash,
        () => AttentionKernel::Flash2,
    }
}

/// Code from before FlashAttention (2022) stores the scores.
pub(super) fn unfused(m: &Measurement) -> bool {
    let older = m.framework.contains("Megatron-DeepSpeed") || m.framework.contains("sail-sg");
    m.flash_attention.starts_with("no") || m.flash_attention.is_empty() && older
}

/// Layers of every virtual stage where they are not dealt out evenly.
pub(super) fn stage_layers(m: &Measurement, depth: u32) -> Vec<u32> {
    if is_nanotron(m) { by_cost(m, depth) } else { stages_of_embedding_and_head(m, depth) }
}

/// nanotron deals out layers and head by their matmuls: a stage takes blocks until their sum passes its share.
fn by_cost(m: &Measurement, depth: u32) -> Vec<u32> {
    let (Some(layers), Some(hidden), Some(ffn), Some(vocab)) = (m.layers, m.hidden, m.ffn_hidden, m.vocab) else {
        return Vec::new();
    };
    if depth == 1 {
        return Vec::new();
    }
    let [hidden, ffn, vocab] = [hidden, ffn, vocab].map(u64::from);
    let layer = 4 * hidden * hidden + 3 * hidden * ffn;
    let all = layer * u64::from(layers) + hidden * vocab;
    let mut stages = vec![0; depth as usize];
    let mut stage = 0;
    for block in 1..=u64::from(layers) {
        stages[stage] += 1;
        if block * layer * u64::from(depth) > all * (stage as u64 + 1) && stage + 1 < stages.len() {
            stage += 1;
        }
    }
    // The head has the last stage for itself where it is as long as one; all others need a layer.
    for empty in 1..stages.len() - 1 {
        let fullest = (0..empty).rev().max_by_key(|&stage| stages[stage]).unwrap_or(0);
        if stages[empty] == 0 && stages[fullest] > 1 {
            stages[fullest] -= 1;
            stages[empty] = 1;
        }
    }
    stages
}

fn is_nanotron(m: &Measurement) -> bool {
    m.framework.contains("nanotron")
}

/// Models that run as PyTorch code, a kernel for each of its operations.
pub(super) fn kernels(m: &Measurement) -> Kernels {
    let eager = is_nanotron(m)
        || ["Composer", "HF Trainer", "PyTorch"].iter().any(|framework| m.framework.starts_with(framework));
    if eager { Kernels::Eager } else { Kernels::Fused }
}

/// In 16 bits where the source says so, in fp16 (Megatron-LM and DeepSpeed sum what the kernels write), and in the
/// recipes of NeMo and Megatron-Bridge, which set `grad_reduce_in_fp32` to false. DeepSpeed's optimizer for bf16 keeps
/// both formats.
pub(super) fn gradient_format(m: &Measurement) -> GradientFormat {
    let recipe = m.framework.contains("NeMo/") || m.framework.contains("Megatron-Bridge");
    let half = m.precision.starts_with("fp16") || m.precision.is_empty() && m.framework.contains("DeepSpeed");
    let pure = m.notes.contains("MP Mode PURE");
    let apart = m.framework.contains("DeepSpeed") && m.precision.starts_with("bf16");
    match () {
        () if recipe || half || pure => GradientFormat::Compute,
        () if apart => GradientFormat::Both,
        () => GradientFormat::Fp32,
    }
}

/// vTrain's rows take recomputation from its simulator's configuration, which is one for all runs; what was measured on
/// one node had none: stages that would recompute are no slower than others, and with it matmuls would run at 0.87 of the
/// peak, where all other runs on A100 reach 0.72.
pub(super) fn repeats_nothing(m: &Measurement) -> bool {
    m.framework.contains("DeepSpeed") && m.n_gpus.is_some_and(|gpus| gpus <= m.gpus_per_node.unwrap_or(8))
}

/// nanotron gathers once and keeps it, where it has not been told to gather again.
pub(super) fn keeps_gathered(m: &Measurement) -> bool {
    is_nanotron(m)
}

/// Megatron-LM's default of its GPT models; newer recipes and other frameworks turn it off.
pub(super) fn dropout(m: &Measurement) -> Option<f64> {
    let llama = m.model_name.to_lowercase().contains("llama");
    (unfused(m) && !llama).then_some(0.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_source_takes_from_its_simulator_is_not_what_ran_on_one_node() {
        let framework = "Megatron-DeepSpeed".to_owned();
        let row = |gpus| Measurement {
            framework: framework.clone(),
            n_gpus: Some(gpus),
            tp: Some(2),
            ..Measurement::default()
        };
        assert!(repeats_nothing(&row(8)) && !repeats_nothing(&row(64)));
        assert_eq!(vocabulary(&row(8)), 50_256, "each of two ranks holds 25128 words");
        assert_eq!(vocabulary(&Measurement::default()), 51_200);
        let nemotron = Measurement { model_name: "Nemotron-8B".to_owned(), ..Measurement::default() };
        assert_eq!(vocabulary(&nemotron), 256_000);
    }
}
