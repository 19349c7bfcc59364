//! Every combination of some fields: the front, what matters, parallel coordinates.

use std::collections::BTreeMap;

use egui::{Align2, FontId, Grid, Pos2, ProgressBar, Sense, Stroke, Ui, pos2, vec2};
use egui_plot::{Legend, Line, Plot, PlotPoints, Points};
use shardlab_engine::report::{self, value_text};
use shardlab_engine::search::{Against, MOST_POINTS, Space, SweepPoint, importance, pareto};

use super::short;
use crate::gui::design_tokens::{line_colors, load_color, selection_stroke, signals};
use crate::gui::i18n::{t, t_or_name, t_with};
use crate::gui::job::{Job, Message};
use crate::gui::session::Session;
use crate::gui::widgets::{even_grid, grouped, heading_ui};

/// Lines of parallel coordinates that are drawn.
const LINES: usize = 2000;
/// Height of the parallel coordinates.
const HEIGHT: f32 = 230.0;
/// Rows of the table.
const ROWS: usize = 40;

/// A sweep and what it has tried.
#[derive(Debug, Default)]
pub struct SweepPart {
    job: Option<Job>,
    space: Option<Space>,
    points: Vec<SweepPoint>,
    against: Against,
    derived: Derived,
}

/// What follows from the points, found once for every number of them.
#[derive(Debug, Default)]
struct Derived {
    of: Option<(usize, Against)>,
    front: Vec<usize>,
    importance: Vec<(String, f64)>,
    valid: usize,
    fitting: usize,
}

impl SweepPart {
    /// Takes what the job has told.
    pub fn receive(&mut self) {
        for message in self.job.as_mut().map(Job::receive).unwrap_or_default() {
            if let Message::Swept(points) = message {
                self.points.extend(points);
            }
        }
        if !self.is_running() {
            self.derive();
        }
    }

    /// Of which combinations it is.
    pub fn space(&self) -> Option<&Space> {
        self.space.as_ref()
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.job.as_ref().is_some_and(Job::is_running)
    }

    /// What tests read.
    pub fn state(&self) -> serde_json::Value {
        let front = if self.is_running() { 0 } else { self.derived.front.len() };
        serde_json::json!({ "running": self.is_running(), "points": self.points.len(), "front": front })
    }

    /// Begins to try all combinations; says why not where there are too many.
    pub fn start(&mut self, context: &egui::Context, space: Space) -> Result<(), String> {
        if space.len() > MOST_POINTS {
            return Err(t_with("sweep.too_many", grouped(space.len() as f64)));
        }
        self.points.clear();
        self.derived = Derived::default();
        self.space = Some(space.clone());
        self.job = Some(Job::sweep(context, space));
        Ok(())
    }

    /// Ends it; what was tried stays.
    pub fn cancel(&self) {
        self.job.iter().for_each(Job::cancel);
    }

    /// Finds what follows from the points, where there are others.
    fn derive(&mut self) {
        let key = Some((self.points.len(), self.against));
        if self.derived.of == key {
            return;
        }
        let known =
            |fits: bool| move |point: &&SweepPoint| point.figures().is_some_and(|figures| figures.fits || !fits);
        self.derived = Derived {
            of: key,
            front: pareto(&self.points, self.against),
            importance: self.space.as_ref().map(|space| importance(space, &self.points)).unwrap_or_default(),
            valid: self.points.iter().filter(known(false)).count(),
            fitting: self.points.iter().filter(known(true)).count(),
        };
    }

    /// Draws what was tried; returns the combination that is to be opened.
    pub fn ui(&mut self, ui: &mut Ui, session: &mut Session) -> Option<u64> {
        self.derive();
        let space = self.space.as_ref()?;
        let all = space.len();
        if self.is_running() {
            ui.add(ProgressBar::new(self.points.len() as f32 / all.max(1) as f32).desired_width(420.0));
        }
        ui.label(format!(
            "{} / {} · {} · {}",
            grouped(self.points.len() as f64),
            grouped(all as f64),
            t_with("sweep.valid", self.derived.valid),
            t_with("sweep.fitting", self.derived.fitting)
        ));
        ui.horizontal(|ui| {
            ui.label(t("sweep.against"));
            for against in Against::ALL {
                ui.selectable_value(&mut self.against, against, t_or_name("sweep.against", against.name()));
            }
            if ui.button(t("sweep.save_csv")).clicked() {
                session.save("sweep.csv".to_owned(), report::sweep_csv(space, &self.points));
            }
            if ui.button(t("search.save")).clicked() {
                session.save("sweep.json".to_owned(), report::sweep_json(space, &self.points, self.against));
            }
        });
        let front = &self.derived.front;
        let mut chosen = plot_ui(ui, &self.points, front, self.against);
        importance_ui(ui, &self.derived.importance);
        chosen = parallel_ui(ui, space, &self.points, front).or(chosen);
        table_ui(ui, space, &self.points, front).or(chosen)
    }
}

/// Step time against memory or cost; what fits, what does not, and the front. A click opens the nearest point.
fn plot_ui(ui: &mut Ui, points: &[SweepPoint], front: &[usize], against: Against) -> Option<u64> {
    let scale = if against == Against::Memory { f64::from(1 << 30) } else { 1.0 };
    let at = |point: &SweepPoint| {
        let figures = point.figures()?;
        Some([figures.step_time.secs(), against.of(figures) / scale])
    };
    let of = |fits: bool| -> PlotPoints<'_> {
        points.iter().filter(|p| p.figures().is_some_and(|f| f.fits == fits)).filter_map(at).collect()
    };
    let line: PlotPoints<'_> = front.iter().filter_map(|&place| at(&points[place])).collect();
    let plot =
        even_grid(Plot::new("sweep-plot").height(240.0).allow_scroll(false), ui.visuals()).legend(Legend::default());
    let plot = plot.x_axis_label(t("search.plot.time")).y_axis_label(t_or_name("sweep.against", against.name()));
    let (colors, bad) = (line_colors(), signals(ui.visuals()).bad);
    let response = plot.show(ui, |plot| {
        plot.points(Points::new(t("sweep.not_fitting"), of(false)).radius(2.0).color(bad));
        plot.points(Points::new(t("sweep.points"), of(true)).radius(2.5).color(colors[0]));
        plot.line(Line::new(t("sweep.front"), line).color(colors[1]).width(2.0));
        (plot.response().clicked(), plot.pointer_coordinate(), plot.plot_bounds())
    });
    let (clicked, pointer, bounds) = response.inner;
    let pointer = pointer.filter(|_| clicked)?;
    let distance = |point: &SweepPoint| {
        let [x, y] = at(point)?;
        Some(((x - pointer.x) / bounds.width()).powi(2) + ((y - pointer.y) / bounds.height()).powi(2))
    };
    let near = points.iter().filter_map(|point| Some((distance(point)?, point.index)));
    near.min_by(|a, b| a.0.total_cmp(&b.0)).filter(|(distance, _)| *distance < 0.002).map(|(_, index)| index)
}

/// How much each field matters.
fn importance_ui(ui: &mut Ui, shares: &[(String, f64)]) {
    heading_ui(ui, t("sweep.importance")).on_hover_text(t("sweep.importance.tip"));
    Grid::new("importance").num_columns(3).show(ui, |ui| {
        for (path, share) in shares {
            ui.label(short(path)).on_hover_text(path);
            #[expect(clippy::cast_possible_truncation, reason = "a share")]
            ui.add(ProgressBar::new(*share as f32).desired_width(220.0).desired_height(10.0));
            ui.monospace(format!("{:.1} %", share * 100.0));
            ui.end_row();
        }
    });
}

/// A line for every combination through its values, and its step time at the right; the front is drawn over the others.
/// A click opens the nearest of the front.
fn parallel_ui(ui: &mut Ui, space: &Space, points: &[SweepPoint], front: &[usize]) -> Option<u64> {
    heading_ui(ui, t("sweep.parallel")).on_hover_text(t("sweep.parallel.tip"));
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width().max(500.0), HEIGHT), Sense::click());
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Figure, true, t("sweep.parallel")));
    let plot = rect.shrink2(vec2(60.0, 26.0));
    let axes = space.axes.len() + 1;
    let x = |axis: usize| plot.left() + plot.width() * axis as f32 / (axes - 1).max(1) as f32;
    let times = points.iter().filter_map(|point| Some(point.figures()?.step_time.secs().max(1e-12).ln()));
    let (low, high) = times.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), time| (a.min(time), b.max(time)));
    let known: Vec<BTreeMap<String, f32>> = space.axes.iter().map(places).collect();
    let path = |point: &SweepPoint| -> Option<Vec<Pos2>> {
        let time = point.figures()?.step_time.secs().max(1e-12).ln();
        let mut line: Vec<Pos2> = Vec::with_capacity(axes);
        for (axis, value) in point.values.iter().enumerate() {
            let share = known[axis].get(&value.to_string()).copied().unwrap_or(0.5);
            line.push(pos2(x(axis), plot.bottom() - share * plot.height()));
        }
        #[expect(clippy::cast_possible_truncation, reason = "a share")]
        let share = if high > low { ((time - low) / (high - low)) as f32 } else { 0.5 };
        line.push(pos2(x(axes - 1), plot.bottom() - share * plot.height()));
        Some(line)
    };
    let every = points.len().div_ceil(LINES).max(1);
    for line in points.iter().step_by(every).filter_map(path) {
        let share = f64::from((plot.bottom() - line[axes - 1].y) / plot.height());
        ui.painter()
            .line(line, Stroke::new(0.6, load_color(0.15 + 0.6 * (1.0 - share), ui.visuals()).gamma_multiply(0.6)));
    }
    for line in front.iter().filter_map(|&place| path(&points[place])) {
        ui.painter().line(line, Stroke::new(1.8, line_colors()[1]));
    }
    axes_ui(ui, space, &known, (plot.top(), plot.bottom()), x);
    let at = response.interact_pointer_pos().filter(|_| response.clicked())?;
    let nearest = front.iter().filter_map(|&place| Some((distance(&path(&points[place])?, at), points[place].index)));
    nearest.min_by(|a, b| a.0.total_cmp(&b.0)).filter(|(distance, _)| *distance < 12.0).map(|(_, index)| index)
}

/// Where each value of an axis stands, from the bottom up.
fn places(axis: &shardlab_engine::search::Axis) -> BTreeMap<String, f32> {
    let last = (axis.values.len() - 1).max(1) as f32;
    let place = |(place, value): (usize, &serde_json::Value)| (value.to_string(), place as f32 / last);
    axis.values.iter().enumerate().map(place).collect()
}

fn axes_ui(
    ui: &Ui,
    space: &Space,
    known: &[BTreeMap<String, f32>],
    (top, bottom): (f32, f32),
    x: impl Fn(usize) -> f32,
) {
    let (font, color) = (FontId::proportional(10.5), ui.visuals().text_color());
    // On a ground of its own, since lines run below it.
    let ground = ui.visuals().panel_fill.gamma_multiply(0.85);
    let text = |at: Pos2, align: Align2, text: &str| {
        let galley = ui.painter().layout_no_wrap(text.to_owned(), font.clone(), color);
        let place = align.anchor_size(at, galley.size());
        ui.painter().rect_filled(place.expand2(vec2(2.0, 0.0)), 2.0, ground);
        ui.painter().galley(place.min, galley, color);
    };
    for (axis, places) in known.iter().enumerate() {
        ui.painter().vline(
            x(axis),
            top..=bottom,
            Stroke::new(1.0, selection_stroke(ui.visuals()).color.gamma_multiply(0.5)),
        );
        text(pos2(x(axis), top - 14.0), Align2::CENTER_CENTER, short(&space.axes[axis].path));
        for (value, share) in places {
            let at = pos2(x(axis) + 4.0, bottom - share * (bottom - top));
            text(at, Align2::LEFT_CENTER, value.trim_matches('"'));
        }
    }
    let last = x(known.len());
    ui.painter().vline(last, top..=bottom, selection_stroke(ui.visuals()));
    text(pos2(last, top - 14.0), Align2::CENTER_CENTER, t("inspector.step_time"));
}

fn distance(line: &[Pos2], at: Pos2) -> f32 {
    let of_segment = |pair: &[Pos2]| {
        let (from, along) = (pair[0], pair[1] - pair[0]);
        let share = ((at - from).dot(along) / along.length_sq().max(1e-6)).clamp(0.0, 1.0);
        (from + along * share).distance(at)
    };
    line.windows(2).map(of_segment).fold(f32::INFINITY, f32::min)
}

/// The front as a table; returns the combination that is to be opened.
fn table_ui(ui: &mut Ui, space: &Space, points: &[SweepPoint], front: &[usize]) -> Option<u64> {
    heading_ui(ui, t("sweep.front"));
    let mut chosen = None;
    Grid::new("front").striped(true).show(ui, |ui| {
        ui.label("");
        for key in ["search.step", "search.memory", "search.mfu", "measure.device_hours_per_million"] {
            ui.weak(t(key));
        }
        for axis in &space.axes {
            ui.weak(short(&axis.path));
        }
        ui.end_row();
        for (number, &place) in (1..).zip(front).take(ROWS) {
            let point = &points[place];
            let Some(figures) = point.figures() else { continue };
            if ui.button(t_with("search.apply", number)).on_hover_text(t("search.apply.tip")).clicked() {
                chosen = Some(point.index);
            }
            ui.monospace(figures.step_time.to_string());
            ui.monospace(figures.memory.to_string());
            ui.monospace(format!("{:.1} %", figures.mfu * 100.0));
            ui.monospace(format!("{:.3}", figures.device_hours));
            for value in &point.values {
                ui.monospace(value_text(value));
            }
            ui.end_row();
        }
    });
    chosen
}
