//! What this device can do, measured: a roofline with the kernels of a transformer block under it, and all figures.

use egui::{Grid, ProgressBar, Ui};
use shardlab_engine::exec::{BackendKind, BenchReport, Clock, Figure, Quanta, RooflinePoint, Section, Tuning};
use shardlab_engine::report;
use shardlab_engine::trace::Origin;

use super::design_tokens::line_colors;
use super::i18n::{t, t_or_name, t_with};
use super::job::{Job, Message};
use super::roofline::{Dot, picture_ui};
use super::session::Session;
use super::widgets::{error_ui, heading_ui, origin_ui, right_ui, warning_ui};

/// A benchmark and what it has found.
#[derive(Debug, Default)]
pub struct BenchView {
    job: Option<Job>,
    on_cpu: bool,
    progress: (String, f32),
    report: Option<Box<BenchReport>>,
    /// The result before, beside which a new one is shown.
    before: Option<Box<BenchReport>>,
    /// A file whose result stands in its place, by its name.
    file: Option<(String, Box<BenchReport>)>,
    note: Option<String>,
    error: Option<String>,
}

impl BenchView {
    /// What was measured, where it was.
    pub fn report(&self) -> Option<&BenchReport> {
        self.report.as_deref()
    }

    /// What tests read.
    pub fn state(&self) -> serde_json::Value {
        serde_json::json!({
            "running": self.is_running(),
            "figures": self.report.as_ref().map(|report| report.figures.len()),
            "beside": self.file.as_ref().map(|(name, _)| name),
            "compared": self.compared(),
            "device": self.report.as_ref().map(|report| &report.backend.name),
            "report": self.report.as_ref().filter(|_| !self.is_running()),
            "error": self.error,
        })
    }

    /// How many figures have one beside them.
    fn compared(&self) -> usize {
        let (Some(report), Some(before)) = (&self.report, self.beside()) else { return 0 };
        report.figures.iter().filter(|figure| before.same_as(figure).is_some()).count()
    }

    /// Takes a result that was kept as what others are shown beside.
    ///
    /// # Errors
    /// When it is none.
    pub fn compare_with(&mut self, name: &str, bytes: &[u8]) -> Result<(), serde_json::Error> {
        self.file = Some((name.to_owned(), Box::new(serde_json::from_slice(bytes)?)));
        Ok(())
    }

    /// What figures are shown beside.
    fn beside(&self) -> Option<&BenchReport> {
        self.file.as_ref().map(|(_, report)| report).or(self.before.as_ref()).map(|report| &**report)
    }

    fn is_running(&self) -> bool {
        self.job.as_ref().is_some_and(Job::is_running)
    }

    /// Takes what the job has told; returns errors. What was found of kernels goes into `tuning`.
    pub fn receive(&mut self, tuning: &mut Tuning) -> Vec<String> {
        let messages = self.job.as_mut().map(Job::receive).unwrap_or_default();
        let mut errors = Vec::new();
        for message in messages {
            match message {
                Message::Opened(_, note) => self.note = note,
                Message::Measuring(what, share) => self.progress = (what, share),
                Message::Benched(report) => self.before = self.report.replace(report),
                Message::Tuned(found) => *tuning = *found,
                Message::Failed(error) => {
                    self.error = Some(error.clone());
                    errors.push(error);
                }
                _ => {}
            }
        }
        errors
    }

    /// Measures the device, or the CPU where it has none; all of it where no section is named.
    pub fn start(&mut self, context: &egui::Context, sections: &[Section], tuning: &Tuning) {
        (self.error, self.note, self.progress) = (None, None, (String::new(), 0.0));
        let sections = if sections.is_empty() { &Section::ALL[..] } else { sections };
        let kind = if self.on_cpu { BackendKind::Cpu } else { BackendKind::Wgpu };
        self.job = Some(Job::bench(context, kind, sections.to_vec(), tuning.clone()));
    }

    /// Draws the view.
    pub fn ui(&mut self, ui: &mut Ui, session: &mut Session) {
        egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
            ui.horizontal(|ui| {
                heading_ui(ui, t("bench.title"));
                if self.report.is_some() {
                    origin_ui(ui, Origin::Executed);
                }
            });
            ui.weak(t("bench.about"));
            self.control_ui(ui, &session.tuning);
            if let Some(note) = &self.note {
                warning_ui(ui, note);
            }
            if let Some(error) = &self.error {
                error_ui(ui, error);
            }
            self.beside_ui(ui, session);
            let Some(report) = &self.report else { return };
            let backend = &report.backend;
            ui.weak(format!("{} · {} · {}", backend.name, backend.detail, t_or_name("timing", backend.timing)));
            if let Some(quanta) = &report.quanta {
                ui.weak(clocks(quanta));
            }
            ui.horizontal(|ui| save_ui(ui, report, session));
            roofline_ui(ui, report);
            for section in Section::ALL {
                section_ui(ui, report, self.beside(), section);
            }
        });
    }

    /// A file whose figures others are shown beside.
    fn beside_ui(&mut self, ui: &mut Ui, session: &mut Session) {
        ui.horizontal(|ui| {
            if ui.button(t("bench.compare")).on_hover_text(t("bench.compare.tip")).clicked() {
                session.wants_file = true;
            }
            let Some((name, before)) = &self.file else { return };
            ui.label(t_with("bench.beside", format!("{name} ({})", before.backend.name)));
            origin_ui(ui, Origin::Imported);
            if ui.button(t("bench.beside.forget")).clicked() {
                self.file = None;
            }
        });
    }

    fn control_ui(&mut self, ui: &mut Ui, tuning: &Tuning) {
        ui.horizontal(|ui| {
            if self.is_running() {
                if ui.button(t("bench.stop")).clicked()
                    && let Some(job) = &self.job
                {
                    job.cancel();
                }
                let (what, share) = &self.progress;
                let section = Section::ALL.into_iter().find(|section| section.name() == what);
                let text = section.map_or("", |section| t_or_name("bench_section", section.name()));
                ui.add(ProgressBar::new(*share).desired_width(220.0).text(text));
                return;
            }
            for (on_cpu, key) in [(false, "execute.wgpu"), (true, "execute.cpu")] {
                ui.selectable_value(&mut self.on_cpu, on_cpu, t(key));
            }
            ui.separator();
            if ui.button(t("bench.start")).on_hover_text(t("bench.start.tip")).clicked() {
                self.start(ui.ctx(), &Section::ALL, tuning);
            }
        });
    }
}

fn save_ui(ui: &mut Ui, report: &BenchReport, session: &mut Session) {
    if ui.button(t("bench.save_json")).clicked() {
        session.save(format!("bench of {}.json", report.backend.name), report::bench_json(report));
    }
    if ui.button(t("bench.save_csv")).clicked() {
        session.save(format!("bench of {}.csv", report.backend.name), report::bench_csv(report));
    }
}

fn roofline_ui(ui: &mut Ui, report: &BenchReport) {
    let points = report.roofline();
    if points.is_empty() {
        return;
    }
    ui.strong(t("bench.roofline")).on_hover_text(t("bench.roofline.tip"));
    let [by_memory, by_arithmetic] = line_colors();
    let dot = |point: &RooflinePoint| Dot {
        name: format!("{} · {:.0} %", point.name, point.share() * 100.0),
        intensity: point.intensity,
        achieved: point.achieved,
        color: if point.memory_bound { by_memory } else { by_arithmetic },
        radius: 4.0,
    };
    let dots: Vec<Dot> = points.iter().map(dot).collect();
    picture_ui(ui, "roofline", &[(t("bench.roof").to_owned(), report.fp32_peak())], report.memory_bandwidth(), &dots);
}

fn section_ui(ui: &mut Ui, report: &BenchReport, before: Option<&BenchReport>, section: Section) {
    let figures: Vec<&Figure> = report.figures.iter().filter(|figure| figure.section == section).collect();
    if figures.is_empty() {
        return;
    }
    let roofline = report.roofline();
    let title = t_or_name("bench_section", section.name());
    egui::CollapsingHeader::new(title).id_salt(section.name()).default_open(true).show(ui, |ui| {
        ui.weak(t_or_name("bench_about", section.name()));
        Grid::new(("bench", section.name())).num_columns(4).striped(true).show(ui, |ui| {
            for figure in figures {
                ui.label(&figure.name).on_hover_text(clock(report, figure));
                right_ui(ui, &figure.written());
                let old = before.and_then(|before| before.same_as(figure));
                ui.monospace(old.map_or_else(String::new, |old| format!("{:.2} ×", figure.gain_over(old))));
                let point = roofline.iter().find(|point| point.name == figure.name && section == Section::Block);
                ui.weak(point.map_or_else(|| figure.detail.clone(), under_the_roof));
                ui.end_row();
            }
        });
    });
}

/// How fine the clocks are.
fn clocks(quanta: &Quanta) -> String {
    let host = t_with("bench.host_quantum", quanta.host);
    quanta.device.map_or_else(|| host.clone(), |device| format!("{} · {host}", t_with("bench.device_quantum", device)))
}

/// How a figure was timed, and how finely.
fn clock(report: &BenchReport, figure: &Figure) -> String {
    let by = match figure.clock {
        Clock::Device => t_or_name("timing", report.backend.timing),
        Clock::Host => t("bench.host_clock"),
    };
    report.quanta.map_or_else(|| by.to_owned(), |quanta| format!("{by} · ± {}", quanta.of(figure.clock)))
}

fn under_the_roof(point: &RooflinePoint) -> String {
    let bound = if point.memory_bound { "bench.by_memory" } else { "bench.by_arithmetic" };
    format!("{:.0} % {}", point.share() * 100.0, t(bound))
}
