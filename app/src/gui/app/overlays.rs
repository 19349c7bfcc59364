//! What lies over everything else: the command palette and the sheet of shortcuts.

use egui::Key;

use super::App;
use crate::gui::command::Command;
use crate::gui::i18n::t;

impl App {
    /// The search for a command.
    pub(super) fn palette_ui(&mut self, context: &egui::Context) {
        let Some(mut query) = self.palette.take() else { return };
        let (mut chosen, mut open) = (None, true);
        let window = egui::Window::new(t("command.palette")).collapsible(false).resizable(false).open(&mut open);
        window.anchor(egui::Align2::CENTER_TOP, [0.0, 60.0]).show(context, |ui| {
            let edit = ui.add(egui::TextEdit::singleline(&mut query).hint_text(t("command.palette.tip")));
            // Asking for the focus again would select what is typed, and the next letter would replace it.
            if !edit.has_focus() {
                edit.request_focus();
            }
            let fits = |command: &Command| t(command.keys().0).to_lowercase().contains(&query.to_lowercase());
            for command in Command::ALL.into_iter().filter(fits).take(12) {
                let enter = chosen.is_none() && ui.input(|input| input.key_pressed(Key::Enter));
                if ui.selectable_label(false, t(command.keys().0)).clicked() || enter {
                    chosen = Some(command);
                }
            }
        });
        let escaped = context.input(|input| input.key_pressed(Key::Escape));
        if chosen.is_none() && open && !escaped {
            self.palette = Some(query);
        }
        if let Some(command) = chosen {
            self.run_command(command, context);
        }
    }

    /// The sheet of shortcuts.
    pub(super) fn help_ui(&mut self, context: &egui::Context) {
        egui::Window::new(t("command.help")).open(&mut self.help).resizable(false).show(context, |ui| {
            egui::Grid::new("shortcuts").striped(true).show(ui, |ui| {
                for command in Command::ALL {
                    let keys: Vec<String> =
                        command.shortcuts().map(|shortcut| context.format_shortcut(&shortcut)).collect();
                    if !keys.is_empty() {
                        ui.monospace(keys.join("   "));
                        ui.label(t(command.keys().0));
                        ui.end_row();
                    }
                }
                for (keys, text) in [
                    ("W S ↑ ↓", "help.zoom"),
                    ("A D ← →", "help.pan"),
                    ("F   F F", "help.focus"),
                    (". ,", "help.step"),
                    ("[ ]", "help.follow"),
                    ("P", "help.pin"),
                    ("U", "help.fold"),
                    ("M", "help.mark"),
                    ("R", "help.range"),
                ] {
                    ui.monospace(keys);
                    ui.label(t(text));
                    ui.end_row();
                }
            });
        });
    }
}
