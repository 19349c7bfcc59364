//! Files that are not scenarios, each with a part of what its error must say. The engine, the command line and the
//! app are all tried on them.

/// A file and what its error must say.
pub struct Case {
    /// What is wrong with it.
    pub name: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// A part of the message.
    pub says: &'static str,
}

/// A scenario that is valid; the cases break it in one place each.
pub const VALID: &str = r#"
[model]
preset = "llama2-7b"
[cluster]
device = "h100-80gb-sxm"
nodes = 1
[strategy]
tensor_parallel = 2
pipeline_parallel = 2
micro_batch = 1
global_batch = 32
[data]
sequence_length = 4096
[run]
steps = 10
"#;

/// A model in full.
const CUSTOM_MODEL: &str = r#"
[model]
architecture = "llama"
layers = 4
hidden = 512
heads = 8
kv_heads = 8
ffn_hidden = 2048
vocab = 1000
positions = 1024
[cluster]
device = "h100-80gb-sxm"
"#;

const SIZES: &str = "layers = 4\nhidden = 512\nheads = 8\nkv_heads = 8\nffn_hidden = 2048";
const LARGEST_SIZES: &str = "layers = 4096\nhidden = 1048576\nheads = 4096\nkv_heads = 8\nffn_hidden = 1048576";

/// `VALID` with one line replaced.
fn with(name: &'static str, from: &str, to: &str, says: &'static str) -> Case {
    broken(VALID, name, from, to, says)
}

/// `CUSTOM_MODEL` with one line replaced.
fn model(name: &'static str, from: &str, to: &str, says: &'static str) -> Case {
    broken(CUSTOM_MODEL, name, from, to, says)
}

fn broken(text: &str, name: &'static str, from: &str, to: &str, says: &'static str) -> Case {
    assert!(text.contains(from), "{name}: the valid text has no `{from}`");
    Case { name, bytes: text.replace(from, to).into_bytes(), says }
}

fn raw(name: &'static str, bytes: impl Into<Vec<u8>>, says: &'static str) -> Case {
    Case { name, bytes: bytes.into(), says }
}

/// All of them.
pub fn cases() -> Vec<Case> {
    let mut cases = not_a_file();
    cases.extend(wrong_types());
    cases.extend(wrong_values());
    cases.extend(wrong_models());
    cases.extend(wrong_samples());
    cases.extend(wrong_clusters());
    cases.extend(hugging_face());
    cases
}

/// What is no text, no TOML or JSON, or far too much of it.
fn not_a_file() -> Vec<Case> {
    let noise: Vec<u8> = (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    vec![
        raw("empty", "", "is empty"),
        raw("blank", " \n\t\r\n", "is empty"),
        raw("only a byte order mark", "\u{feff}", "is empty"),
        raw("binary junk", noise, "is not text"),
        raw("zeros", vec![0; 512], "not well-formed TOML"),
        raw("a PNG", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(), "is not text"),
        raw("UTF-16", b"\xff\xfe[\0m\0o\0d\0e\0l\0]\0".to_vec(), "is not text"),
        raw("100 MB", vec![b'#'; 100_000_000], "more than 1048576 bytes"),
        raw("prose", "Call me Ishmael. Some years ago", "not well-formed TOML"),
        raw("a cut TOML string", "[model]\npreset = \"llama2-7b", "line 2"),
        raw("a cut JSON document", "{\"model\": {\"preset\": ", "not well-formed JSON"),
        raw("JSON with a comment", "{ // hello\n}", "not well-formed JSON"),
        raw("deep JSON arrays", "[".repeat(100_000), "recursion"),
        raw("deep JSON objects", "{\"a\":".repeat(100_000), "recursion"),
        raw("deep TOML arrays", format!("x = {}", "[".repeat(100_000)), "nested more than 32 deep"),
        raw("deep TOML tables", format!("x = {}", "{a=".repeat(100_000)), "nested more than 32 deep"),
        raw("deep TOML keys", format!("{}x = 1", "a.".repeat(100_000)), "not well-formed TOML"),
        raw("a JSON number", "[1, 2, 3]", "expected a table"),
        raw("a key twice", "[model]\npreset = \"a\"\npreset = \"b\"", "line 3"),
        raw("a table twice", "[model]\n[model]\n", "line 2"),
        raw("a shell script", "#!/bin/sh\necho hello\n", "not well-formed TOML"),
    ]
}

fn wrong_types() -> Vec<Case> {
    vec![
        with(
            "text for a number",
            "tensor_parallel = 2",
            "tensor_parallel = \"many\"",
            "`strategy.tensor_parallel` = \"many\" is not allowed: expected a whole number",
        ),
        with("fraction for a whole number", "nodes = 1", "nodes = 1.5", "`cluster.nodes`"),
        with("array for a number", "micro_batch = 1", "micro_batch = [1]", "`strategy.micro_batch`"),
        with("table for a number", "steps = 10", "steps = { n = 1 }", "`run.steps`"),
        with("truth for a number", "steps = 10", "steps = true", "`run.steps`"),
        with("date for a number", "steps = 10", "steps = 2024-05-01", "`run.steps`"),
        with("number for a text", "preset = \"llama2-7b\"", "preset = 7", "`model.preset`"),
        with("number for a table", "[run]\nsteps = 10", "", "").into_number(),
        with("negative", "global_batch = 32", "global_batch = -32", "`strategy.global_batch`"),
        with("more than 32 bits", "global_batch = 32", "global_batch = 4294967296", "`strategy.global_batch`"),
        with("more than 64 bits", "nodes = 1", "nodes = 99999999999999999999", "line 6"),
        with(
            "a learning rate that is NaN",
            "steps = 10",
            "learning_rate = nan",
            "`run.learning_rate` = NaN is not allowed: expected a finite number. It is: Learning rate",
        ),
        with("an infinite learning rate", "steps = 10", "learning_rate = inf", "`run.learning_rate`"),
        with("a misspelt key", "tensor_parallel", "tensor_paralel", "did you mean `tensor_parallel`"),
        with("a key of another program", "micro_batch = 1", "zzz_q = 1", "known here are `attention`, `bucket`"),
        with("a misspelt table", "[strategy]", "[stategy]", "did you mean `strategy`"),
        with("an unknown precision", "micro_batch = 1", "precision = \"fp7\"", "`strategy.precision`"),
        with(
            "an unknown schedule",
            "micro_batch = 1",
            "schedule = \"zigzag\"",
            "expected one of `gpipe`, `1f1b`, `interleaved`",
        ),
        with("a size without a unit", "micro_batch = 1", "bucket = \"100\"", "`strategy.bucket`"),
        with("a size in seconds", "micro_batch = 1", "bucket = \"3 s\"", "`strategy.bucket`"),
        raw("no model", "[cluster]\ndevice = \"h100-80gb-sxm\"", "`model` = (missing)"),
        raw("no cluster", "[model]\npreset = \"llama2-7b\"", "`cluster` = (missing)"),
    ]
}

impl Case {
    /// A number where a table belongs: keys in front of the first table belong to the file.
    fn into_number(self) -> Self {
        let text = format!("run = 3\n{}", String::from_utf8_lossy(&self.bytes));
        Self { bytes: text.into_bytes(), says: "`run`", ..self }
    }
}

/// `VALID` with a table behind it.
fn run(name: &'static str, table: &str, says: &'static str) -> Case {
    with(name, "steps = 10\n", &format!("steps = 10\n{table}\n"), says)
}

/// `VALID` with a table of samples and what follows in it.
fn input(name: &'static str, table: &str, says: &'static str) -> Case {
    with(name, "[run]", &format!("[data.samples]\n{table}\n[run]"), says)
}

fn wrong_values() -> Vec<Case> {
    vec![
        with("zero ranks", "tensor_parallel = 2", "tensor_parallel = 0", "`strategy.tensor_parallel` = 0"),
        with("zero stages", "pipeline_parallel = 2", "pipeline_parallel = 0", "`strategy.pipeline_parallel` = 0"),
        with("zero replicas", "micro_batch = 1", "data_parallel = 0", "`strategy.data_parallel` = 0"),
        with("zero nodes", "nodes = 1", "nodes = 0", "`cluster.nodes` = 0"),
        with("an empty micro-batch", "micro_batch = 1", "micro_batch = 0", "`strategy.micro_batch` = 0"),
        with("an empty batch", "global_batch = 32", "global_batch = 0", "`strategy.global_batch` = 0"),
        with("an empty sequence", "sequence_length = 4096", "sequence_length = 0", "`data.sequence_length` = 0"),
        with("no steps", "steps = 10", "steps = 0", "`run.steps` = 0"),
        with("an indivisible batch", "global_batch = 32", "global_batch = 33", "Nearest valid: 32 or 34"),
        with("indivisible heads", "tensor_parallel = 2", "tensor_parallel = 3", "Nearest valid: 2 or 4"),
        with(
            "more stages than layers",
            "pipeline_parallel = 2",
            "pipeline_parallel = 33",
            "at most model.layers = 32 in all",
        ),
        with(
            "too many chunks",
            "micro_batch = 1",
            "schedule = \"interleaved\"\nvirtual_stages = 20",
            "Nearest valid: 16",
        ),
        with("chunks without a schedule for them", "micro_batch = 1", "virtual_stages = 4", "set strategy.schedule"),
        with(
            "rounds that do not divide",
            "global_batch = 32",
            "global_batch = 34\nschedule = \"interleaved\"",
            "Nearest valid: 32 or 36",
        ),
        with("layers that do not add up", "micro_batch = 1", "stage_layers = [16, 17]", "Their sum is 33"),
        with("layers of too many stages", "micro_batch = 1", "stage_layers = [8, 8, 16]", "There are 3"),
        with("a stage that is none", "micro_batch = 1", "zero_stage = 4", "`strategy.zero_stage` = 4"),
        with(
            "a sharding group that does not divide",
            "micro_batch = 1",
            "zero_stage = 3\nsharding_group = 3",
            "Nearest valid: 2",
        ),
        with("no custom schedule", "micro_batch = 1", "schedule = \"custom\"", "one text for each of the 2 stages"),
        with(
            "a slot that is none",
            "global_batch = 32",
            "global_batch = 2\nschedule = \"custom\"\ncustom_schedule = [\"F0 B0\", \"F0 Q0\"]",
            "`Q0` on stage 1",
        ),
        with(
            "a circular schedule",
            "global_batch = 32",
            "global_batch = 2\nschedule = \"custom\"\ncustom_schedule = [\"B0 F0\", \"F0 B0\"]",
            "a circle: stage 0 waits forever",
        ),
        with("more ranks than devices", "tensor_parallel = 2", "tensor_parallel = 8", "the 8 devices"),
        with("too many replicas", "micro_batch = 1", "data_parallel = 3", "`strategy.data_parallel` = 3"),
        with("a sequence beyond the positions", "4096", "8192", "at most model.positions = 4096"),
        with("an overflowing product", "global_batch = 32", "global_batch = 4294967295", "`strategy.global_batch`"),
        with("a huge micro-batch", "micro_batch = 1", "micro_batch = 1048576", "strategy."),
        with("a bucket of nothing", "micro_batch = 1", "bucket = \"0 B\"", "`strategy.bucket`"),
        with("a bucket beyond 2^63", "micro_batch = 1", "bucket = \"99999999999 TB\"", "out of range"),
        with("an unknown text", "sequence_length = 4096", "dataset = \"wiki\"", "`data.dataset` = wiki"),
        with("an unknown model", "llama2-7b", "llama2-7bb", "Did you mean `llama2-7b`"),
        input("no sample", "count = 0\nsize = \"1 KB\"", "`data.samples.count` = 0"),
        input("samples of no bytes", "count = 10\nsize = \"0 B\"", "`data.samples.size` = 0 B"),
        input("samples without a size", "count = 10", "`data.samples.size` = (missing)"),
        input(
            "a negative spread",
            "count = 10\nsize = \"1 KB\"\nsize_spread = -1.0",
            "`data.samples.size_spread` = -1",
        ),
        input(
            "more reads than anybody counts",
            "count = 100000000\nsize = \"1 KB\"\n[data.access]\nepochs = 3",
            "take shards of many samples",
        ),
        input(
            "a cache larger than memory",
            "count = 10\nsize = \"1 KB\"\n[data.cache]\ncapacity = \"100 TB\"",
            "at most the memory of a node, 1.82 TiB",
        ),
        input(
            "a policy that is none",
            "count = 10\nsize = \"1 KB\"\n[data.cache]\npolicy = \"mru\"",
            "`data.cache.policy` = \"mru\"",
        ),
        input(
            "foresight of others",
            "count = 10\nsize = \"1 KB\"\n[data.cache]\npolicy = \"belady\"\nplacement = \"partitioned\"",
            "`data.cache.policy` = belady",
        ),
        input(
            "more replicas than nodes",
            "count = 10\nsize = \"1 KB\"\n[data.cache]\nreplicas = 2",
            "`data.cache.replicas` = 2",
        ),
        with("a cache of nothing", "[run]", "[data.cache]\npolicy = \"lru\"\n[run]", "a table data.samples beside it"),
        input(
            "samples that take centuries",
            "count = 10\nsize = \"64 GiB\"\n[data.storage]\nnode_bandwidth = \"1 B/s\"",
            "Raise the rates of data.storage",
        ),
        run("a checkpoint of nothing", "[checkpoint]\nshare = 0.0", "`checkpoint.share` = 0"),
        run("no steps between checkpoints", "[checkpoint]\ninterval = 0", "`checkpoint.interval` = 0"),
        run("a peer of nobody", "[checkpoint]\nmode = \"peer_memory\"", "`checkpoint.mode` = peer_memory"),
        run("a way that is none", "[checkpoint]\nmode = \"tape\"", "`checkpoint.mode` = \"tape\""),
        run("a storage that takes nothing", "[checkpoint]\nbandwidth = \"0 B/s\"", "`checkpoint.bandwidth` = 0 B/s"),
        run("devices that never work", "[reliability]\ndevice_mtbf = \"0 s\"", "`reliability.device_mtbf` = 0 ns"),
        run("more failures than anybody plays", "[reliability]\njob_mtbf = \"10 s\"", "at most 1e4 failures"),
        run("a transfer of nothing", "[transfer]\nsize = \"0 B\"", "`transfer.size` = 0 B"),
        run("a transfer to nobody", "[transfer]\nreceivers = 0", "`transfer.receivers` = 0"),
        run("all packets lost", "[transfer]\nloss = 1.0", "`transfer.loss` = 1"),
        run("no streams", "[transfer]\nstreams = 0", "`transfer.streams` = 0"),
        run("crumbs", "[transfer]\nsize = \"1 TB\"\nchunk = \"1 KB\"", "at most 4194304 chunks"),
        run("a fanout of none", "[transfer]\nmethod = \"tree\"\nfanout = 0", "`transfer.fanout` = 0"),
        run("a method that is none", "[transfer]\nmethod = \"telepathy\"", "telepathy"),
        run("a run of centuries", "[reliability]\nhorizon = \"4000 d\"", "at most 3650 d"),
        with("a negative learning rate", "steps = 10", "learning_rate = -1.0", "`run.learning_rate` = -1"),
    ]
}

fn wrong_models() -> Vec<Case> {
    vec![
        model("no heads", "heads = 8\nkv", "heads = 0\nkv", "`model.heads` = 0"),
        model("heads that do not divide", "heads = 8\nkv", "heads = 7\nkv", "a divisor of model.hidden = 512"),
        model("an odd head", "hidden = 512", "hidden = 520", "`model.head_dim` = 65"),
        model("kv heads that do not divide", "kv_heads = 8", "kv_heads = 3", "`model.kv_heads` = 3"),
        model("a missing size", "vocab = 1000\n", "", "`model.vocab` = (missing)"),
        model("a missing family", "architecture = \"llama\"\n", "", "`model.architecture` = (missing)"),
        model("too many layers", "layers = 4", "layers = 4294967295", "`model.layers`"),
        model("too wide", "hidden = 512", "hidden = 4294967295", "`model.hidden`"),
        model("a model too large for any machine", SIZES, LARGEST_SIZES, "parameters"),
        model("an angle that is NaN", "layers = 4", "layers = 4\nrope_theta = nan", "`model.rope_theta`"),
    ]
}

/// Models that are no decoders, each wrong in one place.
fn wrong_samples() -> Vec<Case> {
    let of = |name, lines: &str, says| {
        let text = format!(
            "[model]\n{lines}\n[cluster]\ndevice = \"h100-80gb-sxm\"\n[strategy]\nmicro_batch = 1024\nglobal_batch = 8192\n"
        );
        raw(name, text, says)
    };
    let tables = "architecture = \"dlrm\"\nhidden = 16\ndense_features = 4\ntop_mlp = [8]\n";
    vec![
        of("a residual network of three stages", "preset = \"resnet-50\"\nblocks = [1, 2, 3]", "four numbers"),
        of("blocks without end", "preset = \"resnet-50\"\nblocks = [4294967295, 1, 1, 1]", "`model.blocks`"),
        of("another number of blocks", "preset = \"resnet-50\"\nlayers = 3", "the sum of model.blocks, here 16"),
        of("patches that do not fill the image", "preset = \"vit-b-16\"\npatch_size = 17", "`model.patch_size` = 17"),
        of(
            "more pixels than can be counted",
            "preset = \"resnet-50\"\nimage_size = 4096\n[data]\nsequence_length = 1",
            "`strategy.micro_batch` = 1024",
        ),
        of("an image of nothing", "preset = \"resnet-50\"\nimage_size = 0", "`model.image_size` = 0"),
        of("an encoder with experts", "preset = \"bert-base\"\nexperts = 8", "`model.experts` = 8"),
        of("an encoder with a head of its own", "preset = \"bert-base\"\ntied_embeddings = false", "true for bert"),
        of("no tables", &format!("{tables}bottom_mlp = [16]"), "`model.table_rows`"),
        of("vectors of two widths", &format!("{tables}bottom_mlp = [8]\ntable_rows = [9]"), "`model.bottom_mlp`"),
        of(
            "lookups for other tables",
            &format!("{tables}bottom_mlp = [16]\ntable_rows = [9]\nlookups = [1, 2]"),
            "as many numbers as model.table_rows, 1",
        ),
        of(
            "tables that nobody can count",
            &format!("{tables}bottom_mlp = [16]\ntable_rows = [2147483648, 2147483648]"),
            "4294967296 rows in all",
        ),
        of(
            "a cross network without a rank",
            &format!("{tables}bottom_mlp = [16]\ntable_rows = [9]\ncross_layers = 2"),
            "`model.cross_rank` = (missing)",
        ),
    ]
}

fn wrong_clusters() -> Vec<Case> {
    let custom = |name, line: &str, says| {
        let mut case = model(name, "[cluster]", "[cluster]", says);
        case.bytes.extend_from_slice(format!("[cluster.custom]\n{line}\n").as_bytes());
        case
    };
    vec![
        with("an unknown device", "h100-80gb-sxm", "h100-80gb-smx", "Did you mean `h100-80gb-sxm`"),
        with("a million nodes", "nodes = 1", "nodes = 1000000", "`cluster.nodes`"),
        with("an unknown network", "nodes = 1", "nodes = 1\nnetwork = { kind = \"token_ring\" }", "`leaf_spine`"),
        with(
            "a torus of another size",
            "nodes = 1",
            "nodes = 1\nnetwork = { kind = \"torus\", dims = [4, 65535, 65535, 65535, 65535] }",
            "`cluster.network.dims`",
        ),
        with(
            "a leaf without nodes",
            "nodes = 1",
            "nodes = 1\nnetwork = { kind = \"rails\", nodes_per_leaf = 0 }",
            "`cluster.network.nodes_per_leaf` = 0",
        ),
        with(
            "oversubscription that is NaN",
            "nodes = 1",
            "nodes = 1\nnetwork = { kind = \"leaf_spine\", oversubscription = nan }",
            "`cluster.network.oversubscription`",
        ),
        with(
            "a straggler beyond the cluster",
            "nodes = 1",
            "nodes = 1\nexceptions = [{ nodes = [1], speed = 0.5 }]",
            "`cluster.exceptions.nodes` = 1",
        ),
        with(
            "a straggler that stands still",
            "nodes = 1",
            "nodes = 1\nexceptions = [{ nodes = [0], speed = 0.0 }]",
            "`cluster.exceptions.speed` = 0",
        ),
        with("an exception that is nowhere", "nodes = 1", "nodes = 1\nexceptions = [{ speed = 0.5 }]", "(no nodes"),
        with("an axis twice", "tensor_parallel = 2", "rank_order = [\"tp\", \"tp\"]", "`strategy.rank_order`"),
        with("an unknown place", "micro_batch = 1", "offload_optimizer = \"moon\"", "`nvme`"),
        with(
            "parameters away alone",
            "micro_batch = 1",
            "offload_parameters = \"host\"",
            "`strategy.offload_parameters`",
        ),
        with("an unknown update rule", "micro_batch = 1", "update = \"eventually\"", "`local_sgd`"),
        with(
            "staleness without end",
            "micro_batch = 1",
            "update = \"bounded_staleness\"\nstaleness = 65",
            "`strategy.staleness`",
        ),
        with("a share of nothing", "micro_batch = 1", "compression_share = 0.0", "`strategy.compression_share` = 0"),
        with("a share that is NaN", "micro_batch = 1", "compression_share = nan", "`strategy.compression_share` = NaN"),
        with("a rank of nothing", "micro_batch = 1", "compression_rank = 0", "`strategy.compression_rank` = 0"),
        with("an unknown optimizer", "micro_batch = 1", "optimizer = \"shampoo\"", "`muon`"),
        with(
            "slices of matrices for Muon",
            "micro_batch = 1",
            "optimizer = \"muon\"\nzero_stage = 1\nupdate = \"asynchronous\"",
            "`strategy.optimizer` = muon",
        ),
        raw("no device", "[model]\npreset = \"llama2-7b\"\n[cluster]\nnodes = 1", "(missing)"),
        custom("a rate of zero", "bf16 = \"0 TFLOP/s\"", "`cluster.custom.bf16`"),
        custom("an efficiency above one", "matmul_efficiency = 1.5", "`cluster.custom.matmul_efficiency`"),
        custom("an efficiency that is NaN", "memory_efficiency = nan", "`cluster.custom.memory_efficiency`"),
        custom("a latency of a year", "launch_overhead = \"31536000 s\"", "`cluster.custom.launch_overhead`"),
        custom("a rate in bytes", "bf16 = \"3 GB/s\"", "`cluster.custom.bf16`"),
        custom("a link that is a text", "intra_link = \"fast\"", "`cluster.custom.intra_link`"),
        custom(
            "a link slower than a snail",
            "inter_link = { bandwidth = \"0.001 B/s\" }",
            "`cluster.custom.inter_link.bandwidth` = ",
        ),
        custom("no devices in a node", "devices_per_node = 0", "`cluster.custom.devices_per_node` = 0"),
    ]
}

fn hugging_face() -> Vec<Case> {
    vec![
        raw("a model of another kind", r#"{"model_type": "t5", "d_model": 768}"#, "`model_type` is `t5`"),
        raw("a config without sizes", r#"{"model_type": "llama"}"#, "`num_hidden_layers`"),
        raw(
            "a config with zero layers",
            r#"{"model_type": "gpt2", "n_embd": 64, "n_layer": 0, "n_head": 4, "vocab_size": 9, "n_positions": 9}"#,
            "`n_layer`",
        ),
        raw("a config with NaN", r#"{"model_type": "gpt2", "n_embd": NaN}"#, "not well-formed JSON"),
        raw("a config with a number as type", r#"{"model_type": 3}"#, "model_type"),
    ]
}
