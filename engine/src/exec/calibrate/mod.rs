//! Measures what the cost model needs to know of this device: matmul and vector rate, bandwidths, time per kernel call,
//! and how fast ranks that share it exchange data.

mod calibrator;
mod timing;

use serde::Serialize;

use super::BackendInfo;
use crate::cluster::{
    AlgorithmChoice, Cluster, Device, DeviceFile, Host, Link, LinkFile, LinkLayout, Network, ShaderRates, ShortRates,
};
use crate::units::{Bytes, BytesPerSec, FlopsPerSec, Nanos};

pub use calibrator::{Calibrator, Measured, calibrate};
pub(super) use timing::{first_call, scopes_of_one, time_calls, timed_calls, warm_up};

/// Measured rates of a device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// What was measured, and how it was timed.
    pub backend: BackendInfo,
    /// fp32 matmul whose rows and columns are about those of the scenario, with a contraction that never ends.
    pub matmul: FlopsPerSec,
    /// The same of numbers in bf16, multiplied and added up in fp32.
    pub half_matmul: FlopsPerSec,
    /// The side of that matmul's square result.
    pub matmul_side: u32,
    /// Attention forward, of the scenario's shape.
    pub attention: FlopsPerSec,
    /// Elementwise fp32 arithmetic: GELU, counted as eight operations an element as the cost model does.
    pub vector: FlopsPerSec,
    /// Bytes that kernels read and write per second at best.
    pub memory_bandwidth: BytesPerSec,
    /// Time of a kernel call that does nothing.
    pub launch_overhead: Nanos,
    /// Bytes copied from one buffer to another, per second.
    pub copy_bandwidth: BytesPerSec,
    /// What kernels cost beside that.
    pub shaders: ShaderRates,
}

impl Calibration {
    /// The median of each figure of several measurements; none of none.
    pub fn median(all: &[Self]) -> Option<Self> {
        fn middle<T: Copy>(all: &[Calibration], of: impl Fn(&Calibration) -> T, key: impl Fn(&T) -> f64) -> T {
            let mut values: Vec<T> = all.iter().map(of).collect();
            values.sort_by(|a, b| key(a).total_cmp(&key(b)));
            values[values.len() / 2]
        }
        let first = all.first()?;
        let rate = |of: fn(&Self) -> FlopsPerSec| middle(all, of, |rate| rate.0);
        let bandwidth = |of: fn(&Self) -> BytesPerSec| middle(all, of, |rate| rate.0);
        let time = |of: fn(&Self) -> Nanos| middle(all, of, |time| time.secs());
        let short = |of: fn(&Self) -> Option<ShortRates>| {
            let all: Vec<_> = all.iter().filter_map(of).collect();
            let rate = |of: fn(&ShortRates) -> f64| {
                let mut rates: Vec<f64> = all.iter().map(of).collect();
                rates.sort_by(f64::total_cmp);
                rates.get(rates.len() / 2).copied()
            };
            let decoded_per_second = rate(|short| short.decoded_per_second)?;
            Some(ShortRates { decoded_per_second, encoded_per_second: rate(|short| short.encoded_per_second)? })
        };
        Some(Self {
            backend: first.backend.clone(),
            matmul_side: first.matmul_side,
            matmul: rate(|c| c.matmul),
            half_matmul: rate(|c| c.half_matmul),
            attention: rate(|c| c.attention),
            vector: rate(|c| c.vector),
            memory_bandwidth: bandwidth(|c| c.memory_bandwidth),
            copy_bandwidth: bandwidth(|c| c.copy_bandwidth),
            launch_overhead: time(|c| c.launch_overhead),
            shaders: ShaderRates {
                at_once: middle(all, |c| c.shaders.at_once, |&count| f64::from(count)),
                workgroup: time(|c| c.shaders.workgroup),
                chained: time(|c| c.shaders.chained),
                alone: time(|c| c.shaders.alone),
                shared: first.shaders.shared,
                tile: first.shaders.tile,
                shares: first.shaders.shares,
                words_per_second: middle(all, |c| c.shaders.words_per_second, |&rate| rate),
                halves_per_second: middle(all, |c| c.shaders.halves_per_second, |&rate| rate),
                depth: middle(all, |c| c.shaders.depth, |&depth| depth),
                half_depth: first
                    .shaders
                    .half_depth
                    .map(|_| middle(all, |c| c.shaders.half_depth.unwrap_or(0.0), |&depth| depth)),
                queries: first.shaders.queries,
                half_attention: middle(all, |c| c.shaders.half_attention, |&share| share),
                norm_words_per_second: first
                    .shaders
                    .norm_words_per_second
                    .map(|_| middle(all, |c| c.shaders.norm_words_per_second.unwrap_or(0.0), |&rate| rate)),
                attention_gradient: middle(all, |c| c.shaders.attention_gradient, |&share| share),
                half_attention_gradient: middle(all, |c| c.shaders.half_attention_gradient, |&share| share),
                fp8: short(|c| c.shaders.fp8),
                fp8_block: short(|c| c.shaders.fp8_block),
                nvfp4: short(|c| c.shaders.nvfp4),
            },
        })
    }

    /// The device as a scenario names it, under `[cluster.custom]`: `ranks` of them, which share it, with `memory` each.
    pub fn device_file(&self, ranks: u32, memory: Bytes) -> DeviceFile {
        let link = LinkFile {
            name: Some("buffers of one device".to_owned()),
            bandwidth: Some(self.copy_bandwidth),
            latency: Some(self.launch_overhead),
            efficiency: Some(1.0),
            ..LinkFile::default()
        };
        DeviceFile {
            title: Some(self.backend.name.clone()),
            fp32: Some(self.vector),
            tf32: Some(self.matmul),
            fp32_matmul: Some(self.matmul),
            bf16: Some(self.half_matmul),
            matmul_efficiency: Some(1.0),
            attention_efficiency: Some((self.attention.0 / self.matmul.0).min(1.0)),
            flash_2_share: Some(1.0),
            eager_share: Some(1.0),
            memory: Some(memory),
            memory_bandwidth: Some(self.memory_bandwidth),
            memory_efficiency: Some(1.0),
            launch_overhead: Some(self.launch_overhead),
            shaders: Some(self.shaders),
            devices_per_node: Some(ranks),
            intra_link: Some(link.clone()),
            inter_link: Some(link),
            ..DeviceFile::default()
        }
    }

    /// The device as the cost model sees it. Its rates were measured, so its efficiencies are 1.
    pub fn cluster(&self, ranks: u32, memory: Bytes) -> Cluster {
        let link = Link {
            name: "buffers of one device".to_owned(),
            bandwidth: self.copy_bandwidth,
            latency: self.launch_overhead,
            efficiency: 1.0,
            layout: LinkLayout::Switch,
            in_network: None,
        };
        let device = Device {
            name: self.backend.name.clone(),
            fp32: self.vector,
            fp32_matmul: self.matmul,
            bf16_matmul: self.half_matmul,
            host_dispatch: Nanos::ZERO,
            residuals: None,
            multiprocessors: 0,
            shaders: Some(self.shaders),
            tf32_matmul: self.matmul,
            fp16_matmul: self.half_matmul,
            fp8_matmul: self.matmul,
            fp4_matmul: self.matmul,
            matmul_efficiency: 1.0,
            attention_efficiency: self.attention.0 / self.matmul.0,
            flash_2_share: 1.0,
            eager_share: 1.0,
            power: None,
            memory,
            memory_bandwidth: self.memory_bandwidth,
            memory_efficiency: 1.0,
            launch_overhead: self.launch_overhead,
            context: Bytes::ZERO,
            host: Host::ASSUMED,
        };
        Cluster {
            device,
            nodes: 1,
            devices_per_node: ranks,
            intra_link: link.clone(),
            inter_link: link,
            network: Network::NonBlocking,
            contention: false,
            all_reduce: AlgorithmChoice::Auto,
            topology: None,
            exceptions: Vec::new(),
            kind_of_device: Vec::new(),
            device_of_rank: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::{BackendKind, open};
    use crate::scenario::{Scenario, ScenarioFile, check, preset_file};

    #[test]
    fn a_measured_device_is_the_same_in_a_scenario() {
        let measured = pollster::block_on(async {
            let mut backend = open(BackendKind::Cpu).await.expect("the twins run anywhere");
            calibrate(&mut backend, Measured::of_side(16)).await.expect("kernels run")
        });
        let mut file = preset_file("tiny-gpt-dp2-tp2").expect("a preset");
        let ranks = Scenario::preset("tiny-gpt-dp2-tp2").expect("a preset").mesh().ranks();
        let memory = Bytes(1 << 30);
        file.cluster.device = None;
        file.cluster.nodes = 1;
        file.cluster.custom = Some(measured.device_file(ranks, memory));
        let text = toml::to_string(&file).expect("it can be written");
        let read: ScenarioFile = toml::from_str(&text).expect("it can be read");
        let scenario = check(&read).expect("it is complete");
        let (here, there) = (measured.cluster(ranks, memory).device, &scenario.cluster().device);
        assert_eq!(here.fp32_matmul, there.fp32_matmul);
        assert_eq!((here.fp32, here.memory_bandwidth), (there.fp32, there.memory_bandwidth));
        assert_eq!((here.launch_overhead, here.shaders), (there.launch_overhead, there.shaders));
        assert!(there.shaders.is_some_and(|rates| rates.at_once >= 1 && rates.words_per_second > 0.0));
    }

    #[test]
    fn medians_are_taken_of_every_figure_apart() {
        let measured = |matmul: f64, launch: i64| Calibration {
            backend: BackendInfo {
                kind: BackendKind::Cpu,
                name: "a device".to_owned(),
                detail: String::new(),
                timing: "cpu clock",
            },
            matmul: FlopsPerSec(matmul),
            half_matmul: FlopsPerSec(1.0),
            matmul_side: 16,
            attention: FlopsPerSec(1.0),
            vector: FlopsPerSec(1.0),
            memory_bandwidth: BytesPerSec(1.0),
            launch_overhead: Nanos(launch),
            copy_bandwidth: BytesPerSec(1.0),
            shaders: ShaderRates {
                chained: Nanos(1),
                shared: false,
                at_once: 2,
                workgroup: Nanos(1),
                words_per_second: 1.0,
                halves_per_second: 1.0,
                depth: 1.0,
                ..ShaderRates::UNMEASURED
            },
        };
        let median = Calibration::median(&[measured(3.0, 10), measured(1.0, 30), measured(2.0, 20)]);
        assert_eq!(median, Some(measured(2.0, 20)));
        assert_eq!(Calibration::median(&[]), None);
    }
}
