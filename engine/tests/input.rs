//! Steps that wait for samples: in the step time, the timeline, the breakdown and the critical path.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "cases/steps.rs"]
mod steps;

use std::sync::Arc;

use shardlab_engine::analysis::{CacheStudy, Feed, StudyOptions, breakdowns, step_report};
use shardlab_engine::exec::{BackendKind, Trainer, executable_graph, open};
use shardlab_engine::graph::{OpKind, lower};
use shardlab_engine::scenario::{
    CachePlacement, CachePolicy, SampleFormat, SamplesFile, Scenario, ScenarioFile, check, preset_file,
};
use shardlab_engine::sim::cache::requests_of;
use shardlab_engine::sim::input::Loader;
use shardlab_engine::sim::{Folding, simulate, simulate_folded, slack, step_time};
use shardlab_engine::trace::{Origin, Stream, Trace};
use shardlab_engine::units::{Bytes, BytesPerSec, Nanos};

/// A vision model on two nodes whose storage delivers so many megabytes a second to each.
fn scenario(storage: u32, data: &str) -> Scenario {
    steps::scenario(&format!(
        "[model]\npreset = \"resnet-50\"\n[cluster]\ndevice = \"a100-80gb-sxm\"\nnodes = 2\n\
         [strategy]\nmicro_batch = 64\nglobal_batch = 4096\nprecision = \"fp16\"\noptimizer = \"momentum\"\n\
         [data.samples]\ncount = 1000000\nsize = \"100 KB\"\n[data.access]\nepochs = 4\n\
         [data.storage]\nnode_bandwidth = \"{storage} MB/s\"\nlatency = \"0 s\"\n[data.loader]\nworkers = 16\n{data}"
    ))
}

fn simulated(scenario: &Scenario) -> Trace {
    simulate(&lower(scenario), scenario)
}

fn stall(trace: &Trace) -> Nanos {
    breakdowns(trace).values().map(|parts| parts.exposed_input).max().unwrap_or_default()
}

const NO_CACHE: &str = "[data.cache]\npolicy = \"none\"\ncapacity = \"1 MB\"\n";

#[test]
fn samples_that_are_there_in_time_change_nothing() {
    let fast = scenario(20_000, NO_CACHE);
    let trace = simulated(&fast);
    assert_eq!(trace.step_time, simulated(&fast.without_input()).step_time);
    assert_eq!(stall(&trace), Nanos::ZERO);
    assert!(trace.spans.iter().any(|span| trace.track(span).stream == Stream::Input), "loads are in the trace");
}

#[test]
fn a_step_takes_as_long_as_storage_takes_to_deliver_its_samples() {
    // 256 images of 100 KB for each of eight replicas of a node: 205 MB at 600 MB/s.
    let slow = scenario(600, NO_CACHE);
    let trace = simulated(&slow);
    let delivered = 8.0 * 256.0 * 100e3 / 600e6;
    assert!((trace.step_time.secs() / delivered - 1.0).abs() < 0.01, "{} and {delivered} s", trace.step_time);
    let computed = step_time(&lower(&slow.without_input()), &slow.without_input());
    // While a rank waits for samples its host issues kernels, for which it then waits no more.
    assert!(computed < trace.step_time && stall(&trace) >= trace.step_time - computed, "{computed} {}", stall(&trace));
    let report = step_report(&lower(&slow), &slow, &trace);
    assert_eq!(report.breakdown.total(), trace.step_time);
}

#[test]
fn a_cache_and_then_prefetch_remove_the_stall() {
    let cached = |capacity: &str| {
        simulated(&scenario(
            600,
            &format!("[data.cache]\npolicy = \"none\"\nplacement = \"partitioned\"\ncapacity = \"{capacity}\"\n"),
        ))
    };
    let (none, half, all) = (stall(&cached("1 MB")), stall(&cached("15 GB")), stall(&cached("50 GB")));
    assert!(none > half && half > all, "{none} {half} {all}");
    assert_eq!(all, Nanos::ZERO, "both nodes together keep all");
}

#[test]
fn prefetch_removes_the_stall_of_batches_that_are_wanted_at_once() {
    // Four micro-batches follow each other in the forward pass of a pipeline, and then none until the next step.
    let waits = |prefetch: u32| {
        let scenario = steps::scenario(&format!(
            "[model]\npreset = \"llama2-7b\"\n[cluster]\ndevice = \"h100-80gb-sxm\"\nnodes = 1\n\
             [strategy]\ntensor_parallel = 2\npipeline_parallel = 4\nglobal_batch = 4\nschedule = \"gpipe\"\n\
             [data.samples]\ncount = 100000\nsize = \"16 KB\"\n\
             [data.loader]\nworkers = 1\nprefetch = {prefetch}\ndecode = \"40 ms\"\n"
        ));
        stall(&simulated(&scenario))
    };
    assert!(waits(1) > waits(2), "{} {}", waits(1), waits(2));
    assert_eq!(waits(4), Nanos::ZERO);
}

#[test]
fn what_a_whole_epoch_finds_counts_and_not_its_end() {
    // Reads nearly in order, and a cache that keeps what came first: the end of an epoch finds nothing, all of it half.
    let mut file = preset_file("data-bound-vision").unwrap();
    file.data.access.as_mut().unwrap().window = Some(1000);
    file.data.cache.as_mut().unwrap().capacity = Some(Bytes(36_500_000_000));
    let loader = Loader::of(&check(&file).unwrap()).unwrap();
    assert!((loader.shares[3] - 0.5).abs() < 0.03, "{:?}", loader.shares);
}

#[test]
fn what_is_read_ahead_costs_the_storage_too() {
    let mut file = preset_file("data-bound-vision").unwrap();
    file.data.access.as_mut().unwrap().window = Some(1);
    let cache = file.data.cache.as_mut().unwrap();
    (cache.policy, cache.read_ahead, cache.placement) = (CachePolicy::Fifo, Some(64), CachePlacement::Node);
    let loader = Loader::of(&check(&file).unwrap()).unwrap();
    let moved = loader.shares[3] * loader.stored[3].as_f64();
    // Both nodes read all of what each of them needs half.
    assert!((0.9 * 114e3..2.3 * 114e3).contains(&moved), "{moved} of {:?}", loader.shares);
}

#[test]
fn a_step_without_a_stall_may_need_its_cache() {
    let cached = "[data.cache]\npolicy = \"none\"\nplacement = \"partitioned\"\ncapacity = \"50 GB\"\n";
    let scenario = scenario(600, cached);
    let requests = requests_of(&scenario.data().input.unwrap(), 2, 1);
    let cache = scenario.data().input.unwrap().cache;
    let options = StudyOptions { policies: vec![CachePolicy::Pinned], ..StudyOptions::default() };
    let study = CacheStudy::new(Arc::new(requests), cache, 2, Origin::Modelled, options).feeding(Feed::of(&scenario));
    let points: Vec<_> = (0..study.points()).map(|point| study.point(point)).collect();
    let input = study.finish(&points).input.expect("a step");
    assert_eq!(input.stall, Nanos::ZERO);
    let least = input.least_capacity.expect("a cache that is enough");
    assert!((Bytes(10_000_000_000)..Bytes(40_000_000_000)).contains(&least), "{least}");
}

#[test]
fn fewer_loaders_than_nodes_share_the_storage_among_themselves() {
    let of = |replicas: u32| {
        steps::scenario(&format!(
            "[model]\npreset = \"resnet-50\"\n[cluster]\ndevice = \"a100-80gb-sxm\"\nnodes = 8\n\
             [strategy]\ndata_parallel = {replicas}\nmicro_batch = 64\nglobal_batch = 64\n\
             [data.samples]\ncount = 1000000\nsize = \"100 KB\"\n\
             [data.storage]\nbandwidth = \"8 GB/s\"\nnode_bandwidth = \"8 GB/s\"\n"
        ))
    };
    let loader = Loader::of(&of(1)).unwrap();
    assert_eq!(loader.tiers[3].bandwidth, BytesPerSec(8e9));
}

#[test]
fn waiting_for_samples_lies_on_the_critical_path() {
    let slow = scenario(600, NO_CACHE);
    let lines = slack(&lower(&slow), &slow);
    let load = lines.iter().find(|line| line.class == "load").expect("loads");
    assert!(load.critical > Nanos::ZERO);
    let end = step_time(&lower(&slow), &slow);
    assert!(load.critical < end);
}

#[test]
fn folded_and_unfolded_agree_on_what_waits() {
    for data in [NO_CACHE, "[data.cache]\npolicy = \"lru\"\nplacement = \"two_level\"\ncapacity = \"20 GB\"\n"] {
        let slow = scenario(600, data);
        let step = lower(&slow);
        let folded = simulate(&step, &slow);
        let unfolded = simulate_folded(&step, &slow, &Folding::unfolded(slow.mesh()));
        assert_eq!(folded.step_time, unfolded.step_time);
        assert_eq!(stall(&folded), stall(&unfolded));
    }
}

#[test]
fn both_fidelities_of_the_network_agree_on_what_waits() {
    let with = |network: &str| simulated(&scenario(600, &format!("{NO_CACHE}{network}"))).step_time;
    assert_eq!(with(""), with("[cluster.network]\ncontention = true\n"));
}

#[test]
fn loads_are_verified_in_every_pipeline() {
    let input = "[data.samples]\ncount = 100000\nsize = \"16 KB\"\n[data.storage]\nnode_bandwidth = \"0.05 MB/s\"\n[data.cache]\ncapacity = \"1 KB\"\n";
    for schedule in ["gpipe", "1f1b", "interleaved", "zb-h1", "zb-v", "dualpipe-v", "dualpipe"] {
        let scenario = steps::scenario(&format!(
            "[model]\npreset = \"llama2-7b\"\n[cluster]\ndevice = \"h100-80gb-sxm\"\nnodes = 1\n\
             [strategy]\ntensor_parallel = 2\npipeline_parallel = 4\nglobal_batch = 16\nschedule = \"{schedule}\"\n{input}"
        ));
        let step = lower(&scenario);
        step.verify().unwrap_or_else(|error| panic!("{schedule}: {error}"));
        let (fed, unfed) = (simulate(&step, &scenario), simulated(&scenario.without_input()));
        assert!(fed.step_time > unfed.step_time, "{schedule}");
        // Sixteen sequences of 16 KB at 50 KB a second.
        assert!(fed.step_time.secs() > 0.98 * 16.0 * 16e3 / 50e3, "{schedule}: {}", fed.step_time);
    }
}

#[test]
fn an_execution_computes_the_same_with_samples_described() {
    let losses = |scenario: &Scenario| -> Vec<f64> {
        pollster::block_on(async {
            let backend = open(BackendKind::Cpu).await.unwrap();
            let mut trainer = Trainer::of_graph(scenario, executable_graph(scenario).unwrap(), backend).await.unwrap();
            let mut losses = Vec::new();
            for _ in 0..3 {
                losses.push(trainer.step().await.unwrap().loss);
            }
            losses
        })
    };
    let mut file = preset_file("tiny-llama-pp2-tp2").unwrap();
    let bare = check(&file).unwrap();
    let samples = SamplesFile { count: Some(1000), size: Some(Bytes(1000)), ..SamplesFile::default() };
    file.data.samples = Some(samples);
    let described = check(&file).unwrap();
    assert!(lower(&described).ops().any(|op| op.kind == OpKind::Load));
    assert_eq!(losses(&described), losses(&bare));
}

fn preset(name: &str, change: impl Fn(&mut ScenarioFile)) -> Nanos {
    let mut file = preset_file(name).unwrap();
    change(&mut file);
    stall(&simulated(&check(&file).unwrap()))
}

#[test]
fn shards_remove_what_opening_small_files_costs() {
    let name = "small-files-metadata";
    let files = preset(name, |_| ());
    let samples = |file: &mut ScenarioFile, format| {
        file.data.samples.as_mut().unwrap().format = format;
    };
    assert!(files > Nanos(20_000_000), "{files}");
    assert_eq!(preset(name, |file| samples(file, SampleFormat::Shards)), Nanos::ZERO);
    assert_eq!(preset(name, |file| samples(file, SampleFormat::Records)), Nanos::ZERO);
    let more = |file: &mut ScenarioFile| {
        file.data.storage.as_mut().unwrap().metadata_servers = Some(16);
    };
    assert_eq!(preset(name, more), Nanos::ZERO, "as many opens as samples a second");
}

#[test]
fn nodes_beside_the_cluster_remove_the_stall_of_decoding() {
    let name = "preprocessing-nodes";
    assert_eq!(preset(name, |_| ()), Nanos::ZERO);
    let (alone, fewer) = (
        preset(name, |file| file.data.preprocessing = None),
        preset(name, |file| file.data.preprocessing.as_mut().unwrap().nodes = Some(6)),
    );
    assert!(alone > fewer && fewer > Nanos::ZERO, "{alone} {fewer}");
    let slow = |file: &mut ScenarioFile| {
        file.data.preprocessing.as_mut().unwrap().bandwidth = Some(BytesPerSec(100e6));
    };
    assert!(preset(name, slow) > Nanos::ZERO, "batches come over the network");
}

#[test]
fn servers_that_hold_copies_or_stripes_deliver_more() {
    let of = |said: &str| {
        let text = format!("{said}\nservers = 64\nserver_bandwidth = \"100 MB/s\"\n");
        let mut file = preset_file("data-bound-vision").unwrap();
        file.data.loader.as_mut().unwrap().workers = Some(2);
        file.data.storage = Some(toml::from_str(&text).unwrap());
        Loader::of(&check(&file).unwrap()).unwrap()
    };
    let (plain, copies) = (of(""), of("replicas = 3"));
    assert!(plain.evenness < 0.5 && copies.evenness > plain.evenness + 0.05, "{} {}", plain.evenness, copies.evenness);
    assert!(copies.tiers[3].bandwidth.0 > plain.tiers[3].bandwidth.0);
    let striped = of("stripe_count = 8\nstripe_size = \"16 KiB\"");
    assert!(striped.tiers[3].alone.0 > 6.0 * plain.tiers[3].alone.0 && striped.evenness > plain.evenness);
}

#[test]
fn what_is_said_of_storage_that_cannot_be_is_refused() {
    let refused = |section: &str, said: &str, path: &str| {
        let samples = "[data.samples]\ncount = 1000\nsize = \"1 KB\"\n";
        let table = if section == "samples" { String::new() } else { format!("[data.{section}]\n") };
        let text = format!(
            "[model]\npreset = \"resnet-50\"\n[cluster]\ndevice = \"a100-80gb-sxm\"\nnodes = 2\n[strategy]\nglobal_batch = 16\n{samples}{table}{said}\n"
        );
        let error = check(&toml::from_str::<ScenarioFile>(&text).unwrap()).unwrap_err().to_string();
        assert!(error.contains(path), "{said}: {error}");
    };
    refused("storage", "stripe_count = 2", "data.storage.stripe_count");
    refused("storage", "servers = 0", "data.storage.servers");
    refused("storage", "servers = 4\nreplicas = 5", "data.storage.replicas");
    refused("storage", "metadata_rate = 5.0", "data.storage.metadata_rate");
    refused("storage", "metadata_servers = 1\nmetadata_rate = 0.0", "data.storage.metadata_rate");
    refused("samples", "per_shard = 10", "data.samples.per_shard");
    refused("samples", "format = \"shards\"\nper_shard = 1000", "data.samples.per_shard");
    refused("preprocessing", "workers = 4", "data.preprocessing.nodes");
    refused("preprocessing", "nodes = 2\n[data.loader]\nworkers = 4", "data.loader.workers");
}

#[test]
fn drives_behind_the_memory_serve_what_it_does_not_have() {
    let cache = |said: &str| scenario(600, &format!("[data.cache]\npolicy = \"none\"\n{said}"));
    let loader = |said: &str| Loader::of(&cache(said)).unwrap();
    // Every node reads half of 100 GB in each epoch, of which the memory keeps 20 GB.
    let (memory, both) = (loader("capacity = \"20 GB\""), loader("capacity = \"20 GB\"\ndrives = \"30 GB\""));
    let one = loader("capacity = \"30 GB\"");
    assert_eq!(memory.shares[1], 0.0);
    assert!(both.shares[1] > 0.08 && both.shares[0] == memory.shares[0], "{:?}", both.shares);
    // What passes through the drives stays there, also what the memory keeps: both find what the drives alone would.
    assert!((both.shares[0] + both.shares[1] - one.shares[0]).abs() < 0.02, "{:?} {:?}", both.shares, one.shares);
    let waits = |said: &str| stall(&simulated(&cache(said)));
    assert!(waits("capacity = \"20 GB\"\ndrives = \"80 GB\"") < waits("capacity = \"20 GB\""));
    let error = |said: &str| {
        let mut file = preset_file("data-bound-vision").unwrap();
        file.data.cache = Some(toml::from_str(said).unwrap());
        check(&file).unwrap_err().to_string()
    };
    for said in
        ["drives = \"0 B\"", "drives = \"1 TB\"\nmedium = \"nvme\"", "drives = \"1 TB\"\nplacement = \"partitioned\""]
    {
        assert!(error(said).contains("data.cache.drives"), "{said}");
    }
}
