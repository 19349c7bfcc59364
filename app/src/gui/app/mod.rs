//! The app: its state, what commands do, what happens each frame.
//!
//! * `tab` names the views, `centre` draws them, `bars` what is above and below, `overlays` and `tour` what lies over them,
//! * `opening` takes files and links, `remote` what a page's scripts ask for, `settings` keeps what is open.

mod bars;
mod centre;
mod opening;
mod overlays;
mod pictures;
mod remote;
mod settings;
mod tab;
mod tour;

use egui::{Rect, Ui};
use settings::{Settings, Theme};
use shardlab_engine::units::Nanos;

use tour::{Region, Regions};

use super::command::Command;
use super::display::Display;
use super::execute::ExecuteView;
use super::export::Exporter;
use super::found_once::FoundOnce;
use super::i18n::{Language, language, set_language, t, t_with};
use super::inspector::{Part, Selection};
use super::open_file::Opener;
use super::session::Session;
use super::timeline::Identity;
use super::toast::Toasts;
use super::{design_tokens, fonts, form, inspector};
use centre::{Centre, Views, first_tiles};
pub use remote::Remote;
pub use tab::Tab;

/// The whole state of the front end.
pub struct App {
    session: Session,
    settings: Settings,
    tiles: egui_tiles::Tree<Tab>,
    views: Views,
    form: form::FormState,
    selection: Selection,
    toasts: Toasts,
    opener: Opener,
    exporter: Exporter,
    palette: Option<String>,
    /// Where the view in front was drawn in the last frame.
    front: Option<Rect>,
    /// Whether a picture of it is to be saved at the end of this frame.
    picture: bool,
    /// The link that was copied last.
    shared: Option<String>,
    /// Which run was shown in the last frame: a selection belongs to a run.
    shown_before: bool,
    help: bool,
    /// Whether keys go to a text that is being written.
    typing: bool,
    /// Whether the banner about the missing GPU was dismissed.
    banner_read: bool,
    settings_open: bool,
    /// A scenario of an earlier visit that could not be read.
    unread: Option<String>,
    /// The step of the tour that is shown.
    tour: Option<usize>,
    regions: Regions,
    display: Display,
    /// The part of the time that was chosen, as a trace of its own, and of what it is.
    part: FoundOnce<PartKey, Part>,
}

/// Of which trace it is a part, from when and until when.
type PartKey = (Identity, Nanos, Nanos);

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl App {
    /// Starts with the default scenario simulated.
    ///
    /// # Errors
    /// Never in practice: a test shows that the default preset is valid.
    pub fn try_new(context: &eframe::CreationContext<'_>) -> Result<Self, shardlab_engine::scenario::ScenarioError> {
        let mut settings: Settings =
            context.storage.and_then(|s| eframe::get_value(s, eframe::APP_KEY)).unwrap_or_default();
        fonts::install(&context.egui_ctx);
        design_tokens::apply(&context.egui_ctx);
        if context.storage.is_none() {
            // Without a place for settings nobody has chosen any: as tests expect it.
            settings.theme = Theme::Dark;
        }
        settings.apply(&context.egui_ctx);
        let mut execute = ExecuteView::default();
        if context.storage.is_some() {
            execute.keep_runs(&context.egui_ctx);
        }
        let mut session = Session::new()?;
        session.tuning.clone_from(&settings.tuning);
        session.keeps = context.storage.is_some();
        let kept = settings.work.take().filter(|_| settings.restores);
        let mut app = Self {
            session,
            settings,
            tiles: first_tiles(),
            views: Views { execute, ..Views::default() },
            form: form::FormState::default(),
            selection: Selection::default(),
            toasts: Toasts::default(),
            opener: Opener::default(),
            exporter: Exporter::default(),
            palette: None,
            front: None,
            picture: false,
            shared: None,
            shown_before: false,
            help: false,
            typing: false,
            banner_read: false,
            settings_open: false,
            unread: None,
            tour: None,
            regions: Regions::default(),
            display: Display::default(),
            part: FoundOnce::default(),
        };
        if let Some(work) = kept {
            app.restore(&work, &context.egui_ctx);
        }
        if context.storage.is_some() && !app.settings.toured {
            app.tour = Some(0);
        }
        Ok(app)
    }

    /// Starts with the default scenario simulated.
    ///
    /// # Panics
    /// If the default preset were not valid, which a test excludes.
    #[expect(clippy::expect_used, reason = "a test shows that every preset is valid")]
    pub fn new(context: &eframe::CreationContext<'_>) -> Self {
        Self::try_new(context).expect("the default preset is valid")
    }

    /// The same app, which is told what happens to the device that draws it.
    #[must_use]
    pub fn shown_on(self, context: &eframe::CreationContext<'_>, display: Display) -> Self {
        display.watch(context);
        Self { display, ..self }
    }

    /// Says what went wrong with drawing.
    fn look_at_display(&mut self) {
        if let Some(error) = self.display.take_error() {
            self.toasts.error(t_with("display.error", error));
        }
    }

    /// Where nothing can be drawn any more: keeps the work, and opens another window with it.
    #[cfg(not(target_arch = "wasm32"))]
    fn leave_lost_display(&mut self, frame: &mut eframe::Frame) {
        let Some(why) = self.display.lost().map(str::to_owned) else { return };
        if let Some(storage) = frame.storage_mut() {
            eframe::App::save(self, storage);
            storage.flush();
        }
        super::native::leave_for_another(&why);
    }

    /// Does what a command says.
    pub(super) fn run_command(&mut self, command: Command, context: &egui::Context) {
        match command {
            Command::OpenFile => self.opener.ask(context),
            Command::Share => self.share(context),
            Command::SaveScenario => self.exporter.scenario(context, &self.session),
            Command::ExportJson => self.exporter.json(context, self.session.shown()),
            Command::ExportCsv => self.exporter.csv(context, self.session.shown()),
            Command::ExportMemory => self.exporter.memory(context, self.session.shown()),
            Command::ExportPerfetto => self.exporter.perfetto(context, self.session.shown()),
            Command::ExportPng => self.export_png(context),
            Command::ExportSvg => self.picture = true,
            Command::ExportPage => self.export_page(context),
            Command::ExportGraph => self.exporter.graph(context, self.session.shown()),
            Command::Undo => self.session.undo(context),
            Command::Redo => self.session.redo(context),
            Command::PinBaseline if self.active_tab() == Some(Tab::Traces) => {
                let pinned = self.views.traces.pin_baseline(&mut self.session);
                pinned.into_iter().for_each(|text| self.toasts.notice(text));
            }
            Command::PinBaseline => {
                self.session.pin_baseline();
                self.toasts.notice(t_with("compare.pinned", self.session.shown().scenario.name()));
            }
            Command::PinVariant if self.session.is_full() => self.toasts.error(t("compare.full").to_owned()),
            Command::PinVariant if self.active_tab() == Some(Tab::Traces) => {
                let pinned = self.views.traces.pin_variant(&mut self.session);
                pinned.into_iter().for_each(|text| self.toasts.notice(text));
            }
            Command::PinVariant => {
                self.session.pin_shown();
                self.toasts.notice(t_with("compare.pinned_variant", self.session.shown().scenario.name()));
            }
            Command::Advise => {
                self.show_tab(Tab::Summary);
                self.views.summary.advise(context, &self.session);
            }
            Command::WhatIf => {
                self.show_tab(Tab::Summary);
                self.views.summary.what_if(context, &self.session);
            }
            Command::ApplyAdvice => self.views.summary.apply_best(&mut self.session),
            Command::Why if self.session.pinned.is_empty() => {
                self.toasts.error(t("compare.no_baseline").to_owned());
            }
            Command::Why if self.session.pinned[0].modelled_file().is_none() => {
                self.toasts.error(t("compare.why.modelled").to_owned());
            }
            Command::Why => {
                self.show_tab(Tab::Compare);
                self.views.compare.ask_why(context, &self.session);
            }
            Command::Show(tab) => self.show_tab(tab),
            Command::ToggleForm => self.settings.form = !self.settings.form,
            Command::ToggleInspector => self.settings.inspector = !self.settings.inspector,
            Command::ToggleTheme => self.toggle_theme(context),
            Command::ToggleLanguage => self.toggle_language(),
            Command::FitTimeline => self.views.timeline.fit(),
            Command::PipelineChart => self.views.timeline.toggle_pipeline(),
            Command::CriticalPath if self.active_tab() == Some(Tab::Traces) => {
                self.views.traces.timeline().toggle_critical();
            }
            Command::CriticalPath => self.views.timeline.toggle_critical(),
            Command::Find if self.active_tab() == Some(Tab::Traces) => self.views.traces.timeline().focus_find(),
            Command::Find => {
                self.show_tab(Tab::Timeline);
                self.views.timeline.focus_find();
            }
            Command::Palette => self.palette = Some(String::new()),
            Command::Settings => self.settings_open = !self.settings_open,
            Command::Tour => self.tour = Some(0),
            Command::Help => self.help = !self.help,
        }
    }

    /// Brings a view to the front.
    pub fn show_tab(&mut self, tab: Tab) {
        self.tiles.make_active(|_, tile| matches!(tile, egui_tiles::Tile::Pane(pane) if *pane == tab));
    }

    fn toggle_theme(&mut self, context: &egui::Context) {
        let is_dark = context.global_style().visuals.dark_mode;
        self.settings.theme = if is_dark { Theme::Light } else { Theme::Dark };
        context.set_theme(self.settings.theme.preference());
    }

    fn toggle_language(&mut self) {
        let other = if language() == Language::English { Language::Chinese } else { Language::English };
        self.settings.language = other;
        set_language(other);
    }

    /// Shows an error until it is dismissed.
    pub fn tell_error(&mut self, text: String) {
        self.toasts.error(text);
    }

    /// The view in front.
    fn active_tab(&self) -> Option<Tab> {
        self.tiles.active_tiles().into_iter().find_map(|id| match self.tiles.tiles.get(id) {
            Some(egui_tiles::Tile::Pane(tab)) => Some(*tab),
            _ => None,
        })
    }

    /// Files that were exported since they are kept instead of saved.
    pub fn exports(&mut self) -> Vec<(String, Vec<u8>)> {
        self.exporter.keep()
    }

    /// Everything that happens without drawing: files, shortcuts, background work.
    pub fn think(&mut self, context: &egui::Context) {
        self.typing = context.egui_wants_keyboard_input();
        self.opener.take_dropped(context);
        if std::mem::take(&mut self.session.wants_file) {
            self.opener.ask(context);
        }
        self.take_arrivals(context);
        self.paste(context);
        if let Some(command) = Command::pressed(context) {
            self.run_command(command, context);
        }
        if self.session.update(context) {
            self.selection = Selection::default();
            self.views.timeline.reset();
        }
        for (name, content) in self.session.saves.drain(..) {
            self.exporter.made(context, name, content);
        }
        self.exporter.save_pictures(context);
        for outcome in self.exporter.outcomes() {
            match outcome {
                Ok(text) => self.toasts.notice(text),
                Err(text) => self.toasts.error(text),
            }
        }
        if std::mem::replace(&mut self.shown_before, self.session.show_executed) != self.session.show_executed {
            self.selection = Selection::default();
            self.views.timeline.reset();
        }
        let mut refused = std::mem::take(&mut self.session.refusals);
        let tuning = &mut self.session.tuning;
        let mut told = self.views.execute.receive(context, tuning);
        told.extend(self.views.summary.receive());
        told.append(&mut refused);
        told.extend(self.views.bench.receive(tuning).into_iter().chain(self.views.data.receive()));
        told.extend(
            self.views
                .storage
                .receive()
                .into_iter()
                .chain(self.views.memory.receive())
                .chain(self.views.traces.receive(context))
                .chain(self.views.logs.receive()),
        );
        told.extend(self.views.compare.receive().into_iter().chain(self.views.search.receive()));
        for error in told {
            self.toasts.error(error);
        }
    }
}

impl eframe::App for App {
    fn logic(&mut self, context: &egui::Context, frame: &mut eframe::Frame) {
        #[cfg(not(target_arch = "wasm32"))]
        self.leave_lost_display(frame);
        #[cfg(target_arch = "wasm32")]
        let _ = frame;
        self.think(context);
        self.look_at_display();
        #[cfg(target_arch = "wasm32")]
        super::web::exchange(self, context);
    }

    fn ui(&mut self, ui: &mut Ui, _: &mut eframe::Frame) {
        let top = egui::Panel::top("top").show(ui, |ui| {
            self.top_bar_ui(ui);
            self.fallback_ui(ui);
        });
        self.regions.set(Region::Top, top.response.rect);
        egui::Panel::bottom("status").show(ui, |ui| self.status_bar_ui(ui));
        if self.settings.form {
            let panel = egui::Panel::left("form").default_size(design_tokens::FORM_WIDTH).resizable(true);
            let shown = panel.show(ui, |ui| form::ui(ui, &mut self.session, &mut self.form));
            self.regions.set(Region::Form, shown.response.rect);
        }
        if self.settings.inspector {
            let panel = egui::Panel::right("inspector").default_size(design_tokens::INSPECTOR_WIDTH).resizable(true);
            let run = self.session.shown();
            let chosen = self.views.timeline.chosen();
            // While a part is dragged its figures are those of the part before: each would take longer than a frame.
            let part = match chosen {
                Some(_) if self.views.timeline.is_choosing() => self.part.last(),
                Some((from, until)) => {
                    let key = (run.drawn().identity(), from, until);
                    Some(self.part.get(key, || Part::new(run, from, until)))
                }
                None => None,
            };
            let base = self.session.baseline().map(|base| &**base);
            let shown = panel.show(ui, |ui| inspector::ui(ui, run, part, base, &mut self.selection));
            self.regions.set(Region::Inspector, shown.response.rect);
        }
        let frame = egui::Frame::new().fill(ui.visuals().panel_fill);
        let centre = egui::CentralPanel::default().frame(frame).show(ui, |ui| {
            let mut centre = Centre {
                session: &mut self.session,
                views: &mut self.views,
                toasts: &mut self.toasts,
                selection: &mut self.selection,
                drawn: Vec::new(),
            };
            self.tiles.ui(&mut centre, ui);
            let drawn = centre.drawn;
            let active = self.active_tab();
            self.front = drawn.into_iter().find(|(tab, _)| Some(*tab) == active).map(|(_, rect)| rect);
        });
        self.regions.set(Region::Centre, centre.response.rect);
        let context = ui.ctx().clone();
        if std::mem::take(&mut self.picture) {
            self.export_svg(&context);
        }
        self.palette_ui(&context);
        self.help_ui(&context);
        self.settings_ui(&context);
        self.tour_ui(&context);
        self.toasts.ui(&context);
    }

    fn save(&mut self, storage: &mut dyn eframe::Storage) {
        self.settings.tuning.clone_from(&self.session.tuning);
        self.tidy_runs();
        self.settings.work = Some(self.work());
        eframe::set_value(storage, eframe::APP_KEY, &self.settings);
    }

    /// What is open is kept every few seconds, so that a crash loses little.
    fn auto_save_interval(&self) -> std::time::Duration {
        std::time::Duration::from_secs(2)
    }

    #[cfg(target_arch = "wasm32")]
    fn as_any_mut(&mut self) -> Option<&mut dyn std::any::Any> {
        Some(&mut *self)
    }
}
