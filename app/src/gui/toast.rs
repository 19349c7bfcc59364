//! Messages: errors stay until they are dismissed, notices go by themselves; the log keeps all of them.

use super::design_tokens::signals;
use super::i18n::{message, t};

/// A message and whether it is an error.
#[derive(Clone, Debug, PartialEq)]
pub struct Toast {
    /// What it says.
    pub text: String,
    /// Whether something went wrong.
    pub error: bool,
    /// Seconds of the interface's clock when it goes by itself; set when it is first drawn.
    until: Option<f64>,
}

/// The messages on screen, and those before.
#[derive(Debug, Default)]
pub struct Toasts {
    shown: Vec<Toast>,
    log: Vec<Toast>,
}

/// Seconds that a notice stays.
const STAY: f64 = 5.0;
/// Messages on screen at once; older ones stay in the log.
const SHOWN: usize = 3;
/// Messages that the log keeps.
const LOGGED: usize = 200;

impl Toasts {
    /// Shows an error.
    pub fn error(&mut self, text: impl Into<String>) {
        self.add(Toast { text: text.into(), error: true, until: None });
    }

    /// Shows a notice.
    pub fn notice(&mut self, text: impl Into<String>) {
        self.add(Toast { text: text.into(), error: false, until: None });
    }

    /// The newest message on screen.
    pub fn newest(&self) -> Option<&Toast> {
        self.shown.last()
    }

    /// All messages since the start, the newest last.
    pub fn log(&self) -> &[Toast] {
        &self.log
    }

    /// Forgets them.
    pub fn clear_log(&mut self) {
        self.log.clear();
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
        let now = context.input(|input| input.time);
        for toast in self.shown.iter_mut().filter(|toast| !toast.error) {
            let until = *toast.until.get_or_insert(now + STAY);
            context.request_repaint_after_secs((until - now).max(0.0) as f32);
        }
        self.shown.retain(|toast| toast.until.is_none_or(|until| now < until));
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
                ui.label(message(&toast.text));
            });
            ui.small_button("×").on_hover_text(t("toast.dismiss")).clicked()
        })
    });
    inner.inner.inner
}
