//! Gradients that are made smaller on their way between replicas: how far they may be from those that are not, and that what
//! was not sent is kept.

use std::collections::BTreeMap;

use shardlab_engine::cost::bytes_moved;
use shardlab_engine::exec::{Backend, BackendKind, ExecError, Trainer};
use shardlab_engine::graph::{Role, Storage, lower};
use shardlab_engine::scenario::Scenario;

use super::{Axes, TOLERANCE, agree, backend, model, moved, on_cpu, parsed, plan_equals_pools, run, scenario, text};

type Values = BTreeMap<String, Vec<f32>>;

fn compressed(seed: u32, mesh: Axes, extra: &str) -> Scenario {
    scenario(seed, mesh, &format!("gradient_compression = {extra}"))
}

/// The distance of all gradients of a step, in the Euclidean norm, relative to theirs.
fn relative(found: &Values, exact: &Values) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
    let mut differences =
        exact.iter().flat_map(|(name, exact)| found[name].iter().zip(exact).map(|(x, y)| f64::from(x - y)));
    (square(&mut differences) / square(&mut exact.values().flatten().map(|&x| f64::from(x)))).sqrt()
}

/// Terms of N replicas are rounded once, and each of their N - 1 sums again. A term is about √N times as large beside the sum
/// as its share, since the replicas' samples differ.
fn bound_of_casts(roundoff: f64, replicas: f64) -> f64 {
    roundoff * (2.0 * replicas).sqrt() * replicas.sqrt()
}

/// A scale is less than 2 / 127 of the largest of its 256 numbers, and an integer within half of it, evenly: in the norm of
/// a block `√256 · 2 / (127 √12)` of the largest for each of N + 1 roundings, of terms √N times as large as their share.
fn bound_of_blocks(replicas: f64) -> f64 {
    16.0 * 2.0 / (127.0 * 12.0_f64.sqrt()) * (replicas + 1.0).sqrt() * replicas.sqrt()
}

#[test]
fn gradients_in_fewer_bits_are_as_near_as_these_allow() {
    let cases = [((2, 1, 1), ""), ((2, 2, 1), "zero_stage = 1"), ((4, 1, 2), ""), ((4, 1, 1), "zero_stage = 3")];
    for (way, bits) in [("\"bf16\"", 8), ("\"fp16\"", 11), ("\"int8\"", 0)] {
        for (mesh, extra) in cases {
            let what = format!("{way} {mesh:?} {extra}");
            let exact = scenario(0, (1, 1, 1), "");
            let exact = on_cpu(&exact, lower(&exact));
            let sharded = compressed(0, mesh, &format!("{way}\n{extra}"));
            let graph = lower(&sharded);
            graph.verify().unwrap_or_else(|error| panic!("{what}: {error}"));
            let found = on_cpu(&sharded, graph.clone());
            let (apart, replicas) = (relative(&found.gradients, &exact.gradients), f64::from(mesh.0));
            let bound = match bits {
                0 => bound_of_blocks(replicas),
                _ => bound_of_casts(2.0_f64.powi(-bits), replicas),
            };
            assert!(apart <= bound, "{what}: {apart:e} apart, more than {bound:e}");
            assert!(apart > bound / 100.0, "{what}: nothing was rounded, {apart:e} is far below {bound:e}");
            assert_eq!(found.strays, None, "{what}: replicas have drifted apart");
            plan_equals_pools(&sharded, &what);
            assert_eq!(bytes_moved(&graph), moved(&sharded), "{what}");
        }
    }
}

#[test]
fn all_elements_and_factors_as_wide_as_the_matrices_are_all_of_the_gradients() {
    for way in ["\"top_k\"\ncompression_share = 1.0", "\"low_rank\"\ncompression_rank = 1000"] {
        let late = "overlap_gradients = false";
        for (mesh, extra) in [((2, 1, 1), ""), ((4, 1, 2), ""), ((2, 2, 1), ""), ((4, 1, 1), late), ((2, 1, 2), late)] {
            let reference = scenario(1, (1, 1, 1), "");
            let reference = on_cpu(&reference, lower(&reference));
            let sharded = compressed(1, mesh, &format!("{way}\n{extra}"));
            let what = format!("{way} {mesh:?} {extra}");
            agree(&sharded, &on_cpu(&sharded, lower(&sharded)), &reference, &what);
            plan_equals_pools(&sharded, &what);
        }
    }
}

/// Applied gradients of some steps, and what the replicas keep of each in the end.
fn applied(scenario: &Scenario, steps: u32, backend: Backend) -> (Values, Values) {
    pollster::block_on(async {
        let mut trainer = Trainer::new(scenario, backend).await.expect("the scenario is executable");
        let mut sums = Values::new();
        for _ in 0..steps {
            trainer.step().await.expect("a step runs");
            for (name, values) in trainer.gradients().await.expect("gradients are read") {
                let sum = sums.entry(name).or_insert_with(|| vec![0.0; values.len()]);
                sum.iter_mut().zip(values).for_each(|(sum, x)| *sum += x);
            }
        }
        let graph = trainer.step_graph().clone();
        let file = trainer.checkpoint().await.expect("it is saved");
        let tensors = safetensors::SafeTensors::deserialize(&file).expect("a file of tensors");
        let mut kept = Values::new();
        for gradient in graph.tensors.iter().filter(|tensor| tensor.role == Role::Gradient) {
            let Storage::View { of, offset } = gradient.storage else { continue };
            let error = format!("/error of {}", graph.tensor(of).name);
            let (first, n) = (usize::try_from(offset).unwrap(), usize::try_from(gradient.local.elements()).unwrap());
            let sum = kept.entry(gradient.name.to_string()).or_insert_with(|| vec![0.0; n]);
            for (_, tensor) in tensors.tensors().iter().filter(|(name, _)| name.ends_with(&error)) {
                let words: Vec<f32> = bytemuck::pod_collect_to_vec(tensor.data());
                sum.iter_mut().zip(&words[first..first + n]).for_each(|(sum, x)| *sum += x);
            }
        }
        (sums, kept)
    })
}

/// With parameters that stay where they are: what was sent and what is kept is all there was.
#[test]
fn what_was_not_sent_is_kept_until_it_is() {
    for way in ["\"top_k\"\ncompression_share = 0.1", "\"low_rank\"\ncompression_rank = 2"] {
        let still =
            |extra: &str| parsed(&format!("{}learning_rate = 1e-30\n", text("fp32", model(0), 0, (2, 1, 1), extra)));
        let [whole, sharded] = [still(""), still(&format!("gradient_compression = {way}"))];
        for steps in [1, 4] {
            let (exact, _) = applied(&whole, steps, backend(BackendKind::Cpu));
            let (mut found, kept) = applied(&sharded, steps, backend(BackendKind::Cpu));
            let sent = relative(&found, &exact);
            assert!(sent > 0.05, "{way}: something was not sent, {sent}");
            for (name, values) in &mut found {
                values.iter_mut().zip(&kept[name]).for_each(|(sent, kept)| *sent += kept);
            }
            let apart = relative(&found, &exact);
            assert!(apart <= TOLERANCE, "{way} after {steps} steps: {apart:e} is lost");
        }
    }
}

#[cfg(feature = "gpu")]
#[test]
fn a_gpu_compresses_as_the_cpu() {
    for way in ["\"fp16\"", "\"int8\"", "\"top_k\"\ncompression_share = 0.3", "\"low_rank\"\ncompression_rank = 3"] {
        let Some(gpu) = super::on_the_gpu::gpu() else { return };
        let sharded = compressed(2, (2, 1, 2), way);
        let (found, expected) = (run(&sharded, lower(&sharded), gpu), on_cpu(&sharded, lower(&sharded)));
        let apart = relative(&found.gradients, &expected.gradients);
        // Where both compute something else in the last place, one may round up, or choose another element.
        assert!(apart <= 10.0 * TOLERANCE, "{way}: {apart:e} apart");
    }
}

#[test]
fn halves_that_may_overflow_are_refused_where_that_would_be_kept() {
    let cases = [
        "gradient_compression = \"top_k\"",
        "gradient_compression = \"low_rank\"",
        "update = \"bounded_staleness\"",
        "update = \"local_sgd\"",
    ];
    for extra in cases {
        let scenario = parsed(&text("fp16", model(0), 0, (2, 1, 1), extra));
        let refused = pollster::block_on(Trainer::new(&scenario, backend(BackendKind::Cpu)));
        assert!(matches!(refused, Err(ExecError::Overflow)), "{extra}");
    }
}
