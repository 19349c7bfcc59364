//! Checks what is said of storage, and of what makes batches of samples.

use super::check::{Checked, bounded, invalid};
use super::check_input::{fraction, rate, size, time};
use super::input::SamplesFile;
use super::storage::{
    LoaderFile, LoaderSettings, Preprocessing, PreprocessingFile, SampleFormat, Servers, Storage, StorageFile,
};
use crate::model::Model;
use crate::units::{Bytes, BytesPerSec, Nanos};

/// Servers, and nodes beside the cluster, at most.
const MAX_SERVERS: u32 = 1 << 16;

/// Bytes of a shard whose samples are not counted.
const SHARD: u64 = 256 << 20;

/// What is said of storage that `nodes` nodes read.
pub(super) fn check_storage(file: &StorageFile, nodes: u32) -> Checked<Storage> {
    let node_bandwidth = rate(file.node_bandwidth, "data.storage.node_bandwidth", BytesPerSec(2e9))?;
    let servers = check_servers(file)?;
    let all =
        servers.map_or(node_bandwidth.0 * f64::from(nodes), |servers| servers.bandwidth.0 * f64::from(servers.count));
    Ok(Storage {
        bandwidth: rate(file.bandwidth, "data.storage.bandwidth", BytesPerSec(all.clamp(1.0, 1e18)))?,
        node_bandwidth,
        latency: time(file.latency, "data.storage.latency", Nanos(1_000_000))?,
        servers,
        opens: check_opens(file)?,
    })
}

fn check_servers(file: &StorageFile) -> Checked<Option<Servers>> {
    let Some(count) = file.servers else {
        let said = [
            ("data.storage.server_bandwidth", file.server_bandwidth.is_some()),
            ("data.storage.stripe_count", file.stripe_count.is_some()),
            ("data.storage.stripe_size", file.stripe_size.is_some()),
            ("data.storage.replicas", file.replicas.is_some()),
        ];
        return needs(&said, "data.storage.servers").map(|()| None);
    };
    let count = bounded(Some(count), "data.storage.servers", MAX_SERVERS)?;
    let most = |value: Option<u32>, path| bounded(Some(value.unwrap_or(1)), path, count);
    Ok(Some(Servers {
        count,
        bandwidth: rate(file.server_bandwidth, "data.storage.server_bandwidth", BytesPerSec(1e9))?,
        stripe_count: most(file.stripe_count, "data.storage.stripe_count")?,
        stripe_size: size(file.stripe_size, "data.storage.stripe_size", Bytes(1 << 20))?,
        replicas: most(file.replicas, "data.storage.replicas")?,
    }))
}

/// Files that all metadata servers open in a second.
fn check_opens(file: &StorageFile) -> Checked<Option<f64>> {
    let Some(servers) = file.metadata_servers else {
        let said = [("data.storage.metadata_rate", file.metadata_rate.is_some())];
        return needs(&said, "data.storage.metadata_servers").map(|()| None);
    };
    let servers = bounded(Some(servers), "data.storage.metadata_servers", MAX_SERVERS)?;
    let of_one = fraction(file.metadata_rate, "data.storage.metadata_rate", 20_000.0, [1.0, 1e9])?;
    Ok(Some(f64::from(servers) * of_one))
}

/// Refuses what is said of something that is not there.
fn needs(said: &[(&'static str, bool)], what: &str) -> Checked<()> {
    match said.iter().find(|(_, said)| *said) {
        Some((path, _)) => Err(invalid(path, "(a value)", format!("{what} beside it"), "Say how many there are.")),
        None => Ok(()),
    }
}

/// Samples of a shard; 1 for other formats.
pub(super) fn check_shards(file: &SamplesFile, size: Bytes, count: u32, readers: u32) -> Checked<u32> {
    if file.format != SampleFormat::Shards {
        let allowed = "data.samples.format = shards beside it";
        return match file.per_shard {
            Some(said) => Err(invalid("data.samples.per_shard", said, allowed, "Other formats have no shards.")),
            None => Ok(1),
        };
    }
    if count < readers {
        let allowed = format!("at least one for each of {readers} nodes");
        return Err(invalid("data.samples.count", count, allowed, "Say that there are more, or read on fewer nodes."));
    }
    // So many that each node has a shard: count / per_shard is above one less than there are.
    let most = count.checked_div(readers - 1).map_or(count, |_| count.div_ceil(readers - 1) - 1).max(1);
    let usual = u32::try_from((SHARD / size.0.max(1)).max(1)).unwrap_or(u32::MAX);
    let per_shard = bounded(Some(file.per_shard.unwrap_or(usual.min(most))), "data.samples.per_shard", count)?;
    if count.div_ceil(per_shard) < readers {
        let allowed = format!("at most {most}, so that each of {readers} nodes has a shard");
        return Err(invalid("data.samples.per_shard", per_shard, allowed, "Make shards smaller."));
    }
    Ok(per_shard)
}

pub(super) fn check_loader(file: &LoaderFile, model: &Model, sequence_length: u32) -> Checked<LoaderSettings> {
    Ok(LoaderSettings {
        workers: bounded(Some(file.workers.unwrap_or(8)), "data.loader.workers", 1024)?,
        prefetch: bounded(Some(file.prefetch.unwrap_or(2)), "data.loader.prefetch", 1024)?,
        decode: time(file.decode, "data.loader.decode", Nanos::ZERO)?,
        decoded: size(file.decoded, "data.loader.decoded", numbers_of(model, sequence_length))?,
        pageable: file.pageable,
    })
}

/// Bytes of a sample with four for every number: pixels of three colours, features and row numbers, or tokens.
fn numbers_of(model: &Model, sequence_length: u32) -> Bytes {
    let numbers = match (&model.image, &model.recommender) {
        (Some(image), _) => 3 * u64::from(image.size) * u64::from(image.size),
        (None, Some(recommender)) => {
            let lookups: u64 = recommender.lookups.iter().map(|&n| u64::from(n)).sum();
            u64::from(recommender.dense_features) + lookups
        }
        (None, None) => u64::from(sequence_length) + 1,
    };
    Bytes(4 * numbers)
}

/// What is said of nodes beside the cluster; `workers` are said to be of replicas, which have none then.
pub(super) fn check_preprocessing(file: &PreprocessingFile, workers: Option<u32>) -> Checked<Preprocessing> {
    if let Some(workers) = workers {
        let hint = "With a table data.preprocessing its nodes read and decode; say data.preprocessing.workers.";
        return Err(invalid("data.loader.workers", workers, "nothing beside data.preprocessing", hint));
    }
    let Some(nodes) = file.nodes else {
        return Err(invalid(
            "data.preprocessing.nodes",
            "(nothing)",
            "a whole number",
            "Say how many nodes there are.",
        ));
    };
    Ok(Preprocessing {
        nodes: bounded(Some(nodes), "data.preprocessing.nodes", MAX_SERVERS)?,
        workers: bounded(Some(file.workers.unwrap_or(64)), "data.preprocessing.workers", 1024)?,
        bandwidth: rate(file.bandwidth, "data.preprocessing.bandwidth", BytesPerSec(12e9))?,
    })
}
