//! `cargo xtask test`: every test and check there is, in stages.

use crate::{paths, process, setup, web};
use anyhow::{Context as _, Result, bail};
use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

/// A part of the tests that can be run alone.
struct Stage {
    name: &'static str,
    purpose: &'static str,
    run: fn() -> Result<()>,
}

const STAGES: [Stage; 6] = [
    Stage {
        name: "workspace",
        purpose: "unit and behaviour tests of all packages, kernels on Vulkan among them",
        run: workspace,
    },
    Stage {
        name: "headless",
        purpose: "a cluster node needs no graphics stack: build and test without it",
        run: headless,
    },
    Stage { name: "web", purpose: "build the page and weigh it", run: web::build },
    Stage { name: "browser", purpose: "drive the built page in Chromium with WebGPU", run: browser },
    Stage { name: "clippy", purpose: "the lint table is the style guide", run: clippy },
    Stage { name: "fmt", purpose: "one way to lay out code", run: fmt },
];

/// Crates that a headless build must not contain; names that start so count too.
const GRAPHICS: [&str; 4] = ["wgpu", "egui", "eframe", "winit"];

/// Runs all stages in order, or one; stops at the first that fails.
///
/// # Errors
/// When a stage fails or there is none of that name.
pub fn run(only: Option<&str>) -> Result<()> {
    let stages = chosen(only)?;
    setup::make_sure(&[setup::Scope::Test]);
    let mut times = Vec::new();
    for stage in stages {
        println!("\n=== {}: {}", stage.name, stage.purpose);
        let start = Instant::now();
        let result = (stage.run)();
        times.push((stage.name, start.elapsed(), result.is_ok()));
        if let Err(error) = result {
            summary(&times);
            let name = stage.name;
            return Err(
                error.context(format!("stage `{name}` failed; to run it alone: cargo xtask test --only {name}"))
            );
        }
    }
    summary(&times);
    Ok(())
}

fn chosen(only: Option<&str>) -> Result<Vec<&'static Stage>> {
    let stages: Vec<_> = STAGES.iter().filter(|stage| only.is_none_or(|name| name == stage.name)).collect();
    if stages.is_empty() {
        let names = STAGES.map(|stage| stage.name).join(", ");
        bail!("expected one of {names} after --only, got `{}`", only.unwrap_or_default());
    }
    Ok(stages)
}

fn summary(times: &[(&str, Duration, bool)]) {
    println!("\n=== summary");
    for (name, time, passed) in times {
        let verdict = if *passed { "passed" } else { "FAILED" };
        println!("{name:<10} {verdict} {:>8.1} s", time.as_secs_f64());
    }
}

fn workspace() -> Result<()> {
    let mut cargo = process::cargo();
    cargo.args(["test", "--workspace"]);
    if setup::has_vulkan_driver() {
        // With a driver there is no excuse: GPU tests fail rather than skip.
        cargo.env("SHARDLAB_REQUIRE_GPU", "1");
    } else {
        println!("test: left out the kernels on Vulkan, since there is no driver");
    }
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        let folder = paths::target().join("xdg-runtime");
        fs::create_dir_all(&folder)?;
        cargo.env("XDG_RUNTIME_DIR", folder);
    }
    process::run(&mut cargo)
}

fn headless() -> Result<()> {
    let cargo = |line: &str| {
        let mut cargo = process::cargo();
        cargo.args(line.split_whitespace());
        cargo
    };
    process::run(&mut cargo("test -p shardlab-engine --no-default-features --lib"))?;
    process::run(&mut cargo("build -p shardlab --no-default-features"))?;
    let tree = "tree -p shardlab --no-default-features -e normal --prefix none";
    no_graphics(&process::output(&mut cargo(tree))?)
}

fn no_graphics(tree: &str) -> Result<()> {
    let names = tree.lines().filter_map(|line| line.split_whitespace().next());
    let found = names.filter(|name| GRAPHICS.iter().any(|graphics| name.starts_with(graphics)));
    let found: Vec<_> = found.collect();
    if found.is_empty() {
        println!("test: the headless build contains no graphics crate");
        return Ok(());
    }
    bail!("expected a headless build without graphics crates, found {}", found.join(", "))
}

fn browser() -> Result<()> {
    if !paths::dist().join("shardlab_bg.wasm").is_file() {
        bail!("expected the built page in dist/; run: cargo xtask web");
    }
    let mut node = Command::new("node");
    // One file after another: two software GPUs at once are slower than one.
    node.args(["--test", "--test-reporter=spec", "--test-concurrency=1"]);
    process::run(node.current_dir(paths::web_tests()))
        .context("the browser tests need Node.js 20 or newer and Chromium")
}

fn clippy() -> Result<()> {
    let words = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    process::run(process::cargo().args(words))
}

fn fmt() -> Result<()> {
    process::run(process::cargo().args(["fmt", "--check"]))
}

#[cfg(test)]
mod checks {
    use super::{STAGES, chosen, no_graphics};

    #[test]
    fn one_stage_or_all() {
        assert_eq!(chosen(None).map(|stages| stages.len()).ok(), Some(STAGES.len()));
        assert_eq!(chosen(Some("fmt")).map(|stages| stages.len()).ok(), Some(1));
        assert!(chosen(Some("nothing")).is_err());
    }

    #[test]
    fn graphics_crates_are_found_in_a_tree() {
        assert!(no_graphics("shardlab v0.1.0\nserde v1.0.0\n").is_ok());
        assert!(no_graphics("shardlab v0.1.0\nwgpu-core v30.0.1\n").is_err());
    }
}
