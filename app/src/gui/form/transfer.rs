//! Fields of a transfer.

use egui::Ui;
use shardlab_engine::scenario::transfer::TransferMethod;

use super::Form;
use super::fields::{flag_ui, named_ui, optional_real_ui, optional_ui, quantity_ui};
use crate::gui::i18n::t;

impl Form<'_> {
    /// Draws them, where something is handed out.
    pub(super) fn transfer_ui(&mut self, ui: &mut Ui) {
        let described = self.session.file.transfer.is_some();
        let header = egui::CollapsingHeader::new(t("form.transfer")).id_salt(("transfer", described));
        header.default_open(described).show(ui, |ui| {
            let run = self.session.run.clone();
            let (Some(now), Some(mut file)) = (run.scenario.transfer(), self.session.file.transfer.clone()) else {
                ui.weak(t("form.transfer.none"));
                return;
            };
            let error = |form: &Self, field: &str| form.error_of(&format!("transfer.{field}"));
            let methods: Vec<_> = TransferMethod::ALL.iter().map(|&method| (method, method.name())).collect();
            named_ui(ui, "form.transfer.method", &mut file.method, &methods, None);
            let [size, bandwidth, latency, window, chunk] =
                ["size", "bandwidth", "latency", "window", "chunk"].map(|field| error(self, field));
            let [receivers, fanout, streams] = ["receivers", "fanout", "streams"].map(|field| error(self, field));
            let [loss, compression, corruption] = ["loss", "compression", "corruption"].map(|field| error(self, field));
            let rates = ["compress_rate", "decompress_rate", "checksum_rate"].map(|field| error(self, field));
            let typed = &mut self.state.typed;
            quantity_ui(ui, "form.transfer.size", &mut file.size, typed, now.size, size.as_deref());
            let most = 1..=1 << 20;
            optional_ui(ui, "form.transfer.receivers", &mut file.receivers, now.receivers, most, receivers.as_deref());
            if file.method == TransferMethod::Tree {
                optional_ui(ui, "form.transfer.fanout", &mut file.fanout, now.fanout, 1..=1024, fanout.as_deref());
            }
            quantity_ui(ui, "form.transfer.bandwidth", &mut file.bandwidth, typed, now.bandwidth, bandwidth.as_deref());
            quantity_ui(ui, "form.transfer.latency", &mut file.latency, typed, now.latency, latency.as_deref());
            let range = (0.0..=0.5, 0.0001);
            optional_real_ui(ui, "form.transfer.loss", &mut file.loss, now.loss, range, loss.as_deref());
            quantity_ui(ui, "form.transfer.window", &mut file.window, typed, now.window, window.as_deref());
            optional_ui(ui, "form.transfer.streams", &mut file.streams, now.streams, 1..=1024, streams.as_deref());
            quantity_ui(ui, "form.transfer.chunk", &mut file.chunk, typed, now.chunk, chunk.as_deref());
            let range = (0.01..=1.0, 0.01);
            let (key, value) = ("form.transfer.compression", &mut file.compression);
            optional_real_ui(ui, key, value, now.compression, range, compression.as_deref());
            if now.compression < 1.0 {
                let (key, rate) = ("form.transfer.compress_rate", &mut file.compress_rate);
                quantity_ui(ui, key, rate, typed, now.compress_rate, rates[0].as_deref());
                let (key, rate) = ("form.transfer.decompress_rate", &mut file.decompress_rate);
                quantity_ui(ui, key, rate, typed, now.decompress_rate, rates[1].as_deref());
            }
            let mut checksums = now.checksums;
            flag_ui(ui, "form.transfer.checksums", &mut checksums);
            if checksums != now.checksums {
                file.checksums = Some(checksums);
            }
            if checksums {
                let (key, rate) = ("form.transfer.checksum_rate", &mut file.checksum_rate);
                quantity_ui(ui, key, rate, typed, now.checksum_rate, rates[2].as_deref());
            }
            let range = (0.0..=0.01, 1e-10);
            let (key, value) = ("form.transfer.corruption", &mut file.corruption);
            optional_real_ui(ui, key, value, now.corruption, range, corruption.as_deref());
            let remove = ui.button(t("form.data.remove")).on_hover_text(t("form.transfer.remove.tip")).clicked();
            self.session.file.transfer = (!remove).then_some(file);
        });
    }
}
