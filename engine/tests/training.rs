//! A model really learns: on the shipped text its loss falls clearly below the unigram entropy.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use shardlab_engine::exec::{BackendKind, Trainer, dataset, open};
use shardlab_engine::scenario::{Opened, Scenario, check, open as open_scenario};

/// Steps that are trained.
const STEPS: u32 = 300;

fn scenario() -> Scenario {
    let text = "[model]\narchitecture = \"llama\"\nlayers = 2\nhidden = 48\nheads = 4\nffn_hidden = 128\nvocab = 80\n\
        positions = 64\n[cluster]\ndevice = \"h100-80gb-sxm\"\n[strategy]\ndata_parallel = 1\nmicro_batch = 8\n\
        global_batch = 8\nprecision = \"fp32\"\n[data]\nsequence_length = 32\n[run]\nlearning_rate = 6e-3\n";
    let Ok(Opened::Scenario(file)) = open_scenario(text.as_bytes()) else { panic!("a scenario") };
    check(&file).expect("a valid scenario")
}

#[test]
fn loss_falls_clearly_below_the_unigram_entropy_of_the_text() {
    let unigram = dataset("persuasion").unigram_entropy();
    let losses: Vec<f64> = pollster::block_on(async {
        let backend = open(BackendKind::Cpu).await.expect("the CPU is always there");
        let mut trainer = Trainer::new(&scenario(), backend).await.expect("executable");
        let mut losses = Vec::new();
        for _ in 0..STEPS {
            losses.push(trainer.step().await.expect("a step runs").loss);
        }
        losses
    });
    // Before training every one of 80 tokens is as likely as any other.
    assert!((losses[0] - 80.0_f64.ln()).abs() < 0.1, "first loss {}", losses[0]);
    let last = &losses[losses.len() - 20..];
    let mean = last.iter().sum::<f64>() / last.len() as f64;
    // A quarter of a nat below: what single characters' frequencies cannot explain.
    assert!(mean < unigram - 0.25, "loss {mean} after {STEPS} steps, unigram entropy {unigram}");
}
