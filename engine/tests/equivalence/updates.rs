//! Rules by which gradients of other replicas reach the parameters later, against what their papers say, with plain gradient
//! descent, whose updates are the gradients.

use std::collections::BTreeMap;

use shardlab_engine::cost::bytes_moved;
use shardlab_engine::exec::{Backend, BackendKind, Trainer};
use shardlab_engine::graph::lower;
use shardlab_engine::scenario::Scenario;

use super::{Axes, MIXTURE, backend, model, moved, parsed, plan_equals_pools, text};

type Values = BTreeMap<String, Vec<f32>>;

const RATE: f32 = 0.25;

/// A scenario without clipping; `strategy` goes into `[strategy]`.
fn plain(mesh: Axes, strategy: &str, rate: f32) -> Scenario {
    plain_of(model(0), mesh, strategy, rate)
}

fn plain_of(model: &str, mesh: Axes, strategy: &str, rate: f32) -> Scenario {
    let text = text("fp32", model, 0, mesh, &format!("optimizer = \"sgd\"\n{strategy}"));
    parsed(&format!("{}learning_rate = {rate}\n", text.replace("gradient_clip = 0.5", "gradient_clip = 0.0")))
}

/// The parameters of every replica before, and after each of some steps.
fn course(scenario: &Scenario, steps: usize, backend: Backend) -> Vec<Vec<Values>> {
    let graph = lower(scenario);
    graph.verify().unwrap_or_else(|error| panic!("{error}"));
    pollster::block_on(async {
        let mut trainer = Trainer::new(scenario, backend).await.expect("the scenario is executable");
        let mut course = Vec::new();
        for step in 0..=steps {
            if step > 0 {
                trainer.step().await.expect("a step runs");
            }
            let mut all = Vec::new();
            for replica in 0..scenario.mesh().dp {
                all.push(trainer.parameters(replica).await.expect("parameters are read"));
            }
            course.push(all);
        }
        course
    })
}

fn on_cpu(scenario: &Scenario, steps: usize) -> Vec<Vec<Values>> {
    course(scenario, steps, backend(BackendKind::Cpu))
}

/// The gradients of step `step` for some parameters, of a run that has not moved.
fn gradients(parameters: &Values, step: usize) -> Values {
    let still = plain((1, 1, 1), "", 1e-30);
    pollster::block_on(async {
        let mut trainer = Trainer::new(&still, backend(BackendKind::Cpu)).await.expect("the scenario is executable");
        for _ in 1..step {
            trainer.step().await.expect("a step runs");
        }
        for (name, values) in parameters {
            trainer.set_parameter(name, values).expect("there is such a parameter");
        }
        trainer.step().await.expect("a step runs");
        let gradients = trainer.gradients().await.expect("gradients are read");
        gradients.into_iter().map(|(name, values)| (name.replace("gradient of ", ""), values)).collect()
    })
}

/// `from + factor · by`, element by element.
fn plus(from: &Values, factor: f32, by: &Values) -> Values {
    let sum = |(name, from): (&String, &Vec<f32>)| {
        (name.clone(), from.iter().zip(&by[name]).map(|(x, y)| x + factor * y).collect())
    };
    from.iter().map(sum).collect()
}

/// Parameters are near 1 at most, and gradients sums of some hundred terms: `TOLERANCE` of an update, and what rounds.
fn assert_near(found: &Values, expected: &Values, before: &Values, what: &str) {
    for (name, expected) in expected {
        let moved = expected.iter().zip(&before[name]).fold(0.0_f32, |most, (x, y)| most.max((x - y).abs()));
        let apart = found[name].iter().zip(expected).fold(0.0_f32, |most, (x, y)| most.max((x - y).abs()));
        assert!(
            apart <= 1e-4 * moved + 4.0 * f32::EPSILON,
            "{what}: {name} is {apart:e} apart after moving by {moved:e}"
        );
    }
}

/// Compressions that leave nothing out.
const WHOLE: [&str; 2] = [
    "gradient_compression = \"low_rank\"\ncompression_rank = 1000",
    "gradient_compression = \"top_k\"\ncompression_share = 1.0",
];

/// Another way to compute the same: the course of the first replica.
fn assert_same_course(found: &Scenario, expected: &Scenario, steps: usize, what: &str) {
    let (found, expected) = (on_cpu(found, steps), on_cpu(expected, steps));
    for (step, (found, expected_of_all)) in found.iter().zip(&expected).enumerate() {
        for (found, expected_of_replica) in found.iter().zip(expected_of_all) {
            assert_near(found, expected_of_replica, &expected[0][0], &format!("{what}, step {step}"));
        }
    }
}

fn sound(scenario: &Scenario, what: &str) {
    plan_equals_pools(scenario, what);
    assert_eq!(bytes_moved(&lower(scenario)), moved(scenario), "{what}");
}

#[test]
fn stale_gradients_are_applied_steps_later() {
    for (mesh, extra) in [((2, 1, 1), ""), ((2, 2, 2), ""), ((4, 1, 1), "overlap_gradients = false")] {
        for steps in [1, 2] {
            let what = format!("{steps} steps, {mesh:?} {extra}");
            let stale = plain(mesh, &format!("update = \"bounded_staleness\"\nstaleness = {steps}\n{extra}"), RATE);
            let course = on_cpu(&stale, steps + 2);
            assert!(course[..=steps].iter().all(|all| all[0] == course[0][0]), "{what}: nothing to apply yet");
            // The first two gradients are those of the first parameters.
            let first = plus(&course[0][0], -RATE, &gradients(&course[0][0], 1));
            assert_near(&course[steps + 1][0], &first, &course[0][0], &what);
            let second = plus(&first, -RATE, &gradients(&course[0][0], 2));
            assert_near(&course[steps + 2][0], &second, &first, &what);
            assert!(
                course
                    .iter()
                    .flatten()
                    .zip(course.iter().flat_map(|all| vec![&all[0]; all.len()]))
                    .all(|(a, b)| a == b)
            );
            sound(&stale, &what);
        }
    }
}

#[test]
fn rules_apply_the_same_gradients_where_compression_leaves_nothing_out() {
    let rules =
        ["bounded_staleness\"\nstaleness = 1", "bounded_staleness\"\nstaleness = 2", "local_sgd\"\nsync_interval = 2"];
    for rule in rules {
        let cases = [((2, 1, 1), ""), ((2, 2, 1), ""), ((2, 1, 2), "overlap_gradients = false")];
        for ((mesh, extra), way) in cases.into_iter().flat_map(|case| WHOLE.map(|way| (case, way))) {
            let what = format!("{rule} {way} {mesh:?} {extra}");
            let of = |more: &str| plain(mesh, &format!("update = \"{rule}\n{extra}\n{more}"), RATE);
            assert_same_course(&of(way), &of(""), 4, &what);
            if !rule.starts_with("local") {
                sound(&of(way), &what);
            }
        }
    }
}

/// Experts of which every replica has all, and a tied embedding whose two copies lie on different stages.
#[test]
fn rules_hold_for_experts_and_tied_embeddings() {
    let tied = model(2);
    for rule in ["bounded_staleness\"\nstaleness = 1", "asynchronous\"", "local_sgd\"\nsync_interval = 1"] {
        for (model, meshes) in [(MIXTURE, [(2, 1, 1), (2, 2, 1)]), (tied, [(2, 1, 2), (2, 2, 2)])] {
            for (mesh, extra) in
                meshes.into_iter().flat_map(|mesh| ["", "overlap_gradients = false"].map(|e| (mesh, e)))
            {
                let of = |mesh: Axes| {
                    let experts = if model == MIXTURE {
                        format!("capacity_factor = 4.0\nexpert_tensor_parallel = {}", mesh.1)
                    } else {
                        String::new()
                    };
                    plain_of(model, mesh, &format!("update = \"{rule}\n{extra}\n{experts}"), RATE)
                };
                let (dp, _, _) = mesh;
                let what = format!("{rule} {mesh:?} {extra}");
                assert_same_course(&of(mesh), &of((dp, 1, 1)), 3, &what);
                sound(&of(mesh), &what);
            }
        }
    }
}

#[test]
fn owners_apply_what_every_replica_pushes() {
    for (mesh, extra) in [((2, 1, 1), ""), ((2, 2, 2), ""), ((4, 1, 1), "micro_batch = 2")] {
        let what = format!("{mesh:?} {extra}");
        let pushed = plain(mesh, &format!("update = \"asynchronous\"\n{extra}"), RATE);
        let course = on_cpu(&pushed, 2);
        // Every replica's gradient is the mean over its own samples.
        let rate = RATE * mesh.0 as f32;
        let mut expected = course[0][0].clone();
        for step in [1, 2] {
            let before = expected.clone();
            expected = plus(&expected, -rate, &gradients(&expected, step));
            assert_near(&course[step][0], &expected, &before, &what);
            assert!(course[step].iter().all(|replica| *replica == course[step][0]), "{what}: all pull the same");
        }
        sound(&pushed, &what);
    }
}

#[test]
fn an_outer_step_moves_all_replicas_by_the_mean_of_what_they_did() {
    let local = |mesh: Axes, interval: u32, extra: &str| {
        plain(mesh, &format!("update = \"local_sgd\"\nsync_interval = {interval}\n{extra}"), RATE)
    };
    for (mesh, extra) in [((2, 1, 1), ""), ((2, 2, 2), ""), ((4, 1, 1), "zero_stage = 1\nsharding_group = 2")] {
        let what = format!("{mesh:?} {extra}");
        let (outer, alone) = (on_cpu(&local(mesh, 2, extra), 4), on_cpu(&local(mesh, 1000, extra), 2));
        assert_eq!(outer[1], alone[1], "{what}: the first step is each island's own");
        let last = outer[1].len() - 1;
        assert_ne!(outer[1][0], outer[1][last], "{what}: replicas have other samples");
        // Nesterov's first step is 1 + 0.9 times as long as the mean.
        let share = 1.0 / alone[2].len() as f32;
        let start = &alone[0][0];
        let zero: Values = start.iter().map(|(name, values)| (name.clone(), vec![0.0; values.len()])).collect();
        let mean = alone[2].iter().fold(zero, |sum, replica| plus(&plus(&sum, share, start), -share, replica));
        let expected = plus(start, -0.7 * 1.9, &mean);
        assert_near(&outer[2][0], &expected, start, &what);
        for (step, alike) in [(1, false), (2, true), (3, false), (4, true)] {
            let same = outer[step].iter().all(|replica| *replica == outer[step][0]);
            assert_eq!(same, alike, "{what}: step {step}");
        }
        // What a step moves: nothing between outer steps but inside the islands.
        plan_equals_pools(&local(mesh, 1, extra), &what);
        assert_eq!(bytes_moved(&lower(&local(mesh, 1, extra))), moved(&local(mesh, 1, extra)), "{what}");
        let (between, _) = local(mesh, 2, extra).between_outer_steps().expect("steps without an outer one");
        assert_eq!(bytes_moved(&lower(&between)), moved(&local(mesh, 2, extra)), "{what}, between outer steps");
    }
}

/// With an outer step after each, everything is as if the replicas had stepped together, but for the outer momentum.
#[test]
fn an_outer_step_after_every_step_is_momentum_on_the_gradients_of_all() {
    let scenario = plain((2, 1, 2), "update = \"local_sgd\"\nsync_interval = 1", RATE);
    let course = on_cpu(&scenario, 2);
    let [first, second] = [1, 2].map(|step| gradients(&course[step - 1][0], step));
    let one = plus(&course[0][0], -RATE * 0.7 * 1.9, &first);
    assert_near(&course[1][0], &one, &course[0][0], "the first step");
    let momentum = plus(&second, 0.9, &first);
    let two = plus(&plus(&course[1][0], -RATE * 0.7, &second), -RATE * 0.7 * 0.9, &momentum);
    assert_near(&course[2][0], &two, &course[1][0], "the second step");
}

#[test]
fn every_rule_goes_on_from_a_checkpoint() {
    for rule in ["\"bounded_staleness\"\nstaleness = 2", "\"asynchronous\"", "\"local_sgd\"\nsync_interval = 2"] {
        let scenario = plain((2, 1, 1), &format!("update = {rule}"), RATE);
        let whole = on_cpu(&scenario, 5);
        let resumed = pollster::block_on(async {
            let mut first = Trainer::new(&scenario, backend(BackendKind::Cpu)).await.expect("executable");
            for _ in 0..3 {
                first.step().await.expect("a step runs");
            }
            let file = first.checkpoint().await.expect("it is saved");
            let mut second = Trainer::new(&scenario, backend(BackendKind::Cpu)).await.expect("executable");
            second.resume(&file).await.expect("it goes on");
            for _ in 3..5 {
                second.step().await.expect("a step runs");
            }
            [second.parameters(0).await.expect("read"), second.parameters(1).await.expect("read")]
        });
        assert_eq!(resumed[..], whole[5][..], "{rule}");
    }
}

#[cfg(feature = "gpu")]
#[test]
fn a_gpu_updates_as_the_cpu_by_every_rule() {
    let rules = [
        "\"bounded_staleness\"\nstaleness = 1",
        "\"bounded_staleness\"\nstaleness = 2\ngradient_compression = \"low_rank\"\ncompression_rank = 2",
        "\"asynchronous\"",
        "\"local_sgd\"\nsync_interval = 2",
    ];
    for rule in rules {
        let Some(gpu) = super::on_the_gpu::gpu() else { return };
        let scenario = plain((2, 1, 1), &format!("update = {rule}"), RATE);
        let (found, expected) = (course(&scenario, 3, gpu), on_cpu(&scenario, 3));
        for (step, (found, expected)) in found.iter().zip(&expected).enumerate() {
            for (found, expected_of_replica) in found.iter().zip(expected) {
                let before = &on_cpu(&scenario, 0)[0][0];
                assert_near(found, expected_of_replica, before, &format!("{rule}, step {step}"));
            }
        }
    }
}

/// Weights in eight bits or four are written all at once, by a host's update and an outer step too.
#[cfg(feature = "gpu")]
#[test]
fn a_gpu_writes_short_weights_as_the_cpu() {
    for precision in ["fp8", "fp8_block", "nvfp4"] {
        for extra in ["update = \"local_sgd\"\nsync_interval = 1", "offload_optimizer = \"host\""] {
            let Some(gpu) = super::on_the_gpu::gpu() else { return };
            let scenario = parsed(&text(precision, model(0), 0, (2, 1, 1), extra));
            let loss = |backend| {
                pollster::block_on(async {
                    let mut trainer = Trainer::new(&scenario, backend).await.expect("the scenario is executable");
                    trainer.step().await.expect("a step runs");
                    trainer.step().await.expect("a step runs").loss
                })
            };
            let (found, expected) = (loss(gpu), loss(backend(BackendKind::Cpu)));
            // Of numbers that are rounded to four bits, one in the last place of fp32 may go to the other side.
            assert!((found / expected - 1.0).abs() < 1e-2, "{precision} {extra}: {found} and {expected}");
        }
    }
}
