//! Dropout: every mesh drops the same elements, other steps and seeds drop others.

use shardlab_engine::exec::Trainer;
use shardlab_engine::graph::lower;

use super::{Axes, BackendKind, MIXTURE, agree, backend, distance, model, on_cpu, plan_equals_pools, scenario_of};

fn agree_with(model: &str, seed: u32, alone: &str, cases: &[(Axes, &str)]) {
    let reference = scenario_of(model, seed, (1, 1, 1), alone);
    let reference = on_cpu(&reference, lower(&reference));
    for (mesh, extra) in cases {
        let sharded = scenario_of(model, seed, *mesh, &format!("{alone}\n{extra}"));
        let (graph, what) = (lower(&sharded), format!("{mesh:?} {extra}"));
        graph.verify().unwrap_or_else(|error| panic!("{what}: {error}"));
        agree(&sharded, &on_cpu(&sharded, graph), &reference, &what);
        plan_equals_pools(&sharded, &what);
    }
}

#[test]
fn every_mesh_drops_the_same() {
    let cases = [
        ((2, 1, 1), "micro_batch = 2"),
        ((1, 2, 2), "sequence_parallel = true\nrecompute = \"full\""),
        ((2, 2, 1), "zero_stage = 3"),
        ((1, 1, 2), "schedule = \"interleaved\"\nvirtual_stages = 2"),
        ((1, 1, 1), "context_parallel = 2"),
        ((1, 2, 1), "context_parallel = 2\ncontext_method = \"all_to_all\"\nsequence_parallel = true"),
        ((1, 1, 2), "offload_activations = 2"),
        ((1, 2, 1), "sequence_parallel = true\nmicro_batch = 2\ntensor_chunks = 2"),
    ];
    for seed in [0, 1] {
        agree_with(&format!("{}\ndropout = 0.2", model(seed)), seed, "", &cases[..8 - seed as usize]);
    }
    let mixture = format!("{MIXTURE}\ndropout = 0.1");
    agree_with(&mixture, 0, "capacity_factor = 4.0", &[((2, 1, 1), "expert_parallel = 2")]);
}

#[test]
fn probabilities_are_dropped_alike_where_they_are_stored() {
    let cases = [((1, 2, 1), ""), ((2, 2, 1), "recompute = \"selective\""), ((1, 4, 2), "sequence_parallel = true")];
    agree_with(&format!("{}\ndropout = 0.2", model(1)), 1, "attention = \"unfused\"", &cases);
}

#[test]
fn dropping_changes_what_is_learned_and_every_step_drops_others() {
    let [without, with] = ["", "\ndropout = 0.2"].map(|dropout| {
        let scenario = scenario_of(&format!("{}{dropout}", model(0)), 0, (1, 1, 1), "");
        on_cpu(&scenario, lower(&scenario))
    });
    assert!(distance(&with, &without).0 > 0.01, "something is dropped");
    // A step that is repeated from the start gives the same, to the bit.
    let scenario = scenario_of(&format!("{}\ndropout = 0.2", model(0)), 0, (1, 1, 1), "");
    let losses = || {
        pollster::block_on(async {
            let mut trainer = Trainer::new(&scenario, backend(BackendKind::Cpu)).await.expect("executable");
            [trainer.step().await.expect("it runs").loss, trainer.step().await.expect("it runs").loss]
        })
    };
    assert_eq!(losses(), losses());
}

#[cfg(feature = "gpu")]
#[test]
fn a_gpu_drops_the_same() {
    let Some(gpu) = super::on_the_gpu::gpu() else { return };
    let scenario = scenario_of(&format!("{}\ndropout = 0.2", model(1)), 1, (2, 2, 1), "attention = \"unfused\"");
    let (found, expected) = (super::run(&scenario, lower(&scenario), gpu), on_cpu(&scenario, lower(&scenario)));
    let (apart, worst) = distance(&found, &expected);
    assert!(apart <= super::TOLERANCE, "{worst} is {apart:e} apart");
}
