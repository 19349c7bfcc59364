//! The front end, driven without a window: what is on screen, and what happens to what a user does.
//!
//! Pictures are kept in `tests/snapshots`; `UPDATE_SNAPSHOTS=1` draws them anew.

#![cfg(feature = "gui")]

use egui::{Vec2, accesskit::Role};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use shardlab::gui::{App, Language, Tab, set_language};

/// The language is one for the whole process, so the tests take turns.
static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn app(language: Language) -> (std::sync::MutexGuard<'static, ()>, Harness<'static, App>) {
    let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let size = Vec2::new(1440.0, 860.0);
    let mut harness = Harness::builder().with_size(size).wgpu().build_eframe(|context| App::new(context));
    set_language(language);
    harness.run_ok();
    (turn, harness)
}

#[test]
fn every_view_looks_as_kept() {
    let (_turn, mut harness) = app(Language::English);
    for tab in Tab::ALL {
        harness.state_mut().show_tab(tab);
        harness.run_ok();
        harness.snapshot(tab.key());
    }
}

#[test]
fn the_interface_is_there_in_chinese() {
    let (_turn, mut harness) = app(Language::Chinese);
    harness.snapshot("chinese");
    set_language(Language::English);
}
