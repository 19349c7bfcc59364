//! Encoders, image models and recommenders: sharded as decoders are, they compute what one rank computes.

use shardlab_engine::exec::{BackendKind, Trainer};
use shardlab_engine::graph::lower;
use shardlab_engine::scenario::Scenario;

use super::{Axes, Outcome, TOLERANCE, agree, backend, on_cpu, parsed, plan_equals_pools, run};

const BERT: &str =
    "architecture = \"bert\"\nlayers = 4\nhidden = 24\nheads = 4\nffn_hidden = 40\nvocab = 80\npositions = 24";
const VIT: &str = "architecture = \"vit\"\nlayers = 4\nhidden = 24\nheads = 4\nffn_hidden = 40\nimage_size = 12\n\
                   patch_size = 4\nclasses = 10";
const RESNET: &str = "architecture = \"resnet\"\nimage_size = 18\nclasses = 10\nhidden = 6\nblocks = [1, 2, 1, 1]\n\
                      bottleneck = false";
const BOTTLENECK: &str = "architecture = \"resnet\"\nimage_size = 16\nclasses = 12\nhidden = 3\nblocks = [1, 1, 1, 1]";
const DOT: &str = "architecture = \"dlrm\"\nhidden = 6\ntable_rows = [9, 9, 9, 9]\nlookups = [3, 3, 3, 3]\n\
                   dense_features = 5\nbottom_mlp = [7, 6]\ntop_mlp = [11, 5]";
const CROSS: &str = "architecture = \"dlrm\"\nhidden = 6\ntable_rows = [9, 9, 9, 9]\ndense_features = 5\n\
                     bottom_mlp = [7, 6]\ntop_mlp = [11, 5]\ncross_layers = 2\ncross_rank = 4";
/// Tables of different sizes, which one rank alone can have.
const UNEVEN: &str = "architecture = \"dlrm\"\nhidden = 6\ntable_rows = [30, 2, 9]\nlookups = [1, 4, 2]\n\
                      dense_features = 5\nbottom_mlp = [7, 6]\ntop_mlp = [11, 5]";

fn of(model: &str, (dp, tp, pp): Axes, rest: &str) -> Scenario {
    parsed(&format!(
        "[model]\n{model}\n[cluster]\ndevice = \"a100-80gb-sxm\"\nnodes = 2\n[strategy]\ndata_parallel = {dp}\n\
         tensor_parallel = {tp}\npipeline_parallel = {pp}\nglobal_batch = 16\nprecision = \"fp32\"\nbucket = \"2 kB\"\n\
         {rest}\n[run]\nseed = 5\ngradient_clip = 0.5\n"
    ))
}

fn every_case(model: &str, micro_batch: u32, cases: &[(Axes, &str)]) {
    let single = of(model, (1, 1, 1), &format!("micro_batch = {micro_batch}"));
    let reference = on_cpu(&single, lower(&single));
    for (mesh, extra) in cases {
        let sharded = of(model, *mesh, &format!("micro_batch = {micro_batch}\n{extra}"));
        let what = format!("{model} {mesh:?} {extra}");
        let graph = lower(&sharded);
        graph.verify().unwrap_or_else(|error| panic!("{what}: {error}"));
        agree(&sharded, &on_cpu(&sharded, graph), &reference, &what);
        plan_equals_pools(&sharded, &what);
    }
}

/// Gradients are rounded by what waits in eight bits; the loss is not.
#[test]
fn encoders_and_images_train_with_activations_in_eight_bits() {
    for (model, micro_batch) in [(BERT, 2), (VIT, 2), (RESNET, 4), (BOTTLENECK, 16)] {
        let with = |extra: &str| of(model, (1, 1, 1), &format!("micro_batch = {micro_batch}\n{extra}"));
        let (wide, short) = (with(""), with("compress_activations = true"));
        lower(&short).verify().unwrap_or_else(|error| panic!("{model}: {error}"));
        let (exact, rounded) = (on_cpu(&wide, lower(&wide)), on_cpu(&short, lower(&short)));
        assert_eq!(rounded.loss.to_bits(), exact.loss.to_bits(), "{model}: the forward pass computes the same");
        let apart = (rounded.norm - exact.norm).abs() / exact.norm;
        assert!(apart > 1e-7 && apart < 0.05, "{model}: gradients are {apart} apart");
        plan_equals_pools(&short, model);
    }
}

#[test]
fn encoders_of_text_equal_one_rank() {
    let cases = [
        ((2, 1, 1), ""),
        ((1, 2, 1), ""),
        ((1, 2, 1), "sequence_parallel = true\nrecompute = \"full\""),
        ((1, 1, 2), "schedule = \"gpipe\""),
        ((2, 2, 2), "sequence_parallel = true"),
        ((4, 1, 1), "zero_stage = 3"),
        ((1, 2, 1), "attention = \"unfused\""),
    ];
    every_case(BERT, 2, &cases);
    every_case(BERT, 4, &[((1, 4, 1), "sequence_parallel = true"), ((1, 4, 2), "sequence_parallel = true")]);
    let uneven = of(BERT, (1, 4, 1), "micro_batch = 2\nsequence_parallel = true");
    let error = shardlab_engine::exec::executable_graph(&uneven).expect_err("two samples on four ranks");
    assert!(error.to_string().contains("strategy.micro_batch"), "{error}");
}

#[test]
fn encoders_of_images_equal_one_rank() {
    let cases = [
        ((2, 1, 1), "zero_stage = 1"),
        ((1, 2, 1), ""),
        ((1, 1, 4), ""),
        ((2, 2, 2), "recompute = \"full\""),
        ((2, 1, 2), "zero_stage = 2\nschedule = \"zb-h1\""),
    ];
    every_case(VIT, 2, &cases);
    // Ten tokens of an image divide among two ranks.
    every_case(
        VIT,
        2,
        &[((1, 2, 1), "sequence_parallel = true"), ((2, 2, 1), "sequence_parallel = true\nzero_stage = 3")],
    );
}

#[test]
fn convolutions_equal_one_rank() {
    // Norms are over a micro-batch, which is the same on one rank and on many.
    let cases = [
        ((2, 1, 1), ""),
        ((4, 1, 1), "zero_stage = 1\noptimizer = \"momentum\""),
        ((1, 1, 2), ""),
        ((2, 1, 2), "zero_stage = 2"),
        ((4, 1, 1), "zero_stage = 3"),
    ];
    for model in [RESNET, BOTTLENECK] {
        let plain: Vec<_> = cases.iter().filter(|(_, extra)| !extra.contains("momentum")).copied().collect();
        every_case(model, 4, &plain);
    }
}

/// Of images by themselves, norms are the same in any micro-batch.
#[test]
fn convolutions_with_norms_of_groups_equal_one_rank_in_any_micro_batch() {
    let grouped = format!("{RESNET}\nnorm_groups = 3");
    let cases = [
        ((2, 1, 1), ""),
        ((4, 1, 1), "micro_batch = 4\nzero_stage = 1"),
        ((1, 1, 2), "micro_batch = 1"),
        ((2, 1, 2), "zero_stage = 2\nmicro_batch = 2"),
    ];
    let single = of(&grouped, (1, 1, 1), "micro_batch = 8");
    let reference = on_cpu(&single, lower(&single));
    for (mesh, extra) in cases {
        let sharded = of(&grouped, mesh, extra);
        let what = format!("{mesh:?} {extra}");
        let graph = lower(&sharded);
        graph.verify().unwrap_or_else(|error| panic!("{what}: {error}"));
        agree(&sharded, &on_cpu(&sharded, graph), &reference, &what);
        plan_equals_pools(&sharded, &what);
    }
}

/// Loss, gradients, and the tables, which have none: they are updated where their gradient is found.
fn tables_agree(sharded: &Outcome, reference: &Outcome, what: &str) {
    let (apart, worst) = super::distance(sharded, reference);
    assert!(apart <= TOLERANCE, "{what}: {worst} is {apart:e} apart");
    let [tables, expected] = [sharded, reference].map(|outcome| &outcome.parameters["embedding tables"]);
    let moved = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let apart = tables.iter().zip(expected).map(|(a, b)| (a - b).abs() / moved).fold(0.0, f32::max);
    assert!(apart <= TOLERANCE as f32, "{what}: tables are {apart:e} apart");
}

#[test]
fn tables_on_several_ranks_equal_those_on_one() {
    for model in [DOT, CROSS] {
        for ranks in [2, 4] {
            // What all ranks have of a micro-batch is one of a single rank.
            let single = of(model, (1, 1, 1), "micro_batch = 8");
            let reference = on_cpu(&single, lower(&single));
            let sharded = of(model, (ranks, 1, 1), &format!("micro_batch = {}", 8 / ranks));
            let what = format!("{model} on {ranks}");
            let graph = lower(&sharded);
            graph.verify().unwrap_or_else(|error| panic!("{what}: {error}"));
            tables_agree(&on_cpu(&sharded, graph), &reference, &what);
            plan_equals_pools(&sharded, &what);
        }
    }
}

#[test]
fn tables_of_different_sizes_are_refused_on_several_ranks_and_work_on_one() {
    let single = of(UNEVEN, (1, 1, 1), "micro_batch = 8");
    let outcome = on_cpu(&single, lower(&single));
    assert!(outcome.loss.is_finite() && outcome.parameters["embedding tables"].len() == 41 * 6);
    let sharded = of(UNEVEN, (2, 1, 1), "micro_batch = 8");
    let error = shardlab_engine::exec::executable_graph(&sharded).expect_err("uneven tables");
    assert!(error.to_string().contains("model.table_rows"), "{error}");
}

/// The loss of the first and the mean of the last ten steps of training.
fn trained(model: &str, rest: &str, steps: u32) -> (f64, f64) {
    let scenario = of(model, (1, 1, 1), rest);
    pollster::block_on(async {
        let mut trainer = Trainer::new(&scenario, backend(BackendKind::Cpu)).await.expect("it is executable");
        let mut losses = Vec::new();
        for _ in 0..steps {
            losses.push(trainer.step().await.expect("a step runs").loss);
        }
        (losses[0], losses[losses.len() - 10..].iter().sum::<f64>() / 10.0)
    })
}

#[test]
fn image_models_learn_to_tell_digits() {
    // A guess among ten classes costs ln 10.
    let (first, last) = trained(RESNET, "micro_batch = 16", 60);
    assert!(first > 2.0 && last < 1.2, "from {first} to {last}");
}

#[test]
fn recommenders_learn_what_is_clicked() {
    let (first, last) = trained(DOT, "micro_batch = 16", 400);
    assert!(last < first.min(2.0_f64.ln()) - 0.02, "from {first} to {last}");
}

#[cfg(feature = "gpu")]
#[test]
fn families_compute_the_same_on_the_gpu() {
    let Some(mut gpu) = super::on_the_gpu::gpu() else { return };
    for (model, rest) in [(BERT, ""), (VIT, ""), (RESNET, "micro_batch = 4"), (DOT, "micro_batch = 8"), (CROSS, "")] {
        let scenario = of(model, (1, 1, 1), rest);
        let reference = on_cpu(&scenario, lower(&scenario));
        let outcome = run(&scenario, lower(&scenario), gpu);
        let (apart, worst) = super::distance(&outcome, &reference);
        assert!(apart <= TOLERANCE, "{model}: {worst} is {apart:e} apart");
        gpu = backend(BackendKind::Wgpu);
    }
}
