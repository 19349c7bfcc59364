//! What is kept between visits: choices, and the work that is open.

use egui::{Context, ThemePreference, Ui};
use shardlab_engine::exec::Tuning;
use shardlab_engine::scenario::ScenarioFile;

use super::{App, Tab};
use crate::gui::i18n::{Language, set_language, t};
use crate::gui::pinned::forget_oldest;
use crate::gui::recent::RecentFile;
use crate::gui::session::PinSource;

/// Which colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Theme {
    /// Light on dark.
    Dark,
    /// Dark on light.
    Light,
    /// As the system has it.
    #[default]
    System,
}

impl Theme {
    /// As egui calls it.
    pub(super) fn preference(self) -> ThemePreference {
        match self {
            Self::Dark => ThemePreference::Dark,
            Self::Light => ThemePreference::Light,
            Self::System => ThemePreference::System,
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Dark => "settings.dark",
            Self::Light => "settings.light",
            Self::System => "settings.system",
        }
    }
}

/// What is kept between visits.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub(super) struct Settings {
    pub language: Language,
    pub theme: Theme,
    pub form: bool,
    pub inspector: bool,
    /// How large everything is, over its usual size.
    pub zoom: f32,
    /// Whether the work that was open is opened again.
    pub restores: bool,
    /// Whether the tour was seen.
    pub toured: bool,
    /// What was measured of the ways to compute kernels.
    pub tuning: Tuning,
    /// What the files of pinned runs hold that were written, the oldest first.
    pub written: Vec<u64>,
    /// Files that were opened last, the last first.
    pub recent: Vec<RecentFile>,
    /// The work that is open.
    pub work: Option<Work>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            language: Language::English,
            theme: Theme::System,
            form: true,
            inspector: true,
            zoom: 1.0,
            restores: true,
            toured: false,
            tuning: Tuning::default(),
            written: Vec::new(),
            recent: Vec::new(),
            work: None,
        }
    }
}

/// The work that is open, as text: a later version reads what it knows of it.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Work {
    /// The scenario as it was edited, as JSON.
    pub scenario: String,
    /// The preset that it came from.
    pub preset: Option<String>,
    /// Scenarios and files of runs that are pinned, the baseline first.
    pub pinned: Vec<String>,
    /// The view in front.
    pub view: Option<Tab>,
    /// A scenario of an earlier visit that could not be read: kept, so that another version may.
    #[serde(default)]
    pub unread: Option<String>,
}

/// How large everything may be.
const ZOOM: std::ops::RangeInclusive<f32> = 0.6..=3.0;

impl Settings {
    /// Makes everything look as chosen.
    pub fn apply(&self, context: &Context) {
        context.set_theme(self.theme.preference());
        context.set_zoom_factor(self.zoom.clamp(*ZOOM.start(), *ZOOM.end()));
        set_language(self.language);
    }
}

fn pinned_text(source: &PinSource) -> String {
    let text = match source {
        PinSource::Scenario(file) => serde_json::to_string(file),
        PinSource::Stored(stored) => serde_json::to_string(stored),
        PinSource::Unknown(text) => return text.clone(),
    };
    text.unwrap_or_default()
}

/// What is pinned, by its text.
fn pinned_source(text: &str) -> PinSource {
    let stored = serde_json::from_str(text).map(PinSource::Stored);
    let known = stored.or_else(|_| serde_json::from_str(text).map(|file| PinSource::Scenario(Box::new(file))));
    known.unwrap_or_else(|_| PinSource::Unknown(text.to_owned()))
}

impl App {
    /// The work that is open.
    pub(super) fn work(&self) -> Work {
        let text = |file: &ScenarioFile| serde_json::to_string(file).unwrap_or_default();
        Work {
            scenario: text(&self.session.file),
            preset: self.session.preset.map(str::to_owned),
            pinned: self.session.pinned_sources().map(|source| pinned_text(&source)).collect(),
            unread: self.unread.clone(),
            view: self.active_tab(),
        }
    }

    /// Notes which files of runs there are, and lets the oldest go.
    pub(super) fn tidy_runs(&mut self) {
        let sources = self.session.pinned_sources();
        let stored = sources.filter_map(|source| match source {
            PinSource::Stored(stored) => Some(stored.hash),
            _ => None,
        });
        let pinned: Vec<u64> = stored.collect();
        let written = &mut self.settings.written;
        written.extend(pinned.iter().filter(|hash| !written.contains(hash)).copied().collect::<Vec<_>>());
        forget_oldest(written, &pinned);
    }

    /// Opens what was open; what cannot be read any more is left out, and said.
    pub(super) fn restore(&mut self, work: &Work, context: &Context) {
        self.unread.clone_from(&work.unread);
        let read = |text: &String| serde_json::from_str::<ScenarioFile>(text);
        match read(&work.scenario) {
            Ok(file) if file != self.session.file => {
                let preset =
                    shardlab_engine::scenario::presets().iter().find(|p| Some(p.name) == work.preset.as_deref());
                self.session.load(file, preset.map(|preset| preset.name));
            }
            Ok(_) => {}
            Err(error) => {
                self.unread = Some(work.scenario.clone());
                self.toasts.error(format!("{}: {error}", t("settings.not_restored")));
            }
        }
        for source in work.pinned.iter().map(|text| pinned_source(text)) {
            self.session.pin_kept(source, context);
        }
        if let Some(tab) = work.view {
            self.show_tab(tab);
        }
    }

    /// The choices.
    pub(super) fn settings_ui(&mut self, context: &Context) {
        let mut open = self.settings_open;
        let window = egui::Window::new(t("settings.title")).open(&mut open).resizable(false).collapsible(false);
        let window = window.anchor(egui::Align2::CENTER_CENTER, [0.0, 0.0]);
        // What was zoomed by keys since counts, too.
        if !context.egui_is_using_pointer() {
            self.settings.zoom = context.zoom_factor();
        }
        window.show(context, |ui| self.choices_ui(ui));
        self.settings_open = open && !context.input(|input| input.key_pressed(egui::Key::Escape));
    }

    fn choices_ui(&mut self, ui: &mut Ui) {
        let settings = &mut self.settings;
        egui::Grid::new("settings").num_columns(2).spacing([20.0, 8.0]).show(ui, |ui| {
            ui.label(t("settings.theme"));
            ui.horizontal(|ui| {
                for theme in [Theme::System, Theme::Dark, Theme::Light] {
                    ui.selectable_value(&mut settings.theme, theme, t(theme.key()));
                }
            });
            ui.end_row();
            ui.label(t("settings.language"));
            ui.horizontal(|ui| {
                ui.selectable_value(&mut settings.language, Language::English, "English");
                ui.selectable_value(&mut settings.language, Language::Chinese, "中文");
            });
            ui.end_row();
            let label = ui.label(t("settings.zoom"));
            let slider = egui::Slider::new(&mut settings.zoom, ZOOM).step_by(0.1);
            let slider = ui.add(slider).labelled_by(label.id).on_hover_text(t("settings.zoom.tip"));
            // While it is dragged it would move away from under the pointer.
            if slider.drag_stopped() || (slider.changed() && !slider.dragged()) {
                ui.ctx().set_zoom_factor(settings.zoom);
            }
            ui.end_row();
            ui.label(t("settings.restores"));
            ui.checkbox(&mut settings.restores, "").on_hover_text(t("settings.restores.tip"));
            ui.end_row();
        });
        ui.horizontal(|ui| {
            if ui.button(t("command.tour")).clicked() {
                self.tour = Some(0);
            }
            if ui.button(t("settings.layout")).on_hover_text(t("settings.layout.tip")).clicked() {
                self.tiles = super::first_tiles();
            }
        });
        ui.ctx().set_theme(self.settings.theme.preference());
        set_language(self.settings.language);
    }
}
