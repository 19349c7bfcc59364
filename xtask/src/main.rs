//! Build, run and test in one word, set-up included: `cargo xtask run`, `cargo xtask test`.
//!
//! Each word of the command line is a module: [`run`], [`tests`], [`bench`], [`setup`], [`web`],
//! [`serve`], [`font`]. They share two helpers: [`paths`] says where things lie and [`process`] starts
//! programs and says so.
//!
//! **Invariant:** nothing here knows what the program computes; it is known by its package
//! names, its command line and its page.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a command-line tool: what it prints is what it is for"
)]

mod bench;
mod font;
mod paths;
mod process;
mod run;
mod serve;
mod setup;
mod tests;
mod web;
mod web_opt;

use anyhow::{Result, bail};
use std::process::ExitCode;

const HELP: &str = "\
Build, run and test Shardlab, set-up included.

Usage: cargo xtask <COMMAND>

Commands:
  run [--once]          set up, build, then open the window; without a display print the
                        report of the default scenario and serve the page on loopback
                        (--once: check that the page answers, then return)
  test [--only STAGE]   set up, then run every test and check, or one stage of them
  setup [run|test|web]  only make sure of what that command needs (all of it when unnamed)
  web                   build the page into dist/
  bench                 how fast a step is simulated natively and in the page, and their ratio
  serve [--port N]      serve dist/ on 127.0.0.1 (port 8080, or the next free one)
  font [TRANSLATION]    cut the Chinese font down to what assets/i18n/zh.toml uses
  help                  print this
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match dispatch(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(words: &[&str]) -> Result<()> {
    match words {
        ["run"] => run::run(run::Stay::UntilStopped),
        ["run", "--once"] => run::run(run::Stay::Once),
        ["test"] => tests::run(None),
        ["test", "--only", stage] => tests::run(Some(stage)),
        ["setup"] => set_up(&setup::Scope::ALL),
        ["setup", scope] => set_up(&[setup::Scope::parse(scope)?]),
        ["web"] => set_up(&[setup::Scope::Web]).and_then(|()| web::build()),
        ["bench"] => set_up(&[setup::Scope::Test]).and_then(|()| bench::run()),
        ["serve"] => serve::serve_dist(None),
        ["serve", "--port", port] => serve::serve_dist(Some(serve::parse_port(port)?)),
        ["font"] => font::subset(None),
        ["font", translation] => font::subset(Some(translation)),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        _ => bail!("expected a known command, got `{}`\n\n{HELP}", words.join(" ")),
    }
}

fn set_up(scopes: &[setup::Scope]) -> Result<()> {
    setup::make_sure(scopes);
    Ok(())
}
