//! From [`ScenarioFile`] to [`Scenario`]: every constraint that the lowering relies on.

use super::presets::nearest_hint;
use super::{
    Data, PipelineSchedule, RecomputeModule, Run, Scenario, ScenarioError, ScenarioFile, Strategy, StrategyFile,
    check_expert,
};
use crate::cluster::{self, Cluster, Device, DeviceFile, Link, LinkFile};
use crate::model::Model;
use crate::units::{Bytes, BytesPerSec, FlopsPerSec, Nanos};

/// Sizes beyond any model or machine; they keep products of three within 64 bits.
const MAX_SIZE: u32 = 1 << 20;

/// More ranks than any published job.
const MAX_RANKS: u64 = 1 << 18;

/// More micro-batches than any published job; each is some thousand spans.
const MAX_MICRO_BATCHES: u32 = 4096;

/// Gradient bucket when none is given: that of PyTorch's DDP is 25 MiB, of Megatron-LM 40 M elements and more.
const DEFAULT_BUCKET: Bytes = Bytes(100_000_000);

/// The text that ships with the program.
pub const DATASETS: &[&str] = &["persuasion"];

/// A checked value, or what is wrong with it.
pub(super) type Checked<T> = Result<T, ScenarioError>;

/// A value that is not allowed, cut to a readable length.
pub(super) fn invalid(
    path: &'static str,
    value: impl std::fmt::Display,
    allowed: impl Into<String>,
    hint: impl Into<String>,
) -> ScenarioError {
    let value = value.to_string().chars().take(80).collect();
    ScenarioError::Invalid { path, value, allowed: allowed.into(), hint: hint.into() }
}

/// Checks a scenario and fills in what was left out.
pub fn check(file: &ScenarioFile) -> Checked<Scenario> {
    let (model, cluster, data) = check_parts(file)?;
    let strategy = check_strategy(file, &model, &cluster, &data)?;
    super::magnitude::check_magnitude(&model, &cluster, &strategy, &data)?;
    let run = check_run(file)?;
    let name = file
        .name
        .clone()
        .unwrap_or_else(|| format!("{} on {} × {}", model.name, cluster.devices(), cluster.device.name));
    Ok(Scenario { name, model, cluster, strategy, data, run })
}

pub(super) fn required<T>(value: Option<T>, path: &'static str, allowed: &str) -> Checked<T> {
    value.ok_or_else(|| invalid(path, "(missing)", allowed, "Give it, or start from a preset."))
}

pub(super) fn size(value: Option<u32>, path: &'static str) -> Checked<u32> {
    bounded(value, path, MAX_SIZE)
}

pub(super) fn bounded(value: Option<u32>, path: &'static str, max: u32) -> Checked<u32> {
    let value = required(value, path, &format!("a whole number from 1 to {max}"))?;
    if (1..=max).contains(&value) {
        Ok(value)
    } else {
        Err(invalid(path, value, format!("a whole number from 1 to {max}"), "Check for a typing error."))
    }
}

/// `path` = `value` must divide `whole`; names the nearest values that do.
pub(super) fn divides(path: &'static str, value: u32, whole_path: &str, whole: u32) -> Checked<()> {
    if whole.is_multiple_of(value) {
        return Ok(());
    }
    Err(invalid(path, value, format!("a divisor of {whole_path} = {whole}"), nearest_divisors(value, whole)))
}

/// The divisors of `whole` next to `value`.
fn nearest_divisors(value: u32, whole: u32) -> String {
    let below = (1..=value.min(whole)).rev().find(|&d| whole.is_multiple_of(d));
    let above = (value..=whole.min(value.saturating_mul(64))).find(|&d| whole.is_multiple_of(d));
    let near: Vec<_> = [below, above].into_iter().flatten().map(|d| d.to_string()).collect();
    format!("Nearest valid: {}.", near.join(" or "))
}

fn check_cluster(file: &ScenarioFile) -> Checked<Cluster> {
    let cluster = &file.cluster;
    let base = match &cluster.device {
        Some(name) => device_preset(name)?.clone(),
        None => DeviceFile::default(),
    };
    let name = cluster.device.clone().unwrap_or_else(|| "custom".to_owned());
    let device = cluster.custom.clone().unwrap_or_default().over(&base);
    let devices_per_node = bounded(device.devices_per_node, "cluster.custom.devices_per_node", 4096)?;
    let nodes = bounded(Some(cluster.nodes), "cluster.nodes", 1 << 16)?;
    if u64::from(nodes) * u64::from(devices_per_node) > MAX_RANKS {
        return Err(invalid("cluster.nodes", nodes, format!("at most {MAX_RANKS} devices in all"), "Use fewer nodes."));
    }
    Ok(Cluster {
        nodes,
        devices_per_node,
        intra_link: check_link(device.intra_link.clone(), &INTRA_LINK)?,
        inter_link: check_link(device.inter_link.clone(), &INTER_LINK)?,
        device: check_device(name, &device)?,
    })
}

fn device_preset(name: &str) -> Checked<&'static DeviceFile> {
    cluster::presets().get(name).ok_or_else(|| {
        let known: Vec<_> = cluster::presets().keys().map(String::as_str).collect();
        invalid(
            "cluster.device",
            format!("`{name}`"),
            format!("one of {}", known.join(", ")),
            nearest_hint(name, &known),
        )
    })
}

/// The spread of measurements around predictions.
fn residuals(file: &DeviceFile) -> Checked<Option<[f64; 2]>> {
    let Some([low, high]) = file.residuals else { return Ok(None) };
    if low.is_finite() && high.is_finite() && low > 0.0 && low <= high {
        return Ok(Some([low, high]));
    }
    let allowed = "two numbers above 0, the smaller first";
    Err(invalid("cluster.custom.residuals", format!("[{low}, {high}]"), allowed, "Leave it out if unknown."))
}

fn multiprocessors(count: Option<u32>) -> Checked<u32> {
    let count = count.unwrap_or(0);
    if count <= 1 << 16 {
        return Ok(count);
    }
    Err(invalid("cluster.custom.multiprocessors", count, "at most 65536", "An H100 has 132; leave it out if unknown."))
}

fn check_device(name: String, file: &DeviceFile) -> Checked<Device> {
    let rate =
        |value: Option<FlopsPerSec>, path| positive(value.map(|v| v.0), path, "\"312 TFLOP/s\"").map(FlopsPerSec);
    // Vector units do a sixteenth of what matrix units do, where the datasheet is silent.
    let vector = file.fp32.or(file.bf16.map(|matrix| FlopsPerSec(matrix.0 / 16.0)));
    let fp32 = rate(vector, "cluster.custom.fp32")?;
    Ok(Device {
        name,
        fp32,
        fp32_matmul: fp32,
        tf32_matmul: rate(file.tf32.or(file.fp32), "cluster.custom.tf32")?,
        bf16_matmul: rate(file.bf16, "cluster.custom.bf16")?,
        fp16_matmul: rate(file.fp16.or(file.bf16), "cluster.custom.fp16")?,
        fp8_matmul: rate(file.fp8.or(file.bf16), "cluster.custom.fp8")?,
        matmul_efficiency: share(file.matmul_efficiency, "cluster.custom.matmul_efficiency")?,
        attention_efficiency: share(
            file.attention_efficiency.or(file.matmul_efficiency),
            "cluster.custom.attention_efficiency",
        )?,
        memory: required(file.memory, "cluster.custom.memory", "a size such as \"80 GB\"")?,
        memory_bandwidth: bandwidth(file.memory_bandwidth, "cluster.custom.memory_bandwidth")?,
        memory_efficiency: share(file.memory_efficiency, "cluster.custom.memory_efficiency")?,
        launch_overhead: latency(file.launch_overhead, "cluster.custom.launch_overhead")?,
        host_dispatch: latency(file.host_dispatch.or(Some(Nanos::ZERO)), "cluster.custom.host_dispatch")?,
        residuals: residuals(file)?,
        multiprocessors: multiprocessors(file.multiprocessors)?,
    })
}

/// The paths of a link and of its fields.
struct LinkPaths {
    link: &'static str,
    bandwidth: &'static str,
    latency: &'static str,
    efficiency: &'static str,
    in_network: &'static str,
}

const INTRA_LINK: LinkPaths = LinkPaths {
    link: "cluster.custom.intra_link",
    bandwidth: "cluster.custom.intra_link.bandwidth",
    latency: "cluster.custom.intra_link.latency",
    efficiency: "cluster.custom.intra_link.efficiency",
    in_network: "cluster.custom.intra_link.in_network",
};

const INTER_LINK: LinkPaths = LinkPaths {
    link: "cluster.custom.inter_link",
    bandwidth: "cluster.custom.inter_link.bandwidth",
    latency: "cluster.custom.inter_link.latency",
    efficiency: "cluster.custom.inter_link.efficiency",
    in_network: "cluster.custom.inter_link.in_network",
};

fn check_link(file: Option<LinkFile>, paths: &LinkPaths) -> Checked<Link> {
    let file = required(file, paths.link, "a table with bandwidth and latency")?;
    Ok(Link {
        name: file.name.unwrap_or_else(|| "link".to_owned()),
        bandwidth: bandwidth(file.bandwidth, paths.bandwidth)?,
        latency: latency(file.latency, paths.latency)?,
        efficiency: share(file.efficiency, paths.efficiency)?,
        layout: file.layout.unwrap_or_default(),
        in_network: file.in_network.map_or(Ok(None), |rate| bandwidth(Some(rate), paths.in_network).map(Some))?,
    })
}

fn positive(value: Option<f64>, path: &'static str, example: &str) -> Checked<f64> {
    let value = required(value, path, &format!("a rate such as {example}"))?;
    if value.is_finite() && value >= 1.0 {
        Ok(value)
    } else {
        Err(invalid(
            path,
            value,
            format!("a rate of at least one a second such as {example}"),
            "A device without it cannot be modelled.",
        ))
    }
}

fn bandwidth(value: Option<BytesPerSec>, path: &'static str) -> Checked<BytesPerSec> {
    positive(value.map(|v| v.0), path, "\"400 Gb/s\"").map(BytesPerSec)
}

fn latency(value: Option<Nanos>, path: &'static str) -> Checked<Nanos> {
    let value = required(value, path, "a time such as \"2 us\"")?;
    if value <= Nanos(1_000_000_000) {
        Ok(value)
    } else {
        Err(invalid(path, value, "at most one second", "Check the unit."))
    }
}

/// An efficiency: above 0 and at most 1; 1 when left out.
fn share(value: Option<f64>, path: &'static str) -> Checked<f64> {
    let value = value.unwrap_or(1.0);
    if value > 1e-6 && value <= 1.0 {
        Ok(value)
    } else {
        Err(invalid(path, value, "a share above 0 and at most 1", "1 is the datasheet's peak."))
    }
}

fn check_data(file: &ScenarioFile, model: &Model) -> Checked<Data> {
    let sequence_length = size(file.data.sequence_length.or(Some(model.positions)), "data.sequence_length")?;
    if sequence_length > model.positions {
        let allowed = format!("at most model.positions = {}", model.positions);
        return Err(invalid("data.sequence_length", sequence_length, allowed, "Shorten it or raise model.positions."));
    }
    let dataset = file.data.dataset.clone().unwrap_or_else(|| DATASETS[0].to_owned());
    if !DATASETS.contains(&dataset.as_str()) {
        let allowed = format!("one of {}", DATASETS.join(", "));
        return Err(invalid("data.dataset", dataset, allowed, "Only shipped texts can be read yet."));
    }
    Ok(Data { sequence_length, dataset })
}

/// Checks all but the strategy and the run.
pub fn check_parts(file: &ScenarioFile) -> Checked<(Model, Cluster, Data)> {
    let model = super::check_model(&file.model)?;
    let cluster = check_cluster(file)?;
    let data = check_data(file, &model)?;
    Ok((model, cluster, data))
}

/// Checks a strategy for a model, a cluster and data that are checked already.
pub fn check_strategy(file: &ScenarioFile, model: &Model, cluster: &Cluster, data: &Data) -> Checked<Strategy> {
    let s = &file.strategy;
    let tensor_parallel = bounded(Some(s.tensor_parallel), "strategy.tensor_parallel", MAX_SIZE)?;
    let pipeline_parallel = bounded(Some(s.pipeline_parallel), "strategy.pipeline_parallel", MAX_SIZE)?;
    check_tensor(tensor_parallel, model)?;
    let virtual_stages = super::check_pipeline::virtual_stages(s)?;
    let stage_layers = super::check_pipeline::stage_layers(s, virtual_stages, model)?;
    let context_parallel = check_expert::ranks(s.context_parallel, "strategy.context_parallel")?;
    let inner = [tensor_parallel, context_parallel, pipeline_parallel];
    let mut strategy = Strategy {
        data_parallel: data_parallel(file, inner, cluster)?,
        tensor_parallel,
        sequence_parallel: s.sequence_parallel && tensor_parallel > 1,
        context_parallel,
        context_method: s.context_method,
        expert_parallel: check_expert::ranks(s.expert_parallel, "strategy.expert_parallel")?,
        expert_tensor_parallel: check_expert::ranks(s.expert_tensor_parallel, "strategy.expert_tensor_parallel")?,
        capacity_factor: check_expert::capacity(s)?,
        expert_dispatch: s.expert_dispatch,
        pipeline_parallel,
        schedule: PipelineSchedule::OneFOneB,
        virtual_stages,
        stage_layers,
        micro_batch: size(Some(s.micro_batch), "strategy.micro_batch")?,
        global_batch: bounded(Some(s.global_batch), "strategy.global_batch", 1 << 24)?,
        precision: s.precision,
        optimizer: s.optimizer,
        attention: s.attention,
        recompute: s.recompute,
        recompute_modules: recompute_modules(s),
        recompute_interval: bounded(Some(s.recompute_interval), "strategy.recompute_interval", 4096)?,
        cuda_graphs: s.cuda_graphs,
        overlap_gradients: s.overlap_gradients,
        bucket: bucket(s.bucket)?,
        zero: super::check_sharding::stage(s)?,
        sharding_group: 1,
        overlap_parameters: s.overlap_parameters,
        prefetch: super::check_sharding::prefetch(s)?,
        reshard_after_forward: s.reshard_after_forward,
    };
    strategy.sharding_group = super::check_sharding::group(s, &strategy)?;
    check_expert::context(s, &strategy, model, data)?;
    check_expert::experts(&strategy, model)?;
    check_batch(&strategy)?;
    strategy.schedule = super::check_pipeline::schedule(s, &strategy)?;
    super::check_sharding::tied(&strategy, model)?;
    super::check_sharding::optimizer(&strategy)?;
    check_tokens(&strategy, data)?;
    Ok(strategy)
}

fn check_tensor(tensor_parallel: u32, model: &Model) -> Checked<()> {
    divides("strategy.tensor_parallel", tensor_parallel, "model.kv_heads", model.kv_heads)?;
    divides("strategy.tensor_parallel", tensor_parallel, "model.ffn_hidden", model.ffn_hidden)
}

/// What selective recomputation repeats, each once.
fn recompute_modules(s: &StrategyFile) -> Vec<RecomputeModule> {
    let mut modules = s.recompute_modules.clone();
    if modules.is_empty() {
        modules.push(RecomputeModule::Attention);
    }
    modules.sort_unstable();
    modules.dedup();
    modules
}

fn bucket(bucket: Option<Bytes>) -> Checked<Bytes> {
    let bucket = bucket.unwrap_or(DEFAULT_BUCKET);
    if bucket.0 > 0 {
        return Ok(bucket);
    }
    Err(invalid("strategy.bucket", bucket, "a size above zero such as \"100 MB\"", "Leave it out for the default."))
}

/// What was given, or what the other axes leave of the cluster; the mesh must fill the cluster or fit in it.
fn data_parallel(file: &ScenarioFile, inner: [u32; 3], cluster: &Cluster) -> Checked<u32> {
    let [tp, cp, pp] = inner;
    let devices = u64::from(cluster.devices());
    let model_ranks = inner.iter().fold(1_u64, |product, &n| product.saturating_mul(u64::from(n)));
    let axes = if cp == 1 {
        "tensor_parallel × pipeline_parallel"
    } else {
        "tensor_parallel × context_parallel × pipeline_parallel"
    };
    let hint = format!("The cluster has {devices} devices; change cluster.nodes or the strategy.");
    match file.strategy.data_parallel {
        Some(dp) => {
            let dp = bounded(Some(dp), "strategy.data_parallel", MAX_SIZE)?;
            if model_ranks.saturating_mul(u64::from(dp)) > devices {
                let allowed = format!("at most {} with {axes} = {model_ranks}", devices / model_ranks);
                return Err(invalid("strategy.data_parallel", dp, allowed, hint));
            }
            Ok(dp)
        }
        None if model_ranks > devices || !devices.is_multiple_of(model_ranks) => {
            let allowed = format!("{axes} that divides the {devices} devices");
            let sequences = if cp == 1 { String::new() } else { format!(" × {cp} context ranks") };
            Err(invalid("strategy.tensor_parallel", format!("{tp} (× {pp} stages{sequences})"), allowed, hint))
        }
        None => Ok(u32::try_from(devices / model_ranks).unwrap_or(1)),
    }
}

fn check_batch(s: &Strategy) -> Checked<()> {
    let per_round = u64::from(s.micro_batch) * u64::from(s.data_parallel);
    let batch = u64::from(s.global_batch);
    if !batch.is_multiple_of(per_round) {
        let (below, above) = (batch / per_round * per_round, batch.div_ceil(per_round) * per_round);
        let near = if below == 0 { above.to_string() } else { format!("{below} or {above}") };
        let allowed = format!("a multiple of micro_batch × data_parallel = {} × {}", s.micro_batch, s.data_parallel);
        return Err(invalid("strategy.global_batch", s.global_batch, allowed, format!("Nearest valid: {near}.")));
    }
    if batch / per_round > u64::from(MAX_MICRO_BATCHES) {
        let allowed = format!("at most {MAX_MICRO_BATCHES} micro-batches per step");
        return Err(invalid("strategy.global_batch", s.global_batch, allowed, "Raise micro_batch or data_parallel."));
    }
    Ok(())
}

fn check_tokens(s: &Strategy, data: &Data) -> Checked<()> {
    let tokens = u64::from(s.micro_batch) * u64::from(data.sequence_length);
    if tokens > 1 << 24 {
        return Err(invalid(
            "strategy.micro_batch",
            s.micro_batch,
            "at most 16777216 tokens per micro-batch",
            "Lower it.",
        ));
    }
    let tokens = tokens / u64::from(s.context_parallel);
    if s.sequence_parallel && !tokens.is_multiple_of(u64::from(s.tensor_parallel)) {
        let allowed =
            format!("tokens per micro-batch on a rank ({tokens}) that tensor_parallel = {} divides", s.tensor_parallel);
        return Err(invalid(
            "strategy.sequence_parallel",
            true,
            allowed,
            "Change data.sequence_length or turn it off.",
        ));
    }
    Ok(())
}

fn check_run(file: &ScenarioFile) -> Checked<Run> {
    let run = &file.run;
    let number = |value: f64, path| {
        if value.is_finite() && (0.0..=1e6).contains(&value) {
            Ok(value)
        } else {
            Err(invalid(path, value, "a finite number from 0 to 1000000", "Check for a typing error."))
        }
    };
    Ok(Run {
        steps: bounded(Some(run.steps), "run.steps", 1_000_000)?,
        seed: run.seed,
        learning_rate: number(run.learning_rate, "run.learning_rate")?,
        weight_decay: number(run.weight_decay, "run.weight_decay")?,
        gradient_clip: number(run.gradient_clip, "run.gradient_clip")?,
    })
}
