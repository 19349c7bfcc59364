//! Folding loses nothing: on everything small enough to unfold, folded and unfolded traces agree to the nanosecond.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::prelude::*;
use shardlab_engine::analysis::{StepReport, step_report};
use shardlab_engine::graph::lower;
use shardlab_engine::scenario::{Opened, Scenario, check, open};
use shardlab_engine::sim::{Folding, simulate, simulate_folded};
use shardlab_engine::trace::{Name, Span, Stream, Trace};

/// A random job on up to 64 ranks.
#[derive(Clone, Debug)]
struct Job {
    mesh: (u32, u32, u32),
    devices_per_node: u32,
    micro_batches: u32,
    layers: u32,
    gpt: bool,
    sequence_parallel: bool,
    schedule: &'static str,
    zero_stage: u32,
    recompute: bool,
    overlap: bool,
    bf16: bool,
    /// Lines of the cluster: what differs among its devices.
    exceptions: &'static str,
    order: &'static str,
}

/// Nothing, a straggler, a node with a degraded adapter, another device.
const EXCEPTIONS: [&str; 4] = [
    "",
    "[[cluster.exceptions]]\ndevices = [0]\nspeed = 0.8\n",
    "[[cluster.exceptions]]\nnodes = [0]\nnetwork_share = 0.5\nintra_share = 0.9\n",
    "[[cluster.exceptions]]\nnodes = [0]\ndevice = \"a100-80gb-sxm\"\n",
];

fn job() -> impl Strategy<Value = Job> {
    let mesh = (1_u32..=8, prop::sample::select(vec![1_u32, 2, 3, 4, 6, 12]), 1_u32..=6);
    let mesh = mesh.prop_filter("at most 64 ranks", |(dp, tp, pp)| dp * tp * pp <= 64);
    let flags = prop::array::uniform5(any::<bool>());
    let schedule = prop::sample::select(vec![
        "gpipe",
        "1f1b",
        "1f1b+",
        "interleaved",
        "interleaved+",
        "zb-h1",
        "zb-v",
        "dualpipe-v",
        "dualpipe",
    ]);
    let sizes = (1_u32..=9, 1_u32..=6, 12_u32..=15);
    let zero = prop::sample::select(vec![0_u32, 0, 1, 2, 3]);
    let exceptions = prop::sample::select(EXCEPTIONS.to_vec());
    let order = prop::sample::select(vec!["", "\"dp\"", "\"tp\", \"pp\""]);
    let jobs = (mesh, sizes, schedule, zero, flags, exceptions, order);
    jobs.prop_map(|(mesh, (devices_per_node, rounds, layers), schedule, zero_stage, flags, exceptions, order)| {
        let [gpt, sequence_parallel, recompute, overlap, bf16] = flags;
        // Interleaving takes micro-batches in rounds of as many as there are stages.
        let micro_batches = match schedule {
            "interleaved" | "interleaved+" => mesh.2 * rounds.min(2),
            "dualpipe-v" => 2 * mesh.2 + rounds,
            "dualpipe" => 2 * (mesh.2 + rounds),
            _ => rounds,
        };
        Job {
            mesh,
            devices_per_node,
            micro_batches,
            layers,
            gpt,
            sequence_parallel,
            schedule,
            zero_stage,
            recompute,
            overlap,
            bf16,
            exceptions,
            order,
        }
    })
}

fn scenario(job: &Job) -> Scenario {
    let (dp, tp, pp) = job.mesh;
    let pick = |flag: bool, yes: &'static str, no: &'static str| if flag { yes } else { no };
    let text = format!(
        "[model]\narchitecture = \"{}\"\nlayers = {}\nhidden = 96\nheads = 12\nffn_hidden = 192\nvocab = 1000\n\
         positions = 48\n{}[cluster]\ndevice = \"h100-80gb-sxm\"\nnodes = {}\n[cluster.custom]\ndevices_per_node = {}\n\
         {}[strategy]\nrank_order = [{}]\ndata_parallel = {dp}\ntensor_parallel = {tp}\npipeline_parallel = {pp}\nsequence_parallel = {}\n\
         schedule = \"{}\"\noverlap_micro_batches = {}\nmicro_batch = 1\nglobal_batch = {}\nprecision = \"{}\"\nrecompute = \"{}\"\n\
         overlap_gradients = {}\nbucket = \"300 kB\"\nzero_stage = {}\n",
        pick(job.gpt, "gpt", "llama"),
        job.layers,
        pick(job.schedule == "dualpipe", "tied_embeddings = false\n", ""),
        (dp * tp * pp).div_ceil(job.devices_per_node),
        job.devices_per_node,
        job.exceptions,
        job.order,
        job.sequence_parallel,
        // Two copies of the model need stages in pairs.
        if job.schedule == "dualpipe" && pp % 2 == 1 { "dualpipe-v" } else { job.schedule.trim_end_matches('+') },
        job.schedule.ends_with('+'),
        dp * job.micro_batches,
        pick(job.bf16, "bf16", "fp32"),
        pick(job.recompute, "full", "none"),
        job.overlap,
        // A tied GPT in a V has its embedding's gradient in two chunks of one stage: see `check_sharding`.
        if job.gpt && (["zb-v", "dualpipe-v"].contains(&job.schedule) || pp == 1) {
            job.zero_stage.min(1)
        } else {
            job.zero_stage
        },
    );
    let Ok(Opened::Scenario(file)) = open(text.as_bytes()) else { panic!("a scenario: {text}") };
    check(&file).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// What a group of ranks does: stream, op, start, duration, micro-batch.
fn doings(trace: &Trace, group: u32) -> Vec<(Stream, i64, i64, Name, u32)> {
    let of_group = |span: &&Span| trace.track(span).group == group;
    let doing = |span: &Span| {
        let name = trace.label(span).name.clone();
        (trace.track(span).stream, span.start.0, span.duration.0, name, span.micro_batch)
    };
    let mut doings: Vec<_> = trace.spans.iter().filter(of_group).map(doing).collect();
    doings.sort();
    doings
}

fn check_job(job: &Job) {
    let scenario = scenario(job);
    let step = lower(&scenario);
    step.verify().unwrap_or_else(|error| panic!("{job:?}: {error}"));
    let folding = Folding::classes(scenario.mesh(), scenario.cluster());
    let folded = simulate(&step, &scenario);
    let unfolded = simulate_folded(&step, &scenario, &Folding::unfolded(scenario.mesh()));
    assert_eq!(folded.step_time, unfolded.step_time, "{job:?}");
    let all = step.op_instances() * (job.mesh.0 * job.mesh.1) as usize;
    assert_eq!(unfolded.spans.len(), all, "every op of every rank is played: {job:?}");
    let of_classes: Vec<_> = (0..).take(folding.classes.len()).map(|class| doings(&folded, class)).collect();
    for (rank, &class) in (0..).zip(&folding.class_of) {
        assert_eq!(of_classes[class as usize], doings(&unfolded, rank), "rank {rank} of class {class}: {job:?}");
    }
    for (rank, &class) in folding.class_of.iter().enumerate() {
        let of_class = &folded.memory[class as usize].samples;
        assert_eq!(of_class, &unfolded.memory[rank].samples, "memory of rank {rank}: {job:?}");
    }
    let [of_classes, of_ranks] = [&folded, &unfolded].map(|trace| {
        trace.verify().unwrap_or_else(|error| panic!("{job:?}: {error}"));
        let report = step_report(&step, &scenario, trace);
        assert_eq!(report.breakdown.total(), trace.step_time, "the breakdown adds up: {job:?}");
        report
    });
    let apart = (of_classes.bubble_fraction - of_ranks.bubble_fraction).abs();
    assert!(apart < 1e-12, "the mean over ranks is summed in another order only: {job:?}");
    assert_eq!(of_classes.breakdown, of_ranks.breakdown, "the critical ranks: {job:?}");
    let comparable = |report: StepReport| StepReport { groups: Vec::new(), bubble_fraction: 0.0, ..report };
    assert_eq!(comparable(of_classes), comparable(of_ranks), "{job:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn folded_and_unfolded_traces_agree_exactly(job in job()) {
        check_job(&job);
    }
}

#[test]
fn the_same_scenario_gives_the_same_bytes() {
    for preset in ["llama2-7b-8xh100", "small-llama-8ranks"] {
        let scenario = Scenario::preset(preset).expect("a preset");
        let bytes = || serde_json::to_vec(&simulate(&lower(&scenario), &scenario)).expect("a trace is JSON");
        assert!(bytes() == bytes(), "{preset}");
    }
}
