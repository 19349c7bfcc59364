//! The verifier after every pass, on every preset and on generated scenarios; and that it notices what is broken.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::prelude::*;
use shardlab_engine::cost::work;
use shardlab_engine::graph::passes::{
    compress, context, differentiate, experts, forward, load, offload, optimize, overlap, plan_memory, precision,
    recompute, schedule, shard,
};
use shardlab_engine::graph::{
    Collective, GraphError, Op, OpGraph, OpKind, Repeats, StepGraph, Storage, TensorId, lower,
};
use shardlab_engine::scenario::{Opened, Recompute, Scenario, check, open, presets};

/// The passes of `lower`, one by one.
fn lower_and_verify(scenario: &Scenario) -> StepGraph {
    let strategy = scenario.strategy();
    let after = |pass: &str, graph: OpGraph| {
        graph.verify().unwrap_or_else(|error| panic!("{}: after {pass}: {error}", scenario.name()));
        graph
    };
    let graph = after("forward", forward::forward(scenario));
    let graph = after("differentiate", differentiate::differentiate(graph));
    let graph = after("optimize", optimize::optimize(graph, strategy.optimizer));
    let graph = after("recompute", recompute::recompute(graph, strategy, &Repeats::default()));
    let graph = after("shard", shard::shard(graph, strategy));
    let graph = after("overlap", overlap::overlap(graph, strategy.tensor_chunks, scenario.mesh().tp));
    let graph = after("experts", experts::experts(graph, strategy, scenario.experts_per_token()));
    let graph = after("context", context::context(graph, strategy));
    let graph = after("precision", precision::precision(graph, strategy));
    let graph = after("offload", offload::offload(graph, strategy));
    let graph = after("compress", compress::compress(graph, strategy));
    let graph = after("load", load::load(graph, scenario));
    let after = |pass: &str, step: StepGraph| {
        step.verify().unwrap_or_else(|error| panic!("{}: after {pass}: {error}", scenario.name()));
        step
    };
    let step = after("schedule", schedule::schedule(graph, scenario));
    after("plan_memory", plan_memory::plan_memory(step))
}

#[test]
fn every_pass_leaves_a_sound_graph_of_every_preset() {
    for preset in presets() {
        let scenario = Scenario::preset(preset.name).expect("a preset");
        let step = lower_and_verify(&scenario);
        if scenario.strategy().recompute == Recompute::Budget {
            // `lower` runs the passes as often as it takes to find the layers.
            continue;
        }
        assert_eq!(
            format!("{step:?}"),
            format!("{:?}", lower(&scenario)),
            "{}: the passes are those of `lower`",
            preset.name
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_pass_leaves_a_sound_graph_of_any_strategy(
        (tp, pp, dp) in (prop::sample::select(vec![1_u32, 2, 4]), 1_u32..=4, 1_u32..=3),
        (micro_batches, layers) in (1_u32..=5, 4_u32..=6),
        (tensor_chunks, beside) in (prop::sample::select(vec![1_u32, 2, 4]), any::<bool>()),
        flags in prop::array::uniform7(any::<bool>()),
    ) {
        let [gpt, sequence_parallel, gpipe, recompute, overlap, bf16, tied] = flags;
        let pick = |flag: bool, yes: &'static str, no: &'static str| if flag { yes } else { no };
        let text = format!(
            "[model]\narchitecture = \"{}\"\nlayers = {layers}\nhidden = 64\nheads = 8\nkv_heads = {}\nffn_hidden = 128\n\
             vocab = 301\npositions = 32\ntied_embeddings = {tied}\n[cluster]\ndevice = \"a100-80gb-sxm\"\nnodes = 6\n[strategy]\n\
             data_parallel = {dp}\ntensor_parallel = {tp}\npipeline_parallel = {pp}\nsequence_parallel = {sequence_parallel}\n\
             schedule = \"{}\"\nglobal_batch = {}\nprecision = \"{}\"\nrecompute = \"{}\"\noverlap_gradients = {overlap}\n\
             bucket = \"50 kB\"\ntensor_chunks = {tensor_chunks}\noverlap_micro_batches = {}\n",
            pick(gpt, "gpt", "llama"),
            if gpt { 8 } else { 4 },
            pick(gpipe, "gpipe", "1f1b"),
            dp * micro_batches,
            pick(bf16, "bf16", "fp32"),
            pick(recompute, "full", "none"),
            beside && !gpipe,
        );
        let Ok(Opened::Scenario(file)) = open(text.as_bytes()) else { panic!("a scenario: {text}") };
        lower_and_verify(&check(&file).unwrap_or_else(|error| panic!("{error} in {text}")));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_pass_leaves_a_sound_graph_of_any_mixture_and_context(
        (tp, cp, dp, pp) in (prop::sample::select(vec![1_u32, 2]), prop::sample::select(vec![1_u32, 2, 4]),
            prop::sample::select(vec![1_u32, 2, 4]), 1_u32..=2),
        (ep, zero, method) in (prop::sample::select(vec![1_u32, 2, 4]), 0_u32..=3, 0_usize..3),
        flags in prop::array::uniform7(any::<bool>()),
    ) {
        let [latent, sliced, recompute, split, shared, bf16, hybrid] = flags;
        let pick = |flag: bool, yes: &'static str, no: &'static str| if flag { yes } else { no };
        let sliced = sliced && tp > 1;
        let ep = ep.min(if sliced { dp * cp } else { dp * cp * tp });
        let text = format!(
            "[model]\narchitecture = \"llama\"\nlayers = 4\nhidden = 64\nheads = 8\nffn_hidden = 128\nvocab = 301\n\
             positions = 32\nexperts = 8\nexperts_per_token = 3\nexpert_ffn_hidden = 48\nshared_experts = {}\n\
             dense_layers = 1\n{}[cluster]\ndevice = \"a100-80gb-sxm\"\nnodes = 8\n[strategy]\ndata_parallel = {dp}\n\
             tensor_parallel = {tp}\npipeline_parallel = {pp}\nsequence_parallel = true\ncontext_parallel = {cp}\n\
             context_method = \"{}\"\nexpert_parallel = {ep}\nexpert_tensor_parallel = {}\ncapacity_factor = 1.25\n\
             schedule = \"{}\"\nglobal_batch = {}\nprecision = \"{}\"\nrecompute = \"{}\"\nzero_stage = {zero}\n{}\
             bucket = \"50 kB\"\ntensor_chunks = {}\noverlap_micro_batches = {}\ncompress_activations = {}\n",
            u32::from(shared),
            pick(latent, "query_rank = 24\nkv_rank = 12\nrope_dim = 4\nvalue_dim = 6\n", ""),
            ["ring", "all_to_all", "all_gather"][method],
            if sliced { tp } else { 1 },
            pick(split, "zb-h1", "1f1b"),
            dp * 3,
            pick(bf16, "fp8", "fp32"),
            pick(recompute, "full", "none"),
            if hybrid && zero > 0 && dp * cp > 1 { "sharding_group = 2\n" } else { "" },
            if shared { 2 } else { 1 },
            latent && !split,
            bf16 && !shared && !recompute,
        );
        let Ok(Opened::Scenario(file)) = open(text.as_bytes()) else { panic!("a scenario: {text}") };
        lower_and_verify(&check(&file).unwrap_or_else(|error| panic!("{error} in {text}")));
    }

    #[test]
    fn every_pass_leaves_a_sound_graph_of_what_frameworks_do(
        (tp, cp, dp, pp) in (prop::sample::select(vec![1_u32, 2]), 1_u32..=2, 1_u32..=2, 1_u32..=2),
        (zero, recompute) in (0_u32..=3, prop::sample::select(vec!["none", "selective", "full"])),
        schedule in prop::sample::select(vec!["1f1b", "zb-h1", "zb-h2", "gpipe"]),
        flags in prop::array::uniform6(any::<bool>()),
    ) {
        let [llama, drops, eager, keeps, half, unfused] = flags;
        let text = format!(
            "[model]\narchitecture = \"{}\"\nlayers = 4\nhidden = 64\nheads = 8\nffn_hidden = 128\nvocab = 301\n\
             positions = 32\ndropout = {}\n[cluster]\ndevice = \"a100-80gb-sxm\"\nnodes = 8\n[strategy]\n\
             data_parallel = {dp}\ntensor_parallel = {tp}\npipeline_parallel = {pp}\ncontext_parallel = {cp}\n\
             sequence_parallel = true\nkeep_gathered = {keeps}\nkernels = \"{}\"\nschedule = \"{schedule}\"\n\
             global_batch = {}\nprecision = \"bf16\"\ngradient_format = \"{}\"\nrecompute = \"{recompute}\"\n\
             recompute_modules = [\"attention\", \"activation\", \"mlp\"]\nzero_stage = {zero}\nattention = \"{}\"\n",
            if llama { "llama" } else { "gpt" },
            if drops { "0.1" } else { "0.0" },
            if eager { "eager" } else { "fused" },
            dp * 4,
            if half { "compute" } else { "fp32" },
            if unfused && cp == 1 { "unfused" } else { "flash" },
        );
        let Ok(Opened::Scenario(file)) = open(text.as_bytes()) else { panic!("a scenario: {text}") };
        // Zero stages that a tied embedding or a schedule excludes are refused; what is accepted must be sound.
        if let Ok(scenario) = check(&file) {
            lower_and_verify(&scenario);
        }
    }
}

fn sharded() -> OpGraph {
    let scenario = Scenario::preset("tiny-llama-pp2-tp2").expect("a preset");
    let graph =
        optimize::optimize(differentiate::differentiate(forward::forward(&scenario)), scenario.strategy().optimizer);
    shard::shard(graph, scenario.strategy())
}

#[test]
fn a_missing_reduction_is_noticed() {
    let mut graph = sharded();
    let first = graph.ops.iter().position(|op| matches!(op.kind, OpKind::Collective { .. })).expect("a collective");
    graph.ops.remove(first);
    let error = graph.verify().expect_err("a value is not reduced");
    assert!(
        matches!(
            error,
            GraphError::PartialRead { .. } | GraphError::ReadBeforeWrite { .. } | GraphError::ReducedTwice { .. }
        ),
        "{error}"
    );
}

#[test]
fn a_swapped_order_is_noticed() {
    let mut graph = sharded();
    graph.ops.swap(2, 5);
    assert!(graph.verify().is_err());
}

#[test]
fn a_wrong_shape_is_noticed() {
    let mut graph = sharded();
    let matmul = graph.ops.iter().find(|op| matches!(op.kind, OpKind::Matmul { .. })).expect("a matmul");
    let written = matmul.writes[0].index();
    graph.tensors[written].local.cols += 1;
    assert!(matches!(graph.verify(), Err(GraphError::Shape { .. })));
}

fn step() -> StepGraph {
    lower(&Scenario::preset("tiny-llama-pp2-tp2").expect("a preset"))
}

#[test]
fn a_task_out_of_order_is_noticed() {
    let mut step = step();
    let tasks = &mut step.stages[1].tasks;
    let (first, last) = (1, tasks.len() - 2);
    tasks.swap(first, last);
    let error = step.verify().expect_err("a backward pass comes before its forward pass");
    assert!(matches!(error, GraphError::MissingInput { .. }), "{error}");
}

#[test]
fn a_task_too_few_is_noticed() {
    let mut step = step();
    step.stages[0].tasks.remove(1);
    assert!(step.verify().is_err());
}

/// Persistent bytes of the only stage of a 7B Llama on 64 replicas.
#[test]
fn chunks_of_another_value_are_noticed() {
    let mut step = lower(&Scenario::preset("tiny-llama-chunks-tp2").expect("a preset"));
    assert_eq!(step.verify(), Ok(()));
    let segments = step.stages.iter().flat_map(|stage| &stage.segments);
    let split =
        segments.flat_map(|segment| segment.ops()).find(|op| op.kind == OpKind::Split).expect("there are chunks");
    let (view, other) = (split.writes[0], split.writes[0].index() - 1);
    step.tensors[view.index()].storage = Storage::View { of: TensorId::new(other), offset: 0 };
    assert!(matches!(step.verify(), Err(GraphError::Shape { what, .. }) if what.contains("views of its whole")));
}

fn persistent(zero_stage: u32) -> shardlab_engine::trace::MemoryUse {
    let text = format!(
        "[model]\npreset = \"llama2-7b\"\n[cluster]\ndevice = \"a100-80gb-sxm\"\nnodes = 8\n[strategy]\n\
         global_batch = 64\nzero_stage = {zero_stage}\nprecision = \"bf16\"\n"
    );
    let Ok(Opened::Scenario(file)) = open(text.as_bytes()) else { panic!("a scenario: {text}") };
    lower(&check(&file).unwrap_or_else(|error| panic!("{error}"))).stages[0].memory.persistent
}

#[test]
fn sharding_divides_memory_as_zero_says() {
    // Rajbhandari et al. 2020, figure 1: with Ψ parameters on N replicas parameters take 2Ψ, or 2Ψ/N in stage 3;
    // master weights and both moments 12Ψ, or 12Ψ/N from stage 1 on. Gradients are summed in fp32 here: 4Ψ, or 4Ψ/N
    // from stage 2 on, where the paper has 2Ψ in fp16.
    let (psi, n) = (6_738_415_616.0, 64.0);
    let expected = |stage: u32| {
        let divided = |from: u32| if stage >= from { n } else { 1.0 };
        [2.0 * psi / divided(3), 4.0 * psi / divided(2), 12.0 * psi / divided(1)]
    };
    for stage in 0..=3 {
        let used = persistent(stage);
        let found = [used.parameters, used.gradients, used.optimizer_state].map(|bytes| bytes.as_f64());
        for (found, expected) in found.into_iter().zip(expected(stage)) {
            // Flat buffers are padded to whole slices: below a thousandth.
            assert!((found / expected - 1.0).abs() < 1e-3, "stage {stage}: {found} bytes, {expected} expected");
        }
    }
}

/// Bytes of master weights and optimizer state for every parameter, on one rank without sharding.
fn optimizer_bytes(optimizer: &str, rest: &str) -> f64 {
    let text = format!(
        "[model]\npreset = \"llama2-7b\"\n[cluster]\ndevice = \"a100-80gb-sxm\"\nnodes = 8\n[strategy]\n\
         global_batch = 64\nprecision = \"bf16\"\noptimizer = \"{optimizer}\"\n{rest}"
    );
    let Ok(Opened::Scenario(file)) = open(text.as_bytes()) else { panic!("a scenario: {text}") };
    let step = lower(&check(&file).unwrap_or_else(|error| panic!("{error}")));
    step.verify().unwrap_or_else(|error| panic!("{optimizer}: {error}"));
    step.stages[0].memory.persistent.optimizer_state.as_f64() / 6_738_415_616.0
}

#[test]
fn optimizers_keep_what_their_papers_say() {
    // Four bytes of every parameter are its master weight.
    let near = |optimizer: &str, expected: f64| {
        let found = optimizer_bytes(optimizer, "");
        assert!((found / expected - 1.0).abs() < 1e-4, "{optimizer}: {found} bytes, {expected} expected");
    };
    near("sgd", 4.0);
    near("momentum", 8.0);
    near("adam", 12.0);
    near("adamw", 12.0);
    // Dettmers et al. 2022, section 2: a byte for each moment, and a scale in fp32 for each block of 2048.
    near("adam_8bit", 4.0 + 2.0 * (1.0 + 4.0 / 2048.0));
    // Shazeer & Stern 2018, section 3: n + m in place of n·m. Of a layer's matrices 4 are 4096², 1 is 4096 × 22016 and
    // 1 is 11008 × 4096; qkv lie beside each other, so 4096 × 12288.
    let layer = (4096 + 12288) + 2 * 4096 + (4096 + 22016) + (11008 + 4096) + 2 * 4096;
    let rest = 2 * (32000 + 4096) + 4096;
    near("adafactor", 4.0 + 4.0 * f64::from(32 * layer + rest) / 6_738_415_616.0);
    // One moment of the layers' matrices, two of embedding, head and norms.
    let twice = 2.0 * 32000.0 * 4096.0 + 65.0 * 4096.0;
    near("muon", 4.0 + 4.0 + 4.0 * twice / 6_738_415_616.0);
}

#[test]
fn every_optimizer_is_cut_as_its_parameters_are() {
    for optimizer in ["sgd", "momentum", "adam", "adamw", "adam_8bit", "adafactor", "muon"] {
        let whole = optimizer_bytes(optimizer, "");
        let cut = optimizer_bytes(optimizer, "tensor_parallel = 8\n");
        // Norms, and one of the two vectors of a factored moment, stay whole.
        assert!((cut * 8.0 / whole - 1.0).abs() < 2e-3, "{optimizer}: {cut} of {whole}");
    }
    for optimizer in ["sgd", "momentum", "adam", "adam_8bit", "muon"] {
        let (whole, cut) = (optimizer_bytes(optimizer, ""), optimizer_bytes(optimizer, "zero_stage = 1\n"));
        assert!((cut * 64.0 / whole - 1.0).abs() < 2e-3, "{optimizer}: {cut} of {whole}");
    }
}

#[test]
fn matrices_in_slices_are_whole_for_the_rules_that_need_them() {
    let lowered = |optimizer: &str, rest: &str| {
        let text = format!(
            "[model]\npreset = \"llama2-7b\"\n[cluster]\ndevice = \"h100-80gb-sxm\"\nnodes = 2\n[strategy]\n\
             tensor_parallel = 2\nglobal_batch = 64\nprecision = \"bf16\"\noptimizer = \"{optimizer}\"\n{rest}"
        );
        let Ok(Opened::Scenario(file)) = open(text.as_bytes()) else { panic!("a scenario: {text}") };
        let step = lower(&check(&file).unwrap_or_else(|error| panic!("{error}")));
        step.verify().unwrap_or_else(|error| panic!("{optimizer}, {rest}: {error}"));
        step
    };
    let update = |step: &StepGraph, counts: &dyn Fn(&OpKind) -> bool, of: &dyn Fn(&StepGraph, &Op) -> f64| -> f64 {
        let ops = step.stages[0].segments.iter().flat_map(|segment| segment.ops());
        ops.filter(|op| counts(&op.kind)).map(|op| of(step, op)).sum()
    };
    let matmuls = |step: &StepGraph, op: &Op| work(&step.dims, &step.tensors, op).matmul_flops.0;
    let rule = |kind: &OpKind| matches!(kind, OpKind::Update { .. } | OpKind::Orthogonalize);
    let whole = update(&lowered("muon", ""), &rule, &matmuls);
    assert!(whole > 0.0);
    for stage in 1..=3 {
        let step = lowered("muon", &format!("zero_stage = {stage}\n"));
        // Liu et al. 2025, algorithm 1: every rank iterates on whole matrices.
        assert!((update(&step, &rule, &matmuls) / whole - 1.0).abs() < 1e-9, "stage {stage}");
        // Their momenta are gathered once in bf16: two bytes of all that is in the layers' matrices, padding aside.
        let gathers = |kind: &OpKind| matches!(kind, OpKind::Collective { collective: Collective::AllGather, .. });
        let momenta = |step: &StepGraph, op: &Op| {
            let gathered = step.tensor(op.writes[0]);
            if gathered.name.starts_with("momenta of") { gathered.bytes().as_f64() } else { 0.0 }
        };
        let layer = 4.0 * 4096.0 * 4096.0 + 3.0 * 4096.0 * 11008.0;
        let gathered = update(&step, &gathers, &momenta);
        assert!((gathered / (32.0 * layer) - 1.0).abs() < 1e-3, "stage {stage}: {gathered} bytes, of half the layers");
    }
    // Adafactor sums rows and columns of slices, whose sums every rank keeps.
    let sums = |step: &StepGraph, op: &Op| step.tensor(op.writes[0]).local.elements() as f64;
    let factors = |kind: &OpKind| matches!(kind, OpKind::FactorSums);
    for stage in 1..=3 {
        let step = lowered("adafactor", &format!("zero_stage = {stage}\n"));
        let of_layer = (4096 + 6144) + (2048 + 4096) + (4096 + 11008) + (5504 + 4096);
        let rest = 2 * (16000 + 4096);
        assert_eq!(update(&step, &factors, &sums), f64::from(32 * of_layer + rest), "stage {stage}");
    }
}

/// Bytes of activations that one more layer keeps from forward to backward on a rank.
fn kept_by_a_layer(dropout: f64, strategy: &str) -> f64 {
    let peak = |layers: u32| {
        let text = format!(
            "[model]\narchitecture = \"gpt\"\nlayers = {layers}\nhidden = 512\nheads = 8\nffn_hidden = 2048\n\
             vocab = 1024\npositions = 256\ndropout = {dropout:?}\n[cluster]\ndevice = \"a100-80gb-sxm\"\n[strategy]\n\
             micro_batch = 2\nglobal_batch = 16\nprecision = \"fp16\"\n{strategy}\n"
        );
        let Ok(Opened::Scenario(file)) = open(text.as_bytes()) else { panic!("a scenario: {text}") };
        lower(&check(&file).unwrap_or_else(|error| panic!("{error}"))).stages[0].memory.peaks.activations.as_f64()
    };
    (peak(4) - peak(2)) / 2.0
}

#[test]
fn activation_memory_is_that_of_the_closed_forms() {
    // Korthikanti et al. 2022, equations 1, 2 and 4, and section 5. Every token also keeps the mean and deviation of two
    // norms in fp32: 16 bytes, which the paper neglects.
    let (s, b, h, a) = (256.0, 2.0, 512.0, 8.0);
    let statistics = 16.0 * s * b;
    let cases = [
        // As in the paper: of 34sbh two masks of sbh, of 5as²b a mask and what is left behind it.
        (0.1, [34.0, 10.0, 5.0]),
        // Without dropout they fall away.
        (0.0, [32.0, 8.0, 2.0]),
    ];
    for (dropout, [all, whole, scores]) in cases {
        let kept = |strategy: &str| kept_by_a_layer(dropout, strategy);
        let scores = scores * a * s * s * b;
        let unfused = "attention = \"unfused\"";
        assert_eq!(kept(unfused), all * s * b * h + scores + statistics, "equation 1");
        let t = 4.0;
        let tensor = format!("{unfused}\ntensor_parallel = 4");
        let expected = (whole + 24.0 / t) * s * b * h + scores / t + statistics;
        assert_eq!(kept(&tensor), expected, "equation 2: what is not split is kept whole");
        let both = format!("{tensor}\nsequence_parallel = true");
        assert_eq!(kept(&both), (all * s * b * h + scores + statistics) / t, "equation 4: all of it is split");
        let selective = format!("{both}\nrecompute = \"selective\"");
        assert_eq!(kept(&selective), (all * s * b * h + statistics) / t, "section 5: without scores");
        let full = format!("{tensor}\nrecompute = \"full\"");
        assert_eq!(kept(&full), 2.0 * s * b * h, "full recomputation keeps the layer's input");
    }
}

#[test]
fn what_was_gathered_and_what_is_not_fused_stays_as_counted() {
    // Of a layer of Llama with s tokens, a width of h, as many key heads as query heads and an inner width of 2h, in
    // bf16, over t ranks that share the tokens. Fused: two norms' inputs and results 8sh, rotated q, k and v 6sh,
    // attention's output 2sh, gate and up 8sh, their product 4sh. Eager keeps silu(gate), 4sh, and keys and values
    // once more, 4sh. What is gathered for the two first matmuls is 2sh each, on every rank.
    let (s, h, t) = (2.0 * 256.0, 512.0, 4.0);
    let kept = |strategy: &str| {
        let peak = |layers: u32| {
            let text = format!(
                "[model]\narchitecture = \"llama\"\nlayers = {layers}\nhidden = 512\nheads = 8\nffn_hidden = 1024\n\
                 vocab = 1024\npositions = 256\n[cluster]\ndevice = \"a100-80gb-sxm\"\n[strategy]\nmicro_batch = 2\n\
                 global_batch = 16\nprecision = \"bf16\"\ntensor_parallel = 4\nsequence_parallel = true\n{strategy}\n"
            );
            let Ok(Opened::Scenario(file)) = open(text.as_bytes()) else { panic!("a scenario: {text}") };
            lower(&check(&file).unwrap_or_else(|error| panic!("{error}"))).stages[0].memory.peaks.activations.as_f64()
        };
        (peak(4) - peak(2)) / 2.0
    };
    // Both norms keep a number for each token in fp32, attention the logarithm of a sum for each token and head.
    let statistics = (8.0 * s + 4.0 * s * 8.0) / t;
    assert_eq!(kept(""), 28.0 * s * h / t + statistics, "fused");
    assert_eq!(kept("kernels = \"eager\""), 36.0 * s * h / t + statistics, "eager");
    // The shards of what is kept whole need not be kept beside it.
    assert_eq!(kept("keep_gathered = true"), 24.0 * s * h / t + 4.0 * s * h + statistics, "gathered once");
}

#[test]
fn gradients_in_16_bits_halve_what_is_kept_and_sent() {
    for tensor_parallel in [1, 2] {
        halves(tensor_parallel);
    }
}

fn halves(tensor_parallel: u32) {
    let of = |format: &str| {
        let text = format!(
            "[model]\npreset = \"gpt2-124m\"\n[cluster]\ndevice = \"a100-80gb-sxm\"\n[strategy]\nglobal_batch = 8\n\
             precision = \"bf16\"\ngradient_format = \"{format}\"\ntensor_parallel = {tensor_parallel}\n\
             sequence_parallel = true\n"
        );
        let Ok(Opened::Scenario(file)) = open(text.as_bytes()) else { panic!("a scenario: {text}") };
        let step = lower(&check(&file).unwrap_or_else(|error| panic!("{error}")));
        let ops = step.stages.iter().flat_map(|stage| &stage.segments).flat_map(|segment| segment.ops());
        let of_gradients =
            |op: &&Op| op.reads.first().is_some_and(|id| step.tensor(*id).role == shardlab_engine::graph::Role::Bucket);
        let bytes = |op| shardlab_engine::cost::communicated_bytes(&step, op).map_or(0, |bytes| bytes.0);
        let sent: u64 = ops.filter(of_gradients).map(bytes).sum();
        (step.stages[0].memory.persistent.gradients.0, step.stages[0].memory.peaks.gradients.0, sent)
    };
    let ((whole, at_most, sent), (half, with_copies, less)) = (of("fp32"), of("compute"));
    assert_eq!(whole, at_most, "what is summed in fp32 is updated with as it is");
    // Copies in fp32 of all gradients stand beside them when the update starts.
    assert!((with_copies as f64 / half as f64 - 3.0).abs() < 1e-2, "copies: {with_copies} and {half}");
    let (both, _, as_much) = of("both");
    assert!((both as f64 / half as f64 - 3.0).abs() < 2e-2, "both formats: {both} and {half}");
    assert_eq!(as_much, sent, "sums are what is sent");
    // Buckets are closed by their size, so as many are padded.
    assert!((whole as f64 / half as f64 - 2.0).abs() < 1e-2, "memory: {whole} and {half}");
    assert!(sent > 0 && (sent as f64 / less as f64 - 2.0).abs() < 1e-2, "{sent} and {less}");
}

#[test]
fn model_flops_are_those_of_the_closed_form() {
    // Narayanan et al. 2021, appendix, without recomputation: 72·B·s·l·h²·(1 + s/(6h) + V/(12lh)).
    let text = "[model]\narchitecture = \"gpt\"\nlayers = 6\nhidden = 512\nheads = 8\nffn_hidden = 2048\nvocab = 1024\n\
                positions = 256\n[cluster]\ndevice = \"a100-80gb-sxm\"\n[strategy]\nattention = \"unfused\"\n\
                micro_batch = 2\nglobal_batch = 32\ntensor_parallel = 2\npipeline_parallel = 2\n";
    let Ok(Opened::Scenario(file)) = open(text.as_bytes()) else { panic!("a scenario") };
    let scenario = check(&file).unwrap_or_else(|error| panic!("{error}"));
    let step = lower(&scenario);
    let trace = shardlab_engine::sim::simulate(&step, &scenario);
    let found = shardlab_engine::analysis::step_report(&step, &scenario, &trace).model_flops.0;
    let (b, s, l, h, v) = (32.0, 256.0, 6.0, 512.0, 1024.0);
    let expected = 72.0 * b * s * l * h * h * (1.0 + s / (6.0 * h) + v / (12.0 * l * h));
    assert!((found / expected - 1.0).abs() < 1e-12, "{found:e} and {expected:e}");
}
