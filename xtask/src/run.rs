//! `cargo xtask run`: from a fresh machine to the running program.

use crate::{paths, process, serve, setup, web};
use anyhow::Result;
use std::process::Command;

/// How long to stay when there is no window to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// Serve the page until Ctrl-C.
    UntilStopped,
    /// Check that the page answers, then return.
    Once,
}

/// Sets up, builds, and opens the window or, without a display, prints and serves.
///
/// # Errors
/// When a build fails, the program fails, or the page does not answer.
pub fn run(stay: Stay) -> Result<()> {
    setup::make_sure(&[setup::Scope::Run]);
    process::run(process::cargo().args(["build", "--release", "-p", "shardlab"]))?;
    let page = setup::has_wasm_std();
    if page {
        web::build()?;
    } else {
        println!("run: left out the page, since the target wasm32-unknown-unknown is missing");
    }
    if stay == Stay::UntilStopped && has_display() {
        return open_window(page);
    }
    println!("run: no display is used, so here is the default scenario as a report\n");
    process::run(Command::new(paths::program()).arg("simulate"))?;
    println!();
    if page { offer_page(stay) } else { Ok(()) }
}

fn open_window(page: bool) -> Result<()> {
    if page {
        println!("run: the same app for the browser is built too; to serve it: cargo xtask serve");
    }
    process::run(Command::new(paths::program()).arg("gui"))
}

fn offer_page(stay: Stay) -> Result<()> {
    if stay == Stay::UntilStopped {
        return serve::serve_dist(None);
    }
    let address = serve::start(None)?;
    serve::check(address)?;
    println!("run: the page answered at http://{address}/");
    Ok(())
}

/// Whether a window can be opened: a display server on Linux, always on macOS and Windows.
fn has_display() -> bool {
    let named = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !cfg!(target_os = "linux") || named("DISPLAY") || named("WAYLAND_DISPLAY")
}
