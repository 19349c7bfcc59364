//! What can be typed for comparing, sweeping and reporting.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use shardlab_engine::scenario::DEFAULT_PRESET;

use super::ScenarioOption;

/// `shardlab advise`.
#[derive(Clone, Debug, Args)]
pub struct AdviseOptions {
    #[command(flatten)]
    pub scenario: ScenarioOption,
    /// How many changes are printed
    #[arg(long, default_value_t = 12)]
    pub count: usize,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
    /// Write the changes as CSV (- for standard output)
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub csv: Option<PathBuf>,
    /// Write the scenario with the best of it to a file
    #[arg(long, value_name = "FILE")]
    pub write_best: Option<PathBuf>,
}

/// `shardlab report`.
#[derive(Clone, Debug, Args)]
pub struct ReportOptions {
    /// Presets' names, scenario files, links, or - for standard input: one, or a baseline and up to eight variants
    #[arg(value_name = "SCENARIO", default_value = DEFAULT_PRESET)]
    pub scenarios: Vec<String>,
    /// Where the page goes (- for standard output)
    #[arg(long, short, value_name = "FILE", default_value = "report.html")]
    pub out: PathBuf,
    /// Add what to change, for one scenario
    #[arg(long)]
    pub advise: bool,
    /// Add which setting makes which part of the difference, for several
    #[arg(long)]
    pub why: bool,
}

/// `shardlab network`.
#[derive(Clone, Debug, Args)]
pub struct NetworkOptions {
    #[command(flatten)]
    pub scenario: ScenarioOption,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
    /// Write the traffic matrix as CSV
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
}

/// `shardlab roofline`.
#[derive(Clone, Debug, Args)]
pub struct RooflineOptions {
    #[command(flatten)]
    pub scenario: ScenarioOption,
    /// The pipeline stage whose kernels are placed; the one that the step waits for when left out
    #[arg(long)]
    pub stage: Option<u32>,
    /// Kernels that are shown; 0 for all
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub top: usize,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
    /// Write all kernels as CSV
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
}

/// What is to be small beside the step time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AgainstChoice {
    /// Peak memory
    Memory,
    /// Device-hours for a million tokens
    Cost,
    /// Devices
    Devices,
}

/// `shardlab sweep`.
#[derive(Clone, Debug, Args)]
pub struct SweepOptions {
    #[command(flatten)]
    pub scenario: ScenarioOption,
    /// A field and its values, for example strategy.tensor_parallel=1,2,4 (may be repeated); what people vary first when
    /// left out
    #[arg(long, value_name = "PATH=VALUES")]
    pub vary: Vec<String>,
    /// What the front weighs against step time
    #[arg(long, value_enum, default_value_t = AgainstChoice::Memory)]
    pub against: AgainstChoice,
    /// Simulate only a part of the combinations, for example 2/8, the second of eight
    #[arg(long, value_name = "PART/OF")]
    pub shard: Option<String>,
    /// Write every point as a line of JSON, for --merge
    #[arg(long, value_name = "FILE")]
    pub points: Option<PathBuf>,
    /// Take the points from these files instead of simulating
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub merge: Vec<PathBuf>,
    /// Print a Slurm script that simulates the shards as a job array
    #[arg(long)]
    pub emit_slurm: bool,
    /// Shards of that job array
    #[arg(long, value_name = "N", default_value_t = 8, requires = "emit_slurm")]
    pub shards: u32,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
    /// Write every combination as CSV
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
}

/// `shardlab log`.
#[derive(Clone, Debug, Args)]
pub struct LogOptions {
    /// The log, plain or compressed; - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
    /// Write every step as CSV (- for standard output)
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub csv: Option<PathBuf>,
}
