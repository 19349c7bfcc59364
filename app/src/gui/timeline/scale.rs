//! From time to pixels.

use egui::Rect;

/// From nanoseconds to pixels.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    pub rect: Rect,
    pub from: f64,
    pub to: f64,
    /// Height of a row.
    pub height: f32,
}

impl Scale {
    pub fn x(&self, at: f64) -> f32 {
        self.rect.left() + ((at - self.from) / (self.to - self.from)) as f32 * self.rect.width()
    }

    pub fn time(&self, x: f32) -> f64 {
        self.from + f64::from((x - self.rect.left()) / self.rect.width()) * (self.to - self.from)
    }

    pub fn per_pixel(&self) -> f64 {
        (self.to - self.from) / f64::from(self.rect.width().max(1.0))
    }
}
