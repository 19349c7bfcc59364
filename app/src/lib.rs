//! The app: hosts of the engine. The window and the page are one code in [`gui`]; the command line is the binary.

#[cfg(feature = "gui")]
pub mod gui;

#[cfg(all(feature = "gui", not(target_arch = "wasm32")))]
pub use gui::native::run_window;
#[cfg(all(feature = "gui", target_arch = "wasm32"))]
pub use gui::start;
