//! The web target's standard library where rustup cannot fetch it: built from Debian's sources.
//!
//! Debian packages the sources of many Rust releases as `rust-src`, in the backports of a newer
//! release too. The package of exactly the installed version is unpacked into the sysroot, any
//! crate is built once with `-Z build-std`, and the libraries that come out are put where rustup
//! would have put its own. `embed-bitcode` keeps them usable for link-time optimisation.
//!
//! **Invariant:** runs only while the target has no library at all, since two in one sysroot
//! are an error (E0464).

use super::{debian, steps::WASM};
use crate::{paths, process};
use anyhow::{Context as _, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Suites that may hold `rust-src` of a version newer than the host's own release.
const SUITES: [&str; 3] = ["bookworm-backports", "trixie-backports", "forky-backports"];

/// Fetches the sources, builds the libraries and puts them into the sysroot.
///
/// # Errors
/// When there is no apt, no package of the right version, or the build fails.
pub fn build() -> Result<()> {
    if !process::on_path("apt-get") || !process::on_path("dpkg-deb") {
        bail!("there is no apt here; install the target by hand: rustup target add {WASM}");
    }
    let version = rustc_version()?;
    let work = paths::target().join("wasm-std");
    fs::create_dir_all(&work)?;
    let package = fetch(&work, &version)?;
    unpack(&package, &version)?;
    let libraries = build_std(&work)?;
    install(&libraries)?;
    fs::remove_dir_all(&work).context("the libraries are installed; only the work folder is left over")
}

/// The number alone, as in `1.95.0`.
fn rustc_version() -> Result<String> {
    let line = process::output(Command::new("rustc").arg("--version"))?;
    let number = line.split_whitespace().nth(1).context("`rustc --version` gave no version")?;
    Ok(number.to_owned())
}

/// Downloads `rust-src` of this version with a private set of package lists.
fn fetch(work: &Path, version: &str) -> Result<PathBuf> {
    let (host, options) = debian::host_source()?;
    for suite in SUITES {
        let lists = work.join("apt").join(suite);
        fs::create_dir_all(lists.join("lists/partial"))?;
        fs::create_dir_all(lists.join("cache/archives/partial"))?;
        fs::write(lists.join("sources.list"), format!("deb {options}{host} {suite} main\n"))?;
        if let Some(package) = fetch_from(&lists, work, version) {
            return Ok(package);
        }
    }
    bail!(
        "expected `rust-src` {version} in one of {}, found none; where rustup can download, \
         run: rustup target add {WASM}",
        SUITES.join(", ")
    )
}

/// Tries one suite; `None` when it lacks the version or cannot be reached.
fn fetch_from(lists: &Path, work: &Path, version: &str) -> Option<PathBuf> {
    process::run(apt("apt-get", lists).arg("update")).ok()?;
    let known = process::output(apt("apt-cache", lists).args(["madison", "rust-src"])).ok()?;
    let full = known
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .map(str::trim)
        .find(|found| found.starts_with(&format!("{version}+")))?;
    let mut download = apt("apt-get", lists);
    download.args(["download", &format!("rust-src={full}")]).current_dir(work);
    process::run(&mut download).ok()?;
    let prefix = format!("rust-src_{version}");
    let files = fs::read_dir(work).ok()?.flatten().map(|entry| entry.path());
    files.into_iter().find(|path| file_name(path).starts_with(&prefix))
}

/// An apt program that sees only the given folder's source, and leaves the system's lists alone.
fn apt(program: &str, lists: &Path) -> Command {
    let mut command = Command::new(program);
    for (key, value) in [
        ("Dir::Etc::SourceList", lists.join("sources.list")),
        ("Dir::Etc::SourceParts", lists.join("none")),
        ("Dir::State::Lists", lists.join("lists")),
        ("Dir::Cache", lists.join("cache")),
    ] {
        command.arg("-o").arg(format!("{key}={}", value.display()));
    }
    command.args(["-o", "APT::Sandbox::User=root"]);
    command
}

/// Puts the package's `library/` where `-Z build-std` looks for it.
fn unpack(package: &Path, version: &str) -> Result<()> {
    let sysroot = process::output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let home = Path::new(sysroot.trim()).join("lib/rustlib/src/rust");
    fs::create_dir_all(&home).with_context(|| format!("expected to be allowed to write {}", home.display()))?;
    let tar = package.with_extension("tar");
    let unpacked = fs::File::create(&tar)?;
    let mut dpkg = Command::new("dpkg-deb");
    process::run(dpkg.arg("--fsys-tarfile").arg(package).stdout(unpacked))?;
    let mut command = Command::new("tar");
    command.arg("-xf").arg(&tar).arg("-C").arg(&home).arg("--strip-components=4");
    process::run(command.arg(format!("./usr/src/rustc-{version}/library")))?;
    fs::remove_file(&tar)?;
    Ok(())
}

/// Builds an empty crate together with its standard library; returns the folder of libraries.
fn build_std(work: &Path) -> Result<PathBuf> {
    let probe = work.join("probe");
    fs::create_dir_all(probe.join("src"))?;
    fs::write(probe.join("src/lib.rs"), "")?;
    let manifest = "[package]\nname = \"probe\"\nedition = \"2024\"\n\n[workspace]\n";
    fs::write(probe.join("Cargo.toml"), manifest)?;
    let mut cargo = process::cargo();
    cargo.args(["build", "-Z", "build-std=std,panic_abort,test", "--release", "--target", WASM]);
    cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Cembed-bitcode=yes");
    cargo.arg("--target-dir").arg(probe.join("target")).current_dir(&probe);
    process::run(&mut cargo)?;
    Ok(probe.join("target").join(WASM).join("release/deps"))
}

/// Copies the libraries, without the empty crate's own.
fn install(libraries: &Path) -> Result<()> {
    let mut ask = Command::new("rustc");
    let home = process::output(ask.args(["--print", "target-libdir", "--target", WASM]))?;
    let home = Path::new(home.trim());
    fs::create_dir_all(home)?;
    let mut files: Vec<_> = fs::read_dir(libraries)?.flatten().map(|entry| entry.path()).collect();
    // `libstd` comes last: it is what tells that the installation is whole.
    files.sort_by_key(|path| (file_name(path).starts_with("libstd-"), path.clone()));
    for path in files {
        let name = file_name(&path);
        if name.ends_with(".rlib") && !name.starts_with("libprobe") {
            fs::copy(&path, home.join(name))?;
        }
    }
    Ok(())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
