//! Fields of the cluster: the device by preset, and what differs from it.

use egui::Ui;
use shardlab_engine::cluster::{self, DeviceFile, LinkFile};

use super::Form;
use super::fields::{Typed, name_ui, number_ui, optional_ui, quantity_ui};
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
    }

    /// What differs from the preset; nothing is written where nothing differs.
    fn custom_ui(&mut self, ui: &mut Ui) {
        let error = [
            "memory",
            "bf16",
            "fp32",
            "memory_bandwidth",
            "launch_overhead",
            "devices_per_node",
            "intra_link",
            "inter_link",
        ]
        .map(|field| self.error_of(&format!("cluster.custom.{field}")));
        let [memory, bf16, fp32, bandwidth, launch, devices, intra, inter] = error.each_ref().map(Option::as_deref);
        let run = self.session.run.clone();
        let (cluster, typed) = (run.scenario.cluster(), &mut self.state.typed);
        let device = &cluster.device;
        let mut file = self.session.file.cluster.custom.clone().unwrap_or_default();
        quantity_ui(ui, "form.custom.memory", &mut file.memory, typed, device.memory, memory);
        quantity_ui(ui, "form.custom.bf16", &mut file.bf16, typed, device.bf16_matmul, bf16);
        quantity_ui(ui, "form.custom.fp32", &mut file.fp32, typed, device.fp32, fp32);
        quantity_ui(ui, "form.custom.bandwidth", &mut file.memory_bandwidth, typed, device.memory_bandwidth, bandwidth);
        quantity_ui(ui, "form.custom.launch", &mut file.launch_overhead, typed, device.launch_overhead, launch);
        optional_ui(ui, "form.custom.devices", &mut file.devices_per_node, cluster.devices_per_node, 1..=4096, devices);
        let keys = ["form.custom.intra_bandwidth", "form.custom.intra_latency"];
        link_ui(ui, keys, &mut file.intra_link, &cluster.intra_link, typed, intra);
        let keys = ["form.custom.inter_bandwidth", "form.custom.inter_latency"];
        link_ui(ui, keys, &mut file.inter_link, &cluster.inter_link, typed, inter);
        self.session.file.cluster.custom = Some(file).filter(|file| *file != DeviceFile::default());
    }
}

fn link_ui(
    ui: &mut Ui,
    [bandwidth, latency]: [&'static str; 2],
    value: &mut Option<LinkFile>,
    effective: &cluster::Link,
    typed: &mut Typed,
    error: Option<&str>,
) {
    let mut file = value.clone().unwrap_or_default();
    quantity_ui(ui, bandwidth, &mut file.bandwidth, typed, effective.bandwidth, error);
    quantity_ui(ui, latency, &mut file.latency, typed, effective.latency, None);
    *value = Some(file).filter(|file| *file != LinkFile::default());
}
