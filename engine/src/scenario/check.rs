//! From [`ScenarioFile`] to [`Scenario`]: every constraint that the lowering relies on.

use super::{
    Data, PipelineSchedule, Placement, RecomputeModule, Run, Scenario, ScenarioError, ScenarioFile, Strategy,
    StrategyFile, check_cluster, check_expert, strategy::DEFAULT_RANK,
};
use crate::cluster::{Cluster, MeshAxis};
use crate::model::Model;
use crate::units::Bytes;

/// Sizes beyond any model or machine; they keep products of three within 64 bits.
const MAX_SIZE: u32 = 1 << 20;

/// More micro-batches than any published job; each is some thousand spans.
const MAX_MICRO_BATCHES: u32 = 4096;

/// Gradient bucket when none is given: that of PyTorch's DDP is 25 MiB, of Megatron-LM 40 M elements and more.
const DEFAULT_BUCKET: Bytes = Bytes(100_000_000);

/// What ships with the program and a model can be trained on: characters of a novel, handwritten digits, made-up clicks.
pub fn datasets(model: &Model) -> &'static [&'static str] {
    match (model.image, &model.recommender) {
        (Some(_), _) => &["digits"],
        (_, Some(_)) => &["clicks"],
        _ => &["persuasion"],
    }
}

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
    let (model, mut cluster, data) = check_parts(file)?;
    let strategy = check_strategy(file, &model, &cluster, &data)?;
    cluster.device_of_rank = strategy.mesh().devices_along(strategy.rank_order);
    super::magnitude::check_magnitude(&model, &cluster, &strategy, &data)?;
    super::magnitude::check_input_time(&cluster, &strategy, &data)?;
    let run = check_run(file)?;
    let resilience = super::check_resilience::check_resilience(file, &model, &cluster, strategy.optimizer)?;
    let name = file
        .name
        .clone()
        .unwrap_or_else(|| format!("{} on {} × {}", model.name, cluster.devices(), cluster.device.name));
    let transfer = super::check_transfer::check_transfer(file.transfer.as_ref(), &model, &cluster, strategy.optimizer)?;
    let budget = super::budget::check_budget(file.budget.as_ref())?;
    Ok(Scenario { name, model, cluster, strategy, data, run, resilience, transfer, budget })
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

/// The divisors of `whole` next to `value`, as a hint.
fn nearest_divisors(value: u32, whole: u32) -> String {
    format!("Nearest valid: {}.", divisors_near(value, whole))
}

/// The divisors of `whole` next to `value`; none of 0.
fn divisors_near(value: u32, whole: u32) -> String {
    let below = (1..=value.min(whole)).rev().find(|&d| whole.is_multiple_of(d));
    let above = (value..=whole.min(value.saturating_mul(64))).find(|&d| whole.is_multiple_of(d));
    let near: Vec<_> = [below, above].into_iter().flatten().map(|d| d.to_string()).collect();
    near.join(" or ")
}

fn check_data(file: &ScenarioFile, model: &Model, cluster: &Cluster) -> Checked<Data> {
    let sequence_length = size(file.data.sequence_length.or(Some(model.positions)), "data.sequence_length")?;
    if model.image.is_some() && sequence_length != model.positions {
        let allowed = format!("left out for images, or their patches and one, here {}", model.positions);
        let hint = "Change model.image_size or model.patch_size.";
        return Err(invalid("data.sequence_length", sequence_length, allowed, hint));
    }
    if sequence_length > model.positions {
        let allowed = format!("at most model.positions = {}", model.positions);
        return Err(invalid("data.sequence_length", sequence_length, allowed, "Shorten it or raise model.positions."));
    }
    let suitable = datasets(model);
    let dataset = file.data.dataset.clone().unwrap_or_else(|| suitable[0].to_owned());
    if !suitable.contains(&dataset.as_str()) {
        let allowed = format!("left out, or {} for {} models", suitable.join(", "), model.architecture.name());
        return Err(invalid("data.dataset", dataset, allowed, "Only what ships with the program can be read yet."));
    }
    let input = super::check_input::check_input(&file.data, model, sequence_length, cluster)?;
    Ok(Data { sequence_length, dataset, input })
}

/// Checks all but the strategy and the run.
pub fn check_parts(file: &ScenarioFile) -> Checked<(Model, Cluster, Data)> {
    let model = super::check_model(&file.model)?;
    let cluster = check_cluster::check_cluster(file)?;
    let data = check_data(file, &model, &cluster)?;
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
        keep_gathered: s.keep_gathered,
        tensor_chunks: bounded(Some(s.tensor_chunks), "strategy.tensor_chunks", 64)?,
        context_parallel,
        context_method: s.context_method,
        expert_parallel: 1,
        expert_tensor_parallel: check_expert::ranks(s.expert_tensor_parallel, "strategy.expert_tensor_parallel")?,
        capacity_factor: check_expert::capacity(s)?,
        expert_dispatch: s.expert_dispatch,
        rank_order: rank_order(&s.rank_order)?,
        pipeline_parallel,
        schedule: PipelineSchedule::OneFOneB,
        overlap_micro_batches: false,
        virtual_stages,
        stage_layers,
        micro_batch: size(Some(s.micro_batch), "strategy.micro_batch")?,
        global_batch: bounded(Some(s.global_batch), "strategy.global_batch", 1 << 24)?,
        precision: s.precision,
        gradient_format: s.gradient_format,
        optimizer: s.optimizer,
        attention: s.attention,
        kernels: s.kernels,
        recompute: s.recompute,
        recompute_budget: s.recompute_budget.unwrap_or(Bytes(cluster.least_memory().0 / 10 * 9)),
        recompute_modules: recompute_modules(s),
        recompute_interval: bounded(Some(s.recompute_interval), "strategy.recompute_interval", 4096)?,
        cuda_graphs: s.cuda_graphs,
        overlap_gradients: s.overlap_gradients,
        bucket: bucket(s.bucket)?,
        offload_optimizer: s.offload_optimizer,
        offload_parameters: s.offload_parameters,
        offload_activations: s.offload_activations.min(4096),
        compress_activations: s.compress_activations,
        update: super::check_update::rule(s)?,
        compression: s.gradient_compression,
        compression_share: super::check_sharding::share(s)?,
        compression_rank: bounded(s.compression_rank.or(Some(DEFAULT_RANK)), "strategy.compression_rank", 1024)?,
        zero: super::check_sharding::stage(s)?,
        sharding_group: 1,
        overlap_parameters: s.overlap_parameters,
        prefetch: super::check_sharding::prefetch(s)?,
        reshard_after_forward: s.reshard_after_forward,
    };
    strategy.expert_parallel = check_expert::spread(s, &strategy, model)?;
    super::check_update::owners(&mut strategy)?;
    super::check_samples::strategy(&strategy, model)?;
    check_batch(&strategy)?;
    strategy.schedule = super::check_pipeline::schedule(s, &strategy)?;
    super::check_pipeline::copies(&strategy, model)?;
    strategy.sharding_group = super::check_sharding::group(s, &strategy)?;
    check_expert::context(s, &strategy, model, data)?;
    check_expert::experts(&strategy, model)?;
    strategy.overlap_micro_batches = super::check_pipeline::pairs(s, &strategy.schedule)?;
    super::check_sharding::tied(&strategy, model)?;
    super::check_sharding::optimizer(&strategy)?;
    super::check_sharding::compression(&strategy)?;
    super::check_update::update(&strategy, model, cluster)?;
    super::check_sharding::offload(&strategy, model)?;
    check_tokens(&strategy, data)?;
    Ok(strategy)
}

/// All axes, those that are named first.
fn rank_order(named: &[MeshAxis]) -> Checked<[MeshAxis; 4]> {
    let mut order = named.to_vec();
    order.extend(MeshAxis::ALL.into_iter().filter(|axis| !named.contains(axis)));
    order.try_into().map_err(|order: Vec<MeshAxis>| {
        let hint = "For example [\"tp\", \"pp\", \"dp\"], which keeps the stages of a replica together.";
        invalid("strategy.rank_order", format!("{} names", order.len()), "each of tp, cp, dp, pp at most once", hint)
    })
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
            let hint = format!("{} {hint}", nearest_mesh(inner, cluster.devices())).trim_start().to_owned();
            Err(invalid("strategy.tensor_parallel", format!("{tp} (× {pp} stages{sequences})"), allowed, hint))
        }
        None => Ok(u32::try_from(devices / model_ranks).unwrap_or(1)),
    }
}

/// Which single axis of `[tp, cp, pp]` could be changed to what, so that the mesh fills the devices.
fn nearest_mesh([tp, cp, pp]: [u32; 3], devices: u32) -> String {
    let axis = |name: &str, value: u32, others: u32| {
        let left = if devices.is_multiple_of(others) { devices / others } else { 0 };
        let near = divisors_near(value, left);
        (!near.is_empty()).then(|| format!("{name} = {near}"))
    };
    let of_axes =
        [axis("tensor_parallel", tp, cp.saturating_mul(pp)), axis("pipeline_parallel", pp, cp.saturating_mul(tp))];
    let near: Vec<_> = of_axes.into_iter().flatten().collect();
    if near.is_empty() { String::new() } else { format!("Nearest valid: {}.", near.join(", or ")) }
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
    if s.tensor_parallel > 1 && s.tensor_chunks > 1 {
        let whole = u32::try_from(tokens).unwrap_or(u32::MAX) / s.tensor_parallel;
        divides("strategy.tensor_chunks", s.tensor_chunks, "tokens per micro-batch and tensor rank", whole)?;
    }
    Ok(())
}

/// What an execution may take where nothing is said: little enough for any device, and for a page.
const MEMORY_LIMIT: Bytes = Bytes(1 << 30);

fn check_run(file: &ScenarioFile) -> Checked<Run> {
    let run = &file.run;
    let number = |value: f64, path| {
        if value.is_finite() && (0.0..=1e6).contains(&value) {
            Ok(value)
        } else {
            Err(invalid(path, value, "a finite number from 0 to 1000000", "Check for a typing error."))
        }
    };
    if run.memory_limit == Some(Bytes(0)) {
        let hint = "Leave it out for the default.";
        return Err(invalid("run.memory_limit", Bytes(0), "more than 0 B", hint));
    }
    Ok(Run {
        steps: bounded(Some(run.steps), "run.steps", 1_000_000)?,
        seed: run.seed,
        learning_rate: number(run.learning_rate, "run.learning_rate")?,
        weight_decay: number(run.weight_decay, "run.weight_decay")?,
        gradient_clip: number(run.gradient_clip, "run.gradient_clip")?,
        pool: run.pool.with_budget(run.pool_budget),
        memory_limit: run.memory_limit.unwrap_or(MEMORY_LIMIT),
        allocator: run.allocator,
        placement: Placement {
            kind: run.placement,
            workers: run.workers.map(|workers| bounded(Some(workers), "run.workers", 64)).transpose()?,
        },
    })
}
