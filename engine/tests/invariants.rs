//! What must hold of every simulated step, on random scenarios. Each of these has been a reported bug in a simulator of
//! this kind.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;

use serde_json::Value;

use proptest::prelude::*;
use shardlab_engine::analysis::{StepReport, step_report};
use shardlab_engine::cluster::{Cluster, Group, RankId};
use shardlab_engine::cost::{Algorithm, GroupSpan, collective_bytes_per_rank, collective_time};
use shardlab_engine::graph::{Collective, OpKind, Reduction, StepGraph, lower};
use shardlab_engine::scenario::{Scenario, ScenarioFile, check, preset_file};
use shardlab_engine::sim::{critical_spans, simulate, slack, step_time};
use shardlab_engine::units::{Bytes, BytesPerSec, FlopsPerSec, Nanos};

/// A valid scenario on two to eight nodes: dense or with experts, with any mesh and options.
fn scenarios() -> impl Strategy<Value = Scenario> {
    let axes = (0_u32..=3, 0_u32..=2, 0_u32..=2, 0_u32..=2);
    let options = (0_u32..=3, 0_usize..3, 0_usize..4, any::<bool>(), any::<bool>(), any::<bool>());
    (axes, options, 1_u32..=3, any::<bool>()).prop_filter_map("valid", |(axes, options, nodes, experts)| {
        let (tp, pp, cp, ep) = axes;
        let (zero, recompute, schedule, sequence_parallel, overlap, graphs) = options;
        let mut file = preset_file(if experts { "mixtral-8x7b-64xh100" } else { "llama3-8b-16xh100" }).ok()?;
        file.model.layers = Some(8);
        file.cluster.nodes = 1 << nodes;
        file.data.sequence_length = Some(2048);
        let s = &mut file.strategy;
        (s.data_parallel, s.sharding_group) = (None, None);
        (s.tensor_parallel, s.pipeline_parallel, s.context_parallel) = (1 << tp, 1 << pp, 1 << cp);
        s.expert_parallel = if experts { 1 << ep } else { 1 };
        s.sequence_parallel = sequence_parallel || experts;
        s.zero_stage = zero;
        s.recompute = serde_json::from_value(["none", "selective", "full"][recompute].into()).ok()?;
        s.schedule = serde_json::from_value(["1f1b", "gpipe", "interleaved", "zb-h1"][schedule].into()).ok()?;
        (s.overlap_gradients, s.cuda_graphs) = (overlap, graphs);
        s.global_batch = 128;
        check(&file).ok()
    })
}

/// Bytes that ranks send and receive between stages, by transfer.
fn transfers(step: &StepGraph) -> [BTreeMap<u32, u64>; 2] {
    let (mut sent, mut received): (BTreeMap<u32, u64>, BTreeMap<u32, u64>) = Default::default();
    for stage in &step.stages {
        for op in stage.tasks.iter().flat_map(|&task| stage.segment(task).ops()) {
            match op.kind {
                OpKind::Send(transfer) => {
                    *sent.entry(transfer.number).or_default() += step.tensor(op.reads[0]).bytes().0;
                }
                OpKind::Receive(transfer) => {
                    *received.entry(transfer.number).or_default() += step.tensor(op.writes[0]).bytes().0;
                }
                _ => {}
            }
        }
    }
    [sent, received]
}

/// Something that makes the hardware better.
type Better = (&'static str, fn(&mut Cluster));

const BETTER: [Better; 6] = [
    ("matmul", |c| c.device.bf16_matmul = FlopsPerSec(c.device.bf16_matmul.0 * 1.5)),
    ("memory bandwidth", |c| c.device.memory_bandwidth = BytesPerSec(c.device.memory_bandwidth.0 * 1.5)),
    ("link bandwidth", |c| c.intra_link.bandwidth = BytesPerSec(c.intra_link.bandwidth.0 * 1.5)),
    ("network bandwidth", |c| c.inter_link.bandwidth = BytesPerSec(c.inter_link.bandwidth.0 * 1.5)),
    ("network latency", |c| c.inter_link.latency = Nanos(c.inter_link.latency.0 / 2)),
    ("host", |c| c.device.host_dispatch = Nanos(c.device.host_dispatch.0 / 2)),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_sent_is_received_and_what_is_allocated_is_freed(scenario in scenarios()) {
        let step = lower(&scenario);
        let [sent, received] = transfers(&step);
        prop_assert_eq!(sent, received);
        let trace = simulate(&step, &scenario);
        for curve in &trace.memory {
            let (first, last) = (curve.samples.first().expect("a sample"), curve.samples.last().expect("a sample"));
            prop_assert_eq!(first.used, last.used, "stage {} ends as it began", curve.stage);
        }
    }

    #[test]
    fn better_hardware_never_makes_the_step_slower(scenario in scenarios()) {
        let step = lower(&scenario);
        let before = step_time(&step, &scenario);
        for (what, improve) in BETTER {
            let mut cluster = scenario.cluster().clone();
            improve(&mut cluster);
            let after = step_time(&step, &scenario.on_cluster(cluster));
            prop_assert!(after <= before, "better {what}: {after} after {before}");
        }
    }

    /// No collective is faster than its bytes over the link that they must cross.
    #[test]
    fn no_link_carries_more_than_its_rate(scenario in scenarios(), megabytes in 0_u64..4000, what in 0_usize..5) {
        let (mesh, cluster) = (scenario.mesh(), scenario.cluster());
        let bytes = Bytes(megabytes * 1_000_000);
        let collective = [
            Collective::AllReduce(Reduction::Sum),
            Collective::ReduceScatter,
            Collective::AllGather,
            Collective::AllToAll,
            Collective::Shift,
        ][what];
        for group in Group::ALL {
            let span = GroupSpan::of(cluster, &mesh.members(group, RankId(0)));
            if span.ranks == 1 {
                continue;
            }
            let (time, algorithm) = collective_time(cluster, span, collective, bytes);
            let sent = collective_bytes_per_rank(collective, bytes, span.ranks).as_f64();
            // A rank has its link inside the node and its adapter; a node's ranks may lend each other adapters.
            let adapters = cluster.inter_link.bandwidth.0 * f64::from(span.ranks_per_node.max(1));
            let rate = cluster.intra_link.bandwidth.0 + adapters;
            prop_assert!(sent / time.secs().max(1e-12) <= rate * 1.0001, "{collective:?} over {group:?}: {sent} in {time}");
            let (busbw, link) = (sent / time.secs().max(1e-12), &cluster.intra_link);
            match algorithm {
                Algorithm::Ring | Algorithm::Tree if span.nodes == 1 => {
                    prop_assert!(busbw <= link.bandwidth.0, "{collective:?}: busbw {busbw}");
                }
                Algorithm::InNetwork => {
                    let rate = bytes.as_f64() / time.secs().max(1e-12);
                    prop_assert!(rate <= link.in_network.map_or(0.0, |rate| rate.0), "{collective:?}: {rate}");
                }
                _ => {}
            }
        }
    }

    #[test]
    fn the_parts_of_the_step_add_up(scenario in scenarios()) {
        let step = lower(&scenario);
        let report = step_report(&step, &scenario, &simulate(&step, &scenario));
        for group in &report.groups {
            prop_assert_eq!(group.parts.total(), report.step_time);
        }
        prop_assert!(report.mfu <= report.hfu && report.hfu < 1.0);
    }
}

/// A step is as slow as its slowest rank, and no slower than if all were like it.
#[test]
fn exceptions_cost_between_nothing_and_as_if_all_were_like_them() {
    let with = |text: &str| {
        let file = preset_file("llama3-8b-16xh100").expect("a preset");
        let exception: Value = serde_json::from_str(text).expect("JSON");
        let mut value = serde_json::to_value(&file).expect("JSON");
        value["cluster"]["exceptions"] = Value::Array(vec![exception]);
        let file: ScenarioFile = serde_json::from_value(value).expect("a scenario");
        let scenario = check(&file).unwrap_or_else(|error| panic!("{error}"));
        step_time(&lower(&scenario), &scenario)
    };
    let usual = Scenario::preset("llama3-8b-16xh100").expect("a preset");
    let usual = step_time(&lower(&usual), &usual);
    for what in [r#""speed": 0.5"#, r#""network_share": 0.1"#, r#""intra_share": 0.1"#, r#""device": "a100-80gb-sxm""#]
    {
        let [one, node, all] = [r#""devices": [3]"#, r#""nodes": [1]"#, r#""nodes": [0, 1]"#]
            .map(|place| with(&format!("{{ {place}, {what} }}")));
        assert!(usual < one && one <= node && node <= all, "{what}: {usual:?}, {one:?}, {node:?}, {all:?}");
    }
}

/// Bytes of all collectives stay the same when they are cut into chunks, and what is hidden makes the step faster.
#[test]
fn chunks_hide_tensor_communication_and_change_no_volume() {
    let with = |chunks: u32| {
        let mut file = preset_file("llama3-70b-64xh100").expect("a preset");
        (file.strategy.tensor_chunks, file.model.layers) = (chunks, Some(8));
        let scenario = check(&file).unwrap_or_else(|error| panic!("{error}"));
        let step = lower(&scenario);
        (step_time(&step, &scenario), shardlab_engine::cost::bytes_moved(&step))
    };
    let ((whole, volume), (cut, same)) = (with(1), with(4));
    assert_eq!(volume, same);
    assert!(cut < whole, "{cut} and {whole}");
}

/// The critical path is as long as the step but for waits for the host, and what is on it cannot be made up elsewhere.
#[test]
fn the_critical_path_spans_the_step() {
    for preset in ["llama2-7b-8xh100", "gpt3-175b-1024xa100", "llama3-8b-fsdp-64xh100", "mixtral-8x7b-64xh100"] {
        let mut file = preset_file(preset).expect("a preset");
        // Nothing waits for the host, so that ops and messages alone make up the path.
        file.strategy.cuda_graphs = true;
        let scenario = check(&file).unwrap_or_else(|error| panic!("{error}"));
        let step = lower(&scenario);
        let lines = slack(&step, &scenario);
        let critical: Nanos = lines.iter().map(|line| line.critical).sum();
        assert!(critical >= step_time(&step, &scenario), "{preset}: {critical}");
        assert!(lines.iter().all(|line| line.least.is_none_or(|least| least > Nanos::ZERO)), "{preset}");
        let without = lines.iter().filter(|line| line.count[0] == 0).count();
        assert!(without > 0, "{preset}: something is hidden");
    }
}

/// Every device that ships with the program can be simulated, each in the formats that it has.
#[test]
fn every_device_takes_a_step() {
    for (name, device) in shardlab_engine::cluster::presets() {
        let mut file = preset_file("gpt2-124m-8xa100").expect("a preset");
        file.cluster.device = Some(name.clone());
        file.strategy.data_parallel = Some(1);
        for precision in ["fp32", "tf32", "bf16", "fp16"] {
            file.strategy.precision = serde_json::from_value(precision.into()).expect("a precision");
            let (report, _) = reported(&file);
            assert!(report.step_time > Nanos::ZERO && report.mfu < 1.0, "{name} in {precision}: {}", report.mfu);
        }
        assert!(device.title.is_some(), "{name} has a title");
    }
}

/// What a report says of a strategy.
fn reported(file: &ScenarioFile) -> (StepReport, u64) {
    let scenario = check(file).unwrap_or_else(|error| panic!("{error}"));
    let step = lower(&scenario);
    let report = step_report(&step, &scenario, &simulate(&step, &scenario));
    let memory = report.fit.needed.0;
    (report, memory)
}

/// A field that should matter changes time or memory.
#[test]
fn no_field_is_ignored() {
    type Change = (&'static str, &'static str, fn(&mut ScenarioFile));
    let changes: [Change; 44] = [
        ("llama3-8b-16xh100", "micro_batch", |f| f.strategy.micro_batch *= 2),
        ("llama3-8b-16xh100", "global_batch", |f| f.strategy.global_batch *= 2),
        ("llama3-8b-16xh100", "tensor_parallel", |f| {
            (f.strategy.data_parallel, f.strategy.tensor_parallel) = (None, 2);
        }),
        ("llama3-8b-16xh100", "sequence_parallel", |f| f.strategy.sequence_parallel ^= true),
        ("llama3-8b-16xh100", "zero_stage", |f| f.strategy.zero_stage = 2),
        ("llama3-8b-16xh100", "attention", |f| {
            f.strategy.attention = shardlab_engine::scenario::AttentionKernel::Unfused;
        }),
        ("llama3-8b-16xh100", "recompute", |f| {
            let full = shardlab_engine::scenario::Recompute::Full;
            let none = shardlab_engine::scenario::Recompute::None;
            f.strategy.recompute = if f.strategy.recompute == full { none } else { full };
        }),
        ("llama3-8b-16xh100", "precision", |f| f.strategy.precision = shardlab_engine::scenario::Precision::Fp8),
        ("llama3-70b-64xh100", "rank_order", |f| {
            f.strategy.rank_order = vec![shardlab_engine::cluster::MeshAxis::Dp];
        }),
        ("llama3-70b-64xh100", "keep_gathered", |f| f.strategy.keep_gathered = true),
        ("llama3-8b-16xh100", "kernels", |f| f.strategy.kernels = shardlab_engine::scenario::Kernels::Eager),
        ("llama3-8b-16xh100", "gradient_format", |f| {
            f.strategy.gradient_format = shardlab_engine::scenario::GradientFormat::Compute;
        }),
        ("llama3-8b-16xh100", "dropout", |f| f.model.dropout = Some(0.1)),
        ("llama3-8b-16xh100", "window", |f| f.model.window = Some(1024)),
        ("mistral-7b-32k-16xh100", "window_interval", |f| f.model.window_interval = Some(2)),
        ("llama3-8b-capped-8xh100", "power_limit", |f| f.cluster.custom = None),
        ("gpt-zero-bubble-h2-8xa100", "schedule", |f| {
            f.strategy.schedule = shardlab_engine::scenario::ScheduleName::ZeroBubbleH1;
        }),
        ("llama-1b-eager-8xh100", "kernels", |f| f.strategy.kernels = shardlab_engine::scenario::Kernels::Fused),
        ("llama3-70b-64xh100", "tensor_chunks", |f| f.strategy.tensor_chunks = 2),
        ("mixtral-8x7b-64xh100", "overlap_micro_batches", |f| f.strategy.overlap_micro_batches = true),
        ("llama3-8b-16xh100", "optimizer", |f| f.strategy.optimizer = shardlab_engine::scenario::Optimizer::Momentum),
        ("llama3-8b-16xh100", "offload_optimizer", |f| {
            f.strategy.offload_optimizer = shardlab_engine::scenario::Place::Host;
        }),
        ("llama3-70b-nvme-8xh100", "offload_parameters", |f| {
            f.strategy.offload_parameters = shardlab_engine::scenario::Place::Device;
        }),
        ("llama2-7b-8xh100", "compress_activations", |f| f.strategy.compress_activations = true),
        ("llama2-7b-offload-1xa100", "offload_activations", |f| f.strategy.offload_activations = 20),
        ("llama3-70b-nvme-8xh100", "offload_optimizer", |f| {
            f.strategy.offload_optimizer = shardlab_engine::scenario::Place::Host;
        }),
        ("llama3-8b-budget-8xh100", "recompute_budget", |f| f.strategy.recompute_budget = Some(Bytes(45_000_000_000))),
        ("llama3-8b-budget-8xh100", "precision", |f| f.strategy.precision = shardlab_engine::scenario::Precision::Fp8),
        ("llama3-8b-16xh100", "update", |f| {
            f.strategy.update = shardlab_engine::scenario::UpdateName::BoundedStaleness;
        }),
        ("llama3-8b-16xh100", "gradient_compression", |f| {
            f.strategy.gradient_compression = shardlab_engine::scenario::Compression::TopK;
        }),
        ("gpt2-774m-powersgd-32xv100", "compression_rank", |f| f.strategy.compression_rank = Some(8)),
        ("llama3-8b-diloco-64xh100", "sync_interval", |f| f.strategy.sync_interval = Some(10)),
        ("llama3-8b-diloco-64xh100", "update", |f| {
            f.strategy.update = shardlab_engine::scenario::UpdateName::Synchronous;
        }),
        ("llama3-8b-16xh100", "overlap_gradients", |f| f.strategy.overlap_gradients ^= true),
        ("llama3-8b-16xh100", "bucket", |f| f.strategy.bucket = Some(Bytes(4_000_000_000))),
        ("llama3-8b-fsdp-64xh100", "recompute_interval", |f| f.strategy.recompute_interval = 2),
        ("llama3-8b-fsdp-64xh100", "prefetch", |f| f.strategy.prefetch = 0),
        ("llama3-8b-fsdp-64xh100", "reshard_after_forward", |f| f.strategy.reshard_after_forward ^= true),
        ("llama3-8b-fsdp-64xh100", "sharding_group", |f| f.strategy.sharding_group = Some(8)),
        ("gpt2-124m-8xa100", "cuda_graphs", |f| f.strategy.cuda_graphs = true),
        ("mixtral-8x7b-64xh100", "expert_parallel", |f| f.strategy.expert_parallel = 4),
        ("mixtral-8x7b-64xh100", "capacity_factor", |f| f.strategy.capacity_factor = 1.5),
        ("llama3-8b-128k-64xh100", "context_parallel", |f| {
            (f.strategy.data_parallel, f.strategy.context_parallel) = (None, 16);
        }),
        ("llama3-8b-128k-64xh100", "context_method", |f| {
            f.strategy.context_method = shardlab_engine::scenario::ContextMethod::AllGather;
        }),
    ];
    for (preset, field, change) in changes {
        let mut file = preset_file(preset).expect("a preset");
        let before = reported(&file);
        change(&mut file);
        let after = reported(&file);
        let same = before.0.mean_step_time == after.0.mean_step_time && before.1 == after.1;
        assert!(!same, "{field} of {preset} changes neither time nor memory");
    }
}

#[test]
fn the_critical_path_covers_the_step_and_is_what_the_slack_says() {
    for name in ["tiny-llama-pp2-tp2", "llama2-7b-8xh100", "llama3-70b-leaf-spine-64xh100", "data-bound-vision"] {
        let scenario = Scenario::preset(name).unwrap();
        let step = lower(&scenario);
        let trace = simulate(&step, &scenario);
        let critical = critical_spans(&step, &scenario, &trace).expect("it is this step's trace");
        let on_path = || trace.spans.iter().zip(&critical).filter(|(_, critical)| **critical).map(|(span, _)| span);
        assert_eq!(on_path().map(|span| span.end()).max(), Some(trace.step_time), "{name}: it ends with the step");
        let summed: Nanos = slack(&step, &scenario).iter().map(|line| line.critical).sum();
        assert_eq!(on_path().map(|span| span.duration).sum::<Nanos>(), summed, "{name}");
        assert!(on_path().count() < trace.spans.len(), "{name}: something has slack");
    }
}
