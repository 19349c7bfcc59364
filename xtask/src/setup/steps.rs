//! What is needed, as data: one entry a thing, with its reason, its check and ways to get it.

use super::{Scope, Step, Way, wasm_std};
use crate::{paths, process};
use std::{fs, path::Path, process::Command};

/// The target of the web build.
pub const WASM: &str = "wasm32-unknown-unknown";

/// In the order in which they are installed.
pub const STEPS: &[Step] = &[
    Step {
        what: "the Rust target wasm32-unknown-unknown",
        why: "the page runs the same program as WebAssembly",
        scopes: &[Scope::Run, Scope::Test, Scope::Web],
        present: has_wasm_std,
        install: &[
            Way::Command { line: "rustup target add wasm32-unknown-unknown", in_web_tests: false },
            Way::Work {
                says: "rustup could not add it; building it from Debian's rust-src package",
                work: wasm_std::build,
            },
        ],
    },
    Step {
        what: "the Vulkan loader",
        why: "wgpu reaches the GPU through libvulkan.so.1",
        scopes: &[Scope::Run, Scope::Test],
        present: has_vulkan_loader,
        install: &[Way::Apt(&["libvulkan1"])],
    },
    Step {
        what: "a Vulkan driver",
        why: "kernels need one; Mesa's also runs them in software where there is no GPU",
        scopes: &[Scope::Run, Scope::Test],
        present: has_vulkan_driver,
        install: &[Way::Apt(&["mesa-vulkan-drivers"])],
    },
    Step {
        what: "the keyboard library of the desktop window",
        why: "winit loads libxkbcommon-x11.so.0 when it opens a window under X11",
        scopes: &[Scope::Run],
        present: has_window_libraries,
        install: &[Way::Apt(&["libxkbcommon-x11-0"])],
    },
    Step {
        what: "headless Chromium",
        why: "the browser tests drive the real page with WebGPU",
        scopes: &[Scope::Test],
        present: has_chromium,
        install: &[Way::Apt(&["chromium"])],
    },
    Step {
        what: "the node modules playwright-core and binaryen (wasm-opt)",
        why: "the one drives the browser in tests and the other makes the page smaller",
        scopes: &[Scope::Run, Scope::Test, Scope::Web],
        present: has_node_modules,
        install: &[Way::Command { line: "npm ci --no-audit --no-fund", in_web_tests: true }],
    },
];

/// Whether the standard library of the web target is installed.
pub fn has_wasm_std() -> bool {
    let mut ask = Command::new("rustc");
    ask.args(["--print", "target-libdir", "--target", WASM]);
    let Ok(folder) = process::output(&mut ask) else { return false };
    names_in(Path::new(folder.trim())).iter().any(|name| name.starts_with("libstd-") && name.ends_with(".rlib"))
}

/// Whether any Vulkan driver is registered; true where graphics do not go through Vulkan.
pub fn has_vulkan_driver() -> bool {
    let folders = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
    let registered = |folder| names_in(Path::new(folder)).iter().any(|name| name.ends_with(".json"));
    !cfg!(target_os = "linux") || folders.into_iter().any(registered)
}

/// Whether wasm-opt is among the installed node modules.
pub fn has_wasm_opt() -> bool {
    paths::web_tests().join("node_modules/binaryen/bin/wasm-opt").is_file() && process::on_path("node")
}

fn has_vulkan_loader() -> bool {
    !cfg!(target_os = "linux") || has_library("libvulkan.so.1")
}

fn has_window_libraries() -> bool {
    let x11 = cfg!(target_os = "linux") && std::env::var_os("DISPLAY").is_some();
    !x11 || has_library("libxkbcommon-x11.so.0")
}

fn has_chromium() -> bool {
    let named = std::env::var_os("CHROMIUM").is_some_and(|path| Path::new(&path).is_file());
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    named || names.into_iter().any(process::on_path)
}

/// True when `npm ci` ran since the lock file last changed.
fn has_node_modules() -> bool {
    let changed = |path: &str| fs::metadata(paths::web_tests().join(path)).and_then(|m| m.modified());
    match (changed("package-lock.json"), changed("node_modules/.package-lock.json")) {
        (Ok(wanted), Ok(installed)) => installed >= wanted,
        _ => false,
    }
}

/// Asks the loader's cache, and looks into the usual folders where there is none.
fn has_library(name: &str) -> bool {
    let cache = process::output(Command::new("/sbin/ldconfig").arg("-p")).unwrap_or_default();
    let folders = ["/usr/lib", "/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];
    cache.contains(name) || folders.iter().any(|folder| Path::new(folder).join(name).exists())
}

/// The names of the files in a folder; none when there is no such folder.
fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
