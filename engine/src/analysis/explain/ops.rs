//! Kernels and collectives with the terms of their time.

use std::collections::BTreeMap;

use serde::Serialize;

use super::family;
use crate::cluster::{Device, RankId};
use crate::cost::{self, Algorithm, GroupSpan, Work};
use crate::graph::{DType, Op, OpKind, StepGraph, Task};
use crate::scenario::{Place, Scenario};
use crate::trace::{Phase, Stream};
use crate::units::{Bytes, Nanos};

/// Ops of one name that cost the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OpLine {
    /// Their name, with `*` for numbers.
    pub name: String,
    /// The part of the step.
    pub phase: Phase,
    /// Where they run.
    pub stream: Stream,
    /// How often one rank runs them in a step.
    pub count: u64,
    /// What one takes.
    pub each: Nanos,
    /// What all take.
    pub total: Nanos,
    /// The formula with its numbers.
    pub formula: String,
}

/// The ops of a rank of `stage`, the most expensive first.
pub fn op_lines(step: &StepGraph, scenario: &Scenario, stage: u32) -> Vec<OpLine> {
    let program = &step.stages[stage as usize];
    let mut runs: Vec<u64> = vec![0; program.segments.len()];
    program.tasks.iter().for_each(|&Task { segment, .. }| runs[segment.0 as usize] += 1);
    let rank = slowest_rank(step, scenario, stage);
    let mut lines: BTreeMap<(String, Phase, Nanos), OpLine> = BTreeMap::new();
    for (segment, &times) in program.segments.iter().zip(&runs) {
        let mut add = |name: String, phase: Phase, stream: Stream, each: Nanos, formula: String| {
            let new = || OpLine { name: name.clone(), phase, stream, count: 0, each, total: Nanos::ZERO, formula };
            let line = lines.entry((name.clone(), phase, each)).or_insert_with(new);
            line.count += times;
            line.total += each * i64::try_from(times).unwrap_or(i64::MAX);
        };
        let mut lent = Nanos::ZERO;
        for op in segment.ops() {
            let Some((each, formula)) = priced(step, scenario, rank, op) else { continue };
            let stream = op.kind.stream();
            if stream != Stream::Compute && segment.kind.is_beside_compute() {
                lent += cost::lent_time(scenario.cluster().device_of(rank), &step.mesh, op, each);
            } else if stream == Stream::Compute && lent > Nanos::ZERO {
                let formula = "collectives beside it × the share of multiprocessors that they hold".to_owned();
                add("multiprocessors lent".to_owned(), op.phase, stream, std::mem::take(&mut lent), formula);
            }
            add(family(&op.name), op.phase, stream, each, formula);
        }
    }
    let mut lines: Vec<OpLine> = lines.into_values().filter(|line| line.count > 0).collect();
    lines.sort_by(|a, b| b.total.cmp(&a.total).then_with(|| a.name.cmp(&b.name)));
    lines
}

/// The rank of a stage whose device is slowest, the first of equals: the one that the others wait for.
fn slowest_rank(step: &StepGraph, scenario: &Scenario, stage: u32) -> RankId {
    let first = stage * step.mesh.per_stage();
    let rate = |rank: &RankId| scenario.cluster().device_of(*rank).bf16_matmul.0;
    let ranks = (first..first + step.mesh.per_stage()).map(RankId);
    ranks.min_by(|a, b| rate(a).total_cmp(&rate(b))).unwrap_or(RankId(first))
}

/// Time and formula of an op; none of a receive, which takes as long as its send.
fn priced(step: &StepGraph, scenario: &Scenario, rank: RankId, op: &Op) -> Option<(Nanos, String)> {
    let cluster = scenario.cluster();
    let launch = cluster.device_of(rank).launch_overhead;
    match op.kind {
        OpKind::Receive(_) | OpKind::Split | OpKind::Join | OpKind::Load => None,
        OpKind::Rotate if cluster.device_of(rank).shaders.is_none() => None,
        OpKind::Send(_) => {
            let bytes = step.tensor(op.reads[0]).bytes();
            let next = RankId((rank.0 + step.mesh.per_stage()) % step.mesh.ranks());
            let link = cluster.link_between(rank, next);
            let formula = format!("{} + {bytes} / {}", link.latency, link.effective_bandwidth());
            Some((cost::transfer_time(link, bytes, cluster.path_share(rank, next)), formula))
        }
        OpKind::Collective { group, .. } if step.mesh.group_size(group) == 1 => {
            Some((Nanos::ZERO, "alone in its group".to_owned()))
        }
        OpKind::Collective { collective, group } => {
            let span = GroupSpan::of_group(cluster, &step.mesh, group, rank);
            let bytes = cost::full_size(step, op);
            let chunks = cost::chunks(&step.tensors, op.reads[0]);
            let (time, algorithm) = cost::chunked_time(cluster, span, collective, bytes, chunks, step.runs(op));
            let sent = cost::collective_bytes_per_rank(collective, bytes, span.ranks);
            let launch = algorithm.launch(launch);
            Some((time + launch, communication(span, algorithm, bytes, sent, launch)))
        }
        OpKind::ToHost | OpKind::FromHost if cluster.device_of(rank).shaders.is_none() => {
            let (device, bytes) = (cluster.device_of(rank), cost::work(&step.dims, &step.tensors, op).bytes);
            let from = step.tensor(step.storage_of(op.reads[0])).place;
            let rate = if from == Place::Nvme { device.host.storage_bandwidth } else { device.host.bandwidth };
            Some((cost::copy_time(device, bytes, from), format!("{bytes} / {rate} + {launch}")))
        }
        OpKind::HostUpdate { place, .. } if cluster.device_of(rank).shaders.is_none() => {
            let (device, bytes) = (cluster.device_of(rank), cost::work(&step.dims, &step.tensors, op).bytes);
            let states = op.writes.iter().map(|&id| step.tensor(id).bytes()).sum::<Bytes>();
            let drives = format!(", 2 × {states} / {} of drives", device.host.storage_bandwidth);
            let drives = if place == Place::Nvme { drives } else { String::new() };
            let formula = format!("max({bytes} / {}{drives})", device.host.memory_bandwidth);
            Some((cost::host_update_time(device, bytes, states, place), formula))
        }
        _ => {
            let device = cluster.device_of(rank);
            let work = cost::work_on(device, &step.dims, &step.tensors, op);
            let dtype = cost::input_type(step, op);
            Some((cost::kernel_time(device, &work, dtype), kernel(device, &work, dtype)))
        }
    }
}

fn communication(span: GroupSpan, algorithm: Algorithm, bytes: Bytes, sent: Bytes, launch: Nanos) -> String {
    let how = match algorithm {
        Algorithm::Ring => "ring",
        Algorithm::Tree => "tree",
        Algorithm::Direct => "direct",
        Algorithm::InNetwork => "in-network reduction",
        Algorithm::Hierarchical => "hierarchical",
        Algorithm::Copies => "copies",
    };
    let GroupSpan { ranks, nodes, ranks_per_node, .. } = span;
    format!(
        "{how} of {bytes} over {ranks} ranks on {nodes} nodes ({ranks_per_node} each): every rank sends {sent}; + {launch}"
    )
}

/// `max(flops / rate, bytes / bandwidth) + launch`.
fn kernel(device: &Device, work: &Work, dtype: DType) -> String {
    let bandwidth = crate::units::BytesPerSec(device.memory_bandwidth.0 * device.memory_efficiency);
    let memory = format!("{} / {bandwidth}", work.bytes);
    let clock = if device.clock() < 1.0 { format!(" × {:.3}", device.clock()) } else { String::new() };
    let compute = if work.matmul_flops.0 > 0.0 {
        let (peak, share) = (cost::peak_of(device, work, dtype), cost::matmul_efficiency(device, work, dtype));
        let shape = work.matmul.map_or_else(String::new, |[m, n, k]| {
            let many = if work.groups > 1 { format!("{} × ", work.groups) } else { String::new() };
            format!(" = {many}2·{m}·{n}·{k}")
        });
        format!("{}{shape} / ({peak} × {share:.3}{clock})", work.matmul_flops)
    } else {
        format!("{} / ({}{clock})", work.flops, device.fp32)
    };
    if let (Some(rates), Some(calls)) = (&device.shaders, &work.calls) {
        let launches = format!("{} × {}", calls.count, device.launch_overhead);
        let starts = format!("{} workgroups × {} / {}", calls.workgroups, rates.workgroup, rates.at_once);
        let words = format!("{:.0} words / ({:.3e} 1/s)", calls.words - calls.halves, rates.words_per_second);
        let halves = format!(" + {:.0} halves / ({:.3e} 1/s)", calls.halves, rates.halves_per_second);
        let words = if calls.halves > 0.0 { words + &halves } else { words };
        let converting = if calls.converting > Nanos::ZERO {
            format!(" + {} to convert short numbers", calls.converting)
        } else {
            String::new()
        };
        let more = if calls.products > 0.0 {
            format!(" + {:.0} products / {}", calls.products, device.fp32_matmul)
        } else {
            String::new()
        };
        let together = format!("max({compute}{more} + {starts} + {words}{converting}, {memory}) + {launches}");
        return if calls.may_be_alone(rates, work) {
            format!("min({together}, all by one + {})", rates.alone)
        } else {
            together
        };
    }
    format!("max({compute}, {memory}) + {}", cost::launch_time(device, work.batched))
}
