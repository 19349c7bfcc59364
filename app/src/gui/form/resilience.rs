//! Fields of checkpoints and failures.

use egui::Ui;
use shardlab_engine::scenario::resilience::{CheckpointFile, CheckpointMode, ReliabilityFile, Resilience};

use super::Form;
use super::fields::{flag_ui, named_ui, number_ui, optional_real_ui, optional_ui, quantity_ui};
use crate::gui::i18n::t;

/// Where an interval starts that is set by hand.
const SOME_STEPS: u32 = 100;

impl Form<'_> {
    /// Draws them; tables that are not there come with the first thing that is said in them.
    pub(super) fn resilience_ui(&mut self, ui: &mut Ui) {
        let described = self.session.file.checkpoint.is_some() || self.session.file.reliability.is_some();
        let header = egui::CollapsingHeader::new(t("form.resilience")).id_salt(("resilience", described));
        header.default_open(described).show(ui, |ui| {
            let run = self.session.run.clone();
            let Some(now) = run.scenario.resilience().filter(|_| described) else {
                ui.weak(t("form.resilience.none"));
                return;
            };
            self.checkpoint_ui(ui, now);
            self.reliability_ui(ui, now);
            if ui.button(t("form.data.remove")).on_hover_text(t("form.resilience.remove.tip")).clicked() {
                (self.session.file.checkpoint, self.session.file.reliability) = (None, None);
            }
        });
    }

    fn checkpoint_ui(&mut self, ui: &mut Ui, now: &Resilience) {
        let errors = ["interval", "share", "full_every", "bandwidth", "node_bandwidth"]
            .map(|field| self.error_of(&format!("checkpoint.{field}")));
        let [interval, share, full_every, bandwidth, node] = errors.each_ref().map(Option::as_deref);
        let mut file = self.session.file.checkpoint.clone().unwrap_or_default();
        let (now, typed) = (now.checkpoint, &mut self.state.typed);
        let modes: Vec<_> = CheckpointMode::ALL.iter().map(|&mode| (mode, mode.name())).collect();
        named_ui(ui, "form.resilience.mode", &mut file.mode, &modes, None);
        let mut is_best = file.interval.is_none();
        flag_ui(ui, "form.resilience.best", &mut is_best);
        file.interval = (!is_best).then(|| file.interval.unwrap_or(SOME_STEPS));
        if let Some(steps) = &mut file.interval {
            number_ui(ui, "form.resilience.interval", steps, 1..=1_000_000, interval);
        }
        let range = (0.001..=1.0, 0.01);
        optional_real_ui(ui, "form.resilience.share", &mut file.share, now.share, range, share);
        let every = (&mut file.full_every, now.full_every);
        optional_ui(ui, "form.resilience.full_every", every.0, every.1, 1..=100, full_every);
        quantity_ui(ui, "form.resilience.bandwidth", &mut file.bandwidth, typed, now.bandwidth, bandwidth);
        quantity_ui(ui, "form.resilience.node_bandwidth", &mut file.node_bandwidth, typed, now.node_bandwidth, node);
        if self.session.file.checkpoint.as_ref().unwrap_or(&CheckpointFile::default()) != &file {
            self.session.file.checkpoint = Some(file);
        }
    }

    fn reliability_ui(&mut self, ui: &mut Ui, now: &Resilience) {
        let paths = ["device_mtbf", "node_mtbf", "job_mtbf", "detect", "replace", "restart", "repair", "horizon"];
        let errors = paths.map(|field| self.error_of(&format!("reliability.{field}")));
        let spares = self.error_of("reliability.spares");
        let mut file = self.session.file.reliability.clone().unwrap_or_default();
        let (now, typed) = (now.reliability, &mut self.state.typed);
        let fields = [
            ("form.resilience.device_mtbf", &mut file.device_mtbf, now.device_mtbf),
            ("form.resilience.node_mtbf", &mut file.node_mtbf, now.node_mtbf),
            ("form.resilience.job_mtbf", &mut file.job_mtbf, now.job_mtbf),
            ("form.resilience.detect", &mut file.detect, now.detect),
            ("form.resilience.replace", &mut file.replace, now.replace),
            ("form.resilience.restart", &mut file.restart, now.restart),
            ("form.resilience.repair", &mut file.repair, now.repair),
            ("form.resilience.horizon", &mut file.horizon, now.horizon),
        ];
        for ((key, value, effective), error) in fields.into_iter().zip(&errors) {
            quantity_ui(ui, key, value, typed, effective, error.as_deref());
        }
        optional_ui(ui, "form.resilience.spares", &mut file.spares, now.spares, 0..=1 << 16, spares.as_deref());
        if self.session.file.reliability.as_ref().unwrap_or(&ReliabilityFile::default()) != &file {
            self.session.file.reliability = Some(file);
        }
    }
}
