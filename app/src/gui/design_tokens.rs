//! All colours and sizes of the interface, for dark and light.
//!
//! Categories have distinct lightness as well as hue, after the palettes of Okabe & Ito 2008 and Tol 2021, so that
//! they can be told apart with any colour vision.

use egui::ecolor::Hsva;
use egui::{Color32, Context, Stroke, Visuals};
use shardlab_engine::report::palette;
use shardlab_engine::trace::{MemoryCategory, Phase, Stream};

/// Height of a row of the timeline, at least and at most.
pub const TRACK_HEIGHT: std::ops::RangeInclusive<f32> = 18.0..=30.0;
/// Width of the timeline's names.
pub const TRACK_NAMES: f32 = 148.0;
/// Width of the left panel at first.
pub const FORM_WIDTH: f32 = 292.0;
/// Width of the right panel at first.
pub const INSPECTOR_WIDTH: f32 = 288.0;

const fn rgb(hex: u32) -> Color32 {
    Color32::from_rgb((hex >> 16) as u8, (hex >> 8) as u8, hex as u8)
}

/// The colour of a class of ops.
pub fn class_color(class: &str) -> Color32 {
    rgb(match class {
        "matmul" | "convolution" => 0x3b7dd8,
        "expert_matmul" => 0x5c6fd6,
        "routing" => 0x9fb3c8,
        "attention" | "interaction" => 0x2a9d8f,
        "norm" | "batch_norm" | "group_norm" => 0x8ab17d,
        "activation" => 0x76b7e5,
        "rope" | "pooling" => 0x5aa9a0,
        "elementwise" => 0x9fb3c8,
        "embedding" | "embedding_bag" => 0x6c8ebf,
        "loss" => 0xb07cc6,
        "optimizer" => 0x8d6cab,
        "cast" | "compression" => 0x7a8794,
        "to_host" | "from_host" | "host_update" => 0x6fa287,
        "load" => 0xff5a5f,
        "all_reduce" => 0xc77d94,
        "all_gather" | "pull" => 0xd9a0b1,
        "reduce_scatter" | "push" => 0xa85c74,
        "all_to_all" => 0xc4589a,
        "shift" => 0xd95f5f,
        "send" => 0xe9c46a,
        "receive" => 0xc9a227,
        _ => 0x888888,
    })
}

/// The colour of a span: its class, or on a communication stream the axis.
pub fn span_color(stream: Stream, class: &str) -> Color32 {
    if stream == Stream::Compute { class_color(class) } else { part_color(palette::part_of(stream)) }
}

/// The colour of a part of the step time.
pub fn part_color(part: &str) -> Color32 {
    rgb(palette::part_rgb(part))
}

/// The colour of a run among others.
pub fn run_color(number: usize) -> Color32 {
    rgb(palette::RUN_RGB[number % palette::RUN_RGB.len()])
}

/// The colour of a micro-batch: hues of neighbours are far apart (steps of the golden angle), what comes later in a step
/// is darker.
pub fn micro_batch_color(micro_batch: u32, phase: Phase) -> Color32 {
    const GOLDEN: f32 = 0.618_034;
    let value = match phase {
        Phase::Forward => 0.93,
        Phase::Recompute | Phase::Backward => 0.7,
        Phase::WeightGradient | Phase::Update => 0.52,
    };
    Hsva::new((micro_batch as f32 * GOLDEN).fract(), 0.5, value, 1.0).into()
}

/// A colour for a name: the same for the same name, hues apart for others.
pub fn name_color(name: &str) -> Color32 {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    Hsva::new((hash >> 8) as f32 / 16_777_216.0, 0.5, 0.85, 1.0).into()
}

/// The colour of a tier from which reads are served.
pub fn tier_color(tier: &str) -> Color32 {
    rgb(match tier {
        "local" => 0x2a9d8f,
        "remote" => 0xe9c46a,
        "drives" => 0x8d6cab,
        _ => 0xd95f5f,
    })
}

/// The colour of a part of a long run.
pub fn job_part_color(part: &str) -> Color32 {
    rgb(match part {
        "useful" => 0x2a9d8f,
        "checkpoints" => 0x4f9df0,
        "lost" => 0xd95f5f,
        "down" => 0x8d6cab,
        "reading" => 0xe9c46a,
        _ => 0x69707a,
    })
}

/// The colour of a way to hand something out.
pub fn transfer_color(method: &str) -> Color32 {
    rgb(match method {
        "direct" => 0xd95f5f,
        "tree" => 0xe9c46a,
        "chain" => 0x4f9df0,
        _ => 0x2a9d8f,
    })
}

/// The colour of a way to take checkpoints.
pub fn mode_color(mode: &str) -> Color32 {
    rgb(match mode {
        "full" => 0xd95f5f,
        "sharded" => 0xe9c46a,
        "async" => 0x4f9df0,
        "multi_level" => 0x8d6cab,
        _ => 0x2a9d8f,
    })
}

/// The colour of a policy of caches; the bound is drawn in ink.
pub fn policy_color(policy: &str, dark: bool) -> Color32 {
    rgb(match policy {
        "fifo" => 0x9fb3c8,
        "lru" => 0x4f9df0,
        "lfu" => 0x8d6cab,
        "clock" => 0x76b7e5,
        "2q" => 0xc9a227,
        "arc" => 0xe07a3f,
        "lirs" => 0xd95f5f,
        "s3-fifo" => 0x2a9d8f,
        "sieve" => 0x8ab17d,
        "w-tinylfu" => 0xc4589a,
        "none" => 0xb5651d,
        "random" => 0x7a8794,
        _ if dark => 0xe8edf2,
        _ => 0x10151c,
    })
}

/// The colour of a memory category.
pub fn memory_color(category: MemoryCategory) -> Color32 {
    rgb(palette::memory_rgb(category))
}

/// Good, bad and noteworthy.
#[derive(Clone, Copy, Debug)]
pub struct Signals {
    /// It fits, it got better.
    pub good: Color32,
    /// It does not fit, it got worse.
    pub bad: Color32,
    /// Attention.
    pub warn: Color32,
}

/// The signal colours, readable on the theme's background.
pub fn signals(visuals: &Visuals) -> Signals {
    if visuals.dark_mode {
        Signals { good: rgb(0x5ec98f), bad: rgb(0xff7b72), warn: rgb(0xf2c14e) }
    } else {
        Signals { good: rgb(0x1a7f4b), bad: rgb(0xc62828), warn: rgb(0x9a6700) }
    }
}

/// Text on a coloured slice.
pub fn on_slice() -> Color32 {
    rgb(0x10151c)
}

/// The text on a filled box: dark on light, light on dark.
pub fn on_fill(fill: Color32) -> Color32 {
    let [red, green, blue, _] = fill.to_array().map(u32::from);
    if 3 * red + 6 * green + blue > 1300 { rgb(0x10151c) } else { rgb(0xf2f5f8) }
}

/// How much something is loaded, from nothing to all of it: from the background over blue to a light yellow (lightness
/// grows with it, so it can be read without colours).
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "channels of a colour")]
pub fn load_color(share: f64, visuals: &Visuals) -> Color32 {
    let stops: [u32; 4] = if visuals.dark_mode {
        [0x1d2430, 0x2f5fa8, 0x5ac0b0, 0xf7e08a]
    } else {
        [0xeef2f6, 0x8db8e8, 0x2a7f9d, 0x3b2a6b]
    };
    let at = share.clamp(0.0, 1.0) * (stops.len() - 1) as f64;
    let (from, part) = ((at as usize).min(stops.len() - 2), at.fract());
    let part = if at >= (stops.len() - 1) as f64 { 1.0 } else { part };
    let mix = |shift: u32| {
        let channel = |stop: u32| f64::from((stop >> shift) & 0xff);
        (channel(stops[from]) * (1.0 - part) + channel(stops[from + 1]) * part) as u8
    };
    Color32::from_rgb(mix(16), mix(8), mix(0))
}

/// The colour of what bounds an op.
pub fn bound_color(bound: &str) -> Color32 {
    rgb(match bound {
        "compute" => 0x3b7dd8,
        "memory" => 0xf2a541,
        "network" => 0xa85c74,
        _ => 0xc9b8e8,
    })
}

/// A colour that a picture of the engine has.
pub fn from_rgb(hex: u32) -> Color32 {
    rgb(hex)
}

/// The outline of the selected slice.
pub fn selection_stroke(visuals: &Visuals) -> Stroke {
    Stroke::new(2.0, visuals.strong_text_color())
}

/// The background of a part of the time that was chosen.
pub fn area_shade(visuals: &Visuals) -> Color32 {
    visuals.selection.bg_fill.gamma_multiply(0.35)
}

/// The background of every other row.
pub fn row_shade(visuals: &Visuals) -> Color32 {
    visuals.faint_bg_color
}

/// What is held and not in use.
pub fn held_shade(visuals: &Visuals) -> Color32 {
    if visuals.dark_mode { rgb(0x2a313c) } else { rgb(0xd9dee6) }
}

/// Lines of a grid.
pub fn grid_stroke(visuals: &Visuals) -> Stroke {
    Stroke::new(1.0, visuals.weak_text_color().gamma_multiply(0.35))
}

/// Lines of a chart's grid, in the theme's ink; the chart draws them fainter.
pub fn chart_grid(visuals: &Visuals) -> Color32 {
    visuals.weak_text_color().gamma_multiply(0.45)
}

/// The device's capacity in a memory chart: seen on every category's colour.
pub fn capacity_stroke(visuals: &Visuals) -> Stroke {
    Stroke::new(2.5, if visuals.dark_mode { rgb(0xff4d4d) } else { rgb(0xb00020) })
}

/// Edges of a graph.
pub fn edge_stroke(visuals: &Visuals) -> Stroke {
    Stroke::new(1.0, visuals.weak_text_color().gamma_multiply(0.8))
}

/// Lines of a chart: the current one and the one it is compared with.
pub fn line_colors() -> [Color32; 2] {
    [rgb(0x4f9df0), rgb(0xf2a541)]
}

/// Rounds corners less and packs tighter than egui's default: this is a tool, not a page.
pub fn apply(context: &Context) {
    context.all_styles_mut(|style| {
        style.spacing.item_spacing = egui::vec2(6.0, 4.0);
        style.spacing.interact_size.y = 20.0;
        let visuals = &mut style.visuals;
        visuals.window_corner_radius = 6.into();
        visuals.widgets.noninteractive.fg_stroke.color = if visuals.dark_mode { rgb(0xc8d0da) } else { rgb(0x2a313b) };
        if visuals.dark_mode {
            visuals.panel_fill = rgb(0x161a20);
            visuals.extreme_bg_color = rgb(0x0f1216);
            visuals.faint_bg_color = rgb(0x1c2129);
        } else {
            visuals.panel_fill = rgb(0xf7f8fa);
            visuals.faint_bg_color = rgb(0xedf0f4);
        }
    });
}
