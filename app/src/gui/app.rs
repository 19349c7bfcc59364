//! The app: its state, what happens each frame, and the layout.

mod overlays;
mod pictures;
mod settings;
mod tour;

use egui::{Key, Rect, Ui};
use settings::{Settings, Theme};
use shardlab_engine::analysis::window;
use shardlab_engine::exec::{BackendKind, Section};
use shardlab_engine::scenario::{check, is_link, link, linked};
use shardlab_engine::trace::Trace;
use shardlab_engine::units::Nanos;

use tour::{Region, Regions};

use super::bench::BenchView;
use super::command::{Command, Menu};
use super::compare::CompareView;
use super::data::DataView;
use super::execute::ExecuteView;
use super::export::Exporter;
use super::graph_view::GraphView;
use super::i18n::{Language, language, set_language, t, t_with};
use super::inspector::Selection;
use super::logs::LogsView;
use super::memory::{MemoryPage, MemoryView};
use super::network::NetworkView;
use super::open_file::Opener;
use super::search::SearchView;
use super::session::Session;
use super::storage::StorageView;
use super::summary::SummaryView;
use super::timeline::{Identity, TimelineView};
use super::toast::Toasts;
use super::traces::TracesView;
use super::{design_tokens, fonts, form, inspector, widgets};

/// A view in the centre.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tab {
    /// The step at a glance.
    Summary,
    /// Spans over time.
    Timeline,
    /// Memory over time.
    Memory,
    /// What is sent where.
    Network,
    /// The step graph.
    Graph,
    /// Baseline beside current, prediction beside execution.
    Compare,
    /// Training on this device.
    Execute,
    /// The search for a better strategy.
    Search,
    /// What is read, and what caches find of it.
    Data,
    /// A long run with its checkpoints and failures.
    Storage,
    /// What this device can do.
    Bench,
    /// What other tools have measured.
    Traces,
    /// Logs of training runs, and of this app.
    Logs,
}

impl Tab {
    /// All views in order.
    pub const ALL: [Self; 13] = [
        Self::Summary,
        Self::Timeline,
        Self::Memory,
        Self::Network,
        Self::Graph,
        Self::Compare,
        Self::Execute,
        Self::Search,
        Self::Data,
        Self::Storage,
        Self::Bench,
        Self::Traces,
        Self::Logs,
    ];

    /// The key of its name.
    pub fn key(self) -> &'static str {
        match self {
            Self::Summary => "tab.summary",
            Self::Timeline => "tab.timeline",
            Self::Memory => "tab.memory",
            Self::Network => "tab.network",
            Self::Graph => "tab.graph",
            Self::Compare => "tab.compare",
            Self::Execute => "tab.execute",
            Self::Search => "tab.search",
            Self::Data => "tab.data",
            Self::Storage => "tab.storage",
            Self::Bench => "tab.bench",
            Self::Traces => "tab.traces",
            Self::Logs => "tab.logs",
        }
    }

    /// Its name in links.
    pub fn name(self) -> &'static str {
        self.key().split_once('.').map_or("timeline", |(_, name)| name)
    }

    /// The key that shows it.
    pub fn digit(self) -> Key {
        match self {
            Self::Summary => Key::O,
            Self::Network => Key::N,
            Self::Timeline => Key::Num1,
            Self::Memory => Key::Num2,
            Self::Graph => Key::Num3,
            Self::Compare => Key::Num4,
            Self::Execute => Key::Num5,
            Self::Search => Key::Num6,
            Self::Data => Key::Num7,
            Self::Storage => Key::Num8,
            Self::Bench => Key::Num9,
            Self::Traces => Key::T,
            Self::Logs => Key::L,
        }
    }
}

/// An action that comes from outside the window: the page's test interface.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remote {
    /// Load a preset.
    Preset(String),
    /// Show a view.
    Tab(Tab),
    /// Do what a menu does.
    Command(Command),
    /// Train.
    Execute {
        /// Steps.
        steps: u32,
        /// `wgpu` or `cpu`.
        backend: String,
    },
    /// Pause or resume training.
    Pause(bool),
    /// Search with the fields that are offered.
    Search,
    /// Try every combination of fields: paths with their values, as they are typed.
    Sweep(Vec<(String, String)>),
    /// Set a field of the scenario: its path and its value.
    Set(String, serde_json::Value),
    /// Measure this device, predict the step and execute it.
    Predict,
    /// Show a page of the memory view.
    Memory(MemoryPage),
    /// Show what is handed to many nodes.
    Moving,
    /// Go on with the run of an earlier visit.
    GoOn,
    /// Play what is read through caches.
    Cache,
    /// Measure the device: these sections.
    Bench(Vec<Section>),
    /// End training after the current step.
    Stop,
    /// End training and forget it.
    Cancel,
    /// Change the language.
    Language(String),
    /// Open a link.
    Link(String),
    /// Choose a part of the time in the timeline, in nanoseconds.
    Choose(i64, i64),
    /// Keep exported files instead of asking where to put them.
    KeepExports,
    /// Say what went wrong outside.
    Error(String),
    /// Drop a file.
    Drop {
        /// Its name.
        name: String,
        /// What is in it.
        text: String,
    },
}

/// The whole state of the front end.
pub struct App {
    session: Session,
    settings: Settings,
    tiles: egui_tiles::Tree<Tab>,
    summary: SummaryView,
    network: NetworkView,
    timeline: TimelineView,
    graph: GraphView,
    compare: CompareView,
    execute: ExecuteView,
    search: SearchView,
    bench: BenchView,
    data: DataView,
    storage: StorageView,
    memory: MemoryView,
    traces: TracesView,
    logs: LogsView,
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
    /// The part of the time that was chosen, as a trace of its own, and of what it is.
    part: Option<(PartKey, Trace)>,
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
        let kept = settings.work.take().filter(|_| settings.restores);
        let mut app = Self {
            session,
            settings,
            tiles: first_tiles(),
            summary: SummaryView::default(),
            network: NetworkView::default(),
            timeline: TimelineView::default(),
            graph: GraphView::default(),
            compare: CompareView::default(),
            execute,
            search: SearchView::default(),
            bench: BenchView::default(),
            data: DataView::default(),
            storage: StorageView::default(),
            memory: MemoryView::default(),
            traces: TracesView::default(),
            logs: LogsView::default(),
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
            part: None,
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
            Command::PinBaseline => {
                self.session.pin_baseline();
                self.toasts.notice(t_with("compare.pinned", self.session.shown().scenario.name()));
            }
            Command::PinVariant if self.session.is_full() => self.toasts.error(t("compare.full").to_owned()),
            Command::PinVariant => {
                self.session.pin_shown();
                self.toasts.notice(t_with("compare.pinned_variant", self.session.shown().scenario.name()));
            }
            Command::Advise => {
                self.show_tab(Tab::Summary);
                self.summary.advise(context, &self.session);
            }
            Command::WhatIf => {
                self.show_tab(Tab::Summary);
                self.summary.what_if(context, &self.session);
            }
            Command::ApplyAdvice => self.summary.apply_best(&mut self.session),
            Command::Why if self.session.pinned.is_empty() => {
                self.toasts.error(t("compare.no_baseline").to_owned());
            }
            Command::Why => {
                self.show_tab(Tab::Compare);
                self.compare.ask_why(context, &self.session);
            }
            Command::Show(tab) => self.show_tab(tab),
            Command::ToggleForm => self.settings.form = !self.settings.form,
            Command::ToggleInspector => self.settings.inspector = !self.settings.inspector,
            Command::ToggleTheme => self.toggle_theme(context),
            Command::ToggleLanguage => self.toggle_language(),
            Command::FitTimeline => self.timeline.fit(),
            Command::PipelineChart => self.timeline.toggle_pipeline(),
            Command::CriticalPath if self.active_tab() == Some(Tab::Traces) => self.traces.timeline().toggle_critical(),
            Command::CriticalPath => self.timeline.toggle_critical(),
            Command::Find if self.active_tab() == Some(Tab::Traces) => self.traces.timeline().focus_find(),
            Command::Find => {
                self.show_tab(Tab::Timeline);
                self.timeline.focus_find();
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

    /// Does what came from outside.
    pub fn run_remote(&mut self, remote: &Remote, context: &egui::Context) {
        match remote {
            Remote::Preset(name) => match shardlab_engine::scenario::presets().iter().find(|p| p.name == name.as_str())
            {
                Some(preset) => self.session.load_preset(preset.name),
                None => self.toasts.error(t_with("error.preset", name)),
            },
            Remote::Tab(tab) => self.show_tab(*tab),
            Remote::Pause(paused) => self.execute.set_paused(*paused),
            Remote::Link(text) => self.open_link(text),
            Remote::Choose(from, until) => self.timeline.choose(Nanos(*from), Nanos(*until)),
            Remote::KeepExports => drop(self.exporter.keep()),
            Remote::Error(text) => self.tell_error(text.clone()),
            Remote::Command(command) => self.run_command(*command, context),
            Remote::Sweep(fields) => self.search.sweep(context, &self.session, fields),
            Remote::Set(path, value) => self.set_field(path, value),
            Remote::Predict => self.compare.predict(context, &self.session),
            Remote::Search => self.search.start(context, &self.session),
            Remote::Bench(sections) => self.bench.start(context, sections, &self.session.tuning),
            Remote::Stop => self.execute.stop(),
            Remote::Cancel => self.execute.cancel(),
            Remote::Execute { steps, backend } => self.execute_remote(*steps, backend, context),
            Remote::Language(code) => {
                let chosen = if code == "zh" { Language::Chinese } else { Language::English };
                self.settings.language = chosen;
                set_language(chosen);
            }
            Remote::Memory(page) => {
                self.show_tab(Tab::Memory);
                self.memory.show(*page);
            }
            Remote::Moving => {
                self.show_tab(Tab::Storage);
                self.storage.show_moving(true);
            }
            Remote::GoOn => self.execute.go_on_with_kept(context, &mut self.session),
            Remote::Cache => self.data.start(context, &self.session),
            Remote::Drop { name, text } => self.open(context, name, text.as_bytes().to_vec()),
        }
    }

    /// Sets a field of the scenario; where the mesh changes, what follows it follows.
    fn set_field(&mut self, path: &str, value: &serde_json::Value) {
        let edit = shardlab_engine::search::Edit { path: path.to_owned(), value: value.clone() };
        match shardlab_engine::search::changed(&self.session.file, &[edit]) {
            Some(file) => self.session.file = file,
            None => self.toasts.error(t_with("error.field", path)),
        }
    }

    fn execute_remote(&mut self, steps: u32, backend: &str, context: &egui::Context) {
        let kind = if backend == "cpu" { BackendKind::Cpu } else { BackendKind::Wgpu };
        self.execute.start_small(&mut self.session, kind, steps, context);
    }

    /// Opens the bytes of a file, or says what is wrong with them; the scenario on screen stays then.
    /// A trace of reads is opened in the background.
    pub fn open(&mut self, context: &egui::Context, name: &str, bytes: Vec<u8>) {
        if super::open_file::is_snapshot(name) {
            self.show_tab(Tab::Memory);
            return self.memory.open_snapshot(context, name, bytes);
        }
        if super::open_file::is_trace(name) {
            self.show_tab(Tab::Data);
            return self.data.open_trace(context, name, bytes, &self.session);
        }
        if super::open_file::is_profile(name, &bytes) {
            self.show_tab(Tab::Traces);
            return self.traces.open(name, bytes);
        }
        if super::open_file::is_log(name, &bytes) {
            self.show_tab(Tab::Logs);
            return self.logs.open(context, name, bytes);
        }
        match super::open_file::open(&bytes, &self.session.file) {
            Ok((file, left_out)) => {
                self.session.load(file, None);
                self.toasts.notice(t_with("open.done", name));
                if !left_out.is_empty() {
                    self.toasts.notice(t_with("open.left_out", left_out.join(", ")));
                }
            }
            Err(error) => self.toasts.error(format!("{name}: {error}")),
        }
    }

    /// Puts a link to the scenario and the view on the clipboard, and into the page's address.
    fn share(&mut self, context: &egui::Context) {
        let view = self.active_tab().map_or("timeline", Tab::name);
        match link(&self.session.file, view) {
            Ok(text) => {
                let text = address(&text);
                context.copy_text(text.clone());
                self.shared = Some(text);
                self.toasts.notice(t("share.done").to_owned());
            }
            Err(error) => self.toasts.error(error.to_string()),
        }
    }

    /// Opens the scenario in a link, and the view that it names; what is open stays where it is none.
    pub fn open_link(&mut self, text: &str) {
        let found = match linked(text) {
            Ok(found) => found,
            Err(error) => return self.toasts.error(error.to_string()),
        };
        if let Err(error) = check(&found.file) {
            return self.toasts.error(error.to_string());
        }
        self.session.load(found.file, None);
        if let Some(tab) = found.view.and_then(|view| Tab::ALL.into_iter().find(|tab| tab.name() == view)) {
            self.show_tab(tab);
        }
        if found.left_out.is_empty() {
            self.toasts.notice(t("share.opened").to_owned());
        } else {
            self.toasts.notice(t_with("share.left_out", found.left_out.join(", ")));
        }
    }

    /// A link or a scenario that was pasted where nobody types.
    fn paste(&mut self, context: &egui::Context) {
        if context.egui_wants_keyboard_input() {
            return;
        }
        let pasted = context.input(|input| {
            input.events.iter().find_map(|event| match event {
                egui::Event::Paste(text) => Some(text.clone()),
                _ => None,
            })
        });
        match pasted {
            Some(text) if is_link(&text) => self.open_link(&text),
            Some(text) => self.open(context, t("share.clipboard"), text.into_bytes()),
            None => {}
        }
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

    /// The state that tests read, as JSON.
    pub fn state(&self) -> String {
        let active = self.active_tab();
        let run = &self.session.run;
        let state = serde_json::json!({
            "ready": !self.session.is_busy(),
            "screen": active,
            "scenario": run.scenario.name(),
            "preset": self.session.preset,
            "language": language().code(),
            "step_time_ns": run.trace.step_time.0,
            "help": self.help,
            "palette": self.palette.is_some(),
            "typing": self.typing,
            "seconds": run.seconds,
            "fits": run.report.fit.fits,
            "pool": run.scenario.run().pool.name().name(),
            "error": self.session.error.as_ref().map(ToString::to_string),
            "shown": self.session.shown().trace.origin,
            "backend": self.execute.backend_name(),
            "execute": self.execute.state(),
            "compare": self.compare.state(&self.session),
            "advice": self.summary.state(),
            "search": self.search.state(),
            "bench": self.bench.state(),
            "data": self.data.state(),
            "storage": self.storage.state(),
            "memory": self.memory.state(),
            "traces": self.traces.state(),
            "logs": self.logs.state(),
            "messages": self.toasts.log().len(),
            "tour": self.tour,
            "timeline": self.timeline.state(),
            "exports": self.exporter.state(),
            "link": self.shared,
            "toast": self.toasts.newest().filter(|toast| toast.error).map(|toast| &toast.text),
        });
        state.to_string()
    }

    /// Files that were exported since they are kept instead of saved.
    pub fn exports(&mut self) -> Vec<(String, Vec<u8>)> {
        self.exporter.keep()
    }

    /// Everything that happens without drawing: files, shortcuts, background work.
    pub fn think(&mut self, context: &egui::Context) {
        self.typing = context.egui_wants_keyboard_input();
        self.opener.take_dropped(context);
        for (name, bytes) in self.opener.received() {
            match bytes {
                Ok(bytes) => self.open(context, &name, bytes),
                Err(error) => self.toasts.error(format!("{name}: {error}")),
            }
        }
        self.paste(context);
        if let Some(command) = Command::pressed(context) {
            self.run_command(command, context);
        }
        if self.session.update(context) {
            self.selection = Selection::default();
            self.timeline.reset();
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
            self.timeline.reset();
        }
        let mut refused = std::mem::take(&mut self.session.refusals);
        let tuning = &mut self.session.tuning;
        let mut told = self.execute.receive(context, tuning);
        told.extend(self.summary.receive());
        told.append(&mut refused);
        told.extend(self.bench.receive(tuning).into_iter().chain(self.data.receive()));
        told.extend(
            self.storage
                .receive()
                .into_iter()
                .chain(self.memory.receive())
                .chain(self.traces.receive(context))
                .chain(self.logs.receive()),
        );
        told.extend(self.compare.receive().into_iter().chain(self.search.receive()));
        for error in told {
            self.toasts.error(error);
        }
    }

    fn top_bar_ui(&mut self, ui: &mut Ui) {
        ui.horizontal(|ui| {
            ui.strong("Shardlab");
            for menu in Menu::ALL {
                ui.menu_button(t(menu.key()), |ui| {
                    for command in Command::ALL.into_iter().filter(|command| command.menu() == menu) {
                        self.menu_item_ui(ui, command);
                    }
                });
            }
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                for (command, text) in [(Command::ToggleLanguage, t("language.other")), (Command::ToggleTheme, "◑")] {
                    if ui.button(text).on_hover_text(t(command.keys().1)).clicked() {
                        self.run_command(command, ui.ctx());
                    }
                }
                ui.weak(t("privacy"));
            });
        });
    }

    /// Where there is no GPU: what that means, before anybody wonders. It goes when it has been read.
    fn fallback_ui(&mut self, ui: &mut Ui) {
        let Some(note) = self.execute.fallback().filter(|_| !self.banner_read) else { return };
        let color = design_tokens::signals(ui.visuals()).warn;
        let dismissed = ui.horizontal_wrapped(|ui| {
            ui.colored_label(color, t("execute.fallback")).on_hover_text(note);
            ui.small_button("×").on_hover_text(t("toast.dismiss")).clicked()
        });
        self.banner_read = dismissed.inner;
    }

    fn menu_item_ui(&mut self, ui: &mut Ui, command: Command) {
        let (text, tip) = command.keys();
        let mut button = egui::Button::new(t(text));
        if let Some(shortcut) = command.shortcut() {
            button = button.shortcut_text(ui.ctx().format_shortcut(&shortcut));
        }
        if ui.add(button).on_hover_text(t(tip)).clicked() {
            ui.close();
            self.run_command(command, ui.ctx());
        }
    }

    /// Keeps the part of the time that is chosen in the timeline as a trace, for the figures at the right.
    fn cut_part(&mut self) {
        let run = self.session.shown();
        let key = self.timeline.chosen().map(|(from, until)| (run.drawn().identity(), from, until));
        if self.part.as_ref().map(|(known, _)| *known) != key {
            self.part = key.map(|key| (key, window(&run.trace, key.1, key.2)));
        }
    }

    fn status_bar_ui(&mut self, ui: &mut Ui) {
        ui.horizontal(|ui| {
            if self.session.executed.is_some() {
                ui.selectable_value(&mut self.session.show_executed, false, t("origin.modelled"));
                ui.selectable_value(&mut self.session.show_executed, true, t("origin.executed"));
            } else {
                widgets::origin_ui(ui, self.session.run.trace.origin);
            }
            let run = self.session.shown();
            ui.separator();
            ui.label(run.scenario.name());
            ui.separator();
            let spans = ui.weak(t_with("status.spans", run.trace.spans.len()));
            spans.on_hover_text(t_with("status.seconds", format!("{:.1}", run.seconds * 1e3)));
            if self.session.is_busy() {
                ui.spinner();
                ui.weak(t("status.busy"));
            }
        });
    }
}

/// The centre: tabs that can be dragged apart.
struct Centre<'a> {
    session: &'a mut Session,
    summary: &'a mut SummaryView,
    network: &'a mut NetworkView,
    timeline: &'a mut TimelineView,
    graph: &'a mut GraphView,
    compare: &'a mut CompareView,
    execute: &'a mut ExecuteView,
    search: &'a mut SearchView,
    bench: &'a mut BenchView,
    data: &'a mut DataView,
    storage: &'a mut StorageView,
    memory: &'a mut MemoryView,
    traces: &'a mut TracesView,
    logs: &'a mut LogsView,
    toasts: &'a mut Toasts,
    selection: &'a mut Selection,
    /// Where each view is drawn.
    drawn: Vec<(Tab, Rect)>,
}

impl egui_tiles::Behavior<Tab> for Centre<'_> {
    fn pane_ui(&mut self, ui: &mut Ui, _: egui_tiles::TileId, tab: &mut Tab) -> egui_tiles::UiResponse {
        self.drawn.push((*tab, ui.max_rect()));
        egui::Frame::new().inner_margin(6).show(ui, |ui| match tab {
            Tab::Timeline => {
                let run = self.session.shown().clone();
                let drawn = if self.timeline.wants_path() { run.drawn_with_path() } else { run.drawn() };
                self.timeline.ui(ui, drawn, self.selection);
            }
            Tab::Summary => self.summary.ui(ui, self.session),
            Tab::Network => self.network.ui(ui, self.session),
            Tab::Memory => self.memory.ui(ui, self.session),
            Tab::Traces => self.traces.ui(ui, self.session),
            Tab::Logs => self.logs.ui(ui, self.session, self.toasts),
            Tab::Graph => self.graph.ui(ui, &self.session.shown().clone(), self.selection),
            Tab::Compare => self.compare.ui(ui, self.session),
            Tab::Execute => self.execute.ui(ui, self.session),
            Tab::Search => self.search.ui(ui, self.session),
            Tab::Data => self.data.ui(ui, self.session),
            Tab::Storage => self.storage.ui(ui, self.session),
            Tab::Bench => self.bench.ui(ui, self.session),
        });
        egui_tiles::UiResponse::None
    }

    fn tab_title_for_pane(&mut self, tab: &Tab) -> egui::WidgetText {
        t(tab.key()).into()
    }

    fn simplification_options(&self) -> egui_tiles::SimplificationOptions {
        egui_tiles::SimplificationOptions { all_panes_must_have_tabs: true, ..Default::default() }
    }
}

impl eframe::App for App {
    fn logic(&mut self, context: &egui::Context, _: &mut eframe::Frame) {
        self.think(context);
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
            self.cut_part();
            let part = self.part.as_ref().map(|((_, from, _), part)| (*from, part));
            let shown = panel.show(ui, |ui| inspector::ui(ui, self.session.shown(), part, &mut self.selection));
            self.regions.set(Region::Inspector, shown.response.rect);
        }
        let frame = egui::Frame::new().fill(ui.visuals().panel_fill);
        let centre = egui::CentralPanel::default().frame(frame).show(ui, |ui| {
            let mut centre = Centre {
                session: &mut self.session,
                summary: &mut self.summary,
                network: &mut self.network,
                timeline: &mut self.timeline,
                graph: &mut self.graph,
                compare: &mut self.compare,
                execute: &mut self.execute,
                search: &mut self.search,
                bench: &mut self.bench,
                data: &mut self.data,
                storage: &mut self.storage,
                memory: &mut self.memory,
                traces: &mut self.traces,
                logs: &mut self.logs,
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

/// All views as tabs, the timeline in front.
fn first_tiles() -> egui_tiles::Tree<Tab> {
    let mut tiles = egui_tiles::Tree::new_tabs(egui::Id::unique("centre"), Tab::ALL.to_vec());
    tiles.make_active(|_, tile| matches!(tile, egui_tiles::Tile::Pane(Tab::Timeline)));
    tiles
}

/// A link as it is passed on: in a page behind its own address, else alone, for a page or the command line.
fn address(text: &str) -> String {
    #[cfg(target_arch = "wasm32")]
    if let Some(page) = super::web::set_fragment(text) {
        return page;
    }
    format!("#{text}")
}
