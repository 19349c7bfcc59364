//! The figures of a step, and of a part of its time, beside those of the baseline where there is one.

use egui::{Grid, RichText, Ui};
use shardlab_engine::analysis::{
    Better, Breakdown, OpClassTime, breakdowns, exposed_communication, op_classes, part_is_better, peak_rate, window,
};
use shardlab_engine::scenario::UpdateRule;
use shardlab_engine::trace::{Origin, Trace};
use shardlab_engine::units::{Bytes, Flops, Nanos};

use crate::gui::change::{change_ui, right_change_of_ui, right_change_ui, share_change_ui, time_change_ui};
use crate::gui::design_tokens::{class_color, part_color, signals};
use crate::gui::i18n::{Language, language, t, t_or_name, t_with, tip};
use crate::gui::session::Run;
use crate::gui::widgets::{figure_ui, grouped, heading_ui, origin_ui, right_ui, stacked_bar_ui, swatch_ui};

/// The figures of a step; `base` is what it is compared with.
pub(super) fn summary_ui(ui: &mut Ui, run: &Run, base: Option<&Run>) {
    let report = &run.report;
    ui.horizontal(|ui| {
        heading_ui(ui, t("inspector.summary"));
        origin_ui(ui, report.origin);
    });
    ui.label(RichText::new(report.step_time.to_string()).heading().strong())
        .on_hover_text(t("inspector.step_time.tip"));
    if let Some(base) = base {
        ui.horizontal_wrapped(|ui| {
            time_change_ui(ui, report.step_time, base.report.step_time);
            ui.weak(t_with("inspector.against", base.scenario.name()));
        });
    }
    if let Some([low, high]) = report.interval {
        ui.weak(format!("{low} – {high}")).on_hover_text(t("inspector.interval.tip"));
    }
    figures_ui(ui, run, base);
    fit_ui(ui, run, base);
    let time = (report.step_time, report.origin);
    breakdown_of_ui(ui, &report.breakdown, time, base.map(|base| &base.report.breakdown));
    ui.weak(format!("{} {}", t("inspector.busiest_stage"), report.critical_stage));
    exposed_of_ui(ui, run, &report.breakdown, base.map(|base| &base.report.breakdown));
    classes_of_ui(ui, run.classes(), report.critical_stage, base.map(Run::classes));
    if report.origin == Origin::Modelled {
        let header = egui::CollapsingHeader::new(t("inspector.critical")).id_salt("critical");
        header.show(ui, |ui| critical_ui(ui, run)).header_response.on_hover_text(t("inspector.critical.tip"));
    }
}

/// A figure: its value as text and as a number, and how it comes about.
struct Figure {
    key: &'static str,
    text: String,
    /// None where it is not known.
    value: Option<f64>,
    better: Better,
    formula: String,
    /// Whether it is a share of one.
    is_share: bool,
}

fn figures_ui(ui: &mut Ui, run: &Run, base: Option<&Run>) {
    let before = base.map(|base| figures(base, true)).unwrap_or_default();
    for figure in figures(run, base.is_some()) {
        let row = ui.horizontal(|ui| {
            ui.label(t(figure.key));
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                if let Some(before) = before.iter().find(|before| before.key == figure.key)
                    && let Some((now, then)) = figure.value.zip(before.value)
                {
                    let change = if figure.is_share { share_change_ui } else { change_ui };
                    change(ui, now, then, figure.better, &before.text);
                }
                ui.monospace(&figure.text);
            });
        });
        let tip = tip(figure.key).unwrap_or_default();
        row.response.on_hover_text(format!("{tip}\n{}", figure.formula).trim().to_owned());
    }
}

/// The figures of a run with the numbers that they come from; `compared` leaves room for changes.
fn figures(run: &Run, compared: bool) -> Vec<Figure> {
    let (report, scenario) = (&run.report, &run.scenario);
    let (mesh, strategy) = (scenario.mesh(), scenario.strategy());
    let parameters = shardlab_engine::model::ParameterCount::of(scenario.model());
    let time = report.mean_step_time;
    let mut figures = Vec::new();
    // Ranks that share a device say nothing about the utilisation of a cluster.
    let modelled = report.origin == Origin::Modelled;
    // Replicas that do not wait for each other are faster than the step on screen: there the formula has another factor.
    let has_formula = modelled && strategy.update != UpdateRule::Asynchronous;
    let mut add = |key, text: String, value: f64, better, formula: String| {
        let formula = if has_formula { formula } else { String::new() };
        let is_share = ["inspector.mfu", "inspector.hfu", "inspector.bubble"].contains(&key);
        let value = (modelled || !is_share).then_some(value);
        figures.push(Figure { key, text, value, better, formula, is_share });
    };
    if time != report.step_time {
        add("inspector.mean", time.to_string(), time.secs(), Better::Less, String::new());
    }
    if scenario.model().has_sequences() {
        let tokens = report.tokens_per_s;
        let formula = format!("{} / {time} = {}", grouped(scenario.step_tokens() as f64), grouped(tokens));
        add("inspector.tokens", grouped(tokens), tokens, Better::More, formula);
    } else {
        let samples = report.samples_per_s;
        let formula = format!("{} / {time} = {}", grouped(scenario.step_samples() as f64), grouped(samples));
        add("inspector.samples", grouped(samples), samples, Better::More, formula);
    }
    let percent = |share: f64| if modelled { format!("{:.1} %", share * 100.0) } else { "—".to_owned() };
    let peak = peak_rate(scenario);
    let utilisation =
        |flops: Flops, share: f64| format!("{flops} ÷ ({} × {peak} × {time}) = {}", mesh.ranks(), percent(share));
    let hardware = Flops(report.hfu / report.mfu.max(1e-12) * report.model_flops.0);
    add("inspector.mfu", percent(report.mfu), report.mfu, Better::More, utilisation(report.model_flops, report.mfu));
    add("inspector.hfu", percent(report.hfu), report.hfu, Better::Neither, utilisation(hardware, report.hfu));
    let bubble = report.bubble_fraction;
    add("inspector.bubble", percent(bubble), bubble, Better::Less, String::new());
    add("inspector.parameters", count(parameters.total()), parameters.total() as f64, Better::Neither, String::new());
    if parameters.inactive > 0 {
        add("inspector.active", count(parameters.active()), parameters.active() as f64, Better::Neither, String::new());
    }
    let mesh_text = format!("{} = {mesh}", mesh.ranks());
    let ranks = if compared { mesh.ranks().to_string() } else { mesh_text.clone() };
    add("inspector.ranks", ranks, f64::from(mesh.ranks()), Better::Neither, mesh_text);
    let (micro, replicas) = (scenario.micro_batches(), mesh.dp);
    let formula = format!("{} ÷ ({} × {replicas}) = {micro}", strategy.global_batch, strategy.micro_batch);
    add("inspector.micro_batches", micro.to_string(), f64::from(micro), Better::Neither, formula);
    figures
}

/// A part of the time that was chosen, with its figures.
#[derive(Debug)]
pub struct Part {
    from: Nanos,
    trace: Trace,
    /// The stage whose figures these are: the one that the step waits for.
    stage: u32,
    parts: Breakdown,
    classes: Vec<OpClassTime>,
    peak: Option<Bytes>,
}

impl Part {
    /// A part of a run.
    pub fn new(run: &Run, from: Nanos, until: Nanos) -> Self {
        let (trace, stage) = (window(&run.trace, from, until), run.report.critical_stage);
        let group = trace.group_of_stage(stage).unwrap_or(0);
        let parts = breakdowns(&trace).get(&group).copied().unwrap_or_default();
        let samples = trace.memory.iter().filter(|curve| curve.group == group).flat_map(|curve| &curve.samples);
        let peak = samples.map(|sample| sample.used.total()).max();
        Self { from, stage, parts, classes: op_classes(&trace, group), peak, trace }
    }
}

/// The figures of a part of the time.
pub(super) fn part_ui(ui: &mut Ui, run: &Run, part: &Part) {
    ui.horizontal(|ui| {
        heading_ui(ui, t("inspector.part"));
        origin_ui(ui, part.trace.origin);
    });
    let length = part.trace.step_time;
    ui.label(RichText::new(length.to_string()).heading().strong());
    ui.weak(format!("{} – {}", part.from, part.from + length));
    breakdown_of_ui(ui, &part.parts, (length, part.trace.origin), None);
    ui.weak(format!("{} {}", t("inspector.busiest_stage"), part.stage));
    exposed_of_ui(ui, run, &part.parts, None);
    if let Some(peak) = part.peak {
        heading_ui(ui, t("inspector.memory"));
        figure_ui(ui, "memory.peak", &peak.to_string());
    }
    classes_of_ui(ui, &part.classes, part.stage, None);
}

/// Lines of the critical path that are shown.
const CRITICAL_LINES: usize = 12;

/// What the critical path consists of, by class of op and stage, and the least that others of a class have to spare.
fn critical_ui(ui: &mut Ui, run: &Run) {
    Grid::new("critical").num_columns(3).show(ui, |ui| {
        ui.label("");
        for key in ["inspector.critical.time", "inspector.critical.slack"] {
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| ui.weak(t(key)));
        }
        ui.end_row();
        for line in run.critical_path().iter().take(CRITICAL_LINES) {
            let name = format!("{} · {}", t_or_name("class", line.class), t_with("graph.stage", line.stage));
            ui.horizontal(|ui| swatch_ui(ui, class_color(line.class), &name));
            right_ui(ui, &line.critical.to_string());
            right_ui(ui, &line.least.map_or_else(|| "—".to_owned(), |least| least.to_string()));
            ui.end_row();
        }
    });
}

/// Whether the step fits; where it does not, which block is the biggest.
fn fit_ui(ui: &mut Ui, run: &Run, base: Option<&Run>) {
    heading_ui(ui, t("inspector.memory"));
    if run.report.origin == Origin::Modelled {
        fit_badge_ui(ui, run);
    } else {
        // Ranks that share this device say nothing about the memory of a cluster's.
        let peak = run.report.peak_memory.iter().map(|stage| stage.total).max().unwrap_or_default();
        figure_ui(ui, "memory.peak", &peak.to_string());
    }
    if let Some(base) = base.filter(|base| base.report.origin == run.report.origin) {
        ui.horizontal(|ui| {
            let [now, before] = [run, base].map(|run| run.report.fit.needed);
            ui.label(t("memory.peak"));
            change_ui(ui, now.as_f64(), before.as_f64(), Better::Less, &before.to_string());
        });
    }
}

/// One line: it fits, or by how much it does not and what the biggest block is.
pub fn fit_badge_ui(ui: &mut Ui, run: &Run) {
    let (fit, colors) = (&run.report.fit, signals(ui.visuals()));
    let (color, verdict) =
        if fit.fits { (colors.good, "inspector.fits") } else { (colors.bad, "inspector.does_not_fit") };
    ui.horizontal_wrapped(|ui| {
        ui.colored_label(color, RichText::new(t(verdict)).strong()).on_hover_text(t("inspector.fits.tip"));
        ui.label(format!("{} / {}", fit.needed, fit.capacity));
        ui.weak(format!("{} {}", t("timeline.stage"), fit.stage));
    });
    if fit.beside.total().0 > 0 {
        ui.weak(t_with("inspector.beside", fit.beside.total())).on_hover_text(beside_tip(run));
    }
    if run.report.outside.0 > 0 {
        ui.label(format!("{} {}", run.report.outside, t("inspector.outside")))
            .on_hover_text(t("inspector.outside.tip"));
    }
    if !fit.fits {
        let biggest = t_or_name("memory", fit.biggest.name());
        ui.colored_label(color, format!("{}: {biggest}, {}", t("inspector.biggest"), fit.biggest_bytes));
    }
}

fn beside_tip(run: &Run) -> String {
    let beside = run.report.fit.beside;
    let marks = [("{context}", beside.context), ("{communicators}", beside.communicators)];
    marks
        .into_iter()
        .fold(t("inspector.beside.tip").to_owned(), |text, (mark, bytes)| text.replace(mark, &bytes.to_string()))
}

/// What a part is called. Ranks that share a device wait for each other: that is no bubble of a pipeline.
fn part_name(name: &'static str, origin: Origin) -> &'static str {
    if origin == Origin::Executed && name == "bubble" { t("part.idle") } else { t_or_name("part", name) }
}

/// The parts of some time, as a bar and as a table.
///
/// Beside a baseline the last column has differences, and shares are told when they are pointed at.
fn breakdown_of_ui(ui: &mut Ui, breakdown: &Breakdown, (length, origin): (Nanos, Origin), base: Option<&Breakdown>) {
    heading_ui(ui, t("inspector.breakdown"));
    let parts = breakdown.parts();
    let bars: Vec<_> =
        parts.iter().map(|(name, time)| (part_name(name, origin).to_owned(), time.secs(), part_color(name))).collect();
    stacked_bar_ui(ui, &bars);
    Grid::new("breakdown").num_columns(3).show(ui, |ui| {
        let before: Vec<_> = base.map(|base| base.parts().into_iter().collect()).unwrap_or_default();
        for (number, (name, time)) in parts.into_iter().enumerate() {
            let before = before.get(number).map(|(_, time)| *time);
            if time.0 == 0 && before.is_none_or(|before| before.0 == 0) {
                continue;
            }
            let share = format!("{:.1} %", time.secs() / length.secs().max(1e-12) * 100.0);
            let row = ui.horizontal(|ui| swatch_ui(ui, part_color(name), part_name(name, origin)));
            row.response.on_hover_text(&share);
            right_ui(ui, &time.to_string());
            match before {
                Some(before) => right_change_of_ui(ui, time, before, part_is_better(name)),
                None => right_ui(ui, &share),
            }
            ui.end_row();
        }
        ui.label(t("inspector.sum"));
        right_ui(ui, &breakdown.total().to_string());
        if let Some(base) = base {
            right_change_ui(ui, breakdown.total(), base.total());
        }
        ui.end_row();
    });
}

fn exposed_of_ui(ui: &mut Ui, run: &Run, parts: &Breakdown, base: Option<&Breakdown>) {
    heading_ui(ui, t("inspector.exposed"));
    let mesh = run.scenario.mesh();
    let before: Vec<_> = base.map(|base| exposed_communication(base).into_iter().collect()).unwrap_or_default();
    for (axis, time) in exposed_communication(parts) {
        let before = before.iter().find(|(of, _)| *of == axis).map(|(_, time)| *time);
        let is_there = before.is_some_and(|before| before.0 > 0);
        if !is_there && ((axis, mesh.cp) == ("cp", 1) || (axis, mesh.ep) == ("ep", 1)) {
            continue;
        }
        ui.horizontal(|ui| {
            ui.label(t_or_name("axis", axis));
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                if let Some(before) = before {
                    time_change_ui(ui, time, before);
                }
                ui.monospace(time.to_string());
            });
        });
    }
}

fn classes_of_ui(ui: &mut Ui, classes: &[OpClassTime], stage: u32, base: Option<&[OpClassTime]>) {
    heading_ui(ui, t("inspector.classes"));
    Grid::new("classes").num_columns(3 + usize::from(base.is_some())).show(ui, |ui| {
        ui.weak(t_with("graph.stage", stage));
        for key in ["inspector.count", "inspector.busy"] {
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| ui.weak(t(key)));
        }
        ui.end_row();
        for class in classes {
            ui.horizontal(|ui| swatch_ui(ui, class_color(class.class), t_or_name("class", class.class)));
            right_ui(ui, &grouped(class.count as f64));
            right_ui(ui, &class.time.to_string());
            if let Some(base) = base {
                let before = base.iter().find(|before| before.class == class.class);
                right_change_ui(ui, class.time, before.map_or(Nanos::ZERO, |before| before.time));
            }
            ui.end_row();
        }
    });
}

/// A large number: in millions or billions, or to the last digit where it is small.
fn count(number: u64) -> String {
    match number {
        0..1_000_000 => number.to_string(),
        1_000_000..1_000_000_000 => t_with("number.millions", format!("{:.1}", number as f64 / 1e6)),
        // Chinese counts large numbers by 10⁸.
        _ if language() == Language::Chinese => t_with("number.billions", format!("{:.2}", number as f64 / 1e8)),
        _ => t_with("number.billions", format!("{:.3}", number as f64 / 1e9)),
    }
}
