//! Traces that other tools have measured: ranks beside each other, their timeline, and what their time goes to by the names and
//! formulas of Holistic Trace Analysis.
//!
//! * `tables` draws what is known of ranks and kernels.

mod tables;

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use egui::Ui;
use shardlab_engine::analysis::hta::{
    Beside, CriticalPath, DiffRow, TraceReport, beside, critical_path, trace_diff, trace_report,
};
use shardlab_engine::report;
use shardlab_engine::trace::{Imported, Origin, Trace};
use shardlab_engine::units::Nanos;

use super::found_once::{FoundOnce, Same};
use super::i18n::{t, t_or_name, t_with};
use super::inspector::Selection;
use super::job::{Job, Message};
use super::pinned::Pinned;
use super::session::{Run, Session};
use super::timeline::{Drawn, TimelineView, TrackIndex};
use super::widgets::{heading_ui, origin_ui};

/// A trace that is open.
#[derive(Debug)]
pub struct Shown {
    name: String,
    imported: Imported,
    index: TrackIndex,
    report: TraceReport,
    /// Its critical path, once somebody wanted to see it.
    path: OnceLock<CriticalPath>,
}

impl Shown {
    /// A trace with what can be said of it.
    pub fn new(name: String, imported: Imported) -> Self {
        let (index, report) = (TrackIndex::new(&imported.trace), trace_report(&imported));
        Self { name, imported, index, report, path: OnceLock::new() }
    }

    /// What the file is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What was read.
    pub fn trace(&self) -> &Trace {
        &self.imported.trace
    }

    /// The same with what only its profiler knows.
    pub fn imported(&self) -> &Imported {
        &self.imported
    }

    /// Its critical path; found when it is first asked for.
    fn path(&self) -> &CriticalPath {
        self.path.get_or_init(|| critical_path(&self.imported))
    }

    /// As it is drawn.
    pub fn drawn(&self) -> Drawn<'_> {
        Drawn { trace: &self.imported.trace, index: &self.index, groups: &self.imported.groups, critical: None }
    }
}

/// What of a trace is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Page {
    /// Slices over time.
    #[default]
    Timeline,
    /// Where the time of ranks goes.
    Ranks,
    /// Which kernels take it.
    Kernels,
    /// What its collectives take.
    Collectives,
    /// Beside a step of the scenario on screen.
    Beside,
    /// Beside the trace that was open before.
    Difference,
}

/// The state of the view.
#[derive(Debug, Default)]
pub struct TracesView {
    page: Page,
    /// The trace on screen.
    shown: Option<Arc<Shown>>,
    /// The one before, to compare with.
    baseline: Option<Arc<Shown>>,
    difference: Vec<DiffRow>,
    /// The trace on screen beside a step of this run.
    beside: FoundOnce<Same<Run>, Beside>,
    timeline: TimelineView,
    selection: Selection,
    job: Option<Job>,
    /// Files that wait to be read.
    waiting: VecDeque<(String, Vec<u8>)>,
    opening: String,
}

impl TracesView {
    /// What tests read.
    pub fn state(&self) -> serde_json::Value {
        let shown = self.shown.as_ref();
        serde_json::json!({
            "running": self.is_running() || !self.waiting.is_empty(),
            "name": shown.map(|shown| &shown.name),
            "groups": shown.map(|shown| shown.imported.groups.len()),
            "slices": shown.map(|shown| shown.imported.trace.spans.len()),
            "baseline": self.baseline.as_ref().map(|shown| &shown.name),
            "differences": self.difference.len(),
        })
    }

    fn is_running(&self) -> bool {
        self.job.as_ref().is_some_and(Job::is_running)
    }

    /// Opens a file behind those that wait.
    pub fn open(&mut self, name: &str, bytes: Vec<u8>) {
        self.waiting.push_back((name.to_owned(), bytes));
    }

    /// Takes what the job has told, and begins the next; returns errors.
    pub fn receive(&mut self, context: &egui::Context) -> Vec<String> {
        let mut errors = Vec::new();
        for message in self.job.as_mut().map(Job::receive).unwrap_or_default() {
            match message {
                Message::Imported(name, imported) => self.take(name, *imported),
                Message::Failed(error) => errors.push(error),
                _ => {}
            }
        }
        if !self.is_running()
            && let Some((name, bytes)) = self.waiting.pop_front()
        {
            self.opening.clone_from(&name);
            self.job = Some(Job::trace(context, name, bytes));
        }
        errors
    }

    /// Another rank of the run on screen lies beside its ranks; all else takes its place, and it becomes the baseline.
    fn take(&mut self, name: String, imported: Imported) {
        let shown = match self.shown.take() {
            Some(known) if is_another_rank(&known.imported, &imported) => {
                let (name, ranks) = match Arc::try_unwrap(known) {
                    Ok(known) => (known.name, known.imported),
                    Err(shared) => (shared.name.clone(), shared.imported.clone()),
                };
                Imported::merged(vec![ranks, imported]).map(|all| Shown::new(name, all))
            }
            known => {
                self.baseline = known.or(self.baseline.take());
                Some(Shown::new(name, imported))
            }
        };
        self.shown = shown.map(Arc::new);
        self.beside.forget();
        (self.selection, self.timeline) = (Selection::Summary, TimelineView::default());
        self.compare();
    }

    fn compare(&mut self) {
        let both = self.baseline.as_ref().zip(self.shown.as_ref());
        self.difference = both.map(|(before, after)| trace_diff(&before.report, &after.report)).unwrap_or_default();
    }

    /// The trace beside a step; found once for every run.
    fn beside(&mut self, shown: &Shown, run: &Arc<Run>) -> &Beside {
        self.beside.get(Same(Arc::clone(run)), || beside(&shown.imported, &shown.report, &run.trace))
    }

    /// Makes the trace on screen what others are compared with, here and in Compare; says what was pinned.
    pub fn pin_baseline(&mut self, session: &mut Session) -> Option<String> {
        let shown = self.shown.clone()?;
        self.baseline = Some(Arc::clone(&shown));
        self.compare();
        let name = shown.name.clone();
        session.pin_as_baseline(Pinned::of_trace(shown));
        Some(t_with("compare.pinned", name))
    }

    /// Keeps the trace on screen for Compare; says what was pinned.
    pub fn pin_variant(&mut self, session: &mut Session) -> Option<String> {
        let shown = self.shown.clone()?;
        let name = shown.name.clone();
        session.pin(Pinned::of_trace(shown));
        Some(t_with("compare.pinned_variant", name))
    }

    /// Its timeline.
    pub fn timeline(&mut self) -> &mut TimelineView {
        &mut self.timeline
    }

    /// Draws the view.
    pub fn ui(&mut self, ui: &mut Ui, session: &mut Session) {
        ui.horizontal_wrapped(|ui| {
            heading_ui(ui, t("traces.title"));
            if self.is_running() || !self.waiting.is_empty() {
                ui.spinner();
                ui.weak(t_with("traces.reading", &self.opening));
            }
        });
        let Some(shown) = self.shown.clone() else {
            ui.label(t("traces.nothing"));
            ui.weak(t("traces.private"));
            return;
        };
        self.head_ui(ui, &shown, session);
        match self.page {
            Page::Timeline => self.timeline_ui(ui, &shown),
            Page::Ranks => tables::ranks_ui(ui, &shown.report),
            Page::Kernels => tables::kernels_ui(ui, &shown.report),
            Page::Collectives => tables::collectives_ui(ui, &shown.report),
            Page::Beside => tables::beside_ui(ui, self.beside(&shown, &session.run), &session.run),
            Page::Difference => tables::difference_ui(ui, &self.difference),
        }
    }

    fn head_ui(&mut self, ui: &mut Ui, shown: &Arc<Shown>, session: &mut Session) {
        ui.horizontal_wrapped(|ui| {
            origin_ui(ui, Origin::Imported);
            ui.strong(&shown.name);
            let trace = &shown.imported.trace;
            ui.weak(format!("{} · {}", t_with("status.spans", trace.spans.len()), trace.step_time));
            for note in &shown.imported.notes {
                ui.weak(note);
            }
        });
        ui.horizontal_wrapped(|ui| {
            let pages = [
                (Page::Timeline, "tab.timeline"),
                (Page::Ranks, "traces.ranks"),
                (Page::Kernels, "traces.kernels"),
                (Page::Collectives, "traces.collectives"),
                (Page::Beside, "traces.beside"),
            ];
            for (page, key) in pages {
                ui.selectable_value(&mut self.page, page, t(key));
            }
            if let Some(baseline) = &self.baseline {
                ui.selectable_value(&mut self.page, Page::Difference, t_with("traces.difference", &baseline.name));
            }
            ui.separator();
            if ui.button(t("traces.pin")).on_hover_text(t("traces.pin.tip")).clicked() {
                self.pin_baseline(session);
            }
            if ui.button(t("command.pin_variant")).on_hover_text(t("command.pin_variant.tip")).clicked() {
                self.pin_variant(session);
            }
            save_ui(ui, shown, &self.difference, session);
            if ui.button(t("traces.close")).clicked() {
                (self.shown, self.page) = (None, Page::Timeline);
            }
        });
    }

    fn timeline_ui(&mut self, ui: &mut Ui, shown: &Shown) {
        if let Selection::Span(index) = self.selection
            && let Some(span) = shown.imported.trace.spans.get(index as usize)
        {
            tables::slice_ui(ui, &shown.imported, span, index);
        }
        let critical = self.timeline.wants_path().then(|| shown.path());
        if let Some(path) = critical {
            path_ui(ui, path, shown.imported.trace.step_time);
        }
        let critical = critical.map(|path| path.spans.as_slice());
        self.timeline.ui(ui, Drawn { critical, ..shown.drawn() }, &mut self.selection);
    }
}

/// What the critical path spends its time on, in a line.
fn path_ui(ui: &mut Ui, path: &CriticalPath, all: Nanos) {
    let percent = |time: Nanos| time.secs() / all.secs().max(1e-12) * 100.0;
    ui.horizontal_wrapped(|ui| {
        ui.strong(t("timeline.critical"));
        for (activity, time) in &path.by_activity {
            let name = t_or_name("activity", activity.name());
            ui.label(format!("{name} {time} ({:.0} %)", percent(*time)));
        }
        if path.waiting > Nanos::ZERO {
            ui.label(format!("{} {} ({:.0} %)", t("traces.waiting"), path.waiting, percent(path.waiting)));
        }
        let longest: Vec<String> = path.longest.iter().take(8).map(|(name, time)| format!("{time}  {name}")).collect();
        ui.weak("…").on_hover_text(longest.join("\n"));
    });
}

/// Whether both are ranks of a run, by the ranks that their files name.
fn is_another_rank(known: &Imported, new: &Imported) -> bool {
    let are_ranks = |imported: &Imported| imported.groups.iter().all(|name| name.starts_with("rank "));
    are_ranks(known) && are_ranks(new) && new.groups.iter().all(|name| !known.groups.contains(name))
}

fn save_ui(ui: &mut Ui, shown: &Shown, difference: &[DiffRow], session: &mut Session) {
    ui.menu_button(t("traces.save"), |ui| {
        let report = &shown.report;
        let files: [(&str, &str, &dyn Fn() -> String); 6] = [
            ("traces.save.ranks", "temporal_breakdown.csv", &|| report::temporal_breakdown_csv(report)),
            ("traces.save.overlap", "comm_comp_overlap.csv", &|| report::overlap_csv(report)),
            ("traces.save.kernels", "kernel_breakdown.csv", &|| report::kernel_breakdown_csv(report)),
            ("traces.save.collectives", "collectives.csv", &|| report::imported_collectives_csv(report)),
            ("traces.save.difference", "trace_diff.csv", &|| report::diff_csv(difference)),
            ("traces.save.perfetto", "trace.json", &|| report::perfetto_json(&shown.imported.trace)),
        ];
        for (key, file, write) in files {
            if ui.button(t(key)).clicked() {
                session.save(file.to_owned(), write());
                ui.close();
            }
        }
    });
}
