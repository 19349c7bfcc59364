//! Looking for spans by name.

use egui::{Key, Ui};
use shardlab_engine::trace::Trace;

use super::{Drawn, Identity};
use crate::gui::i18n::{t, t_with};
use crate::gui::inspector::Selection;

/// What is looked for, and what was found.
#[derive(Debug, Default)]
pub(super) struct Find {
    text: String,
    /// Whether the field is to be typed into in the next frame.
    focus: bool,
    /// Of which trace, and for which text this is found.
    of: Option<(Identity, String)>,
    /// By label.
    matches: Vec<bool>,
    /// Spans in the order of time.
    found: Vec<u32>,
}

impl Find {
    /// Types into the field from the next frame on.
    pub(super) fn focus(&mut self) {
        self.focus = true;
    }

    /// Whether something is looked for.
    pub(super) fn is_active(&self) -> bool {
        !self.text.is_empty()
    }

    /// Whether a span is what is looked for.
    pub(super) fn has(&self, trace: &Trace, span: u32) -> bool {
        let label = trace.spans[span as usize].label.0 as usize;
        self.matches.get(label).copied().unwrap_or(false)
    }

    fn update(&mut self, run: Drawn<'_>) {
        let (trace, of) = (run.trace, (run.identity(), self.text.clone()));
        if self.of.as_ref() == Some(&of) {
            return;
        }
        let wanted = self.text.to_lowercase();
        let names = trace.labels.iter().map(|label| label.name.to_lowercase().contains(&wanted));
        self.matches = if wanted.is_empty() { Vec::new() } else { names.collect() };
        let count = u32::try_from(trace.spans.len()).unwrap_or(u32::MAX);
        self.found =
            if wanted.is_empty() { Vec::new() } else { (0..count).filter(|&span| self.has(trace, span)).collect() };
        self.found.sort_by_key(|&span| (trace.spans[span as usize].start, span));
        self.of = Some(of);
    }

    /// Draws the field; returns a span to go to. Enter goes to the next one, with Shift to the one before.
    pub(super) fn ui(&mut self, ui: &mut Ui, run: Drawn<'_>, selection: &Selection) -> Option<u32> {
        self.update(run);
        let field = egui::TextEdit::singleline(&mut self.text).hint_text(t("timeline.find")).desired_width(130.0);
        let response = ui.add(field).on_hover_text(t("timeline.find.tip"));
        if std::mem::take(&mut self.focus) {
            response.request_focus();
        }
        if response.changed() {
            self.update(run);
        }
        if !self.is_active() {
            return None;
        }
        let place = match *selection {
            Selection::Span(span) => self.found.iter().position(|&found| found == span),
            _ => None,
        };
        let shown = place.map_or_else(|| "–".to_owned(), |place| (place + 1).to_string());
        ui.weak(format!("{shown} / {}", self.found.len())).on_hover_text(t_with("timeline.found", self.found.len()));
        let entered = response.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
        let back = ui.input(|input| input.modifiers.shift);
        let previous = ui.small_button("‹").on_hover_text(t("timeline.previous")).clicked() || (entered && back);
        let next = ui.small_button("›").on_hover_text(t("timeline.next")).clicked() || (entered && !back);
        if entered {
            response.request_focus();
        }
        if self.found.is_empty() || !(previous || next) {
            return None;
        }
        let count = self.found.len();
        let to = match place {
            Some(place) if previous => (place + count - 1) % count,
            Some(place) => (place + 1) % count,
            None => 0,
        };
        Some(self.found[to])
    }
}
