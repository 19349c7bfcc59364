//! The test this project exists for: a strategy is correct when the sharded graph, executed with real numbers on N
//! ranks, gives the loss and every gradient of the unsharded graph.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

use std::collections::BTreeMap;

use shardlab_engine::analysis::{NetworkReport, executed_network, network};
use shardlab_engine::cluster::Group;
use shardlab_engine::exec::{Backend, BackendKind, Trainer, open};
use shardlab_engine::graph::passes::{
    differentiate, forward, optimize, plan_memory, precision, recompute, schedule, shard,
};
use shardlab_engine::graph::{Collective, Dim, Op, OpKind, Placement, StepGraph, lower};
use shardlab_engine::scenario::{Opened, Scenario, check, open as open_scenario};
use shardlab_engine::units::Bytes;

mod checkpoints;
mod compression;
mod dropout;
mod families;
mod optimizers;
mod pools;
mod precisions;
mod random;
mod updates;
mod workers;

/// Data, tensor and pipeline parallel ranks.
type Axes = (u32, u32, u32);

/// What a rank group has after training steps: loss and gradients of the first, parameters after all of them.
struct Outcome {
    loss: f64,
    norm: f64,
    gradients: BTreeMap<String, Vec<f32>>,
    /// Of the first replica.
    parameters: BTreeMap<String, Vec<f32>>,
    /// The first replica whose parameters differ from the first's in any bit.
    strays: Option<u32>,
}

/// Steps after which parameters are compared: the moments and the clipping of two updates are in them.
const STEPS: u32 = 2;

fn backend(kind: BackendKind) -> Backend {
    pollster::block_on(open(kind)).expect("the backend opens")
}

fn run(scenario: &Scenario, graph: StepGraph, backend: Backend) -> Outcome {
    pollster::block_on(async {
        let mut trainer = Trainer::of_graph(scenario, graph, backend).await.expect("the scenario is executable");
        let first = trainer.step().await.expect("a step runs");
        let gradients = trainer.gradients().await.expect("gradients are read");
        for _ in 1..STEPS {
            trainer.step().await.expect("a step runs");
        }
        let parameters = trainer.parameters(0).await.expect("parameters are read");
        let mut strays = None;
        for replica in 1..scenario.mesh().dp {
            let others = trainer.parameters(replica).await.expect("parameters are read");
            strays = strays.or_else(|| (others != parameters).then_some(replica));
        }
        Outcome { loss: first.loss, norm: first.gradient_norm, gradients, parameters, strays }
    })
}

fn on_cpu(scenario: &Scenario, graph: StepGraph) -> Outcome {
    run(scenario, graph, backend(BackendKind::Cpu))
}

/// The largest distance of a gradient's element, relative to the gradient's largest.
///
/// In fp32 a sum of n terms in another order differs by at most n·2⁻²⁴ of the sum of magnitudes (Higham 2002,
/// section 4.2). The longest sums here have some hundred terms (tokens, features), passed through some ten ops.
const TOLERANCE: f64 = 1e-4;

fn distance(a: &Outcome, b: &Outcome) -> (f64, String) {
    let names = |o: &Outcome| o.gradients.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(a), names(b), "the same parameters have gradients");
    let relative = |x: f64, y: f64| if x.is_finite() { (x - y).abs() / y.abs() } else { f64::INFINITY };
    let mut worst = (relative(a.loss, b.loss), "loss".to_owned());
    if relative(a.norm, b.norm) > worst.0 {
        worst = (relative(a.norm, b.norm), "gradient norm".to_owned());
    }
    for (name, expected) in &b.gradients {
        let scale = expected.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
        assert!(scale > 0.0 && scale.is_finite(), "{name} has a gradient");
        let apart = a.gradients[name].iter().zip(expected).map(|(x, y)| f64::from((x - y).abs() / scale));
        // A NaN counts as infinitely far.
        let apart = apart.map(|x| if x.is_nan() { f64::INFINITY } else { x }).fold(0.0, f64::max);
        if apart > worst.0 {
            worst = (apart, name.clone());
        }
    }
    worst
}

/// How far updated parameters may be apart, as root mean square relative to that of the updates.
///
/// AdamW divides by the root of the second moment: an element whose gradient is rounding noise moves by the full
/// learning rate in a direction that the noise decides. So only elements with a gradient of at least `NOTICEABLE` of
/// the largest are compared, and the bound is on their mean.
const UPDATE_TOLERANCE: f64 = 2e-2;
const NOTICEABLE: f32 = 1e-3;

/// The largest distance of a parameter's update from the reference's.
fn update_distance(scenario: &Scenario, a: &Outcome, b: &Outcome) -> (f64, String) {
    let scale = scenario.run().learning_rate * f64::from(STEPS);
    let mut worst = (0.0, String::new());
    for (name, expected) in &b.parameters {
        let gradient = &b.gradients[&format!("gradient of {name}")];
        let least = NOTICEABLE * gradient.iter().fold(0.0_f32, |max, g| max.max(g.abs()));
        let pairs = a.parameters[name].iter().zip(expected).zip(gradient).filter(|(_, g)| g.abs() >= least);
        let squares: Vec<f64> = pairs.map(|((x, y), _)| (f64::from(x - y) / scale).powi(2)).collect();
        let apart = (squares.iter().sum::<f64>() / squares.len() as f64).sqrt();
        let apart = if apart.is_nan() { f64::INFINITY } else { apart };
        if apart > worst.0 {
            worst = (apart, name.clone());
        }
    }
    worst
}

/// Small models whose heads every mesh of up to 8 ranks divides; the other sizes are odd.
fn model(seed: u32) -> &'static str {
    match seed {
        0 => {
            "architecture = \"llama\"\nlayers = 4\nhidden = 24\nheads = 8\nhead_dim = 6\nffn_hidden = 40\nvocab = 83\n\
              positions = 64"
        }
        1 => {
            "architecture = \"gpt\"\nlayers = 4\nhidden = 32\nheads = 8\nffn_hidden = 56\nvocab = 77\npositions = 40\n\
              tied_embeddings = true"
        }
        2 => {
            "architecture = \"llama\"\nlayers = 5\nhidden = 48\nheads = 16\nkv_heads = 8\nhead_dim = 4\n\
              ffn_hidden = 24\nvocab = 96\npositions = 64\ntied_embeddings = true"
        }
        _ => {
            "architecture = \"gpt\"\nlayers = 4\nhidden = 20\nheads = 8\nhead_dim = 2\nffn_hidden = 16\nvocab = 101\n\
              positions = 33\ntied_embeddings = false"
        }
    }
}

/// A scenario of the given mesh; `extra` goes into `[strategy]`.
fn scenario(seed: u32, mesh: Axes, extra: &str) -> Scenario {
    scenario_of(model(seed), seed, mesh, extra)
}

/// The same of another model.
fn scenario_of(model: &str, seed: u32, mesh: Axes, extra: &str) -> Scenario {
    scenario_in("fp32", model, seed, mesh, extra)
}

/// The same in another precision.
fn scenario_in(precision: &str, model: &str, seed: u32, mesh: Axes, extra: &str) -> Scenario {
    parsed(&text(precision, model, seed, mesh, extra))
}

/// The file of such a scenario; it ends in `[run]`.
fn text(precision: &str, model: &str, seed: u32, (dp, tp, pp): Axes, extra: &str) -> String {
    format!(
        "[model]\n{}\n[cluster]\ndevice = \"a100-80gb-sxm\"\nnodes = 2\n[strategy]\ndata_parallel = {dp}\ntensor_parallel = {tp}\n\
         pipeline_parallel = {pp}\nglobal_batch = 16\nprecision = \"{precision}\"\nbucket = \"20 kB\"\n{extra}\n\
         [data]\nsequence_length = {}\n[run]\nseed = {seed}\ngradient_clip = 0.5\n",
        model,
        8 * (1 + seed)
    )
}

fn parsed(text: &str) -> Scenario {
    let Ok(Opened::Scenario(file)) = open_scenario(text.as_bytes()) else { panic!("a scenario: {text}") };
    check(&file).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// Every mesh of 2, 4 and 8 ranks.
fn meshes() -> Vec<Axes> {
    let axis = [1, 2, 4, 8];
    let all = axis.iter().flat_map(|&dp| axis.iter().flat_map(move |&tp| [1, 2, 4].map(|pp| (dp, tp, pp))));
    all.filter(|(dp, tp, pp)| [2, 4, 8].contains(&(dp * tp * pp))).collect()
}

fn every_mesh_equals_one_rank(seed: u32) {
    let single = scenario(seed, (1, 1, 1), "");
    let reference = on_cpu(&single, lower(&single));
    for (index, mesh) in (seed..).zip(meshes()) {
        // The options take turns, so that over the four models every mesh is seen with each of them.
        let extra = match index % 4 {
            0 => "sequence_parallel = true\nmicro_batch = 2",
            1 => "recompute = \"full\"\nschedule = \"gpipe\"",
            2 => "sequence_parallel = true\nrecompute = \"full\"",
            _ => "overlap_gradients = false",
        };
        let what = format!("model {seed}, (dp, tp, pp) {mesh:?}, {extra}");
        let sharded = scenario(seed, mesh, extra);
        let graph = lower(&sharded);
        graph.verify().unwrap_or_else(|error| panic!("{what}: {error}"));
        agree(&sharded, &on_cpu(&sharded, graph), &reference, &what);
    }
}

fn agree(scenario: &Scenario, sharded: &Outcome, reference: &Outcome, what: &str) {
    let (apart, worst) = distance(sharded, reference);
    assert!(apart <= TOLERANCE, "{what}: {worst} is {apart:e} apart");
    assert_eq!(sharded.strays, None, "{what}: replicas have drifted apart");
    let (apart, worst) = update_distance(scenario, sharded, reference);
    assert!(apart <= UPDATE_TOLERANCE, "{what}: after {STEPS} steps {worst} is {apart:e} of an update apart");
}

#[test]
fn every_pipeline_schedule_equals_one_rank() {
    let custom = "schedule = \"custom\"\nvirtual_stages = 2\nchunk_layout = \"v\"\ncustom_schedule = [\
                  \"F0 F1 F0.1 B0.1 F1.1 B1.1 W0.1 B0 B1 W1.1 W0 W1\", \
                  \"F0 F0.1 F1 B0.1 F1.1 W0.1 B0 B1.1 W0 W1.1 B1 W1\"]\nmicro_batch = 8";
    let cases = [
        ((1, 1, 2), "schedule = \"interleaved\""),
        ((2, 1, 2), "schedule = \"interleaved\"\nsequence_parallel = true\nrecompute = \"full\""),
        ((2, 2, 2), "sequence_parallel = true\nrecompute = \"budget\"\nrecompute_budget = \"1 B\""),
        ((1, 2, 2), "schedule = \"interleaved\"\nsequence_parallel = true\noverlap_gradients = false"),
        ((1, 1, 4), "schedule = \"zb-h1\""),
        ((1, 1, 4), "schedule = \"zb-h2\""),
        ((2, 2, 2), "schedule = \"zb-h2\"\nsequence_parallel = true\nkeep_gathered = true"),
        ((2, 2, 2), "schedule = \"zb-h1\"\nsequence_parallel = true\nrecompute = \"full\""),
        ((2, 1, 4), "schedule = \"zb-h1\"\nstage_layers = [0, 1, 1, 2]"),
        ((1, 1, 2), "schedule = \"zb-v\""),
        ((2, 2, 2), "schedule = \"zb-v\"\nsequence_parallel = true"),
        ((1, 1, 2), custom),
        ((1, 1, 1), "overlap_micro_batches = true"),
        ((1, 2, 2), "overlap_micro_batches = true\nsequence_parallel = true\nrecompute = \"full\""),
        ((2, 2, 2), "schedule = \"interleaved\"\noverlap_micro_batches = true\nzero_stage = 1"),
        ((1, 1, 2), "schedule = \"dualpipe-v\""),
        ((2, 2, 2), "schedule = \"dualpipe-v\"\nsequence_parallel = true"),
    ];
    // A tied GPT and an untied Llama of four layers each.
    every_case_equals_one_rank(&[1, 0], &cases);
}

#[test]
fn chunks_of_tensor_communication_equal_one_rank() {
    let cases = [
        ((1, 2, 1), "tensor_chunks = 2\nmicro_batch = 4"),
        ((1, 2, 1), "tensor_chunks = 2\nsequence_parallel = true\nmicro_batch = 4"),
        ((1, 2, 2), "tensor_chunks = 4\nsequence_parallel = true\nrecompute = \"full\"\nmicro_batch = 8"),
        ((2, 2, 1), "tensor_chunks = 2\nsequence_parallel = true\nkeep_gathered = true\nmicro_batch = 4"),
        ((1, 4, 1), "tensor_chunks = 2\nsequence_parallel = true\nmicro_batch = 8"),
        ((1, 2, 1), "tensor_chunks = 2\nsequence_parallel = true\ncontext_parallel = 2\nmicro_batch = 8"),
        (
            (1, 2, 2),
            "tensor_chunks = 2\nsequence_parallel = true\nschedule = \"zb-v\"\nzero_stage = 1\nmicro_batch = 4",
        ),
    ];
    // An untied Llama, and a tied GPT with learned positions.
    every_case_equals_one_rank(&[0, 1], &cases);
    let mixture = "tensor_chunks = 2\nsequence_parallel = true\ncapacity_factor = 4.0\nmicro_batch = 4";
    every_case_of_a_model(MIXTURE, 0, &[((1, 2, 1), mixture)]);
}

#[test]
fn every_way_to_share_sequences_equals_one_rank() {
    let cases = [
        ((1, 1, 1), "context_parallel = 2"),
        ((1, 1, 1), "context_parallel = 4"),
        ((1, 1, 1), "context_parallel = 2\ncontext_method = \"all_to_all\""),
        ((1, 1, 1), "context_parallel = 4\ncontext_method = \"all_gather\""),
        ((2, 2, 2), "context_parallel = 2\nsequence_parallel = true\nrecompute = \"full\""),
        ((2, 2, 1), "context_parallel = 2\ncontext_method = \"all_to_all\"\nsequence_parallel = true\nzero_stage = 1"),
        ((2, 2, 2), "context_parallel = 2\ncontext_method = \"all_gather\"\nzero_stage = 2"),
        ((1, 1, 2), "context_parallel = 4\nzero_stage = 3\nrecompute = \"full\""),
        ((1, 1, 2), "context_parallel = 2\nschedule = \"zb-v\""),
    ];
    // Llama with as many key heads as query heads and with half of them, and a tied GPT with learned positions.
    every_case_equals_one_rank(&[0, 2, 1], &cases);
    let two_copies = "context_parallel = 2\nschedule = \"dualpipe\"\nsequence_parallel = true";
    every_case_equals_one_rank(&[0], &[((1, 2, 2), two_copies)]);
}

#[test]
fn two_copies_of_the_model_equal_one_rank() {
    let cases = [
        ((1, 1, 2), "schedule = \"dualpipe\""),
        ((2, 2, 2), "schedule = \"dualpipe\"\nsequence_parallel = true"),
        ((1, 2, 2), "schedule = \"dualpipe\"\nrecompute = \"full\"\nzero_stage = 1"),
        ((2, 1, 2), "schedule = \"dualpipe\"\nzero_stage = 2"),
        ((2, 1, 2), "schedule = \"dualpipe\"\nzero_stage = 3\nsharding_group = 2"),
        ((1, 1, 4), "schedule = \"dualpipe\"\noverlap_gradients = false"),
        ((1, 1, 4), "schedule = \"dualpipe\"\nzero_stage = 1\noverlap_parameters = false"),
    ];
    // An untied Llama of four layers.
    every_case_equals_one_rank(&[0], &cases);
}

/// A mixture of experts with room for every token, whatever the ranks that share them.
const MIXTURE: &str = "architecture = \"llama\"\nlayers = 4\nhidden = 24\nheads = 8\nhead_dim = 6\nffn_hidden = 40\n\
                       vocab = 83\npositions = 64\nexperts = 8\nexperts_per_token = 2\nexpert_ffn_hidden = 16";

#[test]
fn every_way_to_spread_experts_equals_one_rank() {
    let cases = [
        ((1, 1, 1), "capacity_factor = 4.0"),
        ((2, 1, 1), "capacity_factor = 4.0\nexpert_parallel = 2"),
        ((4, 1, 1), "capacity_factor = 4.0\nexpert_parallel = 2\nexpert_dispatch = \"once_per_node\""),
        ((2, 2, 1), "capacity_factor = 4.0\nexpert_parallel = 4\nsequence_parallel = true"),
        ((1, 2, 1), "capacity_factor = 4.0\nsequence_parallel = true"),
        ((2, 2, 1), "capacity_factor = 4.0\nexpert_parallel = 2\nexpert_tensor_parallel = 2"),
        ((2, 2, 2), "capacity_factor = 4.0\nexpert_parallel = 2\nexpert_tensor_parallel = 2\nsequence_parallel = true"),
        ((4, 1, 2), "capacity_factor = 4.0\nexpert_parallel = 4\nrecompute = \"full\"\nschedule = \"interleaved\""),
        ((2, 1, 2), "capacity_factor = 4.0\nexpert_parallel = 2\nschedule = \"zb-v\""),
        ((4, 1, 1), "capacity_factor = 4.0\nexpert_parallel = 2\nzero_stage = 1"),
        ((2, 2, 1), "capacity_factor = 4.0\nexpert_parallel = 2\nsequence_parallel = true\nzero_stage = 2"),
        ((4, 1, 1), "capacity_factor = 4.0\nexpert_parallel = 2\nzero_stage = 3"),
        ((2, 1, 2), "capacity_factor = 4.0\nexpert_parallel = 2\nschedule = \"dualpipe\""),
        ((2, 1, 1), "capacity_factor = 4.0\nexpert_parallel = 4\ncontext_parallel = 2"),
    ];
    every_case_of_a_model(MIXTURE, 0, &cases);
    let shared = format!("{MIXTURE}\nshared_experts = 1\ndense_layers = 1");
    every_case_of_a_model(&shared, 1, &cases[1..6]);
}

#[test]
fn latent_attention_equals_one_rank() {
    let latent = format!("{MIXTURE}\nquery_rank = 10\nkv_rank = 6\nrope_dim = 4\nvalue_dim = 5\nshared_experts = 1");
    let cases = [
        ((1, 2, 2), "capacity_factor = 4.0\nsequence_parallel = true\nrecompute = \"full\""),
        ((2, 2, 1), "capacity_factor = 4.0\nexpert_parallel = 4\nsequence_parallel = true\nzero_stage = 1"),
        ((2, 1, 1), "capacity_factor = 4.0\nexpert_parallel = 2\ncontext_parallel = 2"),
        ((1, 1, 1), "capacity_factor = 4.0\ncontext_parallel = 2\ncontext_method = \"all_to_all\""),
    ];
    every_case_of_a_model(&latent, 0, &cases);
}

#[test]
fn experts_that_drop_tokens_drop_the_same_on_every_replica() {
    // Every rank has whole micro-batches, so each routes the tokens that one rank routes together.
    let cases = [
        ((2, 1, 1), "capacity_factor = 0.7\nexpert_parallel = 2"),
        ((4, 1, 2), "capacity_factor = 0.7\nexpert_parallel = 4"),
        ((2, 2, 1), "capacity_factor = 0.7\nexpert_parallel = 2\nexpert_tensor_parallel = 2"),
    ];
    for (mesh, extra) in cases {
        let [roomy, single] = ["4.0", "0.7"].map(|factor| {
            let single = scenario_of(MIXTURE, 0, (1, 1, 1), &format!("capacity_factor = {factor}"));
            on_cpu(&single, lower(&single))
        });
        assert!(distance(&single, &roomy).0 > 10.0 * TOLERANCE, "what is dropped changes what is computed");
        let sharded = scenario_of(MIXTURE, 0, mesh, extra);
        agree(&sharded, &on_cpu(&sharded, lower(&sharded)), &single, &format!("{mesh:?} {extra}"));
    }
}

#[test]
fn stored_scores_and_kernels_that_are_not_fused_equal_one_rank() {
    let cases = [
        ((1, 1, 1), "attention = \"unfused\""),
        ((1, 1, 1), "kernels = \"eager\""),
        ((2, 2, 1), "attention = \"unfused\"\nrecompute = \"selective\"\nsequence_parallel = true"),
        ((1, 2, 2), "attention = \"unfused\"\nrecompute = \"selective\"\nschedule = \"interleaved\""),
        ((2, 1, 2), "kernels = \"eager\"\nattention = \"unfused\"\nrecompute = \"full\""),
        ((2, 2, 1), "kernels = \"eager\"\nsequence_parallel = true\nkeep_gathered = true\nzero_stage = 3"),
        (
            (1, 2, 1),
            "recompute = \"selective\"\nrecompute_modules = [\"norm\", \"activation\"]\nsequence_parallel = true",
        ),
        ((1, 2, 1), "recompute = \"selective\"\nrecompute_modules = [\"mlp\"]"),
        ((1, 1, 2), "recompute = \"full\"\nrecompute_interval = 2"),
    ];
    // The reference has neither.
    every_case_equals_one_rank(&[0, 1, 2], &cases);
}

#[test]
fn simpler_optimizers_update_alike_on_every_mesh() {
    for optimizer in ["sgd", "momentum"] {
        let rule = format!("optimizer = \"{optimizer}\"");
        let single = scenario(1, (1, 1, 1), &rule);
        let reference = on_cpu(&single, lower(&single));
        let start = {
            let mut trainer = pollster::block_on(Trainer::new(&single, backend(BackendKind::Cpu))).expect("executable");
            pollster::block_on(trainer.parameters(0)).expect("parameters are read")
        };
        for (mesh, extra) in [((2, 2, 2), "zero_stage = 1"), ((4, 1, 1), "zero_stage = 3"), ((1, 2, 2), "")] {
            let sharded = scenario(1, mesh, &format!("{rule}\n{extra}"));
            let found = on_cpu(&sharded, lower(&sharded));
            // No division by moments: updates are as near as gradients are, and as parameters are rounded. A norm's weight
            // is near 1, whose unit in the last place is 2⁻²³, and moves by some 10⁻⁵: hence the bound.
            for (name, expected) in &reference.parameters {
                let moved =
                    |values: &[f32]| -> Vec<f32> { values.iter().zip(&start[name]).map(|(a, b)| a - b).collect() };
                let (found, expected) = (moved(&found.parameters[name]), moved(expected));
                let scale = expected.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
                let apart = found.iter().zip(&expected).map(|(a, b)| (a - b).abs() / scale).fold(0.0, f32::max);
                assert!(scale > 0.0 && apart < 1e-2, "{optimizer} {mesh:?}: {name} is {apart:e} of an update apart");
            }
        }
    }
}

#[test]
fn what_waits_outside_the_device_changes_nothing() {
    let cases = [
        ((1, 1, 1), "offload_optimizer = \"host\""),
        ((2, 2, 1), "offload_optimizer = \"host\"\nzero_stage = 1"),
        ((2, 1, 2), "offload_optimizer = \"nvme\"\nzero_stage = 2"),
        ((2, 1, 1), "offload_optimizer = \"host\"\noffload_parameters = \"host\"\nzero_stage = 3"),
        (
            (4, 1, 1),
            "offload_optimizer = \"nvme\"\noffload_parameters = \"host\"\nzero_stage = 3\nrecompute = \"full\"",
        ),
        ((1, 1, 1), "offload_activations = 2"),
        ((1, 2, 2), "offload_activations = 1\nsequence_parallel = true"),
        ((2, 1, 2), "offload_activations = 1\nrecompute = \"full\"\noffload_optimizer = \"host\""),
    ];
    every_case_equals_one_rank(&[0, 1], &cases);
}

#[test]
fn windows_of_attention_equal_one_rank() {
    let [whole, window] = ["", "\nwindow = 3\nwindow_interval = 2"].map(|window| {
        let single = scenario_of(&format!("{}{window}", model(0)), 0, (1, 1, 1), "");
        on_cpu(&single, lower(&single))
    });
    assert!(distance(&window, &whole).0 > 10.0 * TOLERANCE, "a window changes what is computed");
    for (mesh, extra) in [
        ((1, 2, 2), "sequence_parallel = true"),
        ((2, 1, 1), "context_parallel = 2"),
        ((1, 1, 1), "context_parallel = 4\ncontext_method = \"all_gather\""),
        ((1, 1, 2), "context_parallel = 2\ncontext_method = \"all_to_all\"\nrecompute = \"full\""),
    ] {
        let sharded = scenario_of(&format!("{}\nwindow = 3\nwindow_interval = 2", model(0)), 0, mesh, extra);
        agree(&sharded, &on_cpu(&sharded, lower(&sharded)), &window, &format!("a window, {mesh:?} {extra}"));
    }
}

/// Meshes with options, on models of several seeds: values, the memory plan, and bytes on every axis.
fn every_case_equals_one_rank(seeds: &[u32], cases: &[(Axes, &str)]) {
    for &seed in seeds {
        every_case_of_a_model(model(seed), seed, cases);
    }
}

fn every_case_of_a_model(model: &str, seed: u32, cases: &[(Axes, &str)]) {
    let room = cases.iter().find_map(|(_, extra)| extra.lines().find(|line| line.starts_with("capacity_factor")));
    let single = scenario_of(model, seed, (1, 1, 1), room.unwrap_or_default());
    let reference = on_cpu(&single, lower(&single));
    for &(mesh, extra) in cases {
        let what = format!("model {seed}, (dp, tp, pp) {mesh:?}, {extra}");
        equals(&scenario_of(model, seed, mesh, extra), &reference, &what);
    }
}

/// A sharded scenario computes what the reference has, in the memory and with the bytes on every axis that are planned.
fn equals(sharded: &Scenario, reference: &Outcome, what: &str) {
    let graph = lower(sharded);
    graph.verify().unwrap_or_else(|error| panic!("{what}: {error}"));
    let modelled = shardlab_engine::cost::bytes_moved(&graph);
    agree(sharded, &on_cpu(sharded, graph), reference, what);
    plan_equals_pools(sharded, what);
    assert_eq!(modelled, moved(sharded), "{what}");
}

#[test]
fn every_sharding_over_replicas_equals_one_rank() {
    let cases = [
        ((2, 1, 1), "zero_stage = 1"),
        ((4, 1, 1), "zero_stage = 1\noverlap_parameters = false\noverlap_gradients = false"),
        ((2, 2, 2), "zero_stage = 1\nsequence_parallel = true"),
        ((4, 1, 2), "zero_stage = 1\nsharding_group = 2"),
        ((2, 1, 2), "zero_stage = 1\nschedule = \"zb-v\""),
        ((2, 1, 1), "zero_stage = 2"),
        // The slices of an embedding on both ends of a pipeline are filled up.
        ((1, 2, 2), "zero_stage = 2"),
        ((2, 2, 2), "zero_stage = 2\nrecompute = \"full\"\noverlap_parameters = false"),
        ((4, 2, 1), "zero_stage = 2\nsharding_group = 2\noverlap_gradients = false"),
        ((2, 1, 2), "zero_stage = 2\nschedule = \"zb-h1\""),
        ((2, 1, 1), "zero_stage = 3"),
        ((4, 1, 1), "zero_stage = 3\nprefetch = 0\nrecompute = \"full\""),
        ((8, 1, 1), "zero_stage = 3\nsharding_group = 4\nprefetch = 2"),
        ((2, 2, 2), "zero_stage = 3\nsequence_parallel = true\nreshard_after_forward = false"),
        ((2, 1, 2), "zero_stage = 3\nschedule = \"interleaved\""),
        ((2, 2, 2), "zero_stage = 3\nschedule = \"zb-h1\"\nrecompute = \"full\"\nsequence_parallel = true"),
    ];
    every_case_equals_one_rank(&[1, 0, 2], &cases);
}

#[test]
fn ranks_send_each_other_what_the_model_of_the_network_says() {
    for name in ["tiny-gpt-dp2-tp2", "tiny-llama-fsdp-dp4", "tiny-llama-interleaved-pp2"] {
        let scenario = Scenario::preset(name).expect("a preset");
        let mut trainer = pollster::block_on(Trainer::new(&scenario, backend(BackendKind::Cpu))).expect("executable");
        let result = pollster::block_on(trainer.step()).expect("a step runs");
        let step = trainer.step_graph();
        let trace = shardlab_engine::sim::simulate(step, &scenario);
        let (modelled, counted) = (network(step, &scenario, &trace, 0), executed_network(&result.trace, 0));
        let cells = |report: &NetworkReport| -> BTreeMap<_, _> {
            // The norm of the gradient is a number: what is sent of it is rounded to nothing here and there.
            let large = report.matrix.iter().filter(|cell| cell.axis != "model" && cell.from != cell.to);
            large.map(|cell| ((cell.axis, cell.from, cell.to), cell.bytes)).collect()
        };
        let (modelled, counted) = (cells(&modelled), cells(&counted));
        assert!(!counted.is_empty(), "{name}");
        assert!(modelled.keys().eq(counted.keys()), "{name}");
        for (cell, bytes) in &modelled {
            // The model deals evenly; where a value does not divide, a ring's last chunk is some elements shorter.
            assert!(bytes.0.abs_diff(counted[cell].0) <= 16, "{name} {cell:?}: {bytes:?}, {:?}", counted[cell]);
        }
    }
}

/// Bytes that an executed step moves, by axis.
fn moved(scenario: &Scenario) -> BTreeMap<&'static str, Bytes> {
    let mut trainer = pollster::block_on(Trainer::new(scenario, backend(BackendKind::Cpu))).expect("executable");
    pollster::block_on(trainer.step()).expect("a step runs").moved().into_iter().collect()
}

#[test]
fn llama_on_every_mesh_equals_one_rank() {
    every_mesh_equals_one_rank(0);
}

#[test]
fn gpt_with_a_tied_embedding_on_every_mesh_equals_one_rank() {
    every_mesh_equals_one_rank(1);
}

#[test]
fn tied_llama_with_grouped_queries_and_uneven_stages_on_every_mesh_equals_one_rank() {
    every_mesh_equals_one_rank(2);
}

#[test]
fn untied_gpt_with_a_vocabulary_that_does_not_divide_on_every_mesh_equals_one_rank() {
    every_mesh_equals_one_rank(3);
}

/// Lowers with some of the tensor-parallel collectives left out.
fn lower_broken(scenario: &Scenario, keep: impl Fn(&Op) -> bool) -> StepGraph {
    let graph =
        optimize::optimize(differentiate::differentiate(forward::forward(scenario)), scenario.strategy().optimizer);
    let graph = recompute::recompute(graph, scenario.strategy(), &shardlab_engine::graph::Repeats::default());
    let graph = shard::shard_with(graph, scenario.strategy(), keep);
    let graph = precision::precision(graph, scenario.strategy());
    plan_memory::plan_memory(schedule::schedule(graph, scenario))
}

/// Removes every op of the lowered step for which `broken` holds.
fn without(scenario: &Scenario, broken: impl Fn(&Op) -> bool) -> StepGraph {
    let mut step = lower(scenario);
    for segment in step.stages.iter_mut().flat_map(|stage| &mut stage.segments) {
        segment.graph = segment.graph.filter_map(|_, op| (!broken(op)).then(|| op.clone()), |_, id| Some(*id));
    }
    plan_memory::plan_memory(step)
}

/// A weight that is placed by the wrong dimension: rows are taken where columns are meant.
fn wrong_shard(scenario: &Scenario) -> StepGraph {
    let mut step = lower(scenario);
    let weight = step.tensors.iter_mut().find(|tensor| &*tensor.name == "layer 1 qkv weight");
    weight.expect("there is such a weight").placement = Placement::Shard(Dim::Rows);
    step
}

fn is_all_reduce(op: &Op, wanted: Group) -> bool {
    matches!(op.kind, OpKind::Collective { collective: Collective::AllReduce(_), group } if group == wanted)
}

#[test]
fn a_deliberately_broken_pass_fails_the_test() {
    let single = scenario(1, (1, 1, 1), "");
    let reference = on_cpu(&single, lower(&single));
    let sharded = scenario(1, (2, 2, 2), "");
    let (sound, worst) = distance(&on_cpu(&sharded, lower(&sharded)), &reference);
    assert!(sound <= TOLERANCE, "unbroken, it passes: {worst} is {sound:e} apart");
    let bucket = |op: &Op| is_all_reduce(op, Group::Data) && op.name.contains("bucket");
    let mutants = [
        ("no all-reduce after a projection", lower_broken(&sharded, |op| &*op.name != "layer 0 projection all-reduce")),
        ("no reduction of the loss's sums", lower_broken(&sharded, |op| &*op.name != "head loss sums all-reduce")),
        ("no gradient reduction over the replicas", without(&sharded, bucket)),
        ("no reduction of the tied embedding", without(&sharded, |op| is_all_reduce(op, Group::TiedEmbedding))),
        ("no reduction of the gradient norm", without(&sharded, |op| is_all_reduce(op, Group::Model))),
        ("a weight sharded by the wrong dimension", wrong_shard(&sharded)),
    ];
    for (what, graph) in mutants {
        let (apart, _) = distance(&on_cpu(&sharded, graph), &reference);
        assert!(apart > 10.0 * TOLERANCE, "{what} goes unnoticed: {apart:e}");
    }
}

#[test]
fn the_memory_plan_equals_what_the_pools_allocate_byte_for_byte() {
    let options =
        ["", "sequence_parallel = true\nrecompute = \"full\"", "schedule = \"gpipe\"\noverlap_gradients = false"];
    for seed in 0..4 {
        for mesh in [(1, 1, 1), (2, 2, 2), (1, 4, 2), (1, 1, 4), (4, 2, 1)] {
            for extra in options {
                plan_equals_pools(&scenario(seed, mesh, extra), &format!("model {seed} {mesh:?} {extra}"));
            }
        }
    }
}

fn plan_equals_pools(scenario: &Scenario, what: &str) {
    let trainer = pollster::block_on(Trainer::new(scenario, backend(BackendKind::Cpu))).expect("executable");
    let graph = trainer.step_graph();
    let per_stage = graph.mesh.per_stage() as usize;
    for (rank, pool) in trainer.pools().iter().enumerate() {
        let stage = &graph.stages[rank / per_stage];
        assert_eq!(stage.memory.at_peak, pool.usage.at_peak, "{what} rank {rank}");
        assert_eq!(stage.memory.peaks, pool.usage.peaks, "{what} rank {rank}");
        assert!(pool.reserved >= pool.usage.at_peak.total(), "{what} rank {rank}: what is handed out was created");
        let outside = trainer.outside()[rank].usage.at_peak.total();
        assert_eq!(stage.memory.outside, outside, "{what} rank {rank}: outside the device");
    }
    let reserved: Bytes = trainer.pools().iter().map(|pool| pool.reserved + pool.away).sum();
    let created = trainer.created();
    let outside: Bytes = trainer.outside().iter().map(|pool| pool.reserved).sum();
    assert_eq!(created, reserved + outside + trainer.staging(), "{what}: every buffer of the device is accounted for");
}

#[test]
fn bytes_on_every_axis_move_as_modelled() {
    for (mesh, extra) in [((2, 2, 2), ""), ((1, 4, 2), "sequence_parallel = true\nrecompute = \"full\"")] {
        let scenario = scenario(1, mesh, extra);
        let graph = lower(&scenario);
        let modelled = shardlab_engine::cost::bytes_moved(&graph);
        assert_eq!(modelled, moved(&scenario), "{mesh:?} {extra}");
    }
}

#[cfg(feature = "gpu")]
mod on_the_gpu {
    use super::*;

    /// The device, or `None` where there is none and nobody requires one; says so.
    pub fn gpu() -> Option<Backend> {
        match pollster::block_on(open(BackendKind::Wgpu)) {
            Ok(backend) => Some(backend),
            Err(error) if std::env::var_os("SHARDLAB_REQUIRE_GPU").is_some() => panic!("a GPU is required: {error}"),
            Err(error) => {
                eprintln!("SKIPPED: needs compute shaders; {error}");
                None
            }
        }
    }

    #[test]
    fn sharded_steps_on_the_gpu_equal_one_rank_on_the_cpu() {
        let ring = "context_parallel = 2";
        let by_heads = "context_parallel = 2\ncontext_method = \"all_to_all\"";
        for (seed, mesh, extra) in [
            (0, (1, 2, 1), "sequence_parallel = true"),
            (1, (2, 2, 2), "recompute = \"full\""),
            (2, (1, 2, 1), ring),
            (1, (1, 1, 1), by_heads),
            (0, (2, 1, 1), "offload_optimizer = \"host\"\noffload_activations = 1\nzero_stage = 1"),
        ] {
            let Some(device) = gpu() else { return };
            let single = scenario(seed, (1, 1, 1), "");
            let reference = on_cpu(&single, lower(&single));
            let sharded = scenario(seed, mesh, extra);
            let (apart, worst) = distance(&run(&sharded, lower(&sharded), device), &reference);
            assert!(apart <= TOLERANCE, "model {seed} {mesh:?} {extra}: {worst} is {apart:e} apart");
        }
    }

    #[test]
    fn spread_experts_with_latent_attention_on_the_gpu_equal_one_rank_on_the_cpu() {
        let Some(device) = gpu() else { return };
        let model = format!("{MIXTURE}\nkv_rank = 6\nrope_dim = 4\nvalue_dim = 5\nshared_experts = 1");
        let single = scenario_of(&model, 0, (1, 1, 1), "capacity_factor = 4.0");
        let reference = on_cpu(&single, lower(&single));
        let sharded = scenario_of(&model, 0, (2, 1, 1), "capacity_factor = 4.0\nexpert_parallel = 2");
        let (apart, worst) = distance(&run(&sharded, lower(&sharded), device), &reference);
        assert!(apart <= TOLERANCE, "{worst} is {apart:e} apart");
    }
}
