//! Where things lie in the repository and in the build folder.

use std::path::{Path, PathBuf};

/// The repository root.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The folder of cargo's build results: `CARGO_TARGET_DIR`, or `target/`.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// The folder of the built page.
pub fn dist() -> PathBuf {
    root().join("dist")
}

/// The browser tests, whose `node_modules` also hold the wasm optimiser.
pub fn web_tests() -> PathBuf {
    root().join("web-tests")
}

/// The release build of the program.
pub fn program() -> PathBuf {
    let name = format!("shardlab{}", std::env::consts::EXE_SUFFIX);
    target().join("release").join(name)
}
