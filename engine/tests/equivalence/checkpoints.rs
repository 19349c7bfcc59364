//! A run that goes on from a checkpoint ends with the very bits of one that was never interrupted.

use shardlab_engine::exec::{BackendKind, CheckpointForm, ExecError, Packed, Trainer};
use shardlab_engine::graph::lower;
use shardlab_engine::scenario::Scenario;

use super::backend;

/// Presets that keep everything that there is from step to step: slices of weights and moments, masters beside weights in
/// fewer bits and outside the device, loss scales, experts, running statistics, tables with an optimizer of their own.
const PRESETS: [&str; 9] = [
    "tiny-llama-1",
    "tiny-llama-fsdp-dp4",
    "tiny-llama-bf16-dp2-tp2",
    "tiny-gpt-fp16-pp2",
    "tiny-llama-fp8-dp2",
    "tiny-llama-offload-dp2",
    "tiny-mixture-ep4",
    "tiny-resnet-dp2",
    "tiny-dlrm-dp2",
];

fn trainer(scenario: &Scenario) -> Trainer {
    let graph = lower(scenario);
    pollster::block_on(Trainer::of_graph(scenario, graph, backend(BackendKind::Cpu))).expect("it can be executed")
}

fn train(trainer: &mut Trainer, steps: u32) -> Vec<u64> {
    (0..steps).map(|_| pollster::block_on(trainer.step()).expect("a step runs").loss.to_bits()).collect()
}

fn checkpoint(trainer: &mut Trainer) -> Vec<u8> {
    pollster::block_on(trainer.checkpoint()).expect("the CPU is there")
}

#[test]
fn a_run_that_goes_on_ends_as_one_that_was_not_interrupted() {
    for preset in PRESETS {
        let scenario = Scenario::preset(preset).expect("a preset");
        let mut whole = trainer(&scenario);
        train(&mut whole, 1);
        let saved = checkpoint(&mut whole);
        let losses = train(&mut whole, 2);
        let mut second = trainer(&scenario);
        assert_eq!(pollster::block_on(second.resume(&saved)), Ok(1), "{preset}");
        assert_eq!(train(&mut second, 2), losses, "{preset}: losses");
        assert!(checkpoint(&mut second) == checkpoint(&mut whole), "{preset}: everything that is kept");
    }
}

/// What is packed in shards, once for all replicas and compressed, is the same to the bit; what is rounded is near it.
#[test]
fn a_run_goes_on_from_every_form() {
    for preset in PRESETS {
        let scenario = Scenario::preset(preset).expect("a preset");
        let mut whole = trainer(&scenario);
        train(&mut whole, 1);
        let form = CheckpointForm { sharded: true, compressed: true, once: true, reduced: false };
        for reduced in [false, true] {
            let state = pollster::block_on(whole.state(reduced)).expect("the CPU is there");
            let packed = Packed::of(&state, form).expect("it is small");
            let file = |name: &str, _| {
                let place = packed.index.files.iter().position(|file| file.name == name).expect("a file");
                Ok(packed.files[place].clone())
            };
            let mut second = trainer(&scenario);
            let unpacked = packed.index.unpack(second.most_kept(), file).expect("nothing was changed");
            assert_eq!(second.go_on_from(unpacked), Ok(1), "{preset}");
            let same = checkpoint(&mut second) == checkpoint(&mut whole);
            assert_eq!(same, !reduced, "{preset}");
            if reduced {
                let (rounded, exact) = (train(&mut second, 1)[0], train(&mut whole, 1)[0]);
                let apart = (f64::from_bits(rounded) / f64::from_bits(exact) - 1.0).abs();
                assert!(apart < 0.02, "{preset}: the loss is {apart} apart");
            }
        }
    }
}

#[test]
fn the_start_of_a_run_can_be_saved_too() {
    let scenario = Scenario::preset("tiny-llama-bf16-dp2-tp2").expect("a preset");
    let mut whole = trainer(&scenario);
    let saved = checkpoint(&mut whole);
    let mut second = trainer(&scenario);
    assert_eq!(pollster::block_on(second.resume(&saved)), Ok(0));
    assert_eq!(train(&mut second, 1), train(&mut whole, 1));
}

#[test]
fn a_checkpoint_of_another_strategy_is_refused_and_changes_nothing() {
    let saved = checkpoint(&mut trainer(&Scenario::preset("tiny-llama-fsdp-dp4").expect("a preset")));
    let scenario = Scenario::preset("tiny-llama-1").expect("a preset");
    let (mut asked, mut other) = (trainer(&scenario), trainer(&scenario));
    let error = pollster::block_on(asked.resume(&saved)).expect_err("four ranks are not one");
    assert!(matches!(&error, ExecError::Checkpoint(why) if why.contains("another model or strategy")), "{error}");
    assert_eq!(train(&mut asked, 1), train(&mut other, 1));
}
