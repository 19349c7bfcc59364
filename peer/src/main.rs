//! `cargo run --release` here: every case on both sides, run by run in turns, as a table of medians and ratios.
//!
//! Both sides get the same numbers and their results are compared before anything is timed. Both have tuned themselves
//! to the shape by then. A run is some calls and the wait until they are done, on the host's clock.

mod burn_side;
mod cases;
mod own_side;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use burn_side::BurnSide;
use cases::{Case, cases};
use own_side::OwnSide;

/// Runs of each side; odd, so that there is one in the middle.
const RUNS: usize = 9;

/// A run is as many calls as take about so long.
const RUN: Duration = Duration::from_millis(300);

fn main() -> anyhow::Result<()> {
    let mut own = OwnSide::open()?;
    let burn = BurnSide::open();
    println!("# Kernels against burn 0.22.1, wgpu backend, on {}\n", own.device());
    println!("Medians of {RUNS} runs of each side, in turns.\n");
    println!("| case | Shardlab | burn | burn / Shardlab | largest difference |");
    println!("|---|---|---|---|---|");
    for case in cases().iter().filter(|case| wanted(&case.name())) {
        println!("{}", row(&mut own, &burn, case).with_context(|| case.name())?);
    }
    Ok(())
}

/// Whether a case was asked for: all are where no argument is a part of a name.
fn wanted(name: &str) -> bool {
    let mut parts = std::env::args().skip(1).peekable();
    parts.peek().is_none() || parts.any(|part| name.contains(&part))
}

fn row(own: &mut OwnSide, burn: &BurnSide, case: &Case) -> anyhow::Result<String> {
    let inputs = case.inputs();
    let prepared = own.prepare(case, &inputs)?;
    let theirs = burn.prepare(case, &inputs);
    let difference = largest_difference(&own.result(&prepared)?, &burn.result(&theirs)?, case.tolerance())?;
    let once = own.record(&prepared, 1)?;
    let calls = calls(|| own.run(&once))?;
    let recording = own.record(&prepared, calls)?;
    let (mut mine, mut others) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        mine.push(timed(|| own.run(&recording))?);
        others.push(timed(|| burn.run(&theirs, calls))?);
    }
    let [mine, others] = [median(mine), median(others)].map(|time| time.as_secs_f64() / f64::from(calls));
    let (rate, other_rate) = (case.rate(mine), case.rate(others));
    Ok(format!("| {} | {rate} | {other_rate} | {:.2} | {difference:.1e} |", case.name(), others / mine))
}

/// How many calls fill a run.
fn calls(mut run: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<u32> {
    run()?;
    let once = timed(run)?;
    Ok((RUN.as_secs_f64() / once.as_secs_f64().max(1e-6)).ceil().clamp(1.0, 64.0) as u32)
}

fn timed(run: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let start = Instant::now();
    run()?;
    Ok(start.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// The largest difference of two results, relative to the largest number among them.
fn largest_difference(mine: &[f32], theirs: &[f32], tolerance: f32) -> anyhow::Result<f32> {
    ensure!(mine.len() == theirs.len(), "{} numbers here, {} there", mine.len(), theirs.len());
    let largest = mine.iter().fold(f32::MIN_POSITIVE, |largest, x| largest.max(x.abs()));
    let difference = mine.iter().zip(theirs).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs())) / largest;
    ensure!(difference <= tolerance, "the results differ by {difference:e}, expected at most {tolerance:e}");
    Ok(difference)
}
