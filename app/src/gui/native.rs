//! The desktop window.

use super::App;

/// Opens the window and runs until it is closed.
///
/// # Errors
/// When there is no display, or no graphics device can draw.
pub fn run_window() -> eframe::Result {
    let viewport = egui::ViewportBuilder::default().with_title("Shardlab").with_inner_size([1280.0, 800.0]);
    let options = eframe::NativeOptions { viewport, ..eframe::NativeOptions::default() };
    eframe::run_native("shardlab", options, Box::new(|context| Ok(Box::new(App::new(context)))))
}
