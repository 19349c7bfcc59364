//! Reads Cargo.lock: some packages must be there once, and some in the same version.

use std::path::Path;

/// The versions of a package in the workspace's lock file.
fn versions(package: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    let lock = std::fs::read_to_string(path).unwrap_or_default();
    let name = format!("name = \"{package}\"\n");
    let blocks = lock.split("[[package]]").filter(|block| block.contains(&name));
    blocks.filter_map(|block| block.split("version = \"").nth(1)?.split('"').next()).map(str::to_owned).collect()
}

#[test]
fn there_is_one_wgpu_and_one_egui() {
    for package in ["wgpu", "wgpu-core", "naga", "egui", "eframe", "wasm-bindgen"] {
        let found = versions(package);
        assert_eq!(found.len(), 1, "expected one version of {package}, found {found:?}");
    }
}

#[test]
fn the_binder_has_the_version_of_the_library() {
    assert_eq!(versions("wasm-bindgen"), versions("wasm-bindgen-cli-support"));
}
