//! Wherever ranks run, they compute the same bits: on one device, in threads or in processes with a device each. What one
//! tells another goes over a socket then, and as much as is counted.

use std::collections::BTreeMap;

use shardlab_engine::exec::{BackendKind, ExecError, Launch, Launcher, StepResult, Trainer, open_placed, run_worker};
use shardlab_engine::graph::lower;
use shardlab_engine::scenario::{PlacementName, Scenario};
use shardlab_engine::trace::{Span, TrackId};
use shardlab_engine::units::Bytes;

use super::{Axes, MIXTURE, model, on_cpu, parsed, run};

/// What a scenario says of its ranks.
fn placed(model: &str, (dp, tp, pp): Axes, extra: &str, run: &str) -> Scenario {
    let precision = if extra.contains("precision") { "" } else { "precision = \"fp32\"" };
    parsed(&format!(
        "[model]\n{model}\n[cluster]\ndevice = \"a100-80gb-sxm\"\nnodes = 2\n[strategy]\ndata_parallel = {dp}\n\
         tensor_parallel = {tp}\npipeline_parallel = {pp}\nglobal_batch = 8\nbucket = \"20 kB\"\n{extra}\n\
         {precision}\n[data]\nsequence_length = 16\n[run]\nseed = 3\ngradient_clip = 0.5\n{run}\n"
    ))
}

/// A process that is a worker runs this test alone, and works.
#[test]
fn worker_process() {
    if let Some(launch) = Launch::of_this_process() {
        run_worker(&launch).ok();
    }
}

fn launcher() -> Launcher {
    let arguments = ["--exact", "workers::worker_process", "--nocapture"].map(str::to_owned).to_vec();
    Launcher { arguments, ..Launcher::this_program().expect("the test knows where it is") }
}

fn trainer(scenario: &Scenario, kind: BackendKind) -> Result<Trainer, ExecError> {
    let (placement, ranks) = (scenario.run().placement, scenario.mesh().ranks());
    let backend = pollster::block_on(open_placed(kind, placement, ranks, &launcher()))?;
    pollster::block_on(Trainer::of_graph(scenario, lower(scenario), backend))
}

fn step(trainer: &mut Trainer) -> StepResult {
    pollster::block_on(trainer.step()).expect("a step runs")
}

/// Every kind of exchange: rings and pushes of replicas, inside layers, along pipelines in both directions, around
/// sequences, of heads and experts, and to the host and back.
fn cases() -> Vec<(&'static str, Axes, &'static str)> {
    vec![
        (model(1), (2, 1, 2), "recompute = \"full\""),
        (model(0), (1, 2, 2), "schedule = \"zb-h1\"\nsequence_parallel = true"),
        (model(0), (4, 1, 1), "zero_stage = 3\nmicro_batch = 1"),
        (model(0), (2, 1, 1), "zero_stage = 2\noffload_optimizer = \"host\"\noffload_activations = 1"),
        (model(0), (1, 1, 2), "schedule = \"dualpipe-v\"\nmicro_batch = 1"),
        (model(2), (1, 1, 1), "context_parallel = 4"),
        (model(0), (1, 2, 1), "context_parallel = 2\ncontext_method = \"all_to_all\""),
        (MIXTURE, (2, 1, 1), "expert_parallel = 2"),
        (model(1), (2, 2, 2), "precision = \"bf16\""),
    ]
}

#[test]
fn ranks_in_threads_compute_the_bits_of_one_device() {
    for (model, mesh, extra) in cases() {
        let reference = placed(model, mesh, extra, "");
        let expected = on_cpu(&reference, lower(&reference));
        for workers in ["", "workers = 2"] {
            let scenario = placed(model, mesh, extra, &format!("placement = \"adapters\"\n{workers}"));
            let (placement, ranks) = (scenario.run().placement, scenario.mesh().ranks());
            let backend = pollster::block_on(open_placed(BackendKind::Cpu, placement, ranks, &launcher()));
            let outcome = run(&scenario, lower(&scenario), backend.expect("the CPU is there"));
            let what = format!("{mesh:?} {extra} {workers}");
            assert_eq!(outcome.loss.to_bits(), expected.loss.to_bits(), "{what}");
            assert!(outcome.gradients == expected.gradients, "{what}: gradients");
            assert!(outcome.parameters == expected.parameters, "{what}: parameters");
            assert_eq!(outcome.strays, None, "{what}");
        }
    }
}

/// Four ranks that are placed somewhere else train as on one device.
fn four_ranks_compute_the_bits_of_one_device(kind: BackendKind, placement: &str) {
    let cases = [
        (model(0), (2, 1, 2), ""),
        (model(1), (1, 2, 2), "schedule = \"zb-h1\"\nsequence_parallel = true"),
        (model(0), (4, 1, 1), "zero_stage = 3\nmicro_batch = 1"),
        (MIXTURE, (2, 2, 1), "expert_parallel = 2\nsequence_parallel = true\nprecision = \"bf16\""),
    ];
    for (model, mesh, extra) in cases {
        let what = format!("{kind:?} {placement} {mesh:?} {extra}");
        let mut expected = trainer(&placed(model, mesh, extra, ""), kind).expect("one device");
        let elsewhere = placed(model, mesh, extra, &format!("placement = \"{placement}\""));
        let mut four = trainer(&elsewhere, kind).expect("four devices");
        for _ in 0..2 {
            let (one, four) = (step(&mut expected), step(&mut four));
            assert_eq!(four.loss.to_bits(), one.loss.to_bits(), "{what}");
            assert_eq!(four.gradient_norm.to_bits(), one.gradient_norm.to_bits(), "{what}");
            assert_eq!((&four.pools, four.moved()), (&one.pools, one.moved()), "{what}");
        }
        assert!(four.backend().detail.contains("4 "), "{what}: {:?}", four.backend());
        let sent = four.sent().expect("there are workers");
        assert!(sent.messages > 0, "{what}");
    }
}

#[test]
fn ranks_in_processes_compute_the_bits_of_one_device() {
    four_ranks_compute_the_bits_of_one_device(BackendKind::Cpu, "processes");
}

#[cfg(feature = "gpu")]
#[test]
fn ranks_in_processes_with_a_gpu_each_compute_the_bits_of_one() {
    if super::on_the_gpu::gpu().is_some() {
        four_ranks_compute_the_bits_of_one_device(BackendKind::Wgpu, "processes");
    }
}

/// Adapters are dealt out in turn: where there is one, ranks open it four times.
#[cfg(feature = "gpu")]
#[test]
fn ranks_on_several_adapters_compute_the_bits_of_one() {
    if super::on_the_gpu::gpu().is_some() {
        four_ranks_compute_the_bits_of_one_device(BackendKind::Wgpu, "adapters");
    }
}

#[test]
fn every_byte_that_ranks_exchange_goes_over_a_socket_where_each_is_a_worker() {
    for (model, mesh, extra) in cases() {
        let scenario = placed(model, mesh, extra, "placement = \"adapters\"");
        let mut trainer = trainer(&scenario, BackendKind::Cpu).expect("the CPU is there");
        let result = step(&mut trainer);
        let moved: Bytes = result.moved().iter().map(|(_, bytes)| *bytes).sum();
        let sent = trainer.sent().expect("there are workers");
        assert!(sent.messages > 0, "{mesh:?} {extra}");
        // Numbers of 16 bits go in whole words.
        let filler = Bytes(if extra.contains("bf16") { 2 * sent.messages } else { 0 });
        assert!(sent.bytes >= moved && sent.bytes <= moved + filler, "{mesh:?} {extra}: {sent:?}, moved {moved}");
    }
}

#[test]
fn spans_of_a_track_follow_each_other_and_ranks_run_beside_each_other() {
    let scenario = placed(model(0), (1, 1, 2), "micro_batch = 1", "placement = \"adapters\"");
    let mut trainer = trainer(&scenario, BackendKind::Cpu).expect("the CPU is there");
    let result = step(&mut trainer);
    result.trace.verify().expect("well-formed");
    assert!(!result.trace.flows.is_empty());
    let mut tracks: BTreeMap<TrackId, Vec<&Span>> = BTreeMap::new();
    for span in &result.trace.spans {
        tracks.entry(span.track).or_default().push(span);
    }
    for spans in tracks.values() {
        assert!(spans.windows(2).all(|pair| pair[0].start + pair[0].duration <= pair[1].start), "spans overlap");
    }
    let ranks: std::collections::BTreeSet<u32> =
        tracks.keys().map(|track| result.trace.tracks[track.0 as usize].rank).collect();
    assert_eq!(ranks.len(), 2);
    let end = result.trace.spans.iter().map(|span| span.start + span.duration).max();
    assert_eq!(end, Some(result.trace.step_time));
}

#[test]
fn a_program_that_is_no_worker_is_told_so() {
    let scenario = placed(model(0), (2, 1, 1), "", "placement = \"processes\"");
    let placement = scenario.run().placement;
    for program in ["/nonexistent/program", "/bin/true"] {
        let launcher = Launcher { program: program.into(), arguments: Vec::new() };
        let error = pollster::block_on(open_placed(BackendKind::Cpu, placement, 2, &launcher)).expect_err("no worker");
        assert!(error.to_string().contains("run.placement"), "{error}");
    }
    assert_eq!(placement.kind, PlacementName::Processes);
}

/// Processes that this one started and that are workers.
#[cfg(target_os = "linux")]
fn children() -> Vec<u32> {
    let me = std::process::id().to_string();
    let pids = std::fs::read_dir("/proc").expect("it is there").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mine = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.split_whitespace().nth(1) == Some(&me))
    };
    pids.filter(mine).collect()
}

#[test]
#[cfg(target_os = "linux")]
fn a_worker_that_is_killed_ends_the_run_with_its_number() {
    // In a process of its own, since other tests have workers at the same time.
    if std::env::var_os("SHARDLAB_TEST_KILL").is_none() {
        let program = std::env::current_exe().expect("the test knows where it is");
        let mut test = std::process::Command::new(program);
        test.args(["--exact", "workers::a_worker_that_is_killed_ends_the_run_with_its_number"]);
        assert!(test.env("SHARDLAB_TEST_KILL", "1").output().expect("it runs").status.success());
        return;
    }
    let scenario = placed(model(0), (1, 1, 4), "", "placement = \"processes\"");
    let mut trainer = trainer(&scenario, BackendKind::Cpu).expect("four processes");
    step(&mut trainer);
    let victim = children().pop().expect("there are four");
    let killed = std::process::Command::new("kill").args(["-9", &victim.to_string()]).status();
    assert!(killed.expect("it runs").success());
    let error = pollster::block_on(trainer.step()).expect_err("one is missing").to_string();
    assert!(error.contains("worker") && error.contains("has ended"), "{error}");
}
