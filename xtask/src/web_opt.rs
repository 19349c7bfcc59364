//! wasm-opt, from the binaryen package of the browser tests, with a cache.
//!
//! It runs for minutes, so its result is kept under a name made of the hash of its input and
//! options. A wasm-opt of the system is never used: old ones (108) end well and leave a module
//! that no browser starts. `--all-features` is wrong too, since it writes what browsers refuse.

use crate::{paths, process, setup};
use anyhow::{Context as _, Result};
use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::Command,
};

/// Optimise for speed with the features that every browser with WebGPU has.
const OPTIONS: [&str; 9] = [
    "-O2",
    "--enable-simd",
    "--enable-reference-types",
    "--enable-bulk-memory",
    "--enable-bulk-memory-opt",
    "--enable-nontrapping-float-to-int",
    "--enable-multivalue",
    "--enable-sign-ext",
    "--enable-mutable-globals",
];

/// Optimises the module in place; leaves it as it is where there is no wasm-opt.
///
/// # Errors
/// When the files cannot be read or written, or wasm-opt fails.
pub fn optimise(module: &Path) -> Result<()> {
    if !setup::has_wasm_opt() {
        println!(
            "web: left out wasm-opt, so the page is larger than it could be; \
             with Node.js and npm installed, run: cargo xtask setup web"
        );
        return Ok(());
    }
    let kept = kept_path(&fs::read(module).context("expected the bound wasm module")?)?;
    if kept.is_file() {
        println!("web: the module is unchanged, using the optimised one of the last build");
    } else {
        println!("web: optimising with wasm-opt (some minutes)");
        fill(module, &kept)?;
    }
    fs::copy(&kept, module)?;
    Ok(())
}

/// Where the result for this input is kept.
fn kept_path(input: &[u8]) -> Result<PathBuf> {
    let lock = fs::read(paths::web_tests().join("package-lock.json"))?;
    let mut hasher = DefaultHasher::new();
    (input, &OPTIONS, lock).hash(&mut hasher);
    let name = format!("{:016x}.wasm", hasher.finish());
    Ok(paths::target().join("wasm-opt").join(name))
}

/// Runs wasm-opt into `kept`; earlier results are dropped.
fn fill(module: &Path, kept: &Path) -> Result<()> {
    let folder = kept.parent().context("expected the cache in a folder")?;
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let part = kept.with_extension("part");
    let mut command = Command::new("node");
    command.arg(paths::web_tests().join("node_modules/binaryen/bin/wasm-opt"));
    command.args(OPTIONS).arg(module).arg("-o").arg(&part);
    process::run(&mut command)?;
    fs::rename(&part, kept)?;
    Ok(())
}
