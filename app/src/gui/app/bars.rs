//! The bars: menus above, what is on screen below.

use egui::Ui;

use super::App;
use crate::gui::command::{Command, Menu};
use crate::gui::i18n::{t, t_with};
use crate::gui::{design_tokens, widgets};

impl App {
    pub(super) fn top_bar_ui(&mut self, ui: &mut Ui) {
        ui.horizontal(|ui| {
            ui.strong("Shardlab");
            for menu in Menu::ALL {
                ui.menu_button(t(menu.key()), |ui| {
                    for command in Command::ALL.into_iter().filter(|command| command.menu() == menu) {
                        self.menu_item_ui(ui, command);
                        if command == Command::OpenFile {
                            self.recent_ui(ui);
                        }
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

    /// Files that were opened last.
    fn recent_ui(&mut self, ui: &mut Ui) {
        let mut chosen = None;
        let files = &mut self.settings.recent;
        ui.add_enabled_ui(!files.is_empty(), |ui| {
            ui.menu_button(t("menu.recent"), |ui| {
                for file in files.iter() {
                    let button = ui.button(&file.name);
                    let button = button.on_hover_text(file.path.as_deref().unwrap_or(t("menu.recent.here")));
                    if button.clicked() {
                        chosen = Some(file.clone());
                    }
                }
                ui.separator();
                if ui.button(t("menu.recent.clear")).clicked() {
                    files.clear();
                }
            });
        });
        if let Some(file) = chosen {
            ui.close();
            self.opener.again(ui.ctx(), file);
        }
    }

    /// Where there is no GPU: what that means, before anybody wonders. It goes when it has been read.
    pub(super) fn fallback_ui(&mut self, ui: &mut Ui) {
        let Some(note) = self.views.execute.fallback().filter(|_| !self.banner_read) else { return };
        let color = design_tokens::signals(ui.visuals()).warn;
        let dismissed = ui.horizontal_wrapped(|ui| {
            ui.colored_label(color, t("execute.fallback")).on_hover_text(note);
            ui.small_button("×").on_hover_text(t("toast.dismiss")).clicked()
        });
        self.banner_read = dismissed.inner;
    }

    pub(super) fn menu_item_ui(&mut self, ui: &mut Ui, command: Command) {
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

    pub(super) fn status_bar_ui(&mut self, ui: &mut Ui) {
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
