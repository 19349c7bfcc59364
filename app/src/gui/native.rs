//! The desktop window.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use super::App;
use super::display::Display;

/// How often a window has been opened in the place of one whose device was lost.
const AGAIN: &str = "SHARDLAB_WINDOW_AGAIN";

/// So often at most: where devices are lost again and again, no other window helps.
const MOST: u32 = 3;

/// Opens the window and runs until it is closed. Where the device that draws is lost, what is open is kept, and another
/// window opens with it.
///
/// # Errors
/// When there is no display, or no graphics device can draw.
pub fn run_window() -> eframe::Result {
    let display = Display::default();
    let shown = display.clone();
    let run = || {
        let viewport = egui::ViewportBuilder::default().with_title("Shardlab").with_inner_size([1280.0, 800.0]);
        let options = eframe::NativeOptions { viewport, ..eframe::NativeOptions::default() };
        let make: eframe::AppCreator<'_> = Box::new(|context| Ok(Box::new(App::new(context).shown_on(context, shown))));
        eframe::run_native("shardlab", options, make)
    };
    // What paints a window panics where its device is lost in the middle of a frame.
    match (catch_unwind(AssertUnwindSafe(run)), display.lost()) {
        (_, Some(why)) => open_again(why),
        (Ok(ended), None) => ended,
        (Err(panic), None) => std::panic::resume_unwind(panic),
    }
}

/// There is no window to say it in.
#[expect(clippy::print_stderr, reason = "nothing can be drawn")]
fn say(text: &str) {
    eprintln!("shardlab: {text}");
}

/// Opens a window in the place of this one, and ends this one before it is painted, which would panic.
#[expect(clippy::disallowed_methods, reason = "whatever runs on would paint")]
pub fn leave_for_another(why: &str) -> ! {
    let opened = open_again(why);
    if let Err(error) = &opened {
        say(&error.to_string());
    }
    std::process::exit(if opened.is_ok() { 0 } else { 2 })
}

/// Opens a window in the place of this one, with what was kept.
///
/// # Errors
/// When that cannot be done, or has been done too often.
fn open_again(why: &str) -> eframe::Result {
    let lost = format!("the device that draws was lost: {why}");
    let failed = |text: String| eframe::Error::AppCreation(text.into());
    let before = std::env::var(AGAIN).ok().and_then(|count| count.parse().ok()).unwrap_or(0_u32);
    if before >= MOST {
        return Err(failed(lost));
    }
    say(&format!("{lost}; the window opens again with what was open"));
    let mut again = Command::new(std::env::current_exe().map_err(|error| failed(format!("{lost}; {error}")))?);
    again.args(std::env::args_os().skip(1)).env(AGAIN, (before + 1).to_string());
    again.spawn().map(|_| ()).map_err(|error| failed(format!("{lost}; {error}")))
}
