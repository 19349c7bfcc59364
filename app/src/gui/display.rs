//! The device that draws the app: what it reports, and that it may be lost while the app goes on.

use std::sync::{Arc, Mutex, OnceLock};

use eframe::wgpu;

/// What the device that draws has reported. Without this wgpu would end the program.
#[derive(Clone, Debug, Default)]
pub struct Display {
    lost: Arc<OnceLock<String>>,
    errors: Arc<Mutex<Vec<String>>>,
}

impl Display {
    /// Listens from now on to the device that draws.
    pub fn watch(&self, context: &eframe::CreationContext<'_>) {
        let Some(state) = &context.wgpu_render_state else { return };
        let (lost, errors, repaint) = (Arc::clone(&self.lost), Arc::clone(&self.errors), context.egui_ctx.clone());
        state.device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            if let Ok(mut errors) = errors.lock() {
                errors.push(error.to_string());
            }
        }));
        state.device.set_device_lost_callback(move |reason, message| {
            // A window that is closed destroys its device.
            if cfg!(not(target_arch = "wasm32")) && reason == wgpu::DeviceLostReason::Destroyed {
                return;
            }
            let said = if message.is_empty() { format!("{reason:?}") } else { message };
            if lost.set(said.clone()).is_ok() {
                #[cfg(target_arch = "wasm32")]
                super::web::tell_display_lost(&said);
                repaint.request_repaint();
            }
        });
    }

    /// Why nothing can be drawn any more, if so.
    pub fn lost(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }

    /// The first thing that went wrong with drawing since the last call; what follows from it is left out.
    pub fn take_error(&self) -> Option<String> {
        let errors = self.errors.lock().map(|mut errors| std::mem::take(&mut *errors)).unwrap_or_default();
        errors.into_iter().next().filter(|_| self.lost().is_none())
    }
}
