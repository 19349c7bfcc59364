//! Networks and the two fidelities: they agree where nothing is shared, and contention only ever costs.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::prelude::*;
use shardlab_engine::cluster::{AlgorithmChoice, NetworkFile, NetworkKind};
use shardlab_engine::graph::lower;
use shardlab_engine::scenario::{Scenario, ScenarioFile, check, preset_file};
use shardlab_engine::sim::{Folding, simulate, simulate_folded, step_time};
use shardlab_engine::trace::Trace;
use shardlab_engine::units::Nanos;

fn checked(file: &ScenarioFile) -> Scenario {
    check(file).unwrap_or_else(|error| panic!("{error}"))
}

fn with(file: &ScenarioFile, network: NetworkFile) -> Scenario {
    let mut file = file.clone();
    file.cluster.network = Some(network);
    checked(&file)
}

fn small(preset: &str, layers: u32, change: impl FnOnce(&mut ScenarioFile)) -> ScenarioFile {
    let mut file = preset_file(preset).expect("a preset");
    file.model.layers = Some(layers);
    change(&mut file);
    file
}

fn traces(file: &ScenarioFile, kind: NetworkKind) -> [Trace; 2] {
    [false, true].map(|contention| {
        let scenario = with(file, NetworkFile { kind, contention, ..NetworkFile::default() });
        let trace = simulate(&lower(&scenario), &scenario);
        trace.verify().unwrap_or_else(|error| panic!("{error}"));
        trace
    })
}

/// Scenarios in which no two messages are on one link at a time: one kind of communication, or one after the other.
fn unshared() -> Vec<(&'static str, ScenarioFile)> {
    vec![
        (
            "tensor",
            small("llama3-8b-16xh100", 4, |file| {
                file.cluster.nodes = 1;
                (file.strategy.tensor_parallel, file.strategy.data_parallel) = (8, None);
                file.strategy.global_batch = 4;
            }),
        ),
        // The host waits for what experts get, so what comes then is issued late.
        (
            "experts",
            small("mixtral-8x7b-64xh100", 4, |file| {
                file.cluster.nodes = 1;
                let strategy = &mut file.strategy;
                (strategy.tensor_parallel, strategy.pipeline_parallel, strategy.data_parallel) = (1, 1, None);
                (strategy.expert_parallel, strategy.overlap_gradients) = (8, false);
                strategy.global_batch = 16;
            }),
        ),
        (
            "data over nodes",
            small("llama3-8b-16xh100", 4, |file| {
                file.cluster.nodes = 4;
                (file.strategy.tensor_parallel, file.strategy.data_parallel) = (1, None);
                file.strategy.global_batch = 64;
            }),
        ),
        (
            "pipeline",
            small("gpt3-175b-1024xa100", 16, |file| {
                file.cluster.nodes = 8;
                (file.strategy.pipeline_parallel, file.strategy.tensor_parallel) = (8, 8);
                file.strategy.data_parallel = Some(1);
                file.strategy.global_batch = 16;
            }),
        ),
    ]
}

#[test]
fn both_fidelities_agree_where_nothing_is_shared() {
    for (name, file) in unshared() {
        let [alone, shared] = traces(&file, NetworkKind::NonBlocking);
        assert_eq!(alone.step_time, shared.step_time, "{name}");
        assert!(alone == shared, "{name}: to the nanosecond, span by span");
    }
}

#[test]
fn what_shares_links_takes_longer() {
    // Gradients are reduced over all devices of four nodes while tensor groups of the nodes communicate.
    let file = small("llama3-8b-16xh100", 8, |file| {
        file.cluster.nodes = 4;
        (file.strategy.tensor_parallel, file.strategy.data_parallel) = (2, None);
        file.strategy.global_batch = 64;
    });
    let [alone, shared] = traces(&file, NetworkKind::NonBlocking);
    assert!(shared.step_time > alone.step_time, "{} and {}", alone.step_time, shared.step_time);
}

#[test]
fn a_narrow_spine_costs_what_crosses_it() {
    let file = small("mixtral-8x7b-64xh100", 4, |_| {});
    let time = |oversubscription: f64| {
        let kind = NetworkKind::LeafSpine;
        let network = NetworkFile {
            kind,
            nodes_per_leaf: Some(2),
            oversubscription: Some(oversubscription),
            ..NetworkFile::default()
        };
        let scenario = with(&file, network);
        step_time(&lower(&scenario), &scenario)
    };
    let times = [1.0, 2.0, 8.0].map(time);
    assert!(times[0] <= times[1] && times[1] < times[2], "{times:?}");
    let scenario = checked(&file);
    assert_eq!(times[0], step_time(&lower(&scenario), &scenario), "a full spine blocks nothing");
}

#[test]
fn every_algorithm_has_its_own_time() {
    let file = small("gpt2-124m-8xa100", 4, |file| file.cluster.nodes = 2);
    let time = |all_reduce: AlgorithmChoice| {
        let scenario = with(&file, NetworkFile { all_reduce, ..NetworkFile::default() });
        step_time(&lower(&scenario), &scenario)
    };
    let by_hand = [
        AlgorithmChoice::Ring,
        AlgorithmChoice::BinaryTree,
        AlgorithmChoice::DoubleTree,
        AlgorithmChoice::Hierarchical,
        AlgorithmChoice::Direct,
    ];
    let mut times: Vec<Nanos> = by_hand.map(time).to_vec();
    // NCCL chooses between a ring and a double tree where switches cannot add.
    assert!(time(AlgorithmChoice::Auto) <= times[0].min(times[2]), "{times:?}");
    times.sort_unstable();
    times.dedup();
    assert_eq!(times.len(), by_hand.len(), "{times:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// On a regular job folded and unfolded flows agree, and messages that share links are never faster.
    #[test]
    fn contention_only_costs_and_folds(
        (tp, pp) in (0_u32..=3, 0_u32..=2),
        kind in prop::sample::select(NetworkKind::ALL.to_vec()),
        (zero, overlap) in (0_u32..=3, any::<bool>()),
    ) {
        let file = small("llama3-8b-16xh100", 4, |file| {
            file.cluster.nodes = 4;
            let s = &mut file.strategy;
            (s.tensor_parallel, s.pipeline_parallel, s.data_parallel) = (1 << tp, 1 << pp, None);
            (s.zero_stage, s.sharding_group, s.overlap_gradients) = (zero, None, overlap);
            s.global_batch = 64;
        });
        let network = |contention| NetworkFile {
            kind,
            contention,
            nodes_per_leaf: Some(2),
            oversubscription: Some(2.0),
            dims: vec![2, 2],
            ..NetworkFile::default()
        };
        let [alone, shared] = [false, true].map(|contention| with(&file, network(contention)));
        let step = lower(&alone);
        let times = [&alone, &shared].map(|scenario| step_time(&step, scenario));
        prop_assert!(times[1] >= times[0], "{times:?}");
        let unfolded = simulate_folded(&step, &shared, &Folding::unfolded(shared.mesh()));
        prop_assert!(unfolded.verify().is_ok());
        prop_assert_eq!(unfolded.step_time, times[1]);
    }
}
