//! The device that draws the app: what it reports, and that it may be lost while the app goes on.

use std::sync::{Arc, Mutex, OnceLock};

use eframe::wgpu;

/// Errors that are told, at most: each once.
const TOLD: usize = 8;

/// What the device that draws has reported. Without this wgpu would end the program.
#[derive(Clone, Debug, Default)]
pub struct Display {
    lost: Arc<OnceLock<String>>,
    errors: Arc<Mutex<Errors>>,
}

/// What went wrong with drawing: each in one text, and how many of them were told.
#[derive(Debug, Default)]
struct Errors {
    all: Vec<String>,
    told: usize,
}

impl Errors {
    /// Whether it is another.
    fn add(&mut self, text: String) -> bool {
        let is_new = self.all.len() < TOLD && !self.all.contains(&text);
        if is_new {
            self.all.push(text);
        }
        is_new
    }

    fn next(&mut self) -> Option<String> {
        let next = self.all.get(self.told).cloned();
        self.told += usize::from(next.is_some());
        next
    }
}

impl Display {
    /// Listens from now on to the device that draws.
    pub fn watch(&self, context: &eframe::CreationContext<'_>) {
        let Some(state) = &context.wgpu_render_state else { return };
        let (errors, repaint) = (Arc::clone(&self.errors), context.egui_ctx.clone());
        state.device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let is_new = errors.lock().is_ok_and(|mut errors| errors.add(error.to_string()));
            if is_new {
                repaint.request_repaint();
            }
        }));
        let (lost, repaint) = (Arc::clone(&self.lost), context.egui_ctx.clone());
        state.device.set_device_lost_callback(move |reason, message| {
            // A window that is closed destroys its device.
            if cfg!(not(target_arch = "wasm32")) && reason == wgpu::DeviceLostReason::Destroyed {
                return;
            }
            let said = if message.is_empty() { format!("{reason:?}") } else { message };
            #[cfg(target_arch = "wasm32")]
            super::web::tell_display_lost(&said);
            lost.set(said).ok();
            repaint.request_repaint();
        });
    }

    /// Why nothing can be drawn any more, if so.
    pub fn lost(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }

    /// The next thing that went wrong with drawing; what follows from a loss is left out.
    pub fn take_error(&self) -> Option<String> {
        let next = || self.errors.lock().ok().and_then(|mut errors| errors.next());
        if self.lost().is_some() { None } else { next() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_wrong_in_every_frame_is_told_once() {
        let display = Display::default();
        let add = |text: &str| display.errors.lock().map(|mut errors| errors.add(text.to_owned())).unwrap_or(false);
        assert!(add("a") && !add("a") && add("b"));
        assert_eq!([display.take_error(), display.take_error()], [Some("a".to_owned()), Some("b".to_owned())]);
        assert!(!add("a"), "it was told");
        assert_eq!(display.take_error(), None);
        assert!((0..2 * TOLD).filter(|number| add(&number.to_string())).count() < TOLD);
        display.lost.set("gone".to_owned()).ok();
        assert_eq!((display.lost(), display.take_error()), (Some("gone"), None));
    }
}
