//! The gradient of the whole graph against finite differences of the executed loss: what `differentiate` leaves out
//! or counts twice shows here, whatever the kernels do.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;

use shardlab_engine::exec::{BackendKind, Trainer, open};
use shardlab_engine::scenario::{Opened, Scenario, check, open as open_scenario};

fn scenario(model: &str, extra: &str) -> Scenario {
    let text = format!(
        "[model]\n{model}\npositions = 16\nvocab = 80\n[cluster]\ndevice = \"a100-80gb-sxm\"\n[strategy]\n\
         data_parallel = 1\nmicro_batch = 2\nglobal_batch = 4\nprecision = \"fp32\"\n{extra}\n[run]\n\
         learning_rate = 0.0\nweight_decay = 0.0\n"
    );
    let Ok(Opened::Scenario(file)) = open_scenario(text.as_bytes()) else { panic!("a scenario: {text}") };
    check(&file).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// Whole tensors by name.
type Tensors = BTreeMap<String, Vec<f32>>;

/// The loss of the first batch with some parameters replaced, all gradients, all parameters.
fn loss_and_gradients(scenario: &Scenario, changed: &Tensors) -> (f64, Tensors, Tensors) {
    pollster::block_on(async {
        let backend = open(BackendKind::Cpu).await.expect("the CPU is there");
        let mut trainer = Trainer::new(scenario, backend).await.expect("it can be trained");
        for (name, value) in changed {
            trainer.set_parameter(name, value).expect("there is such a parameter");
        }
        let loss = trainer.step().await.expect("a step").loss;
        (loss, trainer.gradients().await.expect("gradients"), trainer.parameters(0).await.expect("parameters"))
    })
}

/// Weights far enough from zero that every branch of the graph carries a gradient worth measuring.
fn enlarged(parameters: &Tensors) -> Tensors {
    let enlarge = |(index, &x): (usize, &f32)| 6.0 * x + 0.05 * ((index % 7) as f32 - 3.0);
    let of_one = |(name, value): (&String, &Vec<f32>)| {
        let norm = name.ends_with("norm weight");
        let new = value.iter().enumerate().map(|pair| if norm { 0.2 + enlarge(pair) / 6.0 } else { enlarge(pair) });
        (name.clone(), new.collect())
    };
    parameters.iter().map(of_one).collect()
}

/// Along the gradient g of one parameter the loss changes by 2·ε·|g| to second order in ε. The step is chosen so that
/// this is `CHANGE`: far above the rounding of an fp32 loss (4·10⁻⁷), far below where curvature shows.
const CHANGE: f64 = 0.004;
const TOLERANCE: f64 = 0.02;

fn check_model(model: &str, extra: &str) {
    let scenario = scenario(model, extra);
    let (_, _, initial) = loss_and_gradients(&scenario, &BTreeMap::new());
    let start = enlarged(&initial);
    let (_, gradients, _) = loss_and_gradients(&scenario, &start);
    for (name, gradient) in &gradients {
        let parameter = name.strip_prefix("gradient of ").expect("gradients are named after parameters");
        let norm = gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        assert!(norm > 1e-4, "{parameter} has a gradient: {norm}");
        let epsilon = CHANGE / (2.0 * norm);
        let along = |sign: f64| {
            let step = |(&x, &g): (&f32, &f32)| (f64::from(x) + sign * epsilon * f64::from(g) / norm) as f32;
            let moved = start[parameter].iter().zip(gradient).map(step).collect();
            let mut changed = start.clone();
            changed.insert(parameter.to_owned(), moved);
            loss_and_gradients(&scenario, &changed).0
        };
        let measured = (along(1.0) - along(-1.0)) / (2.0 * epsilon);
        let apart = (measured / norm - 1.0).abs();
        assert!(apart < TOLERANCE, "{parameter} in {model} {extra}: {measured} measured, {norm} computed");
    }
}

#[test]
fn gpt_with_tied_embeddings() {
    check_model(
        "architecture = \"gpt\"\nlayers = 2\nhidden = 12\nheads = 3\nffn_hidden = 20\ntied_embeddings = true",
        "",
    );
}

#[test]
fn llama_with_grouped_queries_and_recomputation() {
    let model = "architecture = \"llama\"\nlayers = 2\nhidden = 12\nheads = 4\nkv_heads = 2\nhead_dim = 4\n\
                 ffn_hidden = 18\ntied_embeddings = false";
    check_model(model, "recompute = \"full\"");
}
