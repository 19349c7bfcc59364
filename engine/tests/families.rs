//! Models that are no decoders: their work against published counts, and every pass and both ways of simulating on them.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "cases/steps.rs"]
mod steps;

use proptest::prelude::*;
use shardlab_engine::cluster::Group;
use shardlab_engine::cost::{bytes_moved, work};
use shardlab_engine::graph::{Collective, OpGraph, OpKind, lower, passes};
use shardlab_engine::scenario::Scenario;
use shardlab_engine::trace::Phase;

fn one_device(model: &str, rest: &str) -> Scenario {
    steps::scenario(&format!(
        "[model]\npreset = \"{model}\"\n[cluster]\ndevice = \"a100-80gb-sxm\"\n[strategy]\ndata_parallel = 1\n{rest}"
    ))
}

/// Multiplications and additions of the forward pass, a pair counted once.
fn forward_macs(scenario: &Scenario) -> f64 {
    let OpGraph { dims, tensors, ops } = passes::forward::forward(scenario);
    ops.iter().map(|op| work(&dims, &tensors, op).matmul_flops.0).sum::<f64>() / 2.0
}

#[test]
fn images_cost_what_is_published() {
    // torchvision's table of weights, `_ops` of an image of 224 pixels in billions.
    let published = [
        ("resnet-18", 1.814),
        ("resnet-50", 4.089),
        ("resnet-101", 7.801),
        ("resnet-152", 11.514),
        ("vit-b-16", 17.564),
        ("vit-l-16", 61.555),
        ("vit-h-14", 167.295),
    ];
    for (model, billions) in published {
        let found = forward_macs(&one_device(model, "")) / 1e9;
        assert!((found - billions).abs() < 0.0005, "{model}: {found} and {billions}");
    }
}

#[test]
fn a_backward_pass_of_convolutions_is_twice_the_forward_but_for_the_images() {
    let step = lower(&one_device("resnet-50", "precision = \"fp32\"\n"));
    let flops = |phase: Phase| {
        let ops = step.stages[0].segments.iter().flat_map(|segment| segment.ops()).filter(|op| op.phase == phase);
        ops.map(|op| work(&step.dims, &step.tensors, op).matmul_flops.0).sum::<f64>()
    };
    // The first convolution's gradient by the images, which nobody needs: 112² pixels, 7² · 3 taps, 64 channels.
    let first = 2.0 * 112.0 * 112.0 * 147.0 * 64.0;
    assert_eq!(flops(Phase::Backward), 2.0 * flops(Phase::Forward) - first);
}

#[test]
fn an_encoder_sees_twice_the_keys_of_a_decoder() {
    // Vaswani et al. 2017, table 1: s² · d for all heads, of scores and of values.
    let text = "micro_batch = 2\nglobal_batch = 2\n[data]\nsequence_length = 512\n";
    let scenario = one_device("bert-large", text);
    let OpGraph { dims, tensors, ops } = passes::forward::forward(&scenario);
    let attention = ops.iter().find(|op| op.kind == OpKind::Attention).expect("attention");
    let flops = work(&dims, &tensors, attention).matmul_flops.0;
    assert_eq!(flops, 2.0 * 2.0 * 2.0 * 512.0 * 512.0 * 1024.0);
}

#[test]
fn vectors_and_their_gradients_cross_once_and_tables_never() {
    let scenario = Scenario::preset("dlrm-dcnv2-16xh100").expect("a preset");
    let moved = bytes_moved(&lower(&scenario));
    // A vector of 128 in two bytes for each of 26 tables, there and back, and the numbers of 214 rows in four; each rank
    // keeps a sixteenth of what it has.
    let (samples, ranks) = (65_536_u64, 16);
    let sent = |bytes_of_sample: u64| samples * bytes_of_sample / ranks * (ranks - 1);
    assert_eq!(moved["ep"].0, 2 * sent(26 * 128 * 2) + sent(214 * 4));
    let reduced = lower(&scenario).stages[0].segments.iter().flat_map(|segment| segment.ops()).any(|op| {
        let of_tables = matches!(op.kind, OpKind::Collective { group: Group::ExpertData, .. });
        of_tables || matches!(op.kind, OpKind::Collective { collective: Collective::AllGather, .. })
    });
    assert!(!reduced, "tables are neither reduced nor gathered");
}

const MODELS: [&str; 5] = [
    "architecture = \"bert\"\nlayers = 6\nhidden = 64\nheads = 4\nffn_hidden = 128\nvocab = 100\npositions = 64\n",
    "architecture = \"vit\"\nlayers = 6\nhidden = 64\nheads = 4\nffn_hidden = 128\nimage_size = 48\npatch_size = 16\n",
    "architecture = \"resnet\"\nhidden = 8\nblocks = [1, 2, 2, 1]\nimage_size = 64\n",
    "architecture = \"resnet\"\nhidden = 8\nblocks = [2, 2, 1, 1]\nbottleneck = false\nimage_size = 33\n",
    "architecture = \"dlrm\"\nhidden = 16\ndense_features = 4\nbottom_mlp = [32, 16]\ntop_mlp = [32, 8]\n\
     table_rows = [1000, 40, 7]\nlookups = [3, 1, 2]\n",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn graphs_of_every_family_are_sound_and_fold(
        model in 0_usize..5,
        (tp, pp, dp) in (1_u32..=2, 1_u32..=3, 1_u32..=4),
        (schedule, zero) in (prop::sample::select(vec!["1f1b", "gpipe", "zb-h1", "interleaved"]), 0_u32..=3),
        flags in prop::array::uniform4(any::<bool>()),
    ) {
        let [sequence_parallel, recompute, unfused, fp32] = flags;
        let (transformer, recommender) = (model < 2, model == 4);
        let (tp, pp) = (if transformer { tp } else { 1 }, if recommender { 1 } else { pp });
        let pick = |flag: bool, yes: &'static str, no: &'static str| if flag { yes } else { no };
        let schedule = if schedule == "interleaved" && pp == 1 { "1f1b" } else { schedule };
        let text = format!(
            "[model]\n{}[cluster]\ndevice = \"h100-80gb-sxm\"\nnodes = 3\n[strategy]\ndata_parallel = {dp}\n\
             tensor_parallel = {tp}\nsequence_parallel = {sequence_parallel}\npipeline_parallel = {pp}\n\
             schedule = \"{schedule}\"\nmicro_batch = 2\nglobal_batch = {}\nrecompute = \"{}\"\nzero_stage = {zero}\n\
             attention = \"{}\"\nprecision = \"{}\"\n",
            MODELS[model],
            2 * dp * 6,
            pick(recompute, "full", "none"),
            pick(unfused && transformer, "unfused", "flash"),
            pick(fp32, "fp32", "bf16"),
        );
        // What the checks refuse is no step.
        let Ok(scenario) = steps::checked(&text) else { return Ok(()) };
        steps::folded_and_unfolded(&scenario, &text);
    }
}

#[test]
fn what_samples_cannot_have_is_refused_with_the_field() {
    let refused = |model: &str, strategy: &str| {
        let text =
            format!("[model]\npreset = \"{model}\"\n[cluster]\ndevice = \"h100-80gb-sxm\"\n[strategy]\n{strategy}");
        steps::refusal(&text)
    };
    let cases = [
        ("resnet-50", "tensor_parallel = 2\ndata_parallel = 4", "strategy.tensor_parallel"),
        ("resnet-50", "precision = \"fp8\"", "strategy.precision"),
        ("resnet-50", "pipeline_parallel = 17\ndata_parallel = 1", "strategy.pipeline_parallel"),
        ("vit-b-16", "context_parallel = 2\ndata_parallel = 4", "strategy.context_parallel"),
        ("dlrm-criteo", "pipeline_parallel = 2\ndata_parallel = 4", "strategy.pipeline_parallel"),
        ("dlrm-criteo", "data_parallel = 8\nexpert_parallel = 4\nglobal_batch = 8", "strategy.expert_parallel"),
        ("bert-base", "data_parallel = 4\nglobal_batch = 4\n[data]\nsequence_length = 513", "data.sequence_length"),
        ("vit-b-16", "data_parallel = 4\nglobal_batch = 4\n[data]\nsequence_length = 100", "data.sequence_length"),
    ];
    for (model, strategy, path) in cases {
        let message = refused(model, strategy);
        assert!(message.contains(path), "{model} with {strategy}: {message}");
    }
}
