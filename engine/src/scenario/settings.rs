//! Settings of training frameworks, read as scenarios: Megatron-LM's arguments as they stand in launch scripts, and
//! torchtitan's TOML. They are only read: what has no counterpart here is named, and left out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::parse::checked_file;
use super::{ScenarioError, ScenarioFile};

/// A scenario that was read from settings.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameworkSettings {
    /// Whose they are: `Megatron-LM` or `torchtitan`.
    pub framework: &'static str,
    /// What they say. Where they name no device, it is that of the default scenario.
    pub file: ScenarioFile,
    /// What has no counterpart, as it is written there.
    pub left_out: Vec<String>,
}

/// Whether a text has arguments of Megatron-LM.
pub(super) fn is_megatron(text: &str) -> bool {
    ["--num-layers", "--tensor-model-parallel-size", "--micro-batch-size"]
        .iter()
        .filter(|name| text.contains(*name))
        .count()
        > 1
}

/// Whether a document is torchtitan's.
pub(super) fn is_torchtitan(value: &Value) -> bool {
    let has = |section: &str, key: &str| value.get(section).and_then(|table| table.get(key)).is_some();
    has("model", "flavor") || has("training", "local_batch_size") || has("parallelism", "tensor_parallel_degree")
}

/// Where nothing is said of the device.
const DEVICE: &str = "h100-80gb-sxm";

/// A scenario as a tree that grows key by key.
#[derive(Default)]
struct Tree(Map<String, Value>);

impl Tree {
    fn set(&mut self, section: &str, key: &str, value: impl Into<Value>) {
        let table = self.0.entry(section.to_owned()).or_insert_with(|| Value::Object(Map::new()));
        if let Some(table) = table.as_object_mut() {
            table.insert(key.to_owned(), value.into());
        }
    }

    fn finish(self) -> Result<ScenarioFile, ScenarioError> {
        checked_file(&Value::Object(self.0))
    }
}

/// Arguments with their values, as they stand in a script.
struct Arguments {
    /// Without the dashes; one without a value has an empty one.
    values: BTreeMap<String, String>,
    used: std::cell::RefCell<BTreeSet<String>>,
}

impl Arguments {
    /// Words of a script: variables that are set in it are put in, comments and line ends left out.
    fn of(text: &str) -> Self {
        let lines = text.lines().map(|line| line.split_once(" #").map_or(line, |(line, _)| line));
        let lines: Vec<&str> = lines.filter(|line| !line.trim_start().starts_with('#')).collect();
        let mut variables = BTreeMap::new();
        for line in &lines {
            let line = line.trim().trim_start_matches("export ");
            if let Some((name, value)) = line.split_once('=')
                && !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            {
                let value = expanded(value.trim_matches(['"', '\'']), &variables);
                variables.insert(name.to_owned(), value);
            }
        }
        let joined = lines.join(" ");
        let is_end = |c: char| c.is_whitespace() || matches!(c, '\\' | '"' | '\'' | '(' | ')' | ',' | '[' | ']' | '=');
        let words: Vec<String> =
            joined.split(is_end).filter(|word| !word.is_empty()).map(|word| expanded(word, &variables)).collect();
        let mut values = BTreeMap::new();
        for (place, word) in words.iter().enumerate() {
            let Some(name) = word.strip_prefix("--") else { continue };
            let next = words.get(place + 1).filter(|next| !next.starts_with("--") && !next.starts_with('$'));
            values.insert(name.replace('_', "-"), next.cloned().unwrap_or_default());
        }
        for (name, value) in variables {
            values.entry(format!("${name}")).or_insert(value);
        }
        Self { values, used: std::cell::RefCell::default() }
    }

    fn text(&self, name: &str) -> Option<&str> {
        let value = self.values.get(name)?;
        self.used.borrow_mut().insert(name.to_owned());
        Some(value.as_str())
    }

    fn has(&self, name: &str) -> bool {
        self.text(name).is_some()
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    fn real(&self, name: &str) -> Option<f64> {
        self.text(name)?.parse().ok()
    }

    /// The first of several names that has a number.
    fn any_number(&self, names: &[&str]) -> Option<u64> {
        names.iter().find_map(|name| self.number(name))
    }

    /// What was never asked for; variables are no settings.
    fn left_out(&self) -> Vec<String> {
        let used = self.used.borrow();
        let unused = self.values.iter().filter(|(name, _)| !name.starts_with('$') && !used.contains(*name));
        unused.map(|(name, value)| format!("--{name} {value}").trim_end().to_owned()).collect()
    }
}

/// `$NAME`, `${NAME}` and `${NAME:-default}`, where the name is known or has a default.
fn expanded(text: &str, variables: &BTreeMap<String, String>) -> String {
    let Some(name) = text.strip_prefix('$') else { return text.to_owned() };
    let name = name.trim_start_matches('{').trim_end_matches('}');
    let (name, default) = name.split_once(":-").map_or((name, None), |(name, default)| (name, Some(default)));
    variables.get(name).map(String::as_str).or(default).unwrap_or(text).to_owned()
}

/// Reads Megatron-LM's arguments.
pub(super) fn from_megatron(text: &str) -> Result<FrameworkSettings, ScenarioError> {
    let args = Arguments::of(text);
    let mut tree = Tree::default();
    megatron_model(&args, &mut tree);
    megatron_cluster(&args, &mut tree);
    megatron_strategy(&args, &mut tree);
    // Of what is known to say nothing about a step nobody wants to read.
    for silent in SILENT {
        let _ = args.has(silent);
    }
    Ok(FrameworkSettings { framework: "Megatron-LM", left_out: args.left_out(), file: tree.finish()? })
}

/// Arguments that do not change what a step takes.
const SILENT: &[&str] = &[
    "data-path",
    "vocab-file",
    "merge-file",
    "tokenizer-type",
    "tokenizer-model",
    "split",
    "save",
    "load",
    "log-interval",
    "save-interval",
    "eval-interval",
    "eval-iters",
    "tensorboard-dir",
    "master-addr",
    "master-port",
    "node-rank",
    "rdzv-id",
    "rdzv-backend",
    "rdzv-endpoint",
    "lr-decay-style",
    "min-lr",
    "lr-decay-iters",
    "lr-warmup-fraction",
    "lr-warmup-iters",
    "adam-beta1",
    "adam-beta2",
    "adam-eps",
    "init-method-std",
    "seed",
    "wandb-project",
    "wandb-exp-name",
    "log-throughput",
    "distributed-backend",
    "no-load-optim",
    "no-load-rng",
    "disable-bias-linear",
    "use-mcore-models",
    "transformer-impl",
];

fn megatron_model(args: &Arguments, tree: &mut Tree) {
    // Both are asked for, so that neither counts as left out.
    let llama = args.has("swiglu") | (args.text("normalization") == Some("RMSNorm"));
    tree.set("model", "architecture", if llama { "llama" } else { "gpt" });
    let hidden = args.number("hidden-size");
    let heads = args.number("num-attention-heads");
    let numbers = [
        ("layers", args.number("num-layers")),
        ("hidden", hidden),
        ("heads", heads),
        ("ffn_hidden", args.number("ffn-hidden-size").or(hidden.map(|hidden| hidden.saturating_mul(4)))),
        ("vocab", args.any_number(&["vocab-size", "padded-vocab-size"]).or(Some(if llama { 32_000 } else { 50_257 }))),
        ("positions", args.any_number(&["max-position-embeddings", "seq-length"])),
        ("kv_heads", args.number("num-query-groups").filter(|_| args.has("group-query-attention"))),
        ("experts", args.number("num-experts")),
        ("experts_per_token", args.number("moe-router-topk")),
        ("expert_ffn_hidden", args.number("moe-ffn-hidden-size")),
        ("head_dim", args.number("kv-channels")),
    ];
    for (key, value) in numbers {
        value.into_iter().for_each(|value| tree.set("model", key, value));
    }
    if llama {
        tree.set("model", "rope_theta", args.real("rotary-base").unwrap_or(10_000.0));
    }
    let _ =
        (args.has("position-embedding-type"), args.has("use-rotary-position-embeddings"), args.has("rotary-percent"));
    tree.set("model", "tied_embeddings", !args.has("untie-embeddings-and-output-weights"));
    if let Some(share) = args.real("hidden-dropout").filter(|share| *share > 0.0) {
        tree.set("model", "dropout", share);
    }
    let _ = args.has("attention-dropout");
    args.number("seq-length").into_iter().for_each(|length| tree.set("data", "sequence_length", length));
}

fn megatron_cluster(args: &Arguments, tree: &mut Tree) {
    let per_node = args.any_number(&["nproc-per-node", "$GPUS_PER_NODE", "$NPROC_PER_NODE"]).filter(|n| *n > 0);
    let nodes = args.any_number(&["nnodes", "$NNODES", "$NUM_NODES"]);
    let world = args.any_number(&["$WORLD_SIZE", "world-size"]);
    let nodes = nodes.or(world.map(|world| world.div_ceil(per_node.unwrap_or(8)))).unwrap_or(1);
    tree.set("cluster", "device", DEVICE);
    tree.set("cluster", "nodes", nodes);
    if let Some(per_node) = per_node.filter(|count| *count != 8) {
        tree.set("cluster", "custom", json!({ "devices_per_node": per_node }));
    }
}

fn megatron_strategy(args: &Arguments, tree: &mut Tree) {
    let stages = args.number("pipeline-model-parallel-size").unwrap_or(1);
    let numbers = [
        ("tensor_parallel", args.number("tensor-model-parallel-size")),
        ("pipeline_parallel", Some(stages)),
        ("context_parallel", args.number("context-parallel-size")),
        ("expert_parallel", args.number("expert-model-parallel-size")),
        ("expert_tensor_parallel", args.number("expert-tensor-parallel-size").filter(|_| args.has("num-experts"))),
        ("micro_batch", args.number("micro-batch-size")),
        ("global_batch", args.number("global-batch-size")),
    ];
    for (key, value) in numbers {
        value.into_iter().for_each(|value| tree.set("strategy", key, value));
    }
    tree.set("strategy", "sequence_parallel", args.has("sequence-parallel"));
    let chunk = args.number("num-layers-per-virtual-pipeline-stage");
    if let (Some(layers), Some(chunk)) = (args.number("num-layers"), chunk.filter(|chunk| *chunk > 0 && stages > 1)) {
        tree.set("strategy", "schedule", "interleaved");
        tree.set("strategy", "virtual_stages", (layers / stages / chunk).max(1));
    }
    let fp8 = args.has("fp8-format") || args.has("fp8-hybrid") || args.has("fp8");
    let halves = if args.has("fp16") {
        "fp16"
    } else if args.has("bf16") {
        "bf16"
    } else {
        "fp32"
    };
    tree.set("strategy", "precision", if fp8 { "fp8" } else { halves });
    tree.set("strategy", "zero_stage", u32::from(args.has("use-distributed-optimizer")));
    tree.set("strategy", "overlap_gradients", args.has("overlap-grad-reduce"));
    tree.set("strategy", "overlap_parameters", args.has("overlap-param-gather"));
    match args.text("recompute-granularity") {
        Some("full") => tree.set("strategy", "recompute", "full"),
        Some("selective") => tree.set("strategy", "recompute", "selective"),
        _ if args.has("recompute-activations") => tree.set("strategy", "recompute", "selective"),
        _ => {}
    }
    if args.has("use-flash-attn") || args.text("attention-backend") == Some("flash") {
        tree.set("strategy", "attention", "flash");
    }
    let _ = args.text("optimizer");
    let run = [
        ("steps", args.real("train-iters")),
        ("learning_rate", args.real("lr")),
        ("weight_decay", args.real("weight-decay")),
        ("gradient_clip", args.real("clip-grad")),
    ];
    for (key, value) in run {
        let Some(value) = value else { continue };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of steps")]
        let value = if key == "steps" { Value::from((value as u64).min(1_000_000)) } else { Value::from(value) };
        tree.set("run", key, value);
    }
}

/// Sizes of torchtitan's flavors of Llama 3, whose presets are here.
const FLAVORS: [(&str, &str); 3] = [("8B", "llama3-8b"), ("70B", "llama3-70b"), ("405B", "llama3-405b")];

/// Reads torchtitan's settings.
pub(super) fn from_torchtitan(value: &Value) -> Result<FrameworkSettings, ScenarioError> {
    let mut used: BTreeSet<String> = BTreeSet::new();
    let mut find = |section: &str, key: &str| -> Option<Value> {
        let value = value.get(section)?.get(key)?;
        used.insert(format!("{section}.{key}"));
        Some(value.clone())
    };
    let mut tree = Tree::default();
    let flavor = find("model", "flavor");
    let _ = find("model", "name");
    let text = flavor.as_ref().and_then(Value::as_str).unwrap_or("8B");
    let known = FLAVORS.iter().find(|(flavor, _)| text.eq_ignore_ascii_case(flavor));
    tree.set("model", "preset", known.map_or("llama3-8b", |(_, preset)| preset));
    tree.set("cluster", "device", DEVICE);
    let number = |value: Option<Value>| value.as_ref().and_then(Value::as_u64);
    let degree =
        |value: Option<Value>| value.as_ref().and_then(Value::as_i64).filter(|n| *n > 0).map_or(1, i64::unsigned_abs);
    let [tensor, stages, context, experts] =
        ["tensor_parallel_degree", "pipeline_parallel_degree", "context_parallel_degree", "expert_parallel_degree"]
            .map(|key| degree(find("parallelism", key)));
    let replicas = degree(find("parallelism", "data_parallel_replicate_degree"));
    // -1 means what is left; nothing here says how many devices there are, so one node is left.
    let shard = find("parallelism", "data_parallel_shard_degree");
    let shards = shard.as_ref().and_then(Value::as_i64).filter(|n| *n > 0).map(i64::unsigned_abs);
    let inner = tensor.saturating_mul(stages).saturating_mul(context);
    let shards_known = shards.unwrap_or_else(|| (8 / inner.max(1)).max(1));
    let data = shards_known.saturating_mul(replicas);
    if replicas > 1 && shards_known > 1 {
        tree.set("strategy", "sharding_group", shards_known.saturating_mul(context));
    }
    tree.set("cluster", "nodes", inner.saturating_mul(data).div_ceil(8).max(1));
    tree.set("strategy", "data_parallel", data);
    for (key, value) in [
        ("tensor_parallel", tensor),
        ("pipeline_parallel", stages),
        ("context_parallel", context),
        ("expert_parallel", experts),
    ] {
        tree.set("strategy", key, value);
    }
    tree.set("strategy", "sequence_parallel", tensor > 1);
    tree.set("strategy", "zero_stage", if shards == Some(1) { 0 } else { 3 });
    tree.set(
        "strategy",
        "precision",
        if find("quantize", "float8").is_some() || value.get("float8").is_some() { "fp8" } else { "bf16" },
    );
    let _ = find("training", "mixed_precision_param");
    let micro = number(find("training", "local_batch_size").or_else(|| find("training", "batch_size"))).unwrap_or(1);
    let global = number(find("training", "global_batch_size")).filter(|batch| *batch > 0);
    // Without a pipeline a local batch is one micro-batch; with one it is cut into as many as there are stages.
    let per_stage = if stages > 1 { micro.div_ceil(stages).max(1) } else { micro };
    tree.set("strategy", "micro_batch", per_stage);
    tree.set("strategy", "global_batch", global.unwrap_or(micro.saturating_mul(data)));
    if let Some(length) = number(find("training", "seq_len")) {
        tree.set("data", "sequence_length", length);
    }
    if let Some(steps) = number(find("training", "steps")) {
        tree.set("run", "steps", steps.clamp(1, 1_000_000));
    }
    if let Some(schedule) = find("parallelism", "pipeline_parallel_schedule") {
        let name = match schedule.as_str().unwrap_or_default().to_ascii_lowercase().as_str() {
            "gpipe" => "gpipe",
            "interleaved1f1b" => "interleaved",
            "interleavedzerobubble" | "zbvzerobubble" => "zb-v",
            _ => "1f1b",
        };
        tree.set("strategy", "schedule", name);
    }
    match find("activation_checkpoint", "mode").as_ref().and_then(Value::as_str) {
        Some("full") => tree.set("strategy", "recompute", "full"),
        Some("selective") => tree.set("strategy", "recompute", "selective"),
        _ => {}
    }
    let mut left_out = Vec::new();
    if known.is_none() {
        left_out.push(format!("model.flavor = {text} (taken for 8B)"));
    }
    for (section, table) in value.as_object().into_iter().flatten() {
        for key in table.as_object().into_iter().flat_map(Map::keys) {
            let path = format!("{section}.{key}");
            if !used.contains(&path)
                && ["training", "parallelism", "model", "activation_checkpoint"].contains(&section.as_str())
            {
                left_out.push(path);
            }
        }
    }
    Ok(FrameworkSettings { framework: "torchtitan", left_out, file: tree.finish()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Opened, check, open};

    const MEGATRON: &str = "#!/bin/bash
GPUS_PER_NODE=8
NNODES=${NUM:-4}
export TP=4
torchrun --nproc_per_node $GPUS_PER_NODE --nnodes $NNODES pretrain_gpt.py \\
    --tensor-model-parallel-size $TP --pipeline-model-parallel-size 2 --sequence-parallel \\
    --num-layers 32 --hidden-size 4096 --num-attention-heads 32 --group-query-attention --num-query-groups 8 \\
    --ffn-hidden-size 14336 --seq-length 8192 --max-position-embeddings 8192 --swiglu --normalization RMSNorm \\
    --untie-embeddings-and-output-weights --rotary-base 500000 --num-layers-per-virtual-pipeline-stage 4 \\
    --micro-batch-size 1 --global-batch-size 128 --bf16 --use-distributed-optimizer --overlap-grad-reduce \\
    --recompute-granularity full --recompute-method uniform --lr 3e-4 # --fp8-format hybrid
";

    fn settings(text: &str) -> FrameworkSettings {
        match open(text.as_bytes()).expect("settings") {
            Opened::Settings(settings) => *settings,
            other => panic!("expected settings, got {other:?}"),
        }
    }

    #[test]
    fn a_script_of_megatron_is_a_scenario() {
        let read = settings(MEGATRON);
        assert_eq!(read.framework, "Megatron-LM");
        let scenario = check(&read.file).expect("valid");
        let mesh = scenario.mesh();
        assert_eq!((mesh.tp, mesh.pp, mesh.dp), (4, 2, 4));
        let strategy = scenario.strategy();
        assert_eq!((strategy.virtual_stages, strategy.zero as u32), (4, 1));
        assert_eq!((scenario.model().kv_heads, scenario.model().ffn_hidden), (8, 14336));
        assert!(strategy.overlap_gradients && strategy.precision.name() == "bf16", "the comment says nothing");
        assert_eq!(read.left_out, ["--recompute-method uniform"]);
    }

    #[test]
    fn torchtitans_settings_are_a_scenario() {
        let read = settings(
            "[model]\nname = \"llama3\"\nflavor = \"8B\"\n[training]\nlocal_batch_size = 2\nseq_len = 8192\nsteps = 1000\nmax_norm = 1.0\n[parallelism]\ndata_parallel_shard_degree = 8\ntensor_parallel_degree = 2\n[activation_checkpoint]\nmode = \"selective\"\n",
        );
        let scenario = check(&read.file).expect("valid");
        assert_eq!((scenario.mesh().dp, scenario.mesh().tp, scenario.cluster().nodes), (8, 2, 2));
        assert_eq!(scenario.strategy().zero as u32, 3);
        assert_eq!(read.left_out, ["training.max_norm"]);
    }

    #[test]
    fn settings_that_say_too_little_are_refused_with_what_is_missing() {
        let read = settings("--num-layers 2 --micro-batch-size 1 --tensor-model-parallel-size many");
        let error = check(&read.file).expect_err("no hidden size").to_string();
        assert!(error.contains("model."), "{error}");
        assert!(open(b"--num-layers 99999999999999999999 --micro-batch-size -1").is_ok());
    }
}
