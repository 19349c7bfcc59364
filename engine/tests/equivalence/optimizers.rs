//! Optimizers that know more of a parameter than its elements one by one: one update against the published rule in f64, and
//! every mesh against one rank.

use std::collections::BTreeMap;

use shardlab_engine::exec::{Backend, BackendKind, Trainer};
use shardlab_engine::graph::{Dim, Placement, Role, StepGraph, lower};
use shardlab_engine::scenario::Scenario;

use super::{Axes, MIXTURE, backend, model, plan_equals_pools, scenario_of};

type Values = BTreeMap<String, Vec<f32>>;

/// What some steps did to parameters.
struct Moved {
    /// The gradients of the first step, and their norm.
    gradients: Values,
    norm: f64,
    /// From the start to after each step.
    by: Vec<Values>,
    start: Values,
}

fn moved_by(scenario: &Scenario, steps: u32, backend: Backend) -> Moved {
    pollster::block_on(async {
        let mut trainer = Trainer::new(scenario, backend).await.expect("the scenario is executable");
        let start = trainer.parameters(0).await.expect("parameters are read");
        let (mut by, mut first) = (Vec::new(), None);
        for _ in 0..steps {
            let step = trainer.step().await.expect("a step runs");
            if first.is_none() {
                first = Some((step.gradient_norm, trainer.gradients().await.expect("gradients are read")));
            }
            let now = trainer.parameters(0).await.expect("parameters are read");
            for replica in 1..scenario.mesh().dp {
                assert_eq!(trainer.parameters(replica).await.expect("they are read"), now, "replicas drift apart");
            }
            let from_start = |(name, values): (String, Vec<f32>)| {
                let moved = values.iter().zip(&start[&name]).map(|(now, before)| now - before).collect();
                (name, moved)
            };
            by.push(now.into_iter().map(from_start).collect());
        }
        let (norm, gradients) = first.expect("there was a step");
        Moved { gradients, norm, by, start }
    })
}

/// Root mean square of the distance, relative to that of what is expected. Of parameters that hardly move only that counts
/// which rounding does not hide: the unit in the last place of the parameter.
fn apart(found: &[f32], expected: &[f32], start: &[f32]) -> f64 {
    let mean = |squares: &mut dyn Iterator<Item = f64>| squares.sum::<f64>() / expected.len() as f64;
    let square = mean(&mut expected.iter().map(|x| f64::from(*x).powi(2)));
    let noise = mean(&mut start.iter().map(|x| (f64::from(*x) * f64::from(f32::EPSILON)).powi(2)));
    let distance = mean(&mut found.iter().zip(expected).map(|(a, b)| f64::from(a - b).powi(2)));
    ((distance - noise).max(0.0) / square).sqrt()
}

fn all_apart(found: &Values, expected: &Values, start: &Values) -> (f64, String) {
    let each = expected.iter().map(|(name, expected)| (apart(&found[name], expected, &start[name]), name.clone()));
    let size = |apart: f64| if apart.is_nan() { f64::INFINITY } else { apart };
    each.max_by(|a, b| size(a.0).total_cmp(&size(b.0))).expect("there are parameters")
}

/// A matrix of a rank's part: which elements of the whole it has, row by row.
struct Matrix {
    rows: usize,
    cols: usize,
    elements: Vec<usize>,
}

/// The matrices of which a parameter consists: cut over the tensor group, and by experts.
fn matrices(graph: &StepGraph, name: &str) -> Vec<Matrix> {
    let named = |tensor: &&shardlab_engine::graph::Tensor| tensor.role == Role::Parameter && &*tensor.name == name;
    let tensor = graph.tensors.iter().find(named).expect("it is a parameter");
    let (rows, cols) = (tensor.shape.rows as usize, tensor.shape.cols as usize);
    let experts = match tensor.spread {
        shardlab_engine::graph::Spread::Experts => graph.dims.experts as usize,
        _ => 1,
    };
    let ranks = graph.mesh.tp as usize;
    let (down, across) = match tensor.placement {
        Placement::Shard(Dim::Rows) if experts == 1 => (ranks, 1),
        Placement::Shard(Dim::Cols) => (1, ranks),
        _ => (experts, 1),
    };
    // The last parts may be padded.
    let (height, width) = (rows.div_ceil(down), cols.div_ceil(across));
    let part = |(i, j): (usize, usize)| {
        let (own_rows, own_cols) = (height.min(rows - i * height), width.min(cols - j * width));
        let place = |e: usize| (i * height + e / own_cols) * cols + j * width + e % own_cols;
        Matrix { rows: own_rows, cols: own_cols, elements: (0..own_rows * own_cols).map(place).collect() }
    };
    (0..down).flat_map(|i| (0..across).map(move |j| (i, j))).map(part).collect()
}

/// The rate of the scenarios here, and what gradients are multiplied by.
fn factors(scenario: &Scenario, norm: f64) -> (f64, f64) {
    let run = scenario.run();
    (run.learning_rate, (run.gradient_clip / (norm + 1e-6)).min(1.0))
}

/// Shazeer & Stern 2018, algorithm 4, without the clipping of updates: the first step, in which the moments' bias cancels.
fn adafactor(gradient: &[f64], matrix: bool, m: &Matrix) -> Vec<f64> {
    let at = |i: usize, j: usize| gradient[i * m.cols + j];
    let row: Vec<f64> = (0..m.rows).map(|i| (0..m.cols).map(|j| at(i, j).powi(2)).sum()).collect();
    let column: Vec<f64> = (0..m.cols).map(|j| (0..m.rows).map(|i| at(i, j).powi(2)).sum()).collect();
    let total: f64 = row.iter().sum();
    let second = |i: usize, j: usize| if matrix { row[i] * column[j] / total } else { at(i, j).powi(2) };
    let update = |e: usize| gradient[e] / (second(e / m.cols, e % m.cols).sqrt() + 1e-8);
    (0..gradient.len()).map(|e| if gradient[e] == 0.0 { 0.0 } else { update(e) }).collect()
}

fn bf16(x: f64) -> f64 {
    use shardlab_engine::exec::Format;
    f64::from(Format::Bf16.decode(Format::Bf16.encode(x as f32)))
}

fn product(a: &[f64], b: &[f64], [m, k, n]: [usize; 3]) -> Vec<f64> {
    let dot = |e: usize| bf16((0..k).map(|t| a[e / n * k + t] * b[t * n + e % n]).sum());
    (0..m * n).map(dot).collect()
}

fn transposed(x: &[f64], rows: usize, cols: usize) -> Vec<f64> {
    (0..rows * cols).map(|e| x[e % rows * cols + e / rows]).collect()
}

/// Newton-Schulz iterations as Jordan et al. 2024 publish them, in bf16.
fn orthogonal(x: &[f64], rows: usize, cols: usize) -> Vec<f64> {
    let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt() + 1e-7;
    let mut x: Vec<f64> = x.iter().map(|x| bf16(x / norm)).collect();
    if rows > cols {
        return transposed(&orthogonal(&transposed(&x, rows, cols), cols, rows), cols, rows);
    }
    for _ in 0..5 {
        let gram = product(&x, &transposed(&x, rows, cols), [rows, cols, rows]);
        let square = product(&gram, &gram, [rows; 3]);
        let polynomial: Vec<f64> = gram.iter().zip(&square).map(|(a, s)| bf16(-4.775 * a + 2.0315 * s)).collect();
        let of_x = product(&polynomial, &x, [rows, rows, cols]);
        x = x.iter().zip(&of_x).map(|(x, p)| bf16(3.4445 * x + p)).collect();
    }
    x
}

/// Liu et al. 2025, equations 1 and 4: the first step.
fn muon(gradient: &[f64], m: &Matrix) -> Vec<f64> {
    let momentum: Vec<f64> = gradient.iter().map(|g| bf16(*g)).collect();
    let scale = 0.2 * (m.rows.max(m.cols) as f64).sqrt();
    orthogonal(&momentum, m.rows, m.cols).iter().map(|x| scale * x).collect()
}

/// The first update of all parameters by the published rule.
fn published(scenario: &Scenario, moved: &Moved) -> Values {
    let (graph, (rate, factor)) = (lower(scenario), factors(scenario, moved.norm));
    let mut all = Values::new();
    for (name, start) in &moved.start {
        let gradient = &moved.gradients[&format!("gradient of {name}")];
        let tensor =
            graph.tensors.iter().find(|t| t.role == Role::Parameter && *t.name == **name).expect("it is there");
        let (matrix, of_layer) = (tensor.shape.cols > 1, name.starts_with("layer"));
        let mut update = vec![0.0_f32; gradient.len()];
        for part in matrices(&graph, name) {
            let own: Vec<f64> = part.elements.iter().map(|&e| f64::from(gradient[e]) * factor).collect();
            let direction = match scenario.strategy().optimizer.name() {
                "adafactor" => adafactor(&own, matrix, &part),
                "muon" if matrix && of_layer => muon(&own, &part),
                // In the first step the moments are the gradient and its square, not rounded yet.
                _ => own.iter().map(|g| g / (g.abs() + 1e-8)).collect(),
            };
            let decay = match scenario.strategy().optimizer.decays() && matrix {
                true => scenario.run().weight_decay,
                false => 0.0,
            };
            for (&element, direction) in part.elements.iter().zip(direction) {
                update[element] = (-rate * (direction + decay * f64::from(start[element]))) as f32;
            }
        }
        all.insert(name.clone(), update);
    }
    all
}

const OPTIMIZERS: [&str; 3] = ["adam_8bit", "adafactor", "muon"];

fn with(optimizer: &str, model: &str, mesh: Axes, extra: &str) -> Scenario {
    scenario_of(model, 0, mesh, &format!("optimizer = \"{optimizer}\"\n{extra}"))
}

/// In fp32 the rules of Adam and Adafactor differ from f64 by some units in the last place; of Muon, what lies near the
/// middle of two bf16 numbers may be rounded the other way, by 2⁻⁸ of an element, and the iterations make the smallest
/// singular values up to 3.4445⁵ times as large. Half of all updates being that of other values would be 1.
fn bound(optimizer: &str) -> f64 {
    if optimizer == "muon" { 5e-2 } else { 1e-3 }
}

/// How far what 8-bit moments make of noticeable gradients may be apart, where the blocks are others: of moments of at least
/// a hundredth of a block's largest, half a cell is at most 7 % of a first and 7 % of a second moment, whose root is taken.
const OTHER_BLOCKS: f64 = 0.07 + 0.035;

/// The distance of the updates of all elements whose gradient is at least a tenth of the largest there is.
fn noticeable_apart(found: &Moved, expected: &Moved, step: usize) -> f64 {
    let most = expected.gradients.values().flatten().fold(0.0_f32, |most, g| most.max(g.abs()));
    let (mut distance, mut square, mut count) = (0.0, 0.0, 0);
    for (name, expected_moves) in &expected.by[step] {
        let gradient = &expected.gradients[&format!("gradient of {name}")];
        for ((x, y), g) in found.by[step][name].iter().zip(expected_moves).zip(gradient) {
            if g.abs() >= 0.1 * most {
                (distance, square, count) =
                    (distance + f64::from(x - y).powi(2), square + f64::from(*y).powi(2), count + 1);
            }
        }
    }
    assert!(count > 10, "only {count} gradients are noticeable");
    (distance / square).sqrt()
}

#[test]
fn an_update_is_the_published_one() {
    for optimizer in OPTIMIZERS {
        let cases = [
            (model(0), (1, 1, 1), ""),
            // What the tensor group cuts is updated by its parts.
            (model(0), (1, 2, 1), "sequence_parallel = true"),
            (model(1), (2, 2, 1), ""),
            (MIXTURE, (1, 1, 1), "capacity_factor = 4.0"),
        ];
        for (model, mesh, extra) in cases {
            let scenario = with(optimizer, model, mesh, extra);
            let moved = moved_by(&scenario, 1, backend(BackendKind::Cpu));
            let (apart, worst) = all_apart(&moved.by[0], &published(&scenario, &moved), &moved.start);
            assert!(apart <= bound(optimizer), "{optimizer} {mesh:?}: {worst} is {apart:e} apart");
        }
    }
}

#[test]
fn every_mesh_updates_alike() {
    let cases = [
        (model(0), (2, 1, 2), ""),
        (model(1), (4, 1, 1), "zero_stage = 1"),
        (model(0), (2, 1, 2), "zero_stage = 2"),
        (model(0), (4, 1, 1), "zero_stage = 3"),
        (model(0), (4, 1, 2), "zero_stage = 1\nsharding_group = 2"),
        (MIXTURE, (4, 1, 1), "capacity_factor = 4.0\nexpert_parallel = 2\nzero_stage = 1"),
        (MIXTURE, (2, 1, 1), "capacity_factor = 4.0\nexpert_parallel = 2"),
    ];
    for optimizer in OPTIMIZERS {
        for (model, mesh, extra) in cases {
            let alone = if model == MIXTURE { "capacity_factor = 4.0" } else { "" };
            let reference = moved_by(&with(optimizer, model, (1, 1, 1), alone), 2, backend(BackendKind::Cpu));
            let scenario = with(optimizer, model, mesh, extra);
            let what = format!("{optimizer} {mesh:?} {extra}");
            lower(&scenario).verify().unwrap_or_else(|error| panic!("{what}: {error}"));
            let found = moved_by(&scenario, 2, backend(BackendKind::Cpu));
            // A slice has blocks of its own, and so has a rank's part of the experts.
            let other_blocks = optimizer == "adam_8bit" && !extra.is_empty();
            for step in [0, 1] {
                if other_blocks && step > 0 {
                    let apart = noticeable_apart(&found, &reference, step);
                    assert!(apart <= OTHER_BLOCKS, "{what}, step {step}: {apart:e} apart");
                    continue;
                }
                let (apart, worst) = all_apart(&found.by[step], &reference.by[step], &reference.start);
                assert!(apart <= bound(optimizer), "{what}, step {step}: {worst} is {apart:e} apart");
            }
            plan_equals_pools(&scenario, &what);
        }
    }
}

#[test]
fn rules_without_a_second_moment_update_outside_the_device() {
    for optimizer in ["sgd", "momentum"] {
        for (mesh, extra) in [
            ((2, 1, 1), "offload_optimizer = \"host\"\nzero_stage = 1"),
            ((2, 1, 1), "offload_optimizer = \"nvme\"\noffload_parameters = \"host\"\nzero_stage = 3"),
        ] {
            let what = format!("{optimizer} {extra}");
            let reference = moved_by(&with(optimizer, model(0), (1, 1, 1), ""), 2, backend(BackendKind::Cpu));
            let scenario = with(optimizer, model(0), mesh, extra);
            let found = moved_by(&scenario, 2, backend(BackendKind::Cpu));
            let (apart, worst) = all_apart(&found.by[1], &reference.by[1], &reference.start);
            assert!(apart <= bound(optimizer), "{what}: {worst} is {apart:e} apart");
            plan_equals_pools(&scenario, &what);
        }
    }
}

#[cfg(feature = "gpu")]
#[test]
fn a_gpu_updates_as_the_cpu() {
    for optimizer in OPTIMIZERS {
        let Some(gpu) = super::on_the_gpu::gpu() else { return };
        let scenario =
            with(optimizer, MIXTURE, (2, 1, 1), "capacity_factor = 4.0\nexpert_parallel = 2\nzero_stage = 1");
        let [on_gpu, on_cpu] = [gpu, backend(BackendKind::Cpu)].map(|backend| moved_by(&scenario, 1, backend));
        let (apart, worst) = all_apart(&on_gpu.by[0], &on_cpu.by[0], &on_cpu.start);
        assert!(apart <= bound(optimizer), "{optimizer}: {worst} is {apart:e} apart");
    }
}
