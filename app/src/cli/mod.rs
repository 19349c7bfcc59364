//! From arguments to results.

mod args;
mod bench;
mod cache;
mod checkpoint;
mod commands;
mod execute;
mod goodput;
mod input;
mod load;
mod memory;
mod output;
mod report;
mod search;
mod sweep;
mod trace;
mod transfer;
mod tuning;
mod variants;

use std::io;
use std::process::ExitCode;

use clap::Parser as _;

use args::{Arguments, Command};
use shardlab_engine::exec::{Launch, run_worker};

/// The answer of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done, and good.
    Yes,
    /// Done, and the answer is no.
    No,
}

/// Runs the program.
pub fn main() -> ExitCode {
    if let Some(launch) = Launch::of_this_process() {
        // The process that started this one says what became of it.
        return run_worker(&launch).map_or(ExitCode::from(2), |()| ExitCode::SUCCESS);
    }
    match run(Arguments::parse()) {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::from(2)
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<Answer> {
    match arguments.command.unwrap_or_else(Command::default_for_this_machine) {
        Command::Simulate(options) => commands::simulate(&options),
        Command::Execute(options) => execute::execute(&options),
        Command::Compare(options) => commands::compare(&options),
        Command::Advise(options) => variants::advise(&options),
        Command::Bench(options) => bench::bench(&options),
        Command::Load(options) => load::load(&options),
        Command::Memory(options) => memory::memory(&options),
        Command::Checkpoint(options) => checkpoint::checkpoint(&options),
        Command::Cache(options) => cache::cache(&options),
        Command::Link { scenario, view } => commands::share(&scenario, &view),
        Command::Trace(options) => trace::trace(&options),
        Command::Goodput(options) => goodput::goodput(&options),
        Command::Transfer(options) => transfer::transfer(&options),
        Command::Calibrate(options) => commands::calibrate(&options),
        Command::Explain(options) => commands::explain(&options),
        Command::Pool(options) => commands::pool(&options),
        Command::WhatIf(options) => commands::what_if(&options),
        Command::Log(options) => trace::log(&options),
        Command::Sweep(options) => sweep::sweep(&options),
        Command::Report(options) => report::report(&options),
        Command::Network(options) => report::network_of(&options),
        Command::Roofline(options) => report::roofline_of(&options),
        Command::Search(options) => search::search(&options),
        Command::Graph(options) => commands::graph(&options),
        Command::Fit(options) => commands::fit(&options),
        Command::Validate(options) => commands::validate(&options),
        Command::Presets { show, json } => commands::presets(show.as_deref(), json),
        Command::Schema => commands::schema(),
        Command::Completions { shell } => commands::completions(shell),
        Command::Gui => commands::gui(),
    }
}

/// A reader that has seen enough (`| head`) is no failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe))
}
