//! Five steps through the app for somebody who sees it for the first time.

use egui::{Context, Rect};

use super::App;
use crate::gui::design_tokens::selection_stroke;
use crate::gui::i18n::{t, t_with};

/// Steps of the tour: the title's key, the text's key, and what is pointed at.
const STEPS: [(&str, &str, Region); 5] = [
    ("tour.1", "tour.1.text", Region::Form),
    ("tour.2", "tour.2.text", Region::Centre),
    ("tour.3", "tour.3.text", Region::Inspector),
    ("tour.4", "tour.4.text", Region::Centre),
    ("tour.5", "tour.5.text", Region::Top),
];

/// A part of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Region {
    /// Menus.
    Top,
    /// The scenario.
    Form,
    /// The views.
    Centre,
    /// Details.
    Inspector,
}

/// Where the parts of the window are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Regions([Rect; 4]);

impl Default for Regions {
    fn default() -> Self {
        Self([Rect::NOTHING; 4])
    }
}

impl Regions {
    /// Remembers where a part is.
    pub fn set(&mut self, region: Region, rect: Rect) {
        self.0[region as usize] = rect;
    }
}

impl App {
    /// Draws the step that is shown, and a frame around what it is about.
    pub(super) fn tour_ui(&mut self, context: &Context) {
        let Some(step) = self.tour else { return };
        let Some((title, text, region)) = STEPS.get(step).copied() else {
            self.tour = None;
            return;
        };
        let rect = self.regions.0[region as usize];
        if rect.is_positive() {
            let layer = egui::LayerId::new(egui::Order::Foreground, egui::Id::unique("tour frame"));
            let stroke = selection_stroke(&context.global_style().visuals);
            context.layer_painter(layer).rect_stroke(rect.shrink(2.0), 6.0, stroke, egui::StrokeKind::Inside);
        }
        let (mut next, mut open) = (Some(step), true);
        let window = egui::Window::new(t(title)).id(egui::Id::unique("tour")).collapsible(false).resizable(false);
        let window = window.open(&mut open).anchor(egui::Align2::CENTER_CENTER, [0.0, 120.0]);
        window.show(context, |ui| {
            ui.set_max_width(420.0);
            ui.label(t(text));
            ui.add_space(8.0);
            ui.horizontal(|ui| {
                ui.weak(t_with("tour.step", format!("{} / {}", step + 1, STEPS.len())));
                if step > 0 && ui.button(t("tour.back")).clicked() {
                    next = Some(step - 1);
                }
                let last = step + 1 == STEPS.len();
                if ui.button(t(if last { "tour.done" } else { "tour.next" })).clicked() {
                    next = (!last).then_some(step + 1);
                }
                if !last && ui.button(t("tour.skip")).clicked() {
                    next = None;
                }
            });
        });
        let escaped = context.input(|input| input.key_pressed(egui::Key::Escape));
        self.tour = next.filter(|_| open && !escaped);
        if self.tour.is_none() {
            self.settings.toured = true;
        }
    }
}
