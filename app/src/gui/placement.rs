//! Where the ranks of an execution run: the switch in Execute.

use egui::{DragValue, Ui};
use shardlab_engine::scenario::PlacementName;

use super::i18n::{t, t_or_name};
use super::session::Session;

/// The switch. A page has neither threads nor processes, so it shows it only to switch back.
pub fn placement_ui(ui: &mut Ui, session: &mut Session) {
    let run = &mut session.file.run;
    if cfg!(target_arch = "wasm32") && run.placement == PlacementName::Device {
        return;
    }
    ui.horizontal(|ui| {
        ui.label(t("placement.title"));
        for placement in PlacementName::ALL {
            let text = t_or_name("placement_name", placement.name());
            let response = ui.selectable_value(&mut run.placement, placement, text);
            response.on_hover_text(t_or_name("placement_tip", placement.name()));
        }
        if run.placement != PlacementName::Device {
            let ranks = session.run.scenario.mesh().ranks();
            let mut workers = run.workers.unwrap_or(ranks).clamp(1, ranks);
            ui.label(t("placement.workers")).on_hover_text(t("placement.workers.tip"));
            if ui.add(DragValue::new(&mut workers).range(1..=ranks)).on_hover_text(t("placement.workers.tip")).changed()
            {
                run.workers = (workers != ranks).then_some(workers);
            }
        }
    });
}
