//! The desktop window.

use std::process::Command;
use std::time::{Duration, Instant};

use super::App;
use super::display::Display;

/// A window that stands shorter than this before its device is lost is not opened again: the next would be lost, too.
const WORTH_ANOTHER: Duration = Duration::from_secs(10);

/// Opens the window and runs until it is closed. Where the device that draws is lost, what is open is kept, and another
/// window opens with it.
///
/// # Errors
/// When there is no display, or no graphics device can draw.
pub fn run_window() -> eframe::Result {
    let (opened, display) = (Instant::now(), Display::default());
    let viewport = egui::ViewportBuilder::default().with_title("Shardlab").with_inner_size([1280.0, 800.0]);
    let options = eframe::NativeOptions { viewport, ..eframe::NativeOptions::default() };
    let shown = display.clone();
    eframe::run_native(
        "shardlab",
        options,
        Box::new(|context| Ok(Box::new(App::new(context).shown_on(context, shown)))),
    )?;
    match display.lost() {
        Some(why) => open_again(why, opened.elapsed()),
        None => Ok(()),
    }
}

fn open_again(why: &str, open: Duration) -> eframe::Result {
    let lost = format!("the device that draws was lost: {why}");
    if open < WORTH_ANOTHER {
        return Err(eframe::Error::AppCreation(lost.into()));
    }
    eprintln!("shardlab: {lost}; the window opens again with what was open");
    let started =
        std::env::current_exe().and_then(|program| Command::new(program).args(std::env::args_os().skip(1)).spawn());
    started.map(|_| ()).map_err(|error| eframe::Error::AppCreation(format!("{lost}; {error}").into()))
}
