//! From a measured run to the scenario that it was, as far as its source tells.

use super::Measurement;
use super::framework::{self, TENSOR_CHUNKS, attention, dispatch, overlaps_tensor, unfused};
use super::measurement::CountedMemory;
use crate::cluster::{DeviceFile, LinkFile};
use crate::model::{Architecture, ModelFile, ParameterCount};
use crate::scenario::{
    ClusterFile, ContextMethod, DataFile, Place, Precision, Recompute, RecomputeModule, Scenario, ScenarioFile,
    ScheduleName, StrategyFile, check, check_model,
};
use crate::units::{Bytes, BytesPerSec};

/// A measured run as a scenario.
#[derive(Clone, Debug)]
pub struct Built {
    /// What was run.
    pub scenario: Scenario,
    /// Measured time of a step in seconds.
    pub measured_step_s: f64,
    /// Measured peak memory.
    pub measured_peak_memory: Option<Bytes>,
    /// Of what that is.
    pub counted_memory: CountedMemory,
    /// What the source does not say and was taken to be.
    pub assumed: Vec<String>,
}

/// The scenario of a measured run, or what is missing or not modelled.
///
/// # Errors
/// A sentence that names what is missing, or what the simulator does not have yet.
pub fn build(m: &Measurement) -> Result<Built, String> {
    supported(m)?;
    let mut assumed = Vec::new();
    let measured_step_s = step_time(m)?;
    let model = model(m, &mut assumed)?;
    let cluster = cluster(m)?;
    let strategy = strategy(m, &model, &mut assumed)?;
    let data = DataFile { sequence_length: m.seq_len, ..DataFile::default() };
    let file = ScenarioFile { name: Some(m.id.clone()), model, cluster, strategy, data, ..ScenarioFile::default() };
    let scenario = check(&file).map_err(|error| error.to_string())?;
    Ok(Built {
        scenario,
        measured_step_s,
        measured_peak_memory: m.peak_memory(),
        counted_memory: m.counted_memory(),
        assumed,
    })
}

fn supported(m: &Measurement) -> Result<(), String> {
    let no = |what: &str| Err(format!("{what} is not modelled yet"));
    match () {
        () if !m.task.starts_with("pretrain") => Err(format!("`{}` is not pre-training", m.task)),
        () if m.gpu_type.starts_with("TPU") => no("a TPU's torus"),
        () => Ok(()),
    }
}

fn step_time(m: &Measurement) -> Result<f64, String> {
    let tokens = |rate: f64| Some(f64::from(m.global_batch?) * f64::from(m.seq_len?) / rate / f64::from(m.n_gpus?));
    let time = m.step_time_s.or_else(|| m.tokens_per_s_per_gpu.and_then(tokens));
    time.filter(|&time| time > 0.0).ok_or_else(|| "no measured step time".to_owned())
}

fn needed(value: Option<u32>, what: &str) -> Result<u32, String> {
    value.filter(|&n| n > 0).ok_or_else(|| format!("{what} is not stated"))
}

/// The family whose parameter count is nearest to the stated one; without one, what the name says.
fn model(m: &Measurement, assumed: &mut Vec<String>) -> Result<ModelFile, String> {
    let name = m.model_name.to_lowercase();
    let llama = ["llama", "mistral", "qwen", "mixtral", "deepseek", "kimi", "oss", "grok"];
    let llama = llama.iter().any(|family| name.contains(family));
    let vocab = m.vocab.unwrap_or_else(|| {
        let usual = framework::vocabulary(m);
        assumed.push(format!("vocabulary {usual}"));
        usual
    });
    assumed.extend(framework::dropout(m).map(|share| format!("dropout {share}")));
    let of = |architecture: Architecture, tied: bool| ModelFile {
        architecture: Some(architecture),
        layers: m.layers,
        hidden: m.hidden,
        heads: m.heads,
        kv_heads: m.kv_heads,
        head_dim: if is_latent(m) { Some(128) } else { m.head_dim },
        ffn_hidden: dense_ffn(m),
        vocab: Some(vocab),
        positions: m.seq_len,
        tied_embeddings: Some(tied),
        dropout: framework::dropout(m),
        ..mixture(m)
    };
    for (value, what) in [(m.layers, "layers"), (m.hidden, "hidden"), (m.heads, "heads"), (m.ffn_hidden, "ffn_hidden")]
    {
        needed(value, what)?;
    }
    needed(m.seq_len, "seq_len")?;
    let default = if llama { of(Architecture::Llama, false) } else { of(Architecture::Gpt, true) };
    let Some(stated) = m.params_b else { return Ok(default) };
    let apart = |file: &ModelFile| {
        let count = check_model(file).map_or(f64::INFINITY, |model| ParameterCount::of(&model).total() as f64);
        (count / 1e9 / stated - 1.0).abs()
    };
    let all = [Architecture::Gpt, Architecture::Llama].map(|a| [of(a, true), of(a, false)]);
    let nearest = all.into_iter().flatten().min_by(|a, b| apart(a).total_cmp(&apart(b)));
    // A name that says the family beats a count that may be rounded.
    Ok(nearest.filter(|file| !llama || file.architecture == Some(Architecture::Llama)).unwrap_or(default))
}

/// What only mixtures of experts have. The file's `ffn_hidden` is the width of one expert; the rest is public with the
/// families' configurations, of which a row gives the shape alone.
fn mixture(m: &Measurement) -> ModelFile {
    let base = ModelFile { experts: m.moe_experts, experts_per_token: m.moe_topk, ..ModelFile::default() };
    let name = m.model_name.to_lowercase();
    match () {
        () if m.moe_experts.is_none() => base,
        // Latent attention and a shared expert; the layers before the mixtures are dense.
        () if ["deepseek", "kimi"].iter().any(|family| name.contains(family)) => {
            let second = name.contains("v2");
            // What is cut down to a few layers says how many of them are dense.
            let dense = if second || name.contains("kimi") || m.notes.contains("1 dense layer") { 1 } else { 3 };
            ModelFile {
                expert_ffn_hidden: m.ffn_hidden,
                shared_experts: Some(if second { 2 } else { 1 }),
                dense_layers: Some(dense),
                query_rank: Some(1536),
                kv_rank: Some(512),
                rope_dim: Some(64),
                value_dim: m.head_dim.or(Some(128)),
                ..base
            }
        }
        () if name.contains("maverick") => {
            ModelFile { shared_experts: Some(1), expert_interval: Some(2), expert_ffn_hidden: m.ffn_hidden, ..base }
        }
        // Every other layer attends to 128 tokens.
        () if name.contains("gpt") && name.contains("oss") => {
            ModelFile { window: Some(128), window_interval: Some(2), ..base }
        }
        () => base,
    }
}

/// The width of the dense layers of a model whose stated width is that of an expert.
fn dense_ffn(m: &Measurement) -> Option<u32> {
    let name = m.model_name.to_lowercase();
    match () {
        () if name.contains("v2") && name.contains("deepseek") => Some(12_288),
        () if ["deepseek", "kimi"].iter().any(|family| name.contains(family)) => Some(18_432),
        () if name.contains("maverick") => Some(16_384),
        () => m.ffn_hidden,
    }
}

/// The device preset of a name.
pub(super) fn device(gpu: &str) -> Option<&'static str> {
    if gpu.starts_with("H100") && ["500", "96GB", "96 GB", "94GB", "94 GB"].iter().any(|mark| gpu.contains(mark)) {
        return Some("h100-96gb-500w");
    }
    let known = [
        ("A100-40GB", "a100-40gb-sxm"),
        ("A100", "a100-80gb-sxm"),
        ("H100", "h100-80gb-sxm"),
        ("H200", "h200-141gb-sxm"),
        ("H800", "h800-80gb-sxm"),
        ("GB200", "gb200-nvl72"),
        ("GB300", "gb300-nvl72"),
        ("B200", "b200-180gb-sxm"),
        ("B300", "b300-288gb-sxm"),
        ("V100", "v100-32gb-sxm"),
        ("MI300X", "mi300x-192gb"),
    ];
    known.into_iter().find(|(prefix, _)| gpu.starts_with(prefix)).map(|(_, name)| name)
}

fn cluster(m: &Measurement) -> Result<ClusterFile, String> {
    let device = device(&m.gpu_type).ok_or_else(|| format!("no device preset for `{}`", m.gpu_type))?;
    let gpus = needed(m.n_gpus, "n_gpus")?;
    let preset = crate::cluster::presets().get(device).and_then(|device| device.devices_per_node);
    // What counts is the domain of the fast link: the rack, where the source counts the devices of a tray.
    let stated = m.gpus_per_node.filter(|_| !device.ends_with("nvl72"));
    let most = stated.or(preset).unwrap_or(8).min(gpus).max(1);
    // Jobs over several racks take as many devices of each as divide the job evenly: of 72 usually 64.
    let per_node = (1..=most).rev().find(|n| gpus.is_multiple_of(*n)).filter(|n| 2 * n > most).unwrap_or(most);
    let bandwidth = node_bandwidth(&m.inter_node_link).map(|node| BytesPerSec(node / f64::from(per_node)));
    let inter_link = bandwidth.map(|bandwidth| LinkFile { bandwidth: Some(bandwidth), ..LinkFile::default() });
    let custom = DeviceFile { devices_per_node: Some(per_node), inter_link, ..DeviceFile::default() };
    Ok(ClusterFile {
        device: Some(device.to_owned()),
        nodes: gpus.div_ceil(per_node),
        custom: Some(custom),
        ..ClusterFile::default()
    })
}

/// Bytes per second of a node's network: `8x 200 Gb/s …`, `1600 Gbps … per node`.
pub(super) fn node_bandwidth(text: &str) -> Option<f64> {
    // `4x100 Gb/s` is `4x 100 Gb/s`.
    let mut lower = text.to_lowercase();
    for digit in '0'..='9' {
        lower = lower.replace(&format!("{digit}x"), &format!("{digit}x "));
    }
    let words: Vec<&str> = lower.split(|c: char| c.is_whitespace() || c == '(' || c == ';').collect();
    let unit = words.iter().position(|word| word.starts_with("gb/s") || word.starts_with("gbps"))?;
    let rate: f64 = words.get(unit.checked_sub(1)?)?.parse().ok()?;
    let count = words[..unit].iter().find_map(|word| word.strip_suffix('x')?.parse::<f64>().ok());
    let per_node = count.or_else(|| lower.contains("per node").then_some(1.0))?;
    Some(rate * per_node * 1e9 / 8.0)
}

fn strategy(m: &Measurement, model: &ModelFile, assumed: &mut Vec<String>) -> Result<StrategyFile, String> {
    let gpus = needed(m.n_gpus, "n_gpus")?;
    let (tp, pp, cp) = (m.tp.unwrap_or(1).max(1), m.pp.unwrap_or(1).max(1), m.cp.unwrap_or(1).max(1));
    if !gpus.is_multiple_of(tp * pp * cp) {
        return Err(format!("tp {tp} × pp {pp} × cp {cp} does not divide {gpus} devices"));
    }
    let (zero_stage, sharding_group) = sharding(m, gpus / (tp * pp));
    let flags = m.overlap_flags.to_lowercase();
    let overlaps = !flags.contains("all overlap off");
    let beside = flags.contains("moe_a2a_overlap=true") || flags.contains("a2a overlapped");
    let (schedule, virtual_stages) = schedule(m, pp);
    let (recompute, recompute_modules) = recompute(m, assumed)?;
    // Megatron-LM has turned it on with tensor parallelism wherever it has it; older code does not.
    let unfused = unfused(m);
    let sequence_parallel = match m.sequence_parallel.as_str() {
        "" => tp > 1 && !unfused,
        said => said.starts_with("yes"),
    };
    Ok(StrategyFile {
        data_parallel: Some(gpus / (tp * pp * cp)),
        context_parallel: cp,
        context_method: if flags.contains("cp comm a2a") { ContextMethod::AllToAll } else { ContextMethod::Ring },
        expert_parallel: expert_parallel(m, gpus / pp),
        expert_dispatch: dispatch(m),
        cuda_graphs: flags.contains("cuda_graph_impl") && !flags.contains("cuda_graph_impl=none"),
        stage_layers: framework::stage_layers(m, pp * virtual_stages.unwrap_or(1)),
        tensor_parallel: tp,
        tensor_chunks: if tp > 1 && sequence_parallel && overlaps_tensor(m) { TENSOR_CHUNKS } else { 1 },
        sequence_parallel,
        pipeline_parallel: pp,
        schedule,
        overlap_micro_batches: beside && matches!(schedule, ScheduleName::OneFOneB | ScheduleName::Interleaved),
        virtual_stages,
        micro_batch: needed(m.micro_batch, "micro_batch")?,
        global_batch: needed(m.global_batch, "global_batch")?,
        precision: precision(m, assumed),
        attention: attention(m),
        kernels: framework::kernels(m),
        gradient_format: framework::gradient_format(m),
        keep_gathered: framework::keeps_gathered(m),
        recompute,
        recompute_modules,
        overlap_gradients: overlaps,
        overlap_parameters: overlaps,
        offload_optimizer: if said_offload(m, "opt") { Place::Host } else { Place::Device },
        offload_parameters: if said_offload(m, "param") { Place::Host } else { Place::Device },
        offload_activations: offloaded_layers(&flags),
        zero_stage: if model.tied_embeddings == Some(true) && virtual_stages.is_some() && pp == 1 {
            0
        } else {
            zero_stage
        },
        sharding_group,
        ..StrategyFile::default()
    })
}

/// Whether a source says that the optimizer or the parameters live with the host.
fn said_offload(m: &Measurement, what: &str) -> bool {
    let said = m.zero_stage_or_fsdp.to_lowercase();
    said.contains("offload") && (said.contains("full cpu offload") || said.contains(what))
}

/// Megatron-Core's `cpu_offloading_num_layers`.
fn offloaded_layers(flags: &str) -> u32 {
    let said = flags.split_once("cpu_offloading_num_layers=").map(|(_, rest)| rest);
    let digits = said.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Experts lie over the ranks of a stage; all that can be used when the source names no number.
fn expert_parallel(m: &Measurement, ranks: u32) -> u32 {
    let Some(experts) = m.moe_experts else { return 1 };
    let stated = m.ep.filter(|&ep| ep > 0);
    stated.unwrap_or_else(|| {
        (1..=ranks).rev().find(|n| experts.is_multiple_of(*n) && ranks.is_multiple_of(*n)).unwrap_or(1)
    })
}

fn schedule(m: &Measurement, pp: u32) -> (ScheduleName, Option<u32>) {
    let chunks = m.vpp.filter(|&vpp| vpp > 1 && pp > 1);
    match m.pipeline_schedule.as_str() {
        "ZB-1p" => (ScheduleName::ZeroBubbleH1, None),
        "ZB-2p" => (ScheduleName::ZeroBubbleH2, None),
        "ZB-V" => (ScheduleName::ZeroBubbleV, None),
        _ if chunks.is_some() => (ScheduleName::Interleaved, chunks),
        _ => (ScheduleName::OneFOneB, None),
    }
}

/// Stage, and group where the source names one.
fn sharding(m: &Measurement, replicas: u32) -> (u32, Option<u32>) {
    let said = m.zero_stage_or_fsdp.as_str();
    let stage = match () {
        () if said.contains("ZeRO-3") || said.contains("FULL_SHARD") => 3,
        () if said.contains("SHARD_GRAD_OP") || said.contains("ZeRO-2") => 2,
        () if said.contains("ZeRO-1") || said.contains("distributed optimizer") => 1,
        () if said.contains("FSDP=0") => 1,
        () if said.contains("FSDP") => 3,
        () => 0,
    };
    let number = |mark: &str| -> Option<u32> {
        let rest = said.split_once(mark)?.1;
        rest.trim_start().split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    let group = number("sharding group").or_else(|| number(", group"));
    (stage, group.filter(|&group| group > 1 && group < replicas && replicas.is_multiple_of(group)))
}

fn precision(m: &Measurement, assumed: &mut Vec<String>) -> Precision {
    let said = m.precision.to_lowercase();
    match () {
        () if said.contains("fp4") => Precision::Nvfp4,
        () if said.contains("fp8") => Precision::Fp8,
        () if said.contains("fp16") => Precision::Fp16,
        () if said.contains("fp32") && !said.contains("bf16") => Precision::Fp32,
        () => {
            if said.is_empty() {
                assumed.push("16-bit precision".to_owned());
            }
            Precision::Bf16
        }
    }
}

fn recompute(m: &Measurement, assumed: &mut Vec<String>) -> Result<(Recompute, Vec<RecomputeModule>), String> {
    let said = m.recompute.as_str();
    match () {
        () if framework::repeats_nothing(m) => Ok((Recompute::None, Vec::new())),
        () if said.starts_with("full") => Ok((Recompute::Full, Vec::new())),
        () if said.is_empty() => {
            assumed.push("no recomputation".to_owned());
            Ok((Recompute::None, Vec::new()))
        }
        () if said.starts_with("none") => Ok((Recompute::None, Vec::new())),
        () if said == "selective" => Ok((Recompute::Selective, Vec::new())),
        () => match modules(said) {
            modules if modules.is_empty() => Err(format!("recomputation `{said}` is not modelled yet")),
            modules => Ok((Recompute::Selective, modules)),
        },
    }
}

/// The modules that Megatron-Core's option names.
fn modules(said: &str) -> Vec<RecomputeModule> {
    let named = [
        ("norm", RecomputeModule::Norm),
        ("act", RecomputeModule::Activation),
        ("mla_up_proj", RecomputeModule::LatentUp),
        ("mlp", RecomputeModule::Mlp),
        ("core_attn", RecomputeModule::Attention),
    ];
    let Some(list) = said.strip_prefix("selective") else { return Vec::new() };
    let words: Vec<&str> = list.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let matches = |name: &str| {
        words.iter().any(|word| {
            *word == name || word.trim_start_matches("layer") == name || word.trim_start_matches("moe_") == name
        })
    };
    named.into_iter().filter(|(name, _)| matches(name)).map(|(_, module)| module).collect()
}

/// Whether the row is of a model with latent attention.
fn is_latent(m: &Measurement) -> bool {
    let name = m.model_name.to_lowercase();
    m.moe_experts.is_some() && ["deepseek", "kimi"].iter().any(|family| name.contains(family))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_as_people_write_them() {
        assert_eq!(node_bandwidth("8x 200 Gb/s HDR InfiniBand per node (Selene)"), Some(200e9));
        assert_eq!(node_bandwidth("1600 Gbps RoCE per node"), Some(200e9));
        assert_eq!(node_bandwidth("4x Omni-Path 100 Gb/s per node (Jean Zay)"), Some(50e9));
        assert_eq!(node_bandwidth("NVLink3 + EFA 4x100 Gb/s per node"), Some(50e9));
        assert_eq!(node_bandwidth("RoCE RDMA"), None);
        assert_eq!(node_bandwidth("Gb/s"), None);
    }
}
