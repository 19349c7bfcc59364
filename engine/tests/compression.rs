//! Compressed gradients: what each way sends against its paper, what it keeps, and that the step stays sound.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "cases/steps.rs"]
mod steps;

use proptest::prelude::*;
use shardlab_engine::cost::bytes_moved;
use shardlab_engine::graph::{Role, StepGraph, lower};
use shardlab_engine::scenario::Scenario;

const RANKS: u64 = 4;

/// Two layers on four replicas, with all gradients in one bucket.
fn text(strategy: &str) -> String {
    format!(
        "[model]\narchitecture = \"llama\"\nlayers = 2\nhidden = 256\nheads = 4\nffn_hidden = 512\nvocab = 1024\n\
         positions = 64\n[cluster]\ndevice = \"h100-80gb-sxm\"\n[strategy]\ndata_parallel = {RANKS}\n\
         global_batch = 8\nbucket = \"1 GB\"\n{strategy}"
    )
}

fn scenario(strategy: &str) -> Scenario {
    steps::scenario(&text(strategy))
}

/// Bytes that all replicas send, without those of the loss.
fn sent(strategy: &str) -> u64 {
    let step = lower(&scenario(strategy));
    step.verify().unwrap_or_else(|error| panic!("{error}: {strategy}"));
    bytes_moved(&step)["dp"].0 - 2 * (RANKS - 1) * 4
}

/// Elements of all gradients, as they lie in their bucket.
fn elements(step: &StepGraph) -> u64 {
    let buckets = step.tensors.iter().filter(|tensor| &*tensor.name == "gradient bucket 0");
    buckets.map(|bucket| bucket.local.elements()).sum()
}

#[test]
fn every_way_sends_what_its_paper_says() {
    let n = elements(&lower(&scenario("")));
    let ring = |bytes: u64| 2 * (RANKS - 1) * bytes;
    assert_eq!(sent(""), ring(4 * n));
    assert_eq!(sent("gradient_compression = \"bf16\""), ring(2 * n));
    assert_eq!(sent("gradient_compression = \"fp16\""), ring(2 * n));
    // ZeRO++, section 3.3: a byte an element and a scale for each block of 256, once exchanged and once gathered; every rank
    // has as many blocks.
    let blocks = (n / 256).next_multiple_of(RANKS);
    assert_eq!(sent("gradient_compression = \"int8\""), ring(blocks * 260));
    // Of each rank the values and places of one element in a hundred, to all others.
    let kept = n.div_ceil(100);
    assert_eq!(sent("gradient_compression = \"top_k\""), RANKS * (RANKS - 1) * 8 * kept);
    // PowerSGD: (rows + columns) × rank of each matrix, and vectors as they are. Of a layer of a Llama: fused queries, keys
    // and values, projection, up and down; embedding and head; two norms of a layer and the last.
    let [h, f, v, rank] = [256, 512, 1024, 4];
    let sides = 2 * ((h + 3 * h) + (h + h) + (h + 2 * f) + (f + h)) + 2 * (v + h);
    assert_eq!(sent("gradient_compression = \"low_rank\""), ring(4 * (sides * rank + 5 * h)));
}

#[test]
fn sharded_gradients_are_compressed_on_their_way_to_slices() {
    let n = elements(&lower(&scenario("zero_stage = 2")));
    let gathered = (RANKS - 1) * 2 * n;
    let whole = sent("zero_stage = 2") - gathered;
    assert_eq!(whole, 2 * (RANKS - 1) * 4 * n, "two micro-batches, each scattered once");
    assert_eq!(sent("zero_stage = 2\ngradient_compression = \"bf16\"") - gathered, whole / 2);
    let codes = 2 * (RANKS - 1) * (n + n / 256 * 4);
    assert_eq!(sent("zero_stage = 2\ngradient_compression = \"int8\"") - gathered, codes);
}

#[test]
fn what_is_not_sent_is_kept() {
    let kept = |strategy: &str| {
        let step = lower(&scenario(strategy));
        let errors = step.tensors.iter().filter(|t| t.role == Role::Moment && t.name.starts_with("error of"));
        errors.map(|tensor| tensor.local.elements()).sum::<u64>()
    };
    assert_eq!(kept("gradient_compression = \"int8\""), 0);
    let n = elements(&lower(&scenario("")));
    assert_eq!(kept("gradient_compression = \"top_k\""), n);
    assert_eq!(kept("gradient_compression = \"low_rank\""), n);
}

#[test]
fn slices_have_no_error_feedback() {
    let message = steps::refusal(&text("zero_stage = 1\ngradient_compression = \"top_k\""));
    assert!(message.contains("`strategy.gradient_compression` = top_k"), "{message}");
    assert!(message.contains("int8"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn compressed_steps_are_sound_and_fold(
        (tp, pp, dp) in (1_u32..=2, 1_u32..=2, 1_u32..=4),
        way in prop::sample::select(vec!["bf16", "fp16", "int8", "top_k", "low_rank"]),
        schedule in prop::sample::select(vec!["1f1b", "zb-h1", "gpipe"]),
        (zero, halves) in (0_u32..=3, any::<bool>()),
        (overlap, tied) in (any::<bool>(), any::<bool>()),
    ) {
        let zero = if way == "top_k" || way == "low_rank" { 0 } else { zero };
        let group = if halves && dp.is_multiple_of(2) { dp / 2 } else { dp };
        let text = format!(
            "[model]\narchitecture = \"gpt\"\nlayers = 4\nhidden = 64\nheads = 4\nffn_hidden = 128\nvocab = 100\n\
             positions = 32\ntied_embeddings = {tied}\n[cluster]\ndevice = \"h100-80gb-sxm\"\nnodes = 2\n[strategy]\n\
             data_parallel = {dp}\ntensor_parallel = {tp}\npipeline_parallel = {pp}\nschedule = \"{schedule}\"\n\
             global_batch = {}\nzero_stage = {zero}\nsharding_group = {group}\noverlap_gradients = {overlap}\n\
             bucket = \"100 kB\"\ngradient_compression = \"{way}\"\n",
            dp * 4,
        );
        // What the checks refuse is no step.
        let Ok(scenario) = steps::checked(&text) else { return Ok(()) };
        steps::folded_and_unfolded(&scenario, &text);
    }
}
