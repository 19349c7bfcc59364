//! What can be typed.

mod workbench;

pub use workbench::{
    AdviseOptions, AgainstChoice, LogOptions, NetworkOptions, ReportOptions, RooflineOptions, SweepOptions,
};

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use shardlab_engine::exec::BackendKind;
use shardlab_engine::scenario::{AllocatorName, DEFAULT_PRESET, PlacementName, PoolName};
use shardlab_engine::units::{Bytes, BytesPerSec};

/// A workbench for distributed AI training: simulate a step on a cluster, run the same step on this device.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "Exit codes: 0 done, 1 the answer is no (for example: does not fit), 2 bad input or failure."
)]
pub struct Arguments {
    /// What to do; without one, the window where there is a display, else the default simulation.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Simulate a training step and print where time and memory go
    Simulate(SimulateOptions),
    /// Train for real on this device, all ranks sharing it
    Execute(ExecuteOptions),
    /// Put scenarios side by side and say why they differ; one alone is predicted, executed here, and both are shown
    Compare(CompareOptions),
    /// Say what to change: single changes that make a step faster and fit, each simulated, the best first
    Advise(AdviseOptions),
    /// Save and load a run's checkpoint in every form, measured beside what the simulator says
    Checkpoint(CheckpointOptions),
    /// Measure matmul rate, bandwidths and kernel-call time of this device
    Calibrate(CalibrateOptions),
    /// Measure what this device can do at most, and what kernels reach of it
    Bench(BenchArguments),
    /// Print what each policy of handing out memory makes of a step: what is reserved, unused and paged
    Pool(PoolOptions),
    /// Play a step's memory on allocators: whether it fits, what breaks first, and what would make it fit
    Memory(MemoryOptions),
    /// Play what a job reads through caches: what is found where, and the misses of every policy by capacity
    Cache(CacheOptions),
    /// Train with samples that threads read from disk: what steps wait for them, measured beside modelled
    Load(LoadOptions),
    /// Play a long run with its checkpoints and failures: how much of it counts, and the best interval
    Goodput(GoodputOptions),
    /// Play how something large comes to many nodes: by a chain, a tree, directly; chunks, streams, loss, the ideal
    Transfer(TransferOptions),
    /// Read what a profiler has written, and say where its time goes: idle, compute, overlap, kernels, stragglers
    Trace(TraceOptions),
    /// Read the log of a training run (Megatron-LM, torchtitan, NeMo): loss, pace, slow steps, loss spikes
    Log(LogOptions),
    /// Predict published measurements and say how far apart prediction and measurement are
    Validate(ValidateOptions),
    /// Fit the devices' parameters to published measurements and print them as assets/calibration.toml holds them
    Fit(FitOptions),
    /// Print where each second and each byte of a step goes, with formulas and the numbers in them
    Explain(ExplainOptions),
    /// Print what a step gains from better hardware and from faster kernels, each simulated
    WhatIf(WhatIfOptions),
    /// Find the fastest strategy, or the Pareto front, in a space of many
    Search(SearchOptions),
    /// Simulate every combination of some fields: the Pareto front, what matters, all points as CSV or JSON
    Sweep(SweepOptions),
    /// Write a page about a scenario, or several side by side, that opens without a network
    Report(ReportOptions),
    /// Print what a step sends where: traffic by axis, collectives, how busy links are
    Network(NetworkOptions),
    /// Place the kernels of a simulated step under the roofs of its device: what bounds each, and what is left
    Roofline(RooflineOptions),
    /// Print the lowered step graph as Graphviz DOT or JSON
    Graph(GraphOptions),
    /// List the scenarios that ship with the program
    Presets {
        /// Print this preset's file instead, to start from
        #[arg(long, value_name = "NAME")]
        show: Option<String>,
        /// Print one JSON document instead of a table
        #[arg(long, conflicts_with = "show")]
        json: bool,
    },
    /// Print a scenario as a part of a link that the page opens; every command takes such a link, too
    Link {
        /// A preset's name, a scenario file (TOML or JSON), a link, or - for standard input
        #[arg(value_name = "SCENARIO")]
        scenario: String,
        /// The view that the page shows first
        #[arg(long, default_value = "timeline")]
        view: String,
    },
    /// Print the JSON Schema of scenario files
    Schema,
    /// Print a completion script
    Completions {
        /// For this shell
        shell: Shell,
    },
    /// Open the window
    Gui,
}

impl Command {
    /// The window where there is a display, else the default simulation.
    pub fn default_for_this_machine() -> Self {
        let display = !cfg!(target_os = "linux")
            || ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty()));
        if cfg!(feature = "gui") && display { Self::Gui } else { Self::Simulate(SimulateOptions::default()) }
    }
}

/// What a command works on.
#[derive(Clone, Debug, Args)]
pub struct ScenarioOption {
    /// A preset's name, a scenario file (TOML or JSON), or - for standard input
    #[arg(value_name = "SCENARIO", default_value = DEFAULT_PRESET)]
    pub scenario: String,
}

impl Default for ScenarioOption {
    fn default() -> Self {
        Self { scenario: DEFAULT_PRESET.to_owned() }
    }
}

/// Files that results are written to besides standard output.
#[derive(Clone, Debug, Default, Args)]
pub struct ExportOptions {
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
    /// Write the trace for the Perfetto UI or chrome://tracing (- for standard output)
    #[arg(long, value_name = "FILE")]
    pub perfetto: Option<PathBuf>,
    /// Write the table of op classes as CSV
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Write memory over time as CSV
    #[arg(long, value_name = "FILE")]
    pub memory_csv: Option<PathBuf>,
    /// Write the timeline, where the time goes, ranks over time and memory of each stage as SVG into a folder
    #[arg(long, value_name = "FOLDER")]
    pub pictures: Option<PathBuf>,
}

/// `shardlab simulate`.
#[derive(Clone, Debug, Default, Args)]
pub struct SimulateOptions {
    #[command(flatten)]
    pub scenario: ScenarioOption,
    #[command(flatten)]
    pub export: ExportOptions,
}

/// Where kernels run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BackendChoice {
    /// The GPU if there is one, else the CPU
    Auto,
    /// Compute shaders through wgpu
    Wgpu,
    /// The kernels' CPU twins
    Cpu,
}

impl BackendChoice {
    /// The kind that was asked for by name.
    pub fn kind(self) -> Option<BackendKind> {
        match self {
            Self::Auto => None,
            Self::Wgpu => Some(BackendKind::Wgpu),
            Self::Cpu => Some(BackendKind::Cpu),
        }
    }
}

/// Where kernels run.
#[derive(Clone, Debug, Args)]
pub struct BackendOption {
    /// Where kernels run
    #[arg(long, value_enum, default_value_t = BackendChoice::Auto)]
    pub backend: BackendChoice,
}

/// A scenario that is small enough to be executed.
#[derive(Clone, Debug, Args)]
pub struct SmallScenarioOption {
    /// A preset's name, a scenario file (TOML or JSON), or - for standard input
    #[arg(value_name = "SCENARIO", default_value = "tiny-llama-1")]
    pub scenario: String,
}

/// How memory is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PoolChoice {
    /// The smallest free buffer that fits
    BestFit,
    /// All buffers made up front, as few bytes as lifetimes allow
    Reservation,
    /// What is needed last waits in the host's memory
    Paging,
}

impl PoolChoice {
    /// The policy in the engine's words.
    pub fn name(self) -> PoolName {
        match self {
            Self::BestFit => PoolName::BestFit,
            Self::Reservation => PoolName::Reservation,
            Self::Paging => PoolName::Paging,
        }
    }
}

/// Where ranks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlacementChoice {
    /// All on one device, in this process
    Device,
    /// In threads with a device each, on the adapters in turn, connected by loopback TCP
    Adapters,
    /// In processes with a device each, on the adapters in turn, connected by loopback TCP
    Processes,
}

impl PlacementChoice {
    /// The place in the engine's words.
    pub fn name(self) -> PlacementName {
        match self {
            Self::Device => PlacementName::Device,
            Self::Adapters => PlacementName::Adapters,
            Self::Processes => PlacementName::Processes,
        }
    }
}

/// `shardlab pool`.
#[derive(Clone, Debug, Args)]
pub struct PoolOptions {
    #[command(flatten)]
    pub scenario: SmallScenarioOption,
    /// What a rank may take of the device when paging, for example 8MB; the least possible when left out
    #[arg(long, value_name = "SIZE")]
    pub budget: Option<Bytes>,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
    /// Write the table as CSV
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
}

/// How a framework hands out a device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AllocatorChoice {
    /// PyTorch's caching allocator
    Caching,
    /// The same with expandable segments
    Expandable,
    /// A pointer that moves on
    Bump,
    /// Addresses planned before the step
    Offsets,
    /// Whole buffers, used again where they fit
    BestFit,
    /// Whole buffers, made before the step
    Reservation,
    /// What is needed last waits in the host's memory
    Paging,
}

impl AllocatorChoice {
    /// The allocator in the engine's words.
    pub fn name(self) -> AllocatorName {
        match self {
            Self::Caching => AllocatorName::Caching,
            Self::Expandable => AllocatorName::Expandable,
            Self::Bump => AllocatorName::Bump,
            Self::Offsets => AllocatorName::Offsets,
            Self::BestFit => AllocatorName::BestFit,
            Self::Reservation => AllocatorName::Reservation,
            Self::Paging => AllocatorName::Paging,
        }
    }
}

/// `shardlab memory`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Exit code 1: the step does not fit. Then changes are tried that would make it fit.")]
pub struct MemoryOptions {
    /// A preset's name, a scenario file (TOML or JSON), or - for standard input
    #[arg(value_name = "SCENARIO", default_value = "oom-13b")]
    pub scenario: String,
    /// The pipeline stage; the fullest when left out
    #[arg(long, value_name = "N")]
    pub stage: Option<u32>,
    /// How memory is handed out; run.allocator of the scenario when left out
    #[arg(long, value_enum)]
    pub allocator: Option<AllocatorChoice>,
    /// Compare ways of treating activations: keep, repeat, offload
    #[arg(long)]
    pub activations: bool,
    /// Try changes also where the step fits
    #[arg(long)]
    pub ways: bool,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
    /// Write the allocators' figures as CSV
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Open what torch.cuda.memory._dump_snapshot has written instead of a scenario
    #[arg(long, value_name = "FILE", conflicts_with_all = ["stage", "allocator", "activations", "ways"])]
    pub snapshot: Option<PathBuf>,
    /// Write what lies where when as CSV
    #[arg(long, value_name = "FILE")]
    pub map_csv: Option<PathBuf>,
}

/// The layout of a trace file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TraceChoice {
    /// A line for each request, with columns `object` and `size`
    Csv,
    /// Records of 24 bytes as libCacheSim has them
    OracleGeneral,
}

/// `shardlab cache`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "A trace in CSV has a header and the columns `object` and `size` (bytes), and where there are several nodes `reader` (a number). Without --trace, the scenario needs a table [data.samples]."
)]
pub struct CacheOptions {
    /// A preset's name, a scenario file (TOML or JSON), or - for standard input
    #[arg(value_name = "SCENARIO", default_value = "embedding-cache")]
    pub scenario: String,
    /// Play the requests in this file instead of those that the scenario makes
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Its layout; by its name when left out
    #[arg(long, value_enum, requires = "trace")]
    pub format: Option<TraceChoice>,
    /// The policy of the cache; data.cache.policy of the scenario when left out
    #[arg(long, value_name = "POLICY")]
    pub policy: Option<String>,
    /// Bytes of the cache of a node, for example 400GB; data.cache.capacity when left out, or a third of a trace's objects
    #[arg(long, value_name = "SIZE")]
    pub capacity: Option<Bytes>,
    /// Nodes that read; those of the scenario when left out, or as many as a trace has readers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub nodes: Option<u32>,
    /// Policies to compare: fifo, lru, lfu, clock, 2q, arc, lirs, s3-fifo, sieve, w-tinylfu, none, random, belady; all when
    /// left out
    #[arg(long, value_name = "POLICIES", value_delimiter = ',')]
    pub policies: Vec<String>,
    /// Capacities to compare, for example 10GB,20GB; twenty up to all objects when left out
    #[arg(long, value_name = "SIZES", value_delimiter = ',')]
    pub capacities: Vec<Bytes>,
    /// Play every request, however many there are; else one object of several stands for all where there are many
    #[arg(long)]
    pub exact: bool,
    /// Threads; as many as there are cores when left out
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
    /// Write the misses by policy and capacity as CSV
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Write what the chosen cache found over time as CSV
    #[arg(long, value_name = "FILE")]
    pub intervals_csv: Option<PathBuf>,
}

/// `shardlab load`.
#[derive(Clone, Debug, Args)]
pub struct LoadOptions {
    #[command(flatten)]
    pub scenario: SmallScenarioOption,
    #[command(flatten)]
    pub backend: BackendOption,
    /// The folder with the samples: a folder of PNG or JPEG images for each class, .txt files, or nothing yet, in which
    /// case some are made
    #[arg(long, value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Steps that are trained
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub steps: u32,
    /// Samples that are made
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub count: u32,
    /// Bytes to which each is filled up, for example 100KB
    #[arg(long, value_name = "SIZE", default_value = "100KB")]
    pub bytes: Bytes,
    /// Threads that read and decode; as the scenario's data says, or 2 where it says nothing of samples
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub workers: Option<u32>,
    /// Batches of each that may wait; as the scenario's data says, or 2
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub prefetch: Option<u32>,
    /// What the storage delivers at most, for example 20MB/s: to see what a slower one would do
    #[arg(long, value_name = "RATE")]
    pub limit: Option<BytesPerSec>,
    /// What leaves the cache: a policy of `shardlab cache`; as the scenario's data says, or lru
    #[arg(long)]
    pub policy: Option<String>,
    /// Bytes of samples that stay in memory; as the scenario's data says, or none
    #[arg(long, value_name = "SIZE")]
    pub capacity: Option<Bytes>,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
}

/// `shardlab trace`.
#[derive(Clone, Debug, Args)]
pub struct TraceOptions {
    /// Traces of torch.profiler or in Chrome's format, plain or compressed, one for each rank; or a folder of them
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Compare with this trace, kernel by kernel (give it several times for several ranks)
    #[arg(long, value_name = "FILE")]
    pub baseline: Vec<PathBuf>,
    /// Put a simulated step of this scenario beside it
    #[arg(long, value_name = "SCENARIO")]
    pub scenario: Option<String>,
    /// Kernels that are listed
    #[arg(long, default_value_t = 15)]
    pub top: usize,
    /// Print one JSON document instead of tables
    #[arg(long)]
    pub json: bool,
    /// Write the tables as CSV files into this folder, named and with columns as Holistic Trace Analysis has them
    #[arg(long, value_name = "FOLDER")]
    pub csv: Option<PathBuf>,
    /// Write all ranks as one trace for the Perfetto UI
    #[arg(long, value_name = "FILE")]
    pub perfetto: Option<PathBuf>,
    /// Write the timeline as SVG
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

/// `shardlab goodput`.
#[derive(Clone, Debug, Args)]
pub struct GoodputOptions {
    /// A preset's name, a scenario file (TOML or JSON), or - for standard input
    #[arg(value_name = "SCENARIO", default_value = "checkpoint-goodput-16k")]
    pub scenario: String,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
    /// Write the goodput of every way over the interval as CSV
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
}

/// `shardlab transfer`.
#[derive(Clone, Debug, Args)]
pub struct TransferOptions {
    /// A preset's name, a scenario file (TOML or JSON), or - for standard input
    #[arg(value_name = "SCENARIO", default_value = "checkpoint-broadcast-512")]
    pub scenario: String,
    /// What is handed out, for example 140GB; transfer.size of the scenario when left out
    #[arg(long, value_name = "SIZE")]
    pub size: Option<Bytes>,
    /// Nodes that receive it; transfer.receivers when left out
    #[arg(long, value_name = "N")]
    pub receivers: Option<u32>,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
    /// Write the curves as CSV
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
}

/// `shardlab execute`.
#[derive(Clone, Debug, Args)]
pub struct ExecuteOptions {
    #[command(flatten)]
    pub scenario: SmallScenarioOption,
    #[command(flatten)]
    pub backend: BackendOption,
    /// Steps to train; run.steps of the scenario when left out
    #[arg(long)]
    pub steps: Option<u32>,
    /// Measure which way to compute each kernel is the fastest here, and keep that in FILE for the next time
    #[arg(long, value_name = "FILE")]
    pub tune: Option<PathBuf>,
    /// How memory is handed out; run.pool of the scenario when left out
    #[arg(long, value_enum)]
    pub pool: Option<PoolChoice>,
    /// What a rank may take of the device when paging, for example 8MB; run.pool_budget when left out
    #[arg(long, value_name = "SIZE")]
    pub pool_budget: Option<Bytes>,
    /// What all ranks together may take of the device, for example 8GB; run.memory_limit, or 1 GiB, when left out
    #[arg(long, value_name = "SIZE")]
    pub memory_limit: Option<Bytes>,
    /// Where ranks run; run.placement of the scenario when left out
    #[arg(long, value_enum)]
    pub placement: Option<PlacementChoice>,
    /// Threads or processes among which ranks are dealt out; one for each rank when left out
    #[arg(long, value_name = "N")]
    pub workers: Option<u32>,
    /// Save what the run can go on from: in a folder that keeps the last ones, or in one FILE.safetensors; every
    /// --checkpoint-interval steps and after the last
    #[arg(long, value_name = "PATH")]
    pub checkpoint: Option<PathBuf>,
    /// A file for each rank
    #[arg(long, requires = "checkpoint")]
    pub checkpoint_sharded: bool,
    /// Compress by Zstandard
    #[arg(long, requires = "checkpoint")]
    pub checkpoint_zstd: bool,
    /// Round numbers of 32 bits to bf16: half the size, and a run that goes on no longer ends with the same bits
    #[arg(long, requires = "checkpoint")]
    pub checkpoint_bf16: bool,
    /// How many of the last checkpoints a folder keeps
    #[arg(long, value_name = "N", default_value_t = 2, requires = "checkpoint", value_parser = clap::value_parser!(u32).range(1..))]
    pub checkpoint_keep: u32,
    /// Steps between two checkpoints
    #[arg(long, value_name = "STEPS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub checkpoint_interval: u32,
    /// Go on from a checkpoint of the same scenario: a file, or the last one in a folder that is whole; --steps counts from
    /// the beginning
    #[arg(long, value_name = "PATH")]
    pub resume: Option<PathBuf>,
    /// Write what ranks sent each other in the last step as CSV
    #[arg(long, value_name = "FILE")]
    pub traffic_csv: Option<PathBuf>,
    #[command(flatten)]
    pub export: ExportOptions,
}

/// `shardlab checkpoint`.
#[derive(Clone, Debug, Args)]
pub struct CheckpointOptions {
    #[command(flatten)]
    pub scenario: SmallScenarioOption,
    #[command(flatten)]
    pub backend: BackendOption,
    /// Where to write; a folder beside the current one's files that is removed afterwards when left out
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
    /// How often each form is written; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub times: u32,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
    /// Write the table as CSV
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
}

/// `shardlab compare`.
#[derive(Clone, Debug, Args)]
pub struct CompareOptions {
    /// Presets' names, scenario files, links, or - for standard input: the baseline and up to eight variants, which are
    /// simulated; or one, which is also executed
    #[arg(value_name = "SCENARIO", default_value = "tiny-llama-1")]
    pub scenarios: Vec<String>,
    /// Say which setting makes which part of the difference: mixes of the settings are simulated
    #[arg(long)]
    pub why: bool,
    #[command(flatten)]
    pub backend: BackendOption,
    /// Executed steps; the median counts
    #[arg(long, default_value_t = 5)]
    pub steps: u32,
    /// Predicted and executed times of every op, all layers together, not only by class
    #[arg(long)]
    pub ops: bool,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
    /// Write the figures as CSV, or predicted and executed times by class of op or by op (- for standard output)
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
}

/// `shardlab calibrate`.
#[derive(Clone, Debug, Args)]
pub struct CalibrateOptions {
    #[command(flatten)]
    pub scenario: SmallScenarioOption,
    #[command(flatten)]
    pub backend: BackendOption,
    /// Print the device as `[cluster.custom]`, which a scenario can hold: the simulator then predicts for it
    #[arg(long, conflicts_with = "json")]
    pub device: bool,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
}

/// `shardlab bench`.
#[derive(Clone, Debug, Args)]
pub struct BenchArguments {
    #[command(flatten)]
    pub backend: BackendOption,
    /// Only these sections: peak, memory, transfer, latency, matmul, block, collectives
    #[arg(long, value_name = "SECTION", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Largest side of a matrix product
    #[arg(long, default_value_t = 1024)]
    pub largest: u32,
    /// Show by which factor each figure is better than in FILE, which `bench --json` has written
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub compare: Option<PathBuf>,
    /// Say what each section means and how it is timed
    #[arg(long)]
    pub describe: bool,
    /// Use what FILE knows of the ways to compute kernels, and keep there what is found
    #[arg(long, value_name = "FILE")]
    pub tune: Option<PathBuf>,
    /// Print one JSON document instead of a tree
    #[arg(long)]
    pub json: bool,
    /// Write all figures as CSV
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
}

/// `shardlab explain`.
#[derive(Clone, Debug, Args)]
pub struct ExplainOptions {
    #[command(flatten)]
    pub scenario: ScenarioOption,
    /// Print one JSON document with every line instead of a table with the largest
    #[arg(long)]
    pub json: bool,
}

/// `shardlab what-if`.
#[derive(Clone, Debug, Args)]
pub struct WhatIfOptions {
    #[command(flatten)]
    pub scenario: ScenarioOption,
    /// How much better each number is
    #[arg(long, default_value_t = 2.0)]
    pub factor: f64,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
}

/// What a search looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GoalChoice {
    /// The fastest steps
    Time,
    /// All that no other beats in time, memory and devices at once
    Pareto,
}

/// `shardlab search`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Without --vary, the mesh, schedule, micro-batch, recomputation and ZeRO stage vary. Where the mesh varies, replicas follow it. Exit code 1: no strategy fits."
)]
pub struct SearchOptions {
    #[command(flatten)]
    pub scenario: ScenarioOption,
    /// A field and its values, for example strategy.tensor_parallel=1,2,4 (may be repeated)
    #[arg(long, value_name = "PATH=VALUES")]
    pub vary: Vec<String>,
    /// What is looked for
    #[arg(long, value_enum, default_value_t = GoalChoice::Time)]
    pub goal: GoalChoice,
    /// How many of the fastest are printed
    #[arg(long, default_value_t = 10)]
    pub count: usize,
    /// Count strategies that need more memory than a device has
    #[arg(long)]
    pub allow_overflow: bool,
    /// Simulate everything that fits instead of leaving out what bounds exclude
    #[arg(long)]
    pub exhaustive: bool,
    /// Simulate at most so many, spread evenly from the lowest bound to the highest; 0 for no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub samples: u64,
    /// Threads; as many as there are cores when left out
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Keep what was simulated in this file, and go on from it
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Write the best scenario to this file
    #[arg(long, value_name = "FILE")]
    pub write_best: Option<PathBuf>,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
}

/// The language of a printed graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// Graphviz
    Dot,
    /// One document with tensors, stages, segments, ops and edges
    Json,
}

/// `shardlab graph`.
#[derive(Clone, Debug, Args)]
pub struct GraphOptions {
    #[command(flatten)]
    pub scenario: ScenarioOption,
    /// Language
    #[arg(long, value_enum, default_value_t = GraphFormat::Dot)]
    pub format: GraphFormat,
}

/// `shardlab validate`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "The file is CSV with a header. Needed columns: id, layers, hidden, heads, ffn_hidden, seq_len, \
gpu_type, n_gpus, micro_batch, global_batch, and step_time_s or tokens_per_s_per_gpu. Read where they are there: \
source_key, model_name, params_b, kv_heads, head_dim, vocab, moe_experts, gpus_per_node, inter_node_link, precision, \
tp, pp, vpp, cp, ep, moe_topk, zero_stage_or_fsdp, sequence_parallel, recompute, pipeline_schedule, flash_attention, \
overlap_flags, framework, task, peak_memory_gb, quality. A file with a column `collective` is a table in the style of \
nccl-tests: id, collective, gpu, n_ranks, nodes, message_bytes, busbw_gbs."
)]
pub struct ValidateOptions {
    /// Measurements as CSV, or - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only rows of these qualities, for example AB
    #[arg(long, value_name = "LETTERS")]
    pub quality: Option<String>,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
}

/// `shardlab fit`.
#[derive(Clone, Debug, Args)]
pub struct FitOptions {
    /// Measurements as CSV (see `shardlab validate --help`), or - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only rows of these qualities, for example AB
    #[arg(long, value_name = "LETTERS", default_value = "AB")]
    pub quality: String,
    /// Write the table to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}
