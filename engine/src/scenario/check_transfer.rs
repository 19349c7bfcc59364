//! Checks what is said of a transfer.

use super::check::{Checked, bounded, invalid};
use super::check_input::{fraction, rate};
use super::transfer::{Transfer, TransferFile};
use super::{Optimizer, state_of};
use crate::cluster::Cluster;
use crate::model::Model;
use crate::units::{Bytes, BytesPerSec, Nanos};

/// Chunks over all receivers that are played, at most.
pub const MAX_CHUNKS: u64 = 1 << 22;

/// A transfer; none where nothing is said of it.
pub(super) fn check_transfer(
    file: Option<&TransferFile>,
    model: &Model,
    cluster: &Cluster,
    optimizer: Optimizer,
) -> Checked<Option<Transfer>> {
    let Some(file) = file else { return Ok(None) };
    let size = |value: Option<Bytes>, path, default: Bytes, most: u64| {
        let value = value.unwrap_or(default);
        if (1..=most).contains(&value.0) {
            return Ok(value);
        }
        Err(invalid(path, value, format!("a size from 1 B to {}", Bytes(most)), "For example \"16 MB\"."))
    };
    let latency = file.latency.unwrap_or(Nanos(50_000));
    if !(Nanos::ZERO..=Nanos(60_000_000_000)).contains(&latency) {
        return Err(invalid("transfer.latency", latency, "a time from 0 to a minute", "For example \"50 us\"."));
    }
    let transfer = Transfer {
        method: file.method,
        size: size(file.size, "transfer.size", state_of(model, optimizer), 1 << 50)?,
        receivers: bounded(Some(file.receivers.unwrap_or((cluster.nodes - 1).max(1))), "transfer.receivers", 1 << 20)?,
        fanout: bounded(Some(file.fanout.unwrap_or(2)), "transfer.fanout", 1024)?,
        bandwidth: rate(file.bandwidth, "transfer.bandwidth", cluster.inter_link.effective_bandwidth())?,
        latency,
        loss: fraction(file.loss, "transfer.loss", 0.0, [0.0, 0.5])?,
        window: size(file.window, "transfer.window", Bytes(4_000_000), 1 << 40)?,
        streams: bounded(Some(file.streams.unwrap_or(8)), "transfer.streams", 1024)?,
        chunk: size(file.chunk, "transfer.chunk", Bytes(16_000_000), 1 << 50)?,
        compression: fraction(file.compression, "transfer.compression", 1.0, [0.01, 1.0])?,
        compress_rate: rate(file.compress_rate, "transfer.compress_rate", BytesPerSec(2e9))?,
        decompress_rate: rate(file.decompress_rate, "transfer.decompress_rate", BytesPerSec(4e9))?,
        checksums: file.checksums.unwrap_or(true),
        checksum_rate: rate(file.checksum_rate, "transfer.checksum_rate", BytesPerSec(1e10))?,
        corruption: fraction(file.corruption, "transfer.corruption", 1e-10, [0.0, 0.01])?,
    };
    let chunks = transfer.size.0.div_ceil(transfer.chunk.0).saturating_mul(u64::from(transfer.receivers));
    if chunks > MAX_CHUNKS {
        let allowed = format!("at most {MAX_CHUNKS} chunks over all receivers, here {chunks}");
        return Err(invalid("transfer.chunk", transfer.chunk, allowed, "Raise it, or lower transfer.receivers."));
    }
    Ok(Some(transfer))
}
