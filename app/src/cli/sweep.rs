//! `shardlab sweep`: every combination of some fields, in one process or as shards of a job array.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use shardlab_engine::report;
use shardlab_engine::search::{Against, MOST_POINTS, Space, Sweep, SweepPoint};

use super::args::{AgainstChoice, SweepOptions};
use super::output::{note, print, progress, write_file};
use super::search::axes_of;
use super::{Answer, input};

/// Simulates every combination, or merges what shards have written.
pub fn sweep(options: &SweepOptions) -> anyhow::Result<Answer> {
    let texts = [&options.points, &options.csv].into_iter().flatten().filter(|path| path.as_path() == Path::new("-"));
    let on_stdout = texts.count() + usize::from(options.json);
    anyhow::ensure!(on_stdout <= 1, "only one of --json, --points - and --csv - can go to standard output");
    let file = input::scenario_file(&options.scenario.scenario)?;
    input::checked(&options.scenario.scenario, &file)?;
    let space = Space::new(&file, axes_of(&options.vary, &file)?)?;
    if options.emit_slurm {
        print(&slurm(options))?;
        return Ok(Answer::Yes);
    }
    let points = if options.merge.is_empty() { played(&space, options)? } else { merged(&options.merge, &space)? };
    if let Some(path) = &options.points {
        write_file(path, &lines(&points)?)?;
    }
    if let Some(path) = &options.csv {
        write_file(path, &report::sweep_csv(&space, &points))?;
    }
    let against = match options.against {
        AgainstChoice::Memory => Against::Memory,
        AgainstChoice::Cost => Against::Cost,
        AgainstChoice::Devices => Against::Devices,
    };
    let write = if options.json { report::sweep_json } else { report::sweep_table };
    print(&write(&space, &points, against))?;
    let fits = points.iter().any(|point| point.figures().is_some_and(|figures| figures.fits));
    // Of a shard nothing may fit and the whole may: a job array would count it as failed.
    Ok(if fits || options.shard.is_some() { Answer::Yes } else { Answer::No })
}

/// Ctrl-C ends it; what was simulated until then is printed and kept.
fn played(space: &Space, options: &SweepOptions) -> anyhow::Result<Vec<SweepPoint>> {
    let shard = options.shard.as_deref().map_or(Ok((0, 1)), shard)?;
    let mut sweep = Sweep::new(space.clone(), shard);
    let count = sweep.len();
    anyhow::ensure!(
        count <= MOST_POINTS,
        "{count} combinations are more than {MOST_POINTS}; give fewer values, or `shardlab search`, which leaves out what cannot be the best"
    );
    let stop = Arc::new(AtomicBool::new(false));
    let handler = Arc::clone(&stop);
    ctrlc::set_handler(move || handler.store(true, Ordering::Relaxed)).context("cannot listen for Ctrl-C")?;
    let bar = progress(count);
    while !stop.load(Ordering::Relaxed) && sweep.advance() {
        bar.inc(1);
    }
    bar.finish_and_clear();
    if (sweep.points().len() as u64) < count {
        note("shardlab: stopped; the result is of what was simulated until then");
    }
    Ok(sweep.points().to_vec())
}

/// `2/8`: the second of eight parts.
fn shard(text: &str) -> anyhow::Result<(u64, u64)> {
    let parts = text.split_once('/').and_then(|(part, of)| Some((part.parse::<u64>().ok()?, of.parse::<u64>().ok()?)));
    match parts {
        Some((part, of)) if (1..=of).contains(&part) => Ok((part - 1, of)),
        _ => anyhow::bail!("`{text}` is no part; expected for example 2/8, the second of eight"),
    }
}

/// A line of JSON for every point.
fn lines(points: &[SweepPoint]) -> anyhow::Result<String> {
    let mut text = String::new();
    for point in points {
        let _ = writeln!(text, "{}", serde_json::to_string(point)?);
    }
    Ok(text)
}

fn merged(files: &[PathBuf], space: &Space) -> anyhow::Result<Vec<SweepPoint>> {
    let mut points: Vec<SweepPoint> = Vec::new();
    for path in files {
        read(path, space, &mut points)?;
    }
    points.sort_by_key(|point| point.index);
    points.dedup_by_key(|point| point.index);
    let missing = space.len().saturating_sub(points.len() as u64);
    if missing > 0 {
        note(&format!("shardlab: {missing} of {} combinations are in none of the files", space.len()));
    }
    Ok(points)
}

fn read(path: &Path, space: &Space, points: &mut Vec<SweepPoint>) -> anyhow::Result<()> {
    let name = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("cannot open `{name}`"))?;
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let point: SweepPoint = serde_json::from_str(line)
            .with_context(|| format!("{name}, line {number}: expected a point of `shardlab sweep --points`"))?;
        let known = point.index < space.len() && space.values(point.index).into_iter().eq(&point.values);
        anyhow::ensure!(known, "{name}, line {number}: it is of another sweep; give the same scenario and --vary");
        points.push(point);
    }
    Ok(())
}

/// A job array that simulates shards, and a job behind it that merges them.
fn slurm(options: &SweepOptions) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let mut arguments = quoted(&options.scenario.scenario);
    for vary in &options.vary {
        let _ = write!(arguments, " --vary {}", quoted(vary));
    }
    format!(
        "#!/bin/sh\n\
         # Shards of a sweep as a Slurm job array: sbatch sweep.sbatch. When all are done:\n\
         #   shardlab sweep {arguments} --merge part-*.jsonl\n\
         #SBATCH --job-name=shardlab-sweep\n\
         #SBATCH --array=1-{shards}\n\
         #SBATCH --cpus-per-task=1\n\
         set -eu\n\
         shardlab sweep {arguments} --shard \"$SLURM_ARRAY_TASK_ID/{shards}\" \\\n  \
         --points \"part-$SLURM_ARRAY_TASK_ID.jsonl\" --json > /dev/null\n",
        shards = options.shards.max(1)
    )
}

#[cfg(test)]
mod tests {
    use super::shard;

    #[test]
    fn parts_are_counted_from_one() {
        assert_eq!(shard("2/8").expect("a part"), (1, 8));
        for wrong in ["0/8", "9/8", "8", "a/b", ""] {
            assert!(shard(wrong).expect_err("no part").to_string().contains("2/8"), "{wrong}");
        }
    }
}
