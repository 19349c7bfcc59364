//! The pipeline part of a strategy: chunks, layers of stages, and schedules that can be kept.

use super::check::{Checked, bounded, invalid};
use super::pipeline::{Durations, Layout, ScheduleName, dry_run, parse};
use super::{PipelineSchedule, Strategy, StrategyFile, UpdateRule};
use crate::model::Model;

/// Model chunks of a stage, at most: more are in no published run.
const MAX_CHUNKS: u32 = 64;

/// Model chunks of every stage.
pub(super) fn virtual_stages(file: &StrategyFile) -> Checked<u32> {
    let path = "strategy.virtual_stages";
    let given = bounded(Some(file.virtual_stages.unwrap_or(1)), path, MAX_CHUNKS)?;
    let needs = |n: u32, hint: &str| Err(invalid(path, given, n.to_string(), hint));
    match (file.schedule, file.virtual_stages) {
        (ScheduleName::Interleaved, None) => Ok(2),
        (ScheduleName::Interleaved | ScheduleName::Custom, _) => Ok(given),
        (ScheduleName::ZeroBubbleV | ScheduleName::DualPipeV | ScheduleName::DualPipe, None | Some(2)) => Ok(2),
        (ScheduleName::ZeroBubbleV | ScheduleName::DualPipeV | ScheduleName::DualPipe, _) => {
            needs(2, "This schedule has two chunks on each stage; leave it out.")
        }
        (_, None | Some(1)) => Ok(1),
        _ => needs(
            1,
            "Only `interleaved`, `zb-v`, `dualpipe-v`, `dualpipe` and `custom` schedules have several chunks; set strategy.schedule.",
        ),
    }
}

/// Layers of every virtual stage. What does not divide goes to the middle: the first also has the embedding and the
/// last the head.
pub(super) fn stage_layers(file: &StrategyFile, chunks: u32, model: &Model) -> Checked<Vec<u32>> {
    // The second chunk of `dualpipe` is a copy of the model.
    let chunks = if file.schedule == ScheduleName::DualPipe { 1 } else { chunks };
    let depth = file.pipeline_parallel.saturating_mul(chunks);
    // The embedding and the head may have virtual stages of their own.
    let most = if file.stage_layers.is_empty() { model.layers } else { model.layers.saturating_add(2) };
    if depth > most {
        let (path, value) = if chunks > 1 {
            ("strategy.virtual_stages", format!("{chunks} (× {} stages)", file.pipeline_parallel))
        } else {
            ("strategy.pipeline_parallel", file.pipeline_parallel.to_string())
        };
        let allowed = format!("at most model.layers = {} in all", model.layers);
        let nearest = model.layers / file.pipeline_parallel.max(1);
        let hint = if chunks > 1 {
            format!("Nearest valid: {}.", nearest.max(1))
        } else {
            format!("A stage needs a layer. Nearest valid: {}.", model.layers)
        };
        return Err(invalid(path, value, allowed, hint));
    }
    if file.stage_layers.is_empty() {
        return Ok(even(model.layers, depth));
    }
    given(&file.stage_layers, depth, model)
}

fn given(layers: &[u32], depth: u32, model: &Model) -> Checked<Vec<u32>> {
    let (path, written) = ("strategy.stage_layers", format!("{layers:?}"));
    if layers.len() != depth as usize {
        let allowed = format!("{depth} numbers: one for each of pipeline_parallel × virtual_stages");
        return Err(invalid(path, written, allowed, format!("There are {}.", layers.len())));
    }
    let inner = layers.get(1..layers.len() - 1).unwrap_or_default();
    if inner.contains(&0) || layers.iter().all(|&n| n == 0) {
        return Err(invalid(
            path,
            written,
            "at least one layer on all but the first and the last",
            "Move a layer there.",
        ));
    }
    let sum: u64 = layers.iter().map(|&n| u64::from(n)).sum();
    if sum != u64::from(model.layers) {
        let allowed = format!("numbers whose sum is model.layers = {}", model.layers);
        return Err(invalid(path, written, allowed, format!("Their sum is {sum}.")));
    }
    Ok(layers.to_vec())
}

fn even(layers: u32, stages: u32) -> Vec<u32> {
    let (base, mut extra) = (layers / stages, layers % stages);
    let mut counts = vec![base; stages as usize];
    let inner = 1..counts.len().saturating_sub(1);
    for stage in inner.chain([0]) {
        if extra > 0 {
            counts[stage] += 1;
            extra -= 1;
        }
    }
    counts
}

/// The schedule, if it can be kept with as many micro-batches as the strategy has.
pub(super) fn schedule(file: &StrategyFile, strategy: &Strategy) -> Checked<PipelineSchedule> {
    let micro_batches = strategy.global_batch / (strategy.micro_batch * strategy.data_parallel);
    match file.schedule {
        ScheduleName::GPipe => Ok(PipelineSchedule::GPipe),
        ScheduleName::OneFOneB => Ok(PipelineSchedule::OneFOneB),
        ScheduleName::ZeroBubbleH1 => Ok(PipelineSchedule::ZeroBubbleH1),
        ScheduleName::ZeroBubbleH2 => Ok(PipelineSchedule::ZeroBubbleH2),
        ScheduleName::ZeroBubbleV => Ok(PipelineSchedule::ZeroBubbleV),
        ScheduleName::DualPipeV => dual_pipe_v(strategy, micro_batches),
        ScheduleName::DualPipe => dual_pipe(strategy, micro_batches),
        ScheduleName::Interleaved => interleaved(strategy, micro_batches),
        ScheduleName::Custom => custom(file, strategy, micro_batches),
    }
}

/// Micro-batches go through the chunks in rounds of as many as there are stages.
fn interleaved(strategy: &Strategy, micro_batches: u32) -> Checked<PipelineSchedule> {
    let p = strategy.pipeline_parallel;
    if micro_batches.is_multiple_of(p) {
        return Ok(PipelineSchedule::Interleaved);
    }
    let (round, batch) = (batch_of(strategy, p), u64::from(strategy.global_batch));
    let (below, above) = (batch / round * round, batch.next_multiple_of(round));
    let near = if below == 0 { above.to_string() } else { format!("{below} or {above}") };
    let allowed = format!("a multiple of micro_batch × data_parallel × pipeline_parallel = {round} for `interleaved`");
    Err(invalid("strategy.global_batch", strategy.global_batch, allowed, format!("Nearest valid: {near}.")))
}

/// Sequences in so many micro-batches on every replica.
fn batch_of(strategy: &Strategy, micro_batches: u32) -> u64 {
    u64::from(strategy.micro_batch) * u64::from(strategy.data_parallel) * u64::from(micro_batches)
}

/// The V is full of micro-batches in both directions.
fn dual_pipe_v(strategy: &Strategy, micro_batches: u32) -> Checked<PipelineSchedule> {
    let least = 2 * strategy.pipeline_parallel;
    if micro_batches >= least {
        return Ok(PipelineSchedule::DualPipeV);
    }
    let nearest = batch_of(strategy, least);
    let allowed =
        format!("at least 2 × pipeline_parallel = {least} micro-batches for `dualpipe-v`, here {micro_batches}");
    Err(invalid("strategy.global_batch", strategy.global_batch, allowed, format!("Nearest valid: {nearest}.")))
}

/// A stage has a mirror image, and micro-batches come from both ends; as in a V half as long they fill it.
fn dual_pipe(strategy: &Strategy, micro_batches: u32) -> Checked<PipelineSchedule> {
    let p = strategy.pipeline_parallel;
    if !p.is_multiple_of(2) {
        let hint = if p == 1 { "Nearest valid: 2.".into() } else { format!("Nearest valid: {} or {}.", p - 1, p + 1) };
        return Err(invalid("strategy.pipeline_parallel", p, "an even number for `dualpipe`", hint));
    }
    if micro_batches >= 2 * p && micro_batches.is_multiple_of(2) {
        return Ok(PipelineSchedule::DualPipe);
    }
    let nearest = batch_of(strategy, micro_batches.max(2 * p).next_multiple_of(2));
    let least = 2 * p;
    let allowed = format!(
        "an even number of micro-batches, at least 2 × pipeline_parallel = {least}, for `dualpipe`, here {micro_batches}"
    );
    Err(invalid("strategy.global_batch", strategy.global_batch, allowed, format!("Nearest valid: {nearest}.")))
}

/// What the second copy of the model leaves no room for.
pub(super) fn copies(strategy: &Strategy, model: &Model) -> Checked<()> {
    if strategy.layout().copies() == 1 {
        return Ok(());
    }
    if model.tied_embeddings {
        let hint = "Set model.tied_embeddings = false, or use strategy.schedule = \"dualpipe-v\".";
        return Err(invalid("model.tied_embeddings", true, "false for `dualpipe`", hint));
    }
    if strategy.update != UpdateRule::Synchronous {
        let hint = "Its two copies of the model are updated alike; or use strategy.schedule = \"dualpipe-v\".";
        return Err(invalid("strategy.update", strategy.update.name().name(), "synchronous for `dualpipe`", hint));
    }
    Ok(())
}

/// Whether forwards run beside backwards; always in `dualpipe-v` and `dualpipe`.
pub(super) fn pairs(file: &StrategyFile, schedule: &PipelineSchedule) -> Checked<bool> {
    if !file.overlap_micro_batches || schedule.can_pair() {
        let always = matches!(schedule, PipelineSchedule::DualPipeV | PipelineSchedule::DualPipe);
        return Ok(file.overlap_micro_batches || always);
    }
    let allowed = "false, or strategy.schedule = 1f1b, interleaved, dualpipe-v or dualpipe";
    Err(invalid("strategy.overlap_micro_batches", true, allowed, "Others have no forward beside every backward."))
}

fn custom(file: &StrategyFile, strategy: &Strategy, micro_batches: u32) -> Checked<PipelineSchedule> {
    let path = "strategy.custom_schedule";
    let (stages, chunks) = (strategy.pipeline_parallel, strategy.virtual_stages);
    if file.custom_schedule.len() != stages as usize {
        let allowed = format!("one text for each of the {stages} stages");
        let hint = "Write each stage's slots, for example \"F0 F1 B0 B1\".";
        return Err(invalid(path, format!("{} texts", file.custom_schedule.len()), allowed, hint));
    }
    let mut slots = Vec::new();
    for (stage, text) in file.custom_schedule.iter().enumerate() {
        let of_stage = parse(text, micro_batches, chunks).map_err(|bad| {
            invalid(path, format!("`{}` on stage {stage}", bad.word), bad.expected, "Change that stage's text.")
        })?;
        slots.push(of_stage);
    }
    let split = |of_stage: &Vec<_>| of_stage.len() > (2 * micro_batches * chunks) as usize;
    if slots.iter().any(split) && !slots.iter().all(split) {
        let hint = "Add W slots there, or leave them out everywhere.";
        return Err(invalid(path, "W slots on some stages", "W slots on all stages or on none", hint));
    }
    let layout = Layout { stages, chunks, layout: file.chunk_layout };
    let one = Durations { forward: 1, backward: 1, weight: 1 };
    match dry_run(&slots, layout, micro_batches, one) {
        Ok(_) => Ok(PipelineSchedule::Custom { slots, layout: file.chunk_layout }),
        Err(stuck) => {
            let value = format!("a circle: stage {} waits forever for what `{}` needs", stuck.stage, stuck.slot);
            let allowed = "an order in which every slot's inputs come before it";
            Err(invalid(path, value, allowed, "Move that slot back, or what it needs forward on the other stage."))
        }
    }
}
