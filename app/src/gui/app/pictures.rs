//! Pictures and pages that go out.

use egui::ViewportCommand;
use shardlab_engine::report::{Comparison, Variant, html_report, variant_of};
use shardlab_engine::search::differing_settings;

use super::{App, Tab};
use crate::gui::i18n::t;
use crate::gui::picture;

impl App {
    fn picture_name(&self, end: &str) -> String {
        let view = self.active_tab().map_or("view", Tab::name);
        format!("{}.{view}.{end}", self.session.shown().scenario.name())
    }

    /// Saves what the view in front has painted as shapes.
    pub(super) fn export_svg(&mut self, context: &egui::Context) {
        let Some(area) = self.front else { return self.toasts.error(t("picture.nothing").to_owned()) };
        let back = context.global_style().visuals.panel_fill;
        let text = picture::svg(context, area, back);
        self.exporter.made(context, self.picture_name("svg"), text.into_bytes());
    }

    /// Saves its pixels; they come with the next frame.
    pub(super) fn export_png(&mut self, context: &egui::Context) {
        let Some(area) = self.front else { return self.toasts.error(t("picture.nothing").to_owned()) };
        let (name, pixels) = (self.picture_name("png"), context.pixels_per_point());
        let (send, context_of_answer) = (self.exporter.sender(), context.clone());
        let answer = egui::ScreenshotCallback::new(move |image| {
            send.send((name, picture::png(&image, area, pixels))).ok();
            context_of_answer.request_repaint();
        });
        context.send_viewport_cmd(ViewportCommand::Screenshot(answer));
    }

    /// Saves a page about what is on screen, or about all that are compared.
    pub(super) fn export_page(&mut self, context: &egui::Context) {
        let run = self.session.shown().clone();
        let pinned = self.session.pinned.iter().filter_map(|pinned| Some((pinned.run()?.clone(), pinned.variant())));
        let (mut runs, mut variants): (Vec<_>, Vec<Variant>) = pinned.unzip();
        if !runs.iter().any(|pinned| std::sync::Arc::ptr_eq(pinned, &run)) {
            variants.push(variant_of(&run.scenario, &run.report));
            runs.push(run);
        }
        let settings = differing_settings(&runs.iter().map(|run| &run.file).collect::<Vec<_>>());
        let pages: Vec<_> = runs.iter().map(|run| run.page()).collect();
        let comparison = Comparison { variants: &variants, settings: &settings, causes: &[] };
        let page =
            html_report(&pages, (runs.len() > 1).then_some(&comparison), self.views.summary.advice(&self.session));
        let name = format!("{}.html", self.session.shown().scenario.name());
        self.exporter.made(context, name, page.into_bytes());
    }
}
