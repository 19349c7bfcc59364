//! Messages that stay until they are dismissed, and the log of all of them.

use super::design_tokens::signals;
use super::i18n::t;

/// A message and whether it is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toast {
    /// What it says.
    pub text: String,
    /// Whether something went wrong.
    pub error: bool,
}

/// The messages on screen, and those before.
#[derive(Debug, Default)]
pub struct Toasts {
    shown: Vec<Toast>,
    log: Vec<Toast>,
}

/// Messages on screen at once; older ones stay in the log.
const SHOWN: usize = 3;
/// Messages that the log keeps.
const LOGGED: usize = 200;

impl Toasts {
    /// Shows an error.
    pub fn error(&mut self, text: impl Into<String>) {
        self.add(Toast { text: text.into(), error: true });
    }

    /// Shows a notice.
    pub fn notice(&mut self, text: impl Into<String>) {
        self.add(Toast { text: text.into(), error: false });
    }

    /// The newest message on screen.
    pub fn newest(&self) -> Option<&Toast> {
        self.shown.last()
    }

    fn add(&mut self, toast: Toast) {
        self.log.push(toast.clone());
        let surplus = self.log.len().saturating_sub(LOGGED);
        self.log.drain(..surplus);
        self.shown.retain(|other| other.text != toast.text);
        self.shown.push(toast);
        let surplus = self.shown.len().saturating_sub(SHOWN);
        self.shown.drain(..surplus);
    }

    /// Draws the messages in the lower right corner.
    pub fn ui(&mut self, context: &egui::Context) {
        let mut dismissed = None;
        let area = egui::Area::new(egui::Id::unique("toasts")).order(egui::Order::Foreground);
        area.anchor(egui::Align2::RIGHT_BOTTOM, [-12.0, -34.0]).show(context, |ui| {
            for (index, toast) in self.shown.iter().enumerate() {
                if toast_ui(ui, toast) {
                    dismissed = Some(index);
                }
            }
        });
        if let Some(index) = dismissed {
            self.shown.remove(index);
        }
    }
}

/// Draws a message; true when it is dismissed.
fn toast_ui(ui: &mut egui::Ui, toast: &Toast) -> bool {
    let color = if toast.error { signals(ui.visuals()).bad } else { signals(ui.visuals()).good };
    let frame = egui::Frame::popup(ui.style()).stroke(egui::Stroke::new(1.0, color));
    let inner = frame.show(ui, |ui| {
        ui.set_max_width(440.0);
        ui.horizontal_top(|ui| {
            ui.colored_label(color, if toast.error { "⚠" } else { "✓" });
            ui.vertical(|ui| {
                ui.set_max_width(380.0);
                ui.label(&toast.text);
            });
            ui.small_button("×").on_hover_text(t("toast.dismiss")).clicked()
        })
    });
    inner.inner.inner
}
