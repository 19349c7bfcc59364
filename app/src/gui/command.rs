//! Every action, once: its text, its tooltip and its shortcut feed the menu, the palette and the help sheet.

use egui::{Key, KeyboardShortcut, Modifiers};

use super::app::Tab;

/// Something that a user can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Open a scenario or a Hugging Face config.
    OpenFile,
    /// Save the scenario.
    SaveScenario,
    /// Save the figures as JSON.
    ExportJson,
    /// Save the op classes as CSV.
    ExportCsv,
    /// Save memory over time as CSV.
    ExportMemory,
    /// Save the trace for Perfetto.
    ExportPerfetto,
    /// Save the step graph as DOT.
    ExportGraph,
    /// Save the view in front as pixels.
    ExportPng,
    /// Save it as shapes.
    ExportSvg,
    /// Save a page about the run, or about all that are compared.
    ExportPage,
    /// Copy a link to the scenario and the view.
    Share,
    /// Undo the last edit.
    Undo,
    /// Redo it.
    Redo,
    /// Remember this run to compare others with it.
    PinBaseline,
    /// Remember it as a variant.
    PinVariant,
    /// Say why it differs from the baseline.
    Why,
    /// Look for changes that make it faster.
    Advise,
    /// Apply the best of them.
    ApplyAdvice,
    /// Simulate what faster hardware and kernels would gain.
    WhatIf,
    /// Show a view.
    Show(Tab),
    /// Show or hide the left panel.
    ToggleForm,
    /// Show or hide the right panel.
    ToggleInspector,
    /// Switch between dark and light.
    ToggleTheme,
    /// Switch between English and Chinese.
    ToggleLanguage,
    /// Show all of the timeline.
    FitTimeline,
    /// Show stages over time in the colours of their micro-batches, or streams again.
    PipelineChart,
    /// Dim what is not on the critical path, or nothing.
    CriticalPath,
    /// Look for spans by name.
    Find,
    /// Search for a command.
    Palette,
    /// Choose language, colours and size.
    Settings,
    /// Show what is where.
    Tour,
    /// List the shortcuts.
    Help,
}

/// A menu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Menu {
    /// What comes in and goes out.
    File,
    /// What changes the scenario, and what is compared.
    Edit,
    /// What is shown.
    View,
    /// How to find things.
    Help,
}

impl Menu {
    /// All of them in order.
    pub const ALL: [Self; 4] = [Self::File, Self::Edit, Self::View, Self::Help];

    /// The key of its name.
    pub fn key(self) -> &'static str {
        match self {
            Self::File => "menu.file",
            Self::Edit => "menu.edit",
            Self::View => "menu.view",
            Self::Help => "menu.help",
        }
    }
}

impl Command {
    /// The menu in which it stands.
    pub fn menu(self) -> Menu {
        match self {
            Self::OpenFile
            | Self::SaveScenario
            | Self::ExportJson
            | Self::ExportCsv
            | Self::ExportMemory
            | Self::ExportPerfetto
            | Self::ExportGraph
            | Self::ExportPng
            | Self::ExportSvg
            | Self::ExportPage
            | Self::Share => Menu::File,
            Self::Undo
            | Self::Redo
            | Self::PinBaseline
            | Self::PinVariant
            | Self::Why
            | Self::Advise
            | Self::ApplyAdvice
            | Self::WhatIf => Menu::Edit,
            Self::Palette | Self::Tour | Self::Help => Menu::Help,
            _ => Menu::View,
        }
    }

    /// All commands in the order of the menu.
    pub const ALL: [Self; 45] = [
        Self::OpenFile,
        Self::SaveScenario,
        Self::ExportJson,
        Self::ExportCsv,
        Self::ExportMemory,
        Self::ExportPerfetto,
        Self::ExportGraph,
        Self::ExportPng,
        Self::ExportSvg,
        Self::ExportPage,
        Self::Share,
        Self::Undo,
        Self::Redo,
        Self::PinBaseline,
        Self::PinVariant,
        Self::Why,
        Self::Advise,
        Self::ApplyAdvice,
        Self::WhatIf,
        Self::Show(Tab::Summary),
        Self::Show(Tab::Timeline),
        Self::Show(Tab::Memory),
        Self::Show(Tab::Network),
        Self::Show(Tab::Graph),
        Self::Show(Tab::Roofline),
        Self::Show(Tab::Compare),
        Self::Show(Tab::Execute),
        Self::Show(Tab::Search),
        Self::Show(Tab::Data),
        Self::Show(Tab::Storage),
        Self::Show(Tab::Bench),
        Self::Show(Tab::Traces),
        Self::Show(Tab::Logs),
        Self::ToggleForm,
        Self::ToggleInspector,
        Self::ToggleTheme,
        Self::ToggleLanguage,
        Self::FitTimeline,
        Self::PipelineChart,
        Self::CriticalPath,
        Self::Find,
        Self::Settings,
        Self::Palette,
        Self::Tour,
        Self::Help,
    ];

    /// Keys of its text and its tooltip.
    pub fn keys(self) -> (&'static str, &'static str) {
        match self {
            Self::OpenFile => ("command.open", "command.open.tip"),
            Self::SaveScenario => ("command.save", "command.save.tip"),
            Self::ExportJson => ("command.export_json", "command.export_json.tip"),
            Self::ExportCsv => ("command.export_csv", "command.export_csv.tip"),
            Self::ExportMemory => ("command.export_memory", "command.export_memory.tip"),
            Self::ExportPerfetto => ("command.export_perfetto", "command.export_perfetto.tip"),
            Self::ExportGraph => ("command.export_graph", "command.export_graph.tip"),
            Self::Share => ("command.share", "command.share.tip"),
            Self::ExportPng => ("command.export_png", "command.export_png.tip"),
            Self::ExportSvg => ("command.export_svg", "command.export_svg.tip"),
            Self::ExportPage => ("command.export_page", "command.export_page.tip"),
            Self::WhatIf => ("command.what_if", "command.what_if.tip"),
            Self::Undo => ("command.undo", "command.undo.tip"),
            Self::Redo => ("command.redo", "command.redo.tip"),
            Self::PinBaseline => ("command.pin", "command.pin.tip"),
            Self::PinVariant => ("command.pin_variant", "command.pin_variant.tip"),
            Self::Why => ("command.why", "command.why.tip"),
            Self::Advise => ("command.advise", "command.advise.tip"),
            Self::ApplyAdvice => ("command.apply_advice", "command.apply_advice.tip"),
            Self::Show(tab) => (tab.key(), "command.show.tip"),
            Self::ToggleForm => ("command.form", "command.form.tip"),
            Self::ToggleInspector => ("command.inspector", "command.inspector.tip"),
            Self::ToggleTheme => ("command.theme", "command.theme.tip"),
            Self::ToggleLanguage => ("command.language", "command.language.tip"),
            Self::FitTimeline => ("command.fit", "command.fit.tip"),
            Self::PipelineChart => ("command.pipeline", "timeline.pipeline.tip"),
            Self::CriticalPath => ("command.critical", "timeline.critical.tip"),
            Self::Find => ("command.find", "timeline.find.tip"),
            Self::Palette => ("command.palette", "command.palette.tip"),
            Self::Settings => ("command.settings", "command.settings.tip"),
            Self::Tour => ("command.tour", "command.tour.tip"),
            Self::Help => ("command.help", "command.help.tip"),
        }
    }

    /// Its shortcut.
    pub fn shortcut(self) -> Option<KeyboardShortcut> {
        let (modifiers, key) = match self {
            Self::OpenFile => (Modifiers::COMMAND, Key::O),
            Self::SaveScenario => (Modifiers::COMMAND, Key::S),
            Self::ExportPng => (Modifiers::COMMAND.plus(Modifiers::SHIFT), Key::E),
            Self::ExportPerfetto => (Modifiers::COMMAND, Key::E),
            Self::Share => (Modifiers::COMMAND, Key::L),
            Self::Undo => (Modifiers::COMMAND, Key::Z),
            Self::Redo => (Modifiers::COMMAND, Key::Y),
            Self::PinBaseline => (Modifiers::NONE, Key::B),
            Self::PinVariant => (Modifiers::NONE, Key::V),
            Self::Show(tab) => (Modifiers::NONE, tab.digit()),
            Self::FitTimeline => (Modifiers::NONE, Key::Num0),
            Self::PipelineChart => (Modifiers::NONE, Key::G),
            Self::CriticalPath => (Modifiers::NONE, Key::C),
            Self::Find => (Modifiers::COMMAND, Key::F),
            Self::Palette => (Modifiers::COMMAND, Key::K),
            Self::Settings => (Modifiers::COMMAND, Key::Comma),
            Self::Help => (Modifiers::NONE, Key::Questionmark),
            _ => return None,
        };
        Some(KeyboardShortcut::new(modifiers, key))
    }

    /// Another one, for hands that are used to it.
    fn other_shortcut(self) -> Option<KeyboardShortcut> {
        let with_shift = Modifiers::COMMAND.plus(Modifiers::SHIFT);
        let (modifiers, key) = match self {
            Self::Redo => (with_shift, Key::Z),
            Self::Palette => (with_shift, Key::P),
            Self::Help => (Modifiers::NONE, Key::F1),
            _ => return None,
        };
        Some(KeyboardShortcut::new(modifiers, key))
    }

    /// All its shortcuts.
    pub fn shortcuts(self) -> impl Iterator<Item = KeyboardShortcut> {
        self.shortcut().into_iter().chain(self.other_shortcut())
    }

    /// The command whose shortcut was pressed. Plain keys do nothing while somebody types.
    pub fn pressed(context: &egui::Context) -> Option<Self> {
        let typing = context.egui_wants_keyboard_input();
        let of = |command: Self| command.shortcuts().map(move |shortcut| (command, shortcut));
        let mut shortcuts: Vec<(Self, KeyboardShortcut)> = Self::ALL.into_iter().flat_map(of).collect();
        // Of two shortcuts with the same key the one with more keys held is meant: a match does not mind Shift.
        shortcuts.sort_by_key(|(_, shortcut)| !shortcut.modifiers.shift);
        let active = |(_, shortcut): &(Self, KeyboardShortcut)| {
            (!typing || shortcut.modifiers.any()) && context.input_mut(|input| consume(input, shortcut))
        };
        shortcuts.into_iter().find(active).map(|(command, _)| command)
    }
}

/// `?` needs Shift on most keyboards, so a key without modifiers may come with it.
fn consume(input: &mut egui::InputState, shortcut: &KeyboardShortcut) -> bool {
    if shortcut.logical_key == Key::Questionmark {
        return [Modifiers::NONE, Modifiers::SHIFT].into_iter().any(|with| input.consume_key(with, Key::Questionmark));
    }
    input.consume_shortcut(shortcut)
}
