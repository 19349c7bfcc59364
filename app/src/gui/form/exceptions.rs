//! Nodes and devices that differ from the others: stragglers, other devices, degraded links.

use egui::Ui;
use shardlab_engine::cluster::{self, ExceptionFile};

use super::Form;
use super::fields::{list_ui, name_ui, share_ui};
use crate::gui::i18n::t;
use crate::gui::widgets::error_ui;

/// Keys of the text fields of an exception; what is being typed is kept under them, so each exception has its own.
const NODES: [&str; 4] =
    ["form.exception.nodes", "form.exception.nodes.1", "form.exception.nodes.2", "form.exception.nodes.3"];
const DEVICES: [&str; 4] =
    ["form.exception.devices", "form.exception.devices.1", "form.exception.devices.2", "form.exception.devices.3"];

impl Form<'_> {
    /// Draws the exceptions, with a button for one more.
    pub(super) fn exceptions_ui(&mut self, ui: &mut Ui) {
        let fields = ["nodes", "devices", "device", "speed", "intra_share", "network_share"];
        let error = fields
            .iter()
            .find_map(|field| self.error_of(&format!("cluster.exceptions.{field}")))
            .or_else(|| self.error_of("cluster.exceptions"));
        let (exceptions, typed) = (&mut self.session.file.cluster.exceptions, &mut self.state.typed);
        let same = t("form.exception.same");
        let names: Vec<&str> = std::iter::once(same).chain(cluster::presets().keys().map(String::as_str)).collect();
        let mut removed = None;
        for (index, exception) in exceptions.iter_mut().enumerate().take(NODES.len()) {
            ui.push_id(index, |ui| {
                ui.separator();
                list_ui(ui, NODES[index], &mut exception.nodes, typed, &[], None);
                list_ui(ui, DEVICES[index], &mut exception.devices, typed, &[], None);
                let mut device = exception.device.clone().or_else(|| Some(same.to_owned()));
                name_ui(ui, "form.exception.device", &names, &mut device, None);
                exception.device = device.filter(|name| name != same);
                share_ui(ui, "form.exception.speed", &mut exception.speed, 1.0, None);
                share_ui(ui, "form.exception.intra", &mut exception.intra_share, 1.0, None);
                share_ui(ui, "form.exception.network", &mut exception.network_share, 1.0, None);
                if ui.button(t("form.exception.remove")).clicked() {
                    removed = Some(index);
                }
            });
        }
        if let Some(index) = removed {
            exceptions.remove(index);
            NODES.iter().chain(&DEVICES).for_each(|key| {
                typed.remove(key);
            });
        }
        if let Some(error) = error {
            error_ui(ui, &error);
        }
        if exceptions.len() < NODES.len() && ui.button(t("form.exception.add")).clicked() {
            exceptions.push(ExceptionFile { nodes: vec![0], speed: Some(0.8), ..ExceptionFile::default() });
        }
    }
}
