//! Whatever a file holds, the answer is an error that says where and what, never a panic.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "cases/malformed.rs"]
mod malformed;

use proptest::prelude::*;
use shardlab_engine::scenario::{MAX_FILE_BYTES, Opened, Scenario, ScenarioError, check, open, preset_file};
use shardlab_engine::{graph, sim};

/// What the hosts do with the bytes of a file.
fn scenario(bytes: &[u8]) -> Result<Scenario, ScenarioError> {
    match open(bytes)? {
        Opened::Scenario(file) => check(&file),
        Opened::Settings(settings) => check(&settings.file),
        Opened::Model(model) => check(&preset_file("llama2-7b-8xh100")?.with_model(*model)),
    }
}

#[test]
fn the_text_that_the_cases_break_is_valid() {
    scenario(malformed::VALID.as_bytes()).expect("VALID is valid");
}

#[test]
fn every_malformed_file_gives_an_error_that_says_where_and_what() {
    let cases = malformed::cases();
    assert!(cases.len() >= 50, "{} cases", cases.len());
    let wrong = |case: &malformed::Case| match scenario(&case.bytes) {
        Ok(_) => Some(format!("{}: was accepted", case.name)),
        Err(error) => {
            let message = error.to_string();
            let fine = message.contains(case.says) && message.len() < 2000;
            (!fine).then(|| format!("{}: expected `{}` in: {message}", case.name, case.says))
        }
    };
    let wrong: Vec<_> = cases.iter().filter_map(wrong).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_largest_scenarios_that_are_accepted_can_be_simulated() {
    let largest = r#"
        [model]
        architecture = "gpt"
        layers = 2
        hidden = 1048576
        heads = 4096
        head_dim = 256
        ffn_hidden = 1048576
        vocab = 1048576
        positions = 1048576
        [cluster]
        device = "a100-80gb-sxm"
        nodes = 32768
        [strategy]
        micro_batch = 16
        global_batch = 8388608
        data_parallel = 262144
    "#;
    let slowest = r#"
        [model]
        preset = "llama2-7b"
        [cluster]
        device = "h100-80gb-sxm"
        nodes = 1
        [cluster.custom]
        bf16 = "0.1 GFLOP/s"
        [strategy]
        global_batch = 128
    "#;
    for text in [largest, slowest] {
        match scenario(text.as_bytes()) {
            Ok(scenario) => {
                let step = graph::lower(&scenario);
                assert!(sim::simulate(&step, &scenario).step_time.0 > 0);
            }
            Err(error) => assert!(matches!(error, ScenarioError::Invalid { .. }), "{error}"),
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = scenario(&bytes);
    }

    #[test]
    fn any_change_of_a_valid_file_is_answered(at in 0..malformed::VALID.len(), cut in 0..20_usize, put in "[\\PC]{0,8}") {
        let mut bytes = malformed::VALID.as_bytes().to_vec();
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, put.bytes());
        let _ = scenario(&bytes);
    }

    /// Sizes over their whole range: refused, or lowered and simulated without overflow.
    #[test]
    fn any_sizes_are_answered(
        layers in 1..8_u32,
        sizes in proptest::collection::vec(0..21_u32, 5),
        batch in 0..24_u32,
        tensor in 0..4_u32,
    ) {
        let [hidden, ffn, vocab, positions, micro] = [0, 1, 2, 3, 4].map(|n| 1_u64 << sizes[n]);
        let text = format!(
            "[model]\narchitecture = \"llama\"\nlayers = {layers}\nhidden = {hidden}\nheads = 16\nhead_dim = 64\n\
             ffn_hidden = {ffn}\nvocab = {vocab}\npositions = {positions}\n[cluster]\ndevice = \"h100-80gb-sxm\"\n\
             [strategy]\ntensor_parallel = {}\ndata_parallel = 1\nmicro_batch = {micro}\nglobal_batch = {}\n",
            1_u64 << tensor,
            1_u64 << batch,
        );
        let accepted = scenario(text.as_bytes()).ok().filter(|scenario| scenario.micro_batches() <= 64);
        if let Some(scenario) = accepted {
            let step = graph::lower(&scenario);
            prop_assert!(sim::simulate(&step, &scenario).step_time.0 > 0);
        }
    }
}

#[test]
fn the_limit_of_a_file_is_far_above_every_preset() {
    let largest = shardlab_engine::scenario::presets().iter().map(|preset| preset.text.len()).max();
    assert!(largest.is_some_and(|bytes| (bytes as u64) * 100 < MAX_FILE_BYTES));
}
