//! The page: compile to wasm, bind, optimise, copy, and say how big it became.

use crate::{paths, process, setup, web_opt};
use anyhow::{Context as _, Result, bail};
use flate2::{Compression, write::GzEncoder};
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};
use wasm_bindgen_cli_support::Bindgen;

/// What the page may weigh when a server compresses it: 4 MiB.
const GOAL_BYTES: usize = 4 << 20;
/// The files of the page whose sizes are reported.
const FILES: [&str; 3] = ["shardlab_bg.wasm", "shardlab.js", "index.html"];

/// Builds the page into `dist/`.
///
/// # Errors
/// When the target is missing, or the compiler, the binder or the optimiser fails.
pub fn build() -> Result<()> {
    if !setup::has_wasm_std() {
        bail!("expected the Rust target wasm32-unknown-unknown; run: cargo xtask setup web");
    }
    let wasm = compile()?;
    bind(&wasm)?;
    web_opt::optimise(&paths::dist().join("shardlab_bg.wasm"))?;
    let page = paths::root().join("index.html");
    fs::copy(&page, paths::dist().join("index.html"))
        .with_context(|| format!("expected to copy {} into dist/", page.display()))?;
    report_sizes(&paths::dist())
}

fn compile() -> Result<PathBuf> {
    let mut cargo = process::cargo();
    cargo.args(["build", "-p", "shardlab", "--lib", "--profile", "web"]);
    cargo.args(["--target", "wasm32-unknown-unknown"]);
    cargo.args(["--no-default-features", "--features", "gui"]);
    process::run(&mut cargo)?;
    Ok(paths::target().join("wasm32-unknown-unknown/web/shardlab.wasm"))
}

/// Writes `dist/shardlab.js` and `dist/shardlab_bg.wasm` in place of what was there.
fn bind(wasm: &Path) -> Result<()> {
    let dist = paths::dist();
    if dist.exists() {
        fs::remove_dir_all(&dist).with_context(|| format!("expected to be allowed to replace {}", dist.display()))?;
    }
    println!("web: binding {} into {}", wasm.display(), dist.display());
    let mut bindgen = Bindgen::new();
    bindgen.input_path(wasm).out_name("shardlab").typescript(false);
    bindgen.remove_name_section(true).remove_producers_section(true);
    bindgen
        .web(true)?
        .generate(&dist)
        .context("wasm-bindgen could not bind the module; its version must be the one in Cargo.lock")
}

/// Prints raw and compressed sizes, and compares the sum with the goal.
fn report_sizes(dist: &Path) -> Result<()> {
    let (mut total, mut gzipped) = (0, 0);
    for name in FILES {
        let bytes = fs::read(dist.join(name)).with_context(|| format!("expected dist/{name}"))?;
        let (small, packed) = (brotli_of(&bytes)?, gzip_len(&bytes)?);
        fs::write(dist.join(format!("{name}.br")), &small)
            .with_context(|| format!("expected to write dist/{name}.br"))?;
        (total, gzipped) = (total + small.len(), gzipped + packed);
        let (raw, small, packed) = (mib(bytes.len()), mib(small.len()), mib(packed));
        println!("web: {name:<17} {raw:>9} raw, {packed:>9} gzip, {small:>9} brotli");
    }
    println!("web: {}; {} by gzip, for servers that know no other way", verdict(total), mib(gzipped));
    Ok(())
}

/// Compressed as far as Brotli can, for servers that send files as they lie there (`NAME.br`).
fn brotli_of(bytes: &[u8]) -> Result<Vec<u8>> {
    let parameters = brotli::enc::BrotliEncoderParams { quality: 11, lgwin: 24, ..Default::default() };
    let mut packed = Vec::new();
    brotli::BrotliCompress(&mut &bytes[..], &mut packed, &parameters)?;
    Ok(packed)
}

fn verdict(total: usize) -> String {
    let share = total * 100 / GOAL_BYTES;
    let (all, goal) = (mib(total), mib(GOAL_BYTES));
    if total <= GOAL_BYTES {
        format!("{all} compressed in all, {share} % of the goal of {goal}")
    } else {
        format!("warning: {all} compressed in all, over the goal of {goal} ({share} %)")
    }
}

fn gzip_len(bytes: &[u8]) -> Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.len())
}

/// A size in MiB with two decimals.
fn mib(bytes: usize) -> String {
    let hundredths = (bytes * 100 + (1 << 19)) >> 20;
    format!("{}.{:02} MiB", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::{GOAL_BYTES, mib, verdict};

    #[test]
    fn sizes_are_written_in_mib() {
        assert_eq!(mib(3 << 20), "3.00 MiB");
        assert_eq!(mib((1 << 20) + (1 << 19)), "1.50 MiB");
    }

    #[test]
    fn the_goal_is_a_limit() {
        assert!(verdict(GOAL_BYTES).contains("100 % of the goal"));
        assert!(verdict(GOAL_BYTES + 1).starts_with("warning"));
    }
}
