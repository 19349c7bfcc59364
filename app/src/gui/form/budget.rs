//! Fields of the whole run: how long it trains, what devices cost.

use egui::Ui;
use shardlab_engine::scenario::BudgetFile;

use super::Form;
use super::fields::{optional_real_ui, text_ui};
use crate::gui::i18n::t;

/// Tokens are typed in billions.
const BILLION: f64 = 1e9;

impl Form<'_> {
    /// Draws them.
    pub(super) fn whole_run_ui(&mut self, ui: &mut Ui) {
        let described = self.session.file.budget.is_some();
        let header = egui::CollapsingHeader::new(t("form.budget")).id_salt(("budget", described));
        header.default_open(described).show(ui, |ui| {
            let run = self.session.run.clone();
            let now = run.scenario.budget();
            let error = |field: &str| self.error_of(&format!("budget.{field}"));
            let [tokens, price, overhead] = ["tokens", "price", "power_overhead"].map(error);
            let mut file = self.session.file.budget.clone().unwrap_or_default();
            let mut billions = file.tokens.map(|tokens| tokens / BILLION);
            let effective = now.tokens.unwrap_or(0.0) / BILLION;
            let range = (0.0..=1e9, 10.0);
            optional_real_ui(ui, "form.budget.tokens", &mut billions, effective, range, tokens.as_deref());
            if billions != file.tokens.map(|tokens| tokens / BILLION) {
                file.tokens = billions.map(|billions| (billions * BILLION).max(1.0));
            }
            let effective = now.price.unwrap_or(0.0);
            let range = (0.0..=1e6, 0.01);
            optional_real_ui(ui, "form.budget.price", &mut file.price, effective, range, price.as_deref());
            text_ui(ui, "form.budget.currency", &mut file.currency, &now.currency);
            let (key, range) = ("form.budget.power_overhead", (1.0..=10.0, 0.01));
            optional_real_ui(ui, key, &mut file.power_overhead, now.power_overhead, range, overhead.as_deref());
            if self.session.file.budget.as_ref().unwrap_or(&BudgetFile::default()) != &file {
                self.session.file.budget = Some(file).filter(|file| *file != BudgetFile::default());
            }
        });
    }
}
