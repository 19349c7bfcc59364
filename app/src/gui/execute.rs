//! Real training on this device: loss curve, throughput, memory, bytes moved and times by class of op, live.

use std::sync::Arc;

use egui::{Grid, Ui};
use egui_plot::{Line, Plot, PlotPoints};
use shardlab_engine::analysis::{OpClassTime, op_classes};
use shardlab_engine::exec::{
    BackendInfo, BackendKind, ExecError, StepResult, Stored, Tuning, executable_graph, executable_step,
};
use shardlab_engine::report;
use shardlab_engine::scenario::{Scenario, ScenarioFile, check, preset_file, state_of};
use shardlab_engine::trace::{MemoryCategory, Origin};
use shardlab_engine::units::Bytes;

use super::design_tokens::{class_color, line_colors, memory_color, signals};
#[cfg(not(target_arch = "wasm32"))]
use super::feed::FeedView;
use super::i18n::{message, t, t_or_name, t_with};
use super::job::{Checkpoint, Job, Message, Start, Training};
use super::kept::KeptRun;
use super::placement::placement_ui;
use super::pool::PoolView;
use super::session::{Run, Session};
use super::widgets::{error_ui, even_grid, figure_ui, heading_ui, origin_ui, stacked_bar_ui, swatch_ui, warning_ui};

/// The preset that is offered where the scenario is too large for this device.
pub const SMALL_PRESET: &str = "tiny-llama-1";

/// A training run and what it has told so far.
#[derive(Debug)]
pub struct ExecuteView {
    job: Option<Job>,
    /// What was asked for.
    kind: BackendKind,
    /// What runs.
    backend: Option<BackendInfo>,
    /// Why it is not what was asked for.
    note: Option<String>,
    /// Loss by step.
    losses: Vec<(u32, f64)>,
    /// Tokens per second by step.
    rates: Vec<[f64; 2]>,
    last: Option<Box<StepResult>>,
    classes: Vec<OpClassTime>,
    steps: u32,
    error: Option<String>,
    /// What was trained.
    scenario: Option<Scenario>,
    /// Whether the ways to compute kernels are measured before training.
    tune: bool,
    /// The share of them that is measured, while it goes on.
    tuned: Option<f32>,
    /// Looks once whether there is a GPU, so that its absence is told before anybody waits for it.
    probe: Option<Job>,
    /// What the run can go on from.
    checkpoint: Option<Checkpoint>,
    /// What keeping it took.
    stored: Option<Stored>,
    /// The scenario as it was written, of which the run is.
    file: ScenarioFile,
    /// Whether runs are kept for the next visit; not where nothing else is, as in tests.
    keeps: bool,
    /// The run of an earlier visit.
    kept: Option<Box<KeptRun>>,
    /// Why it cannot be read.
    unreadable: Option<String>,
    /// Looks for it, or forgets it.
    looking: Option<Job>,
    pool: PoolView,
    /// What it waits for samples from disk.
    #[cfg(not(target_arch = "wasm32"))]
    feed: FeedView,
}

impl Default for ExecuteView {
    fn default() -> Self {
        Self {
            job: None,
            kind: BackendKind::Wgpu,
            backend: None,
            note: None,
            losses: Vec::new(),
            rates: Vec::new(),
            last: None,
            classes: Vec::new(),
            steps: 0,
            error: None,
            scenario: None,
            tune: false,
            tuned: None,
            probe: None,
            checkpoint: None,
            stored: None,
            file: ScenarioFile::default(),
            keeps: false,
            kept: None,
            unreadable: None,
            looking: None,
            #[cfg(not(target_arch = "wasm32"))]
            feed: FeedView::default(),
            pool: PoolView::default(),
        }
    }
}

impl ExecuteView {
    /// The backend that runs, once it is open.
    pub fn backend_name(&self) -> Option<&str> {
        self.backend.as_ref().map(|backend| backend.kind.name())
    }

    /// What tests read: the backend that was asked for, the device that runs, and the loss of every step.
    pub fn state(&self) -> serde_json::Value {
        let steps: Vec<_> =
            self.losses.iter().map(|(step, loss)| serde_json::json!({ "step": step, "loss": loss })).collect();
        #[cfg(not(target_arch = "wasm32"))]
        let feed = self.feed.state();
        #[cfg(target_arch = "wasm32")]
        let feed = serde_json::Value::Null;
        serde_json::json!({
            "feed": feed,
            "running": self.is_running(),
            "paused": self.job.as_ref().is_some_and(Job::is_paused),
            "backend": self.kind.name(),
            "device": self.backend.as_ref().map(|backend| &backend.name),
            "note": self.note,
            "steps": steps,
            "pools": self.last.as_ref().map(|last| last.pools.iter().map(|pool| serde_json::json!({
                "reserved": pool.reserved.0,
                "out_moves": pool.out.moves,
                "in_moves": pool.back.moves,
            })).collect::<Vec<_>>()),
            "checkpoint": self.checkpoint.as_ref().map(|(step, _)| step),
            "stored": self.stored,
            "kept": self.kept.as_ref().map(|kept| serde_json::json!({ "name": kept.name, "steps": kept.steps })),
            "error": self.error,
        })
    }

    fn is_running(&self) -> bool {
        self.job.as_ref().is_some_and(Job::is_running)
    }

    /// Takes what the job has told; returns errors. What was found of kernels goes into `tuning`.
    pub fn receive(&mut self, context: &egui::Context, tuning: &mut Tuning) -> Vec<String> {
        for message in self.probe.get_or_insert_with(|| Job::probe(context)).receive() {
            if let Message::Opened(_, Some(note)) = message {
                (self.kind, self.note) = (BackendKind::Cpu, Some(note));
            }
        }
        #[cfg(not(target_arch = "wasm32"))]
        self.feed.receive();
        for message in self.looking.as_mut().map(Job::receive).unwrap_or_default() {
            match message {
                Message::Found(run) => self.kept = Some(run),
                Message::NotKept(error) => self.unreadable = Some(error),
                _ => {}
            }
        }
        let messages = self.job.as_mut().map(Job::receive).unwrap_or_default();
        let mut errors: Vec<String> = self.unreadable.take().into_iter().collect();
        for message in messages {
            match message {
                Message::Opened(backend, note) => {
                    self.backend = Some(backend);
                    self.note = note.or(self.note.take());
                }
                Message::Otherwise(otherwise) => self.note = Some(otherwise),
                Message::Step(result) => self.add(result),
                Message::Checkpoint(checkpoint, stored) => {
                    (self.checkpoint, self.stored) = (Some(checkpoint), Some(stored));
                }
                Message::NotKept(error) => errors.push(t_with("execute.not_kept", error)),
                Message::Failed(error) => {
                    self.error = Some(error.clone());
                    errors.push(error);
                }
                Message::Measuring(_, share) => self.tuned = Some(share),
                Message::Tuned(found) => {
                    *tuning = *found;
                    self.tuned = None;
                }
                _ => {}
            }
        }
        errors
    }

    fn add(&mut self, result: Box<StepResult>) {
        self.losses.push((result.step, result.loss));
        self.rates.push([f64::from(result.step), self.scenario.as_ref().map_or(0.0, |s| result.throughput(s))]);
        self.classes = op_classes(&result.trace, 0);
        self.last = Some(result);
    }

    /// Trains `steps` steps of the scenario on screen, or of the small preset where that is too large.
    pub fn start_small(&mut self, session: &mut Session, kind: BackendKind, steps: u32, context: &egui::Context) {
        let current = check(&session.file).ok().filter(|scenario| executable_graph(scenario).is_ok());
        let scenario = current.or_else(|| {
            session.load_preset(SMALL_PRESET);
            check(&preset_file(SMALL_PRESET).ok()?).ok()
        });
        if let Some(scenario) = scenario {
            self.file = session.file.clone();
            self.start(context, scenario, kind, steps, &session.tuning, Start::Anew);
        }
    }

    /// Keeps runs for the next visit, and looks for that of the last.
    pub fn keep_runs(&mut self, context: &egui::Context) {
        (self.keeps, self.looking) = (true, Some(Job::look_for_kept(context)));
    }

    /// What outlives a run.
    fn fresh(&mut self) -> Self {
        Self {
            kind: self.kind,
            tune: self.tune,
            probe: self.probe.take(),
            note: self.note.take(),
            pool: std::mem::take(&mut self.pool),
            #[cfg(not(target_arch = "wasm32"))]
            feed: std::mem::take(&mut self.feed),
            file: std::mem::take(&mut self.file),
            keeps: self.keeps,
            looking: self.looking.take(),
            ..Self::default()
        }
    }

    fn start(
        &mut self,
        context: &egui::Context,
        scenario: Scenario,
        kind: BackendKind,
        steps: u32,
        tuning: &Tuning,
        from: Start,
    ) {
        *self = Self { kind, steps, scenario: Some(scenario.clone()), ..self.fresh() };
        self.job = Some(Job::train(context, self.training(scenario, tuning, from)));
    }

    fn training(&self, scenario: Scenario, tuning: &Tuning, from: Start) -> Training {
        let (kind, steps, tune, tuning) = (self.kind, self.steps, self.tune, tuning.clone());
        let keep = self.keeps.then(|| Box::new(self.file.clone()));
        Training { scenario, kind, steps, tuning, tune, from, keep }
    }

    /// Whether kernels that are not known are measured before the next run.
    pub fn set_tune(&mut self, tune: bool) {
        self.tune = tune;
    }

    /// Goes on with the run that has ended, or else with that of an earlier visit.
    pub fn go_on_with_last(&mut self, context: &egui::Context, session: &mut Session) {
        if self.checkpoint.is_some() && !self.is_running() {
            self.go_on(context, &session.tuning);
        } else {
            self.go_on_with_kept(context, session);
        }
    }

    /// Goes on with the run of an earlier visit.
    fn go_on_with_kept(&mut self, context: &egui::Context, session: &mut Session) {
        let Some(kept) = self.kept.clone() else { return };
        match check(&kept.file) {
            Ok(scenario) => {
                session.load(kept.file.clone(), None);
                self.file = kept.file;
                // A run that has reached its end goes on for as many steps again.
                let asked = scenario.run().steps;
                let steps = if kept.steps < asked { asked } else { kept.steps.saturating_add(asked) };
                self.start(context, scenario, self.kind, steps, &session.tuning, Start::Kept);
            }
            Err(error) => self.error = Some(error.to_string()),
        }
    }

    /// Goes on where the last checkpoint was made: to the end, or as many steps again where it is reached.
    fn go_on(&mut self, context: &egui::Context, tuning: &Tuning) {
        let (Some(scenario), Some(from)) = (self.scenario.clone(), self.checkpoint.clone()) else { return };
        if from.0 >= self.steps {
            self.steps += scenario.run().steps;
        }
        self.error = None;
        // What was trained after the checkpoint is trained again.
        let kept = self.losses.iter().take_while(|(step, _)| *step <= from.0).count();
        self.losses.truncate(kept);
        self.rates.truncate(kept);
        self.job = Some(Job::train(context, self.training(scenario, tuning, Start::At(from))));
    }

    /// Where a run that has ended can go on, and a file to keep.
    fn checkpoint_ui(&mut self, ui: &mut Ui, session: &mut Session) {
        let Some((step, bytes)) = self.checkpoint.clone().filter(|_| !self.is_running()) else { return };
        ui.horizontal(|ui| {
            ui.label(t_with("execute.checkpoint", step)).on_hover_text(t("execute.checkpoint.tip"));
            if ui.button(t("execute.go_on")).on_hover_text(t("execute.go_on.tip")).clicked() {
                self.go_on(ui.ctx(), &session.tuning);
            }
            if ui.button(t("execute.keep")).on_hover_text(t("execute.keep.tip")).clicked() {
                let name = self.scenario.as_ref().map_or("", Scenario::name);
                session.save(format!("{name}.{step}.safetensors"), bytes.to_vec());
            }
        });
        self.stored_ui(ui);
    }

    /// What keeping the checkpoint took, beside what is modelled.
    fn stored_ui(&self, ui: &mut Ui) {
        let (Some(stored), Some(scenario)) = (&self.stored, &self.scenario) else { return };
        let modelled = state_of(scenario.model(), scenario.strategy().optimizer);
        let parts = [
            ("{bytes}", stored.stored.to_string()),
            ("{reading}", stored.reading.to_string()),
            ("{packing}", stored.packing.to_string()),
            ("{writing}", stored.writing.to_string()),
            ("{modelled}", modelled.to_string()),
        ];
        let text =
            parts.into_iter().fold(t("execute.stored").to_owned(), |text, (mark, part)| text.replace(mark, &part));
        ui.weak(text).on_hover_text(t("execute.stored.tip"));
    }

    /// The run of an earlier visit: to go on with, or to be forgotten.
    fn kept_ui(&mut self, ui: &mut Ui, session: &mut Session) {
        let Some(kept) = self.kept.as_ref().filter(|_| !self.is_running()) else { return };
        let text = [
            ("{name}", kept.name.clone()),
            ("{step}", kept.steps.to_string()),
            ("{bytes}", Bytes(kept.bytes).to_string()),
        ]
        .into_iter()
        .fold(t("execute.kept").to_owned(), |text, (mark, part)| text.replace(mark, &part));
        let (mut go_on, mut forget) = (false, false);
        ui.horizontal_wrapped(|ui| {
            ui.label(text);
            go_on = ui.button(t("execute.go_on")).on_hover_text(t("execute.kept.tip")).clicked();
            forget = ui.button(t("execute.forget")).on_hover_text(t("execute.forget.tip")).clicked();
        });
        if go_on {
            self.go_on_with_kept(ui.ctx(), session);
        } else if forget {
            (self.kept, self.looking) = (None, Some(Job::forget_kept(ui.ctx())));
        }
    }

    /// Draws the view.
    pub fn ui(&mut self, ui: &mut Ui, session: &mut Session) {
        egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
            ui.horizontal(|ui| {
                heading_ui(ui, t("execute.title"));
                // Until something ran there are no executed figures.
                if self.last.is_some() {
                    origin_ui(ui, Origin::Executed);
                }
            });
            ui.weak(t("execute.about"));
            self.kept_ui(ui, session);
            if !self.is_running() {
                placement_ui(ui, session);
            }
            match executable_step(&session.run.scenario, &session.run.step) {
                // What runs can be paused and stopped whatever is on screen by now.
                _ if self.is_running() => self.running_ui(ui),
                Ok(()) => {
                    self.controls_ui(ui, session);
                    self.pool.policy_ui(ui, session);
                }
                Err(error) => {
                    too_large_ui(ui, session, &error.to_string());
                    // What it may take can be raised here.
                    if matches!(error, ExecError::TooMuchMemory { .. }) {
                        self.pool.policy_ui(ui, session);
                    }
                }
            }
            self.device_ui(ui);
            if session.run.scenario.strategy().precision.is_emulated() {
                ui.colored_label(signals(ui.visuals()).warn, t("execute.emulated"));
            }
            if let Some(error) = &self.error {
                error_ui(ui, error);
            }
            self.checkpoint_ui(ui, session);
            if self.last.is_some() {
                ui.horizontal(|ui| self.after_ui(ui, session));
                self.result_ui(ui);
            }
            self.pool.ui(ui, self.last.as_deref(), session);
            #[cfg(not(target_arch = "wasm32"))]
            self.feed.ui(ui, session);
        });
    }

    fn controls_ui(&mut self, ui: &mut Ui, session: &Session) {
        ui.horizontal(|ui| {
            for (kind, key) in [(BackendKind::Wgpu, "execute.wgpu"), (BackendKind::Cpu, "execute.cpu")] {
                ui.selectable_value(&mut self.kind, kind, t(key));
            }
            ui.separator();
            if self.kind == BackendKind::Wgpu {
                ui.checkbox(&mut self.tune, t("execute.tune")).on_hover_text(t("execute.tune.tip"));
            }
            if ui.button(t("execute.start")).on_hover_text(t("execute.start.tip")).clicked() {
                // What is written is what runs, also where it is not simulated yet.
                match check(&session.file) {
                    Ok(scenario) => {
                        let steps = scenario.run().steps;
                        self.file = session.file.clone();
                        self.start(ui.ctx(), scenario, self.kind, steps, &session.tuning, Start::Anew);
                    }
                    Err(error) => self.error = Some(error.to_string()),
                }
            }
        });
    }

    fn running_ui(&mut self, ui: &mut Ui) {
        ui.horizontal(|ui| {
            let paused = self.job.as_ref().is_some_and(Job::is_paused);
            if ui.button(t(if paused { "execute.resume" } else { "execute.pause" })).clicked() {
                self.set_paused(!paused);
            }
            if ui.button(t("execute.stop")).on_hover_text(t("execute.stop.tip")).clicked() {
                self.stop();
            }
            if ui.button(t("execute.cancel")).on_hover_text(t("execute.cancel.tip")).clicked() {
                self.cancel();
            }
            if let Some(share) = self.tuned {
                ui.add(egui::ProgressBar::new(share).desired_width(160.0).text(t("execute.tuning")));
                return;
            }
            let step = self.losses.last().map_or(0, |(step, _)| *step);
            let done = step as f32 / self.steps.max(1) as f32;
            let text = format!("{step} / {}", self.steps);
            ui.add(egui::ProgressBar::new(done).desired_width(160.0).text(text));
        });
    }

    /// Pauses or resumes what runs.
    pub fn set_paused(&self, paused: bool) {
        if let Some(job) = &self.job {
            job.set_paused(paused);
        }
    }

    /// Ends after the current step; what was trained stays.
    pub fn stop(&self) {
        if let Some(job) = &self.job {
            job.cancel();
        }
    }

    /// Ends and forgets what was trained.
    pub fn cancel(&mut self) {
        // Dropping a job cancels it.
        *self = self.fresh();
    }

    /// Why kernels run on the CPU although they need not, if so.
    pub fn fallback(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The device, and a banner where it is not the one that was asked for.
    fn device_ui(&self, ui: &mut Ui) {
        if let Some(note) = &self.note {
            let color = signals(ui.visuals()).warn;
            egui::Frame::group(ui.style()).stroke(egui::Stroke::new(1.0, color)).show(ui, |ui| {
                ui.colored_label(color, t("execute.fallback"));
                ui.label(message(note));
            });
        }
        if let Some(backend) = &self.backend {
            let of = self.scenario.as_ref().map_or("", Scenario::name);
            ui.weak(format!("{of} · {} · {} · {}", backend.name, backend.detail, t_or_name("timing", backend.timing)));
        }
    }

    fn after_ui(&self, ui: &mut Ui, session: &mut Session) {
        if ui.button(t("execute.look")).on_hover_text(t("execute.look.tip")).clicked() {
            self.look(session);
        }
        if ui.button(t("execute.save")).on_hover_text(t("execute.save.tip")).clicked() {
            let steps = self.losses.iter().zip(&self.rates).map(|(&(step, loss), rate)| (step, loss, rate[1]));
            let name = self.scenario.as_ref().map_or("", Scenario::name);
            session.save(format!("{name}.loss.csv"), report::loss_csv(steps));
        }
    }

    /// Hands the last step's trace to the other views.
    pub fn look(&self, session: &mut Session) {
        if let (Some(scenario), Some(last)) = (&self.scenario, &self.last) {
            session.executed = Some(Arc::new(Run::of_trace(self.file.clone(), scenario.clone(), last.trace.clone())));
            session.executed_on = self.backend.as_ref().map(|backend| backend.name.clone());
            session.show_executed = true;
        }
    }

    fn result_ui(&self, ui: &mut Ui) {
        let losses: Vec<[f64; 2]> = self.losses.iter().map(|&(step, loss)| [f64::from(step), loss]).collect();
        let [loss_color, rate_color] = line_colors();
        ui.columns(2, |cells| {
            curve_ui(&mut cells[0], "execute.loss", &losses, loss_color, false);
            curve_ui(&mut cells[1], self.unit(), &self.rates, rate_color, true);
        });
        let Some(last) = &self.last else { return };
        ui.columns(2, |cells| {
            figures_ui(&mut cells[0], last, (self.unit(), self.rates.last().map_or(0.0, |rate| rate[1])));
            self.classes_ui(&mut cells[1]);
        });
    }

    /// What throughput is counted in.
    fn unit(&self) -> &'static str {
        let sequences = self.scenario.as_ref().is_none_or(|scenario| scenario.model().has_sequences());
        if sequences { "execute.tokens" } else { "execute.samples" }
    }

    fn classes_ui(&self, ui: &mut Ui) {
        heading_ui(ui, t("execute.classes"));
        Grid::new("executed classes").num_columns(4).striped(true).show(ui, |ui| {
            for class in &self.classes {
                ui.horizontal(|ui| swatch_ui(ui, class_color(class.class), t_or_name("class", class.class)));
                ui.monospace(class.count.to_string());
                ui.monospace(class.time.to_string());
                ui.monospace(class.rate().map_or_else(String::new, |rate| rate.to_string()));
                ui.end_row();
            }
        });
    }
}

fn curve_ui(ui: &mut Ui, key: &'static str, points: &[[f64; 2]], color: egui::Color32, from_zero: bool) {
    ui.strong(t(key));
    let plot = Plot::new(key).height(200.0).allow_scroll(false).x_axis_label(t("execute.step"));
    let mut plot = even_grid(plot, ui.visuals());
    if from_zero {
        plot = plot.include_y(0.0);
    }
    plot.show(ui, |plot| {
        plot.line(Line::new(t(key), PlotPoints::from(points.to_vec())).color(color).width(1.8));
    });
}

fn figures_ui(ui: &mut Ui, last: &StepResult, (unit, rate): (&'static str, f64)) {
    heading_ui(ui, t("execute.last"));
    ui.group(|ui| {
        figure_ui(ui, "execute.step", &last.step.to_string());
        figure_ui(ui, "execute.loss", &format!("{:.4}", last.loss));
        figure_ui(ui, "execute.norm", &format!("{:.4}", last.gradient_norm));
        if let Some(scale) = last.loss_scale {
            figure_ui(ui, "execute.loss_scale", &scale.to_string());
        }
        if last.skipped {
            ui.colored_label(signals(ui.visuals()).warn, t("execute.skipped"));
        }
        figure_ui(ui, "execute.wall", &last.wall.to_string());
        figure_ui(ui, "execute.outside", &format!("{:.1} %", last.outside_kernels() * 100.0));
        if let Some(each) = last.encoding_per_call() {
            figure_ui(ui, "execute.encoding", &format!("{} × {:.2} µs", last.calls, each / 1e3));
        }
        figure_ui(ui, unit, &format!("{rate:.0}"));
        figure_ui(ui, "execute.reserved", &last.reserved.to_string());
        for (axis, bytes) in last.moved() {
            figure_ui(ui, "execute.moved", &format!("{} {bytes}", t_or_name("axis", axis)));
        }
    });
    ui.strong(t("execute.memory"));
    for (rank, used) in last.pools.iter().map(|pool| pool.usage.at_peak).enumerate() {
        let bars = MemoryCategory::ALL
            .map(|c| (t_or_name("memory", c.name()).to_owned(), used.get(c).as_f64(), memory_color(c)));
        ui.horizontal(|ui| {
            ui.label(t_with("execute.rank", rank));
            ui.monospace(used.total().to_string());
        });
        stacked_bar_ui(ui, &bars);
    }
    ui.horizontal_wrapped(|ui| {
        for category in MemoryCategory::ALL {
            swatch_ui(ui, memory_color(category), t_or_name("memory", category.name()));
        }
    });
}

fn too_large_ui(ui: &mut Ui, session: &mut Session, why: &str) {
    warning_ui(ui, why);
    if ui.button(t("execute.load_small")).on_hover_text(t("execute.load_small.tip")).clicked() {
        session.load_preset(SMALL_PRESET);
    }
}
