//! Models whose samples are no sequences: residual networks and recommenders.

use super::check::{Checked, bounded, invalid, size};
use super::check_model::image;
use super::{AttentionKernel, Precision, Strategy};
use crate::model::{Architecture, ConvNet, Interaction, Model, ModelFile, Recommender};

/// Entries of a list, at most.
const MAX_LIST: usize = 1024;

/// Everything that only transformers have is 1.
fn base(file: &ModelFile, name: String, architecture: Architecture) -> Model {
    Model {
        name,
        architecture,
        layers: 1,
        hidden: file.hidden.unwrap_or(1),
        heads: 1,
        kv_heads: 1,
        head_dim: 2,
        ffn_hidden: 1,
        vocab: 1,
        positions: 1,
        tied_embeddings: false,
        rope_theta: 10_000.0,
        qkv_bias: false,
        dropout: 0.0,
        window: None,
        mixture: None,
        latent: None,
        image: None,
        convolutions: None,
        recommender: None,
    }
}

/// A residual network.
pub(super) fn resnet(file: &ModelFile, name: String) -> Checked<Model> {
    let image = image(file)?;
    let width = bounded(file.hidden.or(Some(64)), "model.hidden", 1 << 12)?;
    let blocks = listed(&file.blocks, "model.blocks", 4096)?;
    if blocks.len() != 4 {
        let hint = "ResNet-50 has [3, 4, 6, 3].";
        return Err(invalid("model.blocks", format!("{} numbers", blocks.len()), "four numbers, one of a stage", hint));
    }
    let groups = file.norm_groups.filter(|groups| *groups > 0);
    let groups = groups.map(|groups| bounded(Some(groups), "model.norm_groups", width)).transpose()?;
    if let Some(groups) = groups.filter(|groups| !width.is_multiple_of(*groups)) {
        let allowed = format!("a divisor of model.hidden, {width}");
        return Err(invalid("model.norm_groups", groups, allowed, "Every layer has a multiple of these channels."));
    }
    let net = ConvNet { blocks, bottleneck: file.bottleneck.unwrap_or(true), width, groups };
    let layers = net.layers();
    if layers > 4096 || file.layers.is_some_and(|stated| stated != layers) {
        let allowed = format!("left out, or the sum of model.blocks, here {layers}; at most 4096");
        return Err(invalid("model.layers", file.layers.unwrap_or(layers), allowed, "Change model.blocks."));
    }
    let base = base(file, name, Architecture::Resnet);
    let (vocab, image) = (image.classes, Some(image));
    Ok(Model { layers, hidden: width, vocab, image, convolutions: Some(net), ..base })
}

/// A recommender.
pub(super) fn dlrm(file: &ModelFile, name: String) -> Checked<Model> {
    let hidden = bounded(file.hidden, "model.hidden", 1 << 14)?;
    let table_rows = listed(&file.table_rows, "model.table_rows", 1 << 31)?;
    let lookups = if file.lookups.is_empty() {
        vec![1; table_rows.len()]
    } else {
        listed(&file.lookups, "model.lookups", 1 << 16)?
    };
    if lookups.len() != table_rows.len() {
        let allowed = format!("as many numbers as model.table_rows, {}", table_rows.len());
        let hint = "Leave it out where a sample looks up one row of each.";
        return Err(invalid("model.lookups", format!("{} numbers", lookups.len()), allowed, hint));
    }
    let (bottom_mlp, top_mlp) =
        (widths(&file.bottom_mlp, "model.bottom_mlp")?, widths(&file.top_mlp, "model.top_mlp")?);
    if bottom_mlp.last() != Some(&hidden) {
        let (last, allowed) =
            (bottom_mlp.last().copied().unwrap_or(0), format!("a last width of model.hidden = {hidden}"));
        let hint = "The dense features' vector meets those of the tables.";
        return Err(invalid("model.bottom_mlp", format!("{last} at its end"), allowed, hint));
    }
    let recommender = Recommender {
        table_rows,
        lookups,
        dense_features: size(file.dense_features, "model.dense_features")?,
        bottom_mlp,
        interaction: interaction(file)?,
        top_mlp,
    };
    if recommender.rows() > u64::from(u32::MAX) {
        let hint = "Lower model.table_rows.";
        return Err(invalid(
            "model.table_rows",
            format!("{} rows in all", recommender.rows()),
            "at most 4294967295",
            hint,
        ));
    }
    let layers = recommender.layers();
    if file.layers.is_some_and(|stated| stated != layers) {
        let allowed = format!("left out, or the layers of model.top_mlp and the cross network, here {layers}");
        return Err(invalid("model.layers", file.layers.unwrap_or(0), allowed, "Change model.top_mlp."));
    }
    Ok(Model { layers, recommender: Some(recommender), ..base(file, name, Architecture::Dlrm) })
}

fn interaction(file: &ModelFile) -> Checked<Interaction> {
    match file.cross_layers.unwrap_or(0) {
        0 => Ok(Interaction::Dot),
        layers => Ok(Interaction::Cross {
            layers: bounded(Some(layers), "model.cross_layers", 64)?,
            rank: bounded(file.cross_rank, "model.cross_rank", 1 << 16)?,
        }),
    }
}

/// A list of numbers from 1 to `most`.
fn listed(list: &[u32], path: &'static str, most: u32) -> Checked<Vec<u32>> {
    if list.is_empty() || list.len() > MAX_LIST {
        let allowed = format!("1 to {MAX_LIST} numbers");
        return Err(invalid(path, format!("{} numbers", list.len()), allowed, "Start from a preset."));
    }
    list.iter().map(|&n| bounded(Some(n), path, most)).collect()
}

fn widths(list: &[u32], path: &'static str) -> Checked<Vec<u32>> {
    listed(list, path, 1 << 16)
}

/// Pixels, lookups and vectors of a micro-batch are rows of tensors, which are counted in 32 bits.
fn rows(s: &Strategy, model: &Model) -> Checked<()> {
    let pixels = model.image.map_or(1, |image| u64::from(image.size).pow(2));
    let looked_up = model.recommender.as_ref().map_or(1, |r| u64::from(r.lookups_of_sample().max(r.tables())));
    let of_sample = pixels.max(looked_up);
    let most = u64::from(u32::MAX) / of_sample;
    if u64::from(s.micro_batch) <= most {
        return Ok(());
    }
    let allowed = format!("at most {most}, with {of_sample} pixels or rows of tables for each sample");
    Err(invalid("strategy.micro_batch", s.micro_batch, allowed, "Lower it, or raise data_parallel."))
}

/// What cannot be done with samples, or with encoders.
pub(super) fn strategy(s: &Strategy, model: &Model) -> Checked<()> {
    let family = model.architecture.name();
    let one = |path, n: u32, why: &str| {
        if n == 1 { Ok(()) } else { Err(invalid(path, n, format!("1 for {family} models"), why)) }
    };
    if !model.is_causal() {
        one("strategy.context_parallel", s.context_parallel, "Only decoders' sequences are cut.")?;
        one("strategy.tensor_chunks", s.tensor_chunks, "Only decoders' matmuls are cut.")?;
    }
    rows(s, model)?;
    if model.architecture.is_transformer() {
        return Ok(());
    }
    one("strategy.tensor_parallel", s.tensor_parallel, "Their layers are not cut; use data_parallel.")?;
    if model.recommender.is_some() {
        one("strategy.pipeline_parallel", s.pipeline_parallel, "Use data_parallel, over which tables are spread.")?;
    }
    if matches!(s.precision, Precision::Fp8 | Precision::Fp8Block | Precision::Nvfp4) {
        let allowed = format!("bf16, fp16, tf32 or fp32 for {family} models");
        return Err(invalid("strategy.precision", s.precision.name(), allowed, "Only transformers are cast to less."));
    }
    if s.attention == AttentionKernel::Unfused {
        let allowed = format!("flash for {family} models, which have no attention");
        return Err(invalid("strategy.attention", "unfused", allowed, "Leave it out."));
    }
    Ok(())
}
