//! Measured collectives against the cost model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::build::{device, node_bandwidth};
use super::measurement::{number, whole};
use crate::cluster::{Cluster, DeviceFile, LinkFile, RankId};
use crate::cost::{GroupSpan, collective_bytes_per_rank, collective_time};
use crate::graph::{Collective, Reduction};
use crate::model::ModelFile;
use crate::scenario::{ClusterFile, ScenarioFile, check_parts};
use crate::units::{Bytes, BytesPerSec};

/// A row of a table in the style of nccl-tests.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct CollectiveRow {
    /// Identifier of the row.
    pub id: String,
    /// `all_reduce`, `all_gather`, `reduce_scatter` or `alltoall`.
    pub collective: String,
    /// The device as the source names it.
    pub gpu: String,
    /// Ranks that take part.
    #[serde(deserialize_with = "whole")]
    pub n_ranks: Option<u32>,
    /// The links, in the source's words.
    pub link: String,
    /// Nodes that they are on.
    #[serde(deserialize_with = "whole")]
    pub nodes: Option<u32>,
    /// Size of the value in full.
    #[serde(deserialize_with = "number")]
    pub message_bytes: Option<f64>,
    /// Bus bandwidth as nccl-tests defines it, in GB/s.
    #[serde(deserialize_with = "number")]
    pub busbw_gbs: Option<f64>,
    /// Where it was published.
    pub source: String,
}

/// A measured collective beside its prediction, or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CollectiveOutcome {
    /// Identifier of the row.
    pub id: String,
    /// The device preset, the collective, ranks and nodes.
    pub setup: String,
    /// Size of the value in full.
    pub bytes: u64,
    /// Measured bus bandwidth in GB/s.
    pub measured_busbw_gbs: f64,
    /// Predicted.
    pub predicted_busbw_gbs: f64,
}

impl CollectiveOutcome {
    /// Predicted over measured bandwidth, minus one.
    pub fn error(&self) -> f64 {
        self.predicted_busbw_gbs / self.measured_busbw_gbs - 1.0
    }
}

/// Predicts one measured collective.
///
/// # Errors
/// A sentence that names what is missing or not modelled.
pub fn predict_collective(row: &CollectiveRow) -> Result<CollectiveOutcome, String> {
    let collective = match row.collective.as_str() {
        "all_reduce" => Collective::AllReduce(Reduction::Sum),
        "all_gather" => Collective::AllGather,
        "reduce_scatter" => Collective::ReduceScatter,
        "alltoall" => Collective::AllToAll,
        other => return Err(format!("`{other}` is not a collective of a step")),
    };
    let device = device(&row.gpu).ok_or_else(|| format!("no device preset for `{}`", row.gpu))?;
    let needed =
        |value: Option<u32>, what: &str| value.filter(|&n| n > 0).ok_or_else(|| format!("{what} is not stated"));
    let (ranks, nodes) = (needed(row.n_ranks, "n_ranks")?, needed(row.nodes, "nodes")?);
    let (Some(bytes), Some(measured)) = (row.message_bytes.filter(|b| *b > 0.0), row.busbw_gbs.filter(|b| *b > 0.0))
    else {
        return Err("message_bytes or busbw_gbs is not stated".to_owned());
    };
    if ranks == 1 || ranks % nodes != 0 {
        return Err(format!("{ranks} ranks on {nodes} nodes are no group of equal parts"));
    }
    let cluster = cluster(device, ranks, nodes, &row.link)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive size below 2^53")]
    let bytes = Bytes(bytes as u64);
    let span = GroupSpan::of(&cluster, &(0..ranks).map(RankId).collect::<Vec<_>>());
    let (time, _) = collective_time(&cluster, span, collective, bytes);
    let sent = collective_bytes_per_rank(collective, bytes, ranks).as_f64();
    Ok(CollectiveOutcome {
        id: row.id.clone(),
        setup: format!("{device} {} {ranks} ranks, {nodes} nodes", row.collective),
        bytes: bytes.0,
        measured_busbw_gbs: measured,
        predicted_busbw_gbs: sent / time.secs().max(1e-12) / 1e9,
    })
}

/// As many nodes as the row has; racks whose links join all their trays count as one.
fn cluster(device: &str, ranks: u32, nodes: u32, link: &str) -> Result<Cluster, String> {
    let domain = crate::cluster::presets().get(device).and_then(|device| device.devices_per_node).unwrap_or(8);
    let per_node = if device.ends_with("nvl72") { domain.min(ranks) } else { ranks / nodes };
    let model = ModelFile { preset: Some("llama3-8b".to_owned()), ..ModelFile::default() };
    let bandwidth = node_bandwidth(link).map(|node| BytesPerSec(node / f64::from(per_node)));
    let inter_link = bandwidth.map(|bandwidth| LinkFile { bandwidth: Some(bandwidth), ..LinkFile::default() });
    let custom = DeviceFile { devices_per_node: Some(per_node), inter_link, ..DeviceFile::default() };
    let cluster = ClusterFile {
        device: Some(device.to_owned()),
        nodes: ranks.div_ceil(per_node),
        custom: Some(custom),
        ..ClusterFile::default()
    };
    let file = ScenarioFile { model, cluster, ..ScenarioFile::default() };
    check_parts(&file).map(|(_, cluster, _)| cluster).map_err(|error| error.to_string())
}

/// Whether a table is one of collectives rather than of training runs.
pub fn is_collectives(bytes: &[u8]) -> bool {
    let header = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(header).split(',').any(|column| column.trim() == "collective")
}

/// Reads all rows of a CSV file of collectives.
///
/// # Errors
/// When the bytes are not CSV of this kind.
pub fn read_collectives(bytes: &[u8]) -> Result<Vec<CollectiveRow>, super::ReadError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
    Ok(reader.deserialize().collect::<Result<Vec<CollectiveRow>, _>>()?)
}

/// Count, median of absolute errors and median error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CollectiveScore {
    /// Rows.
    pub count: usize,
    /// Median of the absolute relative errors of the bus bandwidth.
    pub median: f64,
    /// Median relative error: below zero where bandwidths are predicted too low.
    pub bias: f64,
}

/// The score of rows with messages above `least` bytes: all of them, and by setup.
pub fn score_collectives(
    rows: &[CollectiveOutcome],
    least: u64,
) -> (CollectiveScore, BTreeMap<String, CollectiveScore>) {
    let large: Vec<&CollectiveOutcome> = rows.iter().filter(|row| row.bytes > least).collect();
    let mut by_setup: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for row in &large {
        by_setup.entry(row.setup.clone()).or_default().push(row.error());
    }
    let all = score(large.iter().map(|row| row.error()).collect());
    (all, by_setup.into_iter().map(|(setup, errors)| (setup, score(errors))).collect())
}

fn score(errors: Vec<f64>) -> CollectiveScore {
    let count = errors.len();
    let bias = median(errors.clone());
    CollectiveScore { count, median: median(errors.into_iter().map(f64::abs).collect()), bias }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The scores as a table.
pub fn collectives_table(outcomes: &[Result<CollectiveOutcome, String>]) -> String {
    use std::fmt::Write as _;
    let rows: Vec<CollectiveOutcome> = outcomes.iter().filter_map(|outcome| outcome.clone().ok()).collect();
    let (all, by_setup) = score_collectives(&rows, 1_000_000);
    let mut text = String::from(
        "predicted bus bandwidths against measured ones, messages above 1 MB   [modelled / published]\n\n",
    );
    let _ = writeln!(text, "  {:<58} {:>6} {:>9} {:>9}", "setup", "rows", "median", "bias");
    let mut line = |setup: &str, score: CollectiveScore| {
        let _ = writeln!(
            text,
            "  {setup:<58} {:>6} {:>7.1} % {:>7.1} %",
            score.count,
            score.median * 100.0,
            score.bias * 100.0
        );
    };
    by_setup.iter().for_each(|(setup, &score)| line(setup, score));
    line("all", all);
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        *left.entry(reason).or_default() += 1;
    }
    text.push_str("\n  left out:\n");
    for (reason, count) in left {
        let _ = writeln!(text, "    {count:>5}  {reason}");
    }
    text
}
