//! The numbers that a prediction rests on.

use serde::Serialize;

use crate::cluster::{Cluster, Device, Link, fitted_devices};
use crate::model::ModelFile;
use crate::scenario::{ClusterFile, Scenario, ScenarioFile, check_parts};

/// A number and where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Constant {
    /// What it is.
    pub name: &'static str,
    /// With its unit.
    pub value: String,
    /// Where it comes from.
    pub source: String,
}

/// All numbers of a scenario's device and links.
pub fn constants(scenario: &Scenario) -> Vec<Constant> {
    let device = &scenario.cluster().device.name;
    let shipped = shipped(device).map(|cluster| values(&cluster)).unwrap_or_default();
    let fitted = fitted_devices().contains_key(device);
    let source = |place: usize, value: &(&'static str, String, bool)| {
        let (_, _, is_fitted) = value;
        match shipped.get(place) {
            Some(same) if same == value && *is_fitted && fitted => {
                format!("fitted to published runs on {device} (assets/calibration.toml)")
            }
            Some(same) if same == value => format!("data sheet and measurements of {device} (assets/devices.toml)"),
            _ => "the scenario".to_owned(),
        }
    };
    let all = values(scenario.cluster()).into_iter().enumerate();
    let constant = |(place, value): (usize, (&'static str, String, bool))| {
        let source = source(place, &value);
        Constant { name: value.0, value: value.1, source }
    };
    all.map(constant).collect()
}

/// A cluster of a device as it ships.
fn shipped(device: &str) -> Option<Cluster> {
    let model = ModelFile { preset: Some("llama3-8b".to_owned()), ..ModelFile::default() };
    let cluster = ClusterFile { device: Some(device.to_owned()), nodes: 1, ..ClusterFile::default() };
    check_parts(&ScenarioFile { model, cluster, ..ScenarioFile::default() }).ok().map(|(_, cluster, _)| cluster)
}

/// Name, value, and whether it is one of those that are fitted.
fn values(cluster: &Cluster) -> Vec<(&'static str, String, bool)> {
    let device = &cluster.device;
    let share = |share: f64| format!("{share:.3}");
    let mut list = vec![
        ("bf16 matmul peak", device.bf16_matmul.to_string(), false),
        ("fp16 matmul peak", device.fp16_matmul.to_string(), false),
        ("fp8 matmul peak", device.fp8_matmul.to_string(), false),
        ("fp4 matmul peak", device.fp4_matmul.to_string(), false),
        ("tf32 matmul peak", device.tf32_matmul.to_string(), false),
        ("fp32 peak", device.fp32.to_string(), false),
        ("memory", device.memory.to_string(), false),
        ("  context beside tensors", device.context.to_string(), false),
        ("memory bandwidth", device.memory_bandwidth.to_string(), false),
        ("multiprocessors", device.multiprocessors.to_string(), false),
        ("launch overhead", device.launch_overhead.to_string(), true),
        ("power limit", power(device), false),
        ("  clock under it", share(device.clock()), false),
        ("matmul efficiency", share(device.matmul_efficiency), true),
        ("attention efficiency", share(device.attention_efficiency), true),
        ("  of it FlashAttention-2", share(device.flash_2_share), false),
        ("  of it eager matmuls", share(device.eager_share), true),
        ("memory efficiency", share(device.memory_efficiency), true),
        ("host dispatch", device.host_dispatch.to_string(), true),
        ("copies with the host", device.host.bandwidth.to_string(), false),
        ("  host memory", device.host.memory.to_string(), false),
        ("  its bandwidth", device.host.memory_bandwidth.to_string(), false),
        ("  its drives", device.host.storage_bandwidth.to_string(), false),
    ];
    list.extend(link(["link in a node", "  latency", "  efficiency"], &cluster.intra_link));
    list.extend(link(["link to the network", "  latency", "  efficiency"], &cluster.inter_link));
    list
}

/// What a device may draw, of what its rates need.
fn power(device: &Device) -> String {
    device.power.map_or_else(|| "unknown".to_owned(), |power| format!("{} of {}", power.limit, power.nominal))
}

fn link(names: [&'static str; 3], link: &Link) -> Vec<(&'static str, String, bool)> {
    let values = [link.bandwidth.to_string(), link.latency.to_string(), format!("{:.3}", link.efficiency)];
    names.into_iter().zip(values).map(|(name, value)| (name, value, false)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{check, preset_file};

    #[test]
    fn what_the_scenario_changes_is_named_as_its_own() {
        let mut file = preset_file("llama3-8b-16xh100").expect("a preset");
        let sources = |file: &ScenarioFile| -> Vec<String> {
            constants(&check(file).expect("valid")).into_iter().map(|constant| constant.source).collect()
        };
        assert!(sources(&file).iter().all(|source| source.contains("assets/")));
        let custom = crate::cluster::DeviceFile { matmul_efficiency: Some(0.5), ..Default::default() };
        file.cluster.custom = Some(custom);
        assert_eq!(sources(&file).iter().filter(|source| *source == "the scenario").count(), 1);
    }
}
