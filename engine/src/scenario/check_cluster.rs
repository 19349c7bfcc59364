//! Devices, links, and what differs among them.

use std::sync::Arc;

use super::check::{Checked, bounded, invalid, required};
use super::presets::nearest_hint;
use super::{ClusterFile, ScenarioFile};
use crate::cluster::{
    self, AlgorithmChoice, Cluster, Device, DeviceFile, ExceptionFile, Host, Kind, Link, LinkFile, Network,
    NetworkFile, NetworkKind, Power, ShaderRates, Topology,
};
use crate::units::{Bytes, BytesPerSec, FlopsPerSec, Nanos, Quantity, Watts};

/// More ranks than any published job.
const MAX_RANKS: u64 = 1 << 18;

/// Groups of a dragonfly: its links grow with their square.
const MAX_GROUPS: u32 = 512;

/// Kinds of exceptions of a cluster.
const MAX_EXCEPTIONS: usize = 31;

/// Checks the devices, their links, and those that differ.
pub(super) fn check_cluster(file: &ScenarioFile) -> Checked<Cluster> {
    let cluster = &file.cluster;
    let base = match &cluster.device {
        Some(name) => device_preset(name, "cluster.device")?.clone(),
        None => DeviceFile::default(),
    };
    let name = cluster.device.clone().unwrap_or_else(|| "custom".to_owned());
    let device = cluster.custom.clone().unwrap_or_default().over(&base);
    let devices_per_node = bounded(device.devices_per_node, "cluster.custom.devices_per_node", 4096)?;
    let nodes = bounded(Some(cluster.nodes), "cluster.nodes", 1 << 16)?;
    if u64::from(nodes) * u64::from(devices_per_node) > MAX_RANKS {
        return Err(invalid("cluster.nodes", nodes, format!("at most {MAX_RANKS} devices in all"), "Use fewer nodes."));
    }
    let kind = check_kind(name, &device)?;
    let (exceptions, kind_of_device) = check_exceptions(cluster, &kind, nodes * devices_per_node, devices_per_node)?;
    let file = cluster.network.clone().unwrap_or_default();
    let network = check_network(&file, nodes)?;
    let needs_graph = file.contention || network != Network::NonBlocking;
    let topology = needs_graph.then(|| Arc::new(Topology::new(&network, nodes, devices_per_node)));
    check_algorithm(file.all_reduce, &kind.intra_link)?;
    Ok(Cluster {
        nodes,
        devices_per_node,
        network,
        contention: file.contention,
        all_reduce: file.all_reduce,
        topology,
        device: kind.device,
        intra_link: kind.intra_link,
        inter_link: kind.inter_link,
        exceptions,
        kind_of_device,
        device_of_rank: Vec::new(),
    })
}

fn check_network(file: &NetworkFile, nodes: u32) -> Checked<Network> {
    let usual = match file.kind {
        NetworkKind::LeafSpine => 4,
        NetworkKind::Rails => 32,
        _ => 16,
    };
    let leaf = bounded(file.nodes_per_leaf.or(Some(usual)), "cluster.network.nodes_per_leaf", 1 << 16)?;
    if file.kind == NetworkKind::Dragonfly && nodes.div_ceil(leaf) > MAX_GROUPS {
        let allowed =
            format!("at least {} with {nodes} nodes: at most {MAX_GROUPS} groups", nodes.div_ceil(MAX_GROUPS));
        let hint = "Every two groups are joined; larger ones need fewer links.";
        return Err(invalid("cluster.network.nodes_per_leaf", leaf, allowed, hint));
    }
    let oversubscription = file.oversubscription.unwrap_or(1.0);
    if !(0.1..=1000.0).contains(&oversubscription) {
        let hint = "2 gives leaves half of the bandwidth to each other that their nodes have into them.";
        let path = "cluster.network.oversubscription";
        return Err(invalid(path, oversubscription, "a number from 0.1 to 1000", hint));
    }
    Ok(match file.kind {
        NetworkKind::NonBlocking => Network::NonBlocking,
        NetworkKind::LeafSpine => Network::LeafSpine { nodes: leaf, oversubscription },
        NetworkKind::Rails => Network::Rails { nodes: leaf, oversubscription },
        NetworkKind::Torus => Network::Torus { dims: torus(&file.dims, nodes)? },
        NetworkKind::Dragonfly => Network::Dragonfly { nodes: leaf, oversubscription },
    })
}

/// Nodes along each dimension, all nodes together.
fn torus(dims: &[u32], nodes: u32) -> Checked<Vec<u32>> {
    let product = dims.iter().fold(1_u64, |product, &n| product.saturating_mul(u64::from(n)));
    if !dims.is_empty() && dims.len() <= 6 && product == u64::from(nodes) {
        return Ok(dims.to_vec());
    }
    let written = dims.iter().map(ToString::to_string).collect::<Vec<_>>().join(" × ");
    let found = if dims.is_empty() { "(missing)".to_owned() } else { format!("{written} = {product}") };
    let allowed = format!("one to six numbers whose product is cluster.nodes = {nodes}");
    Err(invalid("cluster.network.dims", found, allowed, format!("For example [{nodes}].")))
}

fn check_algorithm(choice: AlgorithmChoice, link: &Link) -> Checked<()> {
    if choice != AlgorithmChoice::InNetwork || link.in_network.is_some() {
        return Ok(());
    }
    let allowed = "an algorithm that the links have: auto, ring, binary_tree, double_tree, hierarchical or direct";
    let hint = "Or give cluster.custom.intra_link.in_network, the rate at which switches add up.";
    Err(invalid("cluster.network.all_reduce", choice.name(), allowed, hint))
}

fn check_kind(name: String, device: &DeviceFile) -> Checked<Kind> {
    Ok(Kind {
        intra_link: check_link(device.intra_link.clone(), &INTRA_LINK)?,
        inter_link: check_link(device.inter_link.clone(), &INTER_LINK)?,
        device: check_device(name, device)?,
    })
}

/// The kinds that differ, and the kind of every device.
fn check_exceptions(
    cluster: &ClusterFile,
    usual: &Kind,
    devices: u32,
    devices_per_node: u32,
) -> Checked<(Vec<Kind>, Vec<u16>)> {
    if cluster.exceptions.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    if cluster.exceptions.len() > MAX_EXCEPTIONS {
        let (found, allowed) = (cluster.exceptions.len(), format!("at most {MAX_EXCEPTIONS} entries"));
        return Err(invalid("cluster.exceptions", found, allowed, "Name several nodes in one entry."));
    }
    let mut kind_of_device = vec![0; devices as usize];
    let mut kinds = Vec::new();
    for (number, exception) in (1..).zip(&cluster.exceptions) {
        kinds.push(exceptional(exception, usual)?);
        for device in named_devices(exception, devices, devices_per_node)? {
            kind_of_device[device as usize] = number;
        }
    }
    Ok((kinds, kind_of_device))
}

/// A device that differs, with its links.
fn exceptional(file: &ExceptionFile, usual: &Kind) -> Checked<Kind> {
    let mut kind = match &file.device {
        Some(name) => check_kind(name.clone(), device_preset(name, "cluster.exceptions.device")?)?,
        None => usual.clone(),
    };
    let speed = slowdown(file.speed, "cluster.exceptions.speed")?;
    if speed < 1.0 {
        kind.device.name = format!("{} at {speed} of its speed", kind.device.name);
    }
    let inside = slowdown(file.intra_share, "cluster.exceptions.intra_share")?;
    Ok(kind.slowed(speed).degraded(inside, slowdown(file.network_share, "cluster.exceptions.network_share")?))
}

/// Numbers of the devices that an exception names, all of them in the cluster.
fn named_devices(file: &ExceptionFile, devices: u32, per_node: u32) -> Checked<Vec<u32>> {
    let nodes = devices / per_node;
    if let Some(node) = file.nodes.iter().find(|&&node| node >= nodes) {
        let allowed = format!("numbers of nodes from 0 to {}", nodes - 1);
        return Err(invalid("cluster.exceptions.nodes", node, allowed, "Nodes are counted from 0."));
    }
    if let Some(device) = file.devices.iter().find(|&&device| device >= devices) {
        let allowed = format!("numbers of devices from 0 to {}", devices - 1);
        return Err(invalid("cluster.exceptions.devices", device, allowed, "Devices are counted through all nodes."));
    }
    if file.nodes.is_empty() && file.devices.is_empty() {
        let hint = "For example nodes = [3].";
        return Err(invalid("cluster.exceptions", "(no nodes, no devices)", "numbers of nodes or devices", hint));
    }
    let of_nodes = file.nodes.iter().flat_map(|node| node * per_node..(node + 1) * per_node);
    Ok(of_nodes.chain(file.devices.iter().copied()).collect())
}

/// What is left of a rate: a thousandth at least, all of it when left out.
fn slowdown(value: Option<f64>, path: &'static str) -> Checked<f64> {
    let value = value.unwrap_or(1.0);
    if (1e-3..=1.0).contains(&value) {
        return Ok(value);
    }
    Err(invalid(path, value, "a share from 0.001 to 1", "0.8 makes every kernel or message take 1.25 times as long."))
}

fn device_preset(name: &str, path: &'static str) -> Checked<&'static DeviceFile> {
    cluster::presets().get(name).ok_or_else(|| {
        let known: Vec<_> = cluster::presets().keys().map(String::as_str).collect();
        invalid(path, format!("`{name}`"), format!("one of {}", known.join(", ")), nearest_hint(name, &known))
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

fn shaders(rates: Option<ShaderRates>) -> Checked<Option<ShaderRates>> {
    let Some(rates) = rates else { return Ok(None) };
    let (words, halves, depth) = (rates.words_per_second, rates.halves_per_second, rates.depth);
    let hint = "Copy what `shardlab calibrate --device` prints.";
    if !(words.is_finite() && words > 0.0) {
        return Err(invalid("cluster.custom.shaders.words_per_second", words, "a number above 0", hint));
    }
    if !(halves.is_finite() && halves > 0.0) {
        return Err(invalid("cluster.custom.shaders.halves_per_second", halves, "a number above 0", hint));
    }
    let half_depth = rates.half_depth.unwrap_or(depth);
    for (path, depth) in [("cluster.custom.shaders.depth", depth), ("cluster.custom.shaders.half_depth", half_depth)] {
        if !(depth.is_finite() && depth >= 0.0) {
            return Err(invalid(path, depth, "a number of 0 or more", hint));
        }
    }
    for (path, [rows, columns]) in
        [("cluster.custom.shaders.tile", rates.tile), ("cluster.custom.shaders.shares", rates.shares)]
    {
        if ![rows, columns].iter().all(|side| (1..=4096).contains(side)) {
            return Err(invalid(path, format!("[{rows}, {columns}]"), "two numbers from 1 to 4096", hint));
        }
    }
    for (path, rate) in [
        ("cluster.custom.shaders.attention_gradient", rates.attention_gradient),
        ("cluster.custom.shaders.half_attention", rates.half_attention),
        ("cluster.custom.shaders.half_attention_gradient", rates.half_attention_gradient),
        ("cluster.custom.shaders.norm_words_per_second", rates.norm_words_per_second.unwrap_or(words)),
    ] {
        if !(rate.is_finite() && rate > 0.0) {
            return Err(invalid(path, rate, "a number above 0", hint));
        }
    }
    for (path, short) in [
        ("cluster.custom.shaders.fp8", rates.fp8),
        ("cluster.custom.shaders.fp8_block", rates.fp8_block),
        ("cluster.custom.shaders.nvfp4", rates.nvfp4),
    ] {
        let slowest = short.map_or(1.0, |short| short.decoded_per_second.min(short.encoded_per_second));
        let finite = short.is_none_or(|short| (short.decoded_per_second + short.encoded_per_second).is_finite());
        if !finite || slowest <= 0.0 {
            return Err(invalid(path, slowest, "a number above 0", hint));
        }
    }
    for (path, count) in
        [("cluster.custom.shaders.at_once", rates.at_once), ("cluster.custom.shaders.queries", rates.queries)]
    {
        if count == 0 {
            return Err(invalid(path, 0, "at least 1", hint));
        }
    }
    Ok(Some(rates))
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
        fp32_matmul: rate(file.fp32_matmul.or(vector), "cluster.custom.fp32_matmul")?,
        tf32_matmul: rate(file.tf32.or(vector), "cluster.custom.tf32")?,
        bf16_matmul: rate(file.bf16, "cluster.custom.bf16")?,
        fp16_matmul: rate(file.fp16.or(file.bf16), "cluster.custom.fp16")?,
        fp8_matmul: rate(file.fp8.or(file.bf16), "cluster.custom.fp8")?,
        fp4_matmul: rate(file.fp4.or(file.fp8).or(file.bf16), "cluster.custom.fp4")?,
        matmul_efficiency: share(file.matmul_efficiency, "cluster.custom.matmul_efficiency")?,
        attention_efficiency: share(
            file.attention_efficiency.or(file.matmul_efficiency),
            "cluster.custom.attention_efficiency",
        )?,
        flash_2_share: share(file.flash_2_share, "cluster.custom.flash_2_share")?,
        eager_share: share(file.eager_share, "cluster.custom.eager_share")?,
        power: power(file)?,
        memory: required(file.memory, "cluster.custom.memory", "a size such as \"80 GB\"")?,
        memory_bandwidth: bandwidth(file.memory_bandwidth, "cluster.custom.memory_bandwidth")?,
        memory_efficiency: share(file.memory_efficiency, "cluster.custom.memory_efficiency")?,
        launch_overhead: latency(file.launch_overhead, "cluster.custom.launch_overhead")?,
        host_dispatch: latency(file.host_dispatch.or(Some(Nanos::ZERO)), "cluster.custom.host_dispatch")?,
        residuals: residuals(file)?,
        multiprocessors: multiprocessors(file.multiprocessors)?,
        shaders: shaders(file.shaders)?,
        context: file.context_memory.unwrap_or(Bytes::ZERO),
        host: host(file)?,
    })
}

/// What a device draws. A limit needs what it is a limit of, and must leave something for compute.
fn power(file: &DeviceFile) -> Checked<Option<Power>> {
    let (path, of) = ("cluster.custom.power_limit", "cluster.custom.power");
    let (nominal, limit) = match (file.power, file.power_limit) {
        (None, None) => return Ok(None),
        (nominal, limit) => (required(nominal, of, "a power such as \"700 W\"")?, limit),
    };
    if nominal.0 <= 0.0 {
        return Err(invalid(of, nominal, "more than 0 W", "Leave it out if it is not known."));
    }
    let (limit, least) = (limit.unwrap_or(nominal), nominal.0 * LEAST_POWER);
    if limit.0 >= least && limit.0 <= nominal.0 {
        return Ok(Some(Power { nominal, limit }));
    }
    let allowed = format!("from {} to {of} = {}", Watts(least).written(), nominal.written());
    let nearest = Watts(limit.0.clamp(least, nominal.0)).written();
    Err(invalid(path, limit.written(), allowed, format!("Nearest valid: {nearest}.")))
}

/// The least share of its nominal power to which a device can be limited; below it little but leakage is left.
const LEAST_POWER: f64 = 0.25;

/// The device's share of its host; what is not said is assumed.
fn host(file: &DeviceFile) -> Checked<Host> {
    let rate = |value: Option<BytesPerSec>, assumed: BytesPerSec, path| bandwidth(value.or(Some(assumed)), path);
    let assumed = Host::ASSUMED;
    Ok(Host {
        bandwidth: rate(file.host_bandwidth, assumed.bandwidth, "cluster.custom.host_bandwidth")?,
        memory: file.host_memory.unwrap_or(assumed.memory),
        memory_bandwidth: rate(
            file.host_memory_bandwidth,
            assumed.memory_bandwidth,
            "cluster.custom.host_memory_bandwidth",
        )?,
        storage_bandwidth: rate(file.storage_bandwidth, assumed.storage_bandwidth, "cluster.custom.storage_bandwidth")?,
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
