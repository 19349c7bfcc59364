//! Training in fewer bits: every mesh stays as near to one rank in fp32 as the precision allows.

use std::collections::BTreeMap;

use shardlab_engine::cost::bytes_moved;
use shardlab_engine::exec::{BackendKind, Format, Trainer};
use shardlab_engine::graph::{DType, OpKind, StepGraph, TensorId, lower};
use shardlab_engine::scenario::Scenario;

use super::{Axes, MIXTURE, Outcome, backend, model, moved, on_cpu, plan_equals_pools, scenario_in};

/// The squares of the unit roundoffs on the way from the weights to a gradient, added up, of the way where that is most: of
/// what is kept in fewer bits when it is written, of what matrix units read in TF32 when it is read. Where two values are
/// multiplied their relative errors add.
fn roundings(step: &StepGraph) -> f64 {
    let mut deepest = BTreeMap::<TensorId, f64>::new();
    let kept = |id: TensorId| Format::of(step.tensor(id).dtype);
    let square = |format: Format| if format == Format::Word { 0.0 } else { format.unit_roundoff().powi(2) };
    for op in step.stages.iter().flat_map(|stage| &stage.segments).flat_map(|segment| segment.ops()) {
        let known = |id: &TensorId| deepest.get(&step.storage_of(*id)).copied().unwrap_or_else(|| square(kept(*id)));
        let product = multiplies(op.kind);
        let read = if product { known(&op.reads[0]) + known(&op.reads[1]) } else { 0.0 };
        let read = op.reads.iter().map(known).fold(read, f64::max);
        let rounded_when_read = product && step.tensor(op.reads[0]).dtype == DType::Tf32;
        for &id in &op.writes {
            let format = if rounded_when_read { Format::Tf32 } else { kept(id) };
            let most = deepest.entry(step.storage_of(id)).or_default();
            *most = most.max(read + square(format));
        }
    }
    deepest.values().copied().fold(0.0, f64::max)
}

/// How far gradients may be from those in fp32, relative, in the Euclidean norm: `√Σ u²`, which is `u √D` where all D values
/// on the way are kept alike.
///
/// Each of them is rounded by at most the unit roundoff u of what it is; the errors are independent and of mean zero, so they
/// add up as a random walk does (Higham & Mary 2019, theorem 2.4, with λ = 1 since a rounding's mean square is u²/3 at most).
/// Sums are kept in fp32. The weights themselves are rounded once, and count. Numbers in eight bits are scaled so that the
/// largest fits: those below the normal ones, 2⁻¹⁴ of it and less, weigh nothing in the norm.
fn bound(step: &StepGraph) -> f64 {
    roundings(step).sqrt()
}

fn multiplies(kind: OpKind) -> bool {
    matches!(kind, OpKind::Matmul { .. } | OpKind::GroupedMatmul { .. })
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|x| x * x).sum::<f64>().sqrt()
}

/// The largest relative distance of loss, gradient norm and gradients, each as a whole.
fn distance(found: &Outcome, exact: &Outcome) -> (f64, String) {
    let relative = |x: f64, y: f64| (x - y).abs() / y.abs();
    let scalars = [("loss", found.loss, exact.loss), ("gradient norm", found.norm, exact.norm)];
    let mut all: Vec<(f64, String)> =
        scalars.map(|(name, found, exact)| (relative(found, exact), name.to_owned())).into();
    for (name, expected) in &exact.gradients {
        let difference = norm(found.gradients[name].iter().zip(expected).map(|(x, y)| f64::from(x - y)));
        all.push((difference / norm(expected.iter().map(|&x| f64::from(x))), name.clone()));
    }
    // A NaN counts as infinitely far.
    let size = |apart: f64| if apart.is_nan() { f64::INFINITY } else { apart };
    all.into_iter().max_by(|a, b| size(a.0).total_cmp(&size(b.0))).expect("there is a loss")
}

/// Holds a sharded run against one in fp32; the plan of its memory and of what is sent against what happens.
fn check(sharded: &Scenario, outcome: &Outcome, exact: &Outcome, what: &str) {
    let graph = lower(sharded);
    graph.verify().unwrap_or_else(|error| panic!("{what}: {error}"));
    let ((apart, worst), bound) = (distance(outcome, exact), bound(&graph));
    assert!(apart <= bound, "{what}: {worst} is {apart:e} apart, more than {bound:e}");
    assert!(apart > bound / 100.0, "{what}: nothing was rounded, {apart:e} is far below {bound:e}");
    assert_eq!(outcome.strays, None, "{what}: replicas have drifted apart");
    assert!(outcome.parameters.values().flatten().all(|x| x.is_finite()), "{what}: parameters are numbers");
    plan_equals_pools(sharded, what);
    assert_eq!(bytes_moved(&graph), moved(sharded), "{what}");
}

fn every_case(model: &str, seed: u32, precisions: &[&str], cases: &[(Axes, &str)]) {
    let room = cases.iter().find_map(|(_, extra)| extra.lines().find(|line| line.starts_with("capacity_factor")));
    let single = scenario_in("fp32", model, seed, (1, 1, 1), room.unwrap_or_default());
    let exact = on_cpu(&single, lower(&single));
    for precision in precisions {
        for &(mesh, extra) in cases {
            let what = format!("{precision}, model {seed}, (dp, tp, pp) {mesh:?}, {extra}");
            let sharded = scenario_in(precision, model, seed, mesh, extra);
            check(&sharded, &on_cpu(&sharded, lower(&sharded)), &exact, &what);
        }
    }
}

const ALL: [&str; 3] = ["bf16", "fp16", "tf32"];

#[test]
fn every_axis_stays_within_the_precision() {
    let cases = [
        ((1, 1, 1), ""),
        ((2, 2, 2), "recompute = \"full\""),
        ((1, 4, 1), "sequence_parallel = true"),
        ((1, 2, 1), "context_parallel = 2"),
        ((2, 1, 1), "context_parallel = 2\ncontext_method = \"all_to_all\""),
        ((1, 1, 2), "context_parallel = 2\ncontext_method = \"all_gather\""),
    ];
    for seed in 0..4 {
        every_case(model(seed), seed, &ALL, &cases[..if seed < 2 { 6 } else { 3 }]);
    }
}

#[test]
fn shardings_and_schedules_stay_within_the_precision() {
    let cases = [
        ((4, 1, 1), "zero_stage = 1"),
        ((2, 2, 1), "zero_stage = 2\nsequence_parallel = true"),
        ((4, 1, 1), "zero_stage = 3\nprefetch = 2"),
        ((2, 1, 2), "zero_stage = 3\nschedule = \"zb-h1\""),
        ((1, 2, 2), "schedule = \"interleaved\"\nsequence_parallel = true"),
        ((1, 1, 2), "schedule = \"zb-v\""),
        ((2, 1, 2), "schedule = \"dualpipe-v\""),
        ((2, 1, 1), "offload_optimizer = \"host\"\noffload_activations = 1\nzero_stage = 1"),
        ((2, 1, 1), "gradient_format = \"both\""),
        ((2, 1, 1), "gradient_format = \"compute\""),
        ((1, 2, 1), "optimizer = \"momentum\""),
        ((1, 2, 1), "attention = \"unfused\""),
    ];
    every_case(model(0), 0, &ALL[..2], &cases);
    every_case(model(1), 1, &ALL[..1], &cases);
}

/// In eight bits and less the layers' matrix products read both factors, of gradients with two bits of mantissa where the
/// scale is that of a whole tensor.
#[test]
fn eight_bits_and_four_stay_within_their_precision_on_every_axis() {
    let cases = [
        ((1, 1, 1), ""),
        ((2, 2, 2), "recompute = \"full\""),
        ((1, 4, 1), "sequence_parallel = true"),
        ((1, 2, 1), "context_parallel = 2"),
        ((2, 1, 2), "schedule = \"zb-h1\""),
        ((1, 1, 2), "schedule = \"zb-v\"\noffload_activations = 1"),
        ((2, 1, 1), "recompute = \"selective\"\nrecompute_modules = [\"mlp\", \"norm\"]\noffload_optimizer = \"host\""),
    ];
    for seed in 0..2 {
        every_case(model(seed), seed, &["fp8", "fp8_block", "nvfp4"], &cases);
    }
}

/// What waits for the backward pass in eight bits was read by the forward pass as it was computed.
#[test]
fn activations_that_wait_in_eight_bits_leave_the_loss_alone_and_gradients_within_the_rounding() {
    let cases = [
        ((1, 1, 1), "compress_activations = true"),
        ((2, 2, 2), "compress_activations = true"),
        ((1, 2, 1), "compress_activations = true\nsequence_parallel = true"),
        ((2, 1, 2), "compress_activations = true\nschedule = \"zb-h1\"\nzero_stage = 2"),
        ((1, 1, 2), "compress_activations = true\noffload_activations = 1"),
        ((1, 1, 2), "compress_activations = true\nschedule = \"interleaved\""),
        ((1, 2, 1), "compress_activations = true\ncontext_parallel = 2"),
        ((1, 1, 1), "compress_activations = true\nrecompute = \"full\""),
        ((1, 1, 1), "compress_activations = true\nattention = \"unfused\""),
    ];
    for seed in 0..2 {
        every_case(model(seed), seed, &["fp32", "bf16"], &cases);
    }
    let single = scenario_in("fp32", model(0), 0, (1, 1, 1), "");
    let short = scenario_in("fp32", model(0), 0, (1, 1, 1), "compress_activations = true");
    let (exact, rounded) = (on_cpu(&single, lower(&single)), on_cpu(&short, lower(&short)));
    assert_eq!(rounded.loss.to_bits(), exact.loss.to_bits(), "the forward pass computes the same");
    let kept = |scenario: &Scenario| lower(scenario).stages[0].memory.peaks.activations.as_f64();
    // A quarter of what layers keep; the head and statistics of rows stay as they are.
    assert!(kept(&short) < kept(&single) * 0.5, "{} of {}", kept(&short), kept(&single));
}

#[test]
fn eight_bits_learn_nearly_as_well_as_sixteen_and_are_sent_nowhere() {
    let last = |precision: &str| {
        let scenario = scenario_in(precision, model(0), 0, (1, 1, 1), "");
        pollster::block_on(async {
            let mut trainer = Trainer::new(&scenario, backend(BackendKind::Cpu)).await.expect("it is executable");
            let mut loss = f64::NAN;
            for _ in 0..40 {
                loss = trainer.step().await.expect("a step runs").loss;
            }
            loss
        })
    };
    let sixteen = last("bf16");
    for (narrow, most) in [("fp8", 0.02), ("fp8_block", 0.02), ("nvfp4", 0.05)] {
        let loss = last(narrow);
        assert!((loss / sixteen - 1.0).abs() < most, "{loss} in {narrow}, {sixteen} in sixteen bits");
        let sharded = scenario_in(narrow, model(0), 0, (2, 1, 1), "zero_stage = 1");
        let error = shardlab_engine::exec::executable_graph(&sharded).expect_err("elements share their scales");
        assert!(error.to_string().contains("strategy.zero_stage"), "{error}");
    }
}

/// Every token takes all experts: a rounded score may choose another expert, which no bound on rounding covers.
#[test]
fn mixtures_of_experts_stay_within_the_precision() {
    let all = MIXTURE.replace("experts = 8", "experts = 2");
    let room = "capacity_factor = 1.0";
    let cases = [
        ((1, 1, 1), room.to_owned()),
        ((2, 1, 1), format!("{room}\nexpert_parallel = 2\nzero_stage = 1")),
        ((2, 2, 1), format!("{room}\nexpert_parallel = 2\nsequence_parallel = true")),
    ];
    let cases: Vec<(Axes, &str)> = cases.iter().map(|(mesh, extra)| (*mesh, extra.as_str())).collect();
    every_case(&all, 0, &ALL, &cases);
}

/// Ranks that share experts choose as one rank does, since they compute the same scores; both are as far from fp32.
#[test]
fn spread_experts_are_chosen_as_on_one_rank() {
    let single = scenario_in("bf16", MIXTURE, 0, (1, 1, 1), "capacity_factor = 4.0");
    let reference = on_cpu(&single, lower(&single));
    let sharded = scenario_in("bf16", MIXTURE, 0, (2, 1, 1), "capacity_factor = 4.0\nexpert_parallel = 2");
    let (graph, outcome) = (lower(&sharded), on_cpu(&sharded, lower(&sharded)));
    let (apart, worst) = distance(&outcome, &reference);
    assert!(apart <= 2.0 * bound(&graph), "{worst} is {apart:e} apart");
}

#[test]
fn gradients_that_overflow_change_nothing_and_halve_the_loss_scale() {
    let scenario = scenario_in("fp16", model(0), 0, (2, 1, 1), "zero_stage = 1");
    pollster::block_on(async {
        let device = backend(BackendKind::Cpu);
        let mut trainer = Trainer::new(&scenario, device).await.expect("it is executable");
        let good = trainer.step().await.expect("a step runs");
        assert_eq!((good.loss_scale, good.skipped), (Some(65_536.0), false));
        let whole = trainer.parameters(0).await.expect("parameters are read");
        // Logits as large as these have gradients of activations beyond 65504 times the loss scale.
        let large: Vec<f32> = whole["head weight"].iter().map(|x| x * 30_000.0).collect();
        trainer.set_parameter("head weight", &large).expect("there is such a parameter");
        let before = trainer.parameters(0).await.expect("parameters are read");
        let skipped = trainer.step().await.expect("a step runs");
        assert!(skipped.skipped && !skipped.gradient_norm.is_finite() && skipped.loss.is_finite());
        assert_eq!(trainer.parameters(0).await.expect("parameters are read"), before);
        let next = trainer.step().await.expect("a step runs");
        assert_eq!(next.loss_scale, Some(32_768.0));
    });
}

#[cfg(feature = "gpu")]
#[test]
fn sharded_steps_in_fewer_bits_on_the_gpu_stay_within_the_precision() {
    let exact = scenario_in("fp32", model(0), 0, (1, 1, 1), "");
    let exact = on_cpu(&exact, lower(&exact));
    let narrow = ["fp8", "fp8_block", "nvfp4"];
    for precision in ALL.into_iter().chain(narrow) {
        let Some(device) = super::on_the_gpu::gpu() else { return };
        let zero = if narrow.contains(&precision) { "" } else { "zero_stage = 1\n" };
        let sharded = scenario_in(precision, model(0), 0, (2, 2, 1), &format!("{zero}sequence_parallel = true"));
        check(&sharded, &super::run(&sharded, lower(&sharded), device), &exact, precision);
    }
}
