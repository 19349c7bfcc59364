//! Fields of the cluster: the device by preset, and what differs from it.

use egui::Ui;
use shardlab_engine::cluster::{self, DeviceFile, LinkFile};

use super::Form;
use super::fields::{Typed, name_ui, number_ui, optional_ui, quantity_ui, share_ui};
use crate::gui::i18n::t;
use crate::gui::widgets::heading_ui;

impl Form<'_> {
    /// Draws them.
    pub(super) fn cluster_ui(&mut self, ui: &mut Ui) {
        heading_ui(ui, t("form.cluster"));
        let names: Vec<&str> = cluster::presets().keys().map(String::as_str).collect();
        let error = self.error_of("cluster.device");
        name_ui(ui, "form.cluster.device", &names, &mut self.session.file.cluster.device, error.as_deref());
        let error = self.error_of("cluster.nodes");
        number_ui(ui, "form.cluster.nodes", &mut self.session.file.cluster.nodes, 1..=1 << 16, error.as_deref());
        let cluster = self.session.run.scenario.cluster();
        let (devices, memory, link) = (cluster.devices(), cluster.device.memory, &cluster.intra_link.name);
        ui.weak(format!("{devices} {} · {memory} · {link}", t("form.cluster.devices")));
        egui::CollapsingHeader::new(t("form.custom")).id_salt("custom").show(ui, |ui| self.custom_ui(ui));
        egui::CollapsingHeader::new(t("form.network")).id_salt("network").show(ui, |ui| self.network_ui(ui));
        egui::CollapsingHeader::new(t("form.exceptions")).id_salt("exceptions").show(ui, |ui| self.exceptions_ui(ui));
    }

    fn link_errors(&self, link: &str) -> [Option<String>; 3] {
        ["bandwidth", "latency", "efficiency"].map(|field| self.error_of(&format!("cluster.custom.{link}.{field}")))
    }

    /// What differs from the preset; nothing is written where nothing differs.
    fn custom_ui(&mut self, ui: &mut Ui) {
        let error = [
            "memory",
            "bf16",
            "fp16",
            "fp8",
            "fp4",
            "tf32",
            "fp32",
            "memory_bandwidth",
            "launch_overhead",
            "devices_per_node",
        ]
        .map(|field| self.error_of(&format!("cluster.custom.{field}")));
        let [memory, bf16, fp16, fp8, fp4, tf32, fp32, bandwidth, launch, devices] =
            error.each_ref().map(Option::as_deref);
        let shares = ["matmul_efficiency", "attention_efficiency", "memory_efficiency"]
            .map(|field| self.error_of(&format!("cluster.custom.{field}")));
        let more = ["host_dispatch", "multiprocessors", "fp32_matmul"]
            .map(|field| self.error_of(&format!("cluster.custom.{field}")));
        let of_host = ["host_bandwidth", "host_memory_bandwidth", "storage_bandwidth"]
            .map(|field| self.error_of(&format!("cluster.custom.{field}")));
        let [host, sms, fp32_matmul] = more.each_ref().map(Option::as_deref);
        let limit = self.error_of("cluster.custom.power_limit");
        let links = ["intra_link", "inter_link"].map(|link| self.link_errors(link));
        let run = self.session.run.clone();
        let (cluster, typed) = (run.scenario.cluster(), &mut self.state.typed);
        let device = &cluster.device;
        let mut file = self.session.file.cluster.custom.clone().unwrap_or_default();
        quantity_ui(ui, "form.custom.memory", &mut file.memory, typed, device.memory, memory);
        quantity_ui(ui, "form.custom.bf16", &mut file.bf16, typed, device.bf16_matmul, bf16);
        quantity_ui(ui, "form.custom.fp16", &mut file.fp16, typed, device.fp16_matmul, fp16);
        quantity_ui(ui, "form.custom.fp8", &mut file.fp8, typed, device.fp8_matmul, fp8);
        quantity_ui(ui, "form.custom.fp4", &mut file.fp4, typed, device.fp4_matmul, fp4);
        quantity_ui(ui, "form.custom.tf32", &mut file.tf32, typed, device.tf32_matmul, tf32);
        quantity_ui(ui, "form.custom.fp32", &mut file.fp32, typed, device.fp32, fp32);
        let plain = device.fp32_matmul;
        quantity_ui(ui, "form.custom.fp32_matmul", &mut file.fp32_matmul, typed, plain, fp32_matmul);
        quantity_ui(ui, "form.custom.bandwidth", &mut file.memory_bandwidth, typed, device.memory_bandwidth, bandwidth);
        quantity_ui(ui, "form.custom.launch", &mut file.launch_overhead, typed, device.launch_overhead, launch);
        quantity_ui(ui, "form.custom.host", &mut file.host_dispatch, typed, device.host_dispatch, host);
        if let Some(power) = device.power {
            quantity_ui(ui, "form.custom.power_limit", &mut file.power_limit, typed, power.limit, limit.as_deref());
        }
        let host = device.host;
        let rates = [
            ("form.custom.host_bandwidth", &mut file.host_bandwidth, host.bandwidth),
            ("form.custom.host_memory_bandwidth", &mut file.host_memory_bandwidth, host.memory_bandwidth),
            ("form.custom.storage", &mut file.storage_bandwidth, host.storage_bandwidth),
        ];
        for ((key, value, effective), error) in rates.into_iter().zip(&of_host) {
            quantity_ui(ui, key, value, typed, effective, error.as_deref());
        }
        quantity_ui(ui, "form.custom.context", &mut file.context_memory, typed, device.context, None);
        quantity_ui(ui, "form.custom.host_memory", &mut file.host_memory, typed, host.memory, None);
        optional_ui(ui, "form.custom.sms", &mut file.multiprocessors, device.multiprocessors, 0..=65_536, sms);
        optional_ui(ui, "form.custom.devices", &mut file.devices_per_node, cluster.devices_per_node, 1..=4096, devices);
        let efficiencies = [
            ("form.custom.matmul_share", &mut file.matmul_efficiency, device.matmul_efficiency),
            ("form.custom.attention_share", &mut file.attention_efficiency, device.attention_efficiency),
            ("form.custom.memory_share", &mut file.memory_efficiency, device.memory_efficiency),
        ];
        for ((key, value, effective), error) in efficiencies.into_iter().zip(&shares) {
            share_ui(ui, key, value, effective, error.as_deref());
        }
        let [intra, inter] = &links;
        link_ui(ui, &INTRA_KEYS, &mut file.intra_link, &cluster.intra_link, typed, intra);
        link_ui(ui, &INTER_KEYS, &mut file.inter_link, &cluster.inter_link, typed, inter);
        self.session.file.cluster.custom = Some(file).filter(|file| *file != DeviceFile::default());
    }
}

/// Texts of a link's fields: bandwidth, latency, efficiency.
const INTRA_KEYS: [&str; 3] =
    ["form.custom.intra_bandwidth", "form.custom.intra_latency", "form.custom.intra_efficiency"];
const INTER_KEYS: [&str; 3] =
    ["form.custom.inter_bandwidth", "form.custom.inter_latency", "form.custom.inter_efficiency"];

fn link_ui(
    ui: &mut Ui,
    [bandwidth, latency, efficiency]: &[&'static str; 3],
    value: &mut Option<LinkFile>,
    effective: &cluster::Link,
    typed: &mut Typed,
    errors: &[Option<String>; 3],
) {
    let mut file = value.clone().unwrap_or_default();
    let [of_bandwidth, of_latency, of_efficiency] = errors.each_ref().map(Option::as_deref);
    quantity_ui(ui, bandwidth, &mut file.bandwidth, typed, effective.bandwidth, of_bandwidth);
    quantity_ui(ui, latency, &mut file.latency, typed, effective.latency, of_latency);
    share_ui(ui, efficiency, &mut file.efficiency, effective.efficiency, of_efficiency);
    *value = Some(file).filter(|file| *file != LinkFile::default());
}
