//! The front end: left the scenario, in the centre the views, right what is selected.
//!
//! * `session` is the document: the scenario as edited, and the last good run of it,
//! * `job` trains or compares in the background,
//! * `command` lists every action once, for menu, palette, shortcuts and the help sheet,
//! * the other modules draw; functions that draw end in `_ui` and hold no logic.
//!
//! **Invariant:** no string that a user sees stands in code (see `i18n`), no colour outside `design_tokens`.

mod app;
mod bench;
mod change;
mod command;
mod compare;
mod data;
mod design_tokens;
mod display;
mod execute;
mod export;
#[cfg(not(target_arch = "wasm32"))]
mod feed;
mod fonts;
mod form;
mod found_once;
mod graph_view;
mod i18n;
mod inspector;
mod job;
mod kept;
mod logs;
mod memory;
mod moving;
#[cfg(not(target_arch = "wasm32"))]
pub mod native;
mod network;
mod open_file;
mod picture;
mod pinned;
mod placement;
mod pool;
mod recent;
mod roofline;
mod search;
mod session;
mod storage;
mod summary;
mod timeline;
mod toast;
mod traces;
#[cfg(target_arch = "wasm32")]
mod web;
mod widgets;

pub use app::{App, Remote, Tab};
pub use command::Command;
pub use i18n::{Language, set_language};
#[cfg(target_arch = "wasm32")]
pub use web::start;
