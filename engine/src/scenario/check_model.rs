//! The model part of a scenario: sizes that agree, mixtures of experts, latent attention, images.

use super::check::{Checked, bounded, divides, invalid, required, size};
use super::presets::nearest_hint;
use crate::model::{self, Architecture, Image, Latent, Mixture, Model, ModelFile, Window};

/// Experts of a layer, at most; the largest published models have some hundred.
const MAX_EXPERTS: u32 = 1 << 14;

/// Checks a model and fills in what its preset or its other fields imply.
pub fn check_model(file: &ModelFile) -> Checked<Model> {
    let merged = match &file.preset {
        Some(name) => file.clone().over(model_preset(name)?),
        None => file.clone(),
    };
    let families = Architecture::ALL.map(|family| format!("`{}`", family.name())).join(", ");
    let architecture = required(merged.architecture, "model.architecture", &format!("one of {families}"))?;
    let name = file.preset.clone().unwrap_or_else(|| "custom".to_owned());
    let model = match architecture {
        Architecture::Resnet => super::check_samples::resnet(&merged, name)?,
        Architecture::Dlrm => super::check_samples::dlrm(&merged, name)?,
        _ => transformer(&merged, architecture, name)?,
    };
    super::magnitude::check_parameters(&model)?;
    Ok(model)
}

fn transformer(merged: &ModelFile, architecture: Architecture, name: String) -> Checked<Model> {
    let hidden = size(merged.hidden, "model.hidden")?;
    let heads = size(merged.heads, "model.heads")?;
    let kv_heads = size(merged.kv_heads.or(merged.heads), "model.kv_heads")?;
    let head_dim = match merged.head_dim {
        None if !hidden.is_multiple_of(heads) => {
            let allowed = format!("a divisor of model.hidden = {hidden}");
            return Err(invalid("model.heads", heads, allowed, "Or give model.head_dim."));
        }
        given => size(given.or(Some(hidden / heads)), "model.head_dim")?,
    };
    check_head(head_dim)?;
    divides("model.kv_heads", kv_heads, "model.heads", heads)?;
    let image = if architecture == Architecture::Vit { Some(image(merged)?) } else { None };
    encoder(merged, architecture)?;
    Ok(Model {
        name,
        architecture,
        layers: bounded(merged.layers, "model.layers", 4096)?,
        hidden,
        heads,
        kv_heads,
        head_dim,
        ffn_hidden: size(merged.ffn_hidden, "model.ffn_hidden")?,
        vocab: image.map_or_else(|| size(merged.vocab, "model.vocab"), |image| Ok(image.classes))?,
        // Behind the token of the class stand all patches.
        positions: image
            .map_or_else(|| size(merged.positions, "model.positions"), |image| Ok(image.patches().saturating_add(1)))?,
        tied_embeddings: match architecture {
            Architecture::Bert => true,
            Architecture::Vit => false,
            _ => merged.tied_embeddings.unwrap_or(architecture == Architecture::Gpt),
        },
        rope_theta: rope_theta(merged.rope_theta)?,
        qkv_bias: merged.qkv_bias.unwrap_or(false),
        dropout: dropout(merged.dropout)?,
        window: window(merged)?,
        mixture: mixture(merged)?,
        latent: latent(merged, head_dim)?,
        image,
        convolutions: None,
        recommender: None,
    })
}

/// What encoders do not have.
fn encoder(file: &ModelFile, architecture: Architecture) -> Checked<()> {
    let family = architecture.name();
    let only = |path, value: String| {
        Err(invalid(path, value, format!("left out for {family} models"), "Decoders of the llama kind have it."))
    };
    match () {
        () if architecture.is_decoder() => Ok(()),
        () if file.experts.is_some_and(|n| n > 0) => only("model.experts", file.experts.unwrap_or(0).to_string()),
        () if file.window.is_some() => only("model.window", file.window.unwrap_or(0).to_string()),
        () if file.kv_rank.is_some_and(|n| n > 0) => only("model.kv_rank", file.kv_rank.unwrap_or(0).to_string()),
        () if file.kv_heads.is_some() && file.kv_heads != file.heads => {
            only("model.kv_heads", file.kv_heads.unwrap_or(0).to_string())
        }
        () if architecture == Architecture::Bert && file.tied_embeddings == Some(false) => {
            let hint = "BERT's head reads the table of its tokens.";
            Err(invalid("model.tied_embeddings", false, "true for bert models", hint))
        }
        () => Ok(()),
    }
}

/// Images whose patches fill them.
pub(super) fn image(file: &ModelFile) -> Checked<Image> {
    let size = bounded(file.image_size.or(Some(224)), "model.image_size", 4096)?;
    let patch = match file.architecture {
        Some(Architecture::Vit) => bounded(file.patch_size.or(Some(16)), "model.patch_size", 256)?,
        _ => 1,
    };
    divides("model.patch_size", patch, "model.image_size", size)?;
    Ok(Image { size, patch, classes: bounded(file.classes.or(Some(1000)), "model.classes", 1 << 20)? })
}

fn model_preset(name: &str) -> Checked<&'static ModelFile> {
    model::presets().get(name).ok_or_else(|| {
        let known: Vec<_> = model::presets().keys().map(String::as_str).collect();
        invalid("model.preset", format!("`{name}`"), format!("one of {}", known.join(", ")), nearest_hint(name, &known))
    })
}

fn check_head(head_dim: u32) -> Checked<()> {
    if head_dim.is_multiple_of(2) && head_dim <= 256 {
        return Ok(());
    }
    Err(invalid("model.head_dim", head_dim, "an even number up to 256", "Change model.hidden or model.heads."))
}

fn rope_theta(theta: Option<f64>) -> Checked<f64> {
    let theta = theta.unwrap_or(10_000.0);
    if theta.is_finite() && theta > 1.0 {
        return Ok(theta);
    }
    Err(invalid("model.rope_theta", theta, "a finite number above 1", "Most models have 10000 or 500000."))
}

fn window(file: &ModelFile) -> Checked<Option<Window>> {
    let interval = file.window_interval.unwrap_or(0);
    let Some(tokens) = file.window else {
        if interval == 0 {
            return Ok(None);
        }
        let hint = "Give model.window, the tokens to which the other layers attend.";
        return Err(invalid("model.window_interval", interval, "0 without model.window", hint));
    };
    if interval == 1 || interval > 4096 {
        let hint = "1 would leave no layer with a window: leave model.window out.";
        return Err(invalid("model.window_interval", interval, "0, or a number from 2 to 4096", hint));
    }
    Ok(Some(Window { tokens: size(Some(tokens), "model.window")?, interval }))
}

fn dropout(share: Option<f64>) -> Checked<f64> {
    let share = share.unwrap_or(0.0);
    if (0.0..1.0).contains(&share) {
        return Ok(share);
    }
    Err(invalid("model.dropout", share, "a share from 0 to below 1", "GPT and BERT were trained with 0.1."))
}

/// Mixtures of experts, if the file names any.
fn mixture(file: &ModelFile) -> Checked<Option<Mixture>> {
    let Some(experts) = file.experts.filter(|&experts| experts > 0) else { return Ok(None) };
    let experts = bounded(Some(experts), "model.experts", MAX_EXPERTS)?;
    let per_token = bounded(file.experts_per_token, "model.experts_per_token", MAX_EXPERTS)?;
    if per_token > experts {
        let allowed = format!("at most model.experts = {experts}");
        return Err(invalid("model.experts_per_token", per_token, allowed, format!("Nearest valid: {experts}.")));
    }
    let ffn_hidden = size(file.expert_ffn_hidden.or(file.ffn_hidden), "model.expert_ffn_hidden")?;
    let shared = file.shared_experts.unwrap_or(0);
    if u64::from(shared) * u64::from(ffn_hidden) > 1 << 20 {
        return Err(invalid(
            "model.shared_experts",
            shared,
            "a width of at most 1048576 in all",
            "Most models have 1.",
        ));
    }
    Ok(Some(Mixture {
        experts,
        per_token,
        ffn_hidden,
        shared_ffn_hidden: shared * ffn_hidden,
        dense_layers: file.dense_layers.unwrap_or(0),
        interval: bounded(file.expert_interval.or(Some(1)), "model.expert_interval", 4096)?,
    }))
}

/// Latent attention, if the file names its rank.
fn latent(file: &ModelFile, head_dim: u32) -> Checked<Option<Latent>> {
    let Some(kv_rank) = file.kv_rank.filter(|&rank| rank > 0) else { return Ok(None) };
    let latent = Latent {
        query_rank: file
            .query_rank
            .filter(|&rank| rank > 0)
            .map_or(Ok(0), |rank| size(Some(rank), "model.query_rank"))?,
        kv_rank: size(Some(kv_rank), "model.kv_rank")?,
        rope_dim: bounded(file.rope_dim, "model.rope_dim", 256)?,
        value_dim: bounded(file.value_dim.or(Some(head_dim)), "model.value_dim", 256)?,
    };
    if !latent.rope_dim.is_multiple_of(2) {
        return Err(invalid("model.rope_dim", latent.rope_dim, "an even number", "DeepSeek's models have 64."));
    }
    if file.architecture == Some(Architecture::Gpt) || file.kv_heads.is_some_and(|kv| Some(kv) != file.heads) {
        let allowed = "left out for gpt models and for grouped queries";
        return Err(invalid("model.kv_rank", kv_rank, allowed, "Latent attention has as many keys as query heads."));
    }
    Ok(Some(latent))
}
