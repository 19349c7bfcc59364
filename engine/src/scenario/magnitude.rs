//! Refuses what is too large to be counted: a step of centuries, or more spans than a trace can hold.
//!
//! Every bound is a coarse estimate from above in floating point. What passes stays far below 2^63 nanoseconds and
//! 2^63 bytes, so that the integer arithmetic behind it cannot overflow.

use super::check::{Checked, invalid};
use super::{ContextMethod, Data, Place, Strategy};
use crate::cluster::{Cluster, Device, Network};
use crate::model::{Mixture, Model, ParameterCount};

/// Parameters; a thousand times the largest model that was trained.
const MAX_PARAMETERS: f64 = 1e15;
/// Seconds of a step, three years; the integers behind it hold 292 years.
const MAX_SECONDS: f64 = 1e8;
/// Bytes that a rank touches in a step.
const MAX_TRAFFIC: f64 = 1e17;
/// Layers times micro-batches, each of some forty spans; where layers have more, as many fewer.
const MAX_LAYER_RUNS: u64 = 1 << 18;
/// Kernels and collectives of one layer and micro-batch, forward and backward, at most.
const OPS_PER_LAYER: f64 = 60.0;

/// Checks the number of parameters.
pub fn check_parameters(model: &Model) -> Checked<()> {
    let parameters = ParameterCount::of(model).total() as f64;
    if parameters <= MAX_PARAMETERS {
        return Ok(());
    }
    let allowed = format!("a model of at most {MAX_PARAMETERS:e} parameters");
    Err(invalid("model", format!("{parameters:.1e} parameters"), allowed, "Check its sizes."))
}

/// Checks spans, bytes and time.
pub fn check_magnitude(model: &Model, cluster: &Cluster, strategy: &Strategy, data: &Data) -> Checked<()> {
    let parameters = ParameterCount::of(model).total() as f64;
    let micro_batches = strategy.global_batch / (strategy.micro_batch * strategy.data_parallel);
    let heavier = spans_of_layer(strategy) / SPANS_OF_LAYER;
    let runs = u64::from(micro_batches) * u64::from(model.layers) * u64::from(heavier);
    if runs > MAX_LAYER_RUNS {
        let allowed = format!(
            "at most {MAX_LAYER_RUNS} for model.layers × micro-batches{}, here {} × {micro_batches}",
            if heavier > 1 { format!(" × {heavier} for chunks and exchanges inside layers") } else { String::new() },
            model.layers
        );
        return Err(invalid(
            "strategy.global_batch",
            strategy.global_batch,
            allowed,
            "Raise micro_batch or data_parallel.",
        ));
    }
    let tokens = f64::from(micro_batches) * f64::from(strategy.micro_batch) * f64::from(data.sequence_length);
    let traffic = traffic(model, tokens, f64::from(micro_batches) * parameters, strategy.capacity_factor);
    if traffic > MAX_TRAFFIC {
        let allowed = format!("a step that touches at most {MAX_TRAFFIC:e} bytes");
        return Err(invalid(
            "strategy.global_batch",
            format!("{traffic:.1e} bytes"),
            allowed,
            "Lower the batch or the model's sizes.",
        ));
    }
    let seconds = seconds(model, cluster, data, [tokens, strategy.capacity_factor], traffic, parameters)
        + latencies(model, cluster, strategy, runs as f64)
        + outside(cluster, strategy, traffic);
    if seconds > MAX_SECONDS {
        let allowed = format!("a step of at most {MAX_SECONDS:e} s");
        let hint = "Lower the batch, or check the rates and latencies of cluster.custom.";
        return Err(invalid("strategy.global_batch", format!("up to {seconds:.1e} s"), allowed, hint));
    }
    Ok(())
}

/// Seconds of reads and decoding that a simulation of the input may add up; nanoseconds of them are counted.
const MAX_INPUT_SECONDS: f64 = 4e9;

/// Checks that the times of all samples that are played can be added up.
pub fn check_input_time(cluster: &Cluster, strategy: &Strategy, data: &Data) -> Checked<()> {
    let Some(input) = data.input else { return Ok(()) };
    let loaders = f64::from(strategy.data_parallel) * 2.0 * f64::from(input.access.jobs);
    let on_a_node = (loaders / f64::from(cluster.nodes)).max(1.0);
    let storage = (input.storage.node_bandwidth.0 / on_a_node).min(input.storage.bandwidth.0 / loaders);
    // What a tier serves is larger than the mean where small samples are cached.
    let read = 4.0 * input.samples.size.as_f64() / storage + input.storage.latency.secs();
    let batches = f64::from(input.loader.workers) * 8.0 + 4200.0;
    let batch = f64::from(strategy.global_batch) / f64::from(strategy.data_parallel);
    // Of every worker, also while it waits for the others' reads.
    let seconds = (read * f64::from(input.loader.workers) + input.loader.decode.secs()) * batch.max(1000.0) * batches;
    if seconds <= MAX_INPUT_SECONDS {
        return Ok(());
    }
    let allowed =
        format!("rates with which {batches} batches take at most {MAX_INPUT_SECONDS:e} s, here {seconds:.1e}");
    let hint = "Raise the rates of data.storage, or lower data.samples.size or data.loader.decode.";
    Err(invalid("data.storage.node_bandwidth", input.storage.node_bandwidth, allowed, hint))
}

/// Spans of a layer and micro-batch, forward and backward, without chunks and exchanges.
const SPANS_OF_LAYER: u32 = 40;

/// With them: some ten ops are cut into chunks, and a ring has a handful for each of its ranks.
fn spans_of_layer(strategy: &Strategy) -> u32 {
    let chunks = if strategy.tensor_parallel > 1 { 10 * (strategy.tensor_chunks - 1) } else { 0 };
    let ring = strategy.context_method == ContextMethod::Ring;
    let exchanges = if ring { strategy.context_parallel.saturating_sub(1).saturating_mul(5) } else { 0 };
    SPANS_OF_LAYER.saturating_add(chunks).saturating_add(exchanges)
}

/// Bytes of all activations and of all weights as often as they are read, with a wide margin.
fn traffic(model: &Model, tokens: f64, weights_read: f64, capacity: f64) -> f64 {
    let widths =
        60.0 * f64::from(model.hidden) + 30.0 * f64::from(model.ffn_hidden) + 30.0 * f64::from(model.qkv_width());
    let widths = widths + model.mixture.map_or(0.0, |mixture| mixture_width(model, &mixture) * capacity);
    let per_token = f64::from(model.layers) * widths + 30.0 * f64::from(model.vocab) + sample_width(model);
    4.0 * tokens * per_token + 60.0 * weights_read
}

/// Features of an image or a sample on its way through what is not a transformer layer.
fn sample_width(model: &Model) -> f64 {
    let pixels = model.image.map_or(0.0, |image| 60.0 * f64::from(image.size).powi(2) * 3.0);
    let convolutions = model.convolutions.as_ref().map_or(0.0, |net| {
        let size = model.image.map_or(1, |image| image.size);
        let first = 120.0 * f64::from(net.width) * f64::from(size).powi(2) / 4.0;
        let behind = |[_, inputs, outputs, side]: [u32; 4]| f64::from(side).powi(2) * f64::from(inputs + outputs);
        first + 60.0 * net.all_blocks(size).flat_map(|b| b.convolutions(net.bottleneck)).map(behind).sum::<f64>()
    });
    let recommender = model.recommender.as_ref().map_or(0.0, |recommender| {
        let vectors = f64::from(recommender.lookups_of_sample() + 8 * recommender.tables()) * f64::from(model.hidden);
        let all = f64::from(recommender.interaction_width(model.hidden)) * f64::from(recommender.layers() + 4);
        let linear = recommender.linear_layers(model.hidden);
        60.0 * (vectors + all + linear.iter().map(|&[i, o]| f64::from(i) + f64::from(o)).sum::<f64>())
    });
    pixels + convolutions + recommender
}

/// How often the parameters of convolutions are used: once for every pixel of a result.
fn uses(model: &Model) -> f64 {
    let largest = |size: u32| f64::from(size.div_ceil(2)).powi(2);
    model.image.filter(|_| model.convolutions.is_some()).map_or(1.0, |image| largest(image.size))
}

/// Features of a token on its way through its experts and the router.
fn mixture_width(model: &Model, mixture: &Mixture) -> f64 {
    let routed = f64::from(mixture.per_token) * (30.0 * f64::from(mixture.ffn_hidden) + 60.0 * f64::from(model.hidden));
    routed + 30.0 * f64::from(mixture.experts) + 30.0 * f64::from(mixture.shared_ffn_hidden)
}

/// How much slower small and padded tiles make a matmul, at most, where models are trained.
const WORST_TILES: f64 = 16.0;

/// Work on one rank at the lowest rate, as if nothing were split.
fn seconds(
    model: &Model,
    cluster: &Cluster,
    data: &Data,
    [tokens, capacity]: [f64; 2],
    traffic: f64,
    parameters: f64,
) -> f64 {
    let attention = 14.0 * f64::from(model.layers) * f64::from(model.heads) * f64::from(model.head_dim);
    let flops =
        tokens * (8.0 * parameters * uses(model) * capacity.max(1.0) + attention * f64::from(data.sequence_length));
    let usual = (&cluster.device, [&cluster.intra_link, &cluster.inter_link]);
    let others = cluster.exceptions.iter().map(|kind| (&kind.device, [&kind.intra_link, &kind.inter_link]));
    let times = std::iter::once(usual).chain(others).map(|(device, links)| {
        let rates = [
            device.bf16_matmul,
            device.fp16_matmul,
            device.fp8_matmul,
            device.fp4_matmul,
            device.tf32_matmul,
            device.fp32_matmul,
        ];
        let rate = device.clock()
            * rates.iter().fold(device.fp32.0, |least, rate| least.min(rate.0))
            * (device.matmul_efficiency * device.eager_share * device.aligned_share(1))
                .min(device.attention_efficiency * device.flash_2_share)
            / WORST_TILES;
        let [inside, network] = links.map(|link| link.effective_bandwidth().0);
        let network = network / narrowness(cluster);
        let bandwidth = inside.min(network).min(device.memory_bandwidth.0 * device.memory_efficiency);
        flops / rate + 4.0 * traffic / bandwidth
    });
    times.fold(0.0, f64::max)
}

/// All traffic by way of the host, where anything lives there.
fn outside(cluster: &Cluster, s: &Strategy, traffic: f64) -> f64 {
    if s.offload_optimizer == Place::Device && s.offload_activations == 0 {
        return 0.0;
    }
    let devices = cluster.exceptions.iter().map(|kind| &kind.device).chain([&cluster.device]);
    let rate = |device: &Device| {
        let host = device.host;
        host.bandwidth.0.min(host.memory_bandwidth.0).min(host.storage_bandwidth.0)
    };
    traffic / devices.map(rate).fold(f64::INFINITY, f64::min)
}

/// How many times slower than its adapters a network may be.
fn narrowness(cluster: &Cluster) -> f64 {
    match &cluster.network {
        Network::NonBlocking => 1.0,
        Network::LeafSpine { oversubscription, .. } | Network::Rails { oversubscription, .. } => {
            oversubscription.max(1.0)
        }
        Network::Torus { dims } => {
            f64::from(cluster.devices_per_node) * dims.iter().map(|&n| f64::from(n)).sum::<f64>()
        }
        Network::Dragonfly { nodes, oversubscription } => {
            oversubscription.max(1.0) * f64::from(cluster.nodes.div_ceil(*nodes))
        }
    }
}

/// Launches, and a ring over all ranks for every op.
fn latencies(model: &Model, cluster: &Cluster, strategy: &Strategy, layer_runs: f64) -> f64 {
    let hop = cluster.intra_link.latency.secs() + cluster.inter_link.latency.secs();
    let ranks = f64::from(strategy.tensor_parallel.max(strategy.copies()).max(strategy.expert_parallel));
    let data_rounds = 2.0 * hop * f64::from(strategy.copies()) * 1e4;
    let kinds = cluster.exceptions.iter().map(|kind| &kind.device).chain([&cluster.device]);
    // The matmuls of experts are issued one by one.
    let calls = model.mixture.map_or(1.0, |mixture| 1.0 + f64::from(mixture.experts));
    let issue = |device: &Device| device.launch_overhead.secs() + device.host_dispatch.secs() * calls;
    let launch = kinds.map(issue).fold(0.0, f64::max);
    let around = f64::from(strategy.tensor_parallel.max(strategy.expert_parallel));
    let hops = around.max(f64::from(strategy.context_parallel).powi(2));
    layer_runs * OPS_PER_LAYER * (launch + 2.0 * hop * hops) + data_rounds + 2.0 * hop * ranks
}
